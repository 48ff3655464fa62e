"""What the header of a patch says in DEP-3's fields: where it is from, and which faults it mends.

https://dep-team.pages.debian.net/deps/dep3/ names the fields.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

_IDENTIFIER = re.compile(
    r"\b(CVE-\d{4}-\d{4,}|GHSA(?:-[23456789cfghjmpqrvwx]{4}){3}|(?:PYSEC|RUSTSEC|OSV)-\d{4}-\d+)\b",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"https?://[^\s,<>]+")


class PatchKind(StrEnum):
    """How a patch relates to its upstream, in CycloneDX's words."""

    UNOFFICIAL = "unofficial"
    """Not of the upstream."""
    BACKPORT = "backport"
    """Of a later version of the upstream, adapted."""
    CHERRY_PICK = "cherry-pick"
    """Of a later version of the upstream, as it is."""


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Issue:
    """A fault that a patch mends."""

    id: str
    """Identifier (CVE, GHSA, PYSEC, RUSTSEC, OSV), or the address."""
    url: str | None
    is_security: bool


def field_of(header: str, name: str) -> str:
    """Return a field of a patch's header, on one line; empty where it is not there.

    `name` is a regular expression, as `Bug-.*` is one field a vendor.
    """
    found = re.findall(
        rf"^{name}:[ \t]*(.*(?:\n[ \t]+\S.*)*)", header, re.MULTILINE | re.IGNORECASE
    )
    return " ".join(" ".join(text.split()) for text in found)


def kind_of(header: str) -> PatchKind:
    """Return how a patch relates to its upstream, from its Origin."""
    category = field_of(header, "Origin").partition(",")[0].strip().lower()
    if category == "backport":
        return PatchKind.BACKPORT
    return PatchKind.CHERRY_PICK if category == "upstream" else PatchKind.UNOFFICIAL


def issues_of(header: str) -> tuple[Issue, ...]:
    """Return the faults that a patch mends: those of its Bug fields, and identifiers of its Origin.

    A fault that has an identifier is one of security; every other is named by its address.
    """
    found: dict[str, Issue] = {}
    bugs = field_of(header, r"Bug(?:-\w+)?")
    for text in (bugs, field_of(header, "Origin")):
        addresses = _ADDRESS.findall(text)
        for identifier in map(_canonical, _IDENTIFIER.findall(text)):
            url = next((each for each in addresses if identifier.lower() in each.lower()), None)
            if identifier not in found:
                found[identifier] = Issue(id=identifier, url=url, is_security=True)
    named = {issue.url for issue in found.values()}
    for address in _ADDRESS.findall(bugs):
        if address not in named:
            found[address] = Issue(id=address, url=address, is_security=False)
    return tuple(sorted(found.values()))


def _canonical(identifier: str) -> str:
    """Return an identifier as its registry spells it: GHSA's groups are in lower case."""
    prefix, dash, rest = identifier.partition("-")
    return f"{prefix.upper()}{dash}{rest.lower()}"
