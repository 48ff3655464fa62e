"""Registers whose number is computed: the index mode of vector registers, and s_movrel.

In the index mode, the lowest byte of M0 is added to the numbers of those operands that it names.
Compilers turn it on and off around single instructions, so which of them are meant is known before
they run; only the number is not.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from forkhouse.emulation.decoding import VECTOR
from forkhouse.emulation.faults import UnknownOperationError
from forkhouse.emulation.operands import scalars
from forkhouse.emulation.scalar import get
from forkhouse.emulation.wave import M0, SCALARS

if TYPE_CHECKING:
    from collections.abc import Callable

    from forkhouse.emulation.decoding import Instruction
    from forkhouse.emulation.operands import Limits, Step
    from forkhouse.emulation.wave import Wave

_TARGET = 8
_VECTORS = frozenset({"vop1", "vop2", "vop3", "vopc"})


def mode_after(inst: Instruction, mode: int) -> int:
    """Return which operands are indexed behind an instruction: bits for the sources and target."""
    match inst.name:
        case "s_set_gpr_idx_on":
            return inst["src1"] & 0xF
        case "s_set_gpr_idx_mode":
            return inst["simm"] & 0xF
        case "s_set_gpr_idx_off":
            return 0
        case _:
            return mode


def step(inst: Instruction, limits: Limits) -> Step | None:
    """Return what an instruction of this kind does; None for another one."""
    if inst.name.startswith(("s_set_gpr_idx_", "s_movrel")):
        scalars(limits, M0)
    match inst.name:
        case "s_set_gpr_idx_on":
            read, mode = get(inst["src0"], 32, inst.literal, limits), inst["src1"] & 0xF

            def on(w: Wave) -> None:
                w.s[M0] = w.s[M0] & 0xFFFF0F00 | read(w) & 0xFF | mode << 12

            return on
        case "s_set_gpr_idx_idx":
            read = get(inst["src0"], 32, inst.literal, limits)

            def index(w: Wave) -> None:
                w.s[M0] = w.s[M0] & 0xFFFFFF00 | read(w) & 0xFF

            return index
        case "s_set_gpr_idx_mode":
            bits = inst["simm"] & 0xF

            def change(w: Wave) -> None:
                w.s[M0] = w.s[M0] & 0xFFFF0FFF | bits << 12

            return change
        case "s_set_gpr_idx_off":
            return lambda _: None
        case "s_movrels_b32" | "s_movrels_b64" | "s_movreld_b32" | "s_movreld_b64":
            return _relative(inst, limits)
        case _:
            return None


def _relative(inst: Instruction, limits: Limits) -> Step:
    """Return the step that moves scalar registers whose number is M0 further."""
    words = 2 if inst.name.endswith("64") else 1
    # Where M0 leads is not known beforehand: only what the instruction names is noted.
    first = scalars(limits, inst["src0"], words)
    second = scalars(limits, inst["sdst"], words)
    reads = inst.name.startswith("s_movrels")

    def run(w: Wave) -> None:
        index = w.s[M0]
        source, target = (first + index, second) if reads else (first, second + index)
        if max(source, target) + words > SCALARS - 24:
            message = f"it reaches scalar register {max(source, target)}, which does not exist"
            raise UnknownOperationError(message)
        values = [w.s[source + number] for number in range(words)]
        for number, value in enumerate(values):
            w.s[target + number] = value

    return run


def indexed(inst: Instruction, mode: int, make: Callable[[Instruction], Step]) -> Step:
    """Return the step of an instruction whose operands are indexed by M0."""
    if inst.format not in _VECTORS:
        return make(inst)
    if inst.modifier or inst.format == "vopc":
        message = "it is in the index mode in a way that is not emulated"
        raise UnknownOperationError(message)
    known: dict[int, Step] = {}

    def run(w: Wave) -> None:
        index = w.s[M0] & 0xFF
        if index not in known:
            known[index] = make(_moved(inst, mode, index))
        known[index](w)

    return run


def _moved(inst: Instruction, mode: int, index: int) -> Instruction:
    fields = dict(inst.fields)
    for number in range(3):
        name = f"src{number}"
        if mode >> number & 1 and fields.get(name, 0) >= VECTOR:
            fields[name] += index
    if mode & _TARGET:
        fields["vdst"] += index
    return replace(inst, fields=MappingProxyType(fields))
