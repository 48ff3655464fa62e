"""vLLM's kernel that multiplies tokens with the weights of their experts."""

from __future__ import annotations

import importlib
from typing import Any

import torch

from tests.emulation.vllm_sampler import Outcome, far, step_of


def aligned(
    chosen: torch.Tensor, experts: int, block: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return tokens in order of their experts, each expert's in whole blocks.

    Places without a token have the number behind the last; beside them are each block's expert and
    how many places there are.
    """
    flat = chosen.reshape(-1)
    places, owners = [], []
    for expert in range(experts):
        mine = (flat == expert).nonzero()[:, 0].tolist()
        mine += [flat.numel()] * (-len(mine) % block)
        places += mine
        owners += [expert] * (len(mine) // block)
    return (
        torch.tensor(places, dtype=torch.int32),
        torch.tensor(owners, dtype=torch.int32),
        torch.tensor([len(places)], dtype=torch.int32),
    )


def products(dtype: Any, *, tokens: int = 9, weighted: bool = False) -> Outcome:
    """Multiply each token with its experts' weights, by vLLM's own choice of tiles."""
    module = importlib.import_module("vllm.model_executor.layers.fused_moe.fused_moe")
    language = importlib.import_module("triton.language")
    experts, each, depth, wide = 4, 2, 160, 96
    config = module.get_default_config(tokens, experts, wide, depth, each, None)
    x = torch.randn(tokens, depth).to(dtype)
    weights = (torch.randn(experts, wide, depth) * depth**-0.5).to(dtype)
    chosen = torch.stack([torch.randperm(experts)[:each] for _ in range(tokens)])
    shares = torch.rand(tokens, each)
    out = torch.zeros(tokens, each, wide, dtype=dtype)
    module.invoke_fused_moe_triton_kernel(
        x, weights, out, None, None, shares, *aligned(chosen, experts, config["BLOCK_SIZE_M"]),
        weighted, each, config, getattr(language, str(dtype).removeprefix("torch.")),
        use_fp8_w8a8=False, use_int8_w8a8=False, use_int8_w8a16=False, use_int4_w4a16=False,
        per_channel_quant=False,
    )  # fmt: skip
    right = torch.einsum("td,tewd->tew", x.double(), weights.double()[chosen])
    if weighted:
        right *= shares.double()[..., None]
    tiles = "x".join(str(config[f"BLOCK_SIZE_{axis}"]) for axis in "MNK")
    what = ", weighted" if weighted else ""
    shape = f"{tokens} tokens, {each} of {experts} experts {depth}x{wide}, tiles {tiles}{what}"
    allowed = step_of(dtype) * float(right.abs().max()) * 1.01 + 4e-6
    return Outcome(shape, far(out, right), allowed)
