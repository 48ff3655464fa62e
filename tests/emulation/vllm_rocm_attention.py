"""vLLM's paged attention for AMD GPUs in HIP, as gfx90a takes it, against plain attention."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tests.emulation.vllm_attention import plain
from tests.emulation.vllm_kernels import BF16, F16, Result, by_heads
from tests.emulation.vllm_sampler import far, step_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.emulation.vllm_kernels import Kernels

_KV_HEADS = 2
_NAMED = {F16: ("DF16_", "DF16_"), BF16: ("14__hip_bfloat16", "S0_")}
_PARTITION = 256
"""Keys that one workgroup attends to."""
_HOST = "#define LAUNCH_CUSTOM_ATTENTION_MFMA16"
"""Where the host's code begins in vLLM's source."""
_SKIPS = re.compile(
    r"(if \(vglobal_fetch_start >= seq_len\) \{\s*)continue;(\s*\})(\s*)(if \(vglobal)"
)
_CLEARS = r"\1Vlocal[vtoken_depth][vhe_depth][vfetch_depth] = _B16x8{};\2 else\3\4"


def shortened(source: str, names: Iterable[str], *, mended: bool) -> str:
    """Return vLLM's source without its host's code, and with the kernels of some shapes.

    Compiling all that the host may ask for takes ten minutes of a processor. With `mended`, lanes
    with keys behind a sequence's end clear their values. vLLM lets them leave out the matrix
    operation instead, which takes in all lanes, whether they take part or not.
    """
    kernels, host, _ = source.partition(_HOST)
    assert host
    if mended:
        kernels, count = _SKIPS.subn(_CLEARS, kernels, count=1)
        assert count == 1
    wanted = []
    for heads, size, tokens, *_ in (SHAPES[name] for name in names):
        for kind in ("_Float16", "__hip_bfloat16"):
            group = heads // _KV_HEADS
            head = f"{kind}, {kind}, vllm::Fp8KVCacheDataType::kAuto, {kind}, {tokens}, {size}"
            last = "" if group <= 4 else ", MFMAType::F16"
            wanted += [
                f"paged_attention_ll4mi_QKV_{_operation(group)}_kernel<{head}, 256, false, "
                f"{group}{last}>",
                f"paged_attention_ll4mi_reduce_kernel<{kind}, {kind}, {size}, {size}, 256, 1>",
            ]
    pointers = ",\n".join(f"(const void*)&{each}" for each in dict.fromkeys(wanted))
    return f"{kernels}\n__attribute__((used)) static const void* const kept[] = {{\n{pointers}}};\n"


def _operation(group: int) -> str:
    return "mfma4" if group <= 4 else "mfma16"


def decode(
    kernels: Kernels, kind: Any, *, heads: int, size: int, tokens: int, lengths: tuple[int, ...]
) -> Result:
    """Attend for one token of each sequence by one kernel, and put the parts together by another.

    There are two heads of keys, and pages of `tokens`.
    """
    torch.manual_seed(heads + size + tokens)
    kv_heads, count = _KV_HEADS, len(lengths)
    query = torch.randn(count, heads, size).to(kind)
    blocks = -(-max(lengths) // tokens)
    caches = [torch.randn(count * blocks, tokens, kv_heads, size).to(kind) for _ in range(2)]
    table = torch.randperm(count * blocks).view(count, blocks).int()
    for number, length in enumerate(lengths):
        # Behind a sequence's end no block is looked up.
        table[number, -(-length // tokens) :] = 2**30
    keys, values = by_heads(caches[0], caches[1])
    parts = -(-max(lengths) // _PARTITION)
    sums, most = torch.zeros(count, heads, parts), torch.zeros(count, heads, parts)
    between = torch.zeros(count, heads, parts, size, dtype=kind)
    out, scale, ends = torch.zeros_like(query), torch.ones(1), torch.tensor(lengths).int()
    first, again = _NAMED[kind]
    group = heads // kv_heads
    reports = [
        kernels.run(
            rf"QKV_{_operation(group)}_kernelI{first}{again}LN4vllm18Fp8KVCacheDataTypeE0E{again}"
            rf"Li{tokens}ELi{size}ELi256ELb0ELi{group}E", (count, parts, kv_heads), 256,
            query, keys, values, np.int32(kv_heads), np.float32(size**-0.5), table, ends, None,
            np.int32(blocks), None, *(np.int32(each.stride(0)) for each in (query, keys)),
            np.int32(keys.stride(1)), sums, most, between, out, np.int32(blocks), scale, scale,
        ),
        kernels.run(
            rf"ll4mi_reduce_kernelI{first}{again}Li{size}ELi{size}ELi{_PARTITION}ELi1E",
            (heads, count, 1), size, out, sums, most, between, ends, None, np.int32(parts), None,
        ),
    ]  # fmt: skip
    known = table.where(table < 2**30, 0)
    right = plain(query, caches[0], caches[1], [1] * count, list(lengths), known)
    # The chances of keys, at most 1 together, are rounded before they are multiplied with values;
    # so is what is left of each part, and their sum.
    most_of = max(float(caches[1].abs().max()) * step_of(kind), 2e-6)
    allowed = most_of + 2 * step_of(kind) * float(right.abs().max())
    shape = f"keys {list(lengths)}, {heads}+{kv_heads} heads of {size}, pages of {tokens}"
    return Result(reports, far(out, right), allowed, shape)


KINDS = (F16, BF16)
SHAPES: dict[str, tuple[int, ...]] = {
    "few heads": (4, 64, 16, 100, 300, 16, 1),
    "few large heads": (8, 128, 16, 37, 520),
    "large pages": (2, 64, 32, 100, 257),
    "many heads": (16, 64, 16, 100, 300, 16, 1),
    "many large heads": (16, 128, 32, 37, 520),
    "many heads, whole": (16, 64, 16, 64, 320, 256),
}
"""By name: heads, their size, tokens of a page, and the keys of each sequence."""
WRONG = ("many heads", "many large heads")
"""What vLLM's kernels get wrong: lanes that have no keys take part in their matrix operations."""


def case(kernels: Kernels, name: str, kind: Any) -> Result:
    """Run one of the shapes."""
    heads, size, tokens, *lengths = SHAPES[name]
    return decode(kernels, kind, heads=heads, size=size, tokens=tokens, lengths=tuple(lengths))
