"""Check that a wheel contains the GPU code that it promises."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from forkhouse.audit.archive import WheelArchive
from forkhouse.audit.findings import Finding, Rule
from forkhouse.audit.folders import check_build_paths
from forkhouse.binaries.elf import MAGIC, Elf
from forkhouse.binaries.kernels import (
    KernelInventory,
    LibraryKernels,
    bundle_kernels,
    lacks,
    merged,
    some,
)
from forkhouse.binaries.offload import COMPRESSED, GPU_MACHINE, PLAIN, embedded, read_bundles
from forkhouse.binaries.resources import bundle_resources
from forkhouse.core.errors import AuditError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from forkhouse.audit.policy import GpuLimits, PolicyDistribution
    from forkhouse.binaries.offload import OffloadBundle
    from forkhouse.binaries.resources import KernelResources

_RUNTIME = "libamdhip64.so*"
_WRAPPER_SIZE = 24
"""Size of an entry of .hipFatBinSegment: each registers one bundle with the runtime."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuCode:
    """The findings about the GPU code of one library."""

    kernels: tuple[LibraryKernels, ...] = ()
    resources: tuple[KernelResources, ...] = ()
    findings: tuple[Finding, ...] = ()
    bare: tuple[LibraryKernels, ...] = ()
    """The content of each bare code object.

    Only the whole wheel shows whether every target has its kernels.
    """


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuContents:
    """The GPU code of a wheel."""

    kernels: tuple[LibraryKernels, ...]
    resources: tuple[KernelResources, ...]


def read_gpu_code(
    name: str,
    elf: Elf,
    distribution: PolicyDistribution,
    targets: Collection[str],
    build_paths: Collection[str],
) -> GpuCode:
    """Read the GPU code of a library and check that every bundle has code for each target.

    A library is HIP's when it has a section for GPU code, registers some with the runtime, or needs
    the runtime; a host-only one must be known to the policy. Raises AuditError when the code cannot
    be read.
    """
    section, wrappers = elf.section(".hip_fatbin"), elf.section(".hipFatBinSegment") or b""
    needs = [soname for soname in elf.tags("NEEDED") if fnmatchcase(soname, _RUNTIME)]
    if section is None and not wrappers and not needs:
        return GpuCode()
    findings: list[Finding] = []
    kernels: list[LibraryKernels] = []
    resources: list[KernelResources] = []
    count = 0
    for bundle in read_bundles(section or b""):
        count += 1
        kernels += bundle_kernels(name, bundle)
        resources += bundle_resources(name, bundle)
        findings += _check_bundle(name, bundle, targets, build_paths, " of .hip_fatbin")
    if count == 0:
        if not wrappers and any(fnmatchcase(name, pattern) for pattern in distribution.host_only):
            return GpuCode()
        why = (
            f"needs {needs[0]}"
            if needs
            else "registers GPU code"
            if wrappers
            else "has a section for GPU code"
        )
        findings.append(
            Finding(rule=Rule.GPU_CODE, where=name, what=f"{why} and has no GPU code in it")
        )
    elif wrappers and len(wrappers) != count * _WRAPPER_SIZE:
        what = f"registers {len(wrappers) // _WRAPPER_SIZE} bundles of GPU code and has {count}"
        findings.append(Finding(rule=Rule.GPU_CODE, where=name, what=what))
    return GpuCode(kernels=merged(kernels), resources=tuple(resources), findings=tuple(findings))


def _check_bundle(
    name: str,
    bundle: OffloadBundle,
    targets: Collection[str],
    build_paths: Collection[str],
    place: str = "",
) -> Iterator[Finding]:
    for target in targets:
        if lacks(target, bundle.targets) and not bundle.bare:
            present = ", ".join(sorted(bundle.targets)) or "no GPU"
            what = (
                f"has no code for {target} in its bundle at byte {bundle.offset}{place}, but for "
                f"{present}"
            )
            yield Finding(rule=Rule.GPU_CODE, where=name, what=what)
    for each in bundle.objects:
        yield from check_build_paths(f"{name} ({each.identity})", each.content, build_paths)


def file_bundles(content: bytes, elf: Elf | None) -> Iterator[OffloadBundle]:
    """Return the GPU code in a file of any kind, but for that in a library's `.hip_fatbin`.

    `elf` is the file where it is for the host.

    A file that begins as a bundle has to be bundles and nothing else. Raises AuditError when code
    cannot be read.
    """
    if content.startswith((PLAIN, COMPRESSED)):
        return read_bundles(content)
    return embedded(content, elf.places(".hip_fatbin") if elf else ())


def read_gpu_file(
    name: str,
    content: bytes,
    elf: Elf | None,
    targets: Collection[str],
    build_paths: Collection[str],
) -> GpuCode:
    """Read the GPU code in a file of any kind as that of a library is read.

    `elf` is the file where it is for the host.

    Raises AuditError when code cannot be read.
    """
    findings: list[Finding] = []
    kernels: list[LibraryKernels] = []
    bare: list[LibraryKernels] = []
    resources: list[KernelResources] = []
    for bundle in file_bundles(content, elf):
        (bare if bundle.bare else kernels).extend(bundle_kernels(name, bundle))
        resources += bundle_resources(name, bundle)
        findings += _check_bundle(name, bundle, targets, build_paths)
    return GpuCode(
        kernels=merged([*kernels, *bare]),
        resources=tuple(resources),
        findings=tuple(findings),
        bare=tuple(bare),
    )


