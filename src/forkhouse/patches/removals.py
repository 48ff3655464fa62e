"""Prove that lines which a textual patch takes out are gone, and not only from their old place.

That the result of a hunk is there says that its lines no longer stand where they stood. They may
stand a little further down, or in another file. A run of lines that the patch replaces is proven by
what replaces it. A run that it only takes out is looked for: lines with a meaning by their text,
and short ones, such as a bracket, by what came to the file beside what the patch leaves.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pygit2

from forkhouse.patches.hunks import lines_of
from forkhouse.patches.merging import LIKENESS
from forkhouse.patches.spellings import MEANINGFUL, weight

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from collections.abc import Set as AbstractSet

    from forkhouse.patches.diffs import Hunk, Part


@dataclass(frozen=True, slots=True)
class RemovedRun:
    """Lines that a patch takes out of a file in one place, with nothing in their stead."""

    path: str
    place: str
    """The path of the file now."""
    lines: tuple[bytes, ...]
    """The lines without white space around them, and without empty ones."""

    def telling(self) -> set[bytes]:
        """Return the lines that have a meaning by themselves."""
        return {line for line in self.lines if _weight(line) >= MEANINGFUL}

    def without(self, lines: AbstractSet[bytes]) -> RemovedRun:
        """Return the run without some lines."""
        return replace(self, lines=tuple(line for line in self.lines if line not in lines))

    def came(self, old: bytes, new: bytes) -> bool:
        """Say whether most of the run came to another file between two states of it."""
        telling = self.telling()
        # A search is cheap, and says no for nearly every file.
        if not any(line in new for line in telling):
            return False
        came = telling & (_stripped(new) - _stripped(old))
        return 100 * sum(map(_weight, came)) >= LIKENESS * sum(map(_weight, telling))


def runs(part: Part, place: str = "") -> list[RemovedRun]:
    """Return the runs of lines that a part takes out of its file without a replacement.

    `place` is the path of that file now, if it has another one.
    """
    found = []
    for hunk in part.hunks:
        for start, stop, replaced in hunk.removals():
            if not replaced:
                lines = [line.strip() for line in hunk.before[start:stop]]
                found.append(RemovedRun(part.old, place or part.old, tuple(filter(None, lines))))
    return found


def moved_within(run: RemovedRun, after: bytes, now: bytes) -> bytes:
    """Return a line of a run that stands at another place of its file now, or nothing.

    `after` is the file as the patch leaves it at the pin.
    """
    left, there = (Counter(map(_squeezed, lines_of(content))) for content in (after, now))
    for line in run.lines:
        said = _squeezed(line)
        if there[said] > left[said] and (_weight(line) >= MEANINGFUL or not left[said]):
            return line
    taken = {_squeezed(line) for line in run.lines}
    for block in _came(after, now):
        told = [line.strip() for line in block if line.strip()]
        if told and taken.issuperset(map(_squeezed, told)):
            return told[0]
    return b""


def _came(old: bytes, new: bytes) -> Iterator[Sequence[bytes]]:
    """Yield the lines that came to a text, place by place, where none went."""
    for hunk in pygit2.Patch.create_from(old, new, context_lines=0).hunks:
        if not hunk.old_lines:
            yield [line.raw_content for line in hunk.lines if line.origin == "+"]


def common_among(lines: AbstractSet[bytes], contents: Iterable[bytes]) -> set[bytes]:
    """Return those of some lines that stand in other files as well, and so tell nothing."""
    found: set[bytes] = set()
    for content in contents:
        if any(line in content for line in lines - found):
            found |= lines & _stripped(content)
    return found


def is_beside(hunk: Hunk, after: bytes, now: bytes) -> bool:
    """Say whether the result of a hunk stands less often in a file than the patch leaves it.

    What stands there is then a copy that stood there at the pin as well. If the result is nowhere,
    a merge has proven that the patch changes nothing.
    """
    wanted = b"\n" + b"".join(hunk.after)
    left, there = ((b"\n" + content).count(wanted) for content in (after, now))
    return bool(hunk.after) and 0 < there < left


def _stripped(content: bytes) -> set[bytes]:
    return {line.strip() for line in content.split(b"\n")}


def _squeezed(line: bytes) -> bytes:
    return b"".join(line.split())


def _weight(line: bytes) -> int:
    return weight(line.decode("utf-8", "replace"))
