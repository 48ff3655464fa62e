"""Find where the parts of a patch file begin, by the shape of its lines."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

NUMBER = rb"\d{1,18}"
"""No file has more lines or bytes, and Python refuses to read longer numbers at some length."""
RANGES = re.compile(rb"@@ -(N)(?:,(N))? \+(N)(?:,(N))? @@".replace(b"N", NUMBER))
EXTENDED = re.compile(
    rb"(old mode|new mode|deleted file mode|new file mode"
    rb"|copy from|copy to|rename from|rename to|rename old|rename new"
    rb"|similarity index|dissimilarity index|index) (.*)"
)
_BODIES = (b"--- ", b"@@ -", b"GIT binary patch", b"Binary files ")
"""What may follow the head of a part; a head without lines of its own is then refused."""


class Lines:
    """The lines of a patch file, which have no line feeds any more, counted from 0."""

    def __init__(self, lines: Sequence[bytes]) -> None:
        """Take the lines."""
        self.all = lines

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.all)

    def at(self, number: int) -> bytes:
        """Return a line, or an empty one behind the end of the file."""
        return self.all[number] if number < len(self.all) else b""

    def is_part(self, number: int) -> bool:
        """Say whether a part begins at a line."""
        line = self.at(number)
        if line.startswith(b"diff --git "):
            following = self.at(number + 1)
            return bool(EXTENDED.match(following)) or following.startswith(_BODIES)
        return (
            line.startswith(b"--- ")
            and self.at(number + 1).startswith(b"+++ ")
            and self.at(number + 2).startswith(b"@@ -")
        )

    def announces(self, number: int) -> bool:
        """Say whether a line is one that tools write above a part, or in its place."""
        line = self.at(number)
        if line.startswith(b"Index: "):
            return self.at(number + 1).startswith(b"====")
        return line.startswith((b"diff -", b"Only in ")) or (
            line.startswith(b"Binary files ") and line.endswith(b" differ")
        )

    def first(self, start: int, end: int) -> int:
        """Return where the first diff begins, with the lines that announce it.

        Returns `end` if there is none.
        """
        number = next(
            (
                number
                for number in range(start, end)
                if self.is_part(number) or self._is_foreign(number)
            ),
            end,
        )
        if number == end:
            return end
        while number > start and (
            self.announces(number - 1)
            or (number - 1 > start and self.announces(number - 2) and self._is_rule(number - 1))
        ):
            number -= 1
        return number

    def _is_rule(self, number: int) -> bool:
        return self.at(number).startswith(b"====")

    def _is_foreign(self, number: int) -> bool:
        """Say whether a diff begins here of a kind that is not supported."""
        line = self.at(number)
        if line.startswith((b"diff --cc ", b"diff --combined ")):
            return True
        if line.startswith(b"diff --git "):  # no line says what the part does
            return self.at(number + 1).startswith(b"diff --git ")
        if line.startswith(b"*** "):
            return self.at(number + 1).startswith(b"--- ") and self.at(number + 2).startswith(
                b"********"
            )
        return self.announces(number) and line.startswith(b"Index: ")
