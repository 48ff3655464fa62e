"""Memory that goes from one process to another through NIXL and UCX.

The host's on the CPU, the GPU's with --device mi210.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import pytest

from tests.integration.alone import run_alone

if TYPE_CHECKING:
    from pathlib import Path

    from forkhouse.serving.launching import Device
    from tests.integration.alone import Ended

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

SIZES = (4096, 98_760, 2**20, 2**26)
"""In bytes; the second is no whole number of pages."""
BUILDS = {"nixl_rocm", "rixl", "nixl_cu12"}


@pytest.fixture(scope="module")
def pairs(device: Device) -> tuple[tuple[str, str], ...]:
    """Where the two processes have their memory."""
    return (
        (("VRAM", "VRAM"), ("VRAM", "DRAM"), ("DRAM", "VRAM"), ("DRAM", "DRAM"))
        if device.target
        else (("DRAM", "DRAM"),)
    )


@pytest.fixture(scope="module")
def moved(
    stack_python: Path,
    device: Device,
    pairs: tuple[tuple[str, str], ...],
    tmp_path_factory: pytest.TempPathFactory,
) -> Ended:
    """Every pair in both directions, twice for each size."""
    options = [option for pair in pairs for option in ("--pair", "-".join(pair))]
    sizes = ",".join(str(size) for size in SIZES)
    scratch = tmp_path_factory.mktemp("transfer")
    return run_alone(
        stack_python, device, scratch, "transfer.py", *options, "--sizes", sizes, "--repeats", "2"
    )


def test_contents_arrive_in_both_directions(
    moved: Ended, pairs: tuple[tuple[str, str], ...]
) -> None:
    assert moved.code == 0, moved.log
    transfers = [each for each in moved.objects if "operation" in each]
    arrived = {
        (each["operation"], (each["local"], each["remote"]), each["bytes"], each["repeat"])
        for each in transfers
        if each["verified"]
    }
    assert arrived == set(product(("WRITE", "READ"), pairs, SIZES, (0, 1)))
    assert all(each["seconds"] > 0 for each in transfers)


def test_it_is_told_what_transferred(moved: Ended, device: Device) -> None:
    circumstances, *_, end = moved.objects
    assert circumstances["package"] in BUILDS
    assert circumstances["nixl"]
    assert end["ucx"]
    if device.target:
        assert circumstances["target"].split(":")[0] == device.target


def test_other_contents_than_were_sent_are_found(
    stack_python: Path, device: Device, pairs: tuple[tuple[str, str], ...], tmp_path: Path
) -> None:
    ended = run_alone(
        stack_python,
        device,
        tmp_path,
        "transfer.py",
        "--pair",
        "-".join(pairs[0]),
        "--sizes",
        "4096",
        "--spoil",
    )
    assert ended.code == 1
    assert (
        "left wrong contents: 512 of 1024 words differ, first at byte 0: 0x0000000000000002, not "
        "0x0000000000000001" in ended.log
    )
    assert not any("operation" in each for each in ended.objects)
