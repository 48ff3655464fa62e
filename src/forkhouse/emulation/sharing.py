"""Make steps of the instructions on LDS, and of those that move values through its paths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from forkhouse.emulation import atomics
from forkhouse.emulation.access import joined, put, put_part, read_words, take
from forkhouse.emulation.faults import UnknownOperationError
from forkhouse.emulation.memory import gather, scatter
from forkhouse.emulation.operands import Limits, Step, rows
from forkhouse.emulation.spaces import ReachedMemory
from forkhouse.emulation.wave import LANES

if TYPE_CHECKING:
    from forkhouse.emulation.decoding import Instruction
    from forkhouse.emulation.wave import Wave

Array = Any

_PARTS: dict[str, tuple[int, bool, int | None]] = {
    "ds_read_u8": (1, False, None), "ds_read_i8": (1, True, None),
    "ds_read_u16": (2, False, None), "ds_read_i16": (2, True, None),
    "ds_read_u8_d16": (1, False, 0), "ds_read_u8_d16_hi": (1, False, 1),
    "ds_read_i8_d16": (1, True, 0), "ds_read_i8_d16_hi": (1, True, 1),
    "ds_read_u16_d16": (2, False, 0), "ds_read_u16_d16_hi": (2, False, 1),
}  # fmt: skip
_STORED = {
    "ds_write_b8": (1, 0), "ds_write_b8_d16_hi": (1, 16),
    "ds_write_b16": (2, 0), "ds_write_b16_d16_hi": (2, 16),
}  # fmt: skip
_READS = {f"ds_read_b{bits}": bits // 32 for bits in (32, 64, 96, 128)}
_WRITES = {f"ds_write_b{bits}": bits // 32 for bits in (32, 64, 96, 128)}
_TWO = {
    f"ds_{verb}2{st}_b{bits}": (bits // 32, bits // 8 * (64 if st else 1), verb == "read")
    for verb in ("read", "write")
    for st in ("", "st64")
    for bits in (32, 64)
}
"""By name: words of each of the two, bytes that an offset counts, and whether it reads."""


def step(inst: Instruction, limits: Limits) -> Step:
    """Return what an instruction on LDS does. Raises UnknownOperationError."""
    if inst["gds"]:
        message = "it is on memory that all workgroups share (GDS), which is not emulated"
        raise UnknownOperationError(message)
    name = inst.name
    if name in _READS or name in _PARTS:
        return _read(inst, limits)
    if name in _WRITES or name in _STORED:
        return _write(inst, limits)
    if name in _TWO:
        return _two(inst, limits)
    match name:
        case "ds_nop":
            return lambda _: None
        case "ds_bpermute_b32":
            return _from_lanes(inst, limits)
        case "ds_permute_b32":
            return _to_lanes(inst, limits)
        case "ds_swizzle_b32":
            return _swizzle(inst, limits)
        case _:
            return _atomic(inst, limits)


def _offset(inst: Instruction) -> int:
    return inst["offset0"] | inst["offset1"] << 8


class _Reach:
    """Finds what the active lanes reach in LDS; inactive ones reach nothing."""

    def __init__(self, inst: Instruction, limits: Limits) -> None:
        self._row = rows(limits, inst["addr"], 1)

    def __call__(self, w: Wave, offset: int, size: int) -> ReachedMemory | None:
        lanes = w.lanes
        if lanes is not None and not len(lanes):
            return None
        places = take(w, self._row, lanes).astype(np.int64)
        if offset:
            places += offset
        w.lds.check(places, size, lanes)
        return ReachedMemory(w.lds.views, places, lanes)


def _read(inst: Instruction, limits: Limits) -> Step:
    offset, reach = _offset(inst), _Reach(inst, limits)
    accumulator = bool(inst["acc"])
    if inst.name in _PARTS:
        form = _PARTS[inst.name]
        row = rows(limits, inst["vdst"], 1, accumulator=accumulator)

        def part(w: Wave) -> None:
            if found := reach(w, offset, form[0]):
                put_part(w, row, gather(found.views, found.places, form[0]), found.lanes, form)

        return part
    count = _READS[inst.name]
    row = rows(limits, inst["vdst"], count, accumulator=accumulator)

    def whole(w: Wave) -> None:
        if found := reach(w, offset, 4 * count):
            for number, values in enumerate(read_words(found, count)):
                put(w, row + number, values, found.lanes)

    return whole


def _write(inst: Instruction, limits: Limits) -> Step:
    offset, reach = _offset(inst), _Reach(inst, limits)
    accumulator = bool(inst["acc"])
    if inst.name in _STORED:
        size, shift = _STORED[inst.name]
        row = rows(limits, inst["data0"], 1, accumulator=accumulator)

        def part(w: Wave) -> None:
            if found := reach(w, offset, size):
                values = take(w, row, found.lanes) >> np.uint32(shift)
                scatter(found.views, found.places, size, values.astype(f"u{size}"))

        return part
    count = _WRITES[inst.name]
    row = rows(limits, inst["data0"], count, accumulator=accumulator)

    def whole(w: Wave) -> None:
        if found := reach(w, offset, 4 * count):
            for number in range(count):
                scatter(
                    found.views, found.places + 4 * number, 4, take(w, row + number, found.lanes)
                )

    return whole


def _two(inst: Instruction, limits: Limits) -> Step:
    words, unit, reads = _TWO[inst.name]
    offsets, reach = (inst["offset0"] * unit, inst["offset1"] * unit), _Reach(inst, limits)
    accumulator = bool(inst["acc"])
    if reads:
        row = rows(limits, inst["vdst"], 2 * words, accumulator=accumulator)

        def read(w: Wave) -> None:
            both = [reach(w, offset, 4 * words) for offset in offsets]
            values = [each for found in both if found for each in read_words(found, words)]
            for number, each in enumerate(values):
                put(w, row + number, each, w.lanes)

        return read
    sources = [
        rows(limits, inst[f"data{which}"], words, accumulator=accumulator) for which in (0, 1)
    ]

    def write(w: Wave) -> None:
        for offset, source in zip(offsets, sources, strict=True):
            if found := reach(w, offset, 4 * words):
                for number in range(words):
                    values = take(w, source + number, found.lanes)
                    scatter(found.views, found.places + 4 * number, 4, values)

    return write


def _atomic(inst: Instruction, limits: Limits) -> Step:
    name = inst.name[3:]
    returns = "_rtn" in name
    known = atomics.of_lds(name.replace("_rtn", ""))
    if known is None:
        message = "its meaning is not known to the emulator"
        raise UnknownOperationError(message)
    kind, width, combine = known
    words, offset, reach = width // 4, _offset(inst), _Reach(inst, limits)
    accumulator = bool(inst["acc"])
    source = rows(limits, inst["data0"], words, accumulator=accumulator)
    two = name.startswith(("cmpst", "mskor"))
    other = rows(limits, inst["data1"], words, accumulator=accumulator) if two else source
    target = rows(limits, inst["vdst"], words, accumulator=accumulator) if returns else None
    if name.startswith("cmpst"):
        # Of these, the first operand is compared with, the second is written.
        source, other = other, source

    def run(w: Wave) -> None:
        found = reach(w, offset, width)
        if found is None:
            return
        values = joined(w, source, words, found.lanes)
        others = joined(w, other, words, found.lanes)
        before = atomics.run(found.views, found.places, kind, width, combine, values, others)
        if target is not None:
            parts = before.view(np.uint32).reshape(-1, words)
            for number in range(words):
                put(w, target + number, parts[:, number], found.lanes)

    return run


def _moving(inst: Instruction, limits: Limits) -> tuple[int, int]:
    accumulator = bool(inst["acc"])
    return (
        rows(limits, inst["vdst"], 1, accumulator=accumulator),
        rows(limits, inst["data0"], 1, accumulator=accumulator),
    )


def _from_lanes(inst: Instruction, limits: Limits) -> Step:
    """Return the step by which each lane takes a value from another; 0 from an inactive one."""
    target, data = _moving(inst, limits)
    address, offset = rows(limits, inst["addr"], 1), np.uint32(_offset(inst))

    def run(w: Wave) -> None:
        lane = (w.bits[address] + offset >> np.uint32(2)) % np.uint32(LANES)
        values = np.where(w.active[lane], w.bits[data][lane], np.uint32(0))
        np.copyto(w.bits[target], values, where=w.m)

    return run


def _to_lanes(inst: Instruction, limits: Limits) -> Step:
    """Return the step by which each active lane gives its value to another; the highest wins."""
    target, data = _moving(inst, limits)
    address, offset = rows(limits, inst["addr"], 1), np.uint32(_offset(inst))

    def run(w: Wave) -> None:
        lane = (w.bits[address] + offset >> np.uint32(2)) % np.uint32(LANES)
        values = np.zeros(LANES, dtype=np.uint32)
        given = w.bits[data]
        for number in np.nonzero(w.active)[0].tolist():
            values[lane[number]] = given[number]
        np.copyto(w.bits[target], values, where=w.m)

    return run


def _swizzle(inst: Instruction, limits: Limits) -> Step:
    target, data = _moving(inst, limits)
    pattern, lane = _offset(inst), np.arange(LANES)
    if pattern >= 0xC000:
        message = f"its pattern {pattern:#x} is not emulated"
        raise UnknownOperationError(message)
    if pattern & 0x8000:
        chosen = np.array([pattern >> 2 * number & 3 for number in range(4)])
        source = lane // 4 * 4 + chosen[lane % 4]
    else:
        keep, set_to, change = pattern & 31, pattern >> 5 & 31, pattern >> 10 & 31
        source = lane // 32 * 32 + ((lane % 32 & keep | set_to) ^ change)

    def run(w: Wave) -> None:
        values = np.where(w.active[source], w.bits[data][source], np.uint32(0))
        np.copyto(w.bits[target], values, where=w.m)

    return run
