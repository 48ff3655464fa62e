"""Small pieces of Markdown."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SPECIAL = re.compile(r"([\\*_<>{}\[\]$|])")


def prose(text: str) -> str:
    """Return plain text, such as a docstring, as Markdown in one line.

    What is in backticks is kept as it is.
    """
    parts = re.split(r"(`+[^`]+`+)", " ".join(text.split()))
    return "".join(
        _code(part) if part.startswith("`") else _SPECIAL.sub(r"\\\1", part) for part in parts
    )


def _code(part: str) -> str:
    # A bar would end the cell of a table, also within backticks.
    return part.replace("``", "`").replace("|", r"\|")


def paragraphs(text: str) -> str:
    """Return plain text of several paragraphs as Markdown."""
    return "\n\n".join(prose(part) for part in re.split(r"\n\s*\n", text.strip()) if part.strip())


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table, whose cells are Markdown already."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def target(name: str) -> str:
    """Return the line that lets other pages link to the heading below it."""
    return f"({name})=\n"
