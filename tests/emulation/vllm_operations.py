"""vLLM's operations of a dense model's layers: by emulated kernels for gfx90a, or by PyTorch.

The emulated ones choose kernel, grid and block as vLLM's own host code does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from tests.emulation.vllm_kernels import Kernels

if TYPE_CHECKING:
    from pathlib import Path

    from forkhouse.emulation.launching import Report
    from tests.emulation.emulated_triton import Emulated

SOURCES = ("layernorm_kernels", "pos_encoding_kernels", "activation_kernels", "cache_kernels")
"""Where vLLM has the HIP kernels that a layer needs."""
PARTS, MOST_SEQUENCES = 16, 64
"""Into how many parts vLLM divides the keys of a sequence, and of how many sequences at most."""


@dataclass(frozen=True)
class Batch:
    """What attention has to know of the sequences whose tokens are computed."""

    starts: torch.Tensor
    """Where each sequence's tokens begin among those computed, and where the last one's end."""
    lengths: torch.Tensor
    """Tokens of each sequence, with those in the cache."""
    table: torch.Tensor
    """The blocks of each sequence."""

    @property
    def most_queries(self) -> int:
        """Return how many tokens of one sequence are computed at most."""
        return int(self.starts.diff().max())


class Operations(Protocol):
    """What a layer computes beside products of matrices.

    Caches are seen as (blocks, tokens, heads, numbers of a head).
    """

    def rms_norm(self, x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor: ...

    def fused_add_rms_norm(
        self, x: torch.Tensor, residual: torch.Tensor, weight: torch.Tensor, epsilon: float
    ) -> None:
        """Add x to the residual, and let x be the norm of the sum."""

    def rotary_embedding(
        self, positions: torch.Tensor, query: torch.Tensor, key: torch.Tensor, turns: torch.Tensor
    ) -> None:
        """Turn queries and keys in place, seen as (tokens, heads, numbers)."""

    def silu_and_mul(self, x: torch.Tensor) -> torch.Tensor: ...

    def write_cache(
        self,
        key: torch.Tensor,
        value: torch.Tensor,
        key_cache: torch.Tensor,
        value_cache: torch.Tensor,
        slots: torch.Tensor,
    ) -> None: ...

    def attention(
        self, query: torch.Tensor, key_cache: torch.Tensor, value_cache: torch.Tensor, batch: Batch
    ) -> torch.Tensor: ...


class PlainOperations:
    """The same in float32 by PyTorch, rounded where the kernels round."""

    def rms_norm(self, x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
        wide = x.float()
        normed = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + epsilon)
        return (normed * weight.float()).to(x.dtype)

    def fused_add_rms_norm(
        self, x: torch.Tensor, residual: torch.Tensor, weight: torch.Tensor, epsilon: float
    ) -> None:
        residual += x
        x.copy_(self.rms_norm(residual, weight, epsilon))

    def rotary_embedding(
        self, positions: torch.Tensor, query: torch.Tensor, key: torch.Tensor, turns: torch.Tensor
    ) -> None:
        cos, sin = turns[positions].float()[:, None].chunk(2, -1)
        for each in (query, key):
            first, second = each.float().chunk(2, -1)
            each.copy_(torch.cat((first * cos - second * sin, second * cos + first * sin), -1))

    def silu_and_mul(self, x: torch.Tensor) -> torch.Tensor:
        first, second = x.float().chunk(2, -1)
        return (torch.nn.functional.silu(first).to(x.dtype).float() * second).to(x.dtype)

    def write_cache(
        self,
        key: torch.Tensor,
        value: torch.Tensor,
        key_cache: torch.Tensor,
        value_cache: torch.Tensor,
        slots: torch.Tensor,
    ) -> None:
        block, place = slots // key_cache.shape[1], slots % key_cache.shape[1]
        key_cache[block, place], value_cache[block, place] = key, value

    def attention(
        self, query: torch.Tensor, key_cache: torch.Tensor, value_cache: torch.Tensor, batch: Batch
    ) -> torch.Tensor:
        out = torch.empty(query.shape, dtype=query.dtype)
        group = query.shape[1] // key_cache.shape[2]
        for number, length in enumerate(batch.lengths.tolist()):
            mine = slice(int(batch.starts[number]), int(batch.starts[number + 1]))
            keys, values = (
                cache[batch.table[number].long()]
                .flatten(0, 1)[:length]
                .float()
                .repeat_interleave(group, 1)
                .transpose(0, 1)
                for cache in (key_cache, value_cache)
            )
            count = mine.stop - mine.start
            mask = torch.ones(count, length, dtype=torch.bool).tril(length - count)
            mixed = torch.nn.functional.scaled_dot_product_attention(
                query[mine].float().transpose(0, 1), keys, values, attn_mask=mask
            )
            out[mine] = mixed.transpose(0, 1).to(out.dtype)
        return out


class TritonAttention(PlainOperations):
    """vLLM's Triton attention and its writing of the cache, emulated; all else by PyTorch."""

    origin, kernels = "Triton", 3

    def __init__(self, attention: Any, writing: Any, device: Emulated) -> None:
        self._attention, self._writing, self._device = attention, writing, device
        self.launched: list[Report] = []

    def write_cache(
        self,
        key: torch.Tensor,
        value: torch.Tensor,
        key_cache: torch.Tensor,
        value_cache: torch.Tensor,
        slots: torch.Tensor,
    ) -> None:
        before = len(self._device.reports)
        scale = torch.ones(1)
        self._writing.triton_reshape_and_cache_flash(
            key, value, key_cache, value_cache, slots, "auto", scale, scale
        )
        self.launched += self._device.reports[before:]

    def attention(
        self, query: torch.Tensor, key_cache: torch.Tensor, value_cache: torch.Tensor, batch: Batch
    ) -> torch.Tensor:
        before = len(self._device.reports)
        _, heads, size = query.shape
        out = torch.empty(query.shape, dtype=query.dtype)
        # The kernel reads block tables in whole tiles, also behind a sequence's end.
        table = torch.nn.functional.pad(batch.table, (0, 32))
        self._attention.unified_attention(
            query, key_cache, value_cache, out, batch.starts, batch.most_queries, batch.lengths,
            int(batch.lengths.max()), size**-0.5, True, (-1, -1), table, 0, None, None, None,
            seq_threshold_3D=MOST_SEQUENCES, num_par_softmax_segments=PARTS,
            softmax_segm_output=torch.empty(MOST_SEQUENCES, heads, PARTS, size),
            softmax_segm_max=torch.empty(MOST_SEQUENCES, heads, PARTS),
            softmax_segm_expsum=torch.empty(MOST_SEQUENCES, heads, PARTS),
        )  # fmt: skip
        self.launched += self._device.reports[before:]
        return out


