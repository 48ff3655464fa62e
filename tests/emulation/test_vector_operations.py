"""Each vector operation against Python's own numbers, lane by lane.

The references are written with integers without a width, `fractions` and `math`, so that nothing of
NumPy's arithmetic on arrays, which the emulator is made of, is in them.
"""

from __future__ import annotations

import math
import struct
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.emulation.machine import ALL, LANE, Machine, encode, v

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.emulation

M = 0xFFFFFFFF
RANDOM = np.random.default_rng(20)
EDGES = [
    0,
    1,
    2,
    31,
    32,
    33,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    0xFFFF,
    0x8000,
    0x10000,
    0xFF,
    0xAAAAAAAA,
]


def s(value: int, bits: int = 32) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> bits - 1 else value


def integers() -> Any:
    values = RANDOM.integers(0, 2**32, 64, dtype=np.uint32)
    small = RANDOM.integers(0, 40, 64, dtype=np.uint32)
    mixed = np.where(RANDOM.random(64) < 0.3, small, values)
    edges = RANDOM.choice(np.array(EDGES, dtype=np.uint32), 64)
    return np.where(RANDOM.random(64) < 0.3, edges, mixed).astype(np.uint32)


def bits32(value: float) -> int:
    return int(struct.unpack("<I", struct.pack("<f", value))[0])


def field(value: int, first: int, count: int) -> int:
    return value >> first & (1 << count) - 1


