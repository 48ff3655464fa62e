"""Plain text, matched by anchors: Dockerfiles, m4, and whatever has no grammar here."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from forkhouse.errors import PatchConflictError
from forkhouse.patches.languages import Node

if TYPE_CHECKING:
    from forkhouse.patches.edits import Selector


def find(text: str, selector: Selector, language: str) -> list[Node]:
    """Return where an anchor stands."""
    if selector.anchor is None:
        message = f"In {language} only an `anchor` can be matched this way; the other selectors need a grammar that knows them."
        raise PatchConflictError(message)
    starts = [match.start() for match in re.finditer(re.escape(selector.anchor), text)]
    return [Node(start=start, end=start + len(selector.anchor)) for start in starts]


def parses(text: str, language: str) -> bool:  # noqa: ARG001  # the protocol's signature
    """Say yes: any text is one."""
    return True
