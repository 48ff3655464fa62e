"""What a kernel may take: data, in `policy.yaml`, each limit with its source."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from forkhouse.documents.reading import Document, load

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from forkhouse.triton.figures import KernelFigures

_FILE = Path(__file__).with_name("policy.yaml")


class KernelRule(StrEnum):
    """The question that a finding answers."""

    COMPILES = "compiles"
    LDS = "lds"
    SPILLS = "spills"
    SCALAR_SPILLS = "scalar-spills"
    MATRIX = "matrix"


class LdsLimit(Document):
    """Local memory of a processor."""

    bytes: int = Field(gt=0)
    source: str


class Reasoned(Document):
    """Kernels that a rule means, and why."""

    kernels: tuple[str, ...] = Field(min_length=1)
    """Modules and functions, with the wildcards of `fnmatch`."""
    source: str


class Exemption(Document):
    """What does not hold, and is known."""

    kernel: str
    """Module and function, with the wildcards of `fnmatch`."""
    case: str = "*"
    """With the same wildcards."""
    rule: KernelRule = Field(strict=False)
    reason: str


class TritonPolicy(Document):
    """The whole file."""

    compiles: str
    """Why each kernel has to compile."""
    lds: dict[str, LdsLimit]
    """By processor."""
    no_spills: Reasoned
    """Kernels that may not spill."""
    matrix: str
    """Why a product of 16-bit matrices needs matrix instructions."""
    known: tuple[Exemption, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class KernelFinding:
    """A limit that a kernel breaks."""

    rule: KernelRule
    kernel: str
    case: str
    variant: str
    what: str
    """A sentence without its subject."""
    known: str | None = None
    """The reason, where it is listed."""

    def __str__(self) -> str:
        """Return it as one line of a message."""
        return f"{self.kernel} ({self.case}, {self.variant}) {self.what}"


def read_policy() -> TritonPolicy:
    """Return the policy. Raises DocumentError when the file is not well formed."""
    return load(TritonPolicy, _FILE)


def judge(kernels: Iterable[KernelFigures], policy: TritonPolicy) -> tuple[KernelFinding, ...]:
    """Return every limit that a kernel breaks, those that are listed with their reason."""
    return tuple(
        _with_reason(finding, policy) for kernel in kernels for finding in _broken(kernel, policy)
    )


def _broken(kernel: KernelFigures, policy: TritonPolicy) -> Iterator[KernelFinding]:
    def broken(rule: KernelRule, what: str) -> KernelFinding:
        return KernelFinding(
            rule=rule, kernel=kernel.kernel, case=kernel.case, variant=kernel.variant, what=what
        )

    of = kernel.figures
    if of is None:
        first = (kernel.error or "").strip().splitlines() or ["no reason was given"]
        yield broken(KernelRule.COMPILES, f"does not compile for {kernel.target}: {first[-1]}")
        return
    limit = policy.lds.get(kernel.target)
    if limit is None:
        yield broken(
            KernelRule.LDS, f"cannot be judged: policy.yaml has no limit for {kernel.target}"
        )
    elif of.lds > limit.bytes:
        yield broken(
            KernelRule.LDS,
            f"takes {of.lds} bytes of local memory, and {kernel.target} has {limit.bytes}",
        )
    if any(fnmatchcase(kernel.kernel, pattern) for pattern in policy.no_spills.kernels):
        if of.vgpr_spills or of.scratch:
            yield broken(
                KernelRule.SPILLS,
                f"spills {of.vgpr_spills} vector registers, and takes {of.scratch} bytes of "
                "scratch memory for a lane",
            )
        if of.sgpr_spills:
            yield broken(KernelRule.SCALAR_SPILLS, f"spills {of.sgpr_spills} scalar registers")
    if of.needs_matrix_instructions and not of.mfma:
        yield broken(
            KernelRule.MATRIX, f"multiplies matrices of {', '.join(of.dots)} without v_mfma"
        )


def _with_reason(finding: KernelFinding, policy: TritonPolicy) -> KernelFinding:
    for each in policy.known:
        if _means(each, finding):
            return KernelFinding(
                rule=finding.rule,
                kernel=finding.kernel,
                case=finding.case,
                variant=finding.variant,
                what=finding.what,
                known=each.reason,
            )
    return finding


def _means(known: Exemption, finding: KernelFinding) -> bool:
    return (
        known.rule is finding.rule
        and fnmatchcase(finding.kernel, known.kernel)
        and fnmatchcase(finding.case, known.case)
    )


def idle(policy: TritonPolicy, findings: Iterable[KernelFinding]) -> tuple[Exemption, ...]:
    """Return what is listed as known and was not found."""
    findings = tuple(findings)
    return tuple(
        each for each in policy.known if not any(_means(each, finding) for finding in findings)
    )
