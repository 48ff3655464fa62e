"""The statement of a build: which files it gave, and from what they were made.

An in-toto Statement v1 (https://in-toto.io/Statement/v1) with SLSA's provenance v1
(https://slsa.dev/provenance/v1). It holds no times: who signs it may give one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from forkhouse import __version__
from forkhouse.documents.lockfile import (
    ArchiveSource,
    DebianSource,
    GitSource,
    SdistSource,
    WheelSource,
)
from forkhouse.provenance.attestation import BUILD_TYPE, PREDICATE_TYPE, STATEMENT_TYPE
from forkhouse.provenance.purls import of_distribution, of_source

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from forkhouse.documents.pins import PinnedWheel
    from forkhouse.provenance.origins import Origin, SourceOrigin

BUILDER = f"pkg:generic/forkhouse@{__version__}"

Descriptor = dict[str, Any]
"""A resource as in-toto describes one: `uri`, `digest` by algorithm, `name`, `annotations`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Definition:
    """What a build was asked for."""

    profile: str
    install: tuple[str, ...]
    lock: str
    """sha256 of upstream.lock."""
    closure: str
    """Name of the profile's pylock file."""
    closure_sha256: str
    policy: str
    """Which sources were allowed: `auto`, `git` or `registry`."""
    targets: tuple[str, ...]
    transfer: str | None = None
    """The transfer library that was chosen, where it is not the profile's own."""
    omitted: tuple[str, ...] = ()
    """Wheels that a slim profile leaves out."""
    build_tools: tuple[PinnedWheel, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """What is known of a build when its wheelhouse is written."""

    definition: Definition
    origins: Mapping[str, Origin] = field(default_factory=dict)
    """By recipe."""


def statement_text(
    provenance: Provenance,
    third_party: Iterable[PinnedWheel],
    digests: Mapping[str, str],
    *,
    python: str,
    machine: str,
) -> str:
    """Return the statement of a wheelhouse, `digests` being the sha256 of its files by path."""
    definition, origins = provenance.definition, provenance.origins
    predicate = {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {
                "profile": definition.profile,
                "install": list(definition.install),
                "lock": {"name": "upstream.lock", "digest": {"sha256": definition.lock}},
                "closure": {
                    "name": definition.closure,
                    "digest": {"sha256": definition.closure_sha256},
                },
                "sources": definition.policy,
                "transfer": definition.transfer,
                "omitted": list(definition.omitted),
                "gpu-targets": list(definition.targets),
            },
            "internalParameters": {
                "python": python,
                "machine": machine,
                "tools": {name: dict(origin.tools) for name, origin in sorted(origins.items())},
            },
            "resolvedDependencies": _dependencies(origins, third_party, definition.build_tools),
        },
        "runDetails": {"builder": {"id": BUILDER, "version": {"forkhouse": __version__}}},
    }
    return dump(statement(digests, predicate))


def statement(digests: Mapping[str, str], predicate: Mapping[str, Any]) -> dict[str, Any]:
    """Return a statement about files."""
    return {
        "_type": STATEMENT_TYPE,
        "subject": [
            {"name": name, "digest": {"sha256": sha256}} for name, sha256 in sorted(digests.items())
        ],
        "predicateType": PREDICATE_TYPE,
        "predicate": predicate,
    }


def dump(document: Mapping[str, Any]) -> str:
    """Return a document as JSON, the same bytes for the same content."""
    return json.dumps(document, indent=1, sort_keys=True) + "\n"


def _dependencies(
    origins: Mapping[str, Origin],
    third_party: Iterable[PinnedWheel],
    build_tools: Sequence[PinnedWheel],
) -> list[Descriptor]:
    """Return every source, patch and wheel that went in, each once, with its digests."""
    found: dict[str, Descriptor] = {}
    for _, origin in sorted(origins.items()):
        for each in _sources(origin.upstream):
            found.setdefault(each["uri"], each)
        for part in origin.parts:
            for each in _sources(part.source):
                found.setdefault(each["uri"], each)
        for patch in origin.patches:
            found.setdefault(
                patch.path,
                {"name": patch.path, "digest": {"sha256": patch.sha256}, "uri": patch.path},
            )
    for pin in sorted(third_party):
        found.setdefault(*_wheel(pin))
    for pin in sorted(build_tools):
        found.setdefault(*_wheel(pin, "build tool"))
    return list(found.values())


def _wheel(pin: PinnedWheel, role: str = "wheel") -> tuple[str, Descriptor]:
    uri = of_distribution(pin.name, pin.version, pin.file).to_string()
    return uri, {
        "uri": uri,
        "name": pin.file,
        "digest": {"sha256": pin.sha256},
        "annotations": {"role": role},
    }


def _sources(origin: SourceOrigin) -> Iterator[Descriptor]:
    source = origin.source
    told = {"name": origin.name, "annotations": {"role": "source", "version": origin.version}}
    match source:
        case GitSource():
            yield {
                **told,
                "uri": f"git+{source.url}@{source.commit}",
                "digest": {"gitCommit": source.commit, "gitTree": origin.tree},
            }
        case DebianSource():
            purl = of_source(origin.name, origin.version, source).to_string()
            for file in source.files:
                yield {
                    **told,
                    "uri": f"{purl}#{file.file}",
                    "name": file.file,
                    "digest": {"sha256": file.sha256},
                }
        case SdistSource() | WheelSource() | ArchiveSource():
            yield {
                **told,
                "uri": of_source(origin.name, origin.version, source).to_string(),
                "digest": {"sha256": source.sha256, "gitTree": origin.tree},
            }
