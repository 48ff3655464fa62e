"""Fetch a pinned upstream into a git tree.

The most preferred form that can be fetched is chosen, fetched, verified and imported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import pygit2

from forkhouse.core.digests import digest
from forkhouse.core.errors import HashMismatchError, UnreachableError, UsageError
from forkhouse.core.journal import Record, Stage
from forkhouse.core.progress import report
from forkhouse.core.wording import bullets
from forkhouse.documents.lockfile import (
    ArchiveSource,
    DebianSource,
    Form,
    GitSource,
    Pinned,
    Source,
    describe,
)
from forkhouse.sources.apt import fetch_debian_source
from forkhouse.sources.archives import read_archive, read_tar, read_wheel
from forkhouse.sources.git import fetch_commit
from forkhouse.sources.lfs import pointers
from forkhouse.sources.submodules import filled, missing

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from forkhouse.core.journal import Journal
    from forkhouse.sources.index import Registry
    from forkhouse.sources.store import ObjectStore


class FetchedSource(Record):
    """A source that was fetched, verified and stored."""

    tree: str
    commit: str
    epoch: int
    """Seconds since 1970 UTC."""
    submodules: tuple[str, ...]
    """What it says of submodules whose files it lacks."""
    pointers: tuple[str, ...]
    """Files of which it has only the pointers of Git LFS."""


_FETCHED = Stage("source", FetchedSource)


SourcePolicy = Literal["auto", "git", "registry"]
SHOWN = 20
"""Most pointer files that a message about a source names."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Access:
    """How sources may be reached in this run."""

    policy: SourcePolicy
    mirror: Path | None
    """Folder of bare repositories, and of source archives in `archives/`.

    Asked before the hosts.
    """
    offline: bool
    cache: Path
    shared: Path | None = None
    """A read-only cache that is searched, too."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceTree:
    """An upstream's source as fetched: a tree in the object store."""

    upstream: str
    version: str
    source: Source
    tree: str
    commit: str
    epoch: int
    """Newest time in the source, seconds since 1970 UTC.

    SOURCE_DATE_EPOCH of what is built from it.
    """
    passed_over: tuple[str, ...]
    """Why each more preferred form was not used."""
    lacks: tuple[str, ...] = ()
    """What of it is not there, in words: submodules, files of Git LFS."""


def candidates(
    upstream: str, pinned: Pinned, forms: Collection[Form], policy: SourcePolicy
) -> tuple[list[Source], list[str]]:
    """Return the sources that may be tried, in the lock's order, and why each other one may not.

    The policy chooses between git and registries; an archive lies at an address of its own, and
    every policy allows it. Raises UsageError when the policy leaves none.
    """
    chosen: list[Source] = []
    passed: list[str] = []
    for source in pinned.sources:
        if source.kind not in forms:
            passed.append(f"{describe(source)}: the recipe builds from {', '.join(sorted(forms))}")
        elif (
            policy != "auto"
            and not isinstance(source, ArchiveSource)
            and isinstance(source, GitSource) != (policy == "git")
        ):
            passed.append(f"{describe(source)}: --sources {policy}")
        elif isinstance(source, GitSource) and policy == "auto" and source.commit is None:
            passed.append(f"{describe(source)}: unresolved, the lock has no commit id for it")
        else:
            chosen.append(source)
    if not chosen:
        reasons = bullets(passed)
        message = f"No source of {upstream} can be used with --sources {policy}:\n{reasons}"
        raise UsageError(message)
    return chosen, passed


def acquire(
    upstream: str,
    pinned: Pinned,
    forms: Collection[Form],
    *,
    access: Access,
    registry: Registry,
    store: ObjectStore,
    journal: Journal,
) -> SourceTree:
    """Return the source tree of an upstream in the most preferred form that can be fetched.

    With the policy `auto`, an unreachable form is replaced by the next one, which is reported and
    recorded. Any other failure (hash, tree or tag not as in the lock) is final. Raises
    UnreachableError when no form can be fetched.
    """
    chosen, passed = candidates(upstream, pinned, forms, access.policy)
    for source in chosen:
        try:
            return _acquire_one(
                upstream,
                pinned,
                source,
                tuple(passed),
                access=access,
                registry=registry,
                store=store,
                journal=journal,
            )
        except UnreachableError as error:
            if source is chosen[-1]:
                earlier = "".join(f"\nBefore it: {reason}" for reason in passed)
                message = f"{upstream}: {error}{earlier}"
                raise UnreachableError(message) from error
            report().line(
                upstream,
                f"NOT from {describe(source)}: {error} Going on with the next source of the lock.",
            )
            passed.append(f"{describe(source)}: {error}")
    raise AssertionError  # candidates() gives at least one


def _key(upstream: str, pinned: Pinned, source: Source) -> str:
    return digest(
        upstream,
        pinned.version,
        source.model_dump(mode="json", exclude={"patched_tree", "why", "paths"}),
    )


def recorded(upstream: str, pinned: Pinned, source: Source, journal: Journal) -> float | None:
    """Return when the pinned source was fetched, in seconds since 1970 UTC.

    None when it was never fetched in this checkout.
    """
    return journal.when(_FETCHED, _key(upstream, pinned, source))


