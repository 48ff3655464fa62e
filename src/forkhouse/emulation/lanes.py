"""Operations that move values between lanes, or between vector and scalar registers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from forkhouse.emulation.decoding import VECTOR
from forkhouse.emulation.faults import UnknownOperationError
from forkhouse.emulation.operands import Limits, Read, Step, constant, rows, source, vector
from forkhouse.emulation.scalar import put32
from forkhouse.emulation.wave import LANES, SCALARS

if TYPE_CHECKING:
    from forkhouse.emulation.decoding import Instruction
    from forkhouse.emulation.wave import Wave

Array = Any


def step(inst: Instruction, limits: Limits) -> Step | None:
    """Return what such an instruction does; None for one that is not of them."""
    if inst.modifier and inst.name != "v_nop":
        return None
    match inst.name:
        case "v_nop" | "v_clrexcp":
            return lambda _: None
        case "v_readfirstlane_b32":
            return _read_first(inst, limits)
        case "v_readlane_b32":
            return _read_lane(inst, limits)
        case "v_writelane_b32":
            return _write_lane(inst, limits)
        case "v_swap_b32":
            return _swap(inst, limits)
        case "v_accvgpr_read_b32":
            return _accumulator_read(inst, limits)
        case "v_accvgpr_write_b32":
            return _accumulator_write(inst, limits)
        case "v_accvgpr_mov_b32":
            return _accumulator_move(inst, limits)
        case _:
            return None


def _lane_of(inst: Instruction, limits: Limits) -> Read:
    return source(inst, inst["src1"], "u32", limits)


def _read_first(inst: Instruction, limits: Limits) -> Step:
    read, put = source(inst, inst["src0"], "u32", limits), put32(inst["vdst"], limits)

    def run(w: Wave) -> None:
        values = read(w)
        mask = w.exec
        lane = (mask & -mask).bit_length() - 1 if mask else 0
        put(w, int(values[lane if len(values) == LANES else 0]))

    return run


def _read_lane(inst: Instruction, limits: Limits) -> Step:
    read, put, lane = (
        source(inst, inst["src0"], "u32", limits),
        put32(inst["vdst"], limits),
        _lane_of(inst, limits),
    )
    if inst["src0"] < VECTOR:
        message = "it reads a lane of what is no vector register"
        raise UnknownOperationError(message)

    def run(w: Wave) -> None:
        put(w, int(read(w)[int(lane(w)[0]) % LANES]))

    return run


def _write_lane(inst: Instruction, limits: Limits) -> Step:
    value, lane = source(inst, inst["src0"], "u32", limits), _lane_of(inst, limits)
    row = rows(limits, inst["vdst"], 1)

    def run(w: Wave) -> None:
        # The lane is written whether it is active or not.
        w.bits[row, int(lane(w)[0]) % LANES] = value(w)[0]

    return run


def _swap(inst: Instruction, limits: Limits) -> Step:
    first, second = rows(limits, inst["vdst"], 1), rows(limits, inst["src0"] - VECTOR, 1)

    def run(w: Wave) -> None:
        kept = w.bits[first].copy()
        np.copyto(w.bits[first], w.bits[second], where=w.m)
        np.copyto(w.bits[second], kept, where=w.m)

    return run


def _accumulator_read(inst: Instruction, limits: Limits) -> Step:
    read = vector(inst["src0"] - VECTOR, "b32", limits, accumulator=True)
    row = rows(limits, inst["vdst"], 1)

    def run(w: Wave) -> None:
        np.copyto(w.bits[row], read(w), where=w.m)

    return run


def _accumulator_write(inst: Instruction, limits: Limits) -> Step:
    code = inst["src0"]
    if SCALARS <= code < VECTOR and constant(code, "u32", None) is None:
        message = f"it reads source {code}"
        raise UnknownOperationError(message)
    read = source(inst, code, "b32", limits)
    row = rows(limits, inst["vdst"], 1, accumulator=True)

    def run(w: Wave) -> None:
        np.copyto(w.bits[row], read(w), where=w.m)

    return run


def _accumulator_move(inst: Instruction, limits: Limits) -> Step:
    read = vector(inst["src0"] - VECTOR, "b32", limits, accumulator=True)
    row = rows(limits, inst["vdst"], 1, accumulator=True)

    def run(w: Wave) -> None:
        np.copyto(w.bits[row], read(w), where=w.m)

    return run
