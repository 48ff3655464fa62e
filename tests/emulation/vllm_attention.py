"""vLLM's own attention in Triton, with its host code, on the emulated device.

The modules are loaded from the pinned wheel; what they import of the rest of vLLM is stood in for,
as importing all of it would need a GPU's or a CPU's back end.
"""

from __future__ import annotations

import enum
import importlib
import logging
import sys
import zipfile
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from pathlib import Path

_OPS = "vllm/v1/attention/ops/"


class _Mode(enum.IntEnum):
    NONE = 0
    FP8_PER_TENSOR = 1
    INT8_PER_TOKEN_HEAD = 2
    FP8_PER_TOKEN_HEAD = 3
    INT4_PER_TOKEN_HEAD = 4


class _Platform:
    def fp8_dtype(self) -> Any:
        return torch.float8_e4m3fn

    def is_device_capability_family(self, family: int) -> bool:
        return False

    def is_rocm(self) -> bool:
        return True


def load(wheel: Path, folder: Path) -> Any:
    """Return the module of the unified attention, unpacked from the wheel into a folder."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.startswith(_OPS) and name.endswith(".py") and ".." not in name:
                archive.extract(name, folder)
    return load_from(folder)


def load_from(folder: Path) -> Any:
    """Return the module of the unified attention from where packages lie unpacked."""
    for name in ("vllm", "vllm.v1", "vllm.v1.attention", "vllm.v1.attention.ops"):
        module = _stand_in(name)
        module.__path__ = [str(folder / name.replace(".", "/"))]
    triton = importlib.import_module("triton")
    _stand_in("vllm.envs", VLLM_BATCH_INVARIANT=False)
    sys.modules["vllm"].envs = sys.modules["vllm.envs"]  # type: ignore[attr-defined]
    _stand_in("vllm.logger", init_logger=logging.getLogger)
    _stand_in("vllm.platforms", current_platform=_Platform())
    _stand_in("vllm.triton_utils", triton=triton, tl=importlib.import_module("triton.language"))
    _stand_in("vllm.v1.kv_cache_interface", KVQuantMode=_Mode)
    return importlib.import_module("vllm.v1.attention.ops.triton_unified_attention")


def load_beside(folder: Path) -> tuple[Any, Any]:
    """Return the modules of the attention and of its cache's writing, in a process of vLLM's.

    They are loaded anew from where its packages lie, beside those that it has imported: its build
    for the CPU imports them without Triton.
    """
    aside = {name: sys.modules.pop(name) for name in _imported()}
    try:
        return load_from(folder), load_writing()
    finally:
        for name in _imported():
            del sys.modules[name]
        sys.modules.update(aside)


def _imported() -> list[str]:
    return [name for name in sys.modules if name.partition(".")[0] == "vllm"]


def load_writing() -> Any:
    """Return the module by which vLLM's Triton attention writes its cache, once it is loaded."""
    _stand_in(
        "vllm.model_executor.layers.quantization.utils.quant_utils",
        FP8_DTYPE=torch.float8_e4m3fn,
        get_fp8_min_max=lambda: (-448.0, 448.0),
    )
    _stand_in("vllm.utils.torch_utils", is_quantized_kv_cache=lambda kind: kind != "auto")
    return importlib.import_module("vllm.v1.attention.ops.triton_reshape_and_cache_flash")


def _stand_in(name: str, **content: Any) -> ModuleType:
    module = ModuleType(name)
    module.__dict__.update(content)
    sys.modules[name] = module
    return module


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
    return out, _plain(query, key, value, queries, lengths, table)


def _plain(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    queries: list[int],
    lengths: list[int],
    table: torch.Tensor,
) -> torch.Tensor:
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
