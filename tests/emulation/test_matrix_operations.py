"""Matrix operations against plain products, with where each element lies written out anew.

The places are those that AMD's matrix instruction calculator prints, spelt as loops over rows and
columns here and as formulas of registers and lanes there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from forkhouse.emulation.program import InstructionFaultError
from tests.emulation.machine import Machine, encode, v

pytestmark = pytest.mark.emulation

RANDOM = np.random.default_rng(4)

# By name: rows and columns, length of the sum, blocks, elements of a source in a lane.
KINDS = {
    "v_mfma_f32_32x32x1f32": (32, 1, 2, 1), "v_mfma_f32_16x16x1f32": (16, 1, 4, 1),
    "v_mfma_f32_4x4x1f32": (4, 1, 16, 1), "v_mfma_f32_32x32x2f32": (32, 2, 1, 1),
    "v_mfma_f32_16x16x4f32": (16, 4, 1, 1), "v_mfma_f32_32x32x4f16": (32, 4, 2, 4),
    "v_mfma_f32_16x16x4f16": (16, 4, 4, 4), "v_mfma_f32_4x4x4f16": (4, 4, 16, 4),
    "v_mfma_f32_32x32x8f16": (32, 8, 1, 4), "v_mfma_f32_16x16x16f16": (16, 16, 1, 4),
    "v_mfma_i32_32x32x4i8": (32, 4, 2, 4), "v_mfma_i32_16x16x4i8": (16, 4, 4, 4),
    "v_mfma_i32_4x4x4i8": (4, 4, 16, 4), "v_mfma_i32_32x32x8i8": (32, 8, 1, 4),
    "v_mfma_i32_16x16x16i8": (16, 16, 1, 4), "v_mfma_f32_32x32x4bf16_1k": (32, 4, 2, 4),
    "v_mfma_f32_16x16x4bf16_1k": (16, 4, 4, 4), "v_mfma_f32_4x4x4bf16_1k": (4, 4, 16, 4),
    "v_mfma_f32_32x32x8bf16_1k": (32, 8, 1, 4), "v_mfma_f32_16x16x16bf16_1k": (16, 16, 1, 4),
    "v_mfma_f32_32x32x2bf16": (32, 2, 2, 2), "v_mfma_f32_16x16x2bf16": (16, 2, 4, 2),
    "v_mfma_f32_4x4x2bf16": (4, 2, 16, 2), "v_mfma_f32_32x32x4bf16": (32, 4, 1, 2),
    "v_mfma_f32_16x16x8bf16": (16, 8, 1, 2), "v_mfma_f64_16x16x4f64": (16, 4, 1, 1),
    "v_mfma_f64_4x4x4f64": (4, 4, 4, 1),
}  # fmt: skip


def operand(kind: str, shape: tuple[int, ...]) -> tuple[Any, Any]:
    """Return numbers as the hardware holds them, and as f64."""
    if kind == "i8":
        whole = RANDOM.integers(-128, 128, shape).astype(np.int8)
        return whole, whole.astype(np.float64)
    values = RANDOM.standard_normal(shape)
    if kind.startswith("bf16"):
        bits = (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
        return bits, (bits.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    dtype: Any = {"f16": np.float16, "f32": np.float32, "f64": np.float64}[kind]
    return values.astype(dtype), values.astype(dtype).astype(np.float64)


def place(
    size: int, blocks: int, block: int, row: int, column: int, *, wide: bool
) -> tuple[int, int]:
    """Return the register (of one element) and the lane in which an element of a result is."""
    if size == 4 and wide:
        return 0, 16 * row + 4 * block + column
    if size == 4:
        return row, 4 * block + column
    if wide:
        return row // 4, 16 * (row % 4) + column
    groups = 64 // size
    # Four rows follow each other in registers, then come the next lanes, then the next registers.
    register = row // (4 * groups) * 4 + row % 4
    lane = row // 4 % groups * size + column
    return register + block * (size * size // 64), lane


@pytest.mark.parametrize("accumulator", [0, 1])
@pytest.mark.parametrize("name", KINDS)
def test_a_product_and_a_sum(name: str, accumulator: int) -> None:
    size, depth, blocks, per_lane = KINDS[name]
    kind = next(end for end in ("bf16_1k", "bf16", "f16", "f32", "f64", "i8") if name.endswith(end))
    wide = name.startswith("v_mfma_f64")
    a_bits, a = operand(kind, (blocks, size, depth))
    b_bits, b = operand(kind, (blocks, depth, size))
    result: Any = np.float64 if wide else np.int32 if "_i32_" in name else np.float32
    c = RANDOM.integers(-9, 10, (blocks, size, size)).astype(result)
    machine = Machine()
    left = np.zeros((64, per_lane), dtype=a_bits.dtype)
    right = np.zeros((64, per_lane), dtype=a_bits.dtype)
    for block in range(blocks):
        for row in range(size):
            for step in range(depth):
                lane = step // per_lane * size * blocks + block * size + row
                left[lane, step % per_lane] = a_bits[block, row, step]
                right[lane, step % per_lane] = b_bits[block, step, row]
    put(machine, 2, left)
    put(machine, 6, right)
    registers = size * size * blocks // 64
    third = np.zeros((registers, 64), dtype=result)
    for block in range(blocks):
        for row in range(size):
            for column in range(size):
                register, lane = place(size, blocks, block, row, column, wide=wide)
                third[register, lane] = c[block, row, column]
    first = 256 if accumulator else 0
    step = 2 if wide else 1
    for register in range(registers):
        machine.set(first + 16 + step * register, third[register])
    # The lanes that are active do not matter.
    machine.run(
        encode("mai", name, src0=v(2), src1=v(6), src2=v(16), vdst=100, acc_cd=accumulator),
        active=5,
    )
    wanted = a @ b + c
    for block in range(blocks):
        for row in range(size):
            for column in range(size):
                register, lane = place(size, blocks, block, row, column, wide=wide)
                found = machine.get(first + 100 + step * register, result)[lane]
                assert found == pytest.approx(wanted[block, row, column], rel=1e-6, abs=1e-5)


def put(machine: Machine, row: int, values: Any) -> None:
    """Write what each lane holds to registers."""
    words = np.ascontiguousarray(values).view(np.uint8)
    words = np.pad(words, ((0, 0), (0, -words.shape[1] % 4))).view(np.uint32)
    for number in range(words.shape[1]):
        machine.set(row + number, np.ascontiguousarray(words[:, number]))


def test_a_sum_may_begin_with_a_constant() -> None:
    machine = Machine()
    machine.set(2, np.ones(64, dtype=np.float32))
    machine.run(encode("mai", "v_mfma_f32_16x16x4f32", src0=v(2), src1=v(2), src2=242, vdst=8))
    assert machine.get(8, np.float32).tolist() == [5.0] * 64


@pytest.mark.parametrize("name", ["v_mfma_f32_4x4x4f16", "v_mfma_f32_16x16x1f32"])
@pytest.mark.parametrize("chosen", [0, 3])
def test_all_blocks_may_have_one_block_of_a(name: str, chosen: int) -> None:
    size, _depth, blocks, per_lane = KINDS[name]
    machine = Machine()
    a_bits, a = operand(name[-3:], (64, per_lane))
    b_bits, b = operand(name[-3:], (64, per_lane))
    put(machine, 2, a_bits)
    put(machine, 6, b_bits)
    fields = {"cbsz": blocks.bit_length() - 1, "abid": chosen, "src2": 128, "vdst": 100}
    machine.run(encode("mai", name, src0=v(2), src1=v(6), **fields))
    for block in range(blocks):
        for row in range(size):
            for column in range(size):
                wanted = a[chosen * size + row] @ b[block * size + column]
                register, lane = place(size, blocks, block, row, column, wide=False)
                found = machine.get(100 + register, np.float32)[lane]
                assert found == pytest.approx(wanted, rel=1e-6, abs=1e-5)


def test_a_part_of_the_blocks_may_not() -> None:
    code = encode("mai", "v_mfma_f32_4x4x4f16", src0=v(2), src1=v(6), src2=128, vdst=8, cbsz=2)
    with pytest.raises(InstructionFaultError, match="a part of the others"):
        Machine().run(code)


@pytest.mark.parametrize(
    ("pattern", "sources"),
    [
        (1, [0, 1, 0, 1]), (2, [2, 3, 2, 3]), (3, [1, 2, 3, 0]), (4, [0] * 4), (5, [1] * 4),
        (6, [2] * 4), (7, [3] * 4),
    ],
)  # fmt: skip
def test_lanes_of_b_may_be_those_of_others(pattern: int, sources: list[int]) -> None:
    machine = Machine()
    a, b = RANDOM.standard_normal((2, 64)).astype(np.float32)
    machine.set(2, a)
    machine.set(6, b)
    machine.run(
        encode("mai", "v_mfma_f32_16x16x1f32", src0=v(2), src1=v(6), src2=128, vdst=8, blgp=pattern)
    )
    for block in range(4):
        for row in range(16):
            for column in range(16):
                wanted = a[16 * block + row] * b[16 * sources[block] + column]
                register, lane = place(16, 4, block, row, column, wide=False)
                assert machine.get(8 + register, np.float32)[lane] == pytest.approx(wanted)