def check_bare(objects: Collection[LibraryKernels], targets: Collection[str]) -> Iterator[Finding]:
    """Find kernels in bare code objects that have no counterpart for one of the targets.

    A bare code object is a file for one GPU, and the files for other GPUs lie beside it. A code
    object without kernels needs only some code object for the target.
    """
    present: dict[str, set[str]] = {}
    for each in objects:
        for kernel in each.kernels or ("",):
            present.setdefault(kernel, set()).add(each.target)
    for each in objects:
        for target in targets:
            lost = [kernel for kernel in each.kernels or ("",) if lacks(target, present[kernel])]
            if lost:
                what = f"is GPU code for {each.target}, and the wheel has no such code for {target}"
                yield Finding(
                    rule=Rule.GPU_CODE,
                    where=each.library,
                    what=f"{what}: {some(lost)}" if each.kernels else what,
                )


_ARCHIVES = (
    (b"PK\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "packed by gzip"),
    (b"BZh", "packed by bzip2"),
    (b"\xfd7zXZ\0", "packed by xz"),
    (b"\x28\xb5\x2f\xfd", "packed by zstd"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
)
"""The first bytes of packed files, each with the name of its format.

Formats that only concatenate files (ar, tar) need no unpacking.
"""


def check_packed(name: str, content: bytes) -> Iterator[Finding]:
    """Report a packed file, because the audit does not look into it."""
    for text, what in _ARCHIVES:
        if content.startswith(text):
            yield Finding(
                rule=Rule.READABLE,
                where=name,
                what=f"is {what}, into which the audit does not look",
                harmless=True,
            )


def check_resources(
    resources: Collection[KernelResources], limits: Mapping[str, GpuLimits]
) -> Iterator[Finding]:
    """Find kernels that take more of a processor than it has, and note those that spill.

    `limits` are by the name of the processor. Such a kernel is built without a word, and cannot be
    started.
    """
    spilling: dict[tuple[str, str], list[str]] = {}
    for each in resources:
        known = limits.get(each.target.partition(":")[0])
        for what in known.broken(each) if known else ():
            yield Finding(
                rule=Rule.GPU_RESOURCES,
                where=each.library,
                what=f"has the kernel {each.kernel} for {each.target}, which {what}",
            )
        if each.vgpr_spills:
            spilling.setdefault((each.library, each.target), []).append(each.kernel)
    for (library, target), kernels in spilling.items():
        yield Finding(
            rule=Rule.GPU_RESOURCES,
            where=library,
            what=f"has {len(kernels)} kernels for {target} that spill registers: {some(kernels)}",
            harmless=True,
        )


def inventory(path: Path) -> tuple[LibraryKernels, ...]:
    """Return the kernels of every file of the wheel at `path`, by file and target.

    Raises AuditError when the wheel, an ELF file or GPU code in it cannot be read, OSError when
    there is no such file.
    """
    return gpu_contents(path).kernels


def gpu_contents(path: Path) -> GpuContents:
    """Return the kernels of every file of the wheel at `path`, and what each takes.

    Raises as `inventory`.
    """
    kernels: list[LibraryKernels] = []
    resources: list[KernelResources] = []
    try:
        with WheelArchive(path) as archive:
            for member in sorted(archive.files, key=lambda member: member.filename):
                parts: list[LibraryKernels] = []
                for bundle in _bundles(archive.read(member)):
                    parts += bundle_kernels(member.filename, bundle)
                    resources += bundle_resources(member.filename, bundle)
                kernels += merged(parts)
    except AuditError as error:
        message = f"{path.name}: {error}"
        raise AuditError(message) from error
    return GpuContents(kernels=tuple(kernels), resources=tuple(resources))


def _bundles(content: bytes) -> Iterator[OffloadBundle]:
    elf = Elf(content) if content.startswith(MAGIC) else None
    if elf is not None and elf.machine != GPU_MACHINE:
        yield from read_bundles(elf.section(".hip_fatbin") or b"")
    yield from file_bundles(content, elf)


def check_gpu_code(
    distribution: PolicyDistribution,
    names: Collection[str],
    kernels: Collection[LibraryKernels],
    targets: Collection[str],
    recorded: KernelInventory | None,
) -> Iterator[Finding]:
    """Find libraries that must have kernels and have none, and kernels that the wheel lost.

    Lost are the kernels that the recorded inventory has and the wheel has not.
    """
    for wanted in distribution.gpu_code:
        libraries = [name for name in names if fnmatchcase(name, wanted)]
        if not libraries:
            yield Finding(
                rule=Rule.GPU_CODE,
                where=wanted,
                what="is not in the wheel; the build left it out and reported success",
            )
        for library in libraries:
            for target in targets:
                if lacks(
                    target,
                    [each.target for each in kernels if each.library == library and each.kernels],
                ):
                    yield Finding(
                        rule=Rule.GPU_CODE, where=library, what=f"has no kernel for {target}"
                    )
    if recorded is not None:
        for library, what in recorded.missing_from(kernels):
            yield Finding(rule=Rule.GPU_CODE, where=library, what=what)
        known = {
            (each.library, each.target, kernel)
            for each in recorded.libraries
            for kernel in each.kernels
        }
        for each in kernels:
            new = [
                kernel
                for kernel in each.kernels
                if (each.library, each.target, kernel) not in known
            ]
            if new:
                what = (
                    f"has {len(new)} kernels for {each.target} that the recorded inventory has "
                    f"not: {some(new)}"
                )
                yield Finding(rule=Rule.GPU_CODE, where=each.library, what=what, harmless=True)
