"""The last look at a wheel before it enters a wheelhouse.

It fails closed: what cannot be read is refused.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forkhouse.audit.archive import WheelArchive
from forkhouse.audit.findings import Finding, Rule
from forkhouse.audit.folders import check_build_paths, check_compiler_paths
from forkhouse.audit.gpu import (
    check_bare,
    check_gpu_code,
    check_packed,
    check_resources,
    read_gpu_code,
    read_gpu_file,
)
from forkhouse.audit.installable import check_installable, dist_info
from forkhouse.audit.links import (
    check_complete,
    check_cuda,
    check_needed,
    check_parts,
    check_run_paths,
)
from forkhouse.audit.metadata import check_metadata, read_facts, read_wheel_file
from forkhouse.audit.record import WheelRecord
from forkhouse.audit.report import AuditReport
from forkhouse.audit.tags import check_gpu_tags, check_tags, glibc_floor
from forkhouse.binaries.elf import MAGIC, Compiled, Elf
from forkhouse.binaries.offload import GPU_MACHINE
from forkhouse.core.errors import AuditError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from email.message import Message
    from pathlib import Path

    from forkhouse.audit.facts import WheelFacts
    from forkhouse.audit.policy import AuditPolicy, PolicyDistribution
    from forkhouse.binaries.kernels import KernelInventory, LibraryKernels
    from forkhouse.binaries.resources import KernelResources

_MOST_FINDINGS = 500
"""More are counted, and not kept; so it is with notes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditTerms:
    """What the wheels of one wheelhouse are held against."""

    policy: AuditPolicy
    targets: tuple[str, ...]
    """Target ids of the GPUs for which every HIP library must have code."""
    build_paths: tuple[str, ...]
    """Absolute folders of this machine that no file of ours may name."""
    excused: frozenset[str] = frozenset()
    """Canonical names of CUDA packages that the lock lets in, with its reason."""


def audit_wheel(
    path: Path, terms: AuditTerms, *, ours: bool, recorded: KernelInventory | None = None
) -> AuditReport:
    """Look at one wheel.

    What is wrong with it, be it damaged, is in the report; `refuse` turns that into an error.

    Every wheel: whether an installer takes it for what its name says, its requirements, and the
    libraries without which its ELF files do not load. Ours as well: RECORD, CUDA's symbols, what
    may be loaded at run time, run paths, build paths, GPU code, tags, and what its policy asks for;
    `recorded` is the inventory of kernels that it must still have. Raises OSError when there is no
    such file.
    """
    look = _Look(path, terms, ours=ours, recorded=recorded)
    try:
        with WheelArchive(path) as archive:
            look.read(archive)
    except AuditError as error:
        look.add([Finding(rule=Rule.READABLE, what=str(error))])
    return look.report()


