"""Make steps of the instructions that read memory into scalar registers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkhouse.emulation.faults import UnknownOperationError
from forkhouse.emulation.operands import scalars
from forkhouse.emulation.scalar import Get, get, put64
from forkhouse.emulation.wave import SCALARS

if TYPE_CHECKING:
    from forkhouse.emulation.decoding import Instruction
    from forkhouse.emulation.operands import Limits, Step
    from forkhouse.emulation.wave import Wave

_CACHES = frozenset({"s_dcache_inv", "s_dcache_wb", "s_dcache_inv_vol", "s_dcache_wb_vol"})
_COUNTS = {"dword": 1, "dwordx2": 2, "dwordx4": 4, "dwordx8": 8, "dwordx16": 16}


def filled_by(inst: Instruction) -> int:
    """Return how many scalar registers an instruction of this kind fills."""
    if inst.name in {"s_memtime", "s_memrealtime"}:
        return 2
    return _COUNTS.get(inst.name.rpartition("load_")[2], 0)


def step(inst: Instruction, limits: Limits) -> Step:
    """Return what a scalar access to memory does. Raises UnknownOperationError."""
    if inst.name in _CACHES:
        return lambda _: None
    if inst.name in {"s_memtime", "s_memrealtime"}:
        # There is no clock: what counts up is the number of instructions.
        put = put64(inst["sdata"], limits)
        return lambda w: put(w, w.count)
    kind, _, what = inst.name.rpartition("load_")
    if what not in _COUNTS or kind not in {"s_", "s_buffer_"}:
        message = "its meaning is not known to the emulator"
        raise UnknownOperationError(message)
    count, first = _COUNTS[what], inst["sdata"]
    if first + count > SCALARS:
        message = f"it writes scalar registers up to {first + count - 1}"
        raise UnknownOperationError(message)
    offset = _offset(inst, limits)
    base = scalars(limits, inst["sbase"] * 2, 4 if "buffer" in kind else 2)
    scalars(limits, first, count)
    return (
        _buffer(base, offset, first, count)
        if "buffer" in kind
        else _plain(base >> 1, offset, first, count)
    )


def _offset(inst: Instruction, limits: Limits) -> Get:
    fixed = inst.signed("offset", 21)
    if inst["imm"]:
        if not inst["soffset_en"]:
            return lambda _: fixed
        beside = get(inst["soffset"], 32, None, limits)
        return lambda w: fixed + beside(w)
    code = inst["soffset"] if inst["soffset_en"] else inst["offset"] & 0x7F
    return get(code, 32, None, limits)


def _fill(w: Wave, first: int, count: int, address: int) -> None:
    place = w.memory.place(address, 4 * count)
    w.words[first : first + count] = w.memory.words[place >> 2 : (place >> 2) + count]
    if first + count > 126:
        w.exec_changed()


def _plain(pair: int, offset: Get, first: int, count: int) -> Step:
    def run(w: Wave) -> None:
        # The two lowest bits of an address are not looked at.
        _fill(w, first, count, w.s64[pair] + offset(w) & ~3)

    return run


def _buffer(base: int, offset: Get, first: int, count: int) -> Step:
    """Return the step of a read through a descriptor, which gives 0 behind the buffer's end."""

    def run(w: Wave) -> None:
        low, high, records = w.s[base], w.s[base + 1], w.s[base + 2]
        size = records * ((high >> 16 & 0x3FFF) or 1)
        reached = offset(w) & ~3
        start = (high & 0xFFFF) << 32 | low
        for number in range(count):
            place = reached + 4 * number
            if place < 0 or place + 4 > size:
                w.s[first + number] = 0
            else:
                where = w.memory.place(start + place, 4)
                w.s[first + number] = int(w.memory.words[where >> 2])

    return run
