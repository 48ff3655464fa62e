"""Read the names of files in diff headers: quoted, with a time, with prefixes to strip."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


PREFIXED = re.compile(rb'"?(a/.* "?b/|i/.* "?w/|c/.* "?[iw]/|o/.* "?w/)')


_STAMP = re.compile(
    rb"(?:\t| +)(?:\d\d)?\d\d-\d\d-\d\d(?: \d\d:\d\d:\d\d(?:\.\d+)?)?(?: [-+]\d\d:?\d\d)?$"
)


_EPOCH = re.compile(rb"(1970-01-01|1969-12-31) (\d\d):(\d\d):00(?:\.0+)? ([-+])(\d\d):?(\d\d)$")


SLASHES = re.compile(rb"/+")


_NOWHERE = rb"\((?:nonexistent|revision 0)\)$"


_ESCAPES = {
    b"a": b"\a",
    b"b": b"\b",
    b"f": b"\f",
    b"n": b"\n",
    b"r": b"\r",
    b"t": b"\t",
    b"v": b"\v",
    b'"': b'"',
    b"\\": b"\\",
}
_QUOTED = re.compile(rb'"((?:[^"\\]|\\[abfnrtv"\\]|\\[0-3][0-7]{2})*)"')
"""A name in quotes with the escapes that git knows; any other one makes it invalid."""


def is_dev_null(name: bytes) -> bool:
    """Say whether a header names no file: `/dev/null`."""
    return bool(re.match(rb"/dev/null(\s|$)", name))


def is_nowhere(name: bytes) -> bool:
    """Say whether one side of a diff says that there is no file."""
    return is_dev_null(name) or bool(re.search(rb"\t" + _NOWHERE, name))


def is_epoch(name: bytes) -> bool:
    """Say whether a side's time is the first second of 1970.

    GNU diff writes that time for a file that does not exist.
    """
    match = _EPOCH.match(name.rpartition(b"\t")[2])
    if match is None or b"\t" not in name:
        return False
    offset = (int(match[5]) * 60 + int(match[6])) * (-1 if match[4] == b"-" else 1)
    return int(match[2]) * 60 + int(match[3]) - offset == (
        24 * 60 if match[1].startswith(b"1969") else 0
    )


def stamped_name(name: bytes) -> bytes:
    """Return the name on a side of a plain diff, which may have a time behind it.

    The time follows a tab, or blanks that took a tab's place. As in git, a tab before the last one
    is a part of the name.
    """
    bare = name if name.startswith(b'"') else _STAMP.sub(b"", name)
    return bare if bare != name else plain_name(name)


def plain_name(name: bytes) -> bytes:
    """Return the name at the end of a line, or before a tab or a carriage return in it.

    The escapes of C in a quoted name are resolved.
    """
    if name.startswith(b'"'):
        found = _quoted(name)
        if found is not None:
            return found[0]
    return re.split(rb"[\t\r]", name, maxsplit=1)[0]


def _quoted(text: bytes) -> tuple[bytes, bytes] | None:
    """Return a quoted name and the text behind it, or None if the quoting is not valid."""
    match = _QUOTED.match(text)
    if match is None:
        return None

    def plain(escape: re.Match[bytes]) -> bytes:
        return _ESCAPES[escape[1]] if escape[1] else bytes([int(escape[2], 8)])

    return re.sub(rb"\\(?:([^0-7])|([0-7]{3}))", plain, match[1]), text[match.end() :]


def splits(header: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield each way to split the rest of a `diff --git` line into two names.

    There are several ways, as git does not quote blanks.
    """
    if header.startswith(b'"'):
        found = _quoted(header)
        if found is not None and found[1].startswith(b" "):
            yield found[0], plain_name(found[1][1:])
        return
    one, quote, two = header.partition(b'"')
    if quote:  # as git quotes each name that has one, the second name begins there
        found = _quoted(quote + two)
        if found is not None and not found[1] and one.endswith(b" "):
            yield one[:-1], found[0]
        return
    for match in re.finditer(rb" ", header):
        yield header[: match.start()], header[match.end() :]


def without(name: bytes, strip: int) -> bytes | None:
    """Return a name without its first folders, or None if it has fewer folders.

    What stands before a first slash is a folder only if it has a name.
    """
    parts = name.split(b"/", strip)
    return parts[strip] if len(parts) > strip and parts[strip] and parts[0] else None
