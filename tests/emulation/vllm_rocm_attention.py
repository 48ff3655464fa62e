"""vLLM's paged attention for AMD GPUs in HIP, as gfx90a takes it, against plain attention."""

from __future__ import annotations

from dataclasses import dataclass
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
NARROW = torch.float8_e4m3fn
"""The type of caches that have 8 bits a number."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Heads that share one of keys, how large they are, how pages lie, and where sequences end."""

    group: int
    size: int
    tokens: int
    """Tokens of a page."""
    lengths: tuple[int, ...]
    """The keys of each sequence."""
    narrow: bool = False
    """Whether the caches have 8 bits a number."""

    @property
    def _operation(self) -> str:
        return "mfma4" if self.group <= 4 else "mfma16"

    def sources(self, kind: str) -> list[str]:
        """Return its kernels as the host's code names them."""
        cached = "uint8_t, vllm::Fp8KVCacheDataType::kFp8E4M3"
        cache = cached if self.narrow else f"{kind}, vllm::Fp8KVCacheDataType::kAuto"
        last = "" if self.group <= 4 else ", MFMAType::F16"
        return [
            f"paged_attention_ll4mi_QKV_{self._operation}_kernel<{kind}, {cache}, {kind}, "
            f"{self.tokens}, {self.size}, {_PARTITION}, false, {self.group}{last}>",
            f"paged_attention_ll4mi_reduce_kernel<{kind}, {kind}, {self.size}, {self.size}, "
            f"{_PARTITION}, 1>",
        ]

    def patterns(self, kind: Any) -> tuple[str, str]:
        """Return expressions for the names that the linker knows them by."""
        first, again = _NAMED[kind]
        cache = ("h", 1) if self.narrow else (again, 0)
        return (
            rf"QKV_{self._operation}_kernelI{first}{cache[0]}LN4vllm18Fp8KVCacheDataTypeE{cache[1]}"
            rf"E{again}Li{self.tokens}ELi{self.size}ELi{_PARTITION}ELb0ELi{self.group}E",
            rf"ll4mi_reduce_kernelI{first}{again}Li{self.size}ELi{self.size}ELi{_PARTITION}ELi1E",
        )


def shortened(source: str, names: Iterable[str]) -> str:
    """Return vLLM's source without its host's code, and with the kernels of some shapes.

    Compiling all that the host may ask for takes ten minutes of a processor.
    """
    kernels, host, _ = source.partition(_HOST)
    assert host
    wanted = [
        kernel
        for name in names
        for kind in ("_Float16", "__hip_bfloat16")
        for kernel in SHAPES[name].sources(kind)
    ]
    pointers = ",\n".join(f"(const void*)&{each}" for each in dict.fromkeys(wanted))
    return f"{kernels}\n__attribute__((used)) static const void* const kept[] = {{\n{pointers}}};\n"


def decode(kernels: Kernels, kind: Any, shape: Shape, *, behind: float = float("nan")) -> Result:
    """Attend for one token of each sequence by one kernel, and put the parts together by another.

    There are two heads of keys. What the caches hold `behind` a sequence's end must not matter.
    """
    group, size, tokens, lengths = shape.group, shape.size, shape.tokens, shape.lengths
    heads, count, most_tokens = group * _KV_HEADS, len(lengths), max(lengths)
    torch.manual_seed(heads + size + tokens)
    query = torch.randn(count, heads, size).to(kind)
    blocks = -(-most_tokens // tokens)
    stored = NARROW if shape.narrow else kind
    caches = [torch.randn(count * blocks, tokens, _KV_HEADS, size).to(stored) for _ in range(2)]
    table = torch.randperm(count * blocks).view(count, blocks).int()
    # Numbers of 8 bits stand for what they are times a scale.
    scales = [torch.tensor([each if shape.narrow else 1.0]) for each in (0.75, 1.5)]
    exact = [cache.double() * scale for cache, scale in zip(caches, scales, strict=True)]
    right = plain(query, exact[0], exact[1], [1] * count, list(lengths), table)
    for number, length in enumerate(lengths):
        _fill_behind(caches, table[number], length, behind)
        # Behind a sequence's end no block is looked up.
        table[number, -(-length // tokens) :] = 2**30
    if shape.narrow:
        caches = [cache.view(torch.uint8) for cache in caches]
    keys, values = by_heads(caches[0], caches[1])
    parts = -(-most_tokens // _PARTITION)
    sums, most = torch.zeros(count, heads, parts), torch.zeros(count, heads, parts)
    between = torch.zeros(count, heads, parts, size, dtype=kind)
    out, ends = torch.zeros_like(query), torch.tensor(lengths).int()
    attention, reduction = shape.patterns(kind)
    reports = [
        kernels.run(
            attention, (count, parts, _KV_HEADS), 256,
            query, keys, values, np.int32(_KV_HEADS), np.float32(size**-0.5), table, ends, None,
            np.int32(blocks), None, *(np.int32(each.stride(0)) for each in (query, keys)),
            np.int32(keys.stride(1)), sums, most, between, out, np.int32(blocks), *scales,
        ),
        kernels.run(
            reduction, (heads, count, 1), size, out, sums, most, between, ends, None,
            np.int32(parts), None,
        ),
    ]  # fmt: skip
    # The chances of keys, at most 1 together, are rounded before they are multiplied with values;
    # so is what is left of each part, and their sum.
    most_of = max(float(exact[1].abs().max()) * step_of(kind), 2e-6)
    allowed = most_of + 2 * step_of(kind) * float(right.abs().max())
    narrow = " of 8 bits" if shape.narrow else ""
    described = (
        f"keys {list(lengths)}, {heads}+{_KV_HEADS} heads of {size}, pages of {tokens}{narrow}"
    )
    return Result(reports, far(out, right), allowed, described)


def _fill_behind(
    caches: list[torch.Tensor], table: torch.Tensor, length: int, value: float
) -> None:
    """Put a number in the place of all that a sequence's pages hold behind its end."""
    for number, block in enumerate(table.tolist()):
        first = max(0, length - number * caches[0].shape[1])
        for cache in caches:
            cache[block, first:] = value


KINDS = (F16, BF16)
ENDS = (1, 5, 33, 57, 63, 64, 65, 130, 257)
"""Where sequences end: within, at and behind an end of what a lane, a wave and a workgroup take."""
SHAPES = {
    "few heads": Shape(2, 64, 16, (100, 300, 16, 1)),
    "few large heads": Shape(4, 128, 16, (37, 520)),
    "few heads of 8 bits": Shape(4, 64, 16, (37, 300, 16, 1), narrow=True),
    "large pages": Shape(1, 64, 32, (100, 257)),
    "five heads": Shape(5, 64, 16, ENDS),
    "five large heads": Shape(5, 128, 32, ENDS),
    "eight heads": Shape(8, 64, 32, ENDS),
    "eight large heads": Shape(8, 128, 16, ENDS),
    "eight heads of 8 bits": Shape(8, 64, 16, ENDS, narrow=True),
    "many heads": Shape(16, 64, 16, ENDS),
    "many large heads": Shape(16, 128, 32, ENDS),
    "eight heads, whole": Shape(8, 64, 16, (64, 320, 256)),
}
WRONG = tuple(name for name, shape in SHAPES.items() if shape.lengths == ENDS)
"""What vLLM's kernels get wrong without patch 0015: lanes that have no keys leave out matrix
operations, which take in all lanes."""


def case(kernels: Kernels, name: str, kind: Any) -> Result:
    """Run one of the shapes."""
    return decode(kernels, kind, SHAPES[name])
