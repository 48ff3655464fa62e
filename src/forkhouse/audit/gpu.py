"""Whether the GPU code that a wheel promises is in it."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from forkhouse.audit.folders import check_build_paths
from forkhouse.audit.kernels import KernelInventory, LibraryKernels, bundle_kernels, lacks, merged, some
from forkhouse.audit.offload import read_bundles
from forkhouse.audit.report import Finding, Rule

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from forkhouse.audit.elf import Elf
    from forkhouse.audit.policy import Distribution

_RUNTIME = "libamdhip64.so*"
_WRAPPER_SIZE = 24
"""Size of an entry of .hipFatBinSegment: each registers one bundle with the runtime."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuCode:
    """What was seen of the GPU code of one library."""

    kernels: tuple[LibraryKernels, ...] = ()
    findings: tuple[Finding, ...] = ()


def read_gpu_code(name: str, elf: Elf, distribution: Distribution, targets: Collection[str], build_paths: Collection[str]) -> GpuCode:
    """Read the GPU code of a library and check that every bundle has code for each target.

    A library is HIP's when it has a section for GPU code, registers some with the runtime, or needs the runtime; a host-only
    one must be known to the policy. Raises AuditError when the code cannot be read.
    """
    section, wrappers = elf.section(".hip_fatbin"), elf.section(".hipFatBinSegment") or b""
    needs = [soname for soname in elf.tags("NEEDED") if fnmatchcase(soname, _RUNTIME)]
    if section is None and not wrappers and not needs:
        return GpuCode()
    findings: list[Finding] = []
    kernels: list[LibraryKernels] = []
    count = 0
    for bundle in read_bundles(section or b""):
        count += 1
        kernels += bundle_kernels(name, bundle)
        for target in targets:
            if lacks(target, bundle.targets):
                present = ", ".join(sorted(bundle.targets)) or "no GPU"
                what = f"has no code for {target} in its bundle at byte {bundle.offset} of .hip_fatbin, but for {present}"
                findings.append(Finding(rule=Rule.GPU_CODE, where=name, what=what))
        for each in bundle.objects:
            findings += check_build_paths(f"{name} ({each.identity})", each.content, build_paths)
    if count == 0:
        if not wrappers and any(fnmatchcase(name, pattern) for pattern in distribution.host_only):
            return GpuCode()
        why = f"needs {needs[0]}" if needs else "registers GPU code" if wrappers else "has a section for GPU code"
        findings.append(Finding(rule=Rule.GPU_CODE, where=name, what=f"{why} and has no GPU code in it"))
    elif wrappers and len(wrappers) != count * _WRAPPER_SIZE:
        what = f"registers {len(wrappers) // _WRAPPER_SIZE} bundles of GPU code and has {count}"
        findings.append(Finding(rule=Rule.GPU_CODE, where=name, what=what))
    return GpuCode(kernels=merged(kernels), findings=tuple(findings))


def check_gpu_code(
    distribution: Distribution,
    names: Collection[str],
    kernels: Collection[LibraryKernels],
    targets: Collection[str],
    recorded: KernelInventory | None,
) -> Iterator[Finding]:
    """Find libraries that must have kernels and have none, and what a recorded inventory has and the wheel has not."""
    for wanted in distribution.gpu_code:
        libraries = [name for name in names if fnmatchcase(name, wanted)]
        if not libraries:
            yield Finding(rule=Rule.GPU_CODE, where=wanted, what="is not in the wheel; the build left it out and reported success")
        for library in libraries:
            for target in targets:
                if lacks(target, [each.target for each in kernels if each.library == library and each.kernels]):
                    yield Finding(rule=Rule.GPU_CODE, where=library, what=f"has no kernel for {target}")
    if recorded is not None:
        for library, what in recorded.missing_from(kernels):
            yield Finding(rule=Rule.GPU_CODE, where=library, what=what)
        known = {(each.library, each.target, kernel) for each in recorded.libraries for kernel in each.kernels}
        for each in kernels:
            new = [kernel for kernel in each.kernels if (each.library, each.target, kernel) not in known]
            if new:
                what = f"has {len(new)} kernels for {each.target} that the recorded inventory has not: {some(new)}"
                yield Finding(rule=Rule.GPU_CODE, where=each.library, what=what, harmless=True)
