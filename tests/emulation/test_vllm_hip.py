"""vLLM's own HIP kernels, compiled as the recipe does it, and run by the emulator."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [pytest.mark.emulation, pytest.mark.hip, pytest.mark.timeout(3600)]

NAMES = [
    "rms_norm", "fused_add_rms_norm", "rotary_embedding", "silu_and_mul", "gelu_and_mul",
    "gelu_tanh_and_mul", "gelu_new", "gelu_fast", "gelu_quick", "relu_squared",
    "reshape_and_cache_flash", "reshape_and_cache", "merge_attn_states",
    "apply_repetition_penalties", "topk_softmax", "topk_softmax of any number", "moe_sum",
    "moe_align_block_size, few", "moe_align_block_size",
]  # fmt: skip


SKINNY = "CMakeFiles/_rocm_C_skinny.dir/csrc/rocm/skinny_gemms.hip.o"
PRODUCTS = [
    "LLMM1", "wvSplitK, one row", "wvSplitK, three rows", "wvSplitK, four rows",
    "wvSplitK, an odd width", "wvSplitK, more than LDS has room for",
]  # fmt: skip


def target(source: str) -> str:
    """Return the object file that Ninja makes of a source."""
    library = "_moe_C_stable_libtorch" if source.startswith("moe/") else "_C_stable_libtorch"
    return f"CMakeFiles/{library}.dir/csrc/libtorch_stable/{source}.hip.o"


@pytest.mark.parametrize("name", NAMES)
def test_a_kernel_gives_what_pytorch_gives(
    build: Callable[..., Path], proven: Callable[..., None], name: str
) -> None:
    kernels: Any = importlib.import_module("tests.emulation.vllm_kernels")
    source, case, kinds = kernels.CASES[name]
    made = kernels.Kernels(build(target(source)) / target(source))
    for kind in kinds:
        result = case(made, kind)
        shape = f"{result.shape}, {kernels.SHORT[kind]}"
        proven("vLLM (HIP)", shape, result.report, result.error, result.allowed, name=name)


@pytest.mark.parametrize("name", PRODUCTS)
def test_a_product_of_a_few_rows_is_that_of_pytorch(
    build: Callable[..., Path], proven: Callable[..., None], name: str
) -> None:
    kernels: Any = importlib.import_module("tests.emulation.vllm_kernels")
    products: Any = importlib.import_module("tests.emulation.vllm_skinny")
    made = kernels.Kernels(build(SKINNY) / SKINNY)
    for kind in products.KINDS:
        result = products.CASES[name](made, kind)
        shape = f"{result.shape}, {kernels.SHORT[kind]}"
        proven("vLLM (HIP)", shape, result.report, result.error, result.allowed, name=name)


def test_no_kernel_is_left_out() -> None:
    kernels: Any = importlib.import_module("tests.emulation.vllm_kernels")
    products: Any = importlib.import_module("tests.emulation.vllm_skinny")
    assert set(NAMES) == set(kernels.CASES)
    assert set(PRODUCTS) == set(products.CASES)
