"""Define what each language has to know, and choose the backend of a language.

A backend tells where the nodes are that a selector names, what the parts of a call or a list are,
and whether a text parses. Every backend answers in spans of the text as it is. Edits are spliced in
at those spans, so no other byte can change.
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
    """An operation changes more than it says, or that cannot be excluded.

    The message says what would change, and where.
    """

    def __init__(self, what: str, *, text: str, position: int) -> None:
        """Keep what else would change.

        `position` is a place in `text`, which is the text before or after the operation.
        """
        self.what, self.text, self.position = what, text, position
        line = text.count("\n", 0, position) + 1
        super().__init__(f"Line {line}: {what}")


class UnreadError(UnprovenError):
    """The grammar cannot read what an operation changes, or what stands beside it."""


class Layout(Enum):
    """The separator between the parts of a call or a list."""

    COMMAS = auto()
    WORDS = auto()
    """White space, which may include line ends."""
    LINE = auto()
    """White space within one line; a new line needs a backslash."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """The arguments of a call, or the items of a list."""

    spans: tuple[Span, ...]
    start: int
    """Just after the opening bracket, or after the command's name."""
    end: int
    """Just before the closing bracket."""
    commas: tuple[int, ...] = ()
    """The positions of the commas between the parts."""
    layout: Layout = Layout.COMMAS
    lone_comma: bool = False
    """A single part needs a comma behind it, as in a tuple of Python."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """A match of a selector."""

    start: int
    end: int
    captures: Mapping[str, Span] = field(default_factory=dict)
    """The spans of code that the pattern's metavariables match."""
    loose: frozenset[str] = frozenset()
    """The metavariables whose code needs brackets beside an operator; MATCH is the match itself."""
    arguments: Parts | None = None
    items: Parts | None = None
    outer: Span | None = None
    """The span to remove with the match.

    It includes the decorators, attributes and documentation of the match, and its semicolon.
    """
    gone: Span | None = None
    """The span to remove if the match shares its line with other statements.

    It includes the separator between the match and these.
    """
    doubt: str = ""
    """Why it is not known what belongs to the match; such a match is not removed."""
    head: int | None = None
    """Where a text goes that is inserted before the match: above its comments."""
    scope: Span | None = None
    """The span that `within` means, if it is more than the match.

    An example is the block that a command begins.
    """
    among: tuple[Parts, int] | None = None
    """The list that the match is a part of, and its position there."""
    instead: str | None = ""
    """The text to put in the place of the removed match, such as `pass` in an empty block.

    None means that the match cannot be removed alone.
    """
    decides: bool = False
    """Whether something depends on the success of what the match ends, as in `{ a; match; } || b`.
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
    """All changes, in positions of the text before them; no two of them overlap."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """A file before and after one operation, for the proof that only the target changed."""

    before: str
    after: str
    splices: tuple[Splice, ...]
    """The changes that turn `before` into `after`. All other characters are equal."""
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
        """Return the numbers, from 0, of the lines that begin inside a literal.

        White space at the beginning of such a line is a part of the literal.
        """

    def prove(self, step: Step) -> None:
        """Raise UnprovenError unless a reader of the language sees only the intended change.

        The characters outside of the splices are equal by construction. That says nothing about
        their meaning: a value may now belong to another key, an attribute to another function, and
        a line may be a comment.
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


_SLASHES = re.compile(r"[ \t]*+(?:/\*[^*]*+\*++(?:[^/*][^*]*+\*++)*/[ \t]*+)*(?://.*)?")


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
    """Return the one change that leads from a text to a result.

    It covers everything between the first and the last difference.
    """
    if before == after:
        return Matched(matches=matches, splices=())
    start = _alike(before, after)
    tail = _alike(before[start:][::-1], after[start:][::-1])
    return Matched(
        matches=matches, splices=((start, len(before) - tail, after[start : len(after) - tail]),)
    )


def _alike(one: str, other: str) -> int:
    """Return the length of the common beginning of two texts."""
    return next(
        (place for place, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]),
        min(len(one), len(other)),
    )


def is_blank(rest: str, language: str) -> bool:
    """Say whether the rest of a line holds no code: nothing, or a comment."""
    return _COMMENTS.get(language, _HASH).fullmatch(rest.removesuffix("\r")) is not None


def newline_at(text: str, position: int) -> str:
    """Return the line end of a position's line, or of the line before if its line has none."""
    found = text.find("\n", position)
    if found < 0:
        found = text.rfind("\n", 0, position)
    return "\r\n" if found > 0 and text[found - 1] == "\r" else "\n"


def line_start(text: str, position: int) -> int:
    """Return the start of a position's line, behind the byte-order mark of the first line."""
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
    """Return the start of the comment lines that stand directly above a line.

    This is the position itself if the comments are the head of the file. `sign` begins a comment.
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
    """Return the white space before a position on its line, or None if other text is there."""
    before = text[line_start(text, position) : position]
    return None if before.strip() else before
