"""How many waves of a kernel run at once, against what AMD and the compiler say."""

from __future__ import annotations

import pytest

from forkhouse.binaries.occupancy import occupancy
from forkhouse.core.errors import UsageError

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
