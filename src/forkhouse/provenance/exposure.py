"""Hold a wheelhouse against known vulnerabilities, with what the patches of the series resolve."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from forkhouse.core.errors import ClosureError
from forkhouse.core.storage import read_file
from forkhouse.provenance.contents import SBOM
from forkhouse.provenance.osv import read_export

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from forkhouse.provenance.osv import Advisory


@dataclass(frozen=True, kw_only=True, slots=True)
class Package:
    """A component of a wheelhouse, under a name that advisories use."""

    ref: str
    """Of the wheel in the bill of materials: its file."""
    name: str
    """Canonical name on the Python package index."""
    version: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Exposure:
    """A wheel with a known vulnerability."""

    wheel: str
    package: str
    version: str
    id: str
    aliases: tuple[str, ...]
    summary: str
    severity: str
    fixed: tuple[str, ...]
    resolved: str | None
    """What resolves it, in the words of the bill of materials; None where nothing does."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExposureLook:
    """What a look at a wheelhouse gave."""

    packages: int
    """How many names and versions were held against the export."""
    unnamed: tuple[str, ...]
    """Components that no advisory of the ecosystem names, as they are of no package index."""
    unjudged: tuple[str, ...]
    """Advisories about packages that are here, and the package: they name no versions."""
    exposures: tuple[Exposure, ...]


def look(folder: Path, export: Path) -> ExposureLook:
    """Hold every component of a wheelhouse's bill of materials against an export of OSV.

    A wheel of ours is held under its own name, and under that of the file that was patched. Raises
    ClosureError for a wheelhouse without a bill of materials, DocumentError for an export that is
    none.
    """
    packages, unnamed, resolved = _document(folder)
    advisories: dict[str, list[Advisory]] = {}
    for advisory in read_export(export, {each.name for each in packages}):
        advisories.setdefault(advisory.package, []).append(advisory)
    found: dict[tuple[str, str], Exposure] = {}
    for each in packages:
        for advisory in advisories.get(each.name, ()):
            if advisory.affects(Version(each.version)):
                found.setdefault((each.ref, advisory.id), _exposure(each, advisory, resolved))
    return ExposureLook(
        packages=len(packages),
        unnamed=unnamed,
        unjudged=tuple(
            f"{advisory.id} ({name})"
            for name, group in sorted(advisories.items())
            for advisory in group
            if not advisory.judged
        ),
        exposures=tuple(found.values()),
    )


def _exposure(
    package: Package, advisory: Advisory, resolved: Mapping[tuple[str, str], str]
) -> Exposure:
    said = (resolved.get((package.ref, name)) for name in sorted(advisory.names))
    return Exposure(
        wheel=package.ref,
        package=package.name,
        version=package.version,
        id=advisory.id,
        aliases=advisory.aliases,
        summary=advisory.summary,
        severity=advisory.severity,
        fixed=advisory.fixed,
        resolved=next((each for each in said if each is not None), None),
    )


def _document(
    folder: Path,
) -> tuple[list[Package], tuple[str, ...], dict[tuple[str, str], str]]:
    """Return what a bill of materials names, what of it no advisory can name, what is resolved."""
    try:
        document: dict[str, Any] = json.loads(read_file(folder / SBOM))
        packages = sorted(set(_packages(document)), key=lambda each: (each.name, each.ref))
        return packages, tuple(sorted(set(_unnamed(document)))), _resolved(document)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        message = (
            f"The wheelhouse {folder.name} has no {SBOM} that can be read: {error!r}. Build it "
            "again with this Forkhouse."
        )
        raise ClosureError(message) from error


def _all(component: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield a component, what is in it, and what it came from."""
    yield component
    for each in (
        *component.get("components", ()),
        *component.get("pedigree", {}).get("ancestors", ()),
    ):
        yield from _all(each)


def _packages(document: Mapping[str, Any]) -> Iterator[Package]:
    for wheel in document["components"]:
        for component in _all(wheel):
            if _is_of_index(component):
                yield Package(
                    ref=wheel["bom-ref"],
                    name=_name(component["purl"]),
                    version=component["version"],
                )


def _unnamed(document: Mapping[str, Any]) -> Iterator[str]:
    for wheel in document["components"]:
        for component in _all(wheel):
            if not _is_of_index(component):
                yield f"{component['name']} {component.get('version', '')}".strip()


def _is_of_index(component: Mapping[str, Any]) -> bool:
    if not str(component.get("purl", "")).startswith("pkg:pypi/"):
        return False
    try:
        Version(component.get("version", ""))
    except InvalidVersion:
        return False
    return True


def _name(purl: str) -> str:
    return canonicalize_name(unquote(re.split("[@?#]", purl.removeprefix("pkg:pypi/"))[0]))


def _resolved(document: Mapping[str, Any]) -> dict[tuple[str, str], str]:
    """Return by wheel and identifier what the bill of materials says is resolved."""
    return {
        (target["ref"], vulnerability["id"].upper()): vulnerability["analysis"].get("detail", "")
        for vulnerability in document.get("vulnerabilities", ())
        if vulnerability.get("analysis", {}).get("state") == "resolved_with_pedigree"
        for target in vulnerability.get("affects", ())
    }
