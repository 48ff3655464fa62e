"""What each language knows.

Where the nodes are that a selector names, the parts of a call or a list, and whether a text parses.

Every backend answers in spans of the text as it stands. Edits are spliced in at those spans, so no
other byte can change.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum, auto
from importlib import import_module
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Protocol, cast

from forkhouse.core.errors import PatchConflictError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forkhouse.patches.edits import Operation, Selector


Span = tuple[int, int]
"""Start and end of a piece of text, in characters."""


Splice = tuple[int, int, str]
"""A span of the old text, and what takes its place."""


class UnprovenError(PatchConflictError):
    """An operation changes more than it says, or that cannot be told.

    The message says what, and where.
    """

    def __init__(self, what: str, *, text: str, position: int) -> None:
        """Say what would change besides.

        `position` is in `text`, whichever of the two texts that is.
        """
        line = text.count("\n", 0, position) + 1
        super().__init__(f"Line {line}: {what}")


class Layout(Enum):
    """What separates the parts of a call or a list."""

    COMMAS = auto()
    WORDS = auto()
    """White space, line ends among it."""
    LINE = auto()
    """White space of one line; a new line needs a backslash."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """The arguments of a call, or the items of a list."""

    spans: tuple[Span, ...]
    start: int
    """Just after the opening bracket, or after the command's name."""
    end: int
    """Just before the closing bracket."""
    commas: tuple[int, ...] = ()
    """Where the commas between them stand."""
    layout: Layout = Layout.COMMAS
    lone_comma: bool = False
    """A single part needs a comma behind it, as in a tuple of Python."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """A match of a selector."""

    start: int
    end: int
    captures: Mapping[str, Span] = field(default_factory=dict)
    """Where the code stands that the pattern's metavariables stand for."""
    loose: frozenset[str] = frozenset()
    """Those of them that need brackets beside an operator; MATCH is the match itself."""
    arguments: Parts | None = None
    items: Parts | None = None
    outer: Span | None = None
    """What goes with the match when it is removed.

    Its decorators, attributes and documentation, its semicolon.
    """
    gone: Span | None = None
    """What goes with it besides, where it shares its line with other statements.

    What separates it from them.
    """
    doubt: str = ""
    """Why it cannot be told what belongs to it, where that is so: it is not removed then."""
    head: int | None = None
    """Where something goes that is put before it: above comments that stand directly over it."""
    scope: Span | None = None
    """What `within` means by it, where that is more than the match.

    The block that a command begins.
    """
    among: tuple[Parts, int] | None = None
    """The list that the match is a part of, and its position there."""
    instead: str | None = ""
    """What has to stand where the match was removed: `pass` in a block that is empty otherwise.

    None for what cannot go alone.
    """

    @property
    def whole(self) -> Span:
        """The match with all that belongs to it."""
        return self.outer or (self.start, self.end)


