"""Where the operands of vector instructions come from, and where their results go.

Each function here makes, once for an instruction, a function that reads or writes for a wave.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from forkhouse.emulation.decoding import VECTOR, Instruction
from forkhouse.emulation.faults import UnknownOperationError
from forkhouse.emulation.memory import PRIVATE, SHARED
from forkhouse.emulation.wave import ACCUMULATORS, LANES, SCALAR_ROWS, SCALARS, VCC

if TYPE_CHECKING:
    from forkhouse.emulation.wave import Wave

Array = Any
Read = Callable[["Wave"], Array]
Write = Callable[["Wave", Array, Array], None]
"""Takes a wave, a result, and the lanes that are written: truth values, or True for all."""
Step = Callable[["Wave"], None]
"""What an instruction does to a wave."""

DTYPES: dict[str, Any] = {
    "b16": np.uint16, "u16": np.uint16, "i16": np.int16, "f16": np.float16,
    "b32": np.uint32, "u32": np.uint32, "i32": np.int32, "f32": np.float32,
    "b64": np.uint64, "u64": np.uint64, "i64": np.int64, "f64": np.float64,
}  # fmt: skip
"""The types that operands have, by the names that AMD gives them."""
_INLINE = {
    240: 0.5, 241: -0.5, 242: 1.0, 243: -1.0, 244: 2.0, 245: -2.0, 246: 4.0, 247: -4.0,
    248: 0.15915494309189532,
}  # fmt: skip
_INVERSE_OF_TWO_PI = {16: 0x3118, 32: 0x3E22F983, 64: 0x3FC45F306DC9C882}
_FLOATS = {16: np.float16, 32: np.float32, 64: np.float64}
_UNSIGNED = {16: np.uint16, 32: np.uint32, 64: np.uint64}


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What a kernel's descriptor says, as far as the meaning of instructions depends on it."""

    vectors: int
    """Architectural vector registers that were allocated."""
    accumulators: int
    flush: bool = False
    """Whether denormal numbers of 32 bits count as zero."""
    touched: set[int] = field(default_factory=set, compare=False)
    """The rows that the operands of the instruction are in whose step is being made."""


def width(kind: str) -> int:
    """Return the bits of a type."""
    return int(kind[1:])


def rows(limits: Limits, number: int, count: int, *, accumulator: bool = False) -> int:
    """Return the first row of a vector operand of so many registers.

    Raises UnknownOperationError where the kernel has not so many registers.
    """
    most = limits.accumulators if accumulator else limits.vectors
    if number + count > most:
        name = "a" if accumulator else "v"
        message = f"it uses {name}{number + count - 1}, and the kernel has {most} such registers"
        raise UnknownOperationError(message)
    first = number + (ACCUMULATORS if accumulator else 0)
    limits.touched.update(range(first, first + count))
    return first


def scalars(limits: Limits, number: int, count: int = 1) -> int:
    """Return the first register of a scalar operand, and note which of them it is in."""
    limits.touched.update(range(SCALAR_ROWS + number, SCALAR_ROWS + number + count))
    return number


def constant(code: int, kind: str, literal: int | None) -> int | None:
    """Return the bits of a constant operand; None for an operand that is none."""
    bits = width(kind)
    if 128 <= code <= 192:
        return code - 128
    if 193 <= code <= 208:
        return (192 - code) & (1 << bits) - 1
    if code == 248:
        return _INVERSE_OF_TWO_PI[bits]
    if code in _INLINE:
        # Where the type is an integer, the constant's bits are those of a number of its width.
        return int(np.array(_INLINE[code], dtype=_FLOATS[bits]).view(_UNSIGNED[bits]))
    if code in {235, 237}:
        if bits != 64:
            message = "it reads half of an aperture"
            raise UnknownOperationError(message)
        return (SHARED if code == 235 else PRIVATE) << 32
    if code == 255:
        if literal is None:
            message = "it has no literal"
            raise UnknownOperationError(message)
        if kind == "f64":
            return literal << 32
        if kind == "i64" and literal >> 31:
            return literal | 0xFFFFFFFF_00000000
        return literal & (1 << bits) - 1
    return None


