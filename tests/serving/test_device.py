"""What the kernel lists of AMD's GPUs, written as files.

Each node of a topology is a line of what it says about itself.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from forkhouse.core.errors import NoDeviceError
from forkhouse.serving.device import TOPOLOGY, find_gpus, require_gpu, target_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CPU = {
    "cpu_cores_count": 64,
    "simd_count": 0,
    "vendor_id": 0,
    "device_id": 0,
    "gfx_target_version": 0,
    "drm_render_minor": 0,
}
MI210 = {
    "cpu_cores_count": 0,
    "simd_count": 416,
    "vendor_id": 4098,
    "device_id": 29711,
    "gfx_target_version": 90010,
}
MI250 = {**MI210, "device_id": 29708}
MI300X = {**MI210, "simd_count": 1216, "device_id": 29857, "gfx_target_version": 90402}
W6800 = {**MI210, "simd_count": 120, "device_id": 29603, "gfx_target_version": 100300}
OTHER_VENDOR = {**MI210, "vendor_id": 4318}

LOOK_AS_NOBODY = """
import os, sys
from forkhouse.core.errors import NoDeviceError
from forkhouse.serving.device import Path, find_gpus, require_gpu
# While this process may: to others, the folders above and those that Python imports from are
# perhaps closed.
os.chdir(sys.argv[1])
find_gpus(Path())
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
try:
    print(*(gpu.node for gpu in require_gpu("gfx90a", Path())))
except NoDeviceError as error:
    print(error)
