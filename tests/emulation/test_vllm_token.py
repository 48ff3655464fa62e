"""Tokens of a small Llama whose layers are computed by vLLM's kernels for gfx90a, emulated.

Products of matrices are PyTorch's. The reference is PyTorch's in everything.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import pytest

from tests.emulation import test_triton, test_vllm_attention

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.emulation.emulated_triton import Emulated

pytestmark = test_triton.pytestmark
_emulated, device, torch = test_triton._emulated, test_triton.device, test_triton.torch
unified = test_vllm_attention.unified

PROMPT, MORE, SEED = 44, 3, 28
BLOCKS = [5, 2]
"""Where a worker keeps the prompt, and what follows."""
ALLOWED = 0.1
"""How far a logit may be from PyTorch's; they spread by 1. Rounding to bfloat16 moves one by
0.05."""
MARGIN = 2 * ALLOWED
"""How far the best token has to be before the next one, so that no rounding decides."""


@pytest.fixture(
    params=["triton", pytest.param("all", marks=[pytest.mark.hip, pytest.mark.timeout(3600)])]
)
def operations(request: pytest.FixtureRequest, device: Emulated, unified: Any) -> Any:
    """The operations of a layer, emulated: those of vLLM's Triton attention alone, or all."""
    module = importlib.import_module("tests.emulation.vllm_operations")
    if request.param == "triton":
        loader = importlib.import_module("tests.emulation.vllm_attention")
        return module.TritonAttention(unified, loader.load_writing(), device)
    return module.AllEmulated(request.getfixturevalue("objects"), unified, device)


@pytest.fixture(scope="module")
def objects(build: Callable[..., Path]) -> Path:
    """vLLM's HIP kernels, compiled."""
    module = importlib.import_module("tests.emulation.vllm_operations")
    folder = "CMakeFiles/_C_stable_libtorch.dir/csrc/libtorch_stable"
    return build(*(f"{folder}/{name}.hip.o" for name in module.SOURCES)) / folder


class Models:
    """A model, its prompt, and what PyTorch makes of it."""

    def __init__(self, torch: Any) -> None:
        self.llama = importlib.import_module("tests.emulation.tiny_llama")
        operations = importlib.import_module("tests.emulation.vllm_operations")
        self.shape = self.llama.Shape()
        self.weights = self.llama.random_weights(self.shape, SEED)
        generator = torch.Generator().manual_seed(SEED)
        self.prompt = torch.randint(
            4, self.shape.vocabulary, (PROMPT,), generator=generator
        ).tolist()
        self.plain = self.model(operations.PlainOperations())
        exact = self.llama.Llama(
            self.shape,
            {name: each.float() for name, each in self.weights.items()},
            operations.PlainOperations(),
        )
        worker = self.llama.Worker.start(self.shape, kind=torch.float32)
        exact.logits(worker, self.prompt[:-1], BLOCKS)
        self.tokens, self.exact = exact.more(worker, self.prompt, BLOCKS, MORE)
        worker = self.worker()
        self.plain.logits(worker, self.prompt[:-1], BLOCKS)
        self.plain_tokens, self.logits = self.plain.more(worker, self.prompt, BLOCKS, MORE)

    def model(self, operations: Any) -> Any:
        return self.llama.Llama(self.shape, self.weights, operations)

    def worker(self, **options: Any) -> Any:
        return self.llama.Worker.start(self.shape, **options)


@pytest.fixture(scope="module")
def models() -> Models:
    return Models(importlib.import_module("torch"))


def test_the_reference_decides_by_more_than_rounding(models: Models) -> None:
    assert models.plain_tokens == models.tokens
    assert len(set(models.tokens)) > 1
    for logits in models.logits:
        best = logits.topk(2).values
        assert best[0] - best[1] > MARGIN


def test_steps_give_the_tokens_of_pytorch(
    models: Models, operations: Any, proven: Callable[..., None]
) -> None:
    model, worker = models.model(operations), models.worker()
    model.logits(worker, models.prompt[:-1], BLOCKS)
    prefill, operations.launched = operations.launched, []
    tokens, found = model.more(worker, models.prompt, BLOCKS, MORE)
    assert tokens == models.tokens
    kernels = {each.kernel for each in prefill} | {each.kernel for each in operations.launched}
    assert len(kernels) == operations.kernels
    error = max(test_triton.far(*each) for each in zip(found, models.logits, strict=True))
    shape = f"{MORE} tokens behind {PROMPT}, 4 layers of 256, bfloat16"
    proven(f"vLLM ({operations.origin})", shape, operations.launched, error, ALLOWED, name="decode")
    exact = max(test_triton.far(*each) for each in zip(found, models.exact, strict=True))
    assert exact <= ALLOWED


PAIRS = {
    "tokens outside, as they are": ({}, {}),
    "heads outside and shorter": ({"heads_outside": True, "block_tokens": 16}, {}),
    "from tokens outside to heads outside": ({}, {"heads_outside": True}),
}
"""How the KV blocks of two workers lie."""


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("emulated", ["prefill", "decode"])
def test_a_token_after_blocks_were_moved(
    models: Models, operations: Any, emulated: str, pair: str
) -> None:
    hand_off = importlib.import_module("tests.emulation.hand_off")
    here = models.model(operations)
    prefill, decode = (here, models.plain) if emulated == "prefill" else (models.plain, here)
    sender, receiver = (models.worker(**options) for options in PAIRS[pair])
    theirs = [6, 3, 7] if sender.block_tokens == 16 else [6, 3]
    prefill.logits(sender, models.prompt[:-1], theirs)
    hand_off.move(sender, theirs, receiver, BLOCKS)
    (token,), (logits,) = decode.more(receiver, models.prompt, BLOCKS, 1)
    assert token == models.tokens[0]
    assert test_triton.far(logits, models.logits[0]) <= ALLOWED


def test_a_block_that_was_lost_or_not_arranged_is_seen(models: Models, operations: Any) -> None:
    hand_off = importlib.import_module("tests.emulation.hand_off")
    sender = models.worker(heads_outside=True)
    models.plain.logits(sender, models.prompt[:-1], BLOCKS)
    for theirs, arranged in ((BLOCKS, False), ([BLOCKS[0], 0], True)):
        receiver = models.worker()
        hand_off.move(sender, theirs, receiver, BLOCKS, arranged=arranged)
        _, (logits,) = models.model(operations).more(receiver, models.prompt, BLOCKS, 1)
        assert test_triton.far(logits, models.logits[0]) > 2 * ALLOWED