class AllEmulated(TritonAttention):
    """Every operation by vLLM's kernels for bfloat16; the cache is written by one in HIP."""

    origin, kernels = "HIP, Triton", 7

    def __init__(
        self, objects: Path, attention: Any, device: Emulated, writing: Any = None
    ) -> None:
        """Take the HIP kernels from the object files in a folder, each named by its source.

        With `writing`, Triton writes the cache, as vLLM's Triton attention has it.
        """
        super().__init__(attention, writing, device)
        self._objects = {name: Kernels(objects / f"{name}.hip.o") for name in SOURCES}

    def _run(self, source: str, pattern: str, grid: int, block: int, *values: Any) -> None:
        self.launched.append(self._objects[source].run(pattern, grid, block, *values))

    def rms_norm(self, x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
        rows, size = x.shape
        out = torch.empty(rows, size, dtype=x.dtype)
        self._run(
            "layernorm_kernels", r"15rms_norm_kernelIN3c108BFloat16ELi8ELi2ELb1E", rows,
            min(size // 8, _most_block(rows)), out, x, np.int64(x.stride(0)), np.int64(0),
            np.int64(0), np.int64(0), np.int64(0), weight, np.int64(0), np.float32(epsilon),
            np.int32(rows), np.int32(size),
        )  # fmt: skip
        return out

    def fused_add_rms_norm(
        self, x: torch.Tensor, residual: torch.Tensor, weight: torch.Tensor, epsilon: float
    ) -> None:
        rows, size = x.shape
        self._run(
            "layernorm_kernels", r"fused_add_rms_norm_kernelIN3c108BFloat16ELi8ELb1E", rows,
            min(size, _most_block(rows)), x, np.int64(x.stride(0)), residual, weight,
            np.float32(epsilon), np.int32(rows), np.int32(size), np.int64(residual.stride(0)),
        )  # fmt: skip

    def rotary_embedding(
        self, positions: torch.Tensor, query: torch.Tensor, key: torch.Tensor, turns: torch.Tensor
    ) -> None:
        tokens, heads, size = query.shape
        turned = turns.shape[1]
        self._run(
            "pos_encoding_kernels", r"rotary_embedding_kernelIN3c108BFloat16ES\d_Lb1E", tokens,
            min(heads * turned // 2, 512), positions, query, key, turns, np.int32(turned),
            np.int64(query.stride(0)), np.int64(key.stride(0)), np.int64(query.stride(1)),
            np.int32(heads), np.int32(key.shape[1]), np.int32(size), np.int64(0), np.int8(0),
        )  # fmt: skip

    def silu_and_mul(self, x: torch.Tensor) -> torch.Tensor:
        rows, size = x.shape[0], x.shape[1] // 2
        out = torch.empty(rows, size, dtype=x.dtype)
        self._run(
            "activation_kernels",
            r"act_and_mul_kernelIN3c108BFloat16E.*silu_kernel.*Lb1ELb1ELb0ELb0EEEv", rows,
            min(size // 8, 1024), out, x, np.int32(size), np.float32(0), np.float32(1),
            np.float32(0),
        )  # fmt: skip
        return out

    def write_cache(
        self,
        key: torch.Tensor,
        value: torch.Tensor,
        key_cache: torch.Tensor,
        value_cache: torch.Tensor,
        slots: torch.Tensor,
    ) -> None:
        if self._writing is not None:
            super().write_cache(key, value, key_cache, value_cache, slots)
            return
        heads, size = key.shape[1:]
        scale = torch.ones(1)
        self._run(
            "cache_kernels", r"reshape_and_cache_flash_kernelI14__hip_bfloat16S\d_", len(slots),
            min(heads * size, 512), key, value, key_cache, value_cache, slots,
            *(np.int64(each) for each in key_cache.stride()[:3]), np.int64(key.stride(0)),
            np.int64(value.stride(0)), np.int32(heads), np.int32(size),
            np.int32(key_cache.shape[1]), scale, scale, np.int32(0),
        )  # fmt: skip


def _most_block(rows: int) -> int:
    return 1024 if rows < 256 else 256
