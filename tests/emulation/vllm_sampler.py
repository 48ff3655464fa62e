"""vLLM's kernels that choose a token, with its host code, beside the same in PyTorch and Python."""

from __future__ import annotations

import importlib
import importlib.util
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

_SAMPLE = "vllm.v1.worker.gpu.sample."


@dataclass(frozen=True)
class Outcome:
    """What kernels gave, beside what is right."""

    shape: str
    error: float
    allowed: float


class OnGpu(torch.Tensor):  # type: ignore[misc]
    """A tensor of the CPU that says to lie on a GPU, to host code that has other ways for a CPU."""

    @property
    def device(self) -> Any:
        return Gpu("cuda", 0)


@dataclass(frozen=True)
class Gpu:
    """What host code asks of the device that a tensor lies on."""

    type: str
    index: int


def far(out: torch.Tensor, right: torch.Tensor) -> float:
    """Return the largest difference. Where one has an infinity or no number, so must the other."""
    out, right = out.double(), right.double()
    if not torch.equal(out.isfinite(), right.isfinite()):
        return float("inf")
    if not torch.equal(out[~out.isfinite()], right[~right.isfinite()]):
        return float("inf")
    rest = (out - right)[right.isfinite()].abs()
    return float(rest.max()) if rest.numel() else 0.0


def step_of(dtype: Any) -> float:
    """Return the largest relative error of rounding to a type."""
    return float(torch.finfo(dtype).eps) / 2


def _logits(rows: int, words: int, dtype: Any, *, seed: int) -> torch.Tensor:
    return (torch.randn(rows, words, generator=torch.manual_seed(seed)) * 3).to(dtype)


def temperature(dtype: Any) -> Outcome:
    gumbel = importlib.import_module(_SAMPLE + "gumbel")
    logits = _logits(4, 1000, dtype, seed=1)
    rows, values = torch.tensor([2, 0, 1, 3]), torch.tensor([0.7, 0.0, 1.3, 1.0])
    used = values[rows]
    kept = torch.where(used == 0, torch.ones(4), used).double()
    right = logits.double() / kept[:, None]
    gumbel.apply_temperature(logits, rows.int(), values)
    allowed = step_of(dtype) * float(right.abs().max()) * 1.01 + 1e-6
    return Outcome("4x1000", far(logits, right), allowed)


def minimum(dtype: Any) -> Outcome:
    logits = _logits(3, 1500, dtype, seed=2)
    rows, least = torch.tensor([1, 2, 0]), torch.tensor([0.05, 0.0, 0.3])
    used = least[rows][:, None].double()
    powers = logits.double().softmax(1)
    removed = (powers < used * powers.max(1, keepdim=True).values) & (used > 0)
    right = logits.double().masked_fill(removed, -torch.inf)
    importlib.import_module(_SAMPLE + "min_p").apply_min_p(logits, rows.int(), least)
    return Outcome("3x1500", far(logits, right), 0)


