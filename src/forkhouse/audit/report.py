"""What an audit has to say of one wheel."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from forkhouse.core.errors import AuditError
from forkhouse.core.wording import bullets

if TYPE_CHECKING:
    from collections.abc import Iterable

    from forkhouse.audit.facts import WheelFacts
    from forkhouse.audit.findings import Finding
    from forkhouse.binaries.kernels import LibraryKernels
    from forkhouse.binaries.resources import KernelResources


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
    """Oldest version of the C library with which every file loads.

    None when no file asks for one.
    """
    kernels: tuple[LibraryKernels, ...] = ()
    resources: tuple[KernelResources, ...] = ()
    """What each kernel takes of the hardware."""

    @property
    def passed(self) -> bool:
        """Whether the wheel may enter a wheelhouse."""
        return not self.findings

    def as_json(self) -> dict[str, object]:
        """Return the report as JSON's own types."""

        def listed(findings: Iterable[Finding]) -> list[dict[str, str]]:
            return [
                {"rule": finding.rule.value, "where": finding.where, "what": finding.what}
                for finding in findings
            ]

        return {
            "file": self.file,
            "passed": self.passed,
            "facts": asdict(self.facts) if self.facts else None,
            "findings": listed(self.findings),
            "notes": listed(self.notes),
            "glibc": self.glibc,
            "kernels": [library.model_dump(mode="json", by_alias=True) for library in self.kernels],
            "resources": [each.model_dump(mode="json", by_alias=True) for each in self.resources],
        }


def refuse(reports: Iterable[AuditReport]) -> None:
    """Raise AuditError that lists every finding of the wheels that did not pass.

    Do nothing when all passed.
    """
    refused = [report for report in reports if not report.passed]
    if refused:
        paragraphs = [
            f"{report.file} was refused:\n{bullets(report.findings)}" for report in refused
        ]
        message = "\n".join(
            [
                *paragraphs,
                (
                    "Correct the patch or the recipe that lets this through; no wheelhouse was "
                    "changed."
                ),
            ]
        )
        raise AuditError(message)
