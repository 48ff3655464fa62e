"""The state of one wave: its registers, for all 64 lanes at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from forkhouse.emulation.memory import Lds, Memory

Array = Any

LANES = 64
FLAT_SCRATCH, VCC, M0, EXEC = 102, 106, 124, 126
SCALARS = 128
ACCUMULATORS = 256
"""The row of the first accumulation register."""
SCALAR_ROWS = 512
"""Where scalar registers begin, when registers of all kinds are counted as rows."""
ALL = (1 << LANES) - 1
_LANE = np.arange(LANES)


class Wave:
    """The registers of a wave, and what it shares with others.

    Vector registers are rows of an array of 64 columns, the architectural ones first, then the
    accumulation registers from row 256. Each row has views of its bits as other types.
    """

    __slots__ = (
        "active", "bits", "count", "full", "half", "lanes", "lds", "locals", "m", "memory",
        "mode", "pc", "pending", "s", "s8", "s64", "scalar", "scc", "v", "vectors", "words",
    )  # fmt: skip

    def __init__(self, memory: Memory, lds: Lds, rows: int) -> None:
        """Begin with all registers zero and all lanes active."""
        self.memory, self.lds = memory, lds
        self.bits = np.zeros((rows, LANES), dtype=np.uint32)
        # The lists of rows are faster to reach than the rows of an array.
        self.v: dict[str, list[Array]] = {
            kind: list(self.bits.view(dtype))
            for kind, dtype in (("u32", np.uint32), ("i32", np.int32), ("f32", np.float32))
        }
        self.v["b32"] = self.v["u32"]
        self.half = {
            kind: self.bits.view(dtype).reshape(rows, LANES, 2)
            for kind, dtype in (("u16", np.uint16), ("i16", np.int16), ("f16", np.float16))
        }
        self.half["b16"] = self.half["u16"]
        raw = bytearray(SCALARS * 4)
        self.s, self.s64 = memoryview(raw).cast("I"), memoryview(raw).cast("Q")
        self.s8 = np.frombuffer(raw, dtype=np.uint8)
        words = self.s8.view(np.uint32)
        self.scalar: dict[str, list[Array]] = {
            kind: [words.view(dtype)[number : number + 1] for number in range(SCALARS)]
            for kind, dtype in (("u32", np.uint32), ("i32", np.int32), ("f32", np.float32))
        }
        self.scalar["b32"] = self.scalar["u32"]
        self.scalar |= {
            kind: [words.view(dtype)[number : number + 1] for number in range(SCALARS // 2)]
            for kind, dtype in (("u64", np.uint64), ("i64", np.int64), ("f64", np.float64))
        }
        self.scalar["b64"] = self.scalar["u64"]
        self.words = words
        self.vectors: list[tuple[frozenset[int], bool]] = []
        self.locals: list[tuple[frozenset[int], bool]] = []
        self.pending: frozenset[int] = frozenset()
        self.scc = self.count = self.pc = self.mode = 0
        self.set_exec(ALL)

    def set_exec(self, mask: int) -> None:
        """Set which lanes are active."""
        self.s64[EXEC // 2] = mask
        self.exec_changed()

    def exec_changed(self) -> None:
        """Derive what follows from EXEC.

        `m` is what NumPy's functions take as `where`: True for all lanes.
        """
        if self.s64[EXEC // 2] == ALL:
            self.full, self.m, self.lanes = True, True, None
            self.active = _EVERY
        else:
            self.full = False
            self.m = self.active = self.mask(EXEC)
            self.lanes = self.active.nonzero()[0]

    @property
    def exec(self) -> int:
        """The active lanes as a number, lane 0 in its lowest bit."""
        return int(self.s64[EXEC // 2])

    def mask(self, register: int) -> Array:
        """Return the 64 bits of a pair of scalar registers, a truth value for each lane."""
        part = self.s8[register * 4 : register * 4 + 8]
        return np.unpackbits(part, bitorder="little").view(np.bool_)

    def set_mask(self, register: int, values: Array) -> None:
        """Write a truth value for each lane to a pair of scalar registers."""
        self.s8[register * 4 : register * 4 + 8] = np.packbits(values, bitorder="little")
        if register == EXEC:
            self.exec_changed()

    def pair(self, row: int) -> Array:
        """Return two rows as numbers of 64 bits."""
        both = np.empty((LANES, 2), dtype=np.uint32)
        both[:, 0] = self.bits[row]
        both[:, 1] = self.bits[row + 1]
        return both.view(np.uint64)[:, 0]

    def set_pair(self, row: int, values: Array, lanes: Array) -> None:
        """Write numbers of 64 bits to two rows, in the lanes that are true."""
        words = np.ascontiguousarray(values).view(np.uint32).reshape(-1, 2)
        np.copyto(self.v["u32"][row], words[:, 0], where=lanes)
        np.copyto(self.v["u32"][row + 1], words[:, 1], where=lanes)


_EVERY = np.ones(LANES, dtype=np.bool_)
_EVERY.flags.writeable = False
