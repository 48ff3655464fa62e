"""Change lists and mappings between brackets, in YAML, JSON and TOML alike.

An entry is added as the last one, or one entry is removed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkhouse.patches.languages.data import BOM

if TYPE_CHECKING:
    from forkhouse.patches.backends import Span, Splice
    from forkhouse.patches.languages.data import Data, Value


def line_start(text: str, position: int) -> int:
    """Return where the line of a position begins, behind a byte-order mark."""
    start = text.rfind("\n", 0, position) + 1
    return start + len(BOM) if start == 0 and text.startswith(BOM) else start


def line_end(text: str, position: int) -> int:
    """Return where the line of a position ends, before its line end."""
    found = text.find("\n", position)
    end = len(text) if found < 0 else found
    return end - 1 if end > position and text[end - 1] == "\r" else end


def next_line(text: str, position: int) -> int:
    """Return where the next line begins."""
    found = text.find("\n", position)
    return len(text) if found < 0 else found + 1


def newline_at(text: str, position: int) -> str:
    """Return the line end of a position's line, or of the line before if its line has none.

    In a text without line ends, this is a line feed.
    """
    found = text.find("\n", position)
    if found < 0:
        found = text.rfind("\n", 0, position)
    return "\r\n" if found > 0 and text[found - 1] == "\r" else "\n"


def prefix(text: str, position: int) -> str | None:
    """Return the blanks before a position on its line, or None if other text is there."""
    before = text[line_start(text, position) : position]
    return None if before.strip(" \t") else before


def column(text: str, position: int) -> str:
    """Return white space as wide as the text before a position on its line."""
    return prefix(text, position) or " " * (position - line_start(text, position))


def skip_comments(data: Data, start: int, end: int) -> str:
    """Return a piece of the text without its comments."""
    pieces = []
    for comment in data.comments:
        if start <= comment[0] and comment[1] <= end:
            pieces.append(data.text[start : comment[0]])
            start = comment[1]
    return "".join([*pieces, data.text[start:end]])


def is_blank(data: Data, start: int, end: int) -> bool:
    """Say whether nothing but white space and comments stands in a piece of the text."""
    return not skip_comments(data, start, end).strip()


def _comments_in(data: Data, start: int, end: int) -> list[Span]:
    return [comment for comment in data.comments if start <= comment[0] and comment[1] <= end]


def added(data: Data, holder: Value, new: str) -> list[Splice]:
    """Add an entry as the last one, in the layout of the other entries."""
    text = data.text
    if not holder.entries:
        return [_added_first(data, holder, new)]
    last = holder.entries[-1]
    trailing = holder.commas[-1] if holder.commas and holder.commas[-1] >= last.end else None
    at = last.end if trailing is None else trailing + 1
    comma: list[Splice] = [(last.end, last.end, ",")] if trailing is None else []
    tail = "," if trailing is not None else ""
    stop = line_end(text, at)
    while (
        over := next((end for start, end in data.comments if start < stop < end), None)
    ) is not None:
        stop = line_end(text, over)
    if is_blank(data, at, stop):
        # The bracket closes on a line below, so the new entry gets a line of its own, behind the
        # comment of the last entry.
        indent = _indent_of(data, holder)
        return [*comma, (stop, stop, f"{newline_at(text, stop)}{indent}{new}{tail}")]
    behind = _comments_in(data, at, holder.end)
    at = behind[-1][1] if behind else at
    return [*comma, (at, at, f" {new}{tail}")]


def _indent_of(data: Data, holder: Value) -> str:
    """Return the indentation of entries that begin a line."""
    for entry in reversed(holder.entries):
        found = prefix(data.text, entry.start)
        if found is not None:
            return found
    return column(data.text, holder.entries[0].start)


def _added_first(data: Data, holder: Value, new: str) -> Splice:
    text = data.text
    opened, close = holder.body + 1, holder.end - 1
    inner = text[opened:close]
    spaces = prefix(text, close)
    if "\n" in inner and spaces is not None:
        outer = prefix(text, holder.body)
        base = spaces if outer is None else outer
        step = "\t" if base.endswith("\t") else "  "
        at = _before_break(text, close)
        return at, at, f"{newline_at(text, opened)}{spaces}{step}{new}"
    comments = _comments_in(data, opened, close)
    if comments:
        at = comments[-1][1]
        return at, at, f" {new}"
    return opened, close, new


def _before_break(text: str, close: int) -> int:
    """Return the end of the line before a bracket that is the first thing on its own line."""
    at = text.rfind("\n", 0, close)
    return at - 1 if text[at - 1 : at] == "\r" else at


def removed(data: Data, holder: Value, position: int) -> list[Splice]:
    """Remove one entry with the comma that belongs to it."""
    text = data.text
    entry = holder.entries[position]
    start, end = entry.start, entry.end
    following = holder.entries[position + 1] if position + 1 < len(holder.entries) else None
    bound = following.start if following is not None else holder.end - 1
    comma = next((comma for comma in holder.commas if end <= comma < bound), None)
    if comma is None and position > 0:
        return _removed_last(data, holder, position)
    stop = end if comma is None else comma + 1
    if _alone(data, start, stop):
        return [(line_start(text, start), _line_close(data, stop), "")]
    gap = text[stop:bound]
    if following is not None and not gap.strip():
        if "\n" not in gap:
            return [(start, bound, "")]
        if position == 0 and prefix(text, start) is None and prefix(text, bound) is not None:
            return [(start, stop, "")]
    elif following is not None and "\n" not in gap[: len(gap) - len(gap.lstrip())]:
        blanks = len(gap) - len(gap.lstrip())
        # Without a blank before it, `#` begins no comment of YAML.
        needed = gap.lstrip().startswith("#") and not text[start - 1].isspace()
        return [(start, stop if needed else stop + blanks, "")]
    if position and prefix(text, start) is None:
        start = len(text[:start].rstrip(" \t"))
    return [(start, stop, "")]


def _alone(data: Data, start: int, stop: int) -> bool:
    """Say whether nothing but comments behind it shares the lines of a piece of text."""
    return prefix(data.text, start) is not None and is_blank(data, stop, _line_close(data, stop))


def _line_close(data: Data, stop: int) -> int:
    """Return the end of a position's line, including a comment that reaches beyond that line."""
    close = next_line(data.text, stop)
    while (
        over := next((end for start, end in data.comments if stop <= start < close < end), None)
    ) is not None:
        close = next_line(data.text, over)
    return close


def _removed_last(data: Data, holder: Value, position: int) -> list[Splice]:
    """Remove the last of several entries.

    It has no comma of its own, so the comma before it is removed.
    """
    text = data.text
    before, entry = holder.entries[position - 1], holder.entries[position]
    comma = next(comma for comma in reversed(holder.commas) if before.end <= comma < entry.start)
    start, end = entry.start, entry.end
    if not text[comma + 1 : start].strip():
        if is_blank(data, end, line_end(text, end)):
            if prefix(text, comma) is not None:
                return [(line_start(text, comma), next_line(text, end), "")]
            if prefix(text, start) is not None:
                return [(comma, comma + 1, ""), (line_start(text, start), next_line(text, end), "")]
        return [(comma, end, "")]
    if _alone(data, start, end):
        return [(comma, comma + 1, ""), (line_start(text, start), _line_close(data, end), "")]
    return [(comma, comma + 1, ""), (start, end, "")]
