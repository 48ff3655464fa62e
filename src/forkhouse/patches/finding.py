"""Find what a selector of an edit names in a text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkhouse.core.errors import PatchConflictError
from forkhouse.patches.backends import backend

if TYPE_CHECKING:
    from forkhouse.patches.backends import Node
    from forkhouse.patches.edits import CountRange, Selector


class MatchError(PatchConflictError):
    """An operation matched a wrong number of times, or cannot be applied where it matched."""

    def __init__(
        self,
        message: str,
        *,
        anchor: str = "",
        operation: int = 0,
        matches: int = 0,
        expected: int | CountRange = 0,
    ) -> None:
        """Keep what was looked for, for a person who has to find it.

        This is the text, the number of the operation, and how often the text was there.
        """
        super().__init__(message)
        self.anchor = anchor
        self.operation = operation
        self.matches = matches
        self.expected = expected


def scope_of(text: str, selector: Selector, language: str) -> tuple[int, int]:
    """Return the span that a selector searches.

    Raises MatchError when the scope of the selector does not exist exactly once.
    """
    if selector.within is None:
        return 0, len(text)
    scopes = find(text, selector.within, language)
    if len(scopes) != 1:
        said = selector.within.said()
        message = f"The scope `within: {said}` matched {len(scopes)} times, expected 1."
        raise MatchError(message, anchor=said, matches=len(scopes), expected=1)
    return scopes[0].scope or (scopes[0].start, scopes[0].end)


def find(text: str, selector: Selector, language: str) -> list[Node]:
    """Return what a selector matches inside its scope."""
    nodes = backend(language).find(text, selector, language)
    if selector.within is None:
        return nodes
    start, end = scope_of(text, selector, language)
    return [node for node in nodes if start <= node.start and node.end <= end]
