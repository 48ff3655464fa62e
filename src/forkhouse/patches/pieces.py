"""Change a text step by step, and keep its difference to the original."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from forkhouse.core.errors import PatchConflictError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forkhouse.patches.backends import Splice


def spliced(text: str, splices: Sequence[Splice]) -> str:
    """Return a text with splices put into it.

    Splices at one place keep their order. Raises PatchConflictError when splices overlap.
    """
    pieces = []
    begun = 0
    for start, stop, new in sorted(splices, key=lambda splice: splice[:2]):
        if start < begun:
            message = (
                "Two matches lie one in the other, or share what separates them, so both cannot be "
                "changed at once. Narrow the pattern, match "
                "the outer one alone, or write an operation for each."
            )
            raise PatchConflictError(message)
        pieces += [text[begun:start], new]
        begun = stop
    return "".join([*pieces, text[begun:]])


@dataclass(frozen=True, slots=True)
class Pieces:
    """A text, with the position of each of its characters in an older text."""

    text: str
    places: tuple[int, ...]
    """The old positions; -1 for a new character."""
    length: int
    """The length of the older text."""

    @classmethod
    def of(cls, text: str) -> Pieces:
        """Return a text that has not changed."""
        return cls(text, tuple(range(len(text))), len(text))

    def changed(self, splices: Sequence[Splice]) -> Pieces:
        """Return the text after splices, whose positions are in the current text."""
        text, places = self.text, self.places
        ordered = sorted(splices, key=lambda splice: splice[:2])
        for start, stop, new in reversed(ordered):  # `reverse=True` keeps equal ones in order
            text = text[:start] + new + text[stop:]
            places = places[:start] + (-1,) * len(new) + places[stop:]
        return Pieces(text, places, self.length)

    def splices(self) -> list[Splice]:
        """Return the splices that turn the older text into this one."""
        found: list[Splice] = []
        at, new = 0, []
        for character, place in zip([*self.text, ""], [*self.places, self.length], strict=True):
            if place < 0:
                new.append(character)
                continue
            if new or place > at:
                found.append((at, place, "".join(new)))
            at, new = place + 1, []
        return found
