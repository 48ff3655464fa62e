"""Reading and writing memory: bounds, LDS, buffers, scratch, atomic operations."""

from __future__ import annotations

import numpy as np
import pytest

from forkhouse.emulation.program import InstructionFaultError
from tests.emulation.machine import ALL, LANE, Machine, encode, v

pytestmark = pytest.mark.emulation

OFF = 0x7F


def addresses(machine: Machine, offsets: object) -> None:
    assert machine.buffer is not None
    machine.set(2, np.uint64(machine.buffer.start) + np.asarray(offsets, dtype=np.uint64))


def waits(*, vectors: int = 63, local: int = 15) -> bytes:
    simm = vectors & 15 | vectors >> 4 << 14 | 7 << 4 | local << 8
    return encode("sopp", "s_waitcnt", simm=simm)


def words(count: int) -> object:
    return np.arange(count, dtype=np.uint32).view(np.uint8)


def test_words_are_read_at_any_address() -> None:
    content = np.random.default_rng(1).integers(0, 256, 64 * 16 + 3, dtype=np.uint8)
    for shift in (0, 1, 2, 3):
        machine = Machine(buffer=content)
        addresses(machine, LANE * 16 + shift)
        machine.run(
            encode("global", "global_load_dwordx3", addr=2, vdst=8, saddr=OFF),
            encode("global", "global_load_sbyte", addr=2, vdst=12, saddr=OFF, offset=1),
            encode(
                "global", "global_load_short_d16_hi", addr=2, vdst=13, saddr=OFF, offset=0x1FFE + 2
            ),
        )
        for lane in range(64):
            start = lane * 16 + shift
            for number in range(3):
                part = content[start + 4 * number : start + 4 * number + 4].tobytes()
                assert machine.get(8 + number)[lane] == int.from_bytes(part, "little")
            assert (
                machine.get(12, np.int32)[lane] == content[start + 1 : start + 2].view(np.int8)[0]
            )
            assert (
                machine.get(13)[lane]
                == int.from_bytes(content[start : start + 2].tobytes(), "little") << 16
            )


def test_an_access_outside_names_lane_address_and_buffer() -> None:
    machine = Machine(buffer=np.zeros(64 * 4, dtype=np.uint8))
    addresses(machine, np.where(LANE == 37, 253, LANE * 4))
    with pytest.raises(
        Exception,
        match=r"lane 37 reads 4 bytes .* 253 bytes behind the start of the buffer, which has 256",
    ):
        machine.run(encode("global", "global_load_dword", addr=2, vdst=8, saddr=OFF))
    machine = Machine(buffer=np.zeros(64 * 4, dtype=np.uint8))
    addresses(machine, np.where(LANE == 37, 253, LANE * 4))
    machine.run(
        encode("global", "global_load_dword", addr=2, vdst=8, saddr=OFF), active=ALL & ~(1 << 37)
    )


def test_the_last_lane_wins_where_several_write() -> None:
    machine = Machine(buffer=np.zeros(64, dtype=np.uint8))
    addresses(machine, np.zeros(64))
    machine.set(5, LANE.astype(np.uint32) + 1)
    machine.run(encode("global", "global_store_dword", addr=2, data0=5, saddr=OFF), active=0x7FFF)
    assert machine.buffer is not None
    assert machine.memory.part(machine.buffer)[:4].view(np.uint32)[0] == 15


def test_a_scalar_base_and_a_negative_offset() -> None:
    machine = Machine(buffer=words(128))
    assert machine.buffer is not None
    machine.wave.s64[2] = machine.buffer.start + 64
    machine.set(3, LANE.astype(np.uint32) * 4)
    machine.run(encode("global", "global_load_dword", addr=3, vdst=8, saddr=4, offset=-64 & 0x1FFF))
    assert machine.get(8).tolist() == LANE.tolist()