@dataclass(frozen=True, kw_only=True, slots=True)
class Matched:
    """What an operation changes, by what it matched."""

    matches: int
    splices: tuple[Splice, ...]
    """All that changes, in terms of the text before; two of them never overlap."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """A file before and after one operation, for a proof that nothing but what was meant has changed."""

    before: str
    after: str
    splices: tuple[Splice, ...]
    """What lies between the two. All characters outside of them are the same ones."""
    operation: Operation
    language: str


class Backend(Protocol):
    """A language."""

    def find(self, text: str, selector: Selector, language: str) -> list[Node]:
        """Return what a selector matches, in order, without regard to `within`.

        Raises PatchConflictError for a kind it does not know.
        """

    def faults(self, text: str, language: str) -> int:
        """Return how many places of a text are not well formed.

        A parser that stops at the first one says 1.
        """

    def inner_lines(self, text: str, language: str) -> set[int]:
        """Return the numbers, from 0, of the lines that begin inside a literal, whose white space is a part of it."""

    def prove(self, step: Step) -> None:
        """Raise UnprovenError unless a reader of the language sees that only what the operation says has changed.

        The characters outside of the splices are the same by construction. That says nothing of what they mean: a value may have
        become another key's, an attribute another function's, a line a comment.
        """


_BACKENDS = {
    **dict.fromkeys(("python", "c", "cpp", "rust", "bash"), "astgrep"),
    **dict.fromkeys(("yaml", "json", "toml"), "keyed"),
    "meson": "meson",
    "cmake": "cmake",
    "text": "text",
    "requirements": "requirements",
    "entry-points": "entrypoints",
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


_NAMES = {
    "meson.build": "meson",
    "meson_options.txt": "meson",
    "meson.options": "meson",
    "CMakeLists.txt": "cmake",
}


_SLASHES = re.compile(r"[ \t]*+(?:/\*(?:[^*]|\*(?!/))*+\*/[ \t]*+)*+(?://.*)?")


_HASH = re.compile(r"[ \t]*+(?:#.*)?")


_BLANK = re.compile(r"[ \t]*+")


_CMAKE = re.compile(r"[ \t]*+(?:#\[(=*)\[.*?\]\1\][ \t]*+)*(?:#(?!\[=*\[).*)?")
"""A bracket comment ends before its line does."""


_COMMENTS = {
    **dict.fromkeys(("c", "cpp", "rust"), _SLASHES),
    **dict.fromkeys(("json", "text"), _BLANK),
    "cmake": _CMAKE,
}


def backend(language: str) -> Backend:
    """Return the backend of a language.

    Grammars are heavy, so each is loaded when it is first needed.
    """
    return cast("Backend", import_module(f"forkhouse.patches.languages.{_BACKENDS[language]}"))


def language_of(path: str) -> str:
    """Return the language of a file by its name; `text` when it tells nothing."""
    file = PurePosixPath(path)
    return _NAMES.get(file.name) or _SUFFIXES.get(file.suffix, "text")


def faults(text: str, language: str) -> int:
    """Return how many places of a text are not well formed in a language; plain text has none."""
    return backend(language).faults(text, language)


def parses(text: str, language: str) -> bool:
    """Say whether a text is well formed in a language; plain text always is."""
    return faults(text, language) == 0


def whole(before: str, after: str, matches: int) -> Matched:
    """Return a change that is known by its result alone.

    What lies between the first and the last difference.
    """
    if before == after:
        return Matched(matches=matches, splices=())
    start = _alike(before, after)
    tail = _alike(before[start:][::-1], after[start:][::-1])
    return Matched(
        matches=matches, splices=((start, len(before) - tail, after[start : len(after) - tail]),)
    )


def _alike(one: str, other: str) -> int:
    """Return how many characters two texts begin with alike."""
    return next(
        (place for place, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]),
        min(len(one), len(other)),
    )


def is_blank(rest: str, language: str) -> bool:
    """Say whether the rest of a line holds no code: nothing, or a comment."""
    return _COMMENTS.get(language, _HASH).fullmatch(rest.removesuffix("\r")) is not None


def newline_at(text: str, position: int) -> str:
    """Return the line end of the line of a position, or of the one before where the file ends with it."""
    found = text.find("\n", position)
    if found < 0:
        found = text.rfind("\n", 0, position)
    return "\r\n" if found > 0 and text[found - 1] == "\r" else "\n"


def line_start(text: str, position: int) -> int:
    """Return where the line of a position begins; a byte-order mark is no part of the first one."""
    found = text.rfind("\n", 0, position) + 1
    return 1 if found == 0 and position > 0 and text.startswith("\ufeff") else found


def line_end(text: str, position: int) -> int:
    """Return where the line of a position ends, before its line end."""
    found = text.find("\n", position)
    if found < 0:
        return len(text)
    return found - 1 if found > position and text[found - 1] == "\r" else found


def next_line(text: str, position: int) -> int:
    """Return where the line after the one of a position begins."""
    found = text.find("\n", position)
    return len(text) if found < 0 else found + 1


def above_comments(text: str, position: int, sign: str) -> int:
    """Return where the lines of comments begin that stand directly over a line.

    The position itself where they are the file's head.

    `sign` begins a comment.
    """
    start = line_start(text, position)
    first = start
    while first > 0 and text[line_start(text, first - 1) : first].lstrip(" \t\ufeff").startswith(
        sign
    ):
        first = line_start(text, first - 1)
    if first in {start, 0}:
        return position
    return first + len(text[first:]) - len(text[first:].lstrip(" \t"))


def indentation(text: str, position: int) -> str | None:
    """Return the white space before a position on its line, None when something else stands there."""
    before = text[line_start(text, position) : position]
    return None if before.strip() else before
