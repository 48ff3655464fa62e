"""The packages and modules of the code, from their docstrings."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from docs.generate.text import prose, table

SOURCE = Path(__file__).parents[2] / "src" / "forkhouse"


def modules() -> str:
    """Return a table of the top packages and modules, each with its first sentence."""
    rows = [[f"`{name}`", prose(text)] for name, text in described()]
    return table(("part", "what it is for"), rows)


def described() -> list[tuple[str, str]]:
    """Return the name of each part and the first sentence of its docstring.

    Raises ValueError for a part without one.
    """
    packages = [(f"{file.parent.name}/", file) for file in SOURCE.glob("*/__init__.py")]
    alone = [(file.stem, file) for file in SOURCE.glob("*.py") if not file.stem.startswith("__")]
    return [(name, _sentence(file)) for name, file in [*sorted(packages), *sorted(alone)]]


def _sentence(file: Path) -> str:
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
    if not text:
        message = f"{file} has no docstring that says what it is for"
        raise ValueError(message)
    return re.split(r"(?<=\.)\s|\n\s*\n", text, maxsplit=1)[0]
