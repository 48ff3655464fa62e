"""Matrix operations: D = A x B + C, where the lanes of a wave hold the parts of the matrices.

A lane holds one row of A and one column of B, and some consecutive elements along the sum; the
blocks of a result are independent products. Source: AMD, "CDNA2 Instruction Set Architecture", and
AMD's matrix instruction calculator for where each element lies.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from forkhouse.emulation.decoding import VECTOR
from forkhouse.emulation.faults import UnknownOperationError
from forkhouse.emulation.numbers import bf16_to_f32
from forkhouse.emulation.operands import Limits, Read, Step, constant, rows
from forkhouse.emulation.wave import LANES

if TYPE_CHECKING:
    from forkhouse.emulation.decoding import Instruction
    from forkhouse.emulation.wave import Wave

Array = Any

_NAME = re.compile(r"v_mfma_(f32|f64|i32)_(\d+)x(\d+)x(\d+)(f32|f64|f16|bf16_1k|bf16|i8)")
_PER_LANE = {"f32": 1, "f64": 1, "f16": 4, "bf16_1k": 4, "bf16": 2, "i8": 4}
"""Elements of a source that one lane holds."""
_BITS = {"f32": 32, "f64": 64, "f16": 16, "bf16_1k": 16, "bf16": 16, "i8": 8}

_RESULTS: dict[str, tuple[int, Any, Any]] = {
    "f32": (1, np.float32, np.float64),
    "f64": (2, np.float64, np.float64),
    "i32": (1, np.int32, np.int64),
}
"""By result: registers of an element, its type, and the type that is computed in."""


def step(inst: Instruction, limits: Limits) -> Step:
    """Return what a matrix operation does. Raises UnknownOperationError."""
    found = _NAME.fullmatch(inst.name)
    if found is None:
        message = "it is no matrix operation that is known"
        raise UnknownOperationError(message)
    result, size, depth, kind = found[1], int(found[2]), int(found[4]), found[5]
    per_lane = _PER_LANE[kind]
    # So many lanes stand beside each other along the sum; the others are further blocks.
    along = depth // per_lane
    blocks = LANES // (size * along)
    registers = max(1, per_lane * _BITS[kind] // 32)
    of_a, of_b = _lanes_of_a(inst, kind, size, blocks), _lanes_of_b(inst, kind)
    a = _matrix(inst["src0"], kind, registers, limits, accumulator=bool(inst["acc"] & 1))
    b = _matrix(inst["src1"], kind, registers, limits, accumulator=bool(inst["acc"] >> 1))
    wide, dtype, inner = _RESULTS[result]
    count = size * size * blocks // LANES * wide
    accumulator = bool(inst["acc_cd"])
    target = rows(limits, inst["vdst"], count, accumulator=accumulator)
    code = inst["src2"]
    fixed = constant(code, result, None)
    start = None
    if fixed is None:
        if code < VECTOR:
            message = "its third source is no vector register"
            raise UnknownOperationError(message)
        start = rows(limits, code - VECTOR, count, accumulator=accumulator)
    filled = _filled(fixed, dtype, count // wide)
    block, row, column = _places(size, blocks, wide=wide)
    negative = inst["blgp"] if kind == "f64" else 0

    def run(w: Wave) -> None:
        left = _spread(a(w)[of_a].astype(inner), size, along, blocks)
        right = _spread(b(w)[of_b].astype(inner), size, along, blocks)
        third = filled if start is None else _result(w, start, count, wide).view(dtype)
        if negative:
            left = -left if negative & 1 else left
            right = -right if negative & 2 else right
            third = -third if negative & 4 else third
        product = left @ right.transpose(0, 2, 1)
        total = (product[block, row, column] + third).astype(dtype)
        # Matrix operations do not look at which lanes are active.
        if wide == 1:
            w.bits[target : target + count] = total.view(np.uint32)
        else:
            words = np.ascontiguousarray(total).view(np.uint32).reshape(-1, LANES, 2)
            w.bits[target : target + count : 2] = words[:, :, 0]
            w.bits[target + 1 : target + count : 2] = words[:, :, 1]

    return run


def _lanes_of_a(inst: Instruction, kind: str, size: int, blocks: int) -> Array:
    """Return from which lane each lane's part of A is taken: CBSZ lets all blocks have one of A.

    AMD's documents agree on what it means only where it names as many blocks as there are.
    """
    if not inst["cbsz"] and not inst["abid"]:
        return slice(None)
    if kind == "f64" or 1 << inst["cbsz"] != blocks or inst["abid"] >= blocks:
        message = "it gives one block of its first source to a part of the others"
        raise UnknownOperationError(message)
    return inst["abid"] * size + np.arange(LANES) % size


def _lanes_of_b(inst: Instruction, kind: str) -> Array:
    """Return from which lane each lane's part of B is taken, as BLGP says."""
    lanes, pattern = np.arange(LANES), inst["blgp"]
    if pattern == 0 or kind == "f64":
        return slice(None)
    if pattern < 3:
        return lanes % 32 + 32 * (pattern - 1)
    return (lanes + 16) % LANES if pattern == 3 else lanes % 16 + 16 * (pattern - 4)


def _result(w: Wave, start: int, count: int, wide: int) -> Array:
    """Return the rows of a result of 32 or 64 bits."""
    if wide == 1:
        return w.bits[start : start + count]
    return np.stack([w.pair(start + number) for number in range(0, count, 2)])


def _filled(fixed: int | None, dtype: Any, count: int) -> Array:
    if fixed is None:
        return None
    unsigned = np.uint64 if dtype is np.float64 else np.uint32
    return np.full((count, LANES), fixed, dtype=unsigned).view(dtype)


def _places(size: int, blocks: int, *, wide: int) -> tuple[Array, Array, Array]:
    """Return block, row and column of each element of a result, by register and lane."""
    registers = size * size * blocks // LANES
    register, lane = np.meshgrid(np.arange(registers), np.arange(LANES), indexing="ij")
    column = lane % size
    group = lane // size
    if size == 4 and wide == 2:
        return lane // 4 % 4, lane // 16, column
    if size == 4:
        return group, register % 4, column
    if wide == 2:
        # With 64 bits, the rows of the groups of lanes alternate.
        return register * 0, 4 * register + group, column
    groups = LANES // size
    per_block = size * size // LANES
    within = register % per_block
    return register // per_block, within // 4 * 4 * groups + 4 * group + within % 4, column


def _spread(values: Array, size: int, along: int, blocks: int) -> Array:
    """Return what lanes hold, by lane and element, as blocks of rows and elements of the sum."""
    per_lane = values.shape[1]
    parts = values.reshape(along, blocks, size, per_lane).transpose(1, 2, 0, 3)
    return parts.reshape(blocks, size, along * per_lane)


def _matrix(code: int, kind: str, registers: int, limits: Limits, *, accumulator: bool) -> Read:
    """Return what reads the elements of a source, by lane."""
    if code < VECTOR:
        message = "a matrix is no vector register"
        raise UnknownOperationError(message)
    row = rows(limits, code - VECTOR, registers, accumulator=accumulator)
    dtype: Any = {
        "f32": np.float32, "f64": np.float64, "f16": np.float16, "bf16": np.uint16,
        "bf16_1k": np.uint16, "i8": np.int8,
    }[kind]  # fmt: skip
    brain = kind.startswith("bf16")

    def read(w: Wave) -> Array:
        words = np.ascontiguousarray(w.bits[row : row + registers].T)
        values = words.view(dtype)
        return bf16_to_f32(values) if brain else values

    return read
