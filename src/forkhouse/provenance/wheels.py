"""The wheels of a wheelhouse as components of its bill of materials."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from cyclonedx.model import (
    ExternalReference,
    ExternalReferenceType,
    HashAlgorithm,
    HashType,
    XsUri,
)
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from packageurl import PackageURL
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from forkhouse.provenance.parts import licences_of, prop, sha256, wheel_component
from forkhouse.provenance.purls import of_distribution

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator

    from forkhouse.provenance.contents import ForeignBom, WheelContents
    from forkhouse.provenance.origins import Origin

_HEX = re.compile(
    "[a-fA-F0-9]{32}|[a-fA-F0-9]{40}|[a-fA-F0-9]{64}|[a-fA-F0-9]{96}|[a-fA-F0-9]{128}"
)
"""Hashes of the sizes that the schema allows."""
_AS_THEY_ARE = "/+!@:$&'()*,;=~"
"""What may stand in the fragment of an address (RFC 3986), beside letters and digits."""
_ALGORITHMS = {each.value: each for each in HashAlgorithm}


@dataclass(frozen=True, kw_only=True, slots=True)
class Shipped:
    """A wheel as it lies in a wheelhouse."""

    file: str
    sha256: str
    contents: WheelContents
    origin: Origin | None
    """None for a wheel of others."""
    why: str | None = None
    """Why the lock pins a wheel of others."""


def shipped_component(wheel: Shipped) -> Component:
    """Return a wheel with its hash and licences, and what its own bills of materials name."""
    contents = wheel.contents
    if wheel.origin is not None:
        component = wheel_component(
            wheel.origin, ref=wheel.file, file=wheel.file, properties=[prop("origin", "built")]
        )
    else:
        component = Component(
            type=ComponentType.LIBRARY,
            name=contents.name,
            version=contents.version,
            bom_ref=wheel.file,
            purl=of_distribution(contents.name, contents.version, PurePosixPath(wheel.file).name),
            properties=[
                prop("origin", "index"),
                *([prop("why", wheel.why)] if wheel.why else []),
            ],
        )
    if told := licences_of(contents):
        component.licenses = told
    component.hashes = [sha256(wheel.sha256)]
    for number, bom in enumerate(contents.boms):
        component.external_references.add(_reference(wheel.file, bom))
        component.components.update(merged_components(f"{wheel.file}#{number}", bom))
    return component


def carried_component(wheel: Shipped) -> Component:
    """Return a wheel that is carried for the target, and is no part of the profile."""
    component = shipped_component(wheel)
    component.scope = ComponentScope.EXCLUDED
    component.properties = [prop("origin", "carried")]
    return component


def edges(requirements: Iterable[str], there: Container[str]) -> Iterator[str]:
    """Yield the names of the wheels that requirements ask for here, each once.

    What an extra asks for counts where a requirement names the extra: it is in the wheelhouse
    then, and another requirement leads to it.
    """
    found: dict[str, None] = {}
    for text in requirements:
        try:
            requirement = Requirement(text)
            applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        except (InvalidRequirement, ValueError):
            continue  # the audit speaks of it
        name = canonicalize_name(requirement.name)
        if applies and name in there:
            found[name] = None
    yield from found


def _reference(file: str, bom: ForeignBom) -> ExternalReference:
    return ExternalReference(
        type=ExternalReferenceType.BOM,
        url=XsUri(f"{file}#{quote(bom.path, safe=_AS_THEY_ARE)}"),
        hashes=[sha256(bom.sha256)],
        comment="in the wheel, written by another tool",
    )


def merged_components(ref: str, bom: ForeignBom) -> Iterator[Component]:
    """Yield the components that a bill of materials in CycloneDX's JSON names.

    Of another format nothing is merged: it is referenced.
    """
    try:
        document = json.loads(bom.content)
    except (ValueError, RecursionError):
        return
    if not isinstance(document, dict) or document.get("bomFormat") != "CycloneDX":
        return
    seen = set()
    for number, each in enumerate(_flat(document.get("components"))):
        component = _foreign(each, f"{ref}/{number}")
        key = (str(component.purl), component.name, component.version) if component else None
        if component is not None and key not in seen:
            seen.add(key)
            yield component


def _flat(components: object) -> Iterator[dict[str, Any]]:
    waiting = [components]
    while waiting:
        level = waiting.pop(0)
        for each in level if isinstance(level, list) else []:
            if isinstance(each, dict):
                yield each
                waiting.append(each.get("components"))


def _foreign(each: dict[str, Any], ref: str) -> Component | None:
    """Return a component of somebody else's document by its name, version, purl and hashes."""
    name = _text(each.get("name"))
    if name is None:
        return None
    return Component(
        type=ComponentType.LIBRARY,
        name=name,
        version=_text(each.get("version")),
        bom_ref=ref,
        purl=_purl(_text(each.get("purl"))),
        hashes=list(_hashes(each.get("hashes"))),
    )


def _text(value: object) -> str | None:
    """Return a text that UTF-8 can write: JSON may hold half a pair of surrogates."""
    try:
        return value if isinstance(value, str) and value.encode() else None
    except UnicodeEncodeError:
        return None


def _hashes(told: object) -> Iterator[HashType]:
    """Yield the hashes that somebody else gives, but for those that are none."""
    for each in told if isinstance(told, list) else []:
        found = each if isinstance(each, dict) else {}
        algorithm, value = _text(found.get("alg")), _text(found.get("content"))
        if algorithm in _ALGORITHMS and value and _HEX.fullmatch(value):
            yield HashType(alg=_ALGORITHMS[algorithm], content=value)


def _purl(text: str | None) -> PackageURL | None:
    try:
        return PackageURL.from_string(text) if text is not None else None
    except ValueError:
        return None
