"""Plain text, matched by anchors: Dockerfiles, m4, and whatever has no grammar here."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from forkhouse.core.errors import PatchConflictError
from forkhouse.patches.languages.base import Node

if TYPE_CHECKING:
    from forkhouse.patches.edits import Selector
    from forkhouse.patches.languages.base import Step


def find(text: str, selector: Selector, language: str) -> list[Node]:
    """Return where an anchor stands, whatever line ends the text has there."""
    if selector.anchor is None:
        message = (
            f"In {language} only an `anchor` can be matched this way; the other selectors need a "
            "grammar that knows them."
        )
        raise PatchConflictError(message)
    # Overlapping matches count as well: an anchor that overlaps itself is not unique.
    wanted = re.compile(f"(?=({spelt(selector.anchor)}))")
    return [Node(start=match.start(1), end=match.end(1)) for match in wanted.finditer(text)]


def spelt(said: str) -> str:
    """Return an expression that finds a text with whatever line ends the file has at that place."""
    return r"\r?\n".join(re.escape(line) for line in said.replace("\r\n", "\n").split("\n"))


def faults(text: str, language: str) -> int:  # the protocol's signature
    """Return none: any text is one."""
    return 0


def inner_lines(text: str, language: str) -> set[int]:  # the protocol's signature
    """Return none: plain text has no literals."""
    return set()


def prove(step: Step) -> None:  # the protocol's signature
    """Say nothing.

    Plain text has no meaning that an engine could know, and outside of the splices it is the same.
    """
