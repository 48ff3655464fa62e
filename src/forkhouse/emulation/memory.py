"""The memory that a kernel sees: registered regions in one space of addresses, and LDS.

An access that is not wholly within one region is a fault. Between two regions lies a gap, so that
running over an end never reaches another buffer.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Any

import numpy as np

from forkhouse.emulation.faults import FaultError

Array = Any
"""An array of NumPy."""

BASE = 0x4000_0000_0000
"""The address of the first byte of memory."""
SHARED, PRIVATE = 0x1_0000, 0x2_0000
"""The upper halves of the addresses by which `flat` reaches LDS and scratch."""
HOST = BASE - 2**32
"""An address at which nothing is, given for the buffer by which a kernel would call the host."""
_GAP = 4096
_MOST = 2**33
"""Bytes of memory in all."""


@dataclass(frozen=True, slots=True)
class Region:
    """A part of memory that may be read, and written where it says so."""

    start: int
    end: int
    name: str
    writable: bool


class Memory:
    """All regions of a launch. They are reserved first, and read and written after `settle`."""

    def __init__(self) -> None:
        """Begin without a region."""
        self.regions: list[Region] = []
        self._starts: list[int] = []
        self._next = BASE + _GAP
        self._contents: list[tuple[int, Array]] = []

    def reserve(
        self, name: str, content: Array | None, *, size: int = 0, writable: bool = True
    ) -> Region:
        """Reserve room for a content of bytes, or for `size` zero bytes. Raises FaultError."""
        length = size if content is None else len(content)
        start = -(-self._next // 256) * 256
        region = Region(start, start + length, name, writable)
        if region.end - BASE > _MOST:
            message = f"{name} would make memory larger than {_MOST} bytes"
            raise FaultError(message)
        self.regions.append(region)
        self._starts.append(start)
        self._next = region.end + _GAP
        if content is not None:
            self._contents.append((start, content))
        return region

    def settle(self) -> None:
        """Make the memory, with the contents that were given."""
        size = -(-(self._next - BASE) // 16) * 16
        self.bytes = np.zeros(size, dtype=np.uint8)
        for start, content in self._contents:
            self.bytes[start - BASE : start - BASE + len(content)] = content
        self._contents.clear()
        self.views = {width: self.bytes.view(f"u{width}") for width in (1, 2, 4, 8)}
        self.words = self.views[4]

    def part(self, region: Region) -> Array:
        """Return the bytes of a region; writing to them writes to memory."""
        return self.bytes[region.start - BASE : region.end - BASE]

    def place(self, address: int, size: int, *, write: bool = False) -> int:
        """Return the position of an address for an access to so many bytes. Raises FaultError."""
        number = bisect_right(self._starts, address) - 1
        if number >= 0:
            region = self.regions[number]
            if address + size <= region.end and (region.writable or not write):
                return address - BASE
        raise FaultError(self._outside(address, size, write=write))

    def places(self, addresses: Array, size: int, lanes: Array | None, *, write: bool) -> Array:
        """Return the positions of addresses, one for each lane that takes part.

        `lanes` are the numbers of these lanes, None for all of them. Raises FaultError, which names
        the first lane whose access is not within a region.
        """
        low, high = int(addresses.min()), int(addresses.max())
        number = bisect_right(self._starts, low) - 1
        if number >= 0:
            region = self.regions[number]
            if high + size <= region.end and (region.writable or not write):
                return (addresses - BASE).view(np.int64)
        for index, address in enumerate(addresses.tolist()):
            try:
                self.place(address, size, write=write)
            except FaultError as fault:
                lane = index if lanes is None else int(lanes[index])
                message = f"lane {lane} {fault}"
                raise FaultError(message) from None
        return (addresses - BASE).view(np.int64)

    def _outside(self, address: int, size: int, *, write: bool) -> str:
        verb = "writes" if write else "reads"
        number = bisect_right(self._starts, address) - 1
        near = self.regions[number] if number >= 0 else None
        what = f"{verb} {size} bytes at address {address:#x}"
        if HOST <= address < BASE:
            return f"{what}: it calls the host, as printf and assert do, which is not emulated"
        if near is None:
            return f"{what}, where nothing is"
        if address < near.end and write and not near.writable:
            return f"{what}, which is {near.name} and may not be written to"
        behind = address - near.start
        return (
            f"{what}, which is in no buffer: {behind} bytes behind the start of {near.name}, which "
            f"has {near.end - near.start}"
        )


def gather(views: dict[int, Array], places: Array, width: int) -> Array:
    """Return what lies at positions, as unsigned numbers of `width` bytes."""
    if width == 1:
        return views[1][places]
    shift = {2: 1, 4: 2, 8: 3}[width]
    if not (places & (width - 1)).any():
        return views[width][places >> shift]
    raw = views[1][places[:, None] + np.arange(width)]
    return np.ascontiguousarray(raw).view(f"u{width}")[:, 0]


def scatter(views: dict[int, Array], places: Array, width: int, values: Array) -> None:
    """Write unsigned numbers of `width` bytes to positions, in order of the lanes."""
    if width == 1:
        views[1][places] = values
        return
    shift = {2: 1, 4: 2, 8: 3}[width]
    if not (places & (width - 1)).any():
        views[width][places >> shift] = values
        return
    values = np.ascontiguousarray(np.broadcast_to(values, places.shape))
    views[1][places[:, None] + np.arange(width)] = values.view(np.uint8).reshape(-1, width)


class Lds:
    """The memory that the waves of a workgroup share."""

    def __init__(self, size: int) -> None:
        """Take its size in bytes; it begins as zeros."""
        self.size = size
        self.bytes = np.zeros(-(-size // 16) * 16, dtype=np.uint8)
        self.views = {width: self.bytes.view(f"u{width}") for width in (1, 2, 4, 8)}

    def check(self, places: Array, size: int, lanes: Array | None) -> None:
        """Raise FaultError where one of the accesses is not wholly within it."""
        if int(places.max()) + size > self.size or int(places.min()) < 0:
            wrong = np.nonzero((places + size > self.size) | (places < 0))[0][0]
            lane = wrong if lanes is None else lanes[wrong]
            message = (
                f"lane {int(lane)} touches {size} bytes at {int(places[wrong]):#x} of LDS, which "
                f"has {self.size} bytes"
            )
            raise FaultError(message)
