"""Run vLLM's Triton kernels by Triton's interpreter on the CPU, and compare with plain PyTorch.

Runs alone, with the stack's Python:

    python interpreted.py FOLDER

FOLDER has Forkhouse's `likeness.py`. The output is a JSON object a line: what was tried, the
largest error, and how much is allowed. Ends with exit code 1 when one is larger, or a result is not
a number. --spoil NAME falsifies that kernel's result, to see it found.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

os.environ["TRITON_INTERPRET"] = "1"
os.environ["TORCHDYNAMO_DISABLE"] = "1"
os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
sys.path.insert(0, sys.argv[1])

import likeness
import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STEPS = {torch.float32: 2.0**-16, torch.float16: 2.0**-9, torch.bfloat16: 2.0**-6}
"""How far a result may be from the reference, in parts of the larger of it and one.

Some roundings of each type.
"""
BLOCK = 16
"""Tokens of a block of the KV cache."""


@dataclass(frozen=True, kw_only=True)
class Try:
    """A kernel on an input: what it gave, and what it has to give."""

    name: str
    given: str
    dtype: torch.dtype
    found: torch.Tensor
    reference: torch.Tensor

    def error(self) -> float:
        """Return the largest error, in parts of what is allowed; infinite for what is no number."""
        found, reference = self.found.double(), self.reference.double()
        same = found == reference  # infinities
        difference = (found - reference).abs() / reference.abs().clamp(min=1)
        difference = torch.where(same, torch.zeros_like(difference), difference)
        if found.shape != reference.shape or difference.isnan().any():
            return float("inf")
        return float(difference.max()) / STEPS[self.dtype]


def normal(*shape: int, dtype: torch.dtype) -> torch.Tensor:
    """Return random values."""
    return torch.randn(*shape, dtype=torch.float32).to(dtype)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Requests with their KV cache in blocks that lie in no order."""

    heads: int
    kv_heads: int
    size: int
    dtype: torch.dtype
    lengths: tuple[int, ...]
    """Tokens of each request."""
    new: tuple[int, ...]
    """Those of them that are computed now, the last ones."""
    query: torch.Tensor
    keys: tuple[torch.Tensor, ...]
    values: tuple[torch.Tensor, ...]
    key_cache: torch.Tensor
    value_cache: torch.Tensor
    table: torch.Tensor
    starts: torch.Tensor

    def attention(self, *, window: int = 0, cap: float = 0.0) -> torch.Tensor:
        """Return what causal attention gives, in double precision."""
        results = []
        for number, (length, new) in enumerate(zip(self.lengths, self.new, strict=True)):
            start = int(self.starts[number])
            query = self.query[start : start + new].double().transpose(0, 1)
            group = self.heads // self.kv_heads
            keys, values = (
                part[number].double().repeat_interleave(group, dim=1).transpose(0, 1)
                for part in (self.keys, self.values)
            )
            scores = query @ keys.transpose(1, 2) * self.size**-0.5
            if cap:
                scores = cap * (scores / cap).tanh()
            places = torch.arange(length - new, length)[:, None]
            seen = torch.arange(length)[None, :] <= places
            if window:
                seen &= torch.arange(length)[None, :] > places - window
            scores = scores.masked_fill(~seen, float("-inf"))
            results.append((scores.softmax(dim=-1) @ values).transpose(0, 1))
        return torch.cat(results)


