"""Add, remove and replace one argument or item, in the layout of the others.

Comments stay, except for the one behind a part that is removed with its whole line.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from forkhouse.core.errors import PatchConflictError
from forkhouse.patches.backends import (
    Layout,
    indentation,
    is_blank,
    line_end,
    line_start,
    newline_at,
    next_line,
)

if TYPE_CHECKING:
    from forkhouse.patches.backends import Parts, Splice


def added(text: str, parts: Parts, new: str, language: str) -> list[Splice]:
    """Add a part as the last one."""
    newline = newline_at(text, parts.spans[-1][0] if parts.spans else parts.start)
    new = new.replace("\n", newline)
    if not parts.spans:
        new = f"{new}," if parts.lone_comma else new
        closing = indentation(text, parts.end)
        if closing is not None and _has_comment(text, parts.start, language):
            at = line_start(text, parts.end)
            return [(at, at, f"{closing}  {new}{newline}")]
        return [
            (
                parts.start,
                parts.start,
                new if text[parts.start - 1 : parts.start] in {"(", "[", "{"} else f" {new}",
            )
        ]
    start, end = parts.spans[-1]
    spaces = indentation(text, start)
    match parts.layout:
        case Layout.LINE:
            return [(end, end, f" {new}" if spaces is None else f" \\{newline}{spaces}{new}")]
        case Layout.WORDS:
            end = _behind_comments(text, end, language)
            if spaces is None and _has_comment(text, end, language):
                at = line_end(text, end)
                return [(at, at, f"{newline}{_column(text, parts)}{new}")]
            if spaces is None:
                return [(end, end, f" {new}")]
            at = line_end(text, end) if is_blank(text[end : line_end(text, end)], language) else end
            return [(at, at, f"{newline}{spaces}{new}")]
        case Layout.COMMAS:
            return _added_after_comma(text, parts, new, language)


def placed(text: str, parts: Parts, position: int, new: str, language: str) -> list[Splice]:
    """Insert a part before another one, with a comma.

    If the other one begins a line, the new part goes above its comments.
    """
    start, _ = parts.spans[position]
    before = parts.spans[position - 1][1] if position else parts.start
    at = (
        next((comma + 1 for comma in parts.commas if before <= comma < start), before)
        if position
        else before
    )
    newline = newline_at(text, at)
    new = new.replace("\n", newline)
    spaces, stop = indentation(text, start), line_end(text, at)
    if spaces is not None and stop < start and is_blank(text[at:stop], language):
        return [(stop, stop, f"{newline}{spaces}{new},")]
    return [(start, start, f"{new}, ")]


def _added_after_comma(text: str, parts: Parts, new: str, language: str) -> list[Splice]:
    start, end = parts.spans[-1]
    newline = newline_at(text, start)
    spaces = indentation(text, start)
    trailing = bool(parts.commas) and parts.commas[-1] >= end
    at = _behind_comments(text, parts.commas[-1] + 1 if trailing else end, language)
    comma: list[Splice] = [] if trailing else [(end, end, ",")]
    if spaces is None and _has_comment(text, at, language):
        stop = line_end(text, at)
        return [
            *comma,
            (stop, stop, f"{newline}{_column(text, parts)}{new}{',' if trailing else ''}"),
        ]
    if spaces is None:
        return [*comma, (at, at, f" {new}")]
    rest_end = line_end(text, at)
    if is_blank(text[at:rest_end], language):
        # After a trailing comma, the new part gets one, too. A comment stays on its line.
        return [*comma, (rest_end, rest_end, f"{newline}{spaces}{new}{',' if trailing else ''}")]
    return [*comma, (at, at, f"{newline}{spaces}{new}")]


_IN_LINE = {
    **dict.fromkeys(("c", "cpp", "rust"), re.compile(r"(?:[ \t]*/\*[^\n]*?\*/)+(?=[ \t]*[^\s/])")),
    "cmake": re.compile(r"(?:[ \t]*#\[(=*)\[[^\n]*?\]\1\])+(?=[ \t]*[^\s#])"),
}
"""Comments that end on their line, with code behind them."""


def _behind_comments(text: str, position: int, language: str) -> int:
    """Return the end of the comments directly behind a part that stand within its line.

    They are about the part, and stay behind it.
    """
    found = _IN_LINE[language].match(text, position) if language in _IN_LINE else None
    return position if found is None else found.end()


def _has_comment(text: str, position: int, language: str) -> bool:
    """Say whether the rest of a line holds nothing but a comment.

    Such a comment describes the code before it.
    """
    rest = text[position : line_end(text, position)]
    return bool(rest.strip()) and is_blank(rest, language)


def _column(text: str, parts: Parts) -> str:
    """Return the blanks before the first part on the line of the last one."""
    begun = line_start(text, parts.spans[-1][0])
    first = next(start for start, _ in parts.spans if start >= begun)
    return " " * (first - begun)


def removed(text: str, parts: Parts, position: int, language: str) -> list[Splice]:
    """Remove one part with the separator that belongs to it."""
    start, end = parts.spans[position]
    match parts.layout:
        case Layout.LINE:
            if start == parts.start and len(parts.spans) > 1:
                return [(start, parts.spans[1][0], "")]  # nothing stands before it
            return [(parts.spans[position - 1][1] if position else parts.start, end, "")]
        case Layout.WORDS:
            return [_removed_word(text, parts, position, language)]
        case Layout.COMMAS:
            pass
    following = next((comma for comma in parts.commas if comma >= end), None)
    if (
        position + 1 < len(parts.spans)
        and following is not None
        and following > parts.spans[position + 1][0]
    ):
        following = None
    if following is not None or position == 0:
        splices = [
            _removed_with_comma(
                text, parts, position, end if following is None else following + 1, language
            )
        ]
        # A single part that is left needs the comma.
        if parts.lone_comma and position == 0 and len(parts.spans) == 2 and len(parts.commas) == 1:
            other = parts.spans[1][1]
            splices.append((other, other, ","))
        return splices
    # The last of several parts has no comma of its own, so the comma before it is removed.
    comma = next(
        (
            comma
            for comma in reversed(parts.commas)
            if parts.spans[position - 1][1] <= comma < start
        ),
        None,
    )
    if comma is None:
        message = f"No comma stands beside {text[start:end]}: the list is not well formed."
        raise PatchConflictError(message)
    region = (start if text[comma + 1 : start].strip() else comma + 1, end)
    if indentation(text, start) is not None and is_blank(text[end : line_end(text, end)], language):
        region = (line_start(text, start), next_line(text, end))
    keep = parts.lone_comma and len(parts.spans) == 2  # one is left
    return [(*region, "")] if keep else [(comma, comma + 1, ""), (*region, "")]


def _removed_with_comma(text: str, parts: Parts, position: int, stop: int, language: str) -> Splice:
    start, _ = parts.spans[position]
    spaces = indentation(text, start)
    if spaces is not None and is_blank(text[stop : line_end(text, stop)], language):
        return (line_start(text, start), next_line(text, stop), "")
    following = parts.spans[position + 1][0] if position + 1 < len(parts.spans) else None
    gap = text[stop:following] if following is not None else ""
    if following is not None and not gap.strip() and ("\n" not in gap or position == 0):
        return (start, following, "")
    if spaces is None and position:
        start = len(text[:start].rstrip(" \t"))
    return (start, stop, "")


def _removed_word(text: str, parts: Parts, position: int, language: str) -> Splice:
    start, end = parts.spans[position]
    first = indentation(text, start) is not None
    if first and is_blank(text[end : line_end(text, end)], language):
        return (line_start(text, start), next_line(text, end), "")
    following = parts.spans[position + 1][0] if position + 1 < len(parts.spans) else None
    if (
        following is not None
        and (first or start == parts.start)
        and not text[end:following].strip(" \t")
    ):
        return (start, following, "")
    before = parts.spans[position - 1][1] if position else parts.start
    if text[before:start].strip():
        return (start, end, "")  # a comment stands between, and its line has to end
    return (before if first else len(text[:start].rstrip(" \t")), end, "")
