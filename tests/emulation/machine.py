"""Encode single instructions and run them on a wave, without a compiler or an ELF file."""

from __future__ import annotations

from typing import Any

import numpy as np

from forkhouse.emulation.decoding import LAYOUTS, operations
from forkhouse.emulation.memory import Lds, Memory
from forkhouse.emulation.operands import Limits
from forkhouse.emulation.program import Program, Stop
from forkhouse.emulation.wave import EXEC, Wave

_BASES = {
    "sop2": 0x80000000, "sopk": 0xB0000000, "sop1": 0xBE800000, "sopc": 0xBF000000,
    "sopp": 0xBF800000, "smem": 0xC0000000, "vop2": 0, "vop1": 0x7E000000, "vopc": 0x7C000000,
    "vop3": 0xD0000000, "vop3sd": 0xD0000000, "vop3p": 0xD3800000, "mai": 0xD3800000,
    "ds": 0xD8000000, "flat": 0xDC000000, "scratch": 0xDC004000, "global": 0xDC008000,
    "mubuf": 0xE0000000,
}  # fmt: skip
_SHORT = {"sop1", "sop2", "sopk", "sopc", "sopp", "vop1", "vop2", "vopc"}
END = bytes.fromhex("000081bf")
ALL = (1 << 64) - 1
LANE = np.arange(64)


def v(number: int) -> int:
    """Return the number of a vector register among the numbers of sources."""
    return 256 + number


def encode(encoding: str, name: str, *, literal: int | None = None, **fields: int) -> bytes:
    """Return the machine code of an instruction."""
    numbers = {each: number for number, each in operations(encoding).items()}
    layout = LAYOUTS["flat" if encoding in {"scratch", "global"} else encoding]
    word = _BASES[encoding]
    for field, value in {"op": numbers[name], **fields}.items():
        first, width = layout[field]
        word |= (value & (1 << width) - 1) << first
    code = word.to_bytes(4 if encoding in _SHORT else 8, "little")
    return code + (literal.to_bytes(4, "little") if literal is not None else b"")


def dpp(encoding: str, name: str, *, control: int, source: int, **fields: int) -> bytes:
    """Return an instruction whose first source is read from other lanes."""
    second = {"bound": (19, 1), "neg0": (20, 1), "abs0": (21, 1), "bank": (24, 4), "row": (28, 4)}
    given = {"bound": 0, "neg0": 0, "abs0": 0, "bank": 15, "row": 15}
    plain = {key: value for key, value in fields.items() if key not in given}
    given |= {key: value for key, value in fields.items() if key in given}
    word = source | control << 8
    for key, value in given.items():
        word |= value << second[key][0]
    return encode(encoding, name, src0=250, **plain) + word.to_bytes(4, "little")


def sdwa(encoding: str, name: str, *, source: int, **fields: int) -> bytes:
    """Return an instruction that reads or writes a part of a register."""
    second = {
        "dst_sel": 8, "unused": 11, "sel0": 16, "sext0": 19, "neg0": 20, "abs0": 21, "sel1": 24,
        "sext1": 27, "neg1": 28, "abs1": 29, "s1": 31,
    }  # fmt: skip
    given = {"dst_sel": 6, "sel0": 6, "sel1": 6}
    plain = {key: value for key, value in fields.items() if key not in second}
    given |= {key: value for key, value in fields.items() if key in second}
    word = source
    for key, value in given.items():
        word |= value << second[key]
    return encode(encoding, name, src0=249, **plain) + word.to_bytes(4, "little")


class Machine:
    """One wave, whose registers a test sets and reads."""

    def __init__(self, *, lds: int = 4096, buffer: Any = None, flush: bool = False) -> None:
        self.memory = Memory()
        self._code = self.memory.reserve("the code", None, size=1 << 16)
        self.buffer = self.memory.reserve("the buffer", buffer) if buffer is not None else None
        self.memory.settle()
        self.lds = Lds(lds)
        self.wave = Wave(self.memory, self.lds, 512)
        self.wave.mode = 0xC0 if flush else 0xF0
        self._limits = Limits(vectors=256, accumulators=256)

    def set(self, row: int, values: Any) -> None:
        """Set a row to 64 values of 32 bits, or two rows to values of 64 bits."""
        array = np.ascontiguousarray(np.broadcast_to(values, 64))
        if array.dtype.itemsize == 8:
            words = array.view(np.uint32).reshape(64, 2)
            self.wave.bits[row], self.wave.bits[row + 1] = words[:, 0], words[:, 1]
        else:
            self.wave.bits[row] = array.view(np.uint32)

    def get(self, row: int, dtype: Any = np.uint32) -> Any:
        """Return a row as a type, or two rows as one of 64 bits."""
        if np.dtype(dtype).itemsize == 8:
            return self.wave.pair(row).view(dtype)
        return self.wave.bits[row].view(dtype).copy()

    def run(self, *code: bytes, active: int = ALL) -> Machine:
        """Run instructions, with some lanes active."""
        content = b"".join(code) + END
        self.memory.part(self._code)[: len(content)] = np.frombuffer(content, dtype=np.uint8)
        self.wave.pc = self._code.start
        self.wave.s64[EXEC // 2] = active
        self.wave.exec_changed()
        with np.errstate(all="ignore"):
            assert Program(self.memory, self._limits).run(self.wave, 100_000) is Stop.ENDED
        return self
