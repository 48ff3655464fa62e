"""What a finished wheel says of its terms, and which bills of materials others wrote into it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from packaging.metadata import parse_email
from packaging.utils import canonicalize_name

from forkhouse.audit.archive import WheelArchive
from forkhouse.audit.installable import dist_info
from forkhouse.core.errors import AuditError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OURS = "forkhouse.cdx.json"
"""Name of the bill of materials that we write into a wheel (PEP 770)."""
SBOM = "sbom.cdx.json"
"""Name of a wheelhouse's bill of materials in CycloneDX."""
SPDX = "sbom.spdx.json"
"""Name of the same in SPDX 3."""
_TERMS = re.compile(
    r"(licen[cs]es?|copying|notices?|copyright|unlicense|authors)([._-].*)?", re.IGNORECASE
)
_CLASSIFIER = "License :: "
_LONGEST_NAME = 120
"""Characters of a licence's name; what is longer is its text."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ForeignBom:
    """A bill of materials that another tool wrote into a wheel (PEP 770)."""

    path: str
    sha256: str
    content: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class WheelContents:
    """What a wheel says of itself, beyond what the audit asks for."""

    name: str
    """Canonical name."""
    version: str
    requires: tuple[str, ...]
    expression: str | None
    """SPDX expression: that of PEP 639, or a licence field that is one."""
    licence: str | None
    """What a field of the licence says that is no expression: a name, or how its text begins."""
    classifiers: tuple[str, ...]
    """Names of licences among the classifiers."""
    texts: tuple[str, ...]
    """Paths of the licences' texts in the wheel."""
    boms: tuple[ForeignBom, ...]

    @property
    def terms(self) -> str | None:
        """The licence in the best words that the wheel has for it; None where it says nothing."""
        return self.expression or self.licence or ", ".join(self.classifiers) or None


def read_wheel(path: Path) -> WheelContents:
    """Read a wheel's METADATA and its .dist-info folder.

    Raises AuditError where it cannot be read.
    """
    try:
        with WheelArchive(path) as archive:
            return _read(archive)
    except AuditError as error:
        message = f"{path.name} {error}"
        raise AuditError(message) from error


def _read(archive: WheelArchive) -> WheelContents:
    info = dist_info(archive)
    raw, unread = parse_email(archive.text(f"{info}/METADATA") or "")
    # A field that stands there twice is none to packaging; what it says is told all the same.
    told = raw.get("license_expression") or ", ".join(unread.get("license-expression", ()))
    said = raw.get("license") or ", ".join(unread.get("license", ()))
    said = "" if said.strip().upper() == "UNKNOWN" else said
    classifiers = tuple(
        found
        for classifier in raw.get("classifiers") or ()
        if classifier.startswith(_CLASSIFIER)
        if classifier != "License :: OSI Approved"
        if (found := classifier.rpartition(" :: ")[2].strip())
    )
    name = _name(told) or _name(said)
    if name is None and not classifiers:
        name = _beginning(said)
    expression = _expression(told) or _expression(_name(said))
    return WheelContents(
        name=canonicalize_name(raw.get("name") or ""),
        version=raw.get("version") or "",
        requires=tuple(raw.get("requires_dist") or ()),
        expression=expression,
        licence=None if expression else name,
        classifiers=classifiers,
        texts=tuple(sorted(_texts(archive, info, raw.get("license_files") or ()))),
        boms=tuple(_boms(archive, info)),
    )


def _name(said: str) -> str | None:
    """Return what a field says of a licence on one line; None where that is its whole text."""
    line = " ".join(said.split())
    return line if 0 < len(line) <= _LONGEST_NAME else None


def _beginning(said: str) -> str | None:
    """Return the beginning of a licence's text, which names it in most cases."""
    line = next((" ".join(line.split()) for line in said.splitlines() if line.split()), "")
    return f"{line[: _LONGEST_NAME - 2]} …" if line else None


def _expression(text: str | None) -> str | None:
    """Return a text as an SPDX expression; None where it is none."""
    try:
        return str(canonicalize_license_expression(text)) if text else None
    except InvalidLicenseExpression:
        return None


def _texts(archive: WheelArchive, info: str, declared: list[str] | tuple[()]) -> Iterator[str]:
    """Yield the files that are licences: those that METADATA names, and those with such names.

    PEP 639 has them in `licenses`; older tools wrote them beside METADATA.
    """
    named = {f"{info}/{folder}{name}" for name in declared for folder in ("licenses/", "")}
    for path in (member.filename for member in archive.files):
        folder, _, name = path.rpartition("/")
        below = folder == info and _TERMS.fullmatch(name)
        if (
            path in named
            or below
            or path.startswith((f"{info}/licenses/", f"{info}/license_files/"))
        ):
            yield path


def _boms(archive: WheelArchive, info: str) -> Iterator[ForeignBom]:
    for member in archive.files:
        path = member.filename
        if path.startswith(f"{info}/sboms/") and path != f"{info}/sboms/{OURS}":
            content = archive.read(member)
            yield ForeignBom(path=path, sha256=hashlib.sha256(content).hexdigest(), content=content)
