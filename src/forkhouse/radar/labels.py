"""How a commit is named for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pygit2


def label(commit: pygit2.Commit) -> str:
    """Return how a commit is told to a person."""
    return f"{str(commit.id)[:12]} {commit.message.partition(chr(10))[0]}"
