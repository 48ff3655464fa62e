"""What an audit has to say of one wheel."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from forkhouse.core.errors import AuditError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from forkhouse.audit.metadata import WheelFacts
    from forkhouse.binaries.kernels import LibraryKernels

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
    """Return a text as one line that moves no terminal: names in a wheel are whatever its maker wrote."""
    shown = "".join(character if character.isprintable() else character.encode("unicode_escape").decode() for character in text)
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]} … ({len(shown)} letters)"


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditReport:
    """What was seen in one wheel."""

    file: str
    facts: WheelFacts | None
    """What the wheel says of itself; None when that cannot be read, which is then a finding."""
    findings: tuple[Finding, ...] = ()
    """What keeps the wheel out."""
    notes: tuple[Finding, ...] = ()
    """What is worth knowing."""
    glibc: str | None = None
    """Oldest version of the C library with which every file loads; None when no file asks for one."""
    kernels: tuple[LibraryKernels, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the wheel may enter a wheelhouse."""
        return not self.findings

    def as_json(self) -> dict[str, object]:
        """Return the report as JSON's own types."""

        def listed(findings: Iterable[Finding]) -> list[dict[str, str]]:
            return [{"rule": finding.rule.value, "where": finding.where, "what": finding.what} for finding in findings]

        return {
            "file": self.file,
            "passed": self.passed,
            "facts": asdict(self.facts) if self.facts else None,
            "findings": listed(self.findings),
            "notes": listed(self.notes),
            "glibc": self.glibc,
            "kernels": [library.model_dump(mode="json", by_alias=True) for library in self.kernels],
        }


def refuse(reports: Iterable[AuditReport]) -> None:
    """Raise AuditError that lists every finding of the wheels that did not pass; do nothing when all passed."""
    refused = [report for report in reports if not report.passed]
    if refused:
        paragraphs = ["\n".join([f"{report.file} was refused:", *(f"  - {finding}" for finding in report.findings)]) for report in refused]
        message = "\n".join([*paragraphs, "Correct the patch or the recipe that lets this through; no wheelhouse was changed."])
        raise AuditError(message)
