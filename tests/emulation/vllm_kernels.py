"""Run vLLM's own HIP kernels, as compiled for gfx90a, and compare with PyTorch.

Each case gives the kernel numbers as vLLM's host code does, and returns the largest error beside
the error that the type allows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from forkhouse.emulation.finding import code_in
from forkhouse.emulation.launching import Report, launch
from tests.emulation.emulated_triton import inside

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BF16, F32 = torch.bfloat16, torch.float32


@dataclass(frozen=True)
class Result:
    """What a kernel did, and how far it is from PyTorch."""

    report: Report
    error: float
    allowed: float
    shape: str


class Kernels:
    """The kernels of one object file."""

    def __init__(self, path: Path) -> None:
        self._found = code_in(path, "gfx90a")

    def run(self, pattern: str, grid: int, block: int, *values: Any) -> Report:
        """Run the one kernel whose linker's name has the pattern."""
        named = [
            (code, name)
            for code in self._found
            for name in code.image.kernels
            if re.search(pattern, name)
        ]
        assert named, pattern
        code, name = named[0]
        return launch(
            code.image, name, grid=(grid, 1, 1), block=(block, 1, 1), arguments=list(given(values))
        )


def given(values: tuple[Any, ...]) -> list[Any]:
    return [inside(each) if isinstance(each, torch.Tensor) else each for each in values]


def far(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a.double() - b.double()).abs().max())


def rms_norm(kernels: Kernels) -> Result:
    torch.manual_seed(1)
    rows, size = 3, 512
    x, weight = torch.randn(rows, size).to(BF16), torch.randn(size).to(BF16)
    out = torch.zeros_like(x)
    report = kernels.run(
        r"rms_norm_kernelIN3c108BFloat16ELi8ELi2ELb1E", rows, 256, out, x, np.int64(size),
        np.int64(0), np.int64(0), np.int64(0), np.int64(0), weight, np.int64(0),
        np.float32(1e-5), np.int32(rows), np.int32(size),
    )  # fmt: skip
    wide = x.double()
    right = wide * torch.rsqrt((wide * wide).mean(1, keepdim=True) + 1e-5) * weight.double()
    return Result(report, far(out, right), float(right.abs().max()) * 2**-8, f"{rows}x{size} bf16")


def fused_add_rms_norm(kernels: Kernels) -> Result:
    torch.manual_seed(2)
    rows, size = 3, 512
    x, residual = torch.randn(rows, size).to(BF16), torch.randn(rows, size).to(BF16)
    weight = torch.randn(size).to(BF16)
    total = x.double() + residual.double()
    right = total * torch.rsqrt((total * total).mean(1, keepdim=True) + 1e-5) * weight.double()
    report = kernels.run(
        r"fused_add_rms_norm_kernelIN3c108BFloat16ELi8ELb1E", rows, 256, x, np.int64(size),
        residual, weight, np.float32(1e-5), np.int32(rows), np.int32(size), np.int64(size),
    )  # fmt: skip
    error = max(far(x, right), far(residual, total))
    # The sum is rounded to bf16 before it is normed.
    return Result(report, error, float(right.abs().max()) * 2**-7, f"{rows}x{size} bf16")


def rotary(kernels: Kernels) -> Result:
    torch.manual_seed(3)
    tokens, heads, kv_heads, size = 5, 4, 2, 64
    query, key = torch.randn(tokens, heads, size), torch.randn(tokens, kv_heads, size)
    angles = torch.outer(torch.arange(32.0), 10000 ** (-torch.arange(0, size, 2) / size))
    cache = torch.cat([angles.cos(), angles.sin()], dim=-1)
    positions = torch.tensor([0, 3, 7, 1, 30])
    cos, sin = angles[positions].cos()[:, None], angles[positions].sin()[:, None]

    def turned(each: torch.Tensor) -> torch.Tensor:
        first, second = each[..., : size // 2], each[..., size // 2 :]
        return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)

    right = turned(query), turned(key)
    report = kernels.run(
        r"rotary_embedding_kernelIffLb1E", tokens, 128, positions, query, key, cache,
        np.int32(size), np.int64(heads * size), np.int64(kv_heads * size), np.int64(size),
        np.int32(heads), np.int32(kv_heads), np.int32(size), np.int64(0), np.int8(0),
    )  # fmt: skip
    error = max(far(query, right[0]), far(key, right[1]))
    return Result(report, error, 1e-6, f"{tokens} tokens, {heads}+{kv_heads} heads of {size}, f32")


def silu_and_mul(kernels: Kernels) -> Result:
    torch.manual_seed(4)
    rows, size = 3, 256
    x, out = torch.randn(rows, 2 * size).to(BF16), torch.zeros(rows, size, dtype=BF16)
    report = kernels.run(
        r"act_and_mul_kernelIN3c108BFloat16E.*silu_kernel.*Lb1ELb1ELb0ELb0EEEv", rows, 64, out, x,
        np.int32(size), np.float32(0), np.float32(1), np.float32(0),
    )  # fmt: skip
    first, second = x[:, :size].float(), x[:, size:].float()
    right = torch.nn.functional.silu(first).to(BF16).float() * second
    return Result(report, far(out, right), float(right.abs().max()) * 2**-8, f"{rows}x{size} bf16")


def reshape_and_cache_flash(kernels: Kernels) -> Result:
    torch.manual_seed(5)
    tokens, heads, size, block, blocks = 5, 2, 64, 16, 4
    key, value = (torch.randn(tokens, heads, size).to(BF16) for _ in range(2))
    cache = [torch.zeros(blocks, block, heads, size, dtype=BF16) for _ in range(2)]
    slots = torch.tensor([3, 17, -1, 40, 63])
    scale = torch.ones(1)
    report = kernels.run(
        r"reshape_and_cache_flash_kernelI14__hip_bfloat16S1_", tokens, 128, key, value, *cache,
        slots, np.int64(block * heads * size), np.int64(heads * size), np.int64(size),
        np.int64(heads * size), np.int64(heads * size), np.int32(heads), np.int32(size),
        np.int32(block), scale, scale, np.int32(0),
    )  # fmt: skip
    wanted = [torch.zeros_like(each) for each in cache]
    for token, slot in enumerate(slots.tolist()):
        if slot >= 0:
            for target, source in zip(wanted, (key, value), strict=True):
                target[slot // block, slot % block] = source[token]
    error = max(far(ours, right) for ours, right in zip(cache, wanted, strict=True))
    return Result(report, error, 0.0, f"{tokens} tokens, {heads} heads of {size}, bf16")


CASES: dict[str, tuple[str, Callable[[Kernels], Result]]] = {
    "rms_norm": ("layernorm_kernels", rms_norm),
    "fused_add_rms_norm": ("layernorm_kernels", fused_add_rms_norm),
    "rotary_embedding": ("pos_encoding_kernels", rotary),
    "silu_and_mul": ("activation_kernels", silu_and_mul),
    "reshape_and_cache_flash": ("cache_kernels", reshape_and_cache_flash),
}
"""By name: the source that the kernel is in, and what runs it."""
