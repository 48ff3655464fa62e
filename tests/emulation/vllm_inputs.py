"""vLLM's kernels that keep the books of a batch, with its host code, beside the same in Python.

All of them move whole numbers, so what they leave must be equal.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import torch

from tests.emulation.vllm_sampler import Outcome, far

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.emulation.emulated_triton import Emulated

_GPU = "vllm.v1.worker.gpu."
INT = torch.int32


def _ints(*values: Any) -> torch.Tensor:
    return torch.tensor(values, dtype=INT)


def _worst(*pairs: tuple[torch.Tensor, Any]) -> float:
    return max(far(out, torch.as_tensor(right)) for out, right in pairs)


def block_tables(device: Emulated) -> Outcome:
    """Write blocks to tables of two groups, gather those of a batch, and find its tokens' slots."""
    module = importlib.import_module(_GPU + "block_table")
    cpu = torch.device("cpu")
    tables = module.BlockTables([16, 32], 4, 64, [8, 6], cpu, [16, 16])
    device.reachable = [
        *(each.gpu for each in tables.block_tables), *tables.input_block_tables
    ]  # fmt: skip
    blocks = {0: ([3, 9, 4], [7]), 2: ([5], [2, 8])}
    for request, ids in blocks.items():
        tables.append_block_ids(request, ids, overwrite=True)
    tables.append_block_ids(0, ([11], [1]), overwrite=False)
    tables.apply_staged_writes()
    # A block of 32 tokens is two blocks of 16 to the kernels.
    wanted = {
        0: ([3, 9, 4, 11], [14, 15, 2, 3]),
        2: ([5], [4, 5, 16, 17]),
    }
    gathered = tables.gather_block_tables(_ints(2, 0), num_reqs_padded=3)
    error = 0.0
    for group, table in enumerate(gathered):
        right = torch.zeros_like(table)
        for place, request in enumerate((2, 0)):
            row = wanted[request][group]
            right[place, : len(row)] = _ints(*row)
        error = max(error, far(table, right))
    positions = torch.tensor([0, 1, 2, 50, 51, 0, 0, 0])
    slots = tables.compute_slot_mappings(_ints(2, 0), _ints(0, 3, 5), positions, 8)
    for group in range(2):
        numbers = [
            wanted[request][group][position // 16] * 16 + position % 16
            for request, position in ((2, 0), (2, 1), (2, 2), (0, 50), (0, 51))
        ]
        error = max(error, far(slots[group], torch.tensor([*numbers, -1, -1, -1])))
    return Outcome("2 groups, 2 requests", error, 0)


def staged_writes(_: Emulated) -> Outcome:
    module = importlib.import_module(_GPU + "buffer_utils")
    error = 0.0
    for kind in (torch.int32, torch.int64, torch.float32):
        tensor = module.StagedWriteTensor((3, 2000), kind, torch.device("cpu"))
        right = torch.zeros(3, 2000, dtype=kind)
        for row, start, length in ((2, 5, 1500), (0, 0, 1), (2, 1600, 30)):
            values = [(7 * place + row) % 1000 for place in range(length)]
            tensor.stage_write(row, start, values)
            right[row, start : start + length] = torch.tensor(values).to(kind)
        tensor.apply_write()
        error = max(error, far(tensor.gpu, right))
    return Outcome("3x2000 i32, i64, f32", error, 0)


def prefill_inputs(_: Emulated) -> Outcome:
    module = importlib.import_module(_GPU + "input_batch")
    tokens = torch.arange(4 * 2000, dtype=INT).view(4, 2000)
    lengths, computed = _ints(10, 1700, 30, 4), _ints(10, 100, 28, 0)
    starts, rows = _ints(0, 1, 1301, 1303), _ints(0, 1, 2)
    ids, ahead = torch.full((1310,), -1, dtype=INT), torch.full((2, 4), -1, dtype=INT)
    module.prepare_prefill_inputs(ids, ahead, rows, starts, tokens, lengths, computed)
    wanted = torch.full((1310,), -1, dtype=INT)
    wanted[1:1301] = tokens[1, 100:1400]
    wanted[1301:1303] = tokens[2, 28:30]
    next_ones = torch.full((2, 4), -1, dtype=INT)
    next_ones[:, 1], next_ones[:, 2] = tokens[1, 1400:1402], 0
    return Outcome("3 requests, 1300 tokens", _worst((ids, wanted), (ahead, next_ones)), 0)


def positions(_: Emulated) -> Outcome:
    module = importlib.import_module(_GPU + "input_batch")
    at, lengths = torch.full((1300,), -1), torch.full((6,), -1, dtype=INT)
    module.prepare_pos_seq_lens(_ints(1, 0), _ints(0, 1200, 1203), _ints(40, 7), at, lengths)
    wanted = torch.full((1300,), -1)
    wanted[:1200], wanted[1200:1203] = torch.arange(7, 1207), torch.arange(40, 43)
    error = _worst((at, wanted), (lengths, _ints(1207, 43, 0, 0, 0, 0)))
    return Outcome("2 requests, 1203 tokens", error, 0)


def drafts(_: Emulated) -> Outcome:
    """Put the last sampled tokens and drafts among the inputs of the next step."""
    module = importlib.import_module(_GPU + "input_batch")
    ids, last = torch.zeros(12, dtype=INT), torch.tensor([70, 71, 72, 73])
    draft = torch.tensor([[1, 2, 3], [4, 5, 6], [7, 8, 9], [10, 11, 12]])
    # Of three requests one still reads its prompt, and one has no drafts.
    starts, lengths, prompts = _ints(0, 4, 9, 10), _ints(20, 9, 31), _ints(30, 16, 15, 16)
    logits = _ints(0, 4, 5, 6)
    found = module.combine_sampled_and_draft_tokens(
        ids, _ints(2, 0, 3), last, starts, lengths, prompts, draft, logits, 6
    )
    wanted = _ints(72, 7, 8, 9, 0, 0, 0, 0, 0, 73, 0, 0)
    return Outcome(
        "3 requests, 3 drafts",
        _worst((ids, wanted), (found, torch.tensor([0, 1, 2, 3, 8, 9]))),
        0,
    )


def rejected(_: Emulated) -> Outcome:
    module = importlib.import_module(_GPU + "input_batch")
    sampled, refused = module.get_num_sampled_and_rejected(
        _ints(2, 1, 3), _ints(20, 9, 31), _ints(0, 4, 5, 9), _ints(2, 0, 1), _ints(30, 31, 15)
    )
    return Outcome("3 requests", _worst((sampled, _ints(2, 0, 3)), (refused, _ints(2, 0, 1))), 0)


def updates(_: Emulated) -> Outcome:
    """Take what was sampled into the state of the requests."""
    module = importlib.import_module(_GPU + "input_batch")
    computed, last = _ints(5, 6, 7, 8), torch.tensor([0, 1, 2, 3])
    counts, everything = torch.zeros(4, 50, dtype=INT), torch.zeros(4, 20, dtype=INT)
    sampled = torch.tensor([[9, 9, 4], [1, 0, 0], [2, 2, 2]])
    totals = _ints(10, 11, 12, 13)
    module.post_update(
        _ints(3, -1, 1), computed, last, counts, sampled, _ints(3, 1, 0), _ints(1, 0, 2),
        _ints(0, 4, 5, 8), everything, totals,
    )  # fmt: skip
    seen, written = torch.zeros(4, 50, dtype=INT), torch.zeros(4, 20, dtype=INT)
    seen[3, 9], seen[3, 4] = 2, 1
    written[3, 13:16] = _ints(9, 9, 4)
    error = _worst(
        (computed, _ints(5, 7, 7, 11)),
        (last, [0, 1, 2, 4]),
        (totals, _ints(10, 11, 12, 16)),
        (counts, seen),
        (everything, written),
    )
    return Outcome("3 requests, one of them none", error, 0)


def prompt_tokens(_: Emulated) -> Outcome:
    module = importlib.import_module(_GPU + "sample.prompt_logprob")
    tokens = torch.arange(3 * 1500, dtype=INT).view(3, 1500)
    found = module.get_prompt_logprobs_token_ids(
        1203, _ints(0, 1200, 1203), _ints(2, 0), _ints(40, 9, 7), tokens
    )
    wanted = torch.cat([tokens[2, 8:1208], tokens[0, 41:44]])
    return Outcome("2 requests, 1203 tokens", far(found, wanted), 0)


CASES: dict[str, Callable[[Emulated], Outcome]] = {
    each.__name__: each
    for each in (
        block_tables, staged_writes, prefill_inputs, positions, drafts, rejected, updates,
        prompt_tokens,
    )
}  # fmt: skip
