"""Handle plain text, matched by anchors: Dockerfiles, m4, and all text without a grammar here."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

from forkhouse.core.errors import PatchConflictError
from forkhouse.patches import nodes
from forkhouse.patches.backends import Node, UnprovenError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forkhouse.patches.backends import Splice, Step
    from forkhouse.patches.edits import Selector


def find(text: str, selector: Selector, language: str) -> list[Node]:
    """Return where an anchor stands, with any line ends that the text has there."""
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
    """Return a regular expression for a text with any line ends."""
    return r"\r?\n".join(re.escape(line) for line in said.replace("\r\n", "\n").split("\n"))


def faults(text: str, language: str) -> int:  # the protocol's signature
    """Return 0, as any text is well formed."""
    return 0


def inner_lines(text: str, language: str) -> set[int]:  # the protocol's signature
    """Return no lines, as plain text has no literals."""
    return set()


def prove(step: Step) -> None:
    """Raise UnprovenError if lines that stay would be continued by others than now.

    A backslash at the end of a line continues it in Dockerfiles, Makefiles and many others. Plain
    text has no other meaning that an engine could know, and outside of the splices it is the same.
    """
    if "\\" not in step.before and "\\" not in step.after:
        return
    shift = nodes.shift_of(step)
    kept = [
        (place, shift.start(place))
        for match in _LINE.finditer(step.before)
        if not _COMMENT.match(match[0])
        and (place := _kept(match.start(1), match.end(1), step.splices)) is not None
    ]
    for (was, is_now), (then, then_now) in pairwise(kept):
        old, new = (_joined(step.before, was, then), _joined(step.after, is_now, then_now))
        if old is not None and new is not None and old is not new:
            said, other = (_line(step.before, place) for place in (was, then))
            how = "be continued by" if new else "no more be continued by"
            what = f"'{said}' would {how} '{other}'. Change the backslash before it, too"
            raise UnprovenError(what, text=step.before, position=was)


_LINE = re.compile(r"^[ \t]*(\S.*?)[ \t\r]*$", re.MULTILINE)
_COMMENT = re.compile(r"[ \t]*(?:#|//)")
_CONTINUED = re.compile(r"\\[ \t\r]*$")


def _kept(start: int, end: int, splices: Sequence[Splice]) -> int | None:
    """Return a place of a line that stays, or None if all of it goes."""
    for first, last, _ in sorted(splices, key=lambda splice: splice[:2]):
        if first <= start < last:
            start = last
    return start if start < end else None


def _joined(text: str, first: int, then: int) -> bool | None:
    """Say whether a line is continued up to another one; None if both are one line.

    Comments and empty lines between the two are left out, as in a Dockerfile.
    """
    lines = text[first : max(first, text.rfind("\n", 0, then))].split("\n")
    if text.count("\n", first, then) == 0:
        return None
    return all(
        _CONTINUED.search(line) for line in lines if line.strip() and not _COMMENT.match(line)
    )


def _line(text: str, place: int) -> str:
    first, last = text.rfind("\n", 0, place) + 1, text.find("\n", place)
    return text[first : last if last >= 0 else len(text)].strip()[: nodes.SHOWN]
