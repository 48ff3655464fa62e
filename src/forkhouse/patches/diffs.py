"""Hold what a diff says: the parts of files, their hunks, and the error for invalid diffs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pygit2.enums import FileMode


class DiffSyntaxError(ValueError):
    """A patch file is no diff that can be applied as a whole.

    The error says why, and in which line of the file.
    """

    def __init__(self, line: int, reason: str) -> None:
        """Remember the line, counted from 1, and the reason."""
        super().__init__(f"line {line}: {reason}")
        self.line = line
        self.reason = reason


class PartKind(StrEnum):
    """What a part does to its file."""

    CHANGE = "change"
    ADD = "add"
    REMOVE = "remove"
    RENAME = "rename"
    COPY = "copy"
    FILL = "fill"
    """Write the first lines of a file that is empty or does not exist.

    A diff without modes does not say which of the two it is.
    """


@dataclass(frozen=True, kw_only=True, slots=True)
class Hunk:
    """Some lines of a file and what they become."""

    line: int
    """Where it begins in the patch file, counted from 1."""
    old_start: int
    new_start: int
    before: tuple[bytes, ...]
    """The lines that the hunk expects, with their line ends."""
    after: tuple[bytes, ...]
    """The lines that the hunk leaves, with their line ends."""
    marks: bytes
    """For each line, whether it stays (blank), is removed (`-`) or is added (`+`)."""

    @property
    def leading(self) -> int:
        """How many lines of context it begins with."""
        return len(self.marks) - len(self.marks.lstrip(b" "))

    @property
    def trailing(self) -> int:
        """How many lines of context it ends with."""
        return len(self.marks) - len(self.marks.rstrip(b" "))

    def removals(self) -> Iterator[tuple[int, int, bool]]:
        """Yield where in `before` each run of lines that go begins and ends.

        And whether new lines stand directly beside it, in its stead.
        """
        for run in re.finditer(rb"-+", self.marks):
            start = run.start() - self.marks.count(b"+", 0, run.start())
            beside = self.marks[max(0, run.start() - 1) : run.start()] + self.marks[run.end() :][:1]
            yield start, start + len(run[0]), b"+" in beside


@dataclass(frozen=True, kw_only=True, slots=True)
class Binary:
    """The change of a file that has no lines.

    It holds the new content, or how to make it from the old one.
    """

    content: bytes | None
    """None if the patch says only that the file differs."""
    is_delta: bool = False
    """Whether the content is one of git's deltas (see gitformat-pack)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """What a diff says of one file."""

    line: int
    """Where it begins in the patch file, counted from 1."""
    kind: PartKind
    old: str
    """The file that is read; for an added file, its own name."""
    new: str
    """The file that is written; for a removed file, its own name."""
    mode: FileMode | None = None
    """The mode that the part sets, or None to keep it."""
    old_mode: FileMode | None = None
    """The mode that the file is said to have."""
    ids: tuple[str, str] = ("", "")
    """The (possibly abbreviated) ids of the contents before and after, if the patch names them."""
    hunks: tuple[Hunk, ...] = ()
    binary: Binary | None = None
    is_prefixed: bool = False
    """Whether the names have git's own first folders, such as `a/` and `b/`.

    Then exactly that one folder is to be taken off.
    """


@dataclass(frozen=True, kw_only=True, slots=True)
class Diff:
    """The parts that apply to one state of the tree."""

    line: int
    parts: tuple[Part, ...]


class StripError(DiffSyntaxError):
    """The names make no sense after so many leading folders are taken off."""
