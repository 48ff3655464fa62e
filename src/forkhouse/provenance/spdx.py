"""The bill of materials of a wheelhouse as an SPDX 3 document.

It is written from the values behind the CycloneDX document, for sites whose tools read SPDX
(https://spdx.github.io/spdx-spec/v3.0.1/). Relationships say what CycloneDX has only properties
for: which patch changed which source (`patchedBy`), and with what a wheel was built (`usesTool`).

Equal inputs give equal bytes: the namespace of all names follows from the content.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote
from uuid import NAMESPACE_URL, uuid5

from spdx_python_model.bindings import v3_0_1 as spdx

from forkhouse import __version__
from forkhouse.documents.lockfile import ArchiveSource, GitSource
from forkhouse.provenance.parts import PREFIX, source_digests
from forkhouse.provenance.purls import of_distribution, of_source
from forkhouse.provenance.vex import mended_by, resolved
from forkhouse.provenance.wheels import edges, merged_components

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cyclonedx.model import HashType

    from forkhouse.provenance.origins import Origin, PatchOrigin, SourceOrigin
    from forkhouse.provenance.wheels import Shipped

Kind = TypeVar("Kind", bound=spdx.Element)

_NAMESPACE = "pkg:generic/forkhouse?format=1#docs/reference/provenance.md/spdx"
_RELATION = spdx.RelationshipType
_PURPOSE = spdx.software_SoftwarePurpose
_PROFILES = ("core", "software", "simpleLicensing", "security", "extension")
"""Parts of SPDX 3 that a document uses."""
_ALGORITHMS = {
    "MD5": "md5",
    "SHA-1": "sha1",
    "SHA-256": "sha256",
    "SHA-384": "sha384",
    "SHA-512": "sha512",
    "SHA3-256": "sha3_256",
    "SHA3-384": "sha3_384",
    "SHA3-512": "sha3_512",
    "BLAKE2b-256": "blake2b256",
    "BLAKE2b-384": "blake2b384",
    "BLAKE2b-512": "blake2b512",
    "BLAKE3": "blake3",
}
"""SPDX's names of the hashes that CycloneDX knows."""


def spdx_document(
    profile: str,
    install: Sequence[str],
    wheels: Sequence[Shipped],
    carried: Sequence[Shipped] = (),
    *,
    properties: Mapping[str, str],
) -> str:
    """Return the bill of materials of a wheelhouse in the JSON of SPDX 3.0.1.

    `install` are the requirements that stand for the whole profile. What is `carried` for the
    target is no part of the profile. SPDX demands a time: it is the latest SOURCE_DATE_EPOCH of
    what was built, else the first moment of 1970.
    """
    epoch = max((each.origin.epoch for each in wheels if each.origin), default=0)
    draft = f"urn:uuid:{uuid5(NAMESPACE_URL, _NAMESPACE)}"
    graph = _begun(draft, epoch)
    root = graph.package(
        "wheelhouse",
        name=f"wheelhouse-{profile}",
        software_primaryPurpose=_PURPOSE.archive,
        extension=_extension(properties.items()),
    )
    packages = {each.contents.name: _add_wheel(graph, each) for each in wheels}
    tools = [_add_wheel(graph, each, place="carried") for each in carried]
    graph.relate(root, _RELATION.contains, [*packages.values(), *tools])
    graph.relate(root, _RELATION.dependsOn, [packages[name] for name in edges(install, packages)])
    for each in wheels:
        wanted = edges(each.contents.requires, packages)
        package = packages[each.contents.name]
        graph.relate(package, _RELATION.dependsOn, [packages[name] for name in wanted])
    _add_resolved(graph, wheels, packages)
    _add_document(graph, root)
    text = graph.text()
    return text.replace(draft, f"urn:uuid:{uuid5(NAMESPACE_URL, f'{_NAMESPACE} {text}')}")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Graph:
    """The elements of a document, each with a name below one namespace."""

    namespace: str
    info: spdx.CreationInfo
    elements: list[spdx.Element] = field(default_factory=list)
    licences: dict[tuple[str, bool], spdx.Element] = field(default_factory=dict)
    """By what is said of them, and whether that is a name: one may look like an expression."""

    def add(self, kind: type[Kind], ref: str, **fields: Any) -> Kind:
        """Add an element. `ref` is its own in the document."""
        name = f"{self.namespace}#{quote(ref, safe='/@')}"
        made = kind(spdxId=name, creationInfo=self.info, **fields)
        self.elements.append(made)
        return made

    def package(self, ref: str, **fields: Any) -> spdx.software_Package:
        return self.add(spdx.software_Package, ref, **fields)

    def relate(
        self,
        start: spdx.Element,
        relation: str,
        ends: Sequence[spdx.Element],
        kind: type[spdx.Relationship] = spdx.Relationship,
        **fields: Any,
    ) -> None:
        """Add a relationship to all of `ends`, where there is any."""
        if ends:
            ref = f"relationship/{len(self.elements)}"
            self.add(kind, ref, from_=start, relationshipType=relation, to=list(ends), **fields)

    def licence(self, package: spdx.Element, expression: str | None, names: Sequence[str]) -> None:
        """Say which licence a package declares: an SPDX expression, else names of its own."""
        named = not expression
        for said in dict.fromkeys(names) if not expression else [expression]:
            if (said, named) not in self.licences:
                self.licences[said, named] = self._licence(said, named=named)
            self.relate(package, _RELATION.hasDeclaredLicense, [self.licences[said, named]])

    def _licence(self, said: str, *, named: bool) -> spdx.Element:
        ref = f"licence/{len(self.licences)}"
        if not named:
            return self.add(
                spdx.simplelicensing_LicenseExpression, ref, simplelicensing_licenseExpression=said
            )
        words = self.add(
            spdx.simplelicensing_SimpleLicensingText,
            f"{ref}/words",
            name=said,
            simplelicensing_licenseText=said,
            comment="The package names its licence in these words; its text is in it.",
        )
        # Tools look for expressions alone: SPDX's way to name a licence of somebody's own in one.
        own = f"LicenseRef-{PREFIX}-{len(self.licences)}"
        return self.add(
            spdx.simplelicensing_LicenseExpression,
            ref,
            simplelicensing_licenseExpression=own,
            simplelicensing_customIdToUri=[spdx.DictionaryEntry(key=own, value=words.spdxId)],
        )

    def text(self) -> str:
        written = io.BytesIO()
        spdx.JSONLDSerializer().write(spdx.SHACLObjectSet(self.elements), written)
        return json.dumps(json.loads(written.getvalue()), indent=1) + "\n"