def parts(value: int, bits: int, *, signed: bool) -> list[int]:
    found = [field(value, bits * number, bits) for number in range(32 // bits)]
    return [s(each, bits) for each in found] if signed else found


def dot(bits: int, *, signed: bool) -> Callable[[int, int, int], int]:
    return lambda a, b, c: (
        c
        + sum(
            x * y
            for x, y in zip(
                parts(a, bits, signed=signed), parts(b, bits, signed=signed), strict=True
            )
        )
    )


def perm(a: int, b: int, c: int) -> int:
    source = b.to_bytes(4, "little") + a.to_bytes(4, "little")
    result = []
    for chosen in c.to_bytes(4, "little"):
        if chosen <= 7:
            result.append(source[chosen])
        elif chosen <= 11:
            result.append(255 if source[(1, 3, 5, 7)[chosen - 8]] & 0x80 else 0)
        else:
            result.append(0 if chosen == 12 else 255)
    return int.from_bytes(bytes(result), "little")


def clz(value: int) -> int:
    return 32 - value.bit_length() if value else M


TWO: dict[str, Callable[[int, int], int]] = {
    "v_add_u32": lambda a, b: a + b,
    "v_sub_u32": lambda a, b: a - b,
    "v_subrev_u32": lambda a, b: b - a,
    "v_mul_i32_i24": lambda a, b: s(a, 24) * s(b, 24),
    "v_mul_hi_i32_i24": lambda a, b: s(a, 24) * s(b, 24) >> 32,
    "v_mul_u32_u24": lambda a, b: (a & 0xFFFFFF) * (b & 0xFFFFFF),
    "v_mul_hi_u32_u24": lambda a, b: (a & 0xFFFFFF) * (b & 0xFFFFFF) >> 32,
    "v_min_i32": lambda a, b: min(s(a), s(b)),
    "v_max_i32": lambda a, b: max(s(a), s(b)),
    "v_min_u32": min,
    "v_max_u32": max,
    "v_lshrrev_b32": lambda a, b: b >> a % 32,
    "v_ashrrev_i32": lambda a, b: s(b) >> a % 32,
    "v_lshlrev_b32": lambda a, b: b << a % 32,
    "v_and_b32": lambda a, b: a & b,
    "v_or_b32": lambda a, b: a | b,
    "v_xor_b32": lambda a, b: a ^ b,
    "v_xnor_b32": lambda a, b: ~(a ^ b),
    "v_add_u16": lambda a, b: a + b & 0xFFFF,
    "v_sub_u16": lambda a, b: a - b & 0xFFFF,
    "v_subrev_u16": lambda a, b: b - a & 0xFFFF,
    "v_mul_lo_u16": lambda a, b: a * b & 0xFFFF,
    "v_lshlrev_b16": lambda a, b: b << a % 16 & 0xFFFF,
    "v_lshrrev_b16": lambda a, b: (b & 0xFFFF) >> a % 16,
    "v_ashrrev_i16": lambda a, b: s(b, 16) >> a % 16 & 0xFFFF,
    "v_max_u16": lambda a, b: max(a & 0xFFFF, b & 0xFFFF),
    "v_min_u16": lambda a, b: min(a & 0xFFFF, b & 0xFFFF),
    "v_max_i16": lambda a, b: max(s(a, 16), s(b, 16)) & 0xFFFF,
    "v_min_i16": lambda a, b: min(s(a, 16), s(b, 16)) & 0xFFFF,
}  # fmt: skip
TWO_LONG: dict[str, Callable[[int, int], int]] = {
    "v_mul_lo_u32": lambda a, b: a * b,
    "v_mul_hi_u32": lambda a, b: a * b >> 32,
    "v_mul_hi_i32": lambda a, b: s(a) * s(b) >> 32,
    "v_bcnt_u32_b32": lambda a, b: a.bit_count() + b,
    "v_bfm_b32": lambda a, b: (1 << a % 32) - 1 << b % 32,
    "v_add_i32": lambda a, b: a + b,
    "v_sub_i32": lambda a, b: a - b,
    "v_add_i16": lambda a, b: a + b & 0xFFFF,
    "v_sub_i16": lambda a, b: a - b & 0xFFFF,
    "v_cvt_pk_u16_u32": lambda a, b: min(a, 0xFFFF) | min(b, 0xFFFF) << 16,
    "v_cvt_pk_i16_i32": lambda a,
    b: (max(min(s(a), 0x7FFF), -0x8000) & 0xFFFF) | (max(min(s(b), 0x7FFF),
        -0x8000) & 0xFFFF) << 16,
    "v_pack_b32_f16": lambda a, b: a & 0xFFFF | (b & 0xFFFF) << 16,
}  # fmt: skip
THREE: dict[str, Callable[[int, int, int], int]] = {
    "v_mad_i32_i24": lambda a, b, c: s(a, 24) * s(b, 24) + c,
    "v_mad_u32_u24": lambda a, b, c: (a & 0xFFFFFF) * (b & 0xFFFFFF) + c,
    "v_mad_u32_u16": lambda a, b, c: (a & 0xFFFF) * (b & 0xFFFF) + c,
    "v_mad_i32_i16": lambda a, b, c: s(a, 16) * s(b, 16) + c,
    "v_bfe_u32": lambda a, b, c: field(a, b % 32, c % 32),
    "v_bfe_i32": lambda a, b, c: s(s(a) >> b % 32, c % 32) if c % 32 else 0,
    "v_bfi_b32": lambda a, b, c: a & b | ~a & c,
    "v_alignbit_b32": lambda a, b, c: (a << 32 | b) >> c % 32,
    "v_alignbyte_b32": lambda a, b, c: (a << 32 | b) >> 8 * (c % 4),
    "v_min3_i32": lambda a, b, c: min(s(a), s(b), s(c)),
    "v_max3_i32": lambda a, b, c: max(s(a), s(b), s(c)),
    "v_med3_i32": lambda a, b, c: sorted([s(a), s(b), s(c)])[1],
    "v_min3_u32": min,
    "v_max3_u32": max,
    "v_med3_u32": lambda a, b, c: sorted([a, b, c])[1],
    "v_perm_b32": perm,
    "v_xad_u32": lambda a, b, c: (a ^ b) + c,
    "v_lshl_add_u32": lambda a, b, c: (a << b % 32) + c,
    "v_add_lshl_u32": lambda a, b, c: (a + b & M) << c % 32,
    "v_add3_u32": lambda a, b, c: a + b + c,
    "v_lshl_or_b32": lambda a, b, c: a << b % 32 | c,
    "v_and_or_b32": lambda a, b, c: a & b | c,
    "v_or3_b32": lambda a, b, c: a | b | c,
    "v_sad_u8": lambda a, b, c: c + sum(abs(x - y) for x,
                                        y in zip(a.to_bytes(4), b.to_bytes(4), strict=True)),
    "v_sad_hi_u8": lambda a, b,
    c: c + (sum(abs(x - y) for x, y in zip(a.to_bytes(4), b.to_bytes(4), strict=True)) << 16),
    "v_sad_u16": lambda a, b, c: c + abs((a & 0xFFFF) - (b & 0xFFFF)) + abs((a >> 16) - (b >> 16)),
    "v_sad_u32": lambda a, b, c: c + abs(a - b),
}  # fmt: skip
PACKED: dict[str, Callable[[int, int, int], int]] = {
    "v_dot2_i32_i16": dot(16, signed=True),
    "v_dot2_u32_u16": dot(16, signed=False),
    "v_dot4_i32_i8": dot(8, signed=True),
    "v_dot4_u32_u8": dot(8, signed=False),
    "v_dot8_i32_i4": dot(4, signed=True),
    "v_dot8_u32_u4": dot(4, signed=False),
}
ONE: dict[str, Callable[[int], int]] = {
    "v_mov_b32": lambda a: a,
    "v_not_b32": lambda a: ~a,
    "v_bfrev_b32": lambda a: int(f"{a:032b}"[::-1], 2),
    "v_ffbh_u32": clz,
    "v_ffbl_b32": lambda a: (a & -a).bit_length() - 1 if a else M,
    "v_ffbh_i32": lambda a: clz(a ^ (M if a >> 31 else 0)),
    "v_cvt_f32_ubyte0": lambda a: bits32(a & 255),
    "v_cvt_f32_ubyte1": lambda a: bits32(a >> 8 & 255),
    "v_cvt_f32_ubyte2": lambda a: bits32(a >> 16 & 255),
    "v_cvt_f32_ubyte3": lambda a: bits32(a >> 24),
    "v_cvt_f32_u32": lambda a: bits32(rounded32(a)),
    "v_cvt_f32_i32": lambda a: bits32(rounded32(s(a))),
}


def rounded32(value: int) -> float:
    """Return a whole number as f32, rounded to nearest, even at a tie."""
    size, sign = abs(value), -1.0 if value < 0 else 1.0
    extra = max(0, size.bit_length() - 24)
    kept, rest = size >> extra, size & (1 << extra) - 1
    half = 1 << extra >> 1
    if rest > half or (extra and rest == half and kept & 1):
        kept += 1
    return sign * float(kept << extra)


def expect(machine: Machine, wanted: list[int], active: int) -> None:
    found = machine.get(9).tolist()
    right = [value & M if active >> lane & 1 else 0xDEAD for lane, value in enumerate(wanted)]
    assert found == right


ACTIVE = [ALL, 0x00FF_A5A5_0000_FFF1]


@pytest.mark.parametrize("active", ACTIVE)
@pytest.mark.parametrize("name", TWO)
def test_two_sources(name: str, active: int) -> None:
    a, b = integers(), integers()
    machine = Machine()
    for row, values in ((4, a), (5, b), (9, np.full(64, 0xDEAD, dtype=np.uint32))):
        machine.set(row, values)
    machine.run(encode("vop2", name, src0=v(4), src1=5, vdst=9), active=active)
    expect(machine, [TWO[name](x, y) for x, y in zip(a.tolist(), b.tolist(), strict=True)], active)


@pytest.mark.parametrize("name", [*TWO, *TWO_LONG])
def test_two_sources_in_the_long_encoding(name: str) -> None:
    a, b = integers(), integers()
    machine = Machine()
    machine.set(4, a)
    machine.set(5, b)
    machine.run(encode("vop3", name, src0=v(4), src1=v(5), vdst=9))
    function = TWO.get(name) or TWO_LONG[name]
    expect(machine, [function(x, y) for x, y in zip(a.tolist(), b.tolist(), strict=True)], ALL)


@pytest.mark.parametrize("name", [*THREE, *PACKED])
def test_three_sources(name: str) -> None:
    a, b, c = integers(), integers(), integers()
    machine = Machine()
    for row, values in ((4, a), (5, b), (6, c)):
        machine.set(row, values)
    if name in PACKED:
        code = encode(
            "vop3p", name, src0=v(4), src1=v(5), src2=v(6), vdst=9, op_sel_hi=3, op_sel_hi2=1
        )
    else:
        code = encode("vop3", name, src0=v(4), src1=v(5), src2=v(6), vdst=9)
    machine.run(code)
    function = THREE.get(name) or PACKED[name]
    triples = zip(a.tolist(), b.tolist(), c.tolist(), strict=True)
    expect(machine, [function(*each) for each in triples], ALL)


@pytest.mark.parametrize("name", ONE)
def test_one_source(name: str) -> None:
    a = integers()
    machine = Machine()
    machine.set(4, a)
    machine.run(encode("vop1", name, src0=v(4), vdst=9))
    expect(machine, [ONE[name](x) for x in a.tolist()], ALL)


SHIFTS: dict[str, Callable[[int, int], int]] = {
    "v_lshlrev_b64": lambda a, b: b << a % 64,
    "v_lshrrev_b64": lambda a, b: b >> a % 64,
    "v_ashrrev_i64": lambda a, b: s(b, 64) >> a % 64,
}


@pytest.mark.parametrize("name", SHIFTS)
def test_shifts_of_64_bits(name: str) -> None:
    a, b = integers(), RANDOM.integers(0, 2**64, 64, dtype=np.uint64)
    machine = Machine()
    machine.set(4, a)
    machine.set(6, b)
    machine.run(encode("vop3", name, src0=v(4), src1=v(6), vdst=10))
    wanted = [SHIFTS[name](x, y) & 2**64 - 1 for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    assert machine.get(10, np.uint64).tolist() == wanted


def exact(value: float) -> Fraction:
    return Fraction(value)


def rounded(value: Fraction, mantissa: int, least: int) -> Fraction:
    """Return the nearest float of so many bits, even at a tie; `least` is the smallest exponent."""
    if value == 0:
        return value
    size = abs(value)
    exponent = size.numerator.bit_length() - size.denominator.bit_length()
    exponent -= Fraction(2) ** exponent > size
    unit = Fraction(2) ** (max(exponent, least) - mantissa + 1)
    steps = size / unit
    whole = steps.numerator // steps.denominator
    rest = steps - whole
    if rest > Fraction(1, 2) or (rest == Fraction(1, 2) and whole & 1):
        whole += 1
    return (-1 if value < 0 else 1) * whole * unit


def floats(dtype: Any, *, near: bool = False) -> Any:
    values = RANDOM.standard_normal(64) * 2.0 ** RANDOM.integers(-6, 7, 64)
    if near:
        # Few bits, so that sums often lie exactly between two numbers.
        most = 2 if dtype is np.float16 else 12
        values = np.round(values * 16) / 16 * 2.0 ** RANDOM.integers(-most, most + 1, 64)
        values = np.clip(values, -200.0, 200.0) if dtype is np.float16 else values
    return values.astype(dtype)


FORMS = {
    "f16": (np.float16, 11, -14),
    "f32": (np.float32, 24, -126),
    "f64": (np.float64, 53, -1022),
}


@pytest.mark.parametrize("near", [False, True])
@pytest.mark.parametrize("kind", FORMS)
def test_a_fused_multiply_add_rounds_once(kind: str, near: bool) -> None:
    dtype, mantissa, least = FORMS[kind]
    a, b, c = (floats(dtype, near=near) for _ in range(3))
    c[:16] *= dtype(2.0**-7)
    machine = Machine()
    for row, values in ((2, a), (4, b), (6, c)):
        machine.set(
            row, values.astype(dtype).view(np.uint16).astype(np.uint32) if kind == "f16" else values
        )
    machine.run(encode("vop3", f"v_fma_{kind}", src0=v(2), src1=v(4), src2=v(6), vdst=10))
    found = (
        machine.get(10, np.uint32).astype(np.uint16).view(np.float16)
        if kind == "f16"
        else machine.get(10, dtype)
    )
    for lane in range(64):
        x, y, z = (float(each[lane]) for each in (a, b, c))
        right = rounded(exact(x) * exact(y) + exact(z), mantissa, least)
        assert exact(float(found[lane])) == right, (lane, x, y, z)


SIMPLE: dict[str, Callable[[Fraction, Fraction], Fraction]] = {
    "add": lambda a, b: a + b,
    "mul": lambda a, b: a * b,
}


@pytest.mark.parametrize("name", SIMPLE)
@pytest.mark.parametrize("kind", FORMS)
def test_sums_and_products_round_once(kind: str, name: str) -> None:
    dtype, mantissa, least = FORMS[kind]
    a, b = floats(dtype), floats(dtype)
    machine = Machine()
    for row, values in ((2, a), (4, b)):
        machine.set(row, values.view(np.uint16).astype(np.uint32) if kind == "f16" else values)
    machine.run(encode("vop3", f"v_{name}_{kind}", src0=v(2), src1=v(4), vdst=10))
    found = (
        machine.get(10, np.uint32).astype(np.uint16).view(np.float16)
        if kind == "f16"
        else machine.get(10, dtype)
    )
    for x, y, z in zip(a, b, found, strict=True):
        right = rounded(SIMPLE[name](exact(float(x)), exact(float(y))), mantissa, least)
        assert exact(float(z)) == right


NAN, INF = math.nan, math.inf
PAIRS = [
    (1.0, 2.0),
    (-0.0, 0.0),
    (0.0, -0.0),
    (NAN, 3.0),
    (3.0, NAN),
    (NAN, NAN),
    (INF, -INF),
    (-5.0, -5.0),
]


def test_minimum_and_maximum_prefer_numbers_and_tell_zeros_apart() -> None:
    a = np.array([pair[0] for pair in PAIRS] * 8, dtype=np.float32)
    b = np.array([pair[1] for pair in PAIRS] * 8, dtype=np.float32)
    machine = Machine()
    machine.set(4, a)
    machine.set(5, b)
    machine.run(
        encode("vop2", "v_min_f32", src0=v(4), src1=5, vdst=8),
        encode("vop2", "v_max_f32", src0=v(4), src1=5, vdst=9),
    )
    low, high = machine.get(8, np.float32)[:8].tolist(), machine.get(9, np.float32)[:8].tolist()
    assert [repr(each) for each in low] == [
        "1.0",
        "-0.0",
        "-0.0",
        "3.0",
        "3.0",
        "nan",
        "-inf",
        "-5.0",
    ]
    assert [repr(each) for each in high] == [
        "2.0",
        "0.0",
        "0.0",
        "3.0",
        "3.0",
        "nan",
        "inf",
        "-5.0",
    ]


RELATIONS: dict[str, Callable[[float, float], bool]] = {
    "lt": lambda a, b: a < b, "eq": lambda a, b: a == b, "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b, "lg": lambda a, b: a < b or a > b, "ge": lambda a, b: a >= b,
    "o": lambda a, b: not (math.isnan(a) or math.isnan(b)),
    "u": lambda a, b: math.isnan(a) or math.isnan(b),
    "nge": lambda a, b: not a >= b, "nlg": lambda a, b: not (a < b or a > b),
    "ngt": lambda a, b: not a > b, "nle": lambda a, b: not a <= b,
    "neq": lambda a, b: a != b, "nlt": lambda a, b: not a < b,
}  # fmt: skip


@pytest.mark.parametrize("relation", RELATIONS)
def test_comparisons_write_a_bit_for_each_active_lane(relation: str) -> None:
    a = np.array([pair[0] for pair in PAIRS] * 8, dtype=np.float32)
    b = np.array([pair[1] for pair in PAIRS] * 8, dtype=np.float32)
    machine = Machine()
    machine.set(4, a)
    machine.set(5, b)
    active = 0xF0F0_FFFF_0000_FFFF
    machine.run(encode("vopc", f"v_cmp_{relation}_f32", src0=v(4), src1=5), active=active)
    wanted = sum(
        1 << lane
        for lane, (x, y) in enumerate(zip(a.tolist(), b.tolist(), strict=True))
        if RELATIONS[relation](x, y) and active >> lane & 1
    )
    assert machine.wave.s64[53] == wanted


def test_a_sum_with_carry_makes_64_bits() -> None:
    a, b = (RANDOM.integers(0, 2**64, 64, dtype=np.uint64) for _ in range(2))
    machine = Machine()
    machine.set(2, a)
    machine.set(4, b)
    machine.run(
        encode("vop2", "v_add_co_u32", src0=v(2), src1=4, vdst=8),
        encode("vop2", "v_addc_co_u32", src0=v(3), src1=5, vdst=9),
        encode("vop3sd", "v_sub_co_u32", src0=v(2), src1=v(4), vdst=10, sdst=20),
        encode("vop3sd", "v_subb_co_u32", src0=v(3), src1=v(5), src2=20, vdst=11, sdst=22),
        encode("vop3sd", "v_mad_u64_u32", src0=v(2), src1=v(4), src2=v(2), vdst=12, sdst=24),
    )
    pairs = list(zip(a.tolist(), b.tolist(), strict=True))
    assert machine.get(8, np.uint64).tolist() == [(x + y) % 2**64 for x, y in pairs]
    assert machine.get(10, np.uint64).tolist() == [(x - y) % 2**64 for x, y in pairs]
    wanted = [(x & M) * (y & M) + x for x, y in pairs]
    assert machine.get(12, np.uint64).tolist() == [each % 2**64 for each in wanted]
    assert machine.wave.s64[12] == sum(1 << lane for lane, each in enumerate(wanted) if each >> 64)


def test_modifiers_of_a_source_and_a_result() -> None:
    a = floats(np.float32)
    machine = Machine()
    machine.set(4, a)
    # -|a| times 1.0, doubled, kept from 0 to 1
    machine.run(
        encode("vop3", "v_mul_f32", src0=v(4), src1=242, vdst=8, abs=1, neg=1),
        encode("vop3", "v_mul_f32", src0=v(4), src1=242, vdst=9, omod=1),
        encode("vop3", "v_mul_f32", src0=v(4), src1=242, vdst=10, clamp=1),
    )
    assert machine.get(8, np.float32).tolist() == [-abs(x) for x in a.tolist()]
    assert machine.get(9, np.float32).tolist() == [2 * x for x in a.tolist()]
    assert machine.get(10, np.float32).tolist() == [min(max(x, 0.0), 1.0) for x in a.tolist()]


def test_denormal_numbers_are_kept_or_zero_as_the_mode_says() -> None:
    tiny = np.float32(1e-40)
    for flush, wanted in ((False, 2e-40), (True, 0.0)):
        machine = Machine(flush=flush)
        machine.set(4, np.full(64, tiny))
        machine.run(encode("vop2", "v_add_f32", src0=v(4), src1=4, vdst=8))
        assert float(machine.get(8, np.float32)[0]) == pytest.approx(wanted, rel=1e-4)


def test_conversions_keep_to_the_limits_of_their_type() -> None:
    values = np.array([0.0, -1.5, 2.5, 3e9, -3e9, 5e9, NAN, INF] * 8, dtype=np.float32)
    machine = Machine()
    machine.set(4, values)
    machine.run(
        encode("vop1", "v_cvt_i32_f32", src0=v(4), vdst=8),
        encode("vop1", "v_cvt_u32_f32", src0=v(4), vdst=9),
        encode("vop1", "v_rndne_f32", src0=v(4), vdst=10),
        encode("vop3", "v_cvt_pkrtz_f16_f32", src0=v(4), src1=v(4), vdst=11),
    )
    assert machine.get(8, np.int32)[:8].tolist() == [
        0,
        -1,
        2,
        2**31 - 1,
        -(2**31),
        2**31 - 1,
        0,
        2**31 - 1,
    ]
    assert machine.get(9)[:8].tolist() == [0, 0, 2, 3_000_000_000, 0, 2**32 - 1, 0, 2**32 - 1]
    assert machine.get(10, np.float32)[:3].tolist() == [0.0, -2.0, 2.0]
    halves = (machine.get(11) & 0xFFFF).astype(np.uint16).view(np.float16)
    assert halves[3] == np.float16(65504)
    assert np.isinf(halves[7])


TRANSCENDENTAL: dict[str, Callable[[float], float]] = {
    "v_exp_f32": lambda x: 2.0**x,
    "v_log_f32": lambda x: math.log2(x) if x > 0 else NAN,
    "v_rcp_f32": lambda x: 1 / x,
    "v_rsq_f32": lambda x: x**-0.5 if x > 0 else NAN,
    "v_sqrt_f32": lambda x: math.sqrt(x) if x >= 0 else NAN,
    "v_sin_f32": lambda x: math.sin(2 * math.pi * x),
    "v_cos_f32": lambda x: math.cos(2 * math.pi * x),
    "v_floor_f32": math.floor,
    "v_ceil_f32": math.ceil,
    "v_trunc_f32": math.trunc,
    "v_fract_f32": lambda x: x - math.floor(x),
}


@pytest.mark.parametrize("name", TRANSCENDENTAL)
def test_functions_of_one_float(name: str) -> None:
    values = floats(np.float32)
    machine = Machine()
    machine.set(4, values)
    machine.run(encode("vop1", name, src0=v(4), vdst=8))
    found = machine.get(8, np.float32).tolist()
    for x, y in zip(values.tolist(), found, strict=True):
        right = TRANSCENDENTAL[name](x)
        assert (math.isnan(right) and math.isnan(y)) or y == pytest.approx(
            right, rel=2e-7, abs=2e-7
        )


def test_the_parts_of_a_float() -> None:
    values = np.array([0.0, 1.0, -3.0, 1e-41, 1e30, INF, NAN, 0.5] * 8, dtype=np.float32)
    machine = Machine()
    machine.set(4, values)
    machine.run(
        encode("vop1", "v_frexp_exp_i32_f32", src0=v(4), vdst=8),
        encode("vop1", "v_frexp_mant_f32", src0=v(4), vdst=9),
        encode("vop3", "v_ldexp_f32", src0=v(9), src1=v(8), vdst=10),
        encode("vop3", "v_cmp_class_f32", src0=v(4), src1=255 - 127 + 64, vdst=20),
    )
    assert machine.get(8, np.int32)[:8].tolist() == [0, 1, 2, -136, 100, 0, 0, 0]
    same = machine.get(10, np.float32)
    assert np.array_equal(same, values, equal_nan=True)
    # Bit 6 is the class of 0 with a plus.
    assert machine.wave.s64[10] & 0xFF == 1


def test_a_mask_of_lanes_counts_those_before() -> None:
    machine = Machine()
    machine.wave.s[4] = M
    machine.run(
        encode("vop3", "v_mbcnt_lo_u32_b32", src0=193, src1=128, vdst=8),
        encode("vop3", "v_mbcnt_hi_u32_b32", src0=193, src1=v(8), vdst=9),
    )
    assert machine.get(9).tolist() == LANE.tolist()
