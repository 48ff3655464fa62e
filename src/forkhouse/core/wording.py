"""How messages show lists, and the end of what a program said."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_LONGEST = 3000
"""Characters of what a program said."""


def bullets(items: Iterable[object]) -> str:
    """Return items as lines of a list."""
    return "\n".join(f"  - {item}" for item in items)


def end_of(said: str) -> str:
    """Return the end of what a program said, which tells why it failed."""
    return said.strip()[-_LONGEST:]


def quoted(lines: Sequence[str]) -> str:
    """Return lines of a log, marked as somebody else's words."""
    return "\n".join(f"  | {line}" for line in lines) or "  | (empty)"
