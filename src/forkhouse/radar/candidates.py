"""Candidate pins: releases of a registry package, or tags and commits of a git mirror."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import pygit2
from pygit2.enums import SortMode

from forkhouse.core.errors import UnreachableError, UsageError
from forkhouse.radar.labels import label
from forkhouse.sources.releases import offered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from packaging.version import Version

    from forkhouse.documents.lockfile import RegistrySource
    from forkhouse.sources.index import Registry
    from forkhouse.sources.releases import Release
    from forkhouse.sources.store import ObjectStore


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A state of an upstream that could be pinned."""

    label: str
    """Version, tag, or abbreviated commit with its subject."""
    order: int
    """Position in the upstream's history."""
    when: int
    """Seconds since 1970, UTC."""
    tree: str
    commit: str = ""
    """Of a git history: the whole id."""
    tags: tuple[str, ...] = ()
    """Of a git history: the tags on it."""
    fork: bool = False
    """Of a git history: whether this is the last commit that the pin's own branch shares with it.

    It is older than the pin, and so never a candidate to pin. A patch that conflicts there was not
    broken by a later commit.
    """


@dataclass(frozen=True, kw_only=True, slots=True)
class Walk:
    """The commits that were found in a history."""

    candidates: tuple[Candidate, ...]
    beyond: int
    """Commits after the last candidate that were not walked, as there may be only so many."""


def releases(registry: Registry, source: RegistrySource) -> list[Release]:
    """Return the final releases that the user's indexes offer, the oldest first.

    Only releases in the form of the source count.
    """
    return [
        release
        for release in offered(registry.links(source.package), source)
        if not release.version.is_prerelease
    ]


def around(found: list[Release], pin: Version, *, before: int, after: int) -> list[Release]:
    """Return the pin and its neighbours in time.

    At most `before` earlier and `after` later releases.
    """
    earlier = [release for release in found if release.version < pin]
    later = [release for release in found if release.version > pin]
    return [
        *earlier[max(0, len(earlier) - before) :],
        *(release for release in found if release.version == pin),
        *later[:after],
    ]


def release_candidates(
    chosen: Iterable[Release],
    source: RegistrySource,
    acquire: Callable[[RegistrySource], tuple[str, int]],
) -> list[Candidate]:
    """Import releases.

    `acquire` turns a source without a hash of its own into its tree and time.
    """
    candidates = []
    for order, release in enumerate(chosen):
        tree, epoch = acquire(
            source.model_copy(update={"file": release.file, "version": str(release.version)})
        )
        candidates.append(Candidate(label=str(release.version), order=order, when=epoch, tree=tree))
    return candidates


def commit_candidates(
    mirror: Path, since: str, until: str, store: ObjectStore, *, limit: int
) -> Walk:
    """Return the pin `since` and the `limit` commits that follow it most closely, the oldest first.

    The commits are those on the first-parent line of `until`, after the last commit that it has in
    common with the pin. When the pin is on a branch of its own, that common commit is a candidate,
    too, marked as the fork. The mirror's objects are read in place. Raises UsageError for a
    revision that the mirror does not have or that is older than the pin, UnreachableError for a
    folder that is no repository or lacks a part of the history.
    """
    try:
        repository = pygit2.Repository(str(mirror))
    except pygit2.GitError as error:
        raise _unreadable(mirror, error) from error
    store.borrow(mirror)
    first, last = (revision_commit(repository, mirror, revision) for revision in (since, until))
    base = cast(
        "pygit2.Oid | None", repository.merge_base(first.id, last.id)
    )  # None where there is none
    shallow = (
        " It is a shallow clone: `git fetch --unshallow` there." if repository.is_shallow else ""
    )
    if base is None:
        message = (
            f"{mirror.name}: the pin {since} and {until} have no commit in common, so nothing lies "
            f"between them.{shallow}"
        )
        raise UnreachableError(message) if shallow else UsageError(message)
    if base == last.id and last.id != first.id:
        message = (
            f"{until} is older than the pin {since[:12]}: the pin has it in its history, so "
            "nothing after the pin would be judged."
        )
        raise UsageError(message)
    walker = repository.walk(last.id, SortMode.TOPOLOGICAL)
    walker.simplify_first_parent()
    walker.hide(base)
    try:
        after = [commit for commit in walker if commit.id != first.id][::-1]
    except (KeyError, pygit2.GitError) as error:
        message = (
            f"{mirror.name} lacks commits between the pin and {until}: "
            f"{error}.{shallow or ' Mirror it anew with `git clone --mirror`.'}"
        )
        raise UnreachableError(message) from error
    fork = [] if base == first.id else [repository[base].peel(pygit2.Commit)]
    tags: dict[pygit2.Oid, list[str]] = {}
    for reference in repository.references.iterator():
        if reference.name.startswith("refs/tags/"):
            with contextlib.suppress(
                pygit2.GitError, KeyError, ValueError
            ):  # a tag of something that is no commit
                tags.setdefault(reference.peel(pygit2.Commit).id, []).append(reference.shorthand)
    chosen = [first, *fork, *after[:limit]]
    return Walk(
        candidates=tuple(
            Candidate(
                label=next(iter(sorted(tags.get(commit.id, ()))), label(commit)),
                order=order,
                when=commit.commit_time,
                tree=str(commit.tree_id),
                commit=str(commit.id),
                tags=tuple(sorted(tags.get(commit.id, ()))),
                fork=commit in fork,
            )
            for order, commit in enumerate(chosen)
        ),
        beyond=max(0, len(after) - limit),
    )


def revision_commit(repository: pygit2.Repository, mirror: Path, revision: str) -> pygit2.Commit:
    """Return the commit that a revision of a mirror means. Raises UsageError when there is none."""
    try:
        return repository.revparse_single(revision).peel(pygit2.Commit)
    except (KeyError, ValueError, pygit2.GitError) as error:
        reason = f"{error}".strip("'\"") or "nothing of that name"
        message = (
            f"{mirror.name} has no commit '{revision}' ({reason}). Update the mirror (`git remote "
            "update`), or name another."
        )
        raise UsageError(message) from error


def mirrored_commit(mirror: Path, revisions: Iterable[str]) -> str | None:
    """Return the commit of the first of some revisions that a mirror has.

    None when it has none of them.
    """
    try:
        repository = pygit2.Repository(str(mirror))
    except pygit2.GitError as error:
        raise _unreadable(mirror, error) from error
    for revision in revisions:
        with contextlib.suppress(UsageError):
            return str(revision_commit(repository, mirror, revision).id)
    return None


def _unreadable(mirror: Path, error: Exception) -> UnreachableError:
    if "owned" in str(error):
        message = (
            f"{mirror} belongs to another user, and git reads no repository of others: {error}. "
            "Run `git config --global --add "
            f"safe.directory {mirror}` if you trust it, or make it yours with chown."
        )
        return UnreachableError(message)
    return UnreachableError(f"{mirror} is no git repository: {error}.")
