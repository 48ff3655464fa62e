"""Components of a CycloneDX document: what a wheel of ours was made from.

https://cyclonedx.org/docs/1.6/json/ has the fields.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cyclonedx.model import (
    ExternalReference,
    ExternalReferenceType,
    HashAlgorithm,
    HashType,
    Property,
    XsUri,
)
from cyclonedx.model.component import (
    Commit,
    Component,
    ComponentType,
    Diff,
    Patch,
    PatchClassification,
    Pedigree,
    Swhid,
)
from cyclonedx.model.issue import IssueClassification, IssueType, IssueTypeSource
from cyclonedx.model.license import DisjunctiveLicense, LicenseAcknowledgement, LicenseExpression

from forkhouse import __version__
from forkhouse.documents.lockfile import (
    ArchiveSource,
    DebianSource,
    GitSource,
    SdistSource,
    WheelSource,
)
from forkhouse.provenance.purls import of_distribution, of_source

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cyclonedx.model.license import License

    from forkhouse.documents.lockfile import Source
    from forkhouse.provenance.contents import WheelContents
    from forkhouse.provenance.dep3 import Issue
    from forkhouse.provenance.origins import Origin, PatchOrigin, SourceOrigin

PREFIX = "forkhouse"
"""The namespace of our properties, which docs/reference/provenance.md explains."""


def tool() -> Component:
    """Return Forkhouse as the tool that wrote a document."""
    return Component(
        type=ComponentType.APPLICATION,
        name="forkhouse",
        version=__version__,
        bom_ref=f"forkhouse@{__version__}",
    )


def sha256(value: str) -> HashType:
    """Return a hash for a component."""
    return HashType(alg=HashAlgorithm.SHA_256, content=value)


def prop(name: str, value: str) -> Property:
    """Return a property of ours."""
    return Property(name=f"{PREFIX}:{name}", value=value)


def wheel_component(
    origin: Origin, *, ref: str, file: str | None = None, properties: Iterable[Property] = ()
) -> Component:
    """Return a wheel of ours with its pedigree and what is linked or laid into it.

    `file` is its name, where it is known already.
    """
    return Component(
        type=ComponentType.LIBRARY,
        name=origin.name,
        version=origin.version,
        bom_ref=ref,
        purl=of_distribution(origin.name, origin.version, file),
        licenses=[_declared(origin.upstream.licence)],
        pedigree=Pedigree(
            ancestors=[source_component(origin.upstream, ref=f"{ref}#ancestor")],
            commits=[Commit(uid=each.commit, message=each.subject) for each in origin.patches],
            patches=[_patch(each) for each in origin.patches],
        ),
        components=part_components(origin, ref),
        properties=[
            prop("recipe", origin.recipe),
            prop("source-date-epoch", str(origin.epoch)),
            prop("patched-tree", f"swh:1:dir:{origin.patched_tree}"),
            *(prop("patch", _told(number, each)) for number, each in _numbered(origin.patches)),
            *(prop(f"tool:{name}", identity) for name, identity in origin.tools.items()),
            *(prop(f"omits:{name}", lost) for name, lost in origin.omits.items()),
            *properties,
        ],
    )


def part_components(origin: Origin, ref: str) -> list[Component]:
    """Return what was laid into the tree of a wheel, and is compiled into it."""
    return [
        source_component(
            part.source,
            ref=f"{ref}#part/{part.source.name}",
            properties=[prop("path-in-tree", part.path)],
        )
        for part in origin.parts
    ]


def source_component(
    origin: SourceOrigin, *, ref: str, properties: Iterable[Property] = ()
) -> Component:
    """Return a pinned source with its hashes and where it is kept."""
    source = origin.source
    ids = [Swhid(f"swh:1:dir:{origin.tree}")]
    references = []
    if isinstance(source, GitSource):
        ids += [Swhid(f"swh:1:rev:{source.commit}")] if source.commit else []
        references.append(ExternalReference(type=ExternalReferenceType.VCS, url=XsUri(source.url)))
    if isinstance(source, ArchiveSource):
        references.append(
            ExternalReference(
                type=ExternalReferenceType.DISTRIBUTION,
                url=XsUri(source.url),
                hashes=[sha256(source.sha256)],
            )
        )
    return Component(
        type=ComponentType.LIBRARY,
        name=origin.name,
        version=origin.version,
        bom_ref=ref,
        purl=of_source(origin.name, origin.version, source),
        licenses=[_declared(origin.licence)],
        hashes=[sha256(value) for value in source_digests(source)],
        swhids=ids,
        external_references=references,
        properties=[prop("form", source.kind), *properties],
    )


def licences_of(contents: WheelContents) -> list[License]:
    """Return what a wheel says of its licence: an SPDX expression, else names."""
    if contents.expression:
        return [_declared(contents.expression)]
    names = (contents.licence,) if contents.licence else contents.classifiers
    return [
        DisjunctiveLicense(name=name, acknowledgement=LicenseAcknowledgement.DECLARED)
        for name in names
    ]


def _declared(expression: str) -> LicenseExpression:
    return LicenseExpression(expression, acknowledgement=LicenseAcknowledgement.DECLARED)


def source_digests(source: Source) -> list[str]:
    """Return the sha256 of the file whose tree was taken; a commit has none."""
    match source:
        case SdistSource() | WheelSource() | ArchiveSource():
            return [source.sha256]
        case DebianSource():
            return [each.sha256 for each in source.files if ".orig.tar" in each.file]
        case GitSource():
            return []


def _numbered(patches: Iterable[PatchOrigin]) -> Iterable[tuple[int, PatchOrigin]]:
    return enumerate(patches, start=1)


def _told(number: int, patch: PatchOrigin) -> str:
    """Return what CycloneDX has no field for: the order of a patch, its hash and its diff's."""
    return (
        f"{number:04} {patch.path} sha256:{patch.sha256} diff-sha256:{patch.diff_sha256} "
        f"commit:{patch.commit}"
    )


def _patch(patch: PatchOrigin) -> Patch:
    return Patch(
        type=PatchClassification(patch.kind.value),
        diff=Diff(url=XsUri(f"{patch.path}#diff-sha256={patch.diff_sha256}")),
        resolves=[_issue(each) for each in patch.issues],
    )


def _issue(issue: Issue) -> IssueType:
    return IssueType(
        type=IssueClassification.SECURITY if issue.is_security else IssueClassification.DEFECT,
        id=issue.id,
        source=IssueTypeSource(url=XsUri(issue.url)) if issue.url else None,
    )
