"""Scalar operations against Python's integers: results, and what they leave in SCC."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from tests.emulation.machine import Machine, encode

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.emulation

M32, M64 = 2**32 - 1, 2**64 - 1
EDGES = [
    0,
    1,
    2,
    31,
    32,
    63,
    0x7FFFFFFF,
    0x80000000,
    M32,
    0x7FFFFFFF_FFFFFFFF,
    1 << 63,
    M64,
    0x00100008,
]


def s(value: int, bits: int = 32) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> bits - 1 else value


def fits(value: int) -> bool:
    return -(2**31) <= value < 2**31


# By name: bits of the result and of the sources, the result, and SCC (None: it stays).
TWO: dict[str, tuple[int, int, int, Callable[[int, int], int],
                     Callable[[int, int], bool] | None]] = {
    "s_add_u32": (32, 32, 32, lambda a, b: a + b, lambda a, b: a + b > M32),
    "s_sub_u32": (32, 32, 32, lambda a, b: a - b, lambda a, b: a < b),
    "s_add_i32": (32, 32, 32, lambda a, b: a + b, lambda a, b: not fits(s(a) + s(b))),
    "s_sub_i32": (32, 32, 32, lambda a, b: a - b, lambda a, b: not fits(s(a) - s(b))),
    "s_min_i32": (32, 32, 32, lambda a, b: min(s(a), s(b)), lambda a, b: s(a) < s(b)),
    "s_max_u32": (32, 32, 32, max, lambda a, b: a >= b),
    "s_and_b64": (64, 64, 64, lambda a, b: a & b, lambda a, b: a & b != 0),
    "s_andn2_b64": (64, 64, 64, lambda a, b: a & ~b, lambda a, b: a & ~b != 0),
    "s_xnor_b32": (32, 32, 32, lambda a, b: ~(a ^ b), lambda a, b: a ^ b != M32),
    "s_lshl_b32": (32, 32, 32, lambda a, b: a << b % 32, lambda a, b: (a << b % 32) & M32 != 0),
    "s_lshl_b64": (64, 64, 32, lambda a, b: a << b % 64, lambda a, b: (a << b % 64) & M64 != 0),
    "s_lshr_b64": (64, 64, 32, lambda a, b: a >> b % 64, lambda a, b: a >> b % 64 != 0),
    "s_ashr_i32": (32, 32, 32, lambda a, b: s(a) >> b % 32, lambda a, b: s(a) >> b % 32 != 0),
    "s_ashr_i64": (64, 64, 32, lambda a, b: s(a, 64) >> b % 64, lambda a,
                   b: s(a, 64) >> b % 64 != 0),
    "s_mul_i32": (32, 32, 32, lambda a, b: a * b, None),
    "s_mul_hi_u32": (32, 32, 32, lambda a, b: a * b >> 32, None),
    "s_mul_hi_i32": (32, 32, 32, lambda a, b: s(a) * s(b) >> 32, None),
    "s_bfm_b32": (32, 32, 32, lambda a, b: (1 << a % 32) - 1 << b % 32, None),
    "s_lshl3_add_u32": (32, 32, 32, lambda a, b: (a << 3) + b, lambda a, b: (a << 3) + b > M32),
    "s_pack_lh_b32_b16": (32, 32, 32, lambda a, b: a & 0xFFFF | b & 0xFFFF0000, None),
    "s_absdiff_i32": (32, 32, 32, lambda a, b: abs(s(s(a) - s(b))), lambda a, b: a != b),
}  # fmt: skip
ONE: dict[str, tuple[int, int, Callable[[int], int], bool]] = {
    "s_not_b64": (64, 64, lambda a: ~a, True),
    "s_brev_b32": (32, 32, lambda a: int(f"{a:032b}"[::-1], 2), False),
    "s_bcnt1_i32_b64": (32, 64, lambda a: f"{a:b}".count("1"), True),
    "s_ff1_i32_b64": (32, 64, lambda a: f"{a:064b}"[::-1].find("1"), False),
    "s_ff0_i32_b32": (32, 32, lambda a: f"{a:032b}"[::-1].find("0"), False),
    "s_flbit_i32_b32": (32, 32, lambda a: f"{a:032b}".find("1"), False),
    "s_flbit_i32_i64": (32, 64, lambda a: f"{a:064b}".find("0" if a >> 63 else "1"), False),
    "s_sext_i32_i8": (32, 32, lambda a: s(a, 8), False),
    "s_abs_i32": (32, 32, lambda a: abs(s(a)), True),
    "s_wqm_b32": (32, 32, lambda a: sum(15 << 4 * quad for quad in range(8) if a >> 4 * quad & 15),
                  True),
}  # fmt: skip


def pairs() -> list[tuple[int, int]]:
    chance = random.Random(7)
    some = [(chance.choice(EDGES), chance.choice(EDGES)) for _ in range(60)]
    return some + [(chance.getrandbits(64), chance.getrandbits(64)) for _ in range(60)]


def put(machine: Machine, register: int, value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    if bits == 64:
        machine.wave.s64[register // 2] = value
    else:
        machine.wave.s[register] = value
    return value


def taken(machine: Machine, register: int, bits: int) -> int:
    return machine.wave.s64[register // 2] if bits == 64 else machine.wave.s[register]


@pytest.mark.parametrize("name", TWO)
def test_two_sources(name: str) -> None:
    bits, first, second, function, carry = TWO[name]
    machine = Machine()
    code = encode("sop2", name, src0=4, src1=6, sdst=8)
    for left, right in pairs():
        a, b = put(machine, 4, left, first), put(machine, 6, right, second)
        machine.wave.scc = 1
        machine.run(code)
        assert taken(machine, 8, bits) == function(a, b) & (1 << bits) - 1, (a, b)
        assert machine.wave.scc == (1 if carry is None else int(carry(a, b))), (a, b)


@pytest.mark.parametrize("name", ONE)
def test_one_source(name: str) -> None:
    bits, width, function, tells = ONE[name]
    machine = Machine()
    code = encode("sop1", name, src0=4, sdst=8)
    for value, _ in pairs():
        a = put(machine, 4, value, width)
        machine.wave.scc = 1
        machine.run(code)
        wanted = function(a) & (1 << bits) - 1
        assert taken(machine, 8, bits) == wanted, a
        assert machine.wave.scc == (int(wanted != 0) if tells else 1), a


def field(value: int, first: int, count: int, bits: int, *, sign: bool) -> int:
    """Return a field as its bits are written out from the highest, with the sign above the
    number.
    """
    above = "1" if sign and value >> bits - 1 else "0"
    text = (above * bits + f"{value:0{bits}b}")[::-1][first : first + count][::-1]
    if not text:
        return 0
    return s(int(text, 2), len(text)) if sign else int(text, 2)


@pytest.mark.parametrize(
    ("name", "bits", "sign"),
    [("s_bfe_u32", 32, False), ("s_bfe_i32", 32, True), ("s_bfe_u64", 64, False)],
)
def test_fields(name: str, bits: int, sign: bool) -> None:
    machine, chance = Machine(), random.Random(3)
    code = encode("sop2", name, src0=4, src1=6, sdst=8)
    for value, _ in pairs():
        a = put(machine, 4, value, bits)
        first = chance.randrange(bits)
        count = chance.randrange(bits - first + 1)
        put(machine, 6, first | count << 16, 32)
        machine.run(code)
        wanted = field(a, first, count, bits, sign=sign) & (1 << bits) - 1
        assert taken(machine, 8, bits) == wanted, (a, first, count)


def test_a_sum_of_64_bits_and_a_choice() -> None:
    machine = Machine()
    for a, b in pairs():
        put(machine, 4, a, 64)
        put(machine, 6, b, 64)
        machine.run(
            encode("sop2", "s_add_u32", src0=4, src1=6, sdst=8),
            encode("sop2", "s_addc_u32", src0=5, src1=7, sdst=9),
            encode("sop2", "s_cselect_b32", src0=129, src1=128, sdst=10),
        )
        assert taken(machine, 8, 64) == (a + b) & M64
        assert machine.wave.s[10] == (a + b) >> 64


def test_the_active_lanes_are_kept_and_narrowed() -> None:
    machine = Machine()
    put(machine, 4, 0xF0F0, 64)
    machine.run(encode("sop1", "s_and_saveexec_b64", src0=4, sdst=8), active=0xFF00)
    assert (taken(machine, 8, 64), machine.wave.exec, machine.wave.scc) == (0xFF00, 0xF000, 1)


def test_constants_of_16_bits() -> None:
    machine = Machine()
    put(machine, 5, 10, 32)
    machine.run(
        encode("sopk", "s_movk_i32", simm=0xFFFE, sdst=4),
        encode("sopk", "s_addk_i32", simm=0xFFF0, sdst=5),
        encode("sopk", "s_cmpk_lt_i32", simm=0, sdst=5),
    )
    assert (s(machine.wave.s[4]), s(machine.wave.s[5]), machine.wave.scc) == (-2, -6, 1)
