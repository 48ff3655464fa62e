"""Make steps of the instructions that read and write memory for each lane."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from forkhouse.emulation import atomics, spaces
from forkhouse.emulation.faults import FaultError, UnknownOperationError
from forkhouse.emulation.memory import gather, scatter
from forkhouse.emulation.operands import Limits, Step, rows

if TYPE_CHECKING:
    from forkhouse.emulation.decoding import Instruction
    from forkhouse.emulation.wave import Wave

Array = Any

_LOADS: dict[str, tuple[int, bool, int | None]] = {
    "ubyte": (1, False, None), "sbyte": (1, True, None),
    "ushort": (2, False, None), "sshort": (2, True, None),
    "ubyte_d16": (1, False, 0), "ubyte_d16_hi": (1, False, 1),
    "sbyte_d16": (1, True, 0), "sbyte_d16_hi": (1, True, 1),
    "short_d16": (2, False, 0), "short_d16_hi": (2, False, 1),
}  # fmt: skip
"""Bytes that are read, whether with a sign, and which half of the register is written, if one."""
_STORES = {"byte": (1, 0), "byte_d16_hi": (1, 16), "short": (2, 0), "short_d16_hi": (2, 16)}
"""Bytes that are written, and from which bit of the register they are."""
_WORDS = {"dword": 1, "dwordx2": 2, "dwordx3": 3, "dwordx4": 4}
_CACHES = frozenset({"buffer_wbl2", "buffer_invl2", "buffer_wbinvl1", "buffer_wbinvl1_vol"})


def step(inst: Instruction, limits: Limits) -> Step:
    """Return what an access to memory does. Raises UnknownOperationError."""
    if inst.name in _CACHES:
        return lambda _: None
    if inst["lds"]:
        message = "it moves memory to LDS, which is not emulated"
        raise UnknownOperationError(message)
    action = inst.name.partition("_")[2]
    find = spaces.finder(inst, limits)
    if action.startswith("load_"):
        return _load(inst, limits, action[5:], find)
    if action.startswith("store_"):
        return _store(inst, limits, action[6:], find)
    if action.startswith("atomic_"):
        return _atomic(inst, limits, action[7:], find)
    message = "its meaning is not known to the emulator"
    raise UnknownOperationError(message)


def put(w: Wave, row: int, values: Array, lanes: Array | None) -> None:
    """Write values of 32 bits to a row, for all lanes or those that are named."""
    if lanes is None:
        w.bits[row] = values
    else:
        w.bits[row, lanes] = values


def take(w: Wave, row: int, lanes: Array | None) -> Array:
    """Return a row for all lanes or those that are named."""
    return w.bits[row] if lanes is None else w.bits[row, lanes]


def put_part(
    w: Wave, row: int, values: Array, lanes: Array | None, form: tuple[int, bool, int | None]
) -> None:
    """Write what was read of a byte or two to a row, or to half of it."""
    size, sign, half = form
    if sign:
        values = values.view(f"i{size}")
    if half is None:
        put(w, row, values.astype(np.int32 if sign else np.uint32).view(np.uint32), lanes)
        return
    values = values.astype(np.int16 if sign else np.uint16).view(np.uint16)
    if lanes is None:
        w.half["u16"][row, :, half] = values
    else:
        w.half["u16"][row, lanes, half] = values


def read_words(found: spaces.ReachedMemory, count: int) -> list[Array]:
    """Return what lies at places, in so many words of 32 bits."""
    places, words = found.places, found.views[4]
    if not (places & 3).any():
        index, stride = places >> 2, found.stride >> 2
        return [
            words[index + stride * number] if number else words[index] for number in range(count)
        ]
    _aligned(found, count)
    return [gather(found.views, places + found.stride * number, 4) for number in range(count)]


def _aligned(found: spaces.ReachedMemory, count: int) -> None:
    if found.stride != 4 and count > 1:
        message = "it touches scratch at an address that is not a multiple of 4"
        raise FaultError(message)


def _load(inst: Instruction, limits: Limits, what: str, find: spaces.Find) -> Step:
    accumulator = bool(inst["acc"])
    if what in _LOADS:
        form = _LOADS[what]
        row = rows(limits, inst["vdst"], 1, accumulator=accumulator)

        def part(w: Wave) -> None:
            for found in find(w, form[0], write=False):
                if found.zero is not None:
                    put(w, row, np.uint32(0), found.zero)
                else:
                    put_part(w, row, gather(found.views, found.places, form[0]), found.lanes, form)

        return part
    if what not in _WORDS:
        message = "it reads memory in a format that is not emulated"
        raise UnknownOperationError(message)
    count = _WORDS[what]
    row = rows(limits, inst["vdst"], count, accumulator=accumulator)

    def whole(w: Wave) -> None:
        for found in find(w, 4 * count, write=False):
            if found.zero is not None:
                for number in range(count):
                    put(w, row + number, np.uint32(0), found.zero)
                continue
            for number, values in enumerate(read_words(found, count)):
                put(w, row + number, values, found.lanes)

    return whole


def _store(inst: Instruction, limits: Limits, what: str, find: spaces.Find) -> Step:
    data = inst["vdst"] if inst.format == "mubuf" else inst["data0"]
    accumulator = bool(inst["acc"])
    if what in _STORES:
        size, shift = _STORES[what]
        row = rows(limits, data, 1, accumulator=accumulator)

        def part(w: Wave) -> None:
            for found in find(w, size, write=True):
                if found.zero is None:
                    values = take(w, row, found.lanes) >> np.uint32(shift)
                    scatter(found.views, found.places, size, values.astype(f"u{size}"))

        return part
    if what not in _WORDS:
        message = "it writes memory in a format that is not emulated"
        raise UnknownOperationError(message)
    count = _WORDS[what]
    row = rows(limits, data, count, accumulator=accumulator)

    def whole(w: Wave) -> None:
        for found in find(w, 4 * count, write=True):
            if found.zero is not None:
                continue
            if (found.places & 3).any():
                _aligned(found, count)
            for number in range(count):
                places = found.places + found.stride * number if number else found.places
                scatter(found.views, places, 4, take(w, row + number, found.lanes))

    return whole


def _atomic(inst: Instruction, limits: Limits, what: str, find: spaces.Find) -> Step:
    kind, width, combine = atomics.of_memory(what)
    words = width // 4
    data = inst["vdst"] if inst.format == "mubuf" else inst["data0"]
    accumulator = bool(inst["acc"])
    compares = what.startswith("cmpswap")
    source = rows(limits, data, words * (1 + compares), accumulator=accumulator)
    target = rows(limits, inst["vdst"], words, accumulator=accumulator) if inst["glc"] else None

    def run(w: Wave) -> None:
        for found in find(w, width, write=True):
            if found.zero is not None:
                if target is not None:
                    for number in range(words):
                        put(w, target + number, np.uint32(0), found.zero)
                continue
            if found.stride != 4 and width == 8:
                message = "it is an atomic operation of 64 bits on scratch"
                raise FaultError(message)
            values = joined(w, source, words, found.lanes)
            others = joined(w, source + words, words, found.lanes) if compares else values
            before = atomics.run(found.views, found.places, kind, width, combine, values, others)
            if target is not None:
                parts = before.view(np.uint32).reshape(-1, words)
                for number in range(words):
                    put(w, target + number, parts[:, number], found.lanes)

    return run


def joined(w: Wave, row: int, words: int, lanes: Array | None) -> Array:
    """Return one row, or two as numbers of 64 bits, for all lanes or those that are named."""
    if words == 1:
        return take(w, row, lanes)
    values = w.pair(row)
    return values if lanes is None else values[lanes]
