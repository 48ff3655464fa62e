"""What each GPU kernel takes of the hardware, as its code object says.

Source: https://llvm.org/docs/AMDGPUUsage.html (kernel descriptor, code object metadata, ELF header
flags). Counts of the metadata are exact. Those of the descriptor are rounded up to what the
hardware gives out, and are taken where there is no metadata.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkhouse.binaries.codeobject import metadata_number, read_code_object
from forkhouse.binaries.offload import FEATURES
from forkhouse.core.errors import AuditError
from forkhouse.documents.reading import Document

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from forkhouse.binaries.codeobject import CodeImage, Kernel
    from forkhouse.binaries.offload import OffloadBundle

_VERSIONS = {0: 2, 1: 3, 2: 4, 3: 5, 4: 6}
"""Code object version by EI_ABIVERSION."""
_SETTINGS = {0: "none", 1: "any", 2: "off", 3: "on"}
_WAVEFRONT32 = 1 << 10
"""Bit of a descriptor's properties: ENABLE_WAVEFRONT_SIZE32."""


class KernelResources(Document):
    """What one kernel takes of the hardware."""

    library: str
    """Path in the wheel."""
    target: str
    """Target id, as in gfx90a or gfx90a:xnack-."""
    kernel: str
    """Name as the linker knows it."""
    lds: int
    """Bytes of LDS that are always there; what a launch asks for comes on top."""
    vgprs: int
    """Vector registers of a work item, accumulators included where the processor has one file."""
    agprs: int
    """Accumulators (AGPRs) of a work item."""
    sgprs: int
    vgpr_spills: int
    """Vector registers that were moved to memory."""
    sgpr_spills: int
    scratch: int
    """Bytes of private memory of a work item."""
    wavefront: int
    """Work items that run in step: 64 or 32."""
    workgroup: int
    """The largest workgroup that it was compiled for, in work items."""
    kernarg: int
    """Bytes of all arguments."""
    arguments: tuple[str, ...]
    """Each argument as `OFFSET:SIZE KIND`, hidden ones included."""
    code_object: int
    """Code object version."""
    xnack: str
    """Retry of page faults: none, any, off, on."""
    sramecc: str
    """Error correction of memory on the chip: none, any, off, on."""


def bundle_resources(library: str, bundle: OffloadBundle) -> Iterator[KernelResources]:
    """Yield what each kernel of a bundle takes. Raises AuditError where that cannot be read."""
    for each in bundle.objects:
        if each.target and each.size:
            try:
                yield from read_resources(each.content, library=library, target=each.target)
            except AuditError as error:
                message = f"The code object {each.identity} cannot be read: {error}."
                raise AuditError(message) from error


def read_resources(content: bytes, *, library: str, target: str) -> Iterator[KernelResources]:
    """Yield what each kernel of a code object takes, for the library and target that it is in.

    Raises AuditError where that cannot be read, or where descriptor and metadata contradict each
    other.
    """
    image = read_code_object(content)
    for kernel in image.kernels.values():
        yield _resources(library, target, image, kernel)


def _resources(library: str, target: str, image: CodeImage, kernel: Kernel) -> KernelResources:
    descriptor, told = kernel.descriptor, kernel.metadata
    for key, value in (
        (".group_segment_fixed_size", descriptor.lds),
        (".private_segment_fixed_size", descriptor.scratch),
    ):
        if metadata_number(told, key, value) != value:
            message = (
                f"the kernel {kernel.name} says {told[key]} for {key} in its metadata, and {value} "
                "in its descriptor"
            )
            raise AuditError(message)
    return KernelResources(
        library=library,
        target=target,
        kernel=kernel.name,
        lds=descriptor.lds,
        vgprs=metadata_number(told, ".vgpr_count", kernel.vectors + kernel.accumulators),
        agprs=metadata_number(told, ".agpr_count", kernel.accumulators),
        sgprs=kernel.scalars,
        vgpr_spills=kernel.vector_spills,
        sgpr_spills=kernel.scalar_spills,
        scratch=descriptor.scratch,
        wavefront=metadata_number(
            told, ".wavefront_size", 32 if descriptor.properties & _WAVEFRONT32 else 64
        ),
        workgroup=kernel.most_work_items,
        kernarg=metadata_number(told, ".kernarg_segment_size", descriptor.arguments),
        arguments=tuple(f"{each.offset}:{each.size} {each.kind}" for each in kernel.arguments),
        code_object=_VERSIONS.get(image.abi_version, 0),
        xnack=_setting(image, "xnack"),
        sramecc=_setting(image, "sramecc"),
    )


def _setting(image: CodeImage, feature: str) -> str:
    return _SETTINGS[image.flags >> FEATURES[feature] & 3]


def heaviest(resources: Iterable[KernelResources], count: int) -> list[KernelResources]:
    """Return the kernels that take most: spills first, then memory, LDS and registers."""
    return sorted(
        resources,
        key=lambda each: (
            *(-each.vgpr_spills, -each.scratch, -each.lds, -each.vgprs, -each.sgpr_spills),
            *(each.library, each.kernel),
        ),
    )[:count]
