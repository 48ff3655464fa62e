"""What a kernel takes, from its metadata, and how many of its waves run at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgpack
import pytest

from forkhouse.binaries.occupancy import occupancy, read_resources
from forkhouse.core.errors import AuditError, UsageError
from tests.compiled import needs_gcc

if TYPE_CHECKING:
    from collections.abc import Callable

    Make = Callable[..., bytes]

KERNEL: dict[str, Any] = {
    ".name": "scale",
    ".vgpr_count": 118,
    ".agpr_count": 20,
    ".sgpr_count": 40,
    ".vgpr_spill_count": 3,
    ".sgpr_spill_count": 2,
    ".group_segment_fixed_size": 1024,
    ".private_segment_fixed_size": 16,
    ".wavefront_size": 64,
    ".max_flat_workgroup_size": 256,
}


def noted(*kernels: object) -> bytes:
    return bytes(msgpack.packb({"amdhsa.version": [1, 2], "amdhsa.kernels": list(kernels)}))


@needs_gcc
def test_the_figures_are_those_of_the_metadata(code_object: Make) -> None:
    other = {**KERNEL, ".name": "add", ".vgpr_count": 8}
    del other[".agpr_count"]
    scale, add = read_resources(code_object("scale", notes=[noted(KERNEL, other)]))
    assert (scale.name, scale.vgpr, scale.agpr, scale.sgpr) == ("scale", 118, 20, 40)
    assert (scale.vgpr_spills, scale.sgpr_spills, scale.lds, scale.scratch) == (3, 2, 1024, 16)
    assert (add.name, add.vgpr, add.agpr) == ("add", 8, 0)


@needs_gcc
@pytest.mark.parametrize("key", sorted(KERNEL.keys() - {".agpr_count"}))
@pytest.mark.parametrize("value", [None, "118", -1, True, 2**40])
def test_a_figure_that_is_none_is_refused(code_object: Make, key: str, value: object) -> None:
    if key == ".name" and value == "118":
        return
    damaged = {**KERNEL, key: value}
    with pytest.raises(AuditError, match="its metadata has"):
        read_resources(code_object("scale", notes=[noted(damaged)]))


@needs_gcc
@pytest.mark.parametrize("note", [b"", b"\xc1", noted()[:-1], msgpack.packb([1]), noted()])
def test_metadata_without_a_kernel_is_refused(code_object: Make, note: bytes) -> None:
    with pytest.raises(AuditError, match="its metadata"):
        read_resources(code_object("scale", notes=[note]))


def test_what_is_no_code_object_is_refused() -> None:
    with pytest.raises(AuditError):
        read_resources(b"\x7fELF")


# AMD lab notes, "Register pressure in AMD CDNA2 GPUs": the table of VGPRs and waves of a SIMD.
LAB_NOTES = ((64, 8), (72, 7), (80, 6), (96, 5), (128, 4), (168, 3), (256, 2), (512, 1))


@pytest.mark.parametrize(("most", "waves"), LAB_NOTES)
def test_registers_allow_as_many_waves_as_amd_says(most: int, waves: int) -> None:
    assert occupancy("gfx90a", vgpr=most, sgpr=32, lds=0, waves=4).waves == waves
    if most < 512:
        assert occupancy("gfx90a", vgpr=most + 1, sgpr=32, lds=0, waves=4).waves == waves - 1


@pytest.mark.parametrize(
    ("lds", "waves", "expected"),
    [
        (8 * 1024, 4, 8),  # eight work-groups of a wave for each SIMD
        (16 * 1024, 4, 4),
        (32 * 1024, 4, 2),
        (32 * 1024, 8, 4),
        (64 * 1024, 4, 1),
        (64 * 1024, 1, 1),  # a wave on one of four SIMDs
        (64 * 1024 + 1, 4, 0),  # does not fit
    ],
)
def test_local_memory_allows_so_many_waves(lds: int, waves: int, expected: int) -> None:
    found = occupancy("gfx90a", vgpr=24, sgpr=32, lds=lds, waves=waves)
    assert found.waves == expected
    assert found.limit == ("waves" if expected == 8 else "lds")
    assert found.registers == 8


@pytest.mark.parametrize(("most", "waves"), [(80, 8), (96, 7), (102, 6)])
def test_scalar_registers_allow_as_many_waves_as_the_compiler_says(most: int, waves: int) -> None:
    # As the compiler in Triton 3.9 states of kernels, such as 7 waves of one with 94 registers.
    assert occupancy("gfx90a", vgpr=24, sgpr=most, lds=0, waves=4).waves == waves


def test_what_allows_fewest_is_named() -> None:
    assert occupancy("gfx90a", vgpr=210, sgpr=32, lds=8192, waves=4).limit == "vgpr"
    assert occupancy("gfx90a", vgpr=24, sgpr=108, lds=0, waves=4).limit == "sgpr"
    assert occupancy("gfx90a:xnack-", vgpr=24, sgpr=32, lds=0, waves=4).limit == "waves"


def test_a_processor_that_is_not_known_is_not_guessed() -> None:
    with pytest.raises(UsageError, match="gfx1100"):
        occupancy("gfx1100", vgpr=24, sgpr=32, lds=0, waves=4)
