"""Where in memory an instruction's lanes reach: by address, through a buffer, in scratch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from forkhouse.emulation.faults import FaultError, UnknownOperationError
from forkhouse.emulation.memory import BASE, PRIVATE, SHARED
from forkhouse.emulation.operands import Limits, rows, scalars
from forkhouse.emulation.scalar import get
from forkhouse.emulation.wave import FLAT_SCRATCH, LANES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkhouse.emulation.decoding import Instruction
    from forkhouse.emulation.memory import Memory
    from forkhouse.emulation.wave import Wave

Array = Any

_OFF = 0x7F
_LANE4 = np.arange(LANES, dtype=np.uint64) * np.uint64(4)
_EVERY = np.arange(LANES)
_U64 = np.uint64


@dataclass(frozen=True, slots=True)
class ReachedMemory:
    """Where some of the lanes reach."""

    views: dict[int, Array]
    places: Array
    """A position for each of these lanes."""
    lanes: Array | None
    """The lanes' numbers; None for all 64."""
    stride: int = 4
    """Bytes from one word of a lane to its next: 256 in scratch, where lanes take turns."""
    zero: Array | None = None
    """Lanes that reach outside of a buffer: they read 0 and write nothing."""


class Find(Protocol):
    """Finds where the active lanes reach. Raises FaultError for a lane that may not."""

    def __call__(self, w: Wave, size: int, *, write: bool) -> Iterator[ReachedMemory]:
        """Yield what the lanes reach with so many bytes."""
        ...


def finder(inst: Instruction, limits: Limits) -> Find:
    """Return what finds the places of an instruction's lanes."""
    if inst.format == "mubuf":
        return _buffer(inst, limits)
    if inst.format == "scratch":
        return _scratch(inst, limits)
    return _addresses(inst, limits)


def _addresses(inst: Instruction, limits: Limits) -> Find:
    """Return the finder of `flat` and `global`."""
    is_flat = inst.format == "flat"
    if is_flat:
        scalars(limits, FLAT_SCRATCH, 2)
    offset = inst["offset"] & 0xFFF if is_flat else inst.signed("offset", 13)
    if inst["saddr"] != _OFF and not is_flat:
        row = rows(limits, inst["addr"], 1)
        base = get(inst["saddr"], 64, None, limits)

        def address(w: Wave) -> Array:
            # What is added may be negative, and the sum keeps to 64 bits.
            start = _U64(base(w) + offset & 0xFFFFFFFF_FFFFFFFF)
            return w.bits[row].astype(_U64) + start
    else:
        row = rows(limits, inst["addr"], 2)
        step = _U64(offset & 0xFFFFFFFF_FFFFFFFF)

        def address(w: Wave) -> Array:
            return w.pair(row) + step if offset else w.pair(row)

    def find(w: Wave, size: int, *, write: bool) -> Iterator[ReachedMemory]:
        lanes = w.lanes
        if lanes is not None and not len(lanes):
            return
        reached = address(w)
        if lanes is not None:
            reached = reached[lanes]
        if is_flat and int(reached.min()) < BASE:
            yield from _by_aperture(w, reached, lanes, size, write=write)
            return
        places = w.memory.places(reached, size, lanes, write=write)
        yield ReachedMemory(w.memory.views, places, lanes)

    return find


def _by_aperture(
    w: Wave, reached: Array, lanes: Array | None, size: int, *, write: bool
) -> Iterator[ReachedMemory]:
    """Yield where `flat` reaches: LDS and scratch have addresses of their own."""
    numbers = _EVERY if lanes is None else lanes
    upper = reached >> _U64(32)
    shared, private = upper == SHARED, upper == PRIVATE
    if shared.any():
        places = (reached[shared] & _U64(0xFFFFFFFF)).astype(np.int64)
        w.lds.check(places, size, numbers[shared])
        yield ReachedMemory(w.lds.views, places, numbers[shared])
    if private.any():
        yield _swizzled(w, reached[private] & _U64(0xFFFFFFFF), numbers[private], size, write=write)
    rest = ~(shared | private)
    if rest.any():
        places = w.memory.places(reached[rest], size, numbers[rest], write=write)
        yield ReachedMemory(w.memory.views, places, numbers[rest])


