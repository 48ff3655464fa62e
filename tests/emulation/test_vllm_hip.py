"""vLLM's own HIP kernels, compiled as the recipe does it, and run by the emulator."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [pytest.mark.emulation, pytest.mark.hip, pytest.mark.timeout(3600)]


@pytest.mark.parametrize(
    "name",
    [
        "rms_norm",
        "fused_add_rms_norm",
        "rotary_embedding",
        "silu_and_mul",
        "reshape_and_cache_flash",
    ],
)
def test_a_kernel_gives_what_pytorch_gives(
    build: Callable[..., Path], proven: Callable[..., None], name: str
) -> None:
    kernels: Any = importlib.import_module("tests.emulation.vllm_kernels")
    source, case = kernels.CASES[name]
    target = f"CMakeFiles/_C_stable_libtorch.dir/csrc/libtorch_stable/{source}.hip.o"
    result = case(kernels.Kernels(build(target) / target))
    proven("vLLM (HIP)", result.shape, result.report, result.error, result.allowed, name=name)
