"""Operations of vLLM's extension libraries against references.

Of the CPU build, or of every HIP library with --device mi210.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.alone import run_alone

if TYPE_CHECKING:
    from forkhouse.serving.launching import Device

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

WITHOUT_KERNELS = {"cumem_allocator", "spinloop", "fs_io_C"}
HIP = {"_C", "_C_stable_libtorch", "_moe_C_stable_libtorch", "_rocm_C"}
EVERYWHERE = {"rms_norm", "silu_and_mul"}
HIP_ONLY = {"topk_softmax", "moe_sum", "wvSplitK", "qr_all_reduce"}


def place(device: Device) -> str:
    return "cuda" if device.target else "cpu"  # in PyTorch's words


def kernels_here() -> str:
    """Return the library of the CPU build whose instructions this processor has, by what the kernel
    says of it.
    """
    flags = set(
        re.findall(
            r"^flags\s*: (.*)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE
        )[0].split()
    )
    if "avx512f" not in flags:
        return "_C_AVX2"
    return "_C" if "avx512_bf16" in flags else "_C_AVX512"


def test_each_library_loads_and_its_kernels_give_what_the_reference_does(
    stack_python: Path, device: Device, tmp_path: Path
) -> None:
    ended = run_alone(stack_python, device, tmp_path, "kernels.py", "--device", place(device))
    assert ended.code == 0, ended.log
    loaded = {each["loaded"] for each in ended.objects if "loaded" in each}
    tried = [each for each in ended.objects if "kernel" in each]
    assert all(each["error"] <= each["allowed"] for each in tried)
    if device.target:
        assert loaded == HIP | WITHOUT_KERNELS
        assert {each["library"] for each in tried} == HIP
        assert {each["kernel"] for each in tried} == EVERYWHERE | HIP_ONLY
    else:
        assert loaded == {kernels_here(), "spinloop", "fs_io_C"}
        assert {each["kernel"] for each in tried} == EVERYWHERE


def test_the_references_give_what_was_worked_out_by_hand(
    stack_python: Path, device: Device, tmp_path: Path
) -> None:
    ended = run_alone(stack_python, device, tmp_path, "kernels.py", "--examples")
    assert ended.code == 0, ended.log
    assert {each["example"] for each in ended.objects} == EVERYWHERE | HIP_ONLY
    assert {each["library"] for each in ended.objects} == HIP


@pytest.mark.parametrize("kernel", sorted(EVERYWHERE))
def test_a_result_that_is_a_little_wrong_is_found(
    stack_python: Path, device: Device, tmp_path: Path, kernel: str
) -> None:
    ended = run_alone(
        stack_python, device, tmp_path, "kernels.py", "--device", place(device), "--spoil", kernel
    )
    assert ended.code == 1
    assert f"{kernel} of _C_stable_libtorch in float32 is " in ended.log
    assert not any(each.get("kernel") == kernel for each in ended.objects)
