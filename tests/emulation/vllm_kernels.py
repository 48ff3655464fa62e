"""Run vLLM's own HIP kernels, as compiled for gfx90a, and compare with PyTorch.

Each case gives the kernel numbers of a type as vLLM's host code does, and returns the largest error
beside the error that the type allows.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from forkhouse.emulation.finding import code_in
from forkhouse.emulation.launching import Report, launch
from tests.emulation.emulated_triton import inside
from tests.emulation.vllm_sampler import far, step_of

if TYPE_CHECKING:
    from pathlib import Path

BF16, F16, F32 = torch.bfloat16, torch.float16, torch.float32
ATEN = {F32: "f", F16: "N3c104HalfE", BF16: "N3c108BFloat16E"}
"""Types as PyTorch's have them, as they stand in the linker's names."""
STORED = {F32: "ff", F16: "tt", BF16: "14__hip_bfloat16S1_"}
"""What is written and what it is written as, as caches and merged states have it."""
HIP = {F32: "f", F16: "6__half", BF16: "14__hip_bfloat16"}
SHORT = {F32: "f32", F16: "f16", BF16: "bf16", torch.int32: "i32"}
LANES = 16
"""Bytes that vLLM's kernels read at once."""


@dataclass(frozen=True)
class Result:
    """What kernels did, and how far it is from PyTorch."""

    report: Report | list[Report]
    error: float
    allowed: float
    shape: str


Case = Callable[..., Result]
"""Takes the kernels of an object file and a type."""


class Kernels:
    """The kernels of one object file."""

    def __init__(self, path: Path) -> None:
        self._found = code_in(path, "gfx90a")

    def run(
        self,
        pattern: str,
        grid: int | tuple[int, int, int],
        block: int | tuple[int, int, int],
        *values: Any,
        dynamic_lds: int = 0,
    ) -> Report:
        """Run the one kernel whose linker's name has the pattern."""
        named = [
            (code, name)
            for code in self._found
            for name in code.image.kernels
            if re.search(pattern, name)
        ]
        assert len(named) == 1, (pattern, [name for _, name in named])
        ((code, name),) = named
        return launch(
            code.image,
            name,
            grid=grid if isinstance(grid, tuple) else (grid, 1, 1),
            block=block if isinstance(block, tuple) else (block, 1, 1),
            arguments=list(given(values)),
            dynamic_lds=dynamic_lds,
        )


def given(values: tuple[Any, ...]) -> list[Any]:
    return [inside(each) if isinstance(each, torch.Tensor) else each for each in values]


def rounded(right: torch.Tensor, kind: Any, *, times: int = 1, exact: float = 5e-7) -> float:
    """Return the error of rounding results to a type, so many times, and of sums in f32."""
    return (times * step_of(kind) * 1.01 + exact) * max(1.0, float(right.abs().max()))


def rms_norm(kernels: Kernels, kind: Any = BF16) -> Result:
    torch.manual_seed(1)
    rows, size, wide = 3, 512, LANES // kind.itemsize
    x, weight = torch.randn(rows, size).to(kind), torch.randn(size).to(kind)
    out = torch.zeros_like(x)
    report = kernels.run(
        rf"rms_norm_kernelI{ATEN[kind]}Li{wide}ELi2ELb1E", rows, 256, out, x, np.int64(size),
        np.int64(0), np.int64(0), np.int64(0), np.int64(0), weight, np.int64(0),
        np.float32(1e-5), np.int32(rows), np.int32(size),
    )  # fmt: skip
    x = x.double()
    right = x * torch.rsqrt((x * x).mean(1, keepdim=True) + 1e-5) * weight.double()
    return Result(report, far(out, right), rounded(right, kind), f"{rows}x{size}")


def fused_add_rms_norm(kernels: Kernels, kind: Any = BF16) -> Result:
    torch.manual_seed(2)
    rows, size = 3, 512
    x, residual = torch.randn(rows, size).to(kind), torch.randn(rows, size).to(kind)
    weight = torch.randn(size).to(kind)
    total = x.double() + residual.double()
    right = total * torch.rsqrt((total * total).mean(1, keepdim=True) + 1e-5) * weight.double()
    report = kernels.run(
        rf"fused_add_rms_norm_kernelI{ATEN[kind]}Li{8 if kind != F32 else 0}ELb1E", rows, 256, x,
        np.int64(size), residual, weight, np.float32(1e-5), np.int32(rows), np.int32(size),
        np.int64(size),
    )  # fmt: skip
    error = max(far(x, right), far(residual, total))
    # The sum is rounded before it is normed.
    return Result(report, error, rounded(right, kind, times=2), f"{rows}x{size}")


