"""What the forms of requirements have in common.

One declaration, what it belongs to, which one a change means, and what takes its place.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from packaging.markers import Marker
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from forkhouse.core.errors import PatchConflictError

if TYPE_CHECKING:
    from forkhouse.patches.edits import RequirementChange

_EXTRA = re.compile(r"""extra\s*==\s*["']([^"']+)["']|["']([^"']+)["']\s*==\s*extra""")


@dataclass(frozen=True, kw_only=True, slots=True)
class Belongs:
    """What a declaration is a part of."""

    extras: frozenset[str] = frozenset()
    """The extras that ask for it, by their canonical names; none for what is always asked for."""
    group: str | None = None
    """The dependency group (PEP 735) by its canonical name."""
    build: bool = False
    """It is needed to build the project."""


def requirement_of(text: str) -> Requirement | None:
    """Read one requirement (PEP 508), None for what is none."""
    try:
        return Requirement(text.strip())
    except (InvalidRequirement, RecursionError):
        return None


def is_named(name: str, wanted: str) -> bool:
    """Say whether a distribution is the one that is wanted.

    Spelling does not matter (PEP 503), and `*` is any text.
    """
    return fnmatchcase(canonicalize_name(name), canonicalize_name(wanted))


def is_meant(name: str, belongs: Belongs, change: RequirementChange) -> bool:
    """Say whether a declaration is one that a change replaces or removes."""
    if not is_named(name, change.gone or ""):
        return False
    if change.group is not None:
        return belongs.group == canonicalize_name(change.group)
    if change.extra is None:
        return True
    return (
        canonicalize_name(change.extra) in belongs.extras
        if change.extra
        else not belongs.extras and belongs.group is None
    )


def replacement(change: RequirementChange, old: Requirement, extras: frozenset[str]) -> Requirement:
    """Return what takes the place of a declaration.

    Its marker stays, and with `keep-version` its version.

    Raises PatchConflictError where the old one's address would be given to another distribution.
    """
    new = Requirement(change.with_ or "")
    if change.keep_version:
        if old.url and canonicalize_name(old.name) != canonicalize_name(new.name):
            message = (
                f"{old} has no version to keep: its address is that of {old.name}, not of "
                f"{new.name}. Write a version or an address in `with`."
            )
            raise PatchConflictError(message)
        new.specifier, new.url = old.specifier, old.url
    if new.marker is None:
        new.marker = old.marker
    elif extras and not extras_of(new):
        # A new condition must not move the declaration out of its extra.
        named = " or ".join(f'extra == "{extra}"' for extra in sorted(extras))
        new.marker = Marker(f"({new.marker}) and ({named})")
    return new


def extras_of(requirement: Requirement | None) -> frozenset[str]:
    """Return the extras that a declaration's marker names."""
    if requirement is None or requirement.marker is None:
        return frozenset()
    return frozenset(
        canonicalize_name(left or right) for left, right in _EXTRA.findall(str(requirement.marker))
    )


def same_files(one: Requirement, other: Requirement) -> bool:
    """Say whether two declarations are met by the same files, so that the hashes of the one hold for the other."""
    return canonicalize_name(one.name) == canonicalize_name(other.name) and (
        one.specifier,
        one.url,
    ) == (other.specifier, other.url)
