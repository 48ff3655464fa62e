"""Set, add and remove an entry of YAML or JSON, as the splices that it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkhouse.core.errors import PatchConflictError
from forkhouse.patches.languages import data_flow as flow
from forkhouse.patches.languages import data_toml_change
from forkhouse.patches.languages.data import (
    DataPlace,
    Entry,
    Kind,
    NodeStyle,
    Value,
    is_merged,
    values,
)
from forkhouse.patches.languages.data_places import refuse_shared
from forkhouse.patches.languages.data_plan import DataChange

if TYPE_CHECKING:
    from forkhouse.patches.backends import Splice
    from forkhouse.patches.languages.data import Data


def put(data: Data, entry: Entry, new: str) -> list[Splice]:
    """Replace the value of an entry by a value of one line."""
    text, value = data.text, entry.value
    if entry.sign is None and entry.key is not None:
        # A key of YAML that has no colon: in a flow mapping, or behind a question mark.
        end = entry.key.end if entry.key.style is not NodeStyle.EMPTY else entry.end
        if not entry.explicit and "\n" in text[entry.key.start : end]:
            return [(entry.key.start, entry.key.start, "? "), (end, end, f" : {new}")]
        if not entry.explicit or "\n" not in text[end:] or _in_flow(data, entry):
            return [(end, end, f": {new}")]
        stop = flow.line_end(text, end)
        return [
            (stop, stop, f"{flow.newline_at(text, stop)}{flow.column(text, entry.start)}: {new}")
        ]
    sign = value.start if entry.sign is None else entry.sign
    if value.style is NodeStyle.EMPTY and value.start == value.end:
        return [(sign, sign, f" {new}")]
    end = value.end
    if (
        value.style is NodeStyle.BLOCK
        and "\n" in text[value.start : end]
        and flow.is_blank(data, end, flow.line_end(text, end))
    ):
        end = flow.line_end(text, end)  # a comment on its last line belongs to it
    if "\n" in text[sign : value.start] and value.style is NodeStyle.BLOCK:
        # The value is below its key or its dash; a comment on the line of these stays.
        return [
            (sign, sign, f" {new}"),
            (flow.line_end(text, sign), max(end, flow.line_end(text, value.end)), ""),
        ]
    if value.lead < value.end:
        stop = flow.line_end(text, value.lead)
        return [(value.start, value.lead, new), (stop, max(stop, end), "")]
    gap = " " if value.start == entry.sign and data.language == "yaml" else ""
    return [(value.start, end, gap + new)]


def _in_flow(data: Data, entry: Entry) -> bool:
    return any(
        value.style is NodeStyle.FLOW and value.start < entry.start < value.end
        for top in data.documents
        for value in values(top)
    )


def below(data: Data, holder: Value, new: str) -> Splice:
    """Insert a line below the last entry of a block, with the indentation of the first entry."""
    text = data.text
    stop = flow.line_end(text, holder.entries[-1].end)
    if not flow.is_blank(data, holder.entries[-1].end, stop):
        message = "Something stands behind the last entry, on its line. Use an `anchor`."
        raise PatchConflictError(message)
    first = holder.entries[0].start
    if "\t" in text[flow.line_start(text, first) : first]:
        message = (
            "A tab stands before the entry that the new one would have to stand below. Use an "
            "`anchor`."
        )
        raise PatchConflictError(message)
    return stop, stop, f"{flow.newline_at(text, stop)}{flow.column(text, first)}{new}"


def removed(data: Data, places: list[DataPlace], said: str) -> tuple[DataChange, ...]:
    """Return the changes that remove entries, which a message calls `said`.

    Raises PatchConflictError.
    """
    if data.language == "toml":
        return tuple(data_toml_change.removed(data, place, said) for place in places)
    holders = {(place.document, place.steps[:-1]) for place in places}
    if len(holders) < len(places):
        message = (
            "Several entries of one list or mapping would go at once. Name them one by one, each "
            "in an operation of its own."
        )
        raise PatchConflictError(message)
    return tuple(removal(data, place, said) for place in places)


def removal(data: Data, place: DataPlace, said: str) -> DataChange:
    """Return the change that removes one entry of YAML or JSON. Raises PatchConflictError."""
    refuse_shared(data, place, what=said)
    holder, entry = place.holder, place.entry
    if entry.name is not None and is_merged(data, place.document, holder, entry.name):
        message = f"{said}: without it, the key would come from a merge (`<<`), with another value."
        raise PatchConflictError(message)
    position = place.steps[-1]
    if holder.style is NodeStyle.FLOW:
        splices = flow.removed(data, holder, position)
    elif len(holder.entries) == 1:
        splices = _emptied(data, place)
    else:
        splices = [_cut(data, holder, position)]
    return DataChange(
        what="remove", document=place.document, steps=place.steps, splices=tuple(splices)
    )


def _emptied(data: Data, place: DataPlace) -> list[Splice]:
    """Replace the only entry of a block by an empty list or mapping."""
    text, holder, entry = data.text, place.holder, place.entry
    nothing = "[]" if holder.kind is Kind.SEQUENCE else "{}"
    if (
        len(place.holders) > 1
        and holder.kind is Kind.SEQUENCE
        and flow.prefix(text, entry.start) is not None
    ):
        outer = _entry_of(place)
        column = len(flow.column(text, entry.start))
        if (
            outer.key is not None
            and outer.sign is not None
            and column <= len(flow.column(text, outer.start))
        ):
            # The dash is as far to the left as its key, where brackets must not be.
            at = max(outer.sign, holder.lead if holder.lead < holder.end else 0)
            start, stop = flow.line_start(text, entry.start), flow.next_line(text, entry.end)
            return [(at, at, f" {nothing}"), (start, stop, "")]
    return [(entry.start, entry.end, nothing)]


def _entry_of(place: DataPlace) -> Entry:
    return place.holders[-2].entries[place.steps[-2]]


def _cut(data: Data, holder: Value, position: int) -> Splice:
    """Remove one of several entries from a block."""
    text, entry = data.text, holder.entries[position]
    if flow.prefix(text, entry.start) is not None and flow.is_blank(
        data, entry.end, flow.line_end(text, entry.end)
    ):
        return flow.line_start(text, entry.start), flow.next_line(text, entry.end), ""
    if position == 0:
        # The entry stands behind a dash or a question mark. The next entry takes its place, or
        # stays on the line below if comments are above it.
        following = holder.entries[1].start
        stop = flow.line_end(text, entry.end)
        if flow.is_blank(data, entry.end, stop) and text[stop:following].strip():
            return len(text[: entry.start].rstrip(" \t")), stop, ""
        return entry.start, following, ""
    message = "Something else stands on the lines of what would go. Use an `anchor`."
    raise PatchConflictError(message)
