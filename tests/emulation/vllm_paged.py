"""vLLM's other attention kernels in Triton, over pages as AMD's own kernels have them."""

from __future__ import annotations

import importlib
from typing import Any

import torch

from tests.emulation.vllm_attention import plain
from tests.emulation.vllm_sampler import Outcome, far, step_of

_OPS = "vllm.v1.attention.ops."
LANES = 16
"""Bytes of a key that lie beside each other in a page that is arranged by heads."""


def by_heads(key: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return pages of (block, token, head, number) arranged by heads, tokens last.

    A few numbers of a key stay together behind its token.
    """
    blocks, tokens, heads, size = key.shape
    few = LANES // key.element_size()
    keys = key.view(blocks, tokens, heads, size // few, few).permute(0, 2, 3, 1, 4)
    return keys.contiguous(), value.permute(0, 2, 3, 1).contiguous()


def prefill_and_decode(
    dtype: Any,
    *,
    size: int = 64,
    queries: tuple[int, ...] = (5, 1, 7),
    lengths: tuple[int, ...] = (20, 33, 7),
) -> Outcome:
    """Attend over a prompt's pages by one kernel, and for single tokens by another."""
    module = importlib.import_module(_OPS + "chunked_prefill_paged_decode")
    heads, kv_heads, tokens, rows = 4, 2, 16, sum(queries)
    query = torch.randn(rows, heads, size).to(dtype)
    caches = [torch.randn(32, tokens, kv_heads, size).to(dtype) for _ in range(2)]
    starts = torch.tensor([0, *torch.tensor(queries).cumsum(0)], dtype=torch.int32)
    table = torch.randperm(32)[: len(queries) * 4].view(len(queries), 4).int()
    new = []
    for cache in caches:
        line = [
            cache[table[number, place // tokens], place % tokens]
            for number, (count, length) in enumerate(zip(queries, lengths, strict=True))
            for place in range(length - count, length)
        ]
        new.append(torch.stack(line))
    keys, values = by_heads(*caches)
    out, scale = torch.zeros_like(query), torch.ones(1)
    module.chunked_prefill_paged_decode(
        query, *new, out, "auto", keys, values, table, starts, torch.tensor(lengths).int(),
        max(lengths), max(queries), scale, scale, sm_scale=size**-0.5,
    )  # fmt: skip
    right = plain(query, caches[0], caches[1], list(queries), list(lengths), table)
    shape = f"queries {list(queries)}, keys {list(lengths)}, head {size}"
    # The chances of keys, at most 1, are rounded to the type before they are multiplied.
    allowed = 2 * step_of(dtype) * float(caches[1].abs().max()) + 1e-6
    return Outcome(shape, far(out, right), allowed)


def written(dtype: Any, *, heads_first: bool) -> Outcome:
    """Write keys and values to pages."""
    module = importlib.import_module(_OPS + "triton_reshape_and_cache_flash")
    count, heads, size, tokens = 5, 2, 64, 16
    key, value = (torch.randn(count, heads, size).to(dtype) for _ in range(2))
    slots = torch.tensor([3, 17, -1, 40, 63])
    right = [torch.zeros(4, tokens, heads, size, dtype=dtype) for _ in range(2)]
    caches = [each.clone() for each in right]
    for number, slot in enumerate(slots.tolist()):
        if slot >= 0:
            for target, source in zip(right, (key, value), strict=True):
                target[slot // tokens, slot % tokens] = source[number]
    if heads_first:
        right, caches = list(by_heads(*right)), list(by_heads(*caches))
    scale = torch.ones(1)
    module.triton_reshape_and_cache_flash(key, value, *caches, slots, "auto", scale, scale)
    error = max(far(ours, wanted) for ours, wanted in zip(caches, right, strict=True))
    arranged = "by heads" if heads_first else "by tokens"
    return Outcome(f"{count} tokens, {heads} heads of {size}, {arranged}", error, 0)


def merged(dtype: Any) -> Outcome:
    """Put together what was attended to of a prefix and of the rest."""
    module = importlib.import_module(_OPS + "triton_merge_attn_states")
    count, heads, size = 5, 3, 96
    parts = [torch.randn(count, heads, size).to(dtype) for _ in range(2)]
    sums = [torch.randn(heads, count) * 3 for _ in range(2)]
    # Nothing was attended to of one token's prefix.
    sums[0][1, 2] = -torch.inf
    out, total = torch.zeros_like(parts[0]), torch.zeros(heads, count)
    module.merge_attn_states(out, parts[0], sums[0], parts[1], sums[1], total)
    both = torch.stack(sums).double()
    shares = both.softmax(0).transpose(1, 2)[..., None]
    right = (shares * torch.stack(parts).double()).sum(0)
    allowed = step_of(dtype) * float(right.abs().max()) * 1.01 + 1e-6
    error = max(far(out, right), far(total, both.logsumexp(0)) * allowed / 2e-6)
    return Outcome(f"{count} tokens, {heads} heads of {size}", error, allowed)