def penalties(dtype: Any) -> Outcome:
    """Count the tokens of prompts and answers by one kernel, and hold them against logits by
    one.
    """
    module = importlib.import_module(_SAMPLE + "penalties")
    words, rows = 300, torch.tensor([1, 0], dtype=torch.int32)
    tokens = torch.randint(0, words, (3, 64), generator=torch.manual_seed(3), dtype=torch.int32)
    prompts, lengths = torch.tensor([20, 33, 5]).int(), torch.tensor([40, 33, 64]).int()
    masks = torch.zeros(3, -(-words // 32), dtype=torch.int32)
    counts = torch.zeros(3, words, dtype=torch.int32)
    module.bincount(rows, tokens, prompts, lengths, masks, counts, 64)
    repetition, frequency = torch.tensor([1.2, 1.0, 1.5]), torch.tensor([0.3, 0.0, 0.9])
    presence = torch.tensor([0.1, 0.6, 0.2])
    logits = _logits(2, words, dtype, seed=4)
    right = logits.double()
    error = 0.0
    for number, row in enumerate(rows.tolist()):
        prompt, answer = tokens[row, : prompts[row]], tokens[row, prompts[row] : lengths[row]]
        seen = torch.bincount(answer.long(), minlength=words)
        error = max(error, far(counts[row], seen))
        known = torch.zeros(words, dtype=torch.bool)
        known[prompt.long()] = True
        bits = masks[row].view(-1, 1) >> torch.arange(32) & 1
        error = max(error, far(bits.reshape(-1)[:words], known))
        scale = torch.where(known | (seen > 0), repetition[row].double(), 1.0)
        line = right[number]
        line = torch.where(line > 0, line / scale, line * scale)
        right[number] = line - frequency[row].double() * seen - presence[row].double() * (seen > 0)
    inputs, places = torch.zeros(2, dtype=torch.int32), torch.zeros(2, dtype=torch.int32)
    module.apply_penalties(
        logits, rows, inputs, places, repetition, frequency, presence, masks, counts
    )
    allowed = step_of(dtype) * float(right.abs().max()) * 1.01 + 2e-6
    return Outcome(
        "2x300, prompts and answers of up to 64", max(error, far(logits, right)), allowed
    )


def scores(dtype: Any) -> Outcome:
    """Logarithms of chances, and ranks."""
    logits, chosen = _logits(3, 3000, dtype, seed=5), torch.tensor([7, 2999, 100])
    module = importlib.import_module(_SAMPLE + "logprob")
    found = module.compute_topk_scores(logits, 5, chosen)
    wide = logits.double()
    right = wide.log_softmax(1).gather(1, found.logprob_token_ids)
    ranks = (wide >= wide.gather(1, chosen[:, None])).sum(1)
    # A rank that is wrong is further off than is allowed.
    error = max(far(found.logprobs, right), far(found.selected_token_ranks, ranks))
    return Outcome("3x3000, 5 each", error, 4e-6)


def biases(dtype: Any) -> Outcome:
    """Leave some tokens, favour some, and forbid the ends of an answer that is too short."""
    words = 500
    logits, ours = _logits(3, words, dtype, seed=6), torch.tensor([2, 0, 1], dtype=torch.int32)
    allowed_ids = torch.randperm(words, generator=torch.manual_seed(7))[:96].view(3, 32).int()
    biased = torch.stack(
        [torch.randperm(words, generator=torch.manual_seed(each))[:16] for each in range(3)]
    ).int()
    bias = torch.randn(3, 16, generator=torch.manual_seed(11))
    stops = torch.tensor([[1, 2, 3, 4]] * 3, dtype=torch.int32)
    counts = torch.tensor([[20, 0, 0], [5, 16, 0], [2, 4, 3]], dtype=torch.int32)
    at, least = torch.tensor([9, 4, 4]), torch.tensor([6, 20, 3], dtype=torch.int32)
    right = logits.double()
    for number, row in enumerate(ours.tolist()):
        line, of_allowed = right[number].clone(), int(counts[0, row])
        if of_allowed:
            kept = torch.full_like(line, -torch.inf)
            chosen = allowed_ids[row, :of_allowed].long()
            kept[chosen] = line[chosen]
            line = kept
        many = int(counts[1, row])
        line[biased[row, :many].long()] += bias[row, :many].double()
        if at[number] < least[row]:
            line[stops[row, : counts[2, row]].long()] = -torch.inf
        right[number] = line
    importlib.import_module(_SAMPLE + "logit_bias").apply_logit_bias(
        logits, ours, at, counts[0].clone(), allowed_ids, counts[1].clone(), biased, bias, least,
        counts[2].clone(), torch.zeros(3, dtype=torch.int32), stops,
    )  # fmt: skip
    finite = right[right.isfinite()].abs().max()
    return Outcome("3x500", far(logits, right), step_of(dtype) * float(finite) * 1.01 + 1e-6)


def murmur3(content: bytes) -> int:
    """Return the hash of whole words by MurmurHash3 for 32 bits, with seed 0, as it is
    published.
    """
    mixed = 0
    for (word,) in struct.iter_unpack("<I", content):
        key = word * 0xCC9E2D51 & 0xFFFFFFFF
        key = (key << 15 | key >> 17) & 0xFFFFFFFF
        mixed ^= key * 0x1B873593 & 0xFFFFFFFF
        mixed = (mixed << 13 | mixed >> 19) & 0xFFFFFFFF
        mixed = mixed * 5 + 0xE6546B64 & 0xFFFFFFFF
    mixed ^= len(content)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        mixed = (mixed ^ mixed >> shift) * factor & 0xFFFFFFFF
    return mixed


def gumbel(dtype: Any) -> Outcome:
    """Draw tokens: the winner among logits with noise that a hash gives."""
    module = importlib.import_module(_SAMPLE + "gumbel")
    rows, words = 6, 1500
    logits = _logits(rows, words, dtype, seed=8)
    heat = torch.tensor([1.0, 0.0, 0.8, 1.5])
    seeds = torch.tensor([1, 2**40 + 5, -7, 99])
    mapping, at = torch.tensor([0, 1, 2, 3, 0, 2], dtype=torch.int32), torch.arange(6) * 3 + 4
    drawn = module.gumbel_sample(
        logits, mapping, heat, seeds, at, apply_temperature=True, is_drafting=False
    )
    error = 0.0
    for row, request in enumerate(mapping.tolist()):
        line = logits[row].double()
        if heat[request]:
            head = (int(seeds[request]), int(at[row]) & 0xFFFFFFFF)
            hashes = [
                murmur3(struct.pack("<q", head[0]) + struct.pack("<II", head[1], word))
                for word in range(words)
            ]
            chance = (torch.tensor(hashes, dtype=torch.float64) + 0.5) * 2.0**-32
            line = line / heat[request].double() - (-torch.log1p(-chance)).log()
        # The winner may be another one where two are as near as f32 can tell.
        error = max(error, float(line.max() - line[drawn[row]]))
    return Outcome(f"{rows}x{words}", error, 1e-5)


def with_barriers(module: Any) -> Any:
    """Return vLLM's module of the likeliest tokens with what its kernel lacks.

    The waves of a workgroup write what they have chosen to a buffer, and go on to read what others
    have written: none waits for another. Here a barrier is behind each of these writes.
    """
    path = Path(module.__file__)
    text, count = re.subn(
        r"^( +)(tl\.store\(BUFFER_ROW.*)$",
        r"\1\2\n\1tl.debug_barrier()",
        path.read_text(encoding="utf-8"),
        flags=re.MULTILINE,
    )
    assert count
    mended = path.with_name("topk_topp_with_barriers.py")
    mended.write_text(text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("topk_topp_with_barriers", mended)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def best(*, count: bool, chance: bool, barriers: bool = True, words: int = 2000) -> Outcome:
    """Keep the likeliest tokens: so many, and as many as have such a chance together."""
    module = importlib.import_module("vllm.v1.sample.ops.topk_topp_triton")
    logits = _logits(4, words, torch.float32, seed=9)
    counts = torch.tensor([5, 50, words, 1]) if count else None
    chances = torch.tensor([0.9, 0.5, 0.8, 1.0]) if chance else None
    right = logits.double()
    for row in range(4):
        line = right[row]
        if counts is not None:
            least = line.sort(descending=True).values[counts[row] - 1]
            line = line.masked_fill(line < least, -torch.inf)
        if chances is not None:
            values, order = line.softmax(0).sort(descending=True)
            removed = values.cumsum(0) - values >= chances[row].double()
            line[order[removed]] = -torch.inf
        right[row] = line
    if barriers:
        module = with_barriers(module)
    out = module.apply_top_k_top_p_triton(logits.as_subclass(OnGpu), counts, chances)
    what = " and ".join(["count"] * count + ["chance"] * chance)
    shape = f"4x{words} by {what}{', with barriers' if barriers else ''}"
    return Outcome(shape, far(out.as_subclass(torch.Tensor), right), 0)
