"""A text that is changed step by step, and what lies between it and what it was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forkhouse.patches.languages.base import Splice


@dataclass(frozen=True, slots=True)
class Pieces:
    """A text, and where each of its characters stood in an older one."""

    text: str
    places: tuple[int, ...]
    """-1 for a character that is new."""
    length: int
    """Of the older text."""

    @classmethod
    def of(cls, text: str) -> Pieces:
        """Return a text that is as it was."""
        return cls(text, tuple(range(len(text))), len(text))

    def changed(self, splices: Sequence[Splice]) -> Pieces:
        """Return the text with splices put into it, which are in terms of the text as it is."""
        text, places = self.text, self.places
        for start, stop, new in sorted(splices, key=lambda splice: splice[:2], reverse=True):
            text = text[:start] + new + text[stop:]
            places = places[:start] + (-1,) * len(new) + places[stop:]
        return Pieces(text, places, self.length)

    def splices(self) -> list[Splice]:
        """Return what lies between the text as it was and as it is."""
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
