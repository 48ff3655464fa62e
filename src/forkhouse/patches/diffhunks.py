"""Read the hunks of a part, and its binary patch; the counts in their heads say where they end."""

from __future__ import annotations

import base64
import re
import zlib
from typing import TYPE_CHECKING

from forkhouse.patches.difflines import NUMBER, RANGES
from forkhouse.patches.diffs import Binary, DiffSyntaxError, Hunk

if TYPE_CHECKING:
    from forkhouse.patches.difflines import Lines

_BINARY_LINE = 52
"""The greatest number of bytes that one line of a binary patch holds."""
_DIGITS, _GROUP = 5, 4
"""So many digits of base 85 stand for so many bytes."""
_SHORTEST_NOTE = 12
"""The number of bytes that a note on a missing newline has at least, for git."""


def hunks(lines: Lines, number: int, name: str) -> tuple[tuple[Hunk, ...], int]:
    """Return the hunks that begin at a line, and the line behind them.

    `name` is their file's. Raises DiffSyntaxError.
    """
    found: list[Hunk] = []
    while lines.at(number).startswith(b"@@ -"):
        hunk, number = _hunk(lines, number, name)
        found.append(hunk)
    return tuple(found), number


def _hunk(lines: Lines, start: int, name: str) -> tuple[Hunk, int]:
    match = RANGES.match(lines.at(start))
    if match is None:
        raise DiffSyntaxError(
            start + 1,
            (
                f"{name}: '{lines.at(start).decode('utf-8', 'replace')[:60]}' is not the first "
                "line of a hunk"
            ),
        )
    old, new = (int(match[index] or b"1") for index in (2, 4))
    before: list[bytes] = []
    after: list[bytes] = []
    sides = {b" ": (before, after), b"-": (before,), b"+": (after,)}
    marks: list[bytes] = []
    number, end = start + 1, len(lines) - 1
    last: tuple[list[bytes], ...] = ()
    while len(before) < old or len(after) < new or lines.at(number).startswith(b"\\ "):
        line = lines.at(number)
        if number >= end:
            raise DiffSyntaxError(
                start + 1,
                (
                    f"{name}: the patch ends within this hunk, of which the `@@` line says "
                    "that "
                    "it is longer"
                ),
            )
        number += 1
        mark = line[:1] or b" "  # some tools take the blank from the end of an empty line
        # The file ends there without a newline, which each language says in words of its own.
        if last and line.startswith(b"\\ ") and len(line) >= _SHORTEST_NOTE:
            for side in last:
                side[-1] = side[-1][:-1]
            last = ()
            continue
        if mark not in sides:
            raise DiffSyntaxError(
                number,
                (
                    f"{name}: this line belongs to a hunk, by the hunk's `@@` line, and begins "
                    "with none of ` -+`"
                ),
            )
        last = sides[mark]
        text = line[1:] + b"\n"
        for side in last:
            side.append(text)
        marks.append(mark)
    if len(before) != old or len(after) != new:
        raise DiffSyntaxError(
            start + 1,
            (
                f"{name}: the `@@` line says {old} and {new} lines, and there are "
                f"{len(before)} "
                f"and {len(after)}"
            ),
        )
    if not {b"-", b"+"} & set(marks):
        raise DiffSyntaxError(start + 1, f"{name}: the hunk changes nothing")
    for side in (before, after):
        if any(not each.endswith(b"\n") for each in side[:-1]):
            raise DiffSyntaxError(
                start + 1,
                f"{name}: a line in the middle of the hunk is said to be without a newline",
            )
    hunk = Hunk(
        line=start + 1,
        old_start=int(match[1]),
        new_start=int(match[3]),
        before=tuple(before),
        after=tuple(after),
        marks=b"".join(marks),
    )
    return hunk, number


def binary(lines: Lines, number: int, name: str) -> tuple[Binary, int]:
    """Return the binary patch that begins at a line, and the line behind it and its reverse.

    `name` is its file's. Raises DiffSyntaxError.
    """
    forward, number = _binary_hunk(lines, number, name)
    if lines.at(number).startswith((b"literal ", b"delta ")):  # the reverse patch
        _, number = _binary_hunk(lines, number, name)
    return forward, number


def _binary_hunk(lines: Lines, start: int, name: str) -> tuple[Binary, int]:
    match = re.fullmatch(rb"(literal|delta) (" + NUMBER + rb")", lines.at(start))
    if match is None:
        message = (
            f"{name}: a binary patch begins with neither `literal` nor `delta` and a number of "
            "bytes"
        )
        raise DiffSyntaxError(start + 1, message)
    packed = bytearray()
    number = start + 1
    while line := lines.at(number):
        data = _unpacked(line)
        if not data:
            raise DiffSyntaxError(
                number + 1,
                f"{name}: a line of a binary patch is damaged, or an empty line "
                "is missing above this one",
            )
        packed += data
        number += 1
    size = int(match[2])
    inflating = zlib.decompressobj()
    try:
        # No more than one byte too many is made, however much the data would make.
        content = inflating.decompress(bytes(packed), size + 1)
    except zlib.error as error:
        raise DiffSyntaxError(start + 1, f"{name}: a binary patch is damaged: {error}") from error
    if len(content) != size or not inflating.eof:
        held = f"holds {len(content)}" if len(content) <= size else "holds more"
        reason = (
            f"it says {size} bytes and {held}" if len(content) != size else "its end is missing"
        )
        raise DiffSyntaxError(start + 1, f"{name}: a binary patch is damaged: {reason}")
    return Binary(content=content, is_delta=match[1] == b"delta"), number + 1


def _unpacked(line: bytes) -> bytes:
    """Return the bytes that a line of a binary patch stands for, or nothing if it is damaged.

    A letter says how many they are (A to Z are 1 to 26, a to z are 27 to 52). Groups of digits
    follow, of which the last one may stand for fewer bytes.
    """
    letter, digits = line[:1], line[1:]
    if not letter.isalpha() or len(digits) % _DIGITS:
        return b""
    size = line[0] - (0x40 if letter.isupper() else 0x46)
    try:
        data = base64.b85decode(digits)
    except ValueError:
        return b""
    return data[:size] if len(data) - _GROUP < size <= min(len(data), _BINARY_LINE) else b""