def rotary(kernels: Kernels, kind: Any = F32) -> Result:
    torch.manual_seed(3)
    tokens, heads, kv_heads, size = 5, 4, 2, 64
    query, key = torch.randn(tokens, heads, size), torch.randn(tokens, kv_heads, size)
    query, key = query.to(kind), key.to(kind)
    angles = torch.outer(torch.arange(32.0), 10000 ** (-torch.arange(0, size, 2) / size))
    cache = torch.cat([angles.cos(), angles.sin()], dim=-1).to(kind)
    positions = torch.tensor([0, 3, 7, 1, 30])
    cos, sin = (each[:, None].double() for each in cache[positions].chunk(2, dim=-1))

    def turned(each: torch.Tensor) -> torch.Tensor:
        first, second = each.double()[..., : size // 2], each.double()[..., size // 2 :]
        return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)

    right = turned(query), turned(key)
    report = kernels.run(
        rf"rotary_embedding_kernelI{ATEN[kind]}{'S2_' if kind != F32 else 'f'}Lb1E", tokens, 128,
        positions, query, key, cache,
        np.int32(size), np.int64(heads * size), np.int64(kv_heads * size), np.int64(size),
        np.int32(heads), np.int32(kv_heads), np.int32(size), np.int64(0), np.int8(0),
    )  # fmt: skip
    error = max(far(query, right[0]), far(key, right[1]))
    # Two products are rounded, and their sum.
    allowed = rounded(torch.cat([each.flatten() for each in right]), kind, times=3)
    return Result(report, error, allowed, f"{tokens} tokens, {heads}+{kv_heads} heads of {size}")


def _gated(name: str, function: Callable[[torch.Tensor], torch.Tensor]) -> Case:
    def case(kernels: Kernels, kind: Any = BF16) -> Result:
        torch.manual_seed(4)
        rows, size = 3, 256
        x, out = torch.randn(rows, 2 * size).to(kind), torch.zeros(rows, size, dtype=kind)
        report = kernels.run(
            rf"act_and_mul_kernelI{ATEN[kind]}.*\d{name}I.*Lb1ELb1ELb0ELb0EEEv", rows,
            size * kind.itemsize // LANES, out, x, np.int32(size), np.float32(0), np.float32(1),
            np.float32(0),
        )  # fmt: skip
        first, second = x[:, :size].double(), x[:, size:].double()
        right = function(first) * second
        # The function's result is rounded, and so is its product.
        return Result(report, far(out, right), rounded(right, kind, times=2), f"{rows}x{size}")

    return case


def _plain(name: str, function: Callable[[torch.Tensor], torch.Tensor]) -> Case:
    def case(kernels: Kernels, kind: Any = BF16) -> Result:
        torch.manual_seed(6)
        rows, size = 3, 256
        x, out = torch.randn(rows, size).to(kind), torch.zeros(rows, size, dtype=kind)
        report = kernels.run(
            rf"17activation_kernelI{ATEN[kind]}.*\d{name}I.*Lb1ELb0EEEv", rows,
            size * kind.itemsize // LANES, out, x, np.int32(size),
        )  # fmt: skip
        right = function(x.double())
        # Some of these functions round on the way.
        return Result(report, far(out, right), rounded(right, kind, times=2), f"{rows}x{size}")

    return case


def reshape_and_cache_flash(kernels: Kernels, kind: Any = BF16) -> Result:
    torch.manual_seed(5)
    tokens, heads, size, block, blocks = 5, 2, 64, 16, 4
    key, value = (torch.randn(tokens, heads, size).to(kind) for _ in range(2))
    cache = [torch.zeros(blocks, block, heads, size, dtype=kind) for _ in range(2)]
    slots = torch.tensor([3, 17, -1, 40, 63])
    scale = torch.ones(1)
    report = kernels.run(
        rf"reshape_and_cache_flash_kernelI{STORED[kind]}", tokens, 128, key, value, *cache,
        slots, np.int64(block * heads * size), np.int64(heads * size), np.int64(size),
        np.int64(heads * size), np.int64(heads * size), np.int32(heads), np.int32(size),
        np.int32(block), scale, scale, np.int32(0),
    )  # fmt: skip
    wanted = _written(cache, (key, value), slots)
    error = max(far(ours, right) for ours, right in zip(cache, wanted, strict=True))
    return Result(report, error, 0.0, f"{tokens} tokens, {heads} heads of {size}")


