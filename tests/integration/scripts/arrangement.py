"""Arrange KV blocks of every kind of sender with the function that our patch adds to vLLM.

Runs alone, with the stack's Python.

    python arrangement.py

The output is a JSON object a line: how the receiver keeps heads and tokens, whether the sender does
otherwise, how many of its blocks one of the receiver's takes, whether every value came to its
place, and whether they were there already as they came.
"""

from __future__ import annotations

import itertools
import json
import sys
from importlib import import_module
from typing import Any

torch: Any = import_module("torch")
arrange: Any = import_module("vllm.distributed.kv_block_order").arrange_received_blocks

BLOCKS, HEADS, TOKENS, CONTENT = 5, 3, 8, 4
RECEIVED = (3, 1)


def cache(order: str, blocks: int, tokens: int) -> Any:
    """Return an empty cache, seen as (blocks, heads, tokens, content), in which heads or tokens lie
    outside.
    """
    if order == "heads":
        return torch.zeros(blocks, HEADS, tokens, CONTENT)
    return torch.zeros(blocks, tokens, HEADS, CONTENT).transpose(1, 2)


def try_one(order: str, pieces: int, *, other: bool) -> dict[str, object]:
    """Fill a sender's cache, move its bytes as a transfer does, and compare all values after
    arranging.
    """
    sent = cache(
        {"heads": "tokens", "tokens": "heads"}[order] if other else order,
        len(RECEIVED) * pieces,
        TOKENS // pieces,
    )
    sent.copy_(torch.arange(1, sent.numel() + 1).reshape(sent.shape))
    here = cache(order, BLOCKS, TOKENS)
    wanted = here.clone()
    raw = [
        (each if each.is_contiguous() else each.transpose(1, 2)).reshape(each.shape[0], -1)
        for each in (sent, here)
    ]
    for number, block in enumerate(RECEIVED):
        raw[1][block] = raw[0][number * pieces : (number + 1) * pieces].reshape(-1)
        wanted[block] = torch.cat(list(sent[number * pieces : (number + 1) * pieces]), dim=1)
    as_it_came = bool(torch.equal(here, wanted))
    arrange(here, torch.tensor(RECEIVED), pieces, other_order=other)
    return {
        "outside": order,
        "other": other,
        "pieces": pieces,
        "right": bool(torch.equal(here, wanted)),
        "before": as_it_came,
    }


if __name__ == "__main__":
    for order, pieces, other in itertools.product(("heads", "tokens"), (1, 2, 4), (False, True)):
        sys.stdout.write(json.dumps(try_one(order, pieces, other=other)) + "\n")
