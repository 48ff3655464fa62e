"""Find commits of an upstream that are patches of ours, by git's patch id.

The patch id is that of the change, wherever its lines are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pygit2
from pygit2.enums import SortMode

from forkhouse.patches.merging import difference
from forkhouse.radar.labels import label

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from forkhouse.patches.verdicts import PatchedAtPin
    from forkhouse.radar.candidates import Candidate
    from forkhouse.sources.store import ObjectStore


@dataclass(frozen=True, kw_only=True, slots=True)
class TakenPatch:
    """A patch that an upstream took over unchanged."""

    commit: str
    """The commit that brought it, abbreviated, with its subject."""
    holders: frozenset[str]
    """Commits of the candidates that have it in their history, and no commit that takes exactly it
    back."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Wanted:
    """A patch in the terms in which git compares changes."""

    paths: frozenset[str]
    there: str
    """Its patch id."""
    back: str
    """The patch id of its reverse."""


def taken(
    candidates: Sequence[Candidate], pinned: Mapping[str, PatchedAtPin], store: ObjectStore
) -> dict[str, TakenPatch]:
    """Return the patches that the upstream's own commits brought, by name.

    The commits are those between the first and the last candidate, merged branches included. Only
    the whole textual form is compared: a commit that brings more than the patch, or less, does not
    count.
    """
    commits = [
        candidate.commit for candidate in candidates if candidate.commit and not candidate.fork
    ]
    if len(commits) < 2:  # nothing lies between
        return {}
    first, *_, last = commits
    wanted = {name: _wanted(sides, store) for name, sides in pinned.items()}
    brought: dict[str, pygit2.Oid] = {}
    undone: dict[str, list[pygit2.Oid]] = {name: [] for name in wanted}
    walker = store.repository.walk(pygit2.Oid(hex=last), SortMode.TOPOLOGICAL)
    walker.hide(pygit2.Oid(hex=first))
    for commit in walker:
        for name, found in _same(commit, wanted, store):
            if found:
                brought.setdefault(
                    name, commit.id
                )  # the newest one, when it was taken back in between
            else:
                undone[name].append(commit.id)
    return {
        name: TakenPatch(
            commit=label(store.repository[commit].peel(pygit2.Commit)),
            holders=frozenset(
                each
                for each in commits
                if _has(each, commit, store) and not _undone(each, commit, undone[name], store)
            ),
        )
        for name, commit in brought.items()
    }


def _wanted(sides: PatchedAtPin, store: ObjectStore) -> _Wanted:
    diff = difference(sides.before, sides.after, store=store)
    paths = frozenset(
        path for delta in diff.deltas for path in (delta.old_file.path, delta.new_file.path)
    )
    return _Wanted(
        paths=paths,
        there=str(diff.patchid),
        back=str(difference(sides.after, sides.before, store=store).patchid),
    )


def _same(
    commit: pygit2.Commit, wanted: Mapping[str, _Wanted], store: ObjectStore
) -> Iterator[tuple[str, bool]]:
    """Yield the patches that a commit brings (True) or undoes (False).

    A merge is neither: its changes are those of its parents' commits.
    """
    if len(commit.parents) != 1:
        return
    tree, before = str(commit.tree_id), str(commit.parents[0].tree_id)
    # Looking up a few files is far cheaper than a diff, and settles nearly every commit.
    touching = {
        name: each
        for name, each in wanted.items()
        if all(store.entry(tree, path) != store.entry(before, path) for path in each.paths)
    }
    if touching:
        found = str(difference(before, tree, store=store).patchid)
        yield from (
            (name, found == each.there)
            for name, each in touching.items()
            if found in {each.there, each.back}
        )


def _has(commit: str, other: pygit2.Oid, store: ObjectStore) -> bool:
    """Return whether a commit is another one or has it in its history."""
    return commit == str(other) or store.repository.descendant_of(pygit2.Oid(hex=commit), other)


def _undone(
    commit: str, brought: pygit2.Oid, undone: Sequence[pygit2.Oid], store: ObjectStore
) -> bool:
    return any(_has(commit, each, store) and _has(str(each), brought, store) for each in undone)
