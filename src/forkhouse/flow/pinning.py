"""Pin the forms of one upstream or component as they are now.

What a host or an index says of it is taken; what cannot be had stays as it was, and is a finding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from forkhouse.core.errors import (
    UnreachableError,
)
from forkhouse.core.wording import bullets
from forkhouse.documents.lockfile import (
    ArchiveSource,
    Component,
    DebianSource,
    GitSource,
    Pinned,
    RegistrySource,
    Source,
    Upstream,
    parse_version,
)
from forkhouse.sources.git import mirror_address, remote_tag
from forkhouse.sources.releases import offered

if TYPE_CHECKING:
    from forkhouse.flow.plant import Plant


P = TypeVar("P", Upstream, Component)


@dataclass(frozen=True, kw_only=True, slots=True)
class PinFinding:
    """What a check or an update says of one pin."""

    subject: str
    state: str
    """`ok`, `unresolved`, `unreachable`, `refused` (by git, of a repository that tells nothing
    then), `changed` or `wrong`."""
    detail: str
    asked: str = ""
    """When the answer was obtained: `now`, or the time (UTC) of an earlier run.

    Empty where nothing was asked.
    """


def updated(
    plant: Plant, name: str, pinned: P, version: str | None, findings: list[PinFinding]
) -> P:
    """Return an upstream or a component with each form pinned as it is now.

    Raises UnreachableError when no form has the version.

    A form that cannot be had stays as it was. At another version a git form is left unresolved with
    its new tag, and a form that has no such release keeps its own.
    """
    wanted = (
        pinned
        if version is None
        else pinned.model_copy(update={"version": str(parse_version(version))})
    )
    sources: list[Source] = []
    refused: list[str] = []
    for old in pinned.sources:
        try:
            source = _pinned_now(plant, name, pinned, wanted, old, version)
        except UnreachableError as error:
            refused.append(str(error))
            source = old
            if version is None:
                findings.append(
                    PinFinding(
                        subject=f"{name}: {old.kind}",
                        state="unreachable",
                        detail=f"kept as it was: {error}",
                    )
                )
            elif isinstance(old, GitSource) and old.tag is not None:
                tag = old.tag.replace(pinned.version, wanted.version)
                source = old.model_copy(
                    update={"tag": tag, "commit": None, "tree": None, "patched_tree": None}
                )
                findings.append(
                    PinFinding(
                        subject=f"{name}: git",
                        state="unresolved",
                        detail=f"tag {tag}, its commit is not known: {error}",
                    )
                )
            else:
                source = old.model_copy(update={"version": old.version or pinned.version})
                detail = f"stays at {old.version or pinned.version}: {error}"
                findings.append(
                    PinFinding(subject=f"{name}: {old.kind}", state="unreachable", detail=detail)
                )
        if source != old:
            findings.append(
                PinFinding(
                    subject=f"{name}: {old.kind}", state="changed", detail=_difference(old, source)
                )
            )
        sources.append(source)
    if version is not None and not any(_is_at(source, wanted) for source in sources):
        reasons = f"\n{bullets(refused)}" if refused else ""
        message = f"No form of {name} can be had at {wanted.version}; nothing was pinned:{reasons}"
        raise UnreachableError(message)
    return wanted.model_copy(update={"sources": tuple(sources)})


def _is_at(source: Source, wanted: Pinned) -> bool:
    """Say whether a form is pinned, and at the version of its upstream."""
    return (source.version or wanted.version) == wanted.version and not (
        isinstance(source, GitSource) and source.commit is None
    )


def _pinned_now(
    plant: Plant, name: str, pinned: Pinned, wanted: Pinned, old: Source, version: str | None
) -> Source:
    excluded = (
        plant.access.policy == "registry"
        if isinstance(old, GitSource)
        else plant.access.policy == "git"
    )
    if version is not None and excluded and not isinstance(old, ArchiveSource):
        message = f"--sources {plant.access.policy} excludes it"
        raise UnreachableError(message)
    source = _at_version(plant, old, pinned.version, version)
    # What the lock recorded is what is being measured anew, so it must not be held against it.
    blank = source.model_copy(
        update={
            "tree": source.tree if isinstance(source, GitSource) else None,
            "patched_tree": None,
        }
    )
    return (
        source
        if isinstance(source, GitSource) and source.commit is None
        else measured(plant, name, wanted, blank)
    )


def _difference(old: Source, new: Source) -> str:
    before, after = (source.model_dump(mode="json", by_alias=True) for source in (old, new))
    return "; ".join(
        f"{key}: {before[key] or 'not recorded'} -> {after[key]}"
        for key in after
        if before[key] != after[key]
    )


def measured(plant: Plant, name: str, pinned: Pinned, source: Source) -> Source:
    """Return `source` with its tree and, of an upstream, its patched tree, as found now.

    Raises when they are not as the source says.
    """
    alone = pinned.model_copy(update={"sources": (source,)})
    # --sources is about preferences; a pin is checked in its own form.
    supplies = plant.supplies.only("git" if isinstance(source, GitSource) else "registry")
    tree = supplies.acquire(name, alone, [source.kind])
    patched = plant.supplies.apply(tree).tree if isinstance(pinned, Upstream) else None
    return source.model_copy(update={"tree": tree.tree, "patched_tree": patched})


def _at_version(plant: Plant, source: Source, old_version: str, version: str | None) -> Source:
    """Return the same form of another version, as its host or index offers it now.

    A source whose version is its own (it differs from the upstream's) stays where it is. Raises
    UnreachableError.
    """
    if isinstance(source, GitSource):
        return _resolved_tag(plant, source, old_version, version)
    if (
        version is None
        or source.version is not None
        or isinstance(source, DebianSource | ArchiveSource)
    ):
        return source
    return _registry_file(plant, source, version)


def _resolved_tag(
    plant: Plant, source: GitSource, old_version: str, version: str | None
) -> GitSource:
    if source.tag is None and version not in (None, old_version):
        message = (
            f"{source.url} is pinned at a commit of {source.branch or 'no branch'}, and no tag "
            f"tells which commit is {version}"
        )
        raise UnreachableError(message)
    if source.tag is None or (version is None and source.commit is not None):
        return source
    tag = source.tag if version is None else source.tag.replace(old_version, version)
    address = mirror_address(source.url, plant.access.mirror)
    commit = remote_tag(address, tag, plant.workspace.build)
    if commit is None:
        message = f"{source.url} has no tag {tag}."
        raise UnreachableError(message)
    return source.model_copy(update={"tag": tag, "commit": commit, "tree": None})


def _registry_file(plant: Plant, source: RegistrySource, version: str) -> RegistrySource:
    wanted = parse_version(version)
    file = next(
        (
            release.file
            for release in offered(plant.registry.links(source.package), source)
            if release.version == wanted
        ),
        None,
    )
    if file is None:
        message = f"No index offers {source.package} {version} as {source.kind} for this machine."
        raise UnreachableError(message)
    _, sha256 = plant.registry.download(plant.registry.find(source.package, file))
    return source.model_copy(update={"file": file, "sha256": sha256})
