"""C, as clang reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.edits import clang_

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from bench.edits.case import Case

TONGUE = clang_.tongue("file.c")


def pool(text: str) -> list[Callable[[random.Random], Case | None]]:
    """Return what makes cases of a file. Raises UnreadableError."""
    return clang_.pool(text, "file.c")