"""


@pytest.fixture(autouse=True)
def open_umask() -> Iterator[None]:
    """Let the recorded files have the permissions that a test gives them."""
    before = os.umask(0)
    yield
    os.umask(before)


def record(root: Path, *nodes: dict[str, int], other_cards: int = 0) -> Path:
    """Write a topology of `nodes` below `root`, with the device files of its GPUs.

    Render nodes are numbered from 128.

    Cards of another vendor were found before: they are on the PCI bus and have the first render
    nodes, but are none of KFD's.
    """
    (root / "dev/dri").mkdir(parents=True)
    (root / "dev/kfd").touch(mode=0o666)
    for number in range(other_cards):
        card = root / f"sys/bus/pci/devices/0000:{number + 1:02x}:00.0"
        card.mkdir(parents=True)
        (card / "vendor").write_text("0x10de\n", encoding="ascii")
        (card / "class").write_text("0x030200\n", encoding="ascii")
        (root / f"dev/dri/renderD{128 + number}").touch(mode=0o666)
        (root / f"dev/nvidia{number}").touch(mode=0o666)
    for number, properties in enumerate(nodes):
        node = root / TOPOLOGY / str(number)
        node.mkdir(parents=True)
        minor = 127 + other_cards + number if properties["simd_count"] else 0
        lines = {**properties, "drm_render_minor": minor}
        (node / "properties").write_text(
            "".join(f"{name} {value}\n" for name, value in lines.items()), encoding="ascii"
        )
        if minor:
            (root / f"dev/dri/renderD{minor}").touch(mode=0o666)
    return root


def look_as_nobody(root: Path) -> str:
    root.chmod(0o755)
    result = subprocess.run(
        [sys.executable, "-c", LOOK_AS_NOBODY, root], capture_output=True, text=True, check=True
    )
    return result.stdout.strip()


@pytest.mark.parametrize(
    ("version", "name"),
    [
        (90010, "gfx90a"),
        (90402, "gfx942"),
        (90008, "gfx908"),
        (90500, "gfx950"),
        (100300, "gfx1030"),
        (110001, "gfx1101"),
    ],
)
def test_versions_have_the_names_that_compilers_use(version: int, name: str) -> None:
    assert target_name(version) == name


def test_an_mi210_is_found_with_its_device_files(tmp_path: Path) -> None:
    root = record(tmp_path, CPU, MI210)
    (gpu,) = require_gpu("gfx90a", root)
    assert (gpu.node, gpu.target) == (1, "gfx90a")
    assert gpu.devices == (root / "dev/kfd", root / "dev/dri/renderD128")


def test_an_mi250_is_two_gpus(tmp_path: Path) -> None:
    gpus = require_gpu("gfx90a", record(tmp_path, CPU, MI250, MI250))
    assert [(gpu.node, gpu.devices[1].name) for gpu in gpus] == [
        (1, "renderD128"),
        (2, "renderD129"),
    ]


def test_nodes_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    assert [gpu.node for gpu in find_gpus(record(tmp_path, CPU, CPU, *[MI210] * 10))] == list(
        range(2, 12)
    )


def test_only_the_wanted_target_is_given(tmp_path: Path) -> None:
    root = record(tmp_path, CPU, MI300X, MI210, OTHER_VENDOR, W6800)
    assert [gpu.target for gpu in find_gpus(root)] == ["gfx942", "gfx90a", "gfx1030"]
    assert [gpu.node for gpu in require_gpu("gfx90a", root)] == [2]


def test_a_card_of_another_vendor_leaves_an_mi210_its_own_render_node(tmp_path: Path) -> None:
    root = record(tmp_path, CPU, MI210, other_cards=2)
    (gpu,) = require_gpu("gfx90a", root)
    assert gpu.devices == (root / "dev/kfd", root / "dev/dri/renderD130")
    (root / "dev/dri/renderD130").unlink()
    with pytest.raises(NoDeviceError, match=r"renderD130: not there\.") as caught:
        require_gpu("gfx90a", root)
    assert "renderD128" not in str(caught.value)


def test_a_card_of_another_vendor_alone_is_none(tmp_path: Path) -> None:
    root = record(tmp_path, CPU, other_cards=1)
    assert find_gpus(root) == ()
    with pytest.raises(
        NoDeviceError, match=rf"No gfx90a GPU was found: {root / TOPOLOGY} lists no GPU\."
    ):
        require_gpu("gfx90a", root)


def test_an_mi210_beside_other_cards_of_both_vendors_is_found(tmp_path: Path) -> None:
    root = record(tmp_path, CPU, W6800, MI210, MI300X, other_cards=1)
    assert [(gpu.node, gpu.devices[1].name) for gpu in require_gpu("gfx90a", root)] == [
        (2, "renderD130")
    ]


def test_other_targets_are_named(tmp_path: Path) -> None:
    with pytest.raises(
        NoDeviceError,
        match=r"No gfx90a GPU was found: .* lists only gfx942 \(node 1\), gfx1030 \(node 2\)\. Run "
        r"this on a",
    ):
        require_gpu("gfx90a", record(tmp_path, CPU, MI300X, W6800))


def test_a_kernel_without_the_driver_is_told_apart(tmp_path: Path) -> None:
    assert find_gpus(tmp_path) == ()
    with pytest.raises(
        NoDeviceError,
        match=rf"{TOPOLOGY} does not exist, .*modprobe amdgpu.*--device /dev/kfd.*--device cpu",
    ) as caught:
        require_gpu("gfx90a", tmp_path)
    assert "\n" not in str(caught.value)


def test_a_machine_of_processors_alone_has_no_gpu(tmp_path: Path) -> None:
    with pytest.raises(NoDeviceError, match=r"lists no GPU\. Run this on a machine with one"):
        require_gpu("gfx90a", record(tmp_path, CPU))


def test_nodes_that_the_container_hides_are_counted(tmp_path: Path) -> None:
    root = record(tmp_path, CPU, MI210)
    (root / TOPOLOGY / "1/properties").unlink()
    with pytest.raises(
        NoDeviceError, match=r"lists no GPU; 1 of its nodes cannot be read, as in a container"
    ):
        require_gpu("gfx90a", root)


def test_a_missing_device_file_is_named(tmp_path: Path) -> None:
    root = record(tmp_path, CPU, MI210)
    (root / "dev/dri/renderD128").unlink()
    with pytest.raises(
        NoDeviceError,
        match=r"1 gfx90a GPU\(s\) are in .* use none of them\. .*renderD128: not there\.",
    ) as caught:
        require_gpu("gfx90a", root)
    assert "dev/kfd:" not in str(caught.value)


def test_a_user_outside_the_group_is_told_which_file_is_closed(tmp_path: Path) -> None:
    root = record(tmp_path, CPU, MI210)
    (root / "dev/kfd").chmod(0o000)
    message = look_as_nobody(root)
    assert message.startswith("1 gfx90a GPU(s) are in this machine, and this process (user ")
    assert "dev/kfd: not readable and writable. Add the user to the group" in message
    assert "renderD128" not in message


def test_a_gpu_that_this_user_may_open_is_enough(tmp_path: Path) -> None:
    root = record(tmp_path, CPU, MI250, MI250)
    (root / "dev/dri/renderD128").chmod(0o000)
    assert look_as_nobody(root) == "2"


def test_a_session_without_the_gpu_stops_at_once_and_says_where_it_looked() -> None:
    if any(gpu.target == "gfx90a" for gpu in find_gpus()):
        pytest.skip("this machine has one")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = subprocess.run(
        [sys.executable, "-m", "forkhouse", "device", "--target", "gfx90a"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert result.returncode == NoDeviceError.exit_code == 40
    assert "No gfx90a GPU was found: " in result.stderr
    assert f"/{TOPOLOGY}" in result.stderr
    # Of the processor's time: that of the clock depends on who else is at work.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1
