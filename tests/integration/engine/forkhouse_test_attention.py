"""Attention in plain PyTorch, on a KV cache whose blocks lie as those of GPUs do.

Keys and values of a token side by side.

vLLM's own attention on the CPU keeps its blocks in an order of the processor's vector unit, which
no GPU has.
"""

from __future__ import annotations

import os
from typing import Any, ClassVar

import torch
from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackend, CPUAttentionBackendImpl
from vllm.v1.kv_cache_layout import KVCacheLayout


class PlainBackend(CPUAttentionBackend):
    """A backend under the name of another, with either order of heads and tokens within a block."""

    @staticmethod
    def get_name() -> str:
        """Return the name that goes into the handshake."""
        return os.environ["FORKHOUSE_TEST_BACKEND"]

    @classmethod
    def supported_kv_cache_layouts(cls) -> tuple[KVCacheLayout, ...]:
        """Return both orders; VLLM_KV_CACHE_LAYOUT chooses."""
        return (KVCacheLayout.LBNHC, KVCacheLayout.LBHNC)

    @staticmethod
    def get_impl_cls() -> type[PlainImplementation]:
        """Return the class that computes."""
        return PlainImplementation


class PlainImplementation(CPUAttentionBackendImpl):
    """Computes one request after the other, in float32."""

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
        slots = slot_mapping[slot_mapping >= 0]
        block, place = slots // kv_cache.shape[2], slots % kv_cache.shape[2]
        kv_cache[block, :, place] = torch.cat((key[: len(slots)], value[: len(slots)]), dim=-1)

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
        starts = attn_metadata.query_start_loc.tolist()
        lengths = attn_metadata.seq_lens.tolist()
        tokens = kv_cache.shape[2]
        group = query.shape[1] // kv_cache.shape[1]
        for number, length in enumerate(lengths):
            mine = slice(starts[number], starts[number + 1])
            count = starts[number + 1] - starts[number]
            blocks = attn_metadata.block_table[number, : -(-length // tokens)].long()
            cached = kv_cache[blocks].transpose(1, 2).flatten(0, 1)[:length].float()
            keys, values = (
                part.repeat_interleave(group, dim=1).transpose(0, 1)
                for part in cached.chunk(2, dim=-1)
            )
            mask = torch.ones(count, length, dtype=torch.bool).tril(length - count)
            mixed = torch.nn.functional.scaled_dot_product_attention(
                query[mine].float().transpose(0, 1), keys, values, attn_mask=mask, scale=self.scale
            )
            output[mine] = mixed.transpose(0, 1).reshape(output[mine].shape).to(output.dtype)
        return output
