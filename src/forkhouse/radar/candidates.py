"""Candidate pins: releases of a registry package, or tags and commits of a git mirror."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pygit2
from pygit2.enums import SortMode

from forkhouse.errors import UnreachableError, UsageError
from forkhouse.radar.taken import label
from forkhouse.sources.releases import offered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from packaging.version import Version

    from forkhouse.lock import RegistrySource
    from forkhouse.sources.registry import Registry
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


def releases(registry: Registry, source: RegistrySource) -> list[Release]:
    """Return what the user's indexes offer of a source's package in its form, final releases only, the oldest first."""
    return [release for release in offered(registry.links(source.package), source) if not release.version.is_prerelease]


def around(found: list[Release], pin: Version, *, before: int, after: int) -> list[Release]:
    """Return the pin with its neighbours in time: at most `before` earlier and `after` later releases."""
    earlier = [release for release in found if release.version < pin]
    later = [release for release in found if release.version > pin]
    return [*earlier[max(0, len(earlier) - before) :], *(release for release in found if release.version == pin), *later[:after]]


def release_candidates(
    chosen: Iterable[Release], source: RegistrySource, acquire: Callable[[RegistrySource], tuple[str, int]]
) -> list[Candidate]:
    """Import releases; `acquire` turns a source without a hash of its own into its tree and time."""
    candidates = []
    for order, release in enumerate(chosen):
        tree, epoch = acquire(source.model_copy(update={"file": release.file, "version": str(release.version)}))
        candidates.append(Candidate(label=str(release.version), order=order, when=epoch, tree=tree))
    return candidates


def commit_candidates(mirror: Path, since: str, until: str, store: ObjectStore, *, limit: int) -> list[Candidate]:
    """Return the commits from `since` to `until` along the first parents, the oldest first, `since` among them.

    The mirror's objects are read where they are. Raises UsageError for a revision that the mirror does not have, UnreachableError
    for a folder that is no repository.
    """
    try:
        repository = pygit2.Repository(str(mirror))
    except pygit2.GitError as error:
        message = f"{mirror} is no git repository: {error}."
        raise UnreachableError(message) from error
    store.borrow(mirror)
    try:
        first, last = (repository.revparse_single(revision).peel(pygit2.Commit) for revision in (since, until))
    except (KeyError, ValueError) as error:
        message = f"{mirror.name} has no revision {error}. Update the mirror, or name another."
        raise UsageError(message) from error
    walker = repository.walk(last.id, SortMode.TOPOLOGICAL)
    walker.simplify_first_parent()
    commits = []
    for commit in walker:
        commits.append(commit)
        if commit.id == first.id or len(commits) == limit:
            break
    if commits[-1].id != first.id:
        commits.append(first)
    names = {
        reference.peel(pygit2.Commit).id: reference.shorthand
        for reference in repository.references.iterator()
        if reference.name.startswith("refs/tags/")
    }
    return [
        Candidate(
            label=names.get(commit.id, label(commit)),
            order=order,
            when=commit.commit_time,
            tree=str(commit.tree_id),
            commit=str(commit.id),
        )
        for order, commit in enumerate(reversed(commits))
    ]