def _begun(namespace: str, epoch: int) -> _Graph:
    """Return a document that says only by what it was made, and when."""
    info = spdx.CreationInfo(specVersion="3.0.1", created=datetime.fromtimestamp(epoch, UTC))
    graph = _Graph(namespace=namespace, info=info)
    agent = graph.add(spdx.SoftwareAgent, "agent", name=f"forkhouse {__version__}")
    info.createdBy = [agent]
    return graph


def _add_document(graph: _Graph, root: spdx.Element) -> None:
    everything = list(graph.elements)
    profiles = [getattr(spdx.ProfileIdentifierType, name) for name in _PROFILES]
    bom = graph.add(
        spdx.software_Sbom,
        "sbom",
        software_sbomType=[spdx.software_SbomType.build],
        profileConformance=profiles,
        rootElement=[root],
        element=everything,
    )
    terms = graph.add(
        spdx.simplelicensing_LicenseExpression,
        "terms-of-this-document",
        simplelicensing_licenseExpression="CC0-1.0",
    )
    graph.add(
        spdx.SpdxDocument,
        "document",
        name=root.name,
        profileConformance=profiles,
        dataLicense=terms,
        rootElement=[bom],
        element=[*everything, terms],
    )


def _add_wheel(graph: _Graph, wheel: Shipped, *, place: str = "index") -> spdx.software_Package:
    """Add a wheel with its hash and licence, where it came from, and what is compiled into it."""
    contents, origin = wheel.contents, wheel.origin
    told = [("origin", "built" if origin else place), *([("why", wheel.why)] if wheel.why else [])]
    package = graph.package(
        wheel.file,
        name=contents.name,
        software_packageVersion=contents.version,
        software_packageUrl=str(
            of_distribution(contents.name, contents.version, PurePosixPath(wheel.file).name)
        ),
        software_primaryPurpose=_PURPOSE.library,
        verifiedUsing=[_sha256(wheel.sha256)],
        extension=_extension([*told, *(_facts(origin) if origin else [])]),
    )
    names = (contents.licence,) if contents.licence else contents.classifiers
    upstream = origin.upstream.licence if origin and not names else None
    graph.licence(package, contents.expression or upstream, names)
    if origin is not None:
        _add_origin(graph, wheel.file, package, origin)
    for number, bom in enumerate(contents.boms):
        found = [
            graph.package(
                each.bom_ref.value or f"{wheel.file}#{number}",
                name=each.name,
                **({"software_packageVersion": each.version} if each.version else {}),
                **({"software_packageUrl": str(each.purl)} if each.purl else {}),
                verifiedUsing=list(_hashes(each.hashes)),
            )
            for each in merged_components(f"{wheel.file}#{number}", bom)
        ]
        graph.relate(package, _RELATION.contains, found)
    return package


def _facts(origin: Origin) -> list[tuple[str, str]]:
    return [
        ("recipe", origin.recipe),
        ("source-date-epoch", str(origin.epoch)),
        ("patched-tree", f"swh:1:dir:{origin.patched_tree}"),
        *((f"omits:{name}", lost) for name, lost in origin.omits.items()),
    ]


