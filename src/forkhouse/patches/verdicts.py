"""Say what becomes of a patch on a base, with the evidence."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from forkhouse.patches import removals
    from forkhouse.patches.obsolescence import Stretch


class Verdict(StrEnum):
    """What becomes of a patch on a base."""

    CLEAN = "clean"
    """The textual form applies exactly."""
    MERGED = "merged"
    """The textual form applies by a 3-way merge in memory."""
    RESTRUCTURED = "restructured"
    """The textual form fails, the structural one applies."""
    UPSTREAMED = "upstreamed"
    """The effect of the patch is there already."""
    OBSOLETE = "obsolete"
    """The code that the patch changed is gone."""
    CONFLICT = "conflict"
    """The patch needs a person."""


UNPROVEN = (
    "That the upstream has it is not proven: what looks like its result stood there at the pin, or "
    "stands under another condition or in another "
    "function now, or what it takes out may stand elsewhere in the file, as in another command, "
    "behind a variable or under another name."
)


APPLIED = frozenset({Verdict.CLEAN, Verdict.MERGED, Verdict.RESTRUCTURED})


SETTLED = APPLIED | {Verdict.UPSTREAMED, Verdict.OBSOLETE}


@dataclass(frozen=True, kw_only=True, slots=True)
class PatchedAtPin:
    """The trees before and after a patch at the pin; their difference is its textual form."""

    before: str
    after: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """A verdict on a patch with the evidence for it."""

    patch: str
    verdict: Verdict
    tree: str
    """The tree with the patch applied, or the base if the patch was not applied."""
    cause: str = ""
    """Why the patch was not applied, or what was found on the way."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """Files that the patch names and that have moved.

    Old path to new path, both as in this form of the upstream.
    """
    idle: bool = field(default=False, repr=False)
    """Whether some operations had nothing to do, though others had."""
    lost: tuple[Stretch, ...] = field(default=(), repr=False)
    """The code that the patch was about and that its files no longer have.

    The patch is obsolete if that code is nowhere else in the tree.
    """
    taken: tuple[removals.RemovedRun, ...] = field(default=(), repr=False)
    """The lines that the patch takes out, and that are gone from its files.

    The patch is upstream only if they came to no other file.
    """


def moved(renamed: Mapping[str, str]) -> str:
    """Say where files are now."""
    return "; ".join(f"{old} is now {new}" for old, new in renamed.items())


def gone_for_good(gone: Sequence[str]) -> str:
    """Say that code is gone."""
    return f"{', '.join(gone)} is gone, and nothing like it is there"
