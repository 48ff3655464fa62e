"""vLLM's own HIP kernels, compiled as the recipe does it, and run by the emulator."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from forkhouse.flow.plant import Plant

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


PAGED = "csrc/rocm/attention.cu"
ATTENTION = "CMakeFiles/_rocm_C.dir/csrc/rocm/attention.hip.o"
SHAPES = [
    "few heads", "few large heads", "few heads of 8 bits", "large pages", "five heads",
    "five large heads", "eight heads", "eight large heads", "eight heads of 8 bits", "many heads",
    "many large heads", "eight heads, whole",
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


@pytest.fixture(scope="module")
def attention(build: Callable[..., Path], plant: Plant) -> dict[bool, Any]:
    """vLLM's paged attention with our series, and as it is; each without its host's code."""
    kernels: Any = importlib.import_module("tests.emulation.vllm_kernels")
    paged: Any = importlib.import_module("tests.emulation.vllm_rocm_attention")
    # Each time that something is built, the sources are made anew from those of CUDA.
    source = build(SKINNY).parents[1] / "project/upstream" / PAGED
    whole = source.read_text(encoding="utf-8")
    recipe = plant.checkout.recipe("vllm-rocm")
    pinned = plant.checkout.pinned("vllm-rocm", recipe)
    plain = plant.supplies.acquire(recipe.upstream, pinned, recipe.builders)
    as_it_is = plant.store.read(plain.tree, PAGED).decode()
    made = {}
    for patched, text, names in ((True, whole, paged.SHAPES), (False, as_it_is, paged.WRONG)):
        source.write_text(paged.shortened(text, names), encoding="utf-8")
        made[patched] = kernels.Kernels(build(ATTENTION) / ATTENTION)
    source.write_text(whole, encoding="utf-8")
    return made


@pytest.mark.parametrize("name", SHAPES)
def test_paged_attention_is_plain_attention(
    attention: dict[bool, Any], proven: Callable[..., None], name: str
) -> None:
    kernels: Any = importlib.import_module("tests.emulation.vllm_kernels")
    paged: Any = importlib.import_module("tests.emulation.vllm_rocm_attention")
    for kind in paged.KINDS:
        result = paged.case(attention[True], name, kind)
        shape = f"{result.shape}, {kernels.SHORT[kind]}"
        proven(
            "vLLM (HIP)", shape, result.report, result.error, result.allowed,
            name="paged_attention",
        )  # fmt: skip


def test_lanes_without_keys_are_left_out_where_vllm_is_not_patched(
    attention: dict[bool, Any],
) -> None:
    """Show the fault that patch 0015 mends: once this fails, vLLM is mended, and the patch can go.

    Behind the ends are zeros, so that what is wrong can only be what the lanes' registers held.
    """
    paged: Any = importlib.import_module("tests.emulation.vllm_rocm_attention")
    for name in paged.WRONG:
        for kind in paged.KINDS:
            result = paged.decode(attention[False], kind, paged.SHAPES[name], behind=0.0)
            assert result.error > 5 * result.allowed


def test_no_kernel_is_left_out() -> None:
    kernels: Any = importlib.import_module("tests.emulation.vllm_kernels")
    products: Any = importlib.import_module("tests.emulation.vllm_skinny")
    assert set(NAMES) == set(kernels.CASES)
    paged: Any = importlib.import_module("tests.emulation.vllm_rocm_attention")
    assert set(PRODUCTS) == set(products.CASES)
    assert set(SHAPES) == set(paged.SHAPES)
