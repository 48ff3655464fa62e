"""Operations on two numbers at once, with each way to choose and negate the halves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.emulation.machine import Machine, encode, v

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.emulation

RANDOM = np.random.default_rng(12)
HALVES: dict[str, tuple[Any, int, Callable[..., float]]] = {
    "v_pk_add_f16": (np.float16, 2, lambda a, b: a + b),
    "v_pk_mul_f16": (np.float16, 2, lambda a, b: a * b),
    "v_pk_min_f16": (np.float16, 2, min),
    "v_pk_max_f16": (np.float16, 2, max),
    "v_pk_fma_f16": (np.float16, 3, lambda a, b, c: a * b + c),
    "v_pk_add_f32": (np.float32, 2, lambda a, b: a + b),
    "v_pk_mul_f32": (np.float32, 2, lambda a, b: a * b),
    "v_pk_fma_f32": (np.float32, 3, lambda a, b, c: a * b + c),
}
WHOLE: dict[str, tuple[Any, Callable[..., int]]] = {
    "v_pk_add_u16": (np.uint16, lambda a, b: a + b),
    "v_pk_sub_i16": (np.int16, lambda a, b: a - b),
    "v_pk_mul_lo_u16": (np.uint16, lambda a, b: a * b),
    "v_pk_max_i16": (np.int16, max),
    "v_pk_min_u16": (np.uint16, min),
    "v_pk_lshlrev_b16": (np.uint16, lambda a, b: b << a % 16),
    "v_pk_lshrrev_b16": (np.uint16, lambda a, b: b >> a % 16),
    "v_pk_ashrrev_i16": (np.int16, lambda a, b: b >> a % 16),
}


def put(machine: Machine, register: int, pair: Any) -> None:
    """Write two numbers for each lane, to one register or two."""
    machine.set(register, np.ascontiguousarray(pair).view(f"u{2 * pair.itemsize}")[:, 0])


def got(machine: Machine, register: int, dtype: Any) -> Any:
    whole = machine.get(register, np.uint64 if np.dtype(dtype).itemsize == 4 else np.uint32)
    return np.ascontiguousarray(whole[:, None]).view(dtype)


@pytest.mark.parametrize(("low", "high"), [(0, 7), (1, 6), (7, 0), (2, 5)])
@pytest.mark.parametrize("name", HALVES)
def test_floats(name: str, low: int, high: int) -> None:
    dtype, count, function = HALVES[name]
    sources = [RANDOM.integers(-8, 9, (64, 2)).astype(dtype) / dtype(4) for _ in range(count)]
    machine = Machine()
    for number, pair in enumerate(sources):
        put(machine, 2 + 2 * number, pair)
    code = encode(
        "vop3p", name, src0=v(2), src1=v(4), src2=v(6), vdst=10, op_sel=low, op_sel_hi=high & 3,
        op_sel_hi2=high >> 2, neg=1, neg_hi=2,
    )  # fmt: skip
    found = got(machine.run(code), 10, dtype)
    for lane in range(64):
        for half, chosen, negative in ((0, low, 1), (1, high, 2)):
            values = [
                float(pair[lane, chosen >> number & 1]) * (-1 if negative >> number & 1 else 1)
                for number, pair in enumerate(sources)
            ]
            assert float(found[lane, half]) == function(*values)


@pytest.mark.parametrize("name", WHOLE)
def test_integers(name: str) -> None:
    dtype, function = WHOLE[name]
    a, b = (RANDOM.integers(0, 2**16, (64, 2), dtype=np.uint16).view(dtype) for _ in range(2))
    machine = Machine()
    put(machine, 2, a)
    put(machine, 4, b)
    code = encode("vop3p", name, src0=v(2), src1=v(4), vdst=10, op_sel_hi=3, op_sel_hi2=1)
    found = got(machine.run(code), 10, np.uint16)
    for lane in range(64):
        for half in (0, 1):
            right = function(int(a[lane, half]), int(b[lane, half])) & 0xFFFF
            assert int(found[lane, half]) == right


def test_an_instruction_may_overwrite_its_own_sources() -> None:
    machine = Machine()
    put(machine, 2, np.tile(np.array([1, 10], dtype=np.float32), (64, 1)))
    swapped = {"op_sel": 3, "op_sel_hi": 0, "op_sel_hi2": 1}
    machine.run(encode("vop3p", "v_pk_add_f32", src0=v(2), src1=v(2), vdst=2, **swapped))
    assert got(machine, 2, np.float32)[0].tolist() == [20.0, 2.0]
    machine.run(
        encode("vop3p", "v_pk_mov_b32", src0=v(2), src1=v(2), vdst=2, op_sel=1, op_sel_hi=3)
    )
    assert got(machine, 2, np.float32)[0].tolist() == [2.0, 20.0]


def test_f16_and_f32_are_mixed() -> None:
    machine = Machine()
    put(machine, 2, np.tile(np.array([3, 5], dtype=np.float16), (64, 1)))
    machine.set(3, np.full(64, 2.5, dtype=np.float32))
    machine.set(4, np.full(64, 1.0, dtype=np.float32))
    upper = {"src0": v(2), "src1": v(3), "src2": v(4), "op_sel": 1, "op_sel_hi": 1}
    machine.run(
        encode("vop3p", "v_fma_mix_f32", vdst=8, **upper),
        encode("vop3p", "v_fma_mixlo_f16", vdst=9, **upper),
        encode("vop3p", "v_fma_mixhi_f16", vdst=9, neg=4, **upper),
    )
    assert machine.get(8, np.float32)[0] == 13.5
    assert got(machine, 9, np.float16)[0].tolist() == [13.5, 11.5]