class _Look:
    """One wheel while it is looked at: each file is read once."""

    def __init__(
        self, path: Path, terms: AuditTerms, *, ours: bool, recorded: KernelInventory | None
    ) -> None:
        self._path = path
        self._terms = terms
        self._ours = ours
        self._recorded = recorded
        self._facts: WheelFacts | None = None
        self._findings: dict[bool, dict[Finding, None]] = {False: {}, True: {}}
        self._compiled: dict[str, Compiled] = {}
        self._kernels: list[LibraryKernels] = []
        self._bare: list[LibraryKernels] = []
        self._resources: list[KernelResources] = []
        self._left_out: Counter[bool] = Counter()

    def add(self, findings: Iterable[Finding]) -> None:
        """Keep findings, those that are harmless apart.

        One that is there already is not kept twice.
        """
        for finding in findings:
            kept = self._findings[finding.harmless]
            if len(kept) < _MOST_FINDINGS:
                kept[finding] = None
            elif finding not in kept:
                self._left_out[finding.harmless] += 1

    def report(self) -> AuditReport:
        """Return what was seen."""
        for harmless, count in self._left_out.items():
            what = f"has {count} more {'notes' if harmless else 'findings'}, which are not shown"
            self._findings[harmless][Finding(rule=Rule.READABLE, what=what, harmless=harmless)] = (
                None
            )
        return AuditReport(
            file=self._path.name,
            facts=self._facts,
            findings=tuple(self._findings[False]),
            notes=tuple(self._findings[True]),
            glibc=glibc_floor(self._compiled.values()),
            kernels=tuple(self._kernels),
            resources=tuple(self._resources),
        )

    def read(self, archive: WheelArchive) -> None:
        """Read the whole wheel. Raises AuditError where it cannot be read."""
        self._facts = read_facts(archive)
        wheel = read_wheel_file(archive)
        self.add(check_installable(self._path.name, archive, self._facts, wheel))
        self.add(
            check_metadata(
                self._facts, self._terms.policy, ours=self._ours, excused=self._terms.excused
            )
        )
        if self._ours:
            self._read_ours(archive, wheel, self._terms.policy.distribution(self._facts.name))
        else:
            self._read_foreign(archive)

    def _read_ours(
        self, archive: WheelArchive, wheel: Message, distribution: PolicyDistribution
    ) -> None:
        info = dist_info(archive)
        text = archive.text(f"{info}/RECORD")
        record = WheelRecord(text, info) if text is not None else None
        for member in archive.files:
            name, content = member.filename, archive.read(member)
            self.add(record.check(name, content) if record else ())
            self.add(check_build_paths(name, content, self._terms.build_paths))
            self.add(check_packed(name, content))
            self.add(self._read_code(name, content, distribution))
        self.add(record.close() if record else ())
        self.add(check_tags(self._path.name, wheel, self._compiled))
        with_code = {each.library: None for each in self._kernels}
        self.add(
            check_gpu_tags(
                self._path.name, [name for name in with_code if name not in self._compiled]
            )
        )
        self.add(check_complete(distribution, self._compiled, archive.names))
        self.add(check_bare(self._bare, self._terms.targets))
        self.add(check_resources(self._resources, self._terms.policy.common.gpus))
        names = {**self._compiled, **with_code}
        self.add(
            check_gpu_code(distribution, names, self._kernels, self._terms.targets, self._recorded)
        )

    def _read_code(
        self, name: str, content: bytes, distribution: PolicyDistribution
    ) -> Iterator[Finding]:
        terms = self._terms
        try:
            elf = Elf(content) if content.startswith(MAGIC) else None
            if elf is not None and elf.machine != GPU_MACHINE:
                yield from self._read_library(name, content, elf, distribution)
            code = read_gpu_file(name, content, elf, terms.targets, terms.build_paths)
        except AuditError as error:
            yield Finding(rule=Rule.READABLE, where=name, what=f"cannot be read: {error}")
        else:
            yield from code.findings
            self._kernels += code.kernels
            self._bare += code.bare
            self._resources += code.resources

    def _read_library(
        self, name: str, content: bytes, elf: Elf, distribution: PolicyDistribution
    ) -> Iterator[Finding]:
        terms = self._terms
        self._compiled[name] = elf.summary()
        yield from check_needed(name, elf, terms.policy)
        yield from check_cuda(name, elf, terms.policy)
        yield from check_run_paths(name, elf, terms.policy)
        yield from check_compiler_paths(name, content, terms.policy, distribution)
        if self._facts is not None:
            yield from check_parts(name, elf, distribution, self._facts.version)
        code = read_gpu_code(name, elf, distribution, terms.targets, terms.build_paths)
        yield from code.findings
        self._kernels += code.kernels
        self._resources += code.resources

    def _read_foreign(self, archive: WheelArchive) -> None:
        """Look only for libraries of CUDA that must be there.

        A CUDA build may bear the name of any other.

        Every file is read to its end, as the installer will do it.
        """
        assert self._facts is not None  # read before
        excused = self._facts.name in self._terms.excused
        for member in archive.files:
            chunks = archive.chunks(member)
            start = next(chunks, b"")
            if excused or not start.startswith(MAGIC):
                for _ in chunks:
                    pass
                continue
            try:
                self.add(
                    check_needed(
                        member.filename, Elf(b"".join([start, *chunks])), self._terms.policy
                    )
                )
            except AuditError as error:
                self.add(
                    [
                        Finding(
                            rule=Rule.READABLE,
                            where=member.filename,
                            what=f"cannot be read: {error}",
                        )
                    ]
                )