def test_inactive_lanes_do_not_touch_lds() -> None:
    machine = Machine(lds=256)
    machine.set(2, np.where(LANE < 32, LANE * 4, 0xFFFFFF00).astype(np.uint32))
    machine.set(5, LANE.astype(np.uint32) + 1)
    machine.run(
        encode("ds", "ds_write_b32", addr=2, data0=5),
        encode("ds", "ds_add_rtn_u32", addr=2, data0=5, vdst=9),
        encode("ds", "ds_read2_b32", addr=2, vdst=10, offset0=0, offset1=1),
        active=0x7FFFFFFF,
    )
    assert machine.get(9)[:31].tolist() == list(range(1, 32))
    assert machine.get(10)[:31].tolist() == [2 * (lane + 1) for lane in range(31)]
    assert machine.get(11)[:31].tolist() == [2 * (lane + 2) for lane in range(30)] + [0]
    with pytest.raises(
        Exception, match="lane 32 touches 4 bytes at 0xffffff00 of LDS, which has 256 bytes"
    ):
        machine.run(encode("ds", "ds_write_b32", addr=2, data0=5))


def test_atomic_operations_are_done_lane_after_lane() -> None:
    machine = Machine(buffer=np.array([10, 0], dtype=np.uint32).view(np.uint8))
    addresses(machine, np.zeros(64))
    machine.set(5, np.full(64, 3, dtype=np.uint32))
    machine.run(
        encode("global", "global_atomic_add", addr=2, data0=5, vdst=8, saddr=OFF, glc=1),
        waits(vectors=0),
        encode("global", "global_atomic_umax", addr=2, data0=8, saddr=OFF, offset=4),
        active=0xFF,
    )
    assert machine.get(8)[:8].tolist() == [10 + 3 * lane for lane in range(8)]
    assert machine.buffer is not None
    assert machine.memory.part(machine.buffer).view(np.uint32).tolist() == [34, 31]


def test_a_compare_and_swap_writes_where_it_found_what_it_wanted() -> None:
    machine = Machine(buffer=words(64))
    addresses(machine, LANE * 4)
    machine.set(4, np.full(64, 99, dtype=np.uint32))
    machine.set(5, np.where(LANE % 2, LANE, 1000).astype(np.uint32))
    machine.run(
        encode("global", "global_atomic_cmpswap", addr=2, data0=4, vdst=8, saddr=OFF, glc=1)
    )
    assert machine.buffer is not None
    found = machine.memory.part(machine.buffer).view(np.uint32).tolist()
    assert found == [99 if lane % 2 else lane for lane in range(64)]
    assert machine.get(8).tolist() == LANE.tolist()


def test_a_buffer_reads_zero_behind_its_end() -> None:
    machine = Machine(buffer=words(64))
    assert machine.buffer is not None
    start = machine.buffer.start
    for number, word in enumerate((start & 0xFFFFFFFF, start >> 32, 40, 0x27000)):
        machine.wave.s[8 + number] = word
    machine.set(3, (LANE * 4).astype(np.uint32))
    machine.set(5, np.full(64, 7, dtype=np.uint32))
    machine.run(
        encode("mubuf", "buffer_load_dword", addr=3, vdst=9, srsrc=2, offen=1, soffset=128),
        encode(
            "mubuf", "buffer_store_dword", addr=3, vdst=5, srsrc=2, offen=1, soffset=128, offset=20
        ),
    )
    assert machine.get(9).tolist() == [lane if lane < 10 else 0 for lane in range(64)]
    kept = machine.memory.part(machine.buffer).view(np.uint32)
    assert kept[:12].tolist() == [0, 1, 2, 3, 4, 7, 7, 7, 7, 7, 10, 11]


def test_an_unknown_instruction_is_named_and_not_guessed() -> None:
    with pytest.raises(InstructionFaultError, match="not known to the emulator") as raised:
        Machine().run(encode("vop3", "v_cubeid_f32", src0=256, src1=256, src2=256, vdst=1))
    assert raised.value.name == "v_cubeid_f32"


def use(register: int) -> bytes:
    return encode("vop1", "v_mov_b32", src0=v(register), vdst=20)


