"""A plug-in for vLLM that lets emulated kernels for gfx90a compute the layers of a dense model.

It is loaded through vLLM's own entry point, from a folder on PYTHONPATH. Norms, rotary embedding
and activation are vLLM's HIP kernels, attention is vLLM's in Triton. Products of matrices stay
those of the engine on the CPU. It reads:

FORKHOUSE_EMULATED_PACKAGES   a folder of packages that are taken where the engine's own lack
FORKHOUSE_EMULATED_OBJECTS    the folder of vLLM's compiled HIP kernels
FORKHOUSE_EMULATED_LAUNCHES   a file that gets a line for each launch, as JSON
FORKHOUSE_TEST_VERSION        the version that vLLM gives itself
"""

from __future__ import annotations

import functools
import json
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def register() -> None:
    """Take the place of vLLM's operations; vLLM calls it in each of its processes."""
    packages = os.environ["FORKHOUSE_EMULATED_PACKAGES"]
    if packages not in sys.path:
        sys.path.append(packages)
    vllm: Any = import_module("vllm")
    vllm.__version__ = os.environ["FORKHOUSE_TEST_VERSION"]
    platforms: Any = import_module("vllm.platforms")
    type(platforms.current_platform).get_attn_backend_cls = classmethod(
        lambda *_, **__: "forkhouse_emulated_attention.EmulatedBackend"
    )
    layers = "vllm.model_executor.layers"
    for place, name, function in (
        ("layernorm", "RMSNorm", _norm),
        ("rotary_embedding.base", "RotaryEmbedding", _rotate),
        ("activation", "SiluAndMul", _activate),
    ):
        kind: Any = getattr(import_module(f"{layers}.{place}"), name)
        kind.forward = _where_emulated(function, kind.forward)


def emulating() -> bool:
    """Say whether a request is computed: warming up is left to the CPU's own operations."""
    context: Any = import_module("vllm.forward_context")
    return bool(
        context.is_forward_context_available()
        and context.get_forward_context().attn_metadata is not None
    )


@functools.cache
def operations() -> Any:
    """Return the emulated operations of this process."""
    from triton.runtime.driver import driver

    from tests.emulation import vllm_attention
    from tests.emulation.emulated_triton import the_device
    from tests.emulation.vllm_operations import AllEmulated

    emulated = the_device()
    driver.set_active(emulated)
    vllm: Any = import_module("vllm")
    attention, writing = vllm_attention.load_beside(Path(vllm.__file__).parents[1])
    objects = Path(os.environ["FORKHOUSE_EMULATED_OBJECTS"])
    return AllEmulated(objects, attention, emulated, writing=writing)


def note() -> None:
    """Write down what was launched since the last time."""
    launched = operations().launched
    lines = [
        json.dumps(
            {
                "kernel": each.kernel,
                "instructions": each.instructions,
                "operations": sorted(each.operations),
                "seconds": each.seconds,
            }
        )
        for each in launched
    ]
    launched.clear()
    with Path(os.environ["FORKHOUSE_EMULATED_LAUNCHES"]).open("a", encoding="utf-8") as file:
        file.write("".join(f"{line}\n" for line in lines))


def _where_emulated(function: Any, original: Any) -> Any:
    def forward(self: Any, *given: Any) -> Any:
        if not emulating():
            return original(self, *given)
        found = function(self, *given)
        note()
        return found

    return forward


def _norm(self: Any, x: torch.Tensor, residual: torch.Tensor | None = None) -> Any:
    weight, epsilon = self.weight.data, self.variance_epsilon
    if residual is None:
        return operations().rms_norm(x, weight, epsilon)
    operations().fused_add_rms_norm(x, residual, weight, epsilon)
    return x, residual


def _rotate(self: Any, positions: torch.Tensor, query: torch.Tensor, key: torch.Tensor) -> Any:
    heads = [each.view(len(each), -1, self.head_size) for each in (query, key)]
    operations().rotary_embedding(positions, *heads, self.cos_sin_cache)
    return query, key


def _activate(self: Any, x: torch.Tensor) -> Any:
    return operations().silu_and_mul(x)
