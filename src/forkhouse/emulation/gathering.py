"""Find the operands of a vector instruction, whatever its encoding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from forkhouse.emulation.faults import UnknownOperationError
from forkhouse.emulation.operands import (
    Limits,
    Read,
    Write,
    constant,
    dpp_source,
    flushed,
    rows,
    scalars,
    sdwa_source,
    sdwa_write,
    signed,
    source,
    vector,
    width,
    write,
)
from forkhouse.emulation.wave import LANES, SCALARS

if TYPE_CHECKING:
    from forkhouse.emulation.decoding import Instruction

Array = Any


class Operands:
    """What reads the sources of an instruction, in order, each as its type.

    A type that begins with `=` is that of the register that will be written.
    """

    def __init__(self, inst: Instruction, limits: Limits, kinds: list[str]) -> None:
        """Find the sources. Raises UnknownOperationError."""
        self._inst, self._limits = inst, limits
        self.written: Read | None = None
        """What says which lanes are written; None where it is those that are active."""
        self.reads = [self._read(number, kind) for number, kind in enumerate(kinds)]

    def _read(self, number: int, kind: str) -> Read:
        inst, limits = self._inst, self._limits
        if kind.startswith("="):
            kind = kind[1:]
            read = vector(inst["vdst"], kind, limits)
            if inst["neg"] >> number & 1:
                read = signed(read, kind, negated=True, absolute=False)
        elif inst.modifier == "sdwa" and number < 2:
            read = sdwa_source(inst, number, kind, limits)
        elif inst.modifier == "dpp" and number == 0:
            read, self.written = dpp_source(inst, kind, limits)
        else:
            if f"src{number}" not in inst.fields:
                message = f"it has no source {number}"
                raise UnknownOperationError(message)
            high = (
                width(kind) == 16 and inst.format == "vop3" and bool(inst["op_sel"] >> number & 1)
            )
            read = source(inst, inst[f"src{number}"], kind, limits, high=high)
            negated, absolute = inst["neg"] >> number & 1, inst["abs"] >> number & 1
            if inst.modifier == "dpp":
                negated, absolute = inst["neg1"], inst["abs1"]
            read = signed(read, kind, negated=bool(negated), absolute=bool(absolute))
        return flushed(read) if limits.flush and kind == "f32" else read

    def row(self) -> int:
        """Return the row of the register that is written."""
        return rows(self._limits, self._inst["vdst"], 1)

    def write(self, kind: str, *, keep: bool = False) -> Write:
        """Return what writes the result, of a type, to `vdst`."""
        inst, limits = self._inst, self._limits
        if inst.modifier == "sdwa":
            return sdwa_write(inst, inst["vdst"], kind, limits)
        high = width(kind) == 16 and inst.format == "vop3" and bool(inst["op_sel"] >> 3)
        return write(inst["vdst"], kind, limits, keep=keep, high=high)


def mask_source(code: int, limits: Limits) -> Read:
    """Return what reads a truth value for each lane from a pair of scalar registers.

    Raises UnknownOperationError for a source that has none.
    """
    if code < SCALARS:
        scalars(limits, code, 2)
        return lambda w: w.mask(code)
    fixed = constant(code, "u64", None)
    if fixed is None:
        message = f"it reads a truth value for each lane from source {code}"
        raise UnknownOperationError(message)
    values = np.array([fixed >> lane & 1 for lane in range(LANES)], dtype=np.bool_)
    return lambda _: values
