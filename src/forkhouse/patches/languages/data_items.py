"""Plan the change of an item of a list or mapping, and tell which items one holds."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from forkhouse.core.errors import PatchConflictError
from forkhouse.patches.languages import data_flow as flow
from forkhouse.patches.languages.data import (
    DataPlace,
    Entry,
    Kind,
    NodeStyle,
    Value,
    read,
    seen,
)
from forkhouse.patches.languages.data_entries import below, put, removal
from forkhouse.patches.languages.data_places import holder_places, hollow_entry, refuse_shared
from forkhouse.patches.languages.data_plan import DataChange

if TYPE_CHECKING:
    from forkhouse.patches.edits import PartChange, Selector
    from forkhouse.patches.languages.data import Data


def item_changes(data: Data, change: PartChange) -> tuple[DataChange, ...]:
    """Return the changes that add, remove or replace an item. Raises PatchConflictError."""
    changes: list[DataChange] = []
    for document, steps, holders, holder in holder_places(data, change.of):
        what = change.of.said()
        if holder.style in {NodeStyle.TABLE, NodeStyle.DOTTED}:
            message = (
                f"{what} is made of tables with headers or dotted keys of their own. Use `add`, "
                "`set` and `remove` for their keys."
            )
            raise PatchConflictError(message)
        if holder.kind not in {Kind.SEQUENCE, Kind.MAPPING} or (
            holder.kind is Kind.MAPPING and holder.style is not NodeStyle.FLOW
        ):
            message = (
                f"{what} has no items that can be told apart here: it is {holder.what}. Use `set`, "
                "`add` and `remove` for keys."
            )
            raise PatchConflictError(message)
        hollow = DataPlace(
            document=document, steps=steps, holders=(*holders, holder), entry=hollow_entry(holder)
        )
        if change.add is not None:
            refuse_shared(data, hollow, what=what)
            changes.append(_item_added(data, document, steps, holder, change.add))
            continue
        wanted = _named_item(data, holder, change.gone or "")
        for position, entry in enumerate(holder.entries):
            if not _is_meant(entry, change.gone or "", wanted):
                continue
            place = DataPlace(
                document=document, steps=(*steps, position), holders=(*holders, holder), entry=entry
            )
            if change.with_ is None:
                changes.append(removal(data, place, what))
            else:
                refuse_shared(data, place, what=what)
                changes.append(_item_replaced(data, place, change.with_))
    groups = [(each.document, each.steps[:-1]) for each in changes if each.what == "remove"]
    if len(set(groups)) < len(groups):
        message = (
            f"{change.gone} is in the list {len(groups)} times; remove them one by one, by "
            "`remove:` with the list's key and a number."
        )
        raise PatchConflictError(message)
    return tuple(changes)


def _item_added(
    data: Data, document: int, steps: tuple[int, ...], holder: Value, said: str
) -> DataChange:
    item = _read_item(data, holder, said)
    key, value = item if holder.kind is Kind.MAPPING and isinstance(item, tuple) else (None, item)
    new = said.replace("\n", flow.newline_at(data.text, holder.end))
    if holder.style is not NodeStyle.FLOW and "\n" in said:
        # The lines are indented as far as the text behind the dash.
        under = flow.column(data.text, holder.entries[0].start) + "  "
        first, *lines = said.split("\n")
        newline = flow.newline_at(data.text, holder.end)
        new = newline.join([first, *(under + line if line else "" for line in lines)])
    splices = (
        flow.added(data, holder, new)
        if holder.style is NodeStyle.FLOW
        else [below(data, holder, f"- {new}")]
    )
    return DataChange(
        what="append", document=document, steps=steps, key=key, value=value, splices=tuple(splices)
    )


def _item_replaced(data: Data, place: DataPlace, said: str) -> DataChange:
    item = _read_item(data, place.holder, said)
    if place.entry.key is not None:
        message = f"A pair of a mapping cannot be replaced as an item. Use `set`: {said}."
        raise PatchConflictError(message)
    new = said.replace("\n", flow.newline_at(data.text, place.entry.end))
    return DataChange(
        what="set",
        document=place.document,
        steps=place.steps,
        value=item,
        splices=tuple(put(data, place.entry, new)),
    )


_UNSURE = re.compile(
    r"(?i:yes|no|on|off)|[-+]?0[0-7_]+|[-+]?0o[0-7]+|0b[01_]+|[-+]?\d[\d_]*(?::[0-5]?\d)+(?:\.\d*)?"
    r"|[-+]?\d+_[\d_]*|\d+[eE]\d+"
)
"""Plain scalars of YAML on whose type YAML 1.1 and YAML 1.2 do not agree."""


def _read_item(data: Data, holder: Value, said: str) -> object:
    """Return what a reader sees of an item as it is written.

    For a pair, this is its key and its value. Raises PatchConflictError.
    """
    language = data.language
    if language == "yaml" and _UNSURE.fullmatch(said):
        message = (
            f"{said} is one value to a reader of YAML 1.1 and another to one of YAML 1.2. Write it "
            "in quotes, or as both read it."
        )
        raise PatchConflictError(message)
    pair = holder.kind is Kind.MAPPING
    sign = "=" if language == "toml" else ":"
    whole = (
        f"{said} {'0' if language == 'toml' else 'null'}"
        if pair and said.rstrip().endswith(sign)
        else said
    )
    if language == "toml":
        text = f"value = {{{whole}}}\n" if pair else f"value = [{whole}]\n"
    elif language == "yaml" and not pair and holder.style is NodeStyle.BLOCK:
        text = "- " + whole.replace("\n", "\n  ") + "\n"
    else:
        text = f"{{{whole}}}" if pair else f"[{whole}]"
    try:
        top = read(text, language).documents[0]
    except PatchConflictError as error:
        message = f"{said} is no item of {language} as it would have to be written there: {error}"
        raise PatchConflictError(message) from error
    listed = top.entries[0].value if language == "toml" else top
    if len(listed.entries) != 1:
        message = f"{said} is not one item, but {len(listed.entries)}."
        raise PatchConflictError(message)
    shown = seen(listed, ordered=True)
    assert isinstance(shown, tuple)  # as `seen` makes it
    return shown[3][0]


def _named_item(data: Data, holder: Value, said: str) -> object:
    """Return what a reader sees of an item that an edit names.

    This is the value that the text says, or the text itself if it says no value of its own.
    """
    try:
        return _read_item(data, holder, said)
    except PatchConflictError:
        if (
            data.language == "yaml"
            or holder.kind is not Kind.SEQUENCE
            or re.search(r"[\"'\[\]{},\n]", said)
        ):
            raise
        return ("scalar", None, ("text", said))


def _is_meant(entry: Entry, said: str, wanted: object) -> bool:
    """Say whether an item is the one that an edit names, by its value or by its key."""
    if entry.key is None:
        return seen(entry.value, ordered=True) == wanted
    assert isinstance(wanted, tuple)  # a pair
    same_key = seen(entry.key, ordered=True) == wanted[0]
    return same_key and (
        said.rstrip().endswith(("=", ":")) or seen(entry.value, ordered=True) == wanted[1]
    )


def items_held(text: str, selector: Selector, said: str, language: str) -> list[int]:
    """Return how often each list that a selector matches holds an item.

    Raises PatchConflictError.
    """
    data = read(text, language)
    held = []
    for _, _, _, holder in holder_places(data, selector):
        wanted = _named_item(data, holder, said)
        held.append(sum(_is_meant(entry, said, wanted) for entry in holder.entries))
    return held


def items_said(text: str, selector: Selector, language: str) -> list[str]:
    """Return the items of the lists that a selector matches.

    Texts are returned as they are read, and all others as they are written. Raises
    PatchConflictError.
    """
    data = read(text, language)
    entries = [
        entry for _, _, _, holder in holder_places(data, selector) for entry in holder.entries
    ]
    texts = [entry.value.read if entry.key is None else None for entry in entries]
    return [
        str(seen_there[1])
        if isinstance(seen_there, tuple) and seen_there[0] == "text"
        else data.text[entry.start : entry.end]
        for entry, seen_there in zip(entries, texts, strict=True)
    ]


def hides_items(text: str, selector: Selector, language: str) -> bool:
    """Say whether a match of a selector is no list, or may hold more than is written there.

    An alias may hold more. Raises PatchConflictError.
    """
    holders = [holder for _, _, _, holder in holder_places(read(text, language), selector)]
    lists = all(holder.kind in {Kind.SEQUENCE, Kind.MAPPING} for holder in holders)
    return not lists or any(
        entry.value.kind is Kind.ALIAS for holder in holders for entry in holder.entries
    )
