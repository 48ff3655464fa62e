"""The last look at a wheel before it enters a wheelhouse. It fails closed: what cannot be read is refused."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forkhouse.audit.elf import MAGIC, Compiled, Elf
from forkhouse.audit.folders import check_build_paths, check_compiler_paths
from forkhouse.audit.gpu import check_gpu_code, read_gpu_code
from forkhouse.audit.kernels import KernelInventory, LibraryKernels, inventory
from forkhouse.audit.links import check_complete, check_cuda, check_needed, check_run_paths
from forkhouse.audit.metadata import WheelFacts, check_metadata, read_facts, wheel_facts
from forkhouse.audit.policy import read_policy
from forkhouse.audit.record import Record
from forkhouse.audit.report import AuditReport, Finding, Rule, refuse
from forkhouse.audit.tags import check_tags, glibc_floor
from forkhouse.errors import AuditError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from forkhouse.audit.policy import Distribution, Policy

__all__ = [
    "AuditReport",
    "AuditTerms",
    "Finding",
    "KernelInventory",
    "LibraryKernels",
    "Rule",
    "WheelFacts",
    "audit_wheel",
    "inventory",
    "read_policy",
    "refuse",
    "wheel_facts",
]

_GPU_MACHINE = "EM_AMDGPU"


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditTerms:
    """What the wheels of one wheelhouse are held against."""

    policy: Policy
    targets: tuple[str, ...]
    """Target ids of the GPUs for which every HIP library must have code."""
    build_paths: tuple[str, ...]
    """Absolute folders of this machine that no file of ours may name."""
    excused: frozenset[str] = frozenset()
    """Canonical names of CUDA packages that the lock lets in, with its reason."""


def audit_wheel(path: Path, terms: AuditTerms, *, ours: bool, recorded: KernelInventory | None = None) -> AuditReport:
    """Look at one wheel. What is wrong with it, be it damaged, is in the report; `refuse` turns that into an error.

    Every wheel: its name, its requirements, and the libraries without which its ELF files do not load. Ours as well: RECORD,
    CUDA's symbols, what may be loaded at run time, run paths, build paths, GPU code, tags, and what its policy asks for;
    `recorded` is the inventory of kernels that it must still have. Raises OSError when there is no such file.
    """
    look = _Look(path, terms, ours=ours, recorded=recorded)
    with path.open("rb") as stream:
        try:
            with zipfile.ZipFile(stream) as archive:
                look.read(archive)
        except AuditError as error:
            look.add([Finding(rule=Rule.READABLE, what=str(error))])
        except Exception as error:  # noqa: BLE001  # the readers of zip, CSV, metadata and tags name no closed set of exceptions
            look.add([Finding(rule=Rule.READABLE, what=f"cannot be read, so it is refused: {str(error) or type(error).__name__}")])
    return look.report()


class _Look:
    """One wheel while it is looked at: each file is read once."""

    def __init__(self, path: Path, terms: AuditTerms, *, ours: bool, recorded: KernelInventory | None) -> None:
        self._path = path
        self._terms = terms
        self._ours = ours
        self._recorded = recorded
        self._facts: WheelFacts | None = None
        self._findings: dict[Finding, None] = {}
        self._compiled: dict[str, Compiled] = {}
        self._kernels: list[LibraryKernels] = []

    def add(self, findings: Iterable[Finding]) -> None:
        """Keep findings; one that is there already is not kept twice."""
        for finding in findings:
            self._findings[finding] = None

    def report(self) -> AuditReport:
        """Return what was seen."""
        return AuditReport(
            file=self._path.name,
            facts=self._facts,
            findings=tuple(finding for finding in self._findings if not finding.harmless),
            notes=tuple(finding for finding in self._findings if finding.harmless),
            glibc=glibc_floor(self._compiled.values()),
            kernels=tuple(self._kernels),
        )

    def read(self, archive: zipfile.ZipFile) -> None:
        """Read the whole wheel. Raises what the readers raise."""
        self._facts = read_facts(archive)
        self.add(check_metadata(self._facts, self._terms.policy, ours=self._ours, excused=self._terms.excused))
        if self._ours:
            self._read_ours(archive, self._terms.policy.distribution(self._facts.name))
        elif self._facts.name not in self._terms.excused:
            self._read_foreign(archive)

    def _read_ours(self, archive: zipfile.ZipFile, distribution: Distribution) -> None:
        record = Record(archive)
        wheel_text = ""
        for name in archive.namelist():
            if name.endswith("/"):
                continue
            content = archive.read(name)
            self.add(record.check(name, content))
            self.add(check_build_paths(name, content, self._terms.build_paths))
            if name.endswith(".dist-info/WHEEL"):
                wheel_text = content.decode()
            elif content.startswith(MAGIC):
                self.add(self._read_elf(name, content, distribution))
        self.add(record.close())
        self.add(check_tags(self._path.name, wheel_text, self._compiled))
        self.add(check_complete(distribution, self._compiled, archive.namelist()))
        self.add(check_gpu_code(distribution, self._compiled, self._kernels, self._terms.targets, self._recorded))

    def _read_elf(self, name: str, content: bytes, distribution: Distribution) -> Iterator[Finding]:
        terms = self._terms
        try:
            elf = Elf(content)
            if elf.machine == _GPU_MACHINE:
                return  # a code object by itself: nothing of the host is in it
            self._compiled[name] = elf.summary()
            yield from check_needed(name, elf, terms.policy)
            yield from check_cuda(name, elf, terms.policy)
            yield from check_run_paths(name, elf, terms.policy)
            yield from check_compiler_paths(name, content, terms.policy, distribution)
            code = read_gpu_code(name, elf, distribution, terms.targets, terms.build_paths)
        except AuditError as error:
            yield Finding(rule=Rule.READABLE, where=name, what=f"cannot be read: {error}")
        else:
            yield from code.findings
            self._kernels += code.kernels

    def _read_foreign(self, archive: zipfile.ZipFile) -> None:
        """Look only for libraries of CUDA that must be there: a CUDA build may bear the name of any other."""
        for name in archive.namelist():
            with archive.open(name) as stream:
                content = stream.read(len(MAGIC))
                if content != MAGIC:
                    continue
                content += stream.read()
            try:
                self.add(check_needed(name, Elf(content), self._terms.policy))
            except AuditError as error:
                self.add([Finding(rule=Rule.READABLE, where=name, what=f"cannot be read: {error}")])
