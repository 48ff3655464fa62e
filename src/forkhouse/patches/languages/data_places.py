"""Find the entries, lists and mappings of YAML, JSON or TOML that a selector names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkhouse.core.errors import PatchConflictError
from forkhouse.patches.finding import find
from forkhouse.patches.languages.data import (
    DataPlace,
    Entry,
    Kind,
    NodeStyle,
    Value,
    entries,
    look,
    values,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkhouse.patches.edits import Selector
    from forkhouse.patches.languages.data import Data


def _located(data: Data) -> Iterator[DataPlace]:
    for number, top in enumerate(data.documents):
        for steps, holders, entry in entries(top):
            yield DataPlace(document=number, steps=steps, holders=holders, entry=entry)


def entry_places(data: Data, selector: Selector) -> list[DataPlace] | None:
    """Return the entries that a selector matches, or None if one match is not an entry."""
    if selector.key is not None and selector.within is None:
        place = look(data, selector.key, selector.document)
        return [] if place is None else [place]

    nodes = find(data.text, selector, data.language)
    located = [place for place in _located(data) if place.entry.start >= 0]
    # A value may have the same span as its only entry; then the match is the entry.
    spans = {(place.entry.start, place.entry.end): place for place in located}
    for place in located:
        spans.setdefault((place.entry.value.start, place.entry.value.end), place)
    places = [spans.get((node.start, node.end)) for node in nodes]
    return None if None in places else [place for place in places if place is not None]


def holder_places(
    data: Data, selector: Selector
) -> list[tuple[int, tuple[int, ...], tuple[Value, ...], Value]]:
    """Return the lists and mappings that a selector matches.

    Each has its document, its steps, the values that hold it, and itself.
    """
    places = entry_places(data, selector)
    if places is not None:
        return [(place.document, place.steps, place.holders, place.entry.value) for place in places]

    tops = {(top.start, top.end): number for number, top in enumerate(data.documents)}
    found = [tops.get((node.start, node.end)) for node in find(data.text, selector, data.language)]
    if None in found:
        message = f"{selector.said()} matches something that is no list. Name the list by `key`."
        raise PatchConflictError(message)
    return [(number, (), (), data.documents[number]) for number in found if number is not None]


def is_flow(holders: tuple[Value, ...]) -> bool:
    """Say whether one of some lists and mappings stands between brackets."""
    return any(holder.style in {NodeStyle.FLOW, NodeStyle.PAIR} for holder in holders)


def refuse_shared(data: Data, place: DataPlace, *, what: str) -> None:
    """Raise PatchConflictError if other places of the file use a changed value by an alias."""
    top = data.documents[place.document]
    outer = {value.anchor for value in place.holders if value.anchor is not None}
    inner = [place.entry.value, *([place.entry.key] if place.entry.key is not None else [])]
    own = {
        value.anchor
        for each in inner
        for value in values(each)
        if value.anchor is not None and value.kind is not Kind.ALIAS
    }
    for value in values(top):
        if value.kind is not Kind.ALIAS:
            continue
        inside = any(each.start <= value.start < each.end for each in inner)
        if value.anchor in outer or (value.anchor in own and not inside):
            line = data.text.count("\n", 0, value.start) + 1
            message = (
                f"{what} belongs to the anchor &{value.anchor}, which line {line} uses too, and "
                "would change there as well. Use an `anchor`."
            )
            raise PatchConflictError(message)


def inside(parent: DataPlace) -> DataPlace:
    """Return a place in the value of an entry, to find out who shares that value."""
    value = parent.entry.value
    hollow = type(parent.entry)(start=value.end, end=value.end, value=_nothing(value.end))
    return DataPlace(
        document=parent.document, steps=parent.steps, holders=(*parent.holders, value), entry=hollow
    )


def hollow_entry(holder: Value) -> Entry:
    """Return an entry without a value at the end of a list or mapping."""
    return Entry(start=holder.end, end=holder.end, value=_nothing(holder.end))


def _nothing(at: int) -> Value:

    return Value(kind=Kind.SCALAR, style=NodeStyle.EMPTY, start=at, end=at, body=at, lead=at)
