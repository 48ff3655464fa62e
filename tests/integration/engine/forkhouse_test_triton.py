"""Attention by vLLM's own Triton backend, whose kernels Triton's interpreter runs on the CPU.

Backend, metadata, KV cache, kernels and their launches are vLLM's. What is not: the platform, which
would choose its own attention, is told this backend's name; the backend's modules are told that the
platform is ROCm, whose launches ask no driver of NVIDIA's; and Triton finds a back end by the name
of cpu (the folder `triton` beside this file), without which vLLM for the CPU takes Triton for
absent.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any

BACKEND = "vllm.v1.attention.backends.triton_attn.TritonAttentionBackend"
MODULES = (
    "vllm.v1.attention.backends.triton_attn",
    "vllm.v1.attention.ops.triton_unified_attention",
    "vllm.v1.attention.ops.triton_reshape_and_cache_flash",
)


def install(*, without: str | None) -> None:
    """Let the platform choose the backend.

    The launches of the kernel `without` are left out. Raises RuntimeError where vLLM found no
    Triton, or kernels are not interpreted.
    """
    from vllm.platforms import current_platform
    from vllm.triton_utils import HAS_TRITON

    if not HAS_TRITON or os.environ.get("TRITON_INTERPRET") != "1":
        message = (
            f"Triton's attention is to be interpreted, and vLLM has Triton: {HAS_TRITON}, "
            f"TRITON_INTERPRET: {os.environ.get('TRITON_INTERPRET')}. Put the folder `triton` on "
            "PYTHONPATH, and set TRITON_INTERPRET=1."
        )
        raise RuntimeError(message)
    type(current_platform).get_attn_backend_cls = classmethod(lambda *_, **__: BACKEND)
    for name in MODULES:
        module: Any = import_module(name)
        module.current_platform = _Rocm(current_platform)
    _tell_launches(without)


class _Rocm:
    """A platform that calls itself ROCm, and is another in all else."""

    def __init__(self, platform: Any) -> None:
        self._platform = platform

    def __getattr__(self, name: str) -> Any:
        return getattr(self._platform, name)

    def is_rocm(self) -> bool:
        """Say so."""
        return True


def _tell_launches(without: str | None) -> None:
    """Name each kernel in the log when it is interpreted for the first time."""
    from triton.runtime.interpreter import InterpretedFunction

    original, told = InterpretedFunction.run, set[str]()

    def run(self: Any, *positional: Any, **named: Any) -> Any:
        name = self.fn.__name__
        if name == without:
            return None
        if name not in told:
            told.add(name)
            sys.stderr.write(f"interpreted: {name}\n")
        return original(self, *positional, **named)

    InterpretedFunction.run = run