def batch(
    *,
    heads: int,
    kv_heads: int,
    size: int,
    dtype: torch.dtype,
    requests: tuple[tuple[int, int], ...],
) -> Batch:
    """Return requests of so many tokens, of which so many are new."""
    lengths, new = zip(*requests, strict=True)
    keys, values = (
        tuple(normal(length, kv_heads, size, dtype=dtype) for length in lengths) for _ in range(2)
    )
    blocks = [-(-length // BLOCK) for length in lengths]
    order = torch.randperm(sum(blocks) + 1)
    caches = [normal(len(order), BLOCK, kv_heads, size, dtype=dtype) for _ in range(2)]
    table = torch.zeros(len(lengths), max(blocks), dtype=torch.int32)
    taken = iter(order.tolist())
    for number, length in enumerate(lengths):
        for place in range(blocks[number]):
            block = next(taken)
            table[number, place] = block
            part = slice(place * BLOCK, min((place + 1) * BLOCK, length))
            for cache, content in zip(caches, (keys, values), strict=True):
                cache[block, : part.stop - part.start] = content[number][part]
    return Batch(
        heads=heads,
        kv_heads=kv_heads,
        size=size,
        dtype=dtype,
        lengths=lengths,
        new=new,
        query=normal(sum(new), heads, size, dtype=dtype),
        keys=keys,
        values=values,
        key_cache=caches[0],
        value_cache=caches[1],
        table=table,
        starts=torch.tensor([0, *torch.tensor(new).cumsum(0).tolist()], dtype=torch.int32),
    )


def unified(given: Batch, *, window: int = 0, cap: float = 0.0, segments: int = 0) -> torch.Tensor:
    """Return what vLLM's unified attention gives; in so many segments that are then reduced."""
    from vllm.v1.attention.ops.triton_unified_attention import unified_attention

    result = torch.zeros_like(given.query)
    parts: dict[str, Any] = {}
    if segments:
        padded = 1 << (given.size - 1).bit_length()
        shape = (len(given.lengths), given.heads, segments)
        parts = {
            "seq_threshold_3D": len(given.lengths),
            "num_par_softmax_segments": segments,
            "softmax_segm_output": torch.zeros(*shape, padded, dtype=torch.float32),
            "softmax_segm_max": torch.zeros(shape, dtype=torch.float32),
            "softmax_segm_expsum": torch.zeros(shape, dtype=torch.float32),
        }
    unified_attention(
        q=given.query,
        k=given.key_cache,
        v=given.value_cache,
        out=result,
        cu_seqlens_q=given.starts,
        max_seqlen_q=max(given.new),
        seqused_k=torch.tensor(given.lengths, dtype=torch.int32),
        max_seqlen_k=max(given.lengths),
        softmax_scale=given.size**-0.5,
        causal=True,
        window_size=(window - 1, 0) if window else (-1, -1),
        block_table=given.table,
        softcap=cap,
        q_descale=None,
        k_descale=torch.ones(len(given.lengths), given.kv_heads),
        v_descale=torch.ones(len(given.lengths), given.kv_heads),
        **parts,
    )
    return result


MIXED = ((37, 37), (50, 1), (20, 4))
DECODE = ((37, 1), (50, 1), (70, 1))


def attention() -> Iterator[Try]:
    """Yield unified attention, in two and in three dimensions.

    In float16, as the interpreter multiplies the bits of bfloat16 as whole numbers.
    """
    for heads, kv_heads, size, dtype in (
        (4, 1, 64, torch.float16),
        (4, 4, 80, torch.float16),
        (4, 2, 128, torch.float16),
    ):
        shape = f"{heads}/{kv_heads} heads of {size}"
        given = batch(heads=heads, kv_heads=kv_heads, size=size, dtype=dtype, requests=MIXED)
        yield Try(
            name="kernel_unified_attention",
            given=f"{shape}, prefill and decode",
            dtype=dtype,
            found=unified(given),
            reference=given.attention(),
        )
        given = batch(heads=heads, kv_heads=kv_heads, size=size, dtype=dtype, requests=DECODE)
        yield Try(
            name="reduce_segments",
            given=f"{shape}, decode in 4 segments",
            dtype=dtype,
            found=unified(given, segments=4),
            reference=given.attention(),
        )
    given = batch(heads=2, kv_heads=1, size=64, dtype=torch.float16, requests=MIXED)
    yield Try(
        name="kernel_unified_attention",
        given="a window of 24 tokens and capped scores",
        dtype=torch.float16,
        found=unified(given, window=24, cap=20.0),
        reference=given.attention(window=24, cap=20.0),
    )


def caching() -> Iterator[Try]:
    """Yield the writing of new keys and values to the cache."""
    from vllm.v1.attention.ops.triton_reshape_and_cache_flash import triton_reshape_and_cache_flash

    for dtype in (torch.bfloat16, torch.float16):
        keys, values = (normal(21, 2, 64, dtype=dtype) for _ in range(2))
        slots = torch.randperm(6 * BLOCK)[:21].to(torch.int64)
        slots[5] = -1  # a padded token
        caches = [torch.zeros(6, BLOCK, 2, 64, dtype=dtype) for _ in range(2)]
        triton_reshape_and_cache_flash(
            keys, values, *caches, slots, "auto", torch.ones(1), torch.ones(1)
        )
        references = [torch.zeros(6 * BLOCK, 2, 64, dtype=dtype) for _ in range(2)]
        for reference, content in zip(references, (keys, values), strict=True):
            reference[slots[slots >= 0]] = content[slots >= 0]
        yield Try(
            name="reshape_and_cache_kernel_flash",
            given="21 tokens, one of them padded",
            dtype=dtype,
            found=torch.stack(caches).flatten(1, 2),
            reference=torch.stack(references),
        )


def merging() -> Iterator[Try]:
    """Yield the merge of attention over a prefix and over a suffix."""
    from vllm.v1.attention.ops.triton_merge_attn_states import merge_attn_states

    dtype = torch.bfloat16
    parts = [normal(9, 4, 96, dtype=dtype) for _ in range(2)]
    sums = [torch.randn(4, 9) for _ in range(2)]
    sums[0][1, 2] = float("-inf")  # nothing in the prefix
    found = torch.zeros_like(parts[0])
    merge_attn_states(found, parts[0], sums[0], parts[1], sums[1])
    shares = torch.stack(sums).double().softmax(dim=0).transpose(1, 2)[..., None]
    yield Try(
        name="merge_attn_states_kernel",
        given="9 tokens, 4 heads of 96",
        dtype=dtype,
        found=found,
        reference=(torch.stack(parts).double() * shares).sum(dim=0),
    )


def prefixed() -> Iterator[Try]:
    """Yield attention over a cached prefix and new tokens, as for vLLM's ROCM_ATTN."""
    from vllm.v1.attention.ops.prefix_prefill import context_attention_fwd

    dtype = torch.float16
    given = batch(heads=4, kv_heads=2, size=64, dtype=dtype, requests=((40, 12), (33, 33), (18, 5)))
    each = 16 // dtype.itemsize
    key_cache = given.key_cache.permute(0, 2, 3, 1).unflatten(2, (64 // each, each))
    new = [
        torch.cat([part[number][-count:] for number, count in enumerate(given.new)])
        for part in (given.keys, given.values)
    ]
    found = torch.zeros_like(given.query)
    context_attention_fwd(
        given.query,
        *new,
        found,
        "auto",
        key_cache.permute(0, 1, 2, 4, 3).contiguous(),
        given.value_cache.permute(0, 2, 3, 1).contiguous(),
        given.table,
        given.starts,
        torch.tensor(given.lengths, dtype=torch.int32),
        max(given.lengths),
        max(given.new),
        torch.ones(1),
        torch.ones(1),
    )
    yield Try(
        name="_fwd_kernel",
        given="4/2 heads of 64, a prefix in the cache",
        dtype=dtype,
        found=found,
        reference=given.attention(),
    )


def sampling() -> Iterator[Try]:
    """Yield what the sampler does to logits.

    Not its choice of the most likely: there the interpreter hands an `int` to a kernel that calls
    a method of a scalar of Triton's.
    """
    from vllm.v1.worker.gpu.sample.gumbel import apply_temperature
    from vllm.v1.worker.gpu.sample.min_p import apply_min_p

    dtype = torch.float32
    logits = torch.stack([torch.randperm(2048) for _ in range(4)]).to(dtype) / 64
    rows, least = torch.arange(4, dtype=torch.int32), torch.tensor([0.0, 0.1, 0.5, 0.9])
    found = logits.clone()
    apply_min_p(found, rows, least)
    below = logits.double().softmax(dim=-1)
    below = below < least[:, None] * below.amax(dim=-1, keepdim=True)
    yield Try(
        name="_min_p_kernel",
        given="4 rows of 2048",
        dtype=dtype,
        found=found,
        reference=logits.masked_fill(below, float("-inf")),
    )
    found, heat = logits.clone(), torch.tensor([0.0, 1.0, 0.7, 2.0])
    apply_temperature(found, rows, heat)
    yield Try(
        name="_temperature_kernel",
        given="4 rows of 2048",
        dtype=dtype,
        found=found,
        reference=logits.double() / torch.where(heat == 0, 1.0, heat).double()[:, None],
    )


def experts() -> Iterator[Try]:
    """Yield a product with the matrices of a mixture's experts."""
    from vllm.model_executor.layers.fused_moe.fused_moe import invoke_fused_moe_triton_kernel
    from vllm.triton_utils import tl

    dtype, tokens, count, most, size = torch.float16, 10, 4, 2, 16
    x, weights = normal(tokens, 64, dtype=dtype), normal(count, 32, 64, dtype=dtype) / 8
    chosen = torch.stack([torch.randperm(count)[:most] for _ in range(tokens)]).to(torch.int32)
    shares = torch.rand(tokens, most)
    places, owners = [], []
    for expert in range(count):
        mine = (chosen.flatten() == expert).nonzero().flatten().tolist()
        padded = -(-len(mine) // size) * size
        places += mine + [tokens * most] * (padded - len(mine))
        owners += [expert] * (padded // size)
    found = torch.zeros(tokens, most, 32, dtype=dtype)
    invoke_fused_moe_triton_kernel(
        x,
        weights,
        found,
        None,
        None,
        shares,
        torch.tensor(places, dtype=torch.int32),
        torch.tensor(owners, dtype=torch.int32),
        torch.tensor([len(places)], dtype=torch.int32),
        True,
        most,
        {"BLOCK_SIZE_M": size, "BLOCK_SIZE_N": 32, "BLOCK_SIZE_K": 32, "GROUP_SIZE_M": 1},
        compute_type=tl.float16,
        use_fp8_w8a8=False,
        use_int8_w8a8=False,
        use_int8_w8a16=False,
        use_int4_w4a16=False,
        per_channel_quant=False,
    )
    reference = torch.einsum("tk,tenk->ten", x.double(), weights.double()[chosen.long()])
    yield Try(
        name="fused_moe_kernel",
        given="10 tokens, two of four experts each",
        dtype=dtype,
        found=found,
        reference=reference * shares.double()[..., None],
    )


ALL: tuple[Callable[[], Iterator[Try]], ...] = (
    attention,
    caching,
    merging,
    prefixed,
    sampling,
    experts,
)


def main() -> int:
    """Try everything, and return the exit code."""
    likeness.take_on("gfx90a")
    likeness.import_platform()
    spoilt = sys.argv[sys.argv.index("--spoil") + 1] if "--spoil" in sys.argv else None
    good = True
    for group in ALL:
        torch.manual_seed(7)
        for each in group():
            if each.name == spoilt:
                each.found.flatten()[0] += 1
            error = each.error()
            good &= error <= 1
            said = {
                "kernel": each.name,
                "given": each.given,
                "type": str(each.dtype).rpartition(".")[2],
                "error": error,
            }
            sys.stdout.write(json.dumps(said) + "\n")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
