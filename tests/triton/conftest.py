"""Kernels as they come out of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from forkhouse.triton.figures import Figures, KernelFigures

if TYPE_CHECKING:
    from collections.abc import Callable

FIGURES: dict[str, Any] = {
    "lds": 16384,
    "vgpr": 118,
    "agpr": 0,
    "sgpr": 40,
    "vgpr_spills": 0,
    "sgpr_spills": 0,
    "scratch": 0,
    "mfma": 40,
    "dots": ("bf16",),
    "occupancy": 4,
    "limited_by": "vgpr",
    "register_occupancy": 4,
    "stated_occupancy": 4,
}


@pytest.fixture
def kernel() -> Callable[..., KernelFigures]:
    """Make a kernel of attention that holds all limits but for what is given."""

    def make(**given: Any) -> KernelFigures:
        figures = {name: given.pop(name, value) for name, value in FIGURES.items()}
        made: dict[str, Any] = {
            "case": "llama",
            "kernel": "vllm.v1.attention.ops.unified.kernel_unified_attention",
            "variant": "aaaa",
            "target": "gfx90a",
            "arguments": {"HEAD_SIZE": "128"},
            "warps": 4,
            "stages": 1,
            "steps": ("one",),
            "seconds": 1.5,
            "folder": "ABC",
            "folders": ("ABC",),
            "figures": Figures(**figures),
            "error": None,
        }
        return KernelFigures(**{**made, **given})

    return make