def _add_origin(graph: _Graph, ref: str, package: spdx.Element, origin: Origin) -> None:
    """Add the upstream of a wheel of ours, its patches, what was laid in, and the tools."""
    upstream = _add_source(graph, f"{ref}#ancestor", origin.upstream)
    graph.relate(package, _RELATION.descendantOf, [upstream])
    patches = [_add_patch(graph, ref, each) for each in origin.patches]
    graph.relate(upstream, _RELATION.patchedBy, patches)
    parts = [
        _add_source(
            graph, f"{ref}#part/{each.source.name}", each.source, [("path-in-tree", each.path)]
        )
        for each in origin.parts
    ]
    graph.relate(package, _RELATION.contains, parts)
    tools = [
        graph.add(spdx.Tool, f"{ref}#tool/{name}", name=name, description=identity)
        for name, identity in origin.tools.items()
    ]
    graph.relate(
        package,
        _RELATION.usesTool,
        tools,
        spdx.LifecycleScopedRelationship,
        scope=spdx.LifecycleScopeType.build,
    )


def _add_source(
    graph: _Graph, ref: str, origin: SourceOrigin, told: Sequence[tuple[str, str]] = ()
) -> spdx.software_Package:
    source = origin.source
    ids = [f"swh:1:dir:{origin.tree}"]
    fields: dict[str, Any] = {}
    if isinstance(source, GitSource):
        ids += [f"swh:1:rev:{source.commit}"] if source.commit else []
        fields["externalRef"] = [
            spdx.ExternalRef(externalRefType=spdx.ExternalRefType.vcs, locator=[source.url])
        ]
    if isinstance(source, ArchiveSource):
        fields["software_downloadLocation"] = source.url
    package = graph.package(
        ref,
        name=origin.name,
        software_packageVersion=origin.version,
        software_packageUrl=str(of_source(origin.name, origin.version, source)),
        software_primaryPurpose=_PURPOSE.source,
        software_contentIdentifier=[_swhid(each) for each in ids],
        verifiedUsing=[_sha256(each) for each in source_digests(source)],
        extension=_extension([("form", source.kind), *told]),
        **fields,
    )
    graph.licence(package, origin.licence, ())
    return package


def _add_patch(graph: _Graph, ref: str, patch: PatchOrigin) -> spdx.software_File:
    defects = [
        spdx.ExternalRef(
            externalRefType=spdx.ExternalRefType.issueTracker, locator=[issue.url or issue.id]
        )
        for issue in patch.issues
        if not issue.is_security
    ]
    return graph.add(
        spdx.software_File,
        f"{ref}#{patch.path}",
        name=patch.path,
        summary=patch.subject,
        software_primaryPurpose=_PURPOSE.patch,
        software_contentIdentifier=[_swhid(f"swh:1:rev:{patch.commit}")],
        verifiedUsing=[_sha256(patch.sha256)],
        externalRef=defects,
        extension=_extension([("kind", patch.kind.value), ("diff-sha256", patch.diff_sha256)]),
    )


def _add_resolved(
    graph: _Graph, wheels: Sequence[Shipped], packages: Mapping[str, spdx.Element]
) -> None:
    """Say of each known vulnerability that a patch resolves in which wheels it is fixed (VEX)."""
    origins = {each.contents.name: each.origin for each in wheels if each.origin}
    types = spdx.ExternalIdentifierType
    for each in resolved(origins):
        identifier = spdx.ExternalIdentifier(
            externalIdentifierType=types.cve if each.id.startswith("CVE-") else types.securityOther,
            identifier=each.id,
            identifierLocator=[each.url] if each.url else [],
        )
        vulnerability = graph.add(
            spdx.security_Vulnerability,
            f"vulnerability/{each.id}",
            name=each.id,
            externalIdentifier=[identifier],
        )
        for name, paths in each.patches.items():
            graph.relate(
                vulnerability,
                _RELATION.fixedIn,
                [packages[name]],
                spdx.security_VexFixedVulnAssessmentRelationship,
                security_statusNotes=mended_by(paths),
            )


def _sha256(value: str) -> spdx.Hash:
    return spdx.Hash(algorithm=spdx.HashAlgorithm.sha256, hashValue=value)


def _hashes(told: Iterable[HashType]) -> Iterable[spdx.Hash]:
    for each in told:
        name = _ALGORITHMS.get(each.alg.value)
        if name is not None:
            algorithm = getattr(spdx.HashAlgorithm, name)
            yield spdx.Hash(algorithm=algorithm, hashValue=each.content)


def _swhid(value: str) -> spdx.software_ContentIdentifier:
    return spdx.software_ContentIdentifier(
        software_contentIdentifierType=spdx.software_ContentIdentifierType.swhid,
        software_contentIdentifierValue=value,
    )


def _extension(properties: Iterable[tuple[str, str]]) -> list[spdx.extension_Extension]:
    """Return our properties, under the names that they have in the CycloneDX document."""
    entries = [
        spdx.extension_CdxPropertyEntry(
            extension_cdxPropName=f"{PREFIX}:{name}", extension_cdxPropValue=value
        )
        for name, value in properties
    ]
    if not entries:
        return []  # the schema wants one at least
    return [spdx.extension_CdxPropertiesExtension(extension_cdxProperty=entries)]