def fetched(
    upstream: str, pinned: Pinned, source: Source, journal: Journal, store: ObjectStore
) -> bool:
    """Return whether a source was fetched in this checkout before and is still stored."""
    return _record(_key(upstream, pinned, source), source, journal, store) is not None


def _record(key: str, source: Source, journal: Journal, store: ObjectStore) -> FetchedSource | None:
    record = journal.get(_FETCHED, key)
    return record if record is not None and _proven(record, source, store) else None


def _acquire_one(
    upstream: str,
    pinned: Pinned,
    source: Source,
    passed: tuple[str, ...],
    *,
    access: Access,
    registry: Registry,
    store: ObjectStore,
    journal: Journal,
) -> SourceTree:
    key = _key(upstream, pinned, source)
    record = _record(key, source, journal, store)
    if record is None:
        tree, epoch = _import(source, access=access, registry=registry, store=store)
        if source.tree is not None and tree != source.tree:
            message = (
                f"{upstream}: {describe(source)} gave tree {tree}, the lock says {source.tree}. "
                "The fetched files have the right hashes, so the lock's tree id is wrong: "
                "`forkhouse lock --update` records it anew."
            )
            raise HashMismatchError(message)
        commit = store.commit(
            tree,
            message=f"{upstream} {source.version or pinned.version}\n\n{describe(source)}\n",
            epoch=epoch,
        )
        store.name(f"base/{upstream}/{key[:16]}", commit)
        lacks = [
            submodule.told()
            for submodule in missing(tree, store, archive=not isinstance(source, GitSource))
        ]
        record = FetchedSource(
            tree=tree,
            commit=commit,
            epoch=epoch,
            submodules=tuple(lacks),
            pointers=tuple(pointers(tree, store)),
        )
        journal.put(_FETCHED, key, record)
    told = tuple(_lacks(source, record))
    for each in told:
        report().line(upstream, each)
    return SourceTree(
        upstream=upstream,
        version=source.version or pinned.version,
        source=source,
        tree=record.tree,
        commit=record.commit,
        epoch=record.epoch,
        passed_over=passed,
        lacks=told,
    )


def _proven(record: FetchedSource, source: Source, store: ObjectStore) -> bool:
    """Return whether the store has what a record says of a source, and the lock agrees."""
    if source.tree not in {None, record.tree}:
        return False
    return store.holds(record.commit, record.tree, record.epoch)


def _lacks(source: Source, record: FetchedSource) -> Iterator[str]:
    """Yield the parts of a source that are missing, in words.

    Such parts are submodules, and files that Git LFS keeps elsewhere.
    """
    lacks, small = record.submodules, record.pointers
    if lacks and not (isinstance(source, GitSource) and source.submodules is False):
        advice = (
            "`submodules: true` at this source of the lock lays them in, `submodules: false` says "
            "that they are not needed"
            if isinstance(source, GitSource)
            else "take it from git with `submodules: true`, or lay them in as components"
        )
        yield (
            f"WITHOUT {len(lacks)} submodule{'s'[: len(lacks) > 1]}, whose files are not there: "
            f"{'; '.join(lacks)}. {advice}"
        )
    if small:
        more = f" and {len(small) - SHOWN} more" if len(small) > SHOWN else ""
        yield (
            f"WITHOUT {len(small)} file{'s'[: len(small) > 1]} of Git LFS, of which only the "
            f"pointers are there: {', '.join(small[:SHOWN])}{more}"
        )


def _import(
    source: Source, *, access: Access, registry: Registry, store: ObjectStore
) -> tuple[str, int]:
    match source:
        case GitSource():
            # With its submodules it is another tree than that of its commit, and is held against
            # the lock once they are there.
            alone = source.model_copy(update={"tree": None}) if source.submodules else source
            tree = fetch_commit(
                alone,
                store,
                access.cache,
                mirror=access.mirror,
                offline=access.offline,
                shared=access.shared,
            )
            if source.submodules:
                tree = filled(
                    tree,
                    source,
                    store,
                    access.cache,
                    mirror=access.mirror,
                    offline=access.offline,
                    shared=access.shared,
                )
            assert source.commit is not None  # fetch_commit refuses an unresolved source
            return tree, store.repository[source.commit].peel(pygit2.Commit).commit_time
        case DebianSource():
            paths = fetch_debian_source(source, registry, offline=access.offline)
            # The pristine upstream tarball is the source; Debian's own packaging is not part of
            # what we build.
            originals = [path for path in paths if ".orig.tar" in path.name]
            if len(originals) != 1:
                message = (
                    f"Debian source {source.package}: expected one .orig.tar among "
                    f"{', '.join(path.name for path in paths)}."
                )
                raise HashMismatchError(message)
            files, epoch = read_tar(originals[0])
        case ArchiveSource():
            files, epoch = read_archive(
                registry.fetch_archive(source.url, source.file, source.sha256, mirror=access.mirror)
            )
        case _:
            path = registry.fetch(source.package, source.file, source.sha256)
            files, epoch = read_wheel(path) if source.kind == "wheel" else read_tar(path)
    return store.import_files(files), epoch
