"""CycloneDX documents: the one in a wheel of ours, and the one of a whole wheelhouse.

Equal inputs give equal bytes: serial numbers follow from the content, and the one time that a
document has is the SOURCE_DATE_EPOCH of a build.
"""

from __future__ import annotations

import json
import warnings
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.tool import ToolRepository
from cyclonedx.output.json import JsonV1Dot6

from forkhouse.provenance.parts import prop, tool, wheel_component
from forkhouse.provenance.purls import of_distribution
from forkhouse.provenance.wheels import Shipped, carried_component, edges, shipped_component

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cyclonedx.model.vulnerability import Vulnerability

    from forkhouse.provenance.origins import Origin

_SERIALS = "pkg:generic/forkhouse?format=1#docs/reference/provenance.md"
"""The namespace of serial numbers."""


def wheel_document(origin: Origin) -> str:
    """Return the bill of materials that goes into a wheel of ours (PEP 770)."""
    ref = f"{origin.name}@{origin.version}"
    subject = wheel_component(origin, ref=ref)
    # What is in the wheel is listed once: below the document, as its readers expect it.
    inside = list(subject.components)
    subject.components.clear()
    against = [
        Component(
            type=ComponentType.LIBRARY,
            name=each.name,
            version=each.version,
            bom_ref=f"{each.name}@{each.version}",
            purl=of_distribution(each.name, each.version),
        )
        for each in origin.siblings
    ]
    bom = Bom(
        components=[*inside, *against],
        metadata=BomMetaData(tools=ToolRepository(components=[tool()]), component=subject),
    )
    bom.metadata.timestamp = datetime.fromtimestamp(origin.epoch, UTC)
    bom.register_dependency(subject, [*inside, *against])
    return _text(bom)


def wheelhouse_document(
    profile: str,
    install: Sequence[str],
    wheels: Sequence[Shipped],
    carried: Sequence[Shipped] = (),
    *,
    properties: Mapping[str, str],
    vulnerabilities: Sequence[Vulnerability] = (),
) -> str:
    """Return the bill of materials of a wheelhouse.

    `install` are the requirements that stand for the whole profile. What is `carried` for the
    target is no part of the profile.
    """
    root = Component(
        type=ComponentType.APPLICATION,
        name=f"wheelhouse-{profile}",
        bom_ref="wheelhouse",
        properties=[prop(name, value) for name, value in properties.items()],
    )
    components = {each.contents.name: shipped_component(each) for each in wheels}
    bom = Bom(
        components=[*components.values(), *(carried_component(each) for each in carried)],
        vulnerabilities=vulnerabilities,
        metadata=BomMetaData(tools=ToolRepository(components=[tool()]), component=root),
    )
    bom.metadata.timestamp = None  # type: ignore[assignment]  # the schema asks for none
    bom.register_dependency(root, [components[name] for name in edges(install, components)])
    for each in wheels:
        component = components[each.contents.name]
        wanted = [components[name] for name in edges(each.contents.requires, components)]
        bom.register_dependency(component, [*wanted, *component.components])
    return _text(bom)


def _text(bom: Bom) -> str:
    """Return a document as JSON, with a serial number that follows from everything in it."""
    bom.serial_number = uuid5(NAMESPACE_URL, _SERIALS)
    with warnings.catch_warnings():
        # It warns of a document whose subject depends on nothing, which is what a wheel may do.
        warnings.simplefilter("ignore", UserWarning)
        text = json.dumps(json.loads(JsonV1Dot6(bom).output_as_string()), sort_keys=True)
        bom.serial_number = uuid5(NAMESPACE_URL, f"{_SERIALS}\n{text}")
        return JsonV1Dot6(bom).output_as_string(indent=1) + "\n"
