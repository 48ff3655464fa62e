"""Regular expressions mean the same to every Python that is supported."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import forkhouse

SOURCES = Path(forkhouse.__file__).parent
GREEDY_GROUP = re.compile(r"\)(?:[*+?]|\{\d*,?\d*\})\+|\(\?>")


def test_no_group_is_possessive() -> None:
    """Pythons before 3.11.5, such as Debian 12's own, match such groups wrongly."""
    found, count = [], 0
    for path in sorted(SOURCES.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                count += 1
                if GREEDY_GROUP.search(node.value):
                    found.append(f"{path.relative_to(SOURCES)}:{node.lineno}")
    assert found == []
    assert count > 10_000