def reshape_and_cache(kernels: Kernels, kind: Any = BF16) -> Result:
    """Write to pages that are arranged by heads, as AMD's paged attention reads them."""
    torch.manual_seed(7)
    tokens, heads, size, block, blocks = 5, 2, 64, 16, 4
    key, value = (torch.randn(tokens, heads, size).to(kind) for _ in range(2))
    empty = [torch.zeros(blocks, block, heads, size, dtype=kind) for _ in range(2)]
    cache = by_heads(*empty)
    slots, few = torch.tensor([3, 17, -1, 40, 63]), LANES // kind.itemsize
    scale = torch.ones(1)
    report = kernels.run(
        rf"reshape_and_cache_kernelI{STORED[kind]}", tokens, heads * size // few, key, value,
        *cache, slots, np.int32(heads * size), np.int32(heads * size), np.int32(heads),
        np.int32(size), np.int32(block), np.int32(few), scale, scale,
    )  # fmt: skip
    wanted = by_heads(*_written(empty, (key, value), slots))
    error = max(far(ours, right) for ours, right in zip(cache, wanted, strict=True))
    return Result(report, error, 0.0, f"{tokens} tokens, {heads} heads of {size}")


def by_heads(key: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return pages of (block, token, head, number) arranged by heads, tokens last.

    A few numbers of a key, as many as are read at once, stay together behind its token.
    """
    blocks, tokens, heads, size = key.shape
    few = LANES // key.itemsize
    keys = key.view(blocks, tokens, heads, size // few, few).permute(0, 2, 3, 1, 4)
    return keys.contiguous(), value.permute(0, 2, 3, 1).contiguous()


def _written(
    cache: list[torch.Tensor], sources: tuple[torch.Tensor, torch.Tensor], slots: torch.Tensor
) -> list[torch.Tensor]:
    wanted = [torch.zeros_like(each) for each in cache]
    block = cache[0].shape[1]
    for token, slot in enumerate(slots.tolist()):
        if slot >= 0:
            for target, source in zip(wanted, sources, strict=True):
                target[slot // block, slot % block] = source[token]
    return wanted


def merge_attn_states(kernels: Kernels, kind: Any = BF16) -> Result:
    torch.manual_seed(8)
    tokens, heads, size, without = 5, 3, 64, 1
    parts = [torch.randn(tokens, heads, size).to(kind) for _ in range(2)]
    sums = [torch.randn(heads, tokens) * 3 for _ in range(2)]
    sums[0][1, 2] = -torch.inf
    out, total = torch.zeros_like(parts[0]), torch.zeros(heads, tokens)
    items = tokens * heads * size * kind.itemsize // LANES
    strides = [size, size, *[tokens, 1] * 3]
    report = kernels.run(
        rf"merge_attn_states_kernelI{STORED[kind]}Lj128ELb0E", -(-items // 128), 128, out, total,
        parts[0], sums[0], parts[1], sums[1],
        *(np.uint32(each) for each in (tokens, heads, size, *strides, tokens - without)), None,
    )  # fmt: skip
    both = torch.stack(sums).double()
    # The last token has no prefix.
    both[0, :, tokens - without :] = -torch.inf
    shares = both.softmax(0).transpose(1, 2)[..., None]
    right = (shares * torch.stack(parts).double()).sum(0)
    allowed = rounded(right, kind)
    # The sums are of f32 whatever the type is.
    error = max(far(out, right), far(total, both.logsumexp(0)) * allowed / 4e-6)
    return Result(report, error, allowed, f"{tokens} tokens, {heads} heads of {size}")


def apply_repetition_penalties(kernels: Kernels, kind: Any = F32) -> Result:
    torch.manual_seed(9)
    rows, words, tile = 3, 500, 200
    logits = (torch.randn(rows, words) * 3).to(kind)
    seen = [torch.rand(rows, words) < 0.1 for _ in range(2)]
    penalty = torch.tensor([1.2, 1.0, 1.5]).to(kind)
    used = torch.where(seen[0] | seen[1], penalty.double()[:, None], 1.0)
    right = torch.where(logits > 0, logits.double() / used, logits.double() * used)
    report = kernels.run(
        rf"apply_repetition_penalties_kernelI{ATEN[kind]}", (rows, -(-words // tile), 1), tile,
        logits, *seen, penalty, np.int32(rows), np.int32(words), np.int32(tile),
    )  # fmt: skip
    return Result(report, far(logits, right), rounded(right, kind), f"{rows}x{words}")


def topk_softmax(kernels: Kernels, kind: Any = BF16) -> Result:
    """Choose each token's experts; those of a token share a wave with others'."""
    return _chosen(kernels, kind, 64)


def topk_softmax_of_any(kernels: Kernels, kind: Any = BF16) -> Result:
    """Choose among a number of experts that is no power of two, by two kernels."""
    return _chosen(kernels, kind, 60)


def _chosen(kernels: Kernels, kind: Any, experts: int) -> Result:
    torch.manual_seed(10)
    tokens, each = 11, 4
    logits = torch.stack([torch.randperm(experts) for _ in range(tokens)])
    logits = (logits / 8 - 3).to(kind)
    shares, chosen = torch.zeros(tokens, each), torch.zeros(tokens, each, dtype=torch.int32)
    sources = torch.zeros(tokens, each, dtype=torch.int32)
    last = (np.int8(1), None, np.float64(1.5), None)
    limits = (np.int32(each), np.int32(0), np.int32(experts))
    if experts == 64:
        wide = LANES // kind.itemsize
        rows = 4 * 64 // (experts // wide)
        pattern = rf"topkGatingILi{wide}ELi64ELi4ELi16ELi64Ei{HIP[kind]}LNS0_11ScoringFuncE0"
        report: Any = kernels.run(
            pattern, -(-tokens // rows), (64, 4, 1), logits, None, shares, np.int32(tokens),
            chosen, sources, *limits, *last,
        )  # fmt: skip
    else:
        powers = torch.zeros(tokens, experts)
        report = [
            kernels.run(
                rf"moeSoftmaxILi256E{HIP[kind]}E", tokens, 256, logits, None, powers,
                np.int32(experts),
            ),
            kernels.run(
                r"moeTopKILi256EiE", tokens, 256, powers, None, shares, chosen, sources,
                np.int32(experts), *limits, *last,
            ),
        ]  # fmt: skip
    best = logits.double().softmax(1).topk(each, 1)
    right = best.values / best.values.sum(1, keepdim=True) * 1.5
    places = torch.arange(each) * tokens + torch.arange(tokens)[:, None]
    error = max(far(shares, right), far(chosen, best.indices), far(sources, places))
    return Result(report, error, 2e-6, f"{tokens} tokens, {each} of {experts} experts")


def moe_sum(kernels: Kernels, kind: Any = BF16) -> Result:
    torch.manual_seed(11)
    tokens, each, size = 5, 2, 256
    x, out = torch.randn(tokens, each, size).to(kind), torch.zeros(tokens, size, dtype=kind)
    report = kernels.run(
        rf"moe_sum_vec_kernelI{ATEN[kind]}iLi2ELb0E", 2, 256, out, x, np.int64(tokens),
        np.int32(size), np.int64(each * size), np.int64(size), None, None, np.int64(0),
        np.int64(0),
    )  # fmt: skip
    right = x.double().sum(1)
    return Result(report, far(out, right), rounded(right, kind), f"{tokens} tokens, {each}x{size}")


def moe_align_small(kernels: Kernels, kind: Any = torch.int32) -> Result:
    """Put tokens in order of their experts, by one workgroup."""

    def run(chosen: torch.Tensor, experts: int, block: int, *out: torch.Tensor) -> Any:
        threads = max(experts, 64)
        return kernels.run(
            r"moe_align_block_size_small_batch_expert_kernelIiLi256E", 1, 256 + threads, chosen,
            *out, None, np.int32(experts), np.int32(block), np.uint64(chosen.numel()),
            np.int32(out[0].numel()), np.int32(chosen.shape[1]), np.int8(0), None,
            dynamic_lds=4 * ((threads + 1) * experts + experts + 1),
        )  # fmt: skip

    return _aligned(run, 8)


def moe_align(kernels: Kernels, kind: Any = torch.int32) -> Result:
    """Put tokens in order of their experts: count them by one kernel, and sort by another."""

    def run(chosen: torch.Tensor, experts: int, block: int, *out: torch.Tensor) -> Any:
        padded = -(-experts // 64) * 64
        sums = torch.zeros(experts + 1, dtype=torch.int32)
        sizes = (np.int32(out[0].numel()), np.int32(chosen.shape[1]), np.int8(0))
        return [
            kernels.run(
                r"moe27moe_align_block_size_kernelIiE", 2, 1024, chosen, *out, None,
                np.int32(experts), np.int32(padded), np.int32(64), np.int32(block),
                np.uint64(chosen.numel()), sums, *sizes, dynamic_lds=4 * padded,
            ),
            kernels.run(
                r"moe35count_and_sort_expert_tokens_kernelIiE", (1, -(-chosen.numel() // 256), 1),
                256, chosen, out[0], sums, None, np.uint64(chosen.numel()), np.int32(experts),
                *sizes, None,
            ),
        ]  # fmt: skip

    return _aligned(run, 72)


def _aligned(run: Callable[..., Any], experts: int) -> Result:
    torch.manual_seed(12)
    tokens, each, block = 150, 2, 16
    chosen = torch.stack([torch.randperm(experts)[:each] for _ in range(tokens)]).int()
    count = chosen.numel()
    room = count + experts * (block - 1)
    places = torch.full((room,), -7, dtype=torch.int32)
    owners = torch.full((-(-room // block),), -7, dtype=torch.int32)
    total = torch.zeros(1, dtype=torch.int32)
    report = run(chosen, experts, block, places, owners, total)
    flat, error, at = chosen.flatten(), 0.0, 0
    for expert in range(experts):
        mine = (flat == expert).nonzero()[:, 0]
        end = at + -(-mine.numel() // block) * block
        # Their order among each other is not told.
        found = places[at:end].sort().values
        wanted = torch.cat([mine, torch.full((end - at - mine.numel(),), count)])
        owned = owners[at // block : end // block]
        error = max(error, far(found, wanted), far(owned, torch.full_like(owned, expert)))
        at = end
    # Behind the last place no token stands.
    error = max(
        error, float(abs(int(total) - at)), far(places[at:], torch.full((room - at,), count))
    )
    return Result(report, error, 0, f"{tokens} tokens, {each} of {experts} experts")


def _gelu_tanh(x: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.gelu(x, approximate="tanh")


FLOATS = (F16, BF16, F32)
CASES: dict[str, tuple[str, Case, tuple[Any, ...]]] = {
    "rms_norm": ("layernorm_kernels", rms_norm, FLOATS),
    "fused_add_rms_norm": ("layernorm_kernels", fused_add_rms_norm, FLOATS),
    "rotary_embedding": ("pos_encoding_kernels", rotary, FLOATS),
    "silu_and_mul": (
        "activation_kernels", _gated("silu_kernel", torch.nn.functional.silu), FLOATS
    ),
    "gelu_and_mul": (
        "activation_kernels", _gated("gelu_kernel", torch.nn.functional.gelu), FLOATS
    ),
    "gelu_tanh_and_mul": ("activation_kernels", _gated("gelu_tanh_kernel", _gelu_tanh), FLOATS),
    "gelu_new": ("activation_kernels", _plain("gelu_new_kernel", _gelu_tanh), FLOATS),
    "gelu_fast": ("activation_kernels", _plain("gelu_fast_kernel", _gelu_tanh), FLOATS),
    "gelu_quick": (
        "activation_kernels",
        _plain("gelu_quick_kernel", lambda x: x * torch.sigmoid(1.702 * x)),
        FLOATS,
    ),
    "relu_squared": (
        "activation_kernels", _plain("relu_squared_kernel", lambda x: x.relu() ** 2), FLOATS
    ),
    "reshape_and_cache_flash": ("cache_kernels", reshape_and_cache_flash, FLOATS),
    "reshape_and_cache": ("cache_kernels", reshape_and_cache, FLOATS),
    "merge_attn_states": ("attention/merge_attn_states", merge_attn_states, FLOATS),
    "apply_repetition_penalties": ("sampler", apply_repetition_penalties, FLOATS),
    "topk_softmax": ("moe/topk_softmax_kernels", topk_softmax, FLOATS),
    "topk_softmax of any number": ("moe/topk_softmax_kernels", topk_softmax_of_any, FLOATS),
    "moe_sum": ("moe/moe_align_sum_kernels", moe_sum, FLOATS),
    "moe_align_block_size, few": (
        "moe/moe_align_sum_kernels", moe_align_small, (torch.int32,)
    ),
    "moe_align_block_size": ("moe/moe_align_sum_kernels", moe_align, (torch.int32,)),
}  # fmt: skip
"""By name: the source that the kernel is in, what runs it, and the types that it has."""
