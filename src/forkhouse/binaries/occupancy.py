"""How many waves of a kernel run at once on a SIMD, by what the kernel takes.

The figures of a processor's compute units are in `UNITS`, each with its sources.
"""

from __future__ import annotations

from dataclasses import dataclass

from forkhouse.core.errors import UsageError


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
