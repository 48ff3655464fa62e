"""Plain text, matched by anchors: Dockerfiles, m4, and whatever has no grammar here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkhouse.errors import PatchConflictError
from forkhouse.patches.languages import Node, newline_of

if TYPE_CHECKING:
    from forkhouse.patches.edits import Selector
    from forkhouse.patches.languages import Step


def find(text: str, selector: Selector, language: str) -> list[Node]:
    """Return where an anchor stands; its line ends are those of the text."""
    if selector.anchor is None:
        message = f"In {language} only an `anchor` can be matched this way; the other selectors need a grammar that knows them."
        raise PatchConflictError(message)
    anchor = selector.anchor.replace("\r\n", "\n").replace("\n", newline_of(text))
    nodes = []
    # One character on, not one match on: an anchor that overlaps itself is not unique.
    start = text.find(anchor)
    while start >= 0:
        nodes.append(Node(start=start, end=start + len(anchor)))
        start = text.find(anchor, start + 1)
    return nodes


def faults(text: str, language: str) -> int:  # noqa: ARG001  # the protocol's signature
    """Return none: any text is one."""
    return 0


def inner_lines(text: str, language: str) -> set[int]:  # noqa: ARG001  # the protocol's signature
    """Return none: plain text has no literals."""
    return set()


def prove(step: Step) -> None:  # the protocol's signature
    """Say nothing: plain text has no meaning that an engine could know, and outside of the splices it is the same."""
