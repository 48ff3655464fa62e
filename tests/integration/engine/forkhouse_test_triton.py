"""Attention by vLLM's own Triton backend, whose kernels Triton's interpreter runs on the CPU.

The backend, its metadata, its KV cache and its kernels are vLLM's. See `install` for what is not.
"""

from __future__ import annotations

import os
from typing import Any

BACKEND = "vllm.v1.attention.backends.triton_attn.TritonAttentionBackend"
MODULES = (
    "vllm.v1.attention.backends.triton_attn",
    "vllm.v1.attention.ops.triton_unified_attention",
    "vllm.v1.attention.ops.triton_reshape_and_cache_flash",
)


def install() -> None:
    """Let the platform choose the backend, and its modules take the platform for ROCm."""
    from importlib import import_module

    from vllm.platforms import current_platform
    from vllm.triton_utils import HAS_TRITON

    if not HAS_TRITON or os.environ.get("TRITON_INTERPRET") != "1":
        message = "vLLM found no Triton for the CPU, or kernels are not to be interpreted."
        raise RuntimeError(message)
    type(current_platform).get_attn_backend_cls = classmethod(lambda *_, **__: BACKEND)
    for name in MODULES:
        module: Any = import_module(name)
        module.current_platform = _Rocm(current_platform)


class _Rocm:
    """The platform, but for what it calls itself: launches have the options that they have on ROCm."""

    def __init__(self, platform: Any) -> None:
        self._platform = platform

    def __getattr__(self, name: str) -> Any:
        return getattr(self._platform, name)

    def is_rocm(self) -> bool:
        return True
