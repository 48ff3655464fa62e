"""What a kernel takes of its GPU: registers, memory, and how many of its waves run at once.

Registers and memory are read from the metadata of a code object (code object version 3 and later):
https://llvm.org/docs/AMDGPUUsage.html, "Code Object V3 Metadata".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from forkhouse.binaries.elf import Elf
from forkhouse.binaries.offload import GPU_MACHINE
from forkhouse.core.errors import AuditError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

_METADATA = 32
"""The type of the note that holds a code object's metadata, in MessagePack."""
_MOST_ITEMS = 2**14
"""Items of one list or map, and levels are few: a kernel has some hundred arguments."""
_LARGEST = 2**31
"""No count of a kernel is larger."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KernelResources:
    """What one kernel takes, as its compiler states it."""

    name: str
    vgpr: int
    """Vector registers of a lane, the accumulation registers among them (gfx90a and later)."""
    agpr: int
    """Accumulation registers, the part of `vgpr` that only matrix instructions and moves reach."""
    sgpr: int
    """Scalar registers of a wave."""
    vgpr_spills: int
    """Stores of a vector register to scratch memory."""
    sgpr_spills: int
    """Stores of a scalar register to a lane of a vector register, or to scratch memory."""
    lds: int
    """Bytes of local memory that are set at compile time; a launch may ask for more."""
    scratch: int
    """Bytes of scratch memory of a lane."""
    wave: int
    """Lanes of a wave."""
    workgroup: int
    """The most lanes of a work-group."""


_FIELDS = {
    "vgpr": ".vgpr_count",
    "sgpr": ".sgpr_count",
    "vgpr_spills": ".vgpr_spill_count",
    "sgpr_spills": ".sgpr_spill_count",
    "lds": ".group_segment_fixed_size",
    "scratch": ".private_segment_fixed_size",
    "wave": ".wavefront_size",
    "workgroup": ".max_flat_workgroup_size",
}


def read_resources(content: bytes) -> tuple[KernelResources, ...]:
    """Return what each kernel of a code object takes, in the order of its metadata.

    Raises AuditError for what is no code object of an AMD GPU, and for metadata that is damaged or
    lacks a figure.
    """
    elf = Elf(content)
    if elf.machine != GPU_MACHINE:
        message = f"it is for {elf.machine}, not for an AMD GPU"
        raise AuditError(message)
    found = tuple(kernel for note in elf.notes("AMDGPU", _METADATA) for kernel in _kernels(note))
    if not found:
        message = "its metadata names no kernel"
        raise AuditError(message)
    return found


def _kernels(note: bytes) -> Iterator[KernelResources]:
    from msgpack import UnpackException, unpackb  # start-up time

    try:
        metadata = unpackb(
            note,
            max_array_len=_MOST_ITEMS,
            max_map_len=_MOST_ITEMS,
            max_str_len=len(note),
            max_bin_len=0,
            max_ext_len=0,
        )
    except (UnpackException, TypeError, ValueError, OverflowError, MemoryError) as error:
        message = f"its metadata is no whole MessagePack map: {error or type(error).__name__}"
        raise AuditError(message) from error
    kernels = metadata.get("amdhsa.kernels") if isinstance(metadata, dict) else None
    for kernel in kernels if isinstance(kernels, list) else ():
        if not isinstance(kernel, dict) or not isinstance(kernel.get(".name"), str):
            message = "its metadata has a kernel without a name"
            raise AuditError(message)
        yield KernelResources(
            name=kernel[".name"],
            # Only processors with such registers state them.
            agpr=_number(kernel, ".agpr_count", 0),
            **{name: _number(kernel, key) for name, key in _FIELDS.items()},
        )


def _number(kernel: dict[str, object], key: str, default: int | None = None) -> int:
    value = kernel.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _LARGEST:
        message = f"its metadata has no {key} of the kernel {kernel['.name']}"
        raise AuditError(message)
    return value


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """What a compute unit of a processor has."""

    simds: int
    """SIMDs, each of which runs waves of its own."""
    most_waves: int
    """Waves of one SIMD."""
    vgpr: int
    """Vector registers of a SIMD for each lane."""
    vgpr_step: int
    """Vector registers are given out in steps of so many."""
    sgpr: int
    """Scalar registers of a SIMD."""
    sgpr_step: int
    sgpr_hidden: int
    """Scalar registers beside those that are counted, for the trap handler of ROCm's driver."""
    lds: int
    """Bytes of local memory."""
    lds_step: int
    most_groups: int
    """Work-groups of more than one wave."""
    sources: tuple[str, ...]


UNITS = {
    "gfx90a": Unit(
        simds=4,
        most_waves=8,
        vgpr=512,
        vgpr_step=8,
        sgpr=800,
        sgpr_step=16,
        sgpr_hidden=16,
        lds=64 * 1024,
        lds_step=512,
        most_groups=32,
        sources=(
            "AMD Instinct MI200 Instruction Set Architecture, chapter 3 (registers, LDS)",
            "LLVM's AMDGPU target, IsaInfo (steps of registers, waves, TRAP_NUM_SGPRS)",
        ),
    )
}
"""By processor. Another one is refused, not guessed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Occupancy:
    """Waves of a kernel that one SIMD runs at once, and what allows no more."""

    waves: int
    """Zero when not one work-group fits."""
    limit: str
    """`vgpr`, `sgpr`, `lds`, or `waves`, where the processor itself has no more."""
    registers: int
    """Waves that the registers alone allow."""


def occupancy(target: str, *, vgpr: int, sgpr: int, lds: int, waves: int) -> Occupancy:
    """Return how many waves of a kernel a SIMD runs, of work-groups of so many waves.

    `lds` are bytes of a work-group, with what its launch asks for. Raises UsageError for a
    processor that is not in the table.
    """
    unit = UNITS.get(target.partition(":")[0])
    if unit is None:
        message = (
            f"Nothing is known of the compute units of {target}; known are {', '.join(UNITS)}. "
            "Add it to UNITS in forkhouse.binaries.occupancy, with its source."
        )
        raise UsageError(message)
    by_vgpr = min(unit.most_waves, unit.vgpr // max(_up(vgpr, unit.vgpr_step), unit.vgpr_step))
    taken = _up(sgpr + unit.sgpr_hidden, unit.sgpr_step)
    by_sgpr = min(unit.most_waves, unit.sgpr // max(taken, unit.sgpr_step))
    groups = unit.lds // max(_up(lds, unit.lds_step), unit.lds_step) if lds else unit.most_groups
    if waves > 1:
        groups = min(groups, unit.most_groups)
    by_lds = min(unit.most_waves, -(-groups * waves // unit.simds)) if lds else unit.most_waves
    allowed = {"waves": unit.most_waves, "vgpr": by_vgpr, "sgpr": by_sgpr, "lds": by_lds}
    fewest = min(allowed.values())
    limit = next(name for name, count in allowed.items() if count == fewest)
    return Occupancy(waves=fewest, limit=limit, registers=min(by_vgpr, by_sgpr))


def _up(value: int, step: int) -> int:
    return -(-value // step) * step
