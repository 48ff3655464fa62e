"""Operations on two numbers at once, and those that mix f16 with f32."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from forkhouse.emulation import numbers
from forkhouse.emulation.decoding import VECTOR
from forkhouse.emulation.faults import UnknownOperationError
from forkhouse.emulation.operands import (
    DTYPES,
    Limits,
    Read,
    Step,
    constant,
    flush,
    flushed,
    rows,
    signed,
    source,
    vector,
)
from forkhouse.emulation.wave import LANES, SCALARS

if TYPE_CHECKING:
    from collections.abc import Callable

    from forkhouse.emulation.decoding import Instruction
    from forkhouse.emulation.wave import Wave

Array = Any

TABLE: dict[str, tuple[str, int, Callable[..., Array]]] = {
    "v_pk_mad_i16": ("i16", 3, lambda a, b, c: a * b + c),
    "v_pk_mul_lo_u16": ("u16", 2, np.multiply),
    "v_pk_add_i16": ("i16", 2, np.add),
    "v_pk_sub_i16": ("i16", 2, np.subtract),
    "v_pk_lshlrev_b16": ("u16", 2, lambda a, b: b << (a & np.uint16(15))),
    "v_pk_lshrrev_b16": ("u16", 2, lambda a, b: b >> (a & np.uint16(15))),
    "v_pk_ashrrev_i16": ("i16", 2, lambda a, b: b >> (a & np.int16(15))),
    "v_pk_max_i16": ("i16", 2, np.maximum),
    "v_pk_min_i16": ("i16", 2, np.minimum),
    "v_pk_mad_u16": ("u16", 3, lambda a, b, c: a * b + c),
    "v_pk_add_u16": ("u16", 2, np.add),
    "v_pk_sub_u16": ("u16", 2, np.subtract),
    "v_pk_max_u16": ("u16", 2, np.maximum),
    "v_pk_min_u16": ("u16", 2, np.minimum),
    "v_pk_fma_f16": ("f16", 3, numbers.fma16),
    "v_pk_add_f16": ("f16", 2, np.add),
    "v_pk_mul_f16": ("f16", 2, np.multiply),
    "v_pk_min_f16": ("f16", 2, numbers.least),
    "v_pk_max_f16": ("f16", 2, numbers.greatest),
    "v_pk_fma_f32": ("f32", 3, numbers.fma32),
    "v_pk_mul_f32": ("f32", 2, np.multiply),
    "v_pk_add_f32": ("f32", 2, np.add),
}
"""By name: the type of each half, the number of sources, and what is computed of each half."""
_EXACT: dict[str, Callable[[Array, Array], Array]] = {
    "v_pk_add_i16": np.add, "v_pk_sub_i16": np.subtract,
    "v_pk_add_u16": np.add, "v_pk_sub_u16": np.subtract,
}  # fmt: skip
MIXED = {"v_fma_mix_f32", "v_fma_mixlo_f16", "v_fma_mixhi_f16"}


def step(inst: Instruction, limits: Limits) -> Step | None:
    """Return what such an instruction does; None for one that is not of them."""
    if inst.name in MIXED:
        return _mixed(inst, limits)
    if inst.name == "v_pk_fmac_f16" and inst.format == "vop2" and inst.modifier is None:
        return _fmac(inst, limits)
    if inst.name == "v_pk_mov_b32":
        return _two(
            inst,
            limits,
            "b32",
            [_part32(inst, 0, "b32", limits, inst["op_sel"] & 1)],
            [_part32(inst, 1, "b32", limits, inst["op_sel"] >> 1 & 1)],
            lambda a: a,
        )
    if inst.name not in TABLE:
        return None
    kind, count, function = TABLE[inst.name]
    high = inst["op_sel_hi"] | inst["op_sel_hi2"] << 2
    part = _part32 if kind == "f32" else _part16
    low_reads: list[Read] = []
    high_reads: list[Read] = []
    for number in range(count):
        for reads, chosen, negative in (
            (low_reads, inst["op_sel"], inst["neg"]),
            (high_reads, high, inst["neg_hi"]),
        ):
            read = part(inst, number, kind, limits, chosen >> number & 1)
            negated = bool(negative >> number & 1)
            reads.append(signed(read, kind, negated=negated, absolute=False))
    if inst["clamp"]:
        function = _clamped(inst.name, kind, function)
    return _two(inst, limits, kind, low_reads, high_reads, function)


def _fmac(inst: Instruction, limits: Limits) -> Step:
    """Return the step of the packed multiply-add that adds to its target."""
    codes = (inst["src0"], inst["src1"], inst["vdst"] + VECTOR)
    low, high = (
        [source(inst, code, "f16", limits, high=half) for code in codes] for half in (False, True)
    )
    return _two(inst, limits, "f16", low, high, numbers.fma16)


def _clamped(name: str, kind: str, function: Callable[..., Array]) -> Callable[..., Array]:
    if kind[0] == "f":
        dtype = DTYPES[kind]

        def unit(*of: Array) -> Array:
            result = function(*of)
            kept = np.clip(result, dtype(0), dtype(1))
            return np.where(np.isnan(result), dtype(0), kept)

        return unit
    if name not in _EXACT:
        message = "it keeps its results to the limits of their type, which is not known of it"
        raise UnknownOperationError(message)
    exact, limits = _EXACT[name], np.iinfo(DTYPES[kind])
    return lambda a, b: np.clip(
        exact(a.astype(np.int64), b.astype(np.int64)), limits.min, limits.max
    )


def _part16(inst: Instruction, number: int, kind: str, limits: Limits, half: int) -> Read:
    return source(inst, inst[f"src{number}"], kind, limits, high=bool(half))


def _part32(inst: Instruction, number: int, kind: str, limits: Limits, half: int) -> Read:
    """Return what reads one of the two registers of a source."""
    code = inst[f"src{number}"]
    if constant(code, "u32", inst.literal) is not None or VECTOR > code >= SCALARS:
        if half:
            message = f"it reads the upper half of source {number}, which is a constant"
            raise UnknownOperationError(message)
        return source(inst, code, kind, limits)
    if code >= VECTOR:
        rows(limits, code - VECTOR, 2)
    read = source(inst, code + half, kind, limits)
    return flushed(read) if limits.flush and kind == "f32" else read


def _two(
    inst: Instruction,
    limits: Limits,
    kind: str,
    low: list[Read],
    high: list[Read],
    function: Callable[..., Array],
) -> Step:
    """Return the step that computes both halves, and only then writes them."""
    wide = kind.endswith("32")
    row = rows(limits, inst["vdst"], 2 if wide else 1)
    flushes = limits.flush and kind == "f32"

    def run(w: Wave) -> None:
        lower = function(*(read(w) for read in low))
        upper = function(*(read(w) for read in high))
        if flushes:
            lower, upper = flush(lower), flush(upper)
        # A result of another row of itself is not written before the other half was computed.
        if wide:
            lower = lower.copy() if lower.base is not None else lower
            upper = upper.copy() if upper.base is not None else upper
            np.copyto(w.v[kind][row], lower, where=w.m)
            np.copyto(w.v[kind][row + 1], upper, where=w.m)
        else:
            np.copyto(w.half[kind][row, :, 0], lower, where=w.m, casting="unsafe")
            np.copyto(w.half[kind][row, :, 1], upper, where=w.m, casting="unsafe")

    return run


def _mixed(inst: Instruction, limits: Limits) -> Step:
    """Return the step of a fused multiply-add whose sources are f32 or halves of f16."""
    half = inst["op_sel_hi"] | inst["op_sel_hi2"] << 2
    reads = []
    for number in range(3):
        code = inst[f"src{number}"]
        if half >> number & 1:
            high = bool(inst["op_sel"] >> number & 1)
            kind = "f16"
            read = source(inst, code, "f16", limits, high=high)
        else:
            kind = "f32"
            read = source(inst, code, "f32", limits)
        # Of these operations, `neg_hi` says which sources lose their sign.
        read = signed(
            read,
            kind,
            negated=bool(inst["neg"] >> number & 1),
            absolute=bool(inst["neg_hi"] >> number & 1),
        )
        reads.append(read)
    row = rows(limits, inst["vdst"], 1)
    clamped = bool(inst["clamp"])
    place = {"v_fma_mixlo_f16": 0, "v_fma_mixhi_f16": 1}.get(inst.name)
    vector(inst["vdst"], "f32", limits)

    def run(w: Wave) -> None:
        a, b, c = (read(w).astype(np.float32) for read in reads)
        result = np.broadcast_to(numbers.fma32(a, b, c), LANES)
        if clamped:
            result = np.where(np.isnan(result), np.float32(0), np.clip(result, 0, 1))
        if place is None:
            np.copyto(w.v["f32"][row], result, where=w.m)
        else:
            np.copyto(w.half["f16"][row, :, place], result, where=w.m, casting="unsafe")

    return run
