"""The reader of each language, and how many of the operations are on it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from bench.edits.case import Pool
from bench.edits.stream import UnreadableError

if TYPE_CHECKING:
    from bench.edits.corpus import File

_MODULES = {
    "python": "python",
    "c": "c",
    "cpp": "cpp",
    "rust": "rust",
    "bash": "bash_",
    "cmake": "cmake_",
    "meson": "meson_",
    "json": "json_",
    "yaml": "yaml_",
    "toml": "toml_",
    "requirements": "requirements",
    "metadata": "metadata",
    "entry-points": "entrypoints",
}
SHARES = {
    "python": 20,
    "c": 8,
    "cpp": 10,
    "rust": 12,
    "bash": 6,
    "cmake": 8,
    "meson": 6,
    "json": 8,
    "yaml": 14,
    "toml": 8,
    "requirements": 8,
    "metadata": 4,
    "entry-points": 2,
}
"""Blocks of every language in a round of blocks."""


def pool_of(file: File) -> Pool | None:
    """Return what makes cases of a file; None when its language's own reader refuses it."""
    try:
        return Pool(import_module(f"bench.edits.{_MODULES[file.language]}").pool(file.text))
    except (UnreadableError, RecursionError):
        return None
