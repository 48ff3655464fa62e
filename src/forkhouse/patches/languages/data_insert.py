"""Insert entries beside an entry of YAML, JSON or TOML.

They go above the comments of that entry or behind its line, with the commas that are needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkhouse.core.errors import PatchConflictError
from forkhouse.patches.languages import data_flow as flow
from forkhouse.patches.languages.data import BOM, Kind, NodeStyle, read, seen

if TYPE_CHECKING:
    from forkhouse.patches.backends import Splice
    from forkhouse.patches.languages.data import Data, DataPlace, Entry, Value


def said_entries(data: Data, holder: Value, said: str) -> tuple[object, ...] | None:
    """Return what a reader sees of new entries; an entry of a mapping comes with its key.

    Returns None for a text that has no meaning by itself. Raises PatchConflictError for a text that
    is no entry of such a value.
    """
    language = data.language
    pair, inside = holder.kind is Kind.MAPPING, holder.style is NodeStyle.FLOW
    if language == "toml":
        text = f"value = {{{said}}}\n" if pair else f"value = [{said}\n]\n"
    elif inside:
        text = f"{{{said}\n}}" if pair else f"[{said}\n]"
    else:
        text = f"{said}\n"
    try:
        tops = read(text, language).documents
    except PatchConflictError as error:
        if language == "yaml" and "*" in said:
            return None  # an alias refers to a value elsewhere
        what = "a key with its value" if pair else "an item of a list"
        message = f"{said} is not {what} of {language} as it has to be written there: {error}"
        raise PatchConflictError(message) from error
    top = tops[0] if len(tops) == 1 else None  # YAML reads no document from a comment alone
    listed = top.entries[0].value if top is not None and language == "toml" and top.entries else top
    if listed is None or not listed.entries or listed.kind is not holder.kind:
        what = (
            "`KEY: VALUE`"
            if pair
            else "`- ITEM`"
            if language == "yaml" and not inside
            else "an item"
        )
        message = f"{said} is not {what}, which is what stands where it is to be inserted."
        raise PatchConflictError(message)
    shown = seen(listed, ordered=True)
    assert isinstance(shown, tuple)  # as `seen` makes it
    return tuple(shown[3])


def bare(said: str, holder: Value) -> str:
    """Return a text to insert without its last line end.

    Between brackets, also take off the comma and the white space at either end.
    """
    said = said.removesuffix("\n")
    return (
        said.strip().removeprefix(",").removesuffix(",").strip()
        if holder.style is NodeStyle.FLOW
        else said
    )


def column(data: Data, place: DataPlace) -> str:
    """Return the white space before an entry, and before new entries beside it."""
    return flow.column(data.text, place.entry.start)


def inserted(data: Data, place: DataPlace, new: str, *, before: bool) -> list[Splice]:
    """Put entries before or behind another one."""
    if place.holder.style is NodeStyle.FLOW:
        return [_before_in_flow(data, place, new)] if before else _after_in_flow(data, place, new)
    entry, text = place.entry, data.text
    newline, spaces = flow.newline_at(text, entry.start), column(data, place)
    if not before:
        stop = flow.line_end(text, entry.end)
        if not flow.is_blank(data, entry.end, stop):
            message = "Something else stands behind the entry, on its line. Use an `anchor`."
            raise PatchConflictError(message)
        stop = _below_inner_comments(data, stop, len(spaces))
        return [(stop, stop, f"{newline}{spaces}{new}")]
    if flow.prefix(text, entry.start) is None:  # behind a dash
        return [(entry.start, entry.start, f"{new}{newline}{spaces}")]
    at = above(data, entry)
    return [(at, at, f"{spaces}{new}{newline}")]


def _below_inner_comments(data: Data, stop: int, indent: int) -> int:
    """Return the end of the comment lines below an entry of YAML that belong to the entry.

    Comment lines belong to it if they follow it directly and are indented deeper than `indent`.
    Without such lines, and in other languages, this is `stop`.
    """
    if data.language != "yaml":
        return stop
    lines = {flow.line_start(data.text, start): start for start, _ in data.comments}
    while True:
        below = stop + len(flow.newline_at(data.text, stop))
        start = lines.get(below)
        if start is None or start - below <= indent or flow.prefix(data.text, start) is None:
            return stop
        stop = flow.line_end(data.text, start)


def above(data: Data, entry: Entry) -> int:
    """Return the start of an entry's line, or of the first comment directly above it.

    Comments at the head of a file belong to the file.
    """
    text = data.text
    lines = {flow.line_start(text, start): (start, end) for start, end in data.comments}
    at = line = flow.line_start(text, entry.start)
    indent = len(flow.column(text, entry.start))
    while at > 0:
        over = flow.line_start(text, at - 1)
        comment = lines.get(over)
        if (
            over == at
            or comment is None
            or flow.prefix(text, comment[0]) is None
            or comment[1] > at
        ):
            break
        at = over
    # Comments with the indentation of the entry before them belong to that entry.
    while data.language == "yaml" and at < line and lines[at][0] - at > indent:
        at = flow.line_end(text, at) + len(flow.newline_at(text, at))
    return line if not text[:at].strip(f"{BOM} \t\r\n") else at


def _before_in_flow(data: Data, place: DataPlace, new: str) -> Splice:
    text, entry = data.text, place.entry
    if flow.prefix(text, entry.start) is None:
        return entry.start, entry.start, f"{new}, "
    at = above(data, entry)
    return at, at, f"{column(data, place)}{new},{flow.newline_at(text, entry.start)}"


def _after_in_flow(data: Data, place: DataPlace, new: str) -> list[Splice]:
    text, entry, holder = data.text, place.entry, place.holder
    position = place.steps[-1]
    if position + 1 == len(holder.entries):
        return flow.added(data, holder, new)
    following = holder.entries[position + 1].start
    comma = next(comma for comma in holder.commas if entry.end <= comma < following)
    stop = flow.line_end(text, comma + 1)
    if (
        stop < following
        and flow.is_blank(data, comma + 1, stop)
        and flow.prefix(text, following) is not None
    ):
        return [
            (
                stop,
                stop,
                f"{flow.newline_at(text, entry.start)}{flow.column(text, following)}{new},",
            )
        ]
    return [(comma + 1, comma + 1, f" {new},")]