def source(inst: Instruction, code: int, kind: str, limits: Limits, *, high: bool = False) -> Read:
    """Return what reads a source: a row of 64 values, or one value for all lanes.

    `high` takes the upper half of a register for a type of 16 bits.
    """
    dtype, bits = DTYPES[kind], width(kind)
    fixed = constant(code, kind, inst.literal)
    if fixed is not None:
        if high:
            fixed = (constant(code, "u32", inst.literal) or 0) >> 16
        array = np.array([fixed], dtype=_UNSIGNED[bits]).view(dtype)
        array.flags.writeable = False
        return lambda _: array
    if code >= VECTOR:
        return vector(code - VECTOR, kind, limits, high=high)
    if code in {251, 252, 253}:
        return _condition(code, kind, limits)
    if code >= SCALARS:
        message = f"its source {code} is not known"
        raise UnknownOperationError(message)
    scalars(limits, code, max(1, bits // 32))
    if bits == 16:
        place = 2 * code + high
        return lambda w: w.words.view(dtype)[place : place + 1]
    if bits == 64:
        if code & 1:
            message = f"it reads a pair of scalar registers from s{code}, which is odd"
            raise UnknownOperationError(message)
        code >>= 1
    return lambda w: w.scalar[kind][code]


def vector(
    number: int, kind: str, limits: Limits, *, high: bool = False, accumulator: bool = False
) -> Read:
    """Return what reads a vector register, or a pair of them, as a type."""
    bits = width(kind)
    row = rows(limits, number, max(1, bits // 32), accumulator=accumulator)
    if bits == 16:
        half = int(high)
        return lambda w: w.half[kind][row, :, half]
    if bits == 64:
        dtype = DTYPES[kind]
        return lambda w: w.pair(row).view(dtype)
    return lambda w: w.v[kind][row]


def _condition(code: int, kind: str, limits: Limits) -> Read:
    dtype = DTYPES[kind]
    if code == 251:
        scalars(limits, VCC, 2)
    if code == 253:
        return lambda w: np.array([w.scc], dtype=dtype)
    register = {251: 53, 252: 63}[code]
    return lambda w: np.array([w.s64[register] == 0], dtype=dtype)


def signed(read: Read, kind: str, *, negated: bool, absolute: bool) -> Read:
    """Return what reads a source with its sign taken away, or changed, or both."""
    if not negated and not absolute:
        return read
    bits = width(kind)
    unsigned, dtype = _UNSIGNED[bits], DTYPES[kind]
    sign: Any = unsigned(1 << bits - 1)

    def changed(w: Wave) -> Array:
        value = read(w).view(unsigned)
        if absolute:
            value = value & ~sign
        if negated:
            value = value ^ sign
        return value.view(dtype)

    return changed


def flushed(read: Read) -> Read:
    """Return what reads a source of f32 whose denormal numbers count as zero."""
    return lambda w: flush(read(w))


def flush(values: Array) -> Array:
    """Return values of f32 with zeros, of the same sign, for denormal numbers."""
    small = np.abs(values) < np.float32(2.0**-126)
    return np.where(small, np.copysign(np.float32(0), values), values)


def write(
    number: int, kind: str, limits: Limits, *, keep: bool = False, high: bool = False
) -> Write:
    """Return what writes a result to a vector register, or to a pair of them.

    A result of 16 bits sets the other half to zero unless `keep` is asked for, or the upper half
    is written.
    """
    bits = width(kind)
    row = rows(limits, number, max(1, bits // 32))
    dtype = DTYPES[kind]
    if bits == 64:
        return lambda w, result, lanes: w.set_pair(row, result.astype(dtype, copy=False), lanes)
    if bits == 32:

        def whole(w: Wave, result: Array, lanes: Array) -> None:
            np.copyto(w.v[kind][row], result, where=lanes, casting="unsafe")

        return whole

    def half(w: Wave, result: Array, lanes: Array) -> None:
        np.copyto(w.half[kind][row, :, int(high)], result, where=lanes, casting="unsafe")
        if not keep and not high:
            np.copyto(w.half["u16"][row, :, 1], 0, where=lanes)

    return half


def sdwa_source(inst: Instruction, which: int, kind: str, limits: Limits) -> Read:
    """Return what reads a source of which a byte or a word is selected."""
    code = inst[f"src{which}"]
    if which == 1 and inst["s1"]:
        code &= 0xFF
    whole = source(inst, code, "u32", limits)
    selected, extend = inst[f"src{which}_sel"], inst[f"sext{which}"]
    dtype, bits = DTYPES[kind], width(kind)
    if bits == 64:
        message = "it selects a part of 64 bits"
        raise UnknownOperationError(message)

    def part(w: Wave) -> Array:
        value = select(whole(w), selected, extend=bool(extend))
        return value.astype(np.uint16).view(dtype) if bits == 16 else value.view(dtype)

    return signed(part, kind, negated=bool(inst[f"neg{which}"]), absolute=bool(inst[f"abs{which}"]))


def select(value: Array, selected: int, *, extend: bool) -> Array:
    """Return a byte (0 to 3), a word (4, 5) or all (6) of values of 32 bits."""
    if selected == 6:
        return value
    if selected == 7:
        message = "it selects part 7 of a source, which is none"
        raise UnknownOperationError(message)
    bits = 8 if selected < 4 else 16
    shift = selected * 8 if selected < 4 else (selected - 4) * 16
    if extend:
        moved = (value << np.uint32(32 - bits - shift)).view(np.int32)
        return (moved >> np.int32(32 - bits)).view(np.uint32)
    return value >> np.uint32(shift) & np.uint32((1 << bits) - 1)


def sdwa_write(inst: Instruction, number: int, kind: str, limits: Limits) -> Write:
    """Return what writes a result to a byte or a word of a register."""
    row = rows(limits, number, 1)
    selected, unused = inst["dst_sel"], inst["dst_unused"]
    dtype = DTYPES[kind]
    if width(kind) == 64 or selected == 7 or unused == 3:
        message = "it writes a part that is none"
        raise UnknownOperationError(message)

    def put(w: Wave, result: Array, lanes: Array) -> None:
        value = result.astype(dtype, copy=False)
        bits32 = (
            value.view(np.uint16).astype(np.uint32) if width(kind) == 16 else value.view(np.uint32)
        )
        if selected != 6:
            bits = 8 if selected < 4 else 16
            shift = np.uint32(selected * 8 if selected < 4 else (selected - 4) * 16)
            mask = np.uint32((1 << bits) - 1)
            low = bits32 & mask
            if unused == 1:
                # What is above the part repeats its sign, what is below is zero.
                extended = (low << np.uint32(32 - bits)).view(np.int32) >> np.int32(32 - bits)
                bits32 = extended.view(np.uint32) << shift
            elif unused == 2:
                bits32 = w.bits[row] & ~(mask << shift) | low << shift
            else:
                bits32 = low << shift
        np.copyto(w.bits[row], bits32, where=lanes)

    return put


def dpp_source(inst: Instruction, kind: str, limits: Limits) -> tuple[Read, Read]:
    """Return what reads the first source from other lanes, and what says which lanes are written.

    A lane whose source is outside of its row or inactive reads 0 where `bound_ctrl` is set, and is
    not written elsewhere.
    """
    places, valid = _moved(inst["dpp_ctrl"])
    lanes = np.arange(LANES)
    enabled = (inst["row_mask"] >> (lanes // 16) & 1 & inst["bank_mask"] >> (lanes % 16 // 4)) == 1
    bound = bool(inst["bound_ctrl"])
    whole = vector(inst["src0"] - VECTOR, kind, limits)
    zero = DTYPES[kind](0)

    def read(w: Wave) -> Array:
        good = valid & w.active[places]
        return np.where(good, whole(w)[places], zero)

    def written(w: Wave) -> Array:
        if bound:
            return w.active & enabled
        return w.active & enabled & valid & w.active[places]

    return signed(read, kind, negated=bool(inst["neg0"]), absolute=bool(inst["abs0"])), written


def _moved(control: int) -> tuple[Array, Array]:
    """Return from which lane each lane reads, and whether there is such a lane."""
    lane = np.arange(LANES)
    row, place = lane // 16 * 16, lane % 16
    every = np.ones(LANES, dtype=np.bool_)
    step = control & 0xF
    if control <= 0xFF:
        chosen = np.array([control >> 2 * number & 3 for number in range(4)])
        return lane // 4 * 4 + chosen[lane % 4], every
    if 0x101 <= control <= 0x10F:
        return np.minimum(lane + step, 63), place + step < 16
    if 0x111 <= control <= 0x11F:
        return np.maximum(lane - step, 0), place - step >= 0
    if 0x121 <= control <= 0x12F:
        return row + (place - step) % 16, every
    if 0x150 <= control <= 0x15F:
        return row + step, every
    match control:
        case 0x130:
            return np.minimum(lane + 1, 63), lane < 63
        case 0x134:
            return (lane + 1) % 64, every
        case 0x138:
            return np.maximum(lane - 1, 0), lane > 0
        case 0x13C:
            return (lane - 1) % 64, every
        case 0x140:
            return row + 15 - place, every
        case 0x141:
            return lane // 8 * 8 + 7 - lane % 8, every
        case 0x142:
            return np.maximum(row - 1, 0), lane >= 16
        case 0x143:
            return np.full(LANES, 31), lane >= 32
        case _:
            message = f"its way to read other lanes, {control:#x}, is not known"
            raise UnknownOperationError(message)
