"""Attention on a KV cache that lies as on AMD's GPUs, by vLLM's Triton kernels, emulated.

vLLM's own attention on the CPU gives what the kernels need to know of each batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import forkhouse_emulated_engine as engine
from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackend, CPUAttentionBackendImpl
from vllm.v1.kv_cache_layout import KVCacheLayout

from tests.emulation.vllm_operations import Batch

if TYPE_CHECKING:
    import torch


class EmulatedBackend(CPUAttentionBackend):
    """A backend under the name of the one that AMD's GPUs have beside a KV transfer."""

    @staticmethod
    def get_name() -> str:
        """Return the name that goes into the handshake."""
        return "TRITON_ATTN"

    @classmethod
    def supported_kv_cache_layouts(cls) -> tuple[KVCacheLayout, ...]:
        """Return the orders of heads and tokens that the kernels take."""
        return (KVCacheLayout.LBNHC, KVCacheLayout.LBHNC)

    @staticmethod
    def get_impl_cls() -> type[EmulatedImplementation]:
        """Return the class that computes."""
        return EmulatedImplementation


class EmulatedImplementation(CPUAttentionBackendImpl):
    """Writes the cache and reads it by emulated kernels."""

    # Kept by the class, as vLLM asks for it there.
    supports_quant_query_input: ClassVar[bool] = False

    def do_kv_cache_update(
        self,
        layer: Any,
        key: torch.Tensor,
        value: torch.Tensor,
        kv_cache: torch.Tensor,
        slot_mapping: torch.Tensor,
    ) -> None:
        """Write keys and values of new tokens to their slots.

        The cache's logical shape is blocks, heads, tokens, content.
        """
        del layer
        if engine.emulating():
            keys, values = kv_cache.transpose(1, 2).chunk(2, -1)
            engine.operations().write_cache(key, value, keys, values, slot_mapping)
            engine.note()

    def forward(
        self,
        layer: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        kv_cache: torch.Tensor,
        attn_metadata: Any,
        output: torch.Tensor,
        *_: Any,
        **__: Any,
    ) -> torch.Tensor:
        """Return `output` with the attention of every token of the batch."""
        del layer, key, value
        if attn_metadata is None:
            return output
        batch = Batch(
            attn_metadata.query_start_loc, attn_metadata.seq_lens, attn_metadata.block_table
        )
        count = int(batch.starts[-1])
        keys, values = kv_cache.transpose(1, 2).chunk(2, -1)
        mixed = engine.operations().attention(query[:count], keys, values, batch)
        engine.note()
        output[:count] = mixed.reshape(output[:count].shape)
        return output