LOAD = encode("global", "global_load_dwordx2", addr=2, vdst=8, saddr=OFF)
LATER = encode("global", "global_load_dword", addr=2, vdst=12, saddr=OFF)
READ = encode("ds", "ds_read2_b32", addr=4, vdst=10, offset1=1)


@pytest.mark.parametrize(
    ("code", "register"),
    [
        ([LOAD, use(9)], "v9"),
        ([LOAD, LATER, waits(vectors=1), use(9)], None),
        ([LOAD, LATER, waits(vectors=1), use(12)], "v12"),
        ([LOAD, LATER, waits(vectors=0), use(12)], None),
        ([READ, waits(vectors=0), use(11)], "v11"),
        ([READ, waits(local=0), use(11)], None),
        ([LOAD, use(7)], None),
        ([LOAD, LOAD, waits(vectors=0), use(8)], None),
        ([LOAD, encode("vop1", "v_mov_b32", src0=128, vdst=8)], "v8"),
    ],
)
def test_what_has_not_arrived_must_not_be_touched(code: list[bytes], register: str | None) -> None:
    machine = Machine(buffer=words(256))
    addresses(machine, LANE * 8)
    if register is None:
        machine.run(*code)
        return
    with pytest.raises(InstructionFaultError, match=f"touches {register} before s_waitcnt"):
        machine.run(*code)


def fetch(first: int, kind: str = "dword", *, base: int = 8) -> bytes:
    return encode("smem", f"s_load_{kind}", sdata=first, sbase=base // 2, imm=1)


def move(register: int, *, to: int = 40) -> bytes:
    return encode("sop1", "s_mov_b32", src0=register, sdst=to)


CHOICE = encode("vop2", "v_cndmask_b32", src0=v(4), src1=5, vdst=21)
SUM = encode("vop2", "v_add_co_u32", src0=v(4), src1=5, vdst=21)
BRANCH = encode("sopp", "s_cbranch_vccnz", simm=0)
BUFFER = encode("mubuf", "buffer_load_dword", addr=2, vdst=9, srsrc=4, soffset=128)
SPILLED = encode("smem", "s_load_dword", sdata=24, sbase=8, imm=1)


@pytest.mark.parametrize(
    ("code", "register"),
    [
        ([fetch(16), move(16)], "s16"),
        ([fetch(16), move(17)], None),
        ([fetch(16, "dwordx4"), move(19)], "s19"),
        ([fetch(16, "dwordx4"), move(20)], None),
        ([fetch(16), waits(vectors=0), move(16)], "s16"),
        ([fetch(16), waits(local=0), move(16)], None),
        # What is read into scalar registers comes in any order.
        ([fetch(16), fetch(20), waits(local=1), move(16)], "s16"),
        ([fetch(16), fetch(16)], "s16"),
        ([fetch(16), move(128, to=16)], "s16"),
        ([fetch(16, "dwordx2"), SPILLED], "s16"),
        ([fetch(16), encode("vop1", "v_mov_b32", src0=16, vdst=20)], "s16"),
        ([fetch(17), encode("sop1", "s_mov_b64", src0=16, sdst=40)], "s17"),
        ([fetch(17), encode("vop2", "v_add_f16", src0=17, src1=4, vdst=20)], "s17"),
        ([fetch(19), BUFFER], "s19"),
        ([fetch(106), CHOICE], "s106"),
        ([fetch(107), SUM], "s107"),
        ([fetch(106, "dwordx2"), BRANCH], "s106"),
        ([fetch(106, "dwordx2"), waits(local=0), BRANCH], None),
        ([encode("smem", "s_memtime", sdata=16), move(17)], "s17"),
    ],
)
def test_nor_must_what_was_fetched(code: list[bytes], register: str | None) -> None:
    machine = Machine(buffer=words(256))
    assert machine.buffer is not None
    machine.wave.s64[4] = machine.buffer.start
    if register is None:
        machine.run(*code)
        return
    with pytest.raises(InstructionFaultError, match=f"touches {register} before s_waitcnt"):
        machine.run(*code)
