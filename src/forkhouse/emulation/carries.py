"""Vector operations that read or write a truth value for each lane beside their numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from forkhouse.emulation import division, numbers
from forkhouse.emulation.gathering import Operands, mask_source
from forkhouse.emulation.operands import scalars
from forkhouse.emulation.wave import LANES, VCC

if TYPE_CHECKING:
    from collections.abc import Callable

    from forkhouse.emulation.decoding import Instruction
    from forkhouse.emulation.operands import Limits, Read, Step
    from forkhouse.emulation.wave import Wave

Array = Any

_U64 = np.uint64


def _add(a: Array, b: Array, carry: Array) -> tuple[Array, Array]:
    total = a.astype(_U64) + b.astype(_U64) + carry
    return total, total >> _U64(32) != 0


def _sub(a: Array, b: Array, borrow: Array) -> tuple[Array, Array]:
    total = a.astype(np.int64) - b.astype(np.int64) - borrow.astype(np.int64)
    return total, total < 0


_SUMS: dict[str, tuple[Callable[..., tuple[Array, Array]], bool, bool]] = {
    "v_add_co_u32": (_add, False, False),
    "v_addc_co_u32": (_add, False, True),
    "v_sub_co_u32": (_sub, False, False),
    "v_subb_co_u32": (_sub, False, True),
    "v_subrev_co_u32": (_sub, True, False),
    "v_subbrev_co_u32": (_sub, True, True),
}
"""By name: the function, whether the sources change places, and whether a carry is read."""
_NONE = np.zeros(1, dtype=_U64)


def _no_carry(_: Wave) -> Array:
    return _NONE


def step(inst: Instruction, limits: Limits) -> Step | None:
    """Return what such an instruction does; None for one that is not of them."""
    if inst.name in _SUMS:
        return _sum(inst, limits)
    match inst.name:
        case "v_cndmask_b32":
            return _choice(inst, limits)
        case "v_mad_u64_u32" | "v_mad_i64_i32":
            return _mad(inst, limits)
        case "v_div_scale_f32" | "v_div_scale_f64":
            return _div_scale(inst, limits)
        case "v_div_fmas_f32" | "v_div_fmas_f64":
            return _div_fmas(inst, limits)
        case _:
            return None


def _truth(w: Wave, register: int, values: Array, lanes: Array) -> None:
    """Write truth values for the active lanes, and 0 for the others."""
    w.set_mask(register, np.broadcast_to(values, LANES) & lanes)


def _sum(inst: Instruction, limits: Limits) -> Step:
    function, swapped, carried = _SUMS[inst.name]
    operands = Operands(inst, limits, ["u32", "u32"])
    first, second = reversed(operands.reads) if swapped else operands.reads
    put, written = operands.write("u32"), operands.written
    target = scalars(limits, inst["sdst"] if inst.format == "vop3sd" else VCC, 2)
    carry: Read = _no_carry
    if carried:
        carry = mask_source(inst["src2"] if inst.format == "vop3sd" else VCC, limits)

    def run(w: Wave) -> None:
        lanes = w.m if written is None else written(w)
        total, out = function(first(w), second(w), carry(w).astype(_U64))
        if inst["clamp"]:
            total = np.where(out, 0xFFFFFFFF if function is _add else 0, total)
        put(w, total, lanes)
        _truth(w, target, out, w.active if written is None else lanes)

    return run


def _choice(inst: Instruction, limits: Limits) -> Step:
    operands = Operands(inst, limits, ["b32", "b32"])
    first, second = operands.reads
    put, written = operands.write("b32"), operands.written
    chosen = mask_source(inst["src2"] if inst.format == "vop3" else VCC, limits)

    def run(w: Wave) -> None:
        result = np.where(chosen(w), second(w), first(w))
        put(w, result, w.m if written is None else written(w))

    return run


def _mad(inst: Instruction, limits: Limits) -> Step:
    unsigned = inst.name == "v_mad_u64_u32"
    kind, wide = ("u32", "u64") if unsigned else ("i32", "i64")
    operands = Operands(inst, limits, [kind, kind, wide])
    first, second, third = operands.reads
    put, target = operands.write(wide), scalars(limits, inst["sdst"], 2)
    dtype = _U64 if unsigned else np.int64

    def run(w: Wave) -> None:
        a, b, c = first(w), second(w), third(w)
        product = a.astype(dtype) * b.astype(dtype)
        total = product + c
        if unsigned:
            out = total < product
        else:
            out = ((product < 0) == (c < 0)) & ((total < 0) != (product < 0))
        put(w, np.broadcast_to(total, LANES), w.m)
        _truth(w, target, out, w.active)

    return run


def _div_scale(inst: Instruction, limits: Limits) -> Step:
    kind = inst.name[-3:]
    operands = Operands(inst, limits, [kind] * 3)
    first, second, third = operands.reads
    put, target = operands.write(kind), scalars(limits, inst["sdst"], 2)

    def run(w: Wave) -> None:
        result, flag = division.div_scale(first(w), second(w), third(w))
        put(w, result, w.m)
        _truth(w, target, flag, w.active)

    return run


def _div_fmas(inst: Instruction, limits: Limits) -> Step:
    kind = inst.name[-3:]
    operands = Operands(inst, limits, [kind] * 3)
    first, second, third = operands.reads
    put, flags = operands.write(kind), mask_source(VCC, limits)
    fused = numbers.fma32 if kind == "f32" else numbers.fma64

    def run(w: Wave) -> None:
        quotient = third(w)
        total = fused(first(w), second(w), quotient)
        put(w, division.after_fmas(total, flags(w), quotient), w.m)

    return run
