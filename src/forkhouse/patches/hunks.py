"""Find the places of hunks exactly, as git applies them without fuzz."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NoReturn

from forkhouse.core.errors import PatchConflictError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forkhouse.patches.diffs import Hunk, Part

TELLING_ID = 7
"""The least number of digits of an abbreviated id that identifies a content, as in git."""


def place_hunks(content: bytes, part: Part, *, blob: str) -> bytes:
    """Return a content with the hunks of a part applied.

    `blob` is the id of the content. Raises PatchConflictError.
    """
    lines = lines_of(content)
    known = len(part.ids[0]) >= TELLING_ID and blob.startswith(part.ids[0])
    shift = begun = 0
    written: list[tuple[int, int]] = []
    for number, hunk in enumerate(part.hunks, start=1):
        place = _place(lines, hunk, shift, written, known=known)
        if isinstance(place, str):
            what = (
                f"{part.old}: the lines of hunk {number} (line {hunk.line} of the patch, from line "
                f"{hunk.old_start} of the file) {place}"
            )
            refuse(what)
        if place < begun:
            refuse(
                f"{part.old}: hunk {number} (line {hunk.line} of the patch) would stand before the "
                "hunk above it"
            )
        lines[place : place + len(hunk.before)] = hunk.after
        shift += len(hunk.after) - len(hunk.before)
        begun = place + len(hunk.after)
        written.append((place, begun))
    return b"".join(lines)


def lines_of(content: bytes) -> list[bytes]:
    """Return lines as git counts them: only a line feed ends a line."""
    # For bytes, Python ends a line at a carriage return, too. Its method is several times as fast.
    if b"\r" not in content:
        return content.splitlines(keepends=True)
    lines = [line + b"\n" for line in content.split(b"\n")]
    lines[-1] = lines[-1][:-1]
    return lines if lines[-1] else lines[:-1]


def refuse(what: str, part: Part | None = None) -> NoReturn:
    """Raise PatchConflictError for what cannot be applied, with the line of the patch."""
    at = f" (line {part.line} of the patch)" if part is not None and part.line else ""
    message = (
        f"{what}{at}. Nothing was applied with fuzz; make the patch again on this base, or write "
        "it as an edit."
    )
    raise PatchConflictError(message)


def _place(
    lines: Sequence[bytes],
    hunk: Hunk,
    shift: int,
    written: Sequence[tuple[int, int]],
    *,
    known: bool,
) -> int | str:
    """Return where a hunk stands in a file, or a text that says why it stands nowhere.

    `shift` is the number of lines by which earlier hunks made the file longer. `written` holds the
    lines that they wrote.

    In a `known` file, the one that the patch was made from, a hunk stands at the line that it
    states. In any other file, the rules of git hold:

    - A hunk that begins at the first line has to match there.
    - A hunk without context behind it has to match at the end of the file.
    - Any other hunk stands where it matches nearest to the line that it states, but not on lines
      that an earlier hunk wrote.

    A hunk without any context is refused, as its place would be a guess, unless it is the whole
    file.
    """
    wanted = list(hunk.before)
    absent = "are not there as they were"
    last = len(lines) - len(wanted)
    stated = hunk.old_start + shift - (1 if wanted else 0)
    if known and 0 <= stated <= last and lines[stated : stated + len(wanted)] == wanted:
        return stated
    if last < 0:
        return absent
    if hunk.old_start <= 1 and not hunk.trailing and lines == wanted:
        return 0
    if not hunk.leading and not hunk.trailing:
        if hunk.old_start == 1 and not hunk.after:
            return absent
        if not hunk.old_start:
            return "want an empty file, or one that is not there, and it has lines"
        return (
            "have no context, so that their place is not known on this base; give the hunk some "
            "(`diff -U3`)"
        )
    if hunk.old_start <= 1:
        places = [0] if hunk.trailing or not last else []
    elif not hunk.trailing:
        places = [last]
    else:
        places = [place for place, line in enumerate(lines[: last + 1]) if line == wanted[0]]
    # Of two places that are equally far git takes the later one.
    expected = min(max(0, hunk.new_start - 1), len(lines))
    for place in sorted(places, key=lambda place: (abs(place - expected), place < expected)):
        if lines[place : place + len(wanted)] == wanted and not _overlaps(
            place, len(wanted), written
        ):
            return place
    return absent


def _overlaps(place: int, length: int, written: Sequence[tuple[int, int]]) -> bool:
    return any(place < end and start < place + length for start, end in written)


def left_at(
    lines: Sequence[bytes], hunk: Hunk, taken: Sequence[tuple[int, int]], *, known: bool
) -> int | None:
    """Return where the result of a hunk stands, nearest to its stated line, or None.

    Lines in `taken` belong to other hunks and do not count. If a hunk removes lines at an end of
    the file, its result counts only at that end. A result without context counts only in a `known`
    file, or if it is the whole file.
    """
    wanted = list(hunk.after)
    last = len(lines) - len(wanted)
    stated = hunk.new_start - (1 if wanted else 0)
    if known and lines[stated : stated + len(wanted)] == wanted:
        return stated
    if not hunk.leading and not hunk.trailing:
        return 0 if lines == wanted else None
    at_start, at_end = (
        re.match(rb"-+( |$)", marks) is not None for marks in (hunk.marks, hunk.marks[::-1])
    )
    places = [place for place, line in enumerate(lines) if line == wanted[0]]
    for place in sorted(places, key=lambda place: abs(place - hunk.new_start + 1)):
        if (at_start and place) or (at_end and place != last):
            continue
        if lines[place : place + len(wanted)] == wanted and not _overlaps(
            place, len(wanted), taken
        ):
            return place
    return None
