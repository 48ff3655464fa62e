"""Compare the nodes of a tree before and after an operation."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Protocol

from forkhouse.patches.backends import UnreadError
from forkhouse.patches.edits import CodeOperation

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from forkhouse.patches.backends import Splice, Step


SHOWN = 40
"""The number of characters of a piece of code that a message shows."""


class Tree(Protocol):
    """A node of a grammar's tree, with its positions counted in characters."""

    @property
    def kind(self) -> str:
        """The grammar's name for the kind of node."""

    @property
    def start(self) -> int:
        """Where it begins."""

    @property
    def end(self) -> int:
        """Where it ends, without white space behind it."""

    @property
    def role(self) -> NodeRole:
        """The relation of the node to its neighbours."""

    def children(self) -> Sequence[Tree]:
        """Return the nodes in it, in order."""


class NodeRole(Enum):
    """The relation of a node to its neighbours."""

    CODE = auto()
    LEAD = auto()
    """It belongs to the next node that is code: an attribute, a comment of documentation."""
    COMMENT = auto()
    FAULT = auto()
    """The grammar could not read it, or made it up."""


@dataclass(frozen=True, slots=True)
class Shift:
    """The positions of the old text in the new text."""

    splices: tuple[Splice, ...]
    """The splices, in the order of their positions."""

    def start(self, place: int) -> int:
        """Return the new start of a piece that began at a position: behind any insertion there."""
        return place + sum(
            len(new) - (stop - start) for start, stop, new in self.splices if stop <= place
        )

    def end(self, place: int) -> int:
        """Return the new end of a piece that ended at a position: before any insertion there."""
        return place + sum(
            len(new) - (stop - start)
            for start, stop, new in self.splices
            if start < place and stop <= place
        )

    def touches(self, start: int, end: int) -> bool:
        """Say whether a splice changes characters of a piece, or puts some in its middle."""
        return any(first < end and last > start for first, last, _ in self.splices)

    def leaves(self, text: str, start: int, end: int) -> bool:
        """Say whether anything but white space of a piece remains."""
        for first, last, _ in self.splices:
            if first < end and last > start:
                if text[start : max(start, first)].strip():
                    return True
                start = max(start, last)
        return start < end and bool(text[start:end].strip())

    def new(self) -> Iterator[tuple[int, int]]:
        """Yield the spans of inserted text in the new text."""
        moved = 0
        for start, stop, new in self.splices:
            yield start + moved, start + moved + len(new)
            moved += len(new) - (stop - start)


def shift_of(step: Step) -> Shift:
    """Return the positions of the old text in the text after an operation."""
    return Shift(tuple(sorted(step.splices, key=lambda splice: splice[:2])))


Known = dict[tuple[int, int], tuple[Tree, Tree]]
"""Nodes of the new tree, by their spans, each with the old node that it was and itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """An operation with what it changed, for the proofs."""

    step: Step
    root: Tree
    """The root of the new tree."""
    shift: Shift
    new: tuple[tuple[int, int], ...]
    """The spans of inserted text in the new text."""

    def by_anchor(self) -> bool:
        """Say whether the operation selects a text by an `anchor`, in whatever construct it is."""
        operation = self.step.operation
        if not isinstance(operation, CodeOperation):
            return False
        place = operation.insert
        selectors = (
            operation.replace,
            operation.wrap,
            operation.remove,
            place.before if place else None,
            place.after if place else None,
        )
        return any(selector is not None and selector.anchor is not None for selector in selectors)

    def is_new(self, node: Tree) -> bool:
        """Say whether a node holds inserted text.

        A token that the grammar made up does not count.
        """
        return node.start >= node.end or any(
            first < node.end and last > node.start for first, last in self.new
        )

    def removed(self, node: Tree) -> bool:
        """Say whether a node is removed without a replacement."""
        return not any(
            new.strip()
            for start, stop, new in self.shift.splices
            if start < node.end and stop > node.start
        )

    def unread(self, node: Tree) -> UnreadError:
        """Return the error for a node that the grammar does not read."""
        what = (
            f"the grammar of {self.step.language} does not read '{self.said(node)}', so what is "
            "changed in or beside it cannot be told. "
            "Edit this place by an `anchor`, in the language text."
        )
        return UnreadError(what, text=self.step.before, position=node.start)

    def said(self, node: Tree, *, now: bool = False) -> str:
        """Return the text of a node for a message, of a node of the new tree if `now`."""
        text = " ".join(
            (self.step.after if now else self.step.before)[node.start : node.end].split()
        )
        return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def name_of(node: Tree) -> str:
    """Return the kind of a node in words."""
    return node.kind.replace("_", " ")
