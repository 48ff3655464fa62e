"""Fetch real history: the releases of a pinned upstream, each as a tree.

The user's package indexes offer them.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.version import Version
from pygit2.enums import FileMode

from bench.oracle import changes, named
from forkhouse.core.digests import digest
from forkhouse.core.journal import Journal, Record, Stage
from forkhouse.documents.lockfile import SdistSource, WheelSource
from forkhouse.sources.archives import read_tar, read_wheel
from forkhouse.sources.releases import offered
from forkhouse.sources.store import ObjectStore, TreeFile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from unearth.link import Link

    from forkhouse.documents.lockfile import Lock
    from forkhouse.patches.series import Patch
    from forkhouse.sources.index import Registry


class Imported(Record):
    """A release that was stored as a tree."""

    tree: str
    epoch: int


_IMPORTED = Stage("release", Imported)


MONTH = 30.44
COMPILED = (".so", ".a", ".o", ".dylib")
"""Left out of the trees: no patch reads them, and they are most of a compiled wheel's bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """A form of an upstream, and the edits that are replayed on its releases."""

    upstream: str
    source: SdistSource | WheelSource
    version: Version
    edits: tuple[Patch, ...]

    @property
    def metadata_only(self) -> bool:
        """Whether the edits touch only the metadata of a wheel.

        An index may serve the metadata as a file of its own (PEP 658).
        """
        return self.source.kind == "wheel" and all(
            path.endswith("/METADATA")
            for patch in self.edits
            for change in changes(patch)
            for path in named(change)
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Release:
    """One file of a registry that holds one release."""

    version: Version
    link: Link
    when: dt.datetime | None


def subjects(lock: Lock, series: Mapping[str, Sequence[Patch]]) -> list[Subject]:
    """Return what can be replayed from a package index.

    Each edit once, in the first form of its upstream that it is meant for.

    Patches that only add files are left out: they survive in every tool's hands, and would flatter
    all of them.
    """
    found = []
    for upstream, pinned in lock.upstreams.items():
        left = [patch for patch in series.get(upstream, ()) if patch.edit is not None]
        for source in pinned.sources:
            if not isinstance(source, SdistSource | WheelSource):
                continue
            edits = tuple(patch for patch in left if patch.is_for(source.kind))
            left = [patch for patch in left if patch not in edits]
            if edits:
                found.append(
                    Subject(
                        upstream=upstream,
                        source=source,
                        version=Version(source.version or pinned.version),
                        edits=edits,
                    )
                )
    return found


def releases(registry: Registry, source: SdistSource | WheelSource) -> list[Release]:
    """Return the final releases of a package in one form, the oldest first.

    A post-release repeats the release before it.
    """
    links = registry.links(source.package)
    final = {
        each.version: links[each.file]
        for each in offered(links, source)
        if not each.version.is_prerelease
    }
    return [
        Release(version=version, link=link, when=link.upload_time)
        for version, link in final.items()
        if not version.is_postrelease or Version(version.base_version) not in final
    ]


@dataclass(frozen=True, kw_only=True, slots=True)
class Base:
    """A release as a tree."""

    version: Version
    tree: str
    when: dt.datetime


class Library:
    """Fetches releases and keeps their trees."""

    def __init__(self, folder: Path, registry: Registry) -> None:
        """Keep trees below `folder`; archives stay in the registry's cache."""
        self.store = ObjectStore(folder / "store.git")
        self.registry = registry
        self._journal = Journal(folder / "journal")

    def base(self, subject: Subject, release: Release) -> Base:
        """Return a release as a tree. Raises UnreachableError, UnsafeArchiveError."""
        metadata = release.link.dist_info_link if subject.metadata_only else None
        key = digest(release.link.filename, metadata is not None)
        record = self._journal.get(_IMPORTED, key)
        if record is None or not self.store.has(record.tree):
            if metadata is None:
                tree, epoch = self._whole(subject, release)
            else:
                path, _ = self.registry.download(metadata)
                stem = f"{subject.source.package.replace('-', '_')}-{release.version}"
                name = f"{stem}.dist-info/METADATA"
                tree, epoch = (
                    self.store.import_files(
                        [TreeFile(path=name, content=path.read_bytes(), mode=FileMode.BLOB)]
                    ),
                    0,
                )
            record = Imported(tree=tree, epoch=epoch)
            self._journal.put(_IMPORTED, key, record)
        # The newest time in an archive stands in where the index tells no upload time.
        when = release.when or dt.datetime.fromtimestamp(record.epoch, tz=dt.UTC)
        return Base(version=release.version, tree=record.tree, when=when)

    def _whole(self, subject: Subject, release: Release) -> tuple[str, int]:
        sha256 = (release.link.hashes or {}).get("sha256")
        path = (
            self.registry.fetch(subject.source.package, release.link.filename, sha256)
            if sha256
            else self.registry.download(release.link)[0]
        )
        files, epoch = read_wheel(path) if subject.source.kind == "wheel" else read_tar(path)
        return self.store.import_files(
            file for file in files if not file.path.endswith(COMPILED)
        ), epoch


def dates(registry: Registry, subject: Subject, lock: Lock) -> dict[Version, dt.datetime]:
    """Return when each version came out: the earliest upload of it in any package of the upstream.

    A repackager uploads old versions late, all on one day, and counts post-releases of its own;
    distance in time is meant from the upstream's own release.
    """
    earliest: dict[Version, dt.datetime] = {}
    for source in lock.upstreams[subject.upstream].sources:
        if isinstance(source, SdistSource | WheelSource):
            for release in releases(registry, source):
                if release.when is not None:
                    earliest[release.version] = min(
                        release.when, earliest.get(release.version, release.when)
                    )
    return {
        version: earliest.get(Version(version.base_version), when)
        for version, when in earliest.items()
    }


def months(when: dt.datetime, pin: dt.datetime) -> float:
    """Return the signed distance in months."""
    return (when - pin).total_seconds() / 86400 / MONTH
