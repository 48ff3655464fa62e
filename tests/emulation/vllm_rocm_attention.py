"""vLLM's paged attention for AMD GPUs in HIP, as gfx90a takes it, against plain attention."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tests.emulation.vllm_attention import plain
from tests.emulation.vllm_kernels import BF16, F16, Result, by_heads
from tests.emulation.vllm_sampler import far, step_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.emulation.vllm_kernels import Kernels

_NAMED = {F16: ("DF16_", "DF16_"), BF16: ("14__hip_bfloat16", "S0_")}
_PARTITION = 256
"""Keys that one workgroup attends to."""


def decode(
    kernels: Kernels, kind: Any, *, heads: int, size: int, tokens: int, lengths: tuple[int, ...]
) -> Result:
    """Attend for one token of each sequence by one kernel, and put the parts together by another.

    There are two heads of keys, and pages of `tokens`.
    """
    torch.manual_seed(heads + size + tokens)
    kv_heads, count = 2, len(lengths)
    query = torch.randn(count, heads, size).to(kind)
    blocks = -(-max(lengths) // tokens)
    caches = [torch.randn(count * blocks, tokens, kv_heads, size).to(kind) for _ in range(2)]
    table = torch.randperm(count * blocks).view(count, blocks).int()
    for number, length in enumerate(lengths):
        # Behind a sequence's end no block is looked up.
        table[number, -(-length // tokens) :] = 2**30
    keys, values = by_heads(caches[0], caches[1])
    parts = -(-max(lengths) // _PARTITION)
    sums, most = torch.zeros(count, heads, parts), torch.zeros(count, heads, parts)
    between = torch.zeros(count, heads, parts, size, dtype=kind)
    out, scale, ends = torch.zeros_like(query), torch.ones(1), torch.tensor(lengths).int()
    first, again = _NAMED[kind]
    group = heads // kv_heads
    operation = "mfma4" if group <= 4 else "mfma16"
    reports = [
        kernels.run(
            rf"QKV_{operation}_kernelI{first}{again}LN4vllm18Fp8KVCacheDataTypeE0E{again}"
            rf"Li{tokens}ELi{size}ELi256ELb0ELi{group}E", (count, parts, kv_heads), 256,
            query, keys, values, np.int32(kv_heads), np.float32(size**-0.5), table, ends, None,
            np.int32(blocks), None, *(np.int32(each.stride(0)) for each in (query, keys)),
            np.int32(keys.stride(1)), sums, most, between, out, np.int32(blocks), scale, scale,
        ),
        kernels.run(
            rf"ll4mi_reduce_kernelI{first}{again}Li{size}ELi{size}ELi{_PARTITION}ELi1E",
            (heads, count, 1), size, out, sums, most, between, ends, None, np.int32(parts), None,
        ),
    ]  # fmt: skip
    known = table.where(table < 2**30, 0)
    right = plain(query, caches[0], caches[1], [1] * count, list(lengths), known)
    # The chances of keys, at most 1 together, are rounded before they are multiplied with values;
    # so is what is left of each part, and their sum.
    most_of = max(float(caches[1].abs().max()) * step_of(kind), 2e-6)
    allowed = most_of + 2 * step_of(kind) * float(right.abs().max())
    shape = f"keys {list(lengths)}, {heads}+{kv_heads} heads of {size}, pages of {tokens}"
    return Result(reports, far(out, right), allowed, shape)


def _case(heads: int, size: int, tokens: int, *lengths: int) -> Callable[..., Result]:
    def case(kernels: Kernels, kind: Any) -> Result:
        return decode(kernels, kind, heads=heads, size=size, tokens=tokens, lengths=lengths)

    return case


KINDS = (F16, BF16)
CASES: dict[str, Callable[..., Result]] = {
    "paged attention, few heads": _case(4, 64, 16, 100, 300, 16, 1),
    "paged attention, few large heads": _case(8, 128, 16, 37, 520),
    "paged attention, large pages": _case(2, 64, 32, 100, 257),
    "paged attention, many heads": _case(16, 64, 16, 100, 300, 16, 1),
    "paged attention, many large heads": _case(16, 128, 32, 37, 520),
}
"""By name: what runs the two kernels of attention."""
