"""vLLM's own attention in Triton, with its host code, on the emulated device."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import torch

from tests.emulation import vllm_source

if TYPE_CHECKING:
    from pathlib import Path


def load(wheel: Path, folder: Path) -> Any:
    """Return the module of the unified attention, unpacked from the wheel into a folder."""
    vllm_source.load(wheel, folder)
    return importlib.import_module("vllm.v1.attention.ops.triton_unified_attention")


def load_beside(folder: Path) -> tuple[Any, Any]:
    """Return the modules of the attention and of its cache's writing, in a process of vLLM's.

    They are loaded anew from where its packages lie, beside those that it has imported.
    """
    with vllm_source.beside(folder):
        attention = importlib.import_module("vllm.v1.attention.ops.triton_unified_attention")
        return attention, load_writing()


def load_writing() -> Any:
    """Return the module by which vLLM's Triton attention writes its cache, once it is loaded."""
    return importlib.import_module("vllm.v1.attention.ops.triton_reshape_and_cache_flash")


def attention(
    module: Any, dtype: Any, size: int, queries: list[int], lengths: list[int], *, split: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what vLLM's attention and what plain attention in f64 give for paged keys and values.

    With `split`, the keys of a sequence are divided among workgroups, and a second kernel puts
    their parts together.
    """
    heads, kv_heads, block = 4, 2, 16
    rows = sum(queries)
    query = torch.randn(rows, heads, size).to(dtype)
    key, value = (torch.randn(64, block, kv_heads, size).to(dtype) for _ in range(2))
    # The kernel reads block tables in whole tiles of 32 keys, also behind a sequence's end.
    blocks = -(-max(lengths) // 32) * 32 // block
    table = torch.randint(0, 64, (len(queries), blocks), dtype=torch.int32)
    starts = torch.tensor([0, *torch.tensor(queries).cumsum(0)], dtype=torch.int32)
    out = torch.zeros_like(query)
    parts = 8
    more = {
        "seq_threshold_3D": 16,
        "num_par_softmax_segments": parts,
        "softmax_segm_output": torch.zeros(rows, heads, parts, size),
        "softmax_segm_max": torch.zeros(rows, heads, parts),
        "softmax_segm_expsum": torch.zeros(rows, heads, parts),
    }
    module.unified_attention(
        query, key, value, out, starts, max(queries), torch.tensor(lengths, dtype=torch.int32),
        max(lengths), size**-0.5, True, (-1, -1), table, 0, None, None, None,
        **(more if split else {}),
    )  # fmt: skip
    return out, plain(query, key, value, queries, lengths, table)


def plain(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    queries: list[int],
    lengths: list[int],
    table: torch.Tensor,
) -> torch.Tensor:
    """Return plain attention in f64 over paged keys and values."""
    results, start = [], 0
    group, size = query.shape[1] // key.shape[2], query.shape[2]
    for number, (count, length) in enumerate(zip(queries, lengths, strict=True)):
        mine = query[start : start + count].double() * size**-0.5
        keys, values = (
            cache[table[number]]
            .reshape(-1, key.shape[2], size)[:length]
            .double()
            .repeat_interleave(group, 1)
            for cache in (key, value)
        )
        scores = torch.einsum("qhd,khd->hqk", mine, keys)
        later = torch.ones(count, length).triu(length - count + 1).bool()
        scores.masked_fill_(later, float("-inf"))
        results.append(torch.einsum("hqk,khd->qhd", scores.softmax(-1), values))
        start += count
    return torch.cat(results)
