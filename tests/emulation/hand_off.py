"""Move KV blocks between two workers' caches, with the function that our patch adds to vLLM."""

from __future__ import annotations

import runpy
import tempfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import torch
import yaml

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.emulation.tiny_llama import Worker

PATCH = Path(__file__).parents[2] / "patches/vllm/0009-arrange-received-kv-blocks.edit.yaml"
ADDED = "vllm/distributed/kv_block_order.py"


def arranging() -> Callable[..., None]:
    """Return the function by which a patched vLLM puts received blocks in its own order."""
    edits = yaml.safe_load(PATCH.read_text(encoding="utf-8"))["edits"]
    (content,) = (edit["content"] for edit in edits if edit.get("add") == ADDED)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, PurePosixPath(ADDED).name)
        path.write_text(content, encoding="utf-8")
        function: Callable[..., None] = runpy.run_path(str(path))["arrange_received_blocks"]
    return function


def move(
    sender: Worker, theirs: list[int], receiver: Worker, ours: list[int], *, arranged: bool = True
) -> None:
    """Copy blocks byte by byte as a transfer does, and put them in the receiver's order.

    Blocks of the receiver may be longer than the sender's. Without `arranged` they stay as they
    came.
    """
    pieces = receiver.block_tokens // sender.block_tokens
    arrange = arranging()
    other = _heads_outside(sender) != _heads_outside(receiver)
    for sent, received in zip(sender.caches, receiver.caches, strict=True):
        source, target = _lying(sent), _lying(received).view(received.shape[0], pieces, -1)
        for number, block in enumerate(theirs):
            target[ours[number // pieces], number % pieces] = source[block]
        if arranged:
            arrange(received, torch.tensor(ours), pieces, other_order=other)


def _heads_outside(worker: Worker) -> bool:
    return bool(worker.caches[0].is_contiguous())


def _lying(cache: torch.Tensor) -> torch.Tensor:
    """Return each block's numbers in the order in which they lie in memory."""
    ordered = cache if cache.is_contiguous() else cache.transpose(1, 2)
    return ordered.view(cache.shape[0], -1)
