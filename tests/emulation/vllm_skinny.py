"""vLLM's own products for AMD GPUs of a few rows with weights, against PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tests.emulation.vllm_kernels import ATEN, BF16, F16, HIP, Result, rounded
from tests.emulation.vllm_sampler import far, step_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.emulation.vllm_kernels import Kernels

_WAVES = 16
_LDS = 65536
"""Bytes of LDS, in which these kernels keep the rows."""


def _numbers(kind: Any, rows: int, wide: int, depth: int) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(rows * depth + wide)
    x, weights = torch.randn(rows, depth), torch.randn(wide, depth) * depth**-0.5
    return x.to(kind), weights.to(kind), torch.randn(wide).to(kind)


def few_rows(
    kernels: Kernels, kind: Any, *, rows: int, wide: int, depth: int, processors: int
) -> Result:
    """Multiply rows with weights and add a bias, by the kernel that vLLM takes for their sizes."""
    x, weights, bias = _numbers(kind, rows, wide, depth)
    out = torch.zeros(rows, wide, dtype=kind)
    each = -(-wide // (processors * 4))
    fits = depth * rows <= _LDS // 2
    if each <= 1:
        tile, unrolled = 1, 4
    elif rows == 1 or not fits or each <= 8:
        tile, unrolled = 2, 2
    elif each <= 12:
        tile, unrolled = 3, 2
    else:
        tile, unrolled = 4, 1 if rows == 4 else 2
    if fits and wide % tile == 0:
        form = "sml_"
    else:
        form = "" if depth * rows <= _LDS // 2 * 1.2 else "big_"
    # As few waves of a workgroup as need no more rounds than all of them.
    rounds = [-(-wide // (processors * tile * waves)) for waves in range(1, _WAVES + 1)]
    waves = max(rounds.index(rounds[-1]) + 1, _WAVES - 12)
    report = kernels.run(
        rf"wvSplitK_hf_{form}I{HIP[kind]}Li64ELi{tile}ELi16ELi8ELi{unrolled}ELi{rows}E",
        processors, (64, _WAVES, 1), np.int32(depth), np.int32(depth), np.int32(depth),
        np.int32(wide), np.int32(wide), np.int32(1), weights, x, bias, out, np.int32(waves),
        np.int32(processors),
    )  # fmt: skip
    right = x.double() @ weights.double().T + bias.double()
    shape = f"{rows}x{depth}x{wide}, {form.strip('_') or 'medium'}"
    return Result(report, far(out, right), rounded(right, kind), shape)


def one_row(kernels: Kernels, kind: Any) -> Result:
    """Multiply a row with weights."""
    wide, depth, each = 32, 1000, 4
    x, weights, _ = _numbers(kind, 1, wide, depth)
    out = torch.zeros(1, wide, dtype=kind)
    threads = max(each * 16, -(-(depth // 8) // 64) * 64)
    report = kernels.run(
        rf"LLGemm1_kernelI{ATEN[kind]}Li{each}E", wide // each, threads, weights, x, out,
        np.int32(depth),
    )  # fmt: skip
    right = x.double() @ weights.double().T
    # Four products of each lane are added up in the type itself. How they are rounded does not
    # depend on each other, so their errors add up as squares do.
    squares = x.double() ** 2 @ (weights.double() ** 2).T
    allowed = step_of(kind) * float(right.abs().max() + 4 * squares.max() ** 0.5)
    return Result(report, far(out, right), allowed, f"{depth}x{wide}")


def _sized(rows: int, wide: int, depth: int, processors: int) -> Callable[..., Result]:
    def case(kernels: Kernels, kind: Any) -> Result:
        return few_rows(kernels, kind, rows=rows, wide=wide, depth=depth, processors=processors)

    return case


KINDS = (F16, BF16)
CASES: dict[str, Callable[..., Result]] = {
    "LLMM1": one_row,
    "wvSplitK, one row": _sized(1, 20, 1032, 2),
    "wvSplitK, three rows": _sized(3, 30, 520, 2),
    "wvSplitK, four rows": _sized(4, 56, 512, 1),
    "wvSplitK, an odd width": _sized(2, 37, 520, 2),
    "wvSplitK, more than LDS has room for": _sized(5, 7, 8192, 1),
}
"""By name: what runs the kernel of skinny_gemms."""
