"""How values move between lanes, against a description of each way in plain Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.emulation.machine import ALL, LANE, Machine, dpp, encode, sdwa, v

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.emulation


def row(move: Callable[[int], int | None]) -> Callable[[int], int | None]:
    """Return a way that stays within each row of 16 lanes."""

    def source(lane: int) -> int | None:
        place = move(lane % 16)
        return None if place is None or not 0 <= place < 16 else lane // 16 * 16 + place

    return source


WAYS: dict[str, tuple[int, Callable[[int], int | None]]] = {
    "quad_perm:[3,0,0,1]": (3 | 1 << 6, lambda lane: lane // 4 * 4 + (3, 0, 0, 1)[lane % 4]),
    "row_shl:1": (0x101, row(lambda place: place + 1)),
    "row_shl:5": (0x105, row(lambda place: place + 5)),
    "row_shr:1": (0x111, row(lambda place: place - 1)),
    "row_shr:8": (0x118, row(lambda place: place - 8)),
    "row_ror:1": (0x121, row(lambda place: (place - 1) % 16)),
    "row_ror:8": (0x128, row(lambda place: (place - 8) % 16)),
    "wave_shl:1": (0x130, lambda lane: lane + 1 if lane < 63 else None),
    "wave_rol:1": (0x134, lambda lane: (lane + 1) % 64),
    "wave_shr:1": (0x138, lambda lane: lane - 1 if lane else None),
    "wave_ror:1": (0x13C, lambda lane: (lane - 1) % 64),
    "row_mirror": (0x140, row(lambda place: 15 - place)),
    "row_half_mirror": (0x141, row(lambda place: place // 8 * 8 + 7 - place % 8)),
    "row_bcast:15": (0x142, lambda lane: lane // 16 * 16 - 1 if lane >= 16 else None),
    "row_bcast:31": (0x143, lambda lane: 31 if lane >= 32 else None),
    "row_newbcast:3": (0x153, row(lambda _: 3)),
}


@pytest.mark.parametrize("bound", [0, 1])
@pytest.mark.parametrize("way", WAYS)
def test_a_source_is_read_from_another_lane(way: str, bound: int) -> None:
    control, source = WAYS[way]
    active = 0xFFFF_FFF0_FFFF_7FFF
    bank, rows = 0b1011, 0b1101
    machine = Machine()
    machine.set(4, LANE.astype(np.uint32) + 100)
    machine.set(9, np.full(64, 7, dtype=np.uint32))
    machine.run(
        dpp(
            "vop1", "v_mov_b32", control=control, source=4, vdst=9, bound=bound, bank=bank, row=rows
        ),
        active=active,
    )
    wanted = []
    for lane in range(64):
        taken = source(lane)
        good = taken is not None and bool(active >> taken & 1)
        written = active >> lane & 1 and rows >> lane // 16 & 1 and bank >> lane % 16 // 4 & 1
        if not written or not (good or bound):
            wanted.append(7)
        else:
            wanted.append(100 + (taken or 0) if good else 0)
    assert machine.get(9).tolist() == wanted


def test_a_sum_over_a_row_by_rotations() -> None:
    values = np.random.default_rng(3).standard_normal(64).astype(np.float32)
    machine = Machine()
    machine.set(4, values)
    machine.run(
        *(
            dpp("vop2", "v_add_f32", control=0x120 + step, source=4, src1=4, vdst=4)
            for step in (8, 4, 2, 1)
        )
    )
    sums = values.reshape(4, 16).astype(np.float64).sum(1).repeat(16)
    assert np.abs(machine.get(4, np.float32) - sums).max() < 2e-6


def test_parts_of_a_register_are_read_and_written() -> None:
    machine = Machine()
    machine.set(4, np.full(64, 0x8899AABB, dtype=np.uint32))
    machine.set(5, np.full(64, 0x01020304, dtype=np.uint32))
    for register in (8, 9, 10, 11):
        machine.set(register, np.full(64, 0x11111111, dtype=np.uint32))
    add = {"source": 4, "src1": 5}
    machine.run(
        # byte 2 with its sign, and word 1, as a whole
        sdwa("vop2", "v_add_u32", vdst=8, sel0=2, sext0=1, sel1=5, **add),
        # to byte 1: the rest is zero, repeats the sign, is kept
        sdwa("vop2", "v_add_u32", vdst=9, sel0=3, sel1=0, dst_sel=1, unused=0, **add),
        sdwa("vop2", "v_add_u32", vdst=10, sel0=3, sel1=0, dst_sel=1, unused=1, **add),
        sdwa("vop2", "v_add_u32", vdst=11, sel0=3, sel1=0, dst_sel=1, unused=2, **add),
    )
    assert machine.get(8)[0] == (-0x67 + 0x102) & 0xFFFFFFFF
    assert machine.get(9)[0] == 0x8C00
    assert machine.get(10)[0] == 0xFFFF8C00
    assert machine.get(11)[0] == 0x11118C11


def test_lanes_are_read_and_written_one_by_one() -> None:
    machine = Machine()
    machine.set(4, LANE.astype(np.uint32) * 3)
    machine.wave.s[6] = 77
    machine.run(
        encode("vop1", "v_readfirstlane_b32", src0=v(4), vdst=10),
        encode("vop3", "v_readlane_b32", src0=v(4), src1=128 + 41, vdst=11),
        encode("vop3", "v_writelane_b32", src0=6, src1=128 + 2, vdst=4),
        active=0xFF00,
    )
    assert machine.wave.s[10] == 8 * 3
    assert machine.wave.s[11] == 41 * 3
    assert machine.get(4)[2] == 77
    empty = Machine()
    empty.set(4, LANE.astype(np.uint32) + 5)
    empty.run(encode("vop1", "v_readfirstlane_b32", src0=v(4), vdst=10), active=0)
    assert empty.wave.s[10] == 5


def test_values_are_taken_from_and_given_to_lanes() -> None:
    rng = np.random.default_rng(9)
    address = rng.integers(0, 2**32, 64, dtype=np.uint32)
    data = rng.integers(0, 2**32, 64, dtype=np.uint32)
    active = 0xFFFF_0FFF_F0FF_FFFF
    machine = Machine()
    machine.set(4, address)
    machine.set(5, data)
    machine.run(
        encode("ds", "ds_bpermute_b32", addr=4, data0=5, vdst=8, offset0=12),
        encode("ds", "ds_permute_b32", addr=4, data0=5, vdst=9),
        active=active,
    )
    taken, given = [], [0] * 64
    for lane in range(64):
        place = (int(address[lane]) + 12) % 2**32 // 4 % 64
        taken.append(int(data[place]) if active >> place & 1 else 0)
        if active >> lane & 1:
            given[int(address[lane]) // 4 % 64] = int(data[lane])
    for register, wanted in ((8, taken), (9, given)):
        right = [value if active >> lane & 1 else 0 for lane, value in enumerate(wanted)]
        assert machine.get(register).tolist() == right


def test_a_pattern_swaps_lanes_within_32() -> None:
    machine = Machine()
    machine.set(5, LANE.astype(np.uint32))
    swap = 31 | 5 << 10  # all bits kept, and changed by 5
    machine.run(
        encode("ds", "ds_swizzle_b32", data0=5, vdst=8, offset0=swap & 255, offset1=swap >> 8)
    )
    assert machine.get(8).tolist() == [lane ^ 5 for lane in range(64)]


def test_an_indexed_register_is_one_further_for_each_step_of_the_index() -> None:
    machine = Machine()
    for register in range(10, 14):
        machine.set(register, np.full(64, register, dtype=np.uint32))
    machine.wave.s[4] = 2
    machine.run(
        encode("sopc", "s_set_gpr_idx_on", src0=4, src1=1),
        encode("vop1", "v_mov_b32", src0=v(10), vdst=20),
        encode("sopp", "s_set_gpr_idx_off"),
        encode("sopc", "s_set_gpr_idx_on", src0=4, src1=8),
        encode("vop1", "v_mov_b32", src0=v(10), vdst=20),
        encode("sopp", "s_set_gpr_idx_off"),
        encode("vop1", "v_mov_b32", src0=v(11), vdst=24),
    )
    assert [machine.get(row)[0] for row in (20, 22, 24)] == [12, 10, 11]


def test_a_choice_takes_the_second_source_where_the_bit_is_set() -> None:
    machine = Machine()
    machine.set(4, np.full(64, 1, dtype=np.uint32))
    machine.set(5, np.full(64, 2, dtype=np.uint32))
    machine.wave.s64[53] = 0x0F0F_0F0F_0F0F_0F0F
    machine.run(encode("vop2", "v_cndmask_b32", src0=v(4), src1=5, vdst=8), active=ALL)
    assert machine.get(8).tolist() == [2 if lane % 8 < 4 else 1 for lane in range(64)]
