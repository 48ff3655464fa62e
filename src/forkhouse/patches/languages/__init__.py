"""What each language knows: where the nodes are that a selector names, the parts of a call or a list, and whether a text parses.

Every backend answers in spans of the text as it stands. Edits are spliced in at those spans, so no other byte can change.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forkhouse.patches.edits import Selector

Span = tuple[int, int]
"""Start and end of a piece of text, in characters."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """The arguments of a call, or the items of a list."""

    spans: tuple[Span, ...]
    start: int
    """Just after the opening bracket, or after the command's name."""
    end: int
    """Just before the closing bracket."""
    separator: str
    """`,`, or nothing where white space separates."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """A match of a selector."""

    start: int
    end: int
    captures: Mapping[str, str] = field(default_factory=dict)
    """Text of the pattern's metavariables."""
    arguments: Parts | None = None
    items: Parts | None = None


class Backend(Protocol):
    """A language."""

    def find(self, text: str, selector: Selector, language: str) -> list[Node]:
        """Return what a selector matches, in order, without regard to `within`. Raises PatchConflictError for a kind it does not know."""

    def parses(self, text: str, language: str) -> bool:
        """Say whether a text is well formed."""


_BACKENDS = {
    **dict.fromkeys(("python", "c", "cpp", "rust", "bash", "yaml", "json"), "astgrep"),
    "meson": "meson",
    "cmake": "cmake",
    "text": "text",
    "toml": "toml",
    "requirements": "requirements",
    "entry-points": "text",
}
_SUFFIXES = {
    ".py": "python",
    ".pyi": "python",
    ".c": "c",
    ".h": "cpp",
    **dict.fromkeys((".cc", ".cpp", ".cxx", ".hpp", ".hh", ".cu", ".cuh", ".hip"), "cpp"),
    ".rs": "rust",
    ".sh": "bash",
    ".yaml": "yaml",
    ".yml": "yaml",
    ".json": "json",
    ".cmake": "cmake",
    ".toml": "toml",
}
_NAMES = {"meson.build": "meson", "meson_options.txt": "meson", "meson.options": "meson", "CMakeLists.txt": "cmake"}


def backend(language: str) -> Backend:
    """Return the backend of a language; grammars are heavy, so each is loaded when it is first needed."""
    return cast("Backend", import_module(f"forkhouse.patches.languages.{_BACKENDS[language]}"))


def language_of(path: str) -> str:
    """Return the language of a file by its name; `text` when it tells nothing."""
    file = PurePosixPath(path)
    return _NAMES.get(file.name) or _SUFFIXES.get(file.suffix, "text")


def parses(text: str, language: str) -> bool:
    """Say whether a text is well formed in a language; plain text always is."""
    return backend(language).parses(text, language)