def _swizzled(w: Wave, offsets: Array, lanes: Array, size: int, *, write: bool) -> ReachedMemory:
    """Return where offsets of scratch lie, whose words take turns by lanes."""
    base = _U64(w.s64[FLAT_SCRATCH // 2])
    return _in_turns(w.memory, base, offsets, lanes, size, write=write)


def _in_turns(
    memory: Memory, base: Any, offsets: Array, lanes: Array, size: int, *, write: bool
) -> ReachedMemory:
    within = offsets & _U64(3)
    if size < 4 and bool((within + _U64(size) > _U64(4)).any()):
        message = f"it touches {size} bytes of scratch over the end of a word"
        raise FaultError(message)
    first = base + (offsets - within) * _U64(LANES) + _LANE4[lanes] + within
    last = first + _U64(256 * ((size - 1) // 4))
    memory.places(last, min(size, 4), lanes, write=write)
    return ReachedMemory(
        memory.views, memory.places(first, min(size, 4), lanes, write=write), lanes, 4 * LANES
    )


def _scratch(inst: Instruction, limits: Limits) -> Find:
    offset = inst.signed("offset", 13)
    base = get(inst["saddr"], 32, None, limits) if inst["saddr"] != _OFF else None
    scalars(limits, FLAT_SCRATCH, 2)
    row = rows(limits, inst["addr"], 1) if base is None else None

    def find(w: Wave, size: int, *, write: bool) -> Iterator[ReachedMemory]:
        lanes = _EVERY if w.lanes is None else w.lanes
        if not len(lanes):
            return
        if row is not None:
            start = w.bits[row, lanes].astype(_U64)
        else:
            start = np.full(len(lanes), base(w) if base else 0, dtype=_U64)
        yield _swizzled(w, start + _U64(offset & 0xFFFFFFFF_FFFFFFFF), lanes, size, write=write)

    return find


def _buffer(inst: Instruction, limits: Limits) -> Find:
    """Return the finder of an access through a buffer's descriptor of 128 bits.

    Source: AMD, "CDNA2 Instruction Set Architecture", 9.1.5: what a lane reaches outside of the
    buffer reads 0 and is not written.
    """
    descriptor = inst["srsrc"] * 4
    soffset = get(inst["soffset"], 32, None, limits)
    fixed, offen, idxen = inst["offset"], inst["offen"], inst["idxen"]
    if descriptor + 3 >= FLAT_SCRATCH:
        message = f"its buffer's descriptor is in s{descriptor}, which holds none"
        raise UnknownOperationError(message)
    scalars(limits, descriptor, 4)
    if offen or idxen:
        rows(limits, inst["addr"], offen + idxen)
    index_row = inst["addr"] if idxen else None
    offset_row = inst["addr"] + idxen if offen else None

    def find(w: Wave, size: int, *, write: bool) -> Iterator[ReachedMemory]:
        lanes = _EVERY if w.lanes is None else w.lanes
        if not len(lanes):
            return
        first, second, records, last = (w.s[descriptor + number] for number in range(4))
        base = (second & 0xFFFF) << 32 | first
        stride, swizzle = second >> 16 & 0x3FFF, second >> 31
        offsets = np.full(len(lanes), fixed, dtype=_U64)
        if offset_row is not None:
            offsets += w.bits[offset_row, lanes]
        index = np.zeros(len(lanes), dtype=_U64)
        if index_row is not None:
            index += w.bits[index_row, lanes]
        beside = soffset(w)
        if last >> 23 & 1:
            if not swizzle or stride or index_row is not None or last >> 21 & 3 != 3:
                message = "its buffer counts lanes in a way that scratch does not"
                raise FaultError(message)
            start = _U64(base + beside)
            yield _in_turns(w.memory, start, offsets, lanes, size, write=write)
            return
        if swizzle:
            message = "its buffer is swizzled, which is emulated for scratch alone"
            raise FaultError(message)
        reached = index * _U64(stride) + offsets
        if stride and idxen:
            outside = index >= _U64(records)
        else:
            outside = reached + _U64(beside + size) > _U64(records)
        yield from _within(w, reached + _U64(base + beside), outside, lanes, size, write=write)

    return find


def _within(
    w: Wave, reached: Array, outside: Array, lanes: Array, size: int, *, write: bool
) -> Iterator[ReachedMemory]:
    views = w.memory.views
    if outside.any():
        yield ReachedMemory(views, reached, lanes, zero=lanes[outside])
        reached, lanes = reached[~outside], lanes[~outside]
        if not len(lanes):
            return
    every = None if len(lanes) == LANES else lanes
    yield ReachedMemory(views, w.memory.places(reached, size, every, write=write), every)
