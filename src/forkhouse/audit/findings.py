"""What is wrong with a wheel, and the rule that says so."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

_LONGEST = 1000
"""Letters of a finding that are shown."""


class Rule(StrEnum):
    """The question that a finding answers."""

    READABLE = "readable"
    INSTALLABLE = "installable"
    RECORD = "record"
    NO_CUDA = "no-cuda"
    OUR_OWN = "our-own"
    GPU_CODE = "gpu-code"
    GPU_RESOURCES = "gpu-resources"
    COMPLETE = "complete"
    RELOCATABLE = "relocatable"
    PLATFORM = "platform"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that was seen."""

    rule: Rule
    where: str = ""
    """Path in the wheel; empty for the wheel itself."""
    what: str
    """A sentence without its subject, which is `where`."""
    harmless: bool = False
    """Whether it is only worth knowing; what is not harmless keeps the wheel out."""

    def __str__(self) -> str:
        """Return it as one line of a message."""
        return _printable(f"{self.where} {self.what}" if self.where else self.what)


def _printable(text: str) -> str:
    """Return a text as one line that moves no terminal.

    Names in a wheel are whatever its maker wrote.
    """
    shown = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]} … ({len(shown)} letters)"
