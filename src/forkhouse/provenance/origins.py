"""Everything that is known of where a wheel of ours came from, in one value.

It is all of the build's own: the pin, the patches one by one, what was laid into the tree, and the
wheels that it was built against.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pygit2

from forkhouse.patches.rendered import rendered
from forkhouse.provenance.dep3 import Issue, PatchKind, issues_of, kind_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from forkhouse.builders.built import BuiltWheel
    from forkhouse.documents.lockfile import Lock, Source
    from forkhouse.patches.apply import PatchedTree
    from forkhouse.patches.series import Patch
    from forkhouse.sources.acquire import SourceTree
    from forkhouse.sources.store import ObjectStore


@dataclass(frozen=True, kw_only=True, slots=True)
class PatchOrigin:
    """A patch as it was applied."""

    path: str
    """Of its file in the checkout: `patches/UPSTREAM/NAME`."""
    subject: str
    sha256: str
    """Of its file."""
    kind: PatchKind
    issues: tuple[Issue, ...]
    commit: str
    """Commit that it became in the store."""
    diff_sha256: str
    """Of what it changed, as a diff of git."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceOrigin:
    """A source as it was fetched."""

    name: str
    version: str
    licence: str
    """SPDX expression that the lock has of it."""
    source: Source
    tree: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PartOrigin:
    """A component that was laid into the tree."""

    path: str
    """Its folder there."""
    source: SourceOrigin


@dataclass(frozen=True, kw_only=True, slots=True)
class SiblingOrigin:
    """A wheel of ours that another one was built against."""

    name: str
    version: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Where a wheel of ours came from."""

    recipe: str
    name: str
    version: str
    upstream: SourceOrigin
    epoch: int
    """SOURCE_DATE_EPOCH of its build, in seconds since 1970 UTC."""
    patched_tree: str
    patches: tuple[PatchOrigin, ...]
    parts: tuple[PartOrigin, ...]
    siblings: tuple[SiblingOrigin, ...]
    tools: Mapping[str, str]
    omits: Mapping[str, str]


def origin_of(wheel: BuiltWheel, lock: Lock, series: Sequence[Patch], store: ObjectStore) -> Origin:
    """Return where a wheel of ours came from.

    `series` are all patches of its upstream; the store holds what each of them became.
    """
    patched = wheel.patched
    licences = {
        name: pinned.licence for name, pinned in {**lock.upstreams, **lock.components}.items()
    }
    return Origin(
        recipe=wheel.recipe,
        name=wheel.distribution,
        version=wheel.version,
        upstream=_source(patched.source, licences),
        epoch=patched.source.epoch,
        patched_tree=patched.tree,
        patches=_patches(patched, series, store),
        parts=tuple(
            PartOrigin(path=part.path, source=_source(part.source, licences))
            for part in wheel.parts
        ),
        siblings=tuple(
            SiblingOrigin(name=sibling.distribution, version=sibling.version)
            for sibling in wheel.siblings
        ),
        tools=wheel.tools,
        omits=wheel.omits,
    )


def _source(source: SourceTree, licences: Mapping[str, str]) -> SourceOrigin:
    return SourceOrigin(
        name=source.upstream,
        version=source.version,
        licence=licences[source.upstream],
        source=source.source,
        tree=source.tree,
    )


def _patches(
    patched: PatchedTree, series: Sequence[Patch], store: ObjectStore
) -> tuple[PatchOrigin, ...]:
    """Return the patches that were applied, each with the commit that it became."""
    by_name = {patch.name: patch for patch in series}
    found = []
    commit = store.repository[patched.commit].peel(pygit2.Commit)
    for name in reversed(patched.applied):
        patch, before = by_name[name], commit.parents[0]
        diff = rendered(str(before.tree_id), str(commit.tree_id), store)
        found.append(
            PatchOrigin(
                path=f"patches/{patched.source.upstream}/{name}",
                subject=patch.subject,
                sha256=patch.sha256,
                kind=kind_of(patch.header),
                issues=issues_of(patch.header),
                commit=str(commit.id),
                diff_sha256=hashlib.sha256(diff).hexdigest(),
            )
        )
        commit = before
    return tuple(reversed(found))
