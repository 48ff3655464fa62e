"""What a diff says: parts of files, their hunks, and where it cannot be read."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pygit2.enums import FileMode


class DiffSyntaxError(ValueError):
    """A patch file is no diff that can be applied as a whole.

    Says why, and in which of its lines.
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
    """Bring the first lines of a file that is empty or not there.

    A diff without modes does not say which.
    """


@dataclass(frozen=True, kw_only=True, slots=True)
class Hunk:
    """Some lines of a file and what they become."""

    line: int
    """Where it begins in the patch file, counted from 1."""
    old_start: int
    new_start: int
    before: tuple[bytes, ...]
    """The lines that it wants, with their ends."""
    after: tuple[bytes, ...]
    """The lines that it leaves."""
    marks: bytes
    """Of each line whether it stays (blank), goes (`-`) or comes (`+`)."""

    @property
    def leading(self) -> int:
        """How many lines of context it begins with."""
        return len(self.marks) - len(self.marks.lstrip(b" "))

    @property
    def trailing(self) -> int:
        """How many lines of context it ends with."""
        return len(self.marks) - len(self.marks.rstrip(b" "))


@dataclass(frozen=True, kw_only=True, slots=True)
class Binary:
    """The change of a file that has no lines.

    Its new content, or how to make it from the old one.
    """

    content: bytes | None
    """None where the patch says no more than that it differs."""
    is_delta: bool = False
    """Whether the content is one of git's deltas (see gitformat-pack)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """What a diff says of one file."""

    line: int
    """Where it begins in the patch file, counted from 1."""
    kind: PartKind
    old: str
    """The file that is read; of one that is added, its name."""
    new: str
    """The file that is written; of one that is removed, its name."""
    mode: FileMode | None = None
    """The mode that it gives, None to leave it."""
    old_mode: FileMode | None = None
    """The mode that the file is said to have."""
    ids: tuple[str, str] = ("", "")
    """The contents before and after by (abbreviated) id, where the patch names them."""
    hunks: tuple[Hunk, ...] = ()
    binary: Binary | None = None
    is_prefixed: bool = False
    """Whether the names bore git's own first folders, such as `a/` and `b/`, of which one is to be
    taken off and nothing else."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Diff:
    """Parts that belong to one state of the tree."""

    line: int
    parts: tuple[Part, ...]


class StripError(DiffSyntaxError):
    """The names make no sense with so many leading folders taken off."""
