"""What an operation changes in YAML, JSON and TOML.

Splices of the text, and what a reader has to see afterwards.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from forkhouse.core.errors import PatchConflictError
from forkhouse.patches.changes import changes, find
from forkhouse.patches.edits import CodeOperation, KeyOperation, PartChange, Selector
from forkhouse.patches.edits import Place as Beside
from forkhouse.patches.languages import data_flow as flow
from forkhouse.patches.languages import data_insert as beside_entries
from forkhouse.patches.languages import data_toml_change
from forkhouse.patches.languages.base import Matched
from forkhouse.patches.languages.data import (
    DataPlace,
    Entry,
    Kind,
    NodeStyle,
    Value,
    chosen,
    entries,
    is_merged,
    look,
    normal,
    read,
    seen,
    seen_key,
    values,
)
from forkhouse.patches.languages.data_plan import DataChange
from forkhouse.patches.languages.data_write import key_written, value_seen, written
from forkhouse.patches.languages.keypaths import key_steps, path_said
from forkhouse.patches.templates import indented_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkhouse.patches.edits import Operation
    from forkhouse.patches.languages.base import Splice
    from forkhouse.patches.languages.data import Data
    from forkhouse.patches.values import Written


def planned(text: str, operation: Operation, language: str) -> tuple[DataChange, ...] | None:
    """Return the changes that an operation makes, None for one that says texts and not values.

    Raises PatchConflictError.
    """
    match operation:
        case KeyOperation(set=str() as path):
            place = look(read(text, language), path, operation.document)
            return () if place is None else (_set(read(text, language), place, operation),)
        case KeyOperation(add=str()):
            return _added(read(text, language), operation)
        case KeyOperation(remove=str() as path):
            place = look(read(text, language), path, operation.document)
            return () if place is None else _removed(read(text, language), [place], path)
        case CodeOperation(remove=Selector(anchor=None) as selector):
            data = read(text, language)
            places = _places(data, selector)
            return None if places is None else _removed(data, places, selector.said())
        case CodeOperation(item=PartChange() as change):
            return _items(read(text, language), change)
        case CodeOperation(insert=Beside() as beside):
            return _inserted(read(text, language), beside)
        case _:
            return None


def matched(text: str, operation: Operation, language: str) -> Matched:
    """Return what an operation changes. Raises PatchConflictError."""
    plan = planned(text, operation, language)
    if plan is not None:
        return Matched(
            matches=len(plan), splices=tuple(splice for change in plan for splice in change.splices)
        )
    if language != "toml" or not (isinstance(operation, CodeOperation) and _is_anchored(operation)):
        read(text, language)  # where values cannot be read, nothing can be proven

    assert isinstance(operation, CodeOperation)  # operations on keys are all planned
    found = changes(text, operation, language)
    return Matched(matches=len(found), splices=tuple(splice for each in found for splice in each))


def _is_anchored(operation: CodeOperation) -> bool:
    selector = operation.replace or operation.wrap or operation.remove
    return selector is not None and selector.anchor is not None


def expected(data: Data, plan: tuple[DataChange, ...]) -> list[object]:
    """Return what a reader has to see of each document after the changes."""
    tops = [seen(top, ordered=True) for top in data.documents]
    for change in sorted(plan, key=lambda change: (change.document, change.steps), reverse=True):
        tops[change.document] = _changed(tops[change.document], change.steps, change)
    return tops


def _changed(tree: object, steps: tuple[int, ...], change: DataChange) -> object:
    if not steps and change.what != "append":
        return change.value
    assert isinstance(tree, tuple)  # as `seen` makes it
    what, anchor, tag, inner = tree
    is_mapping = what == "mapping"
    parts = list(inner)
    if not steps:
        parts.append((change.key, change.value) if is_mapping else change.value)
    elif len(steps) == 1 and change.what == "remove":
        del parts[steps[0]]
    elif len(steps) == 1 and change.what == "insert":
        assert isinstance(change.value, tuple)  # as `_inserted` makes it
        parts[steps[0] : steps[0]] = change.value
    else:
        part = parts[steps[0]]
        parts[steps[0]] = (
            (part[0], _changed(part[1], steps[1:], change))
            if is_mapping
            else _changed(part, steps[1:], change)
        )
    return (what, anchor, tag, tuple(parts))


def _is_flow(holders: tuple[Value, ...]) -> bool:
    return any(holder.style in {NodeStyle.FLOW, NodeStyle.PAIR} for holder in holders)


def _refuse_shared(data: Data, place: DataPlace, *, what: str) -> None:
    """Refuse to change what other places of the file use by an alias."""
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


def _set(data: Data, place: DataPlace, operation: KeyOperation) -> DataChange:
    _refuse_shared(data, place, what=operation.path)
    if data.language == "toml" and place.entry.start < 0:
        return data_toml_change.replaced(data, place, operation)
    new = written(operation.value, data.language, flow=_is_flow(place.holders))
    return DataChange(
        what="set",
        document=place.document,
        steps=place.steps,
        value=value_seen(operation.value, data.language),
        splices=tuple(_put(data, place.entry, new)),
    )


def _put(data: Data, entry: Entry, new: str) -> list[Splice]:
    """Put a value of one line in the place of an entry's value."""
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
        end = flow.line_end(text, end)  # the comment on its last line is about what stands there
    if "\n" in text[sign : value.start] and value.style is NodeStyle.BLOCK:
        # It stands below its key or its dash; a comment on the line of that stays.
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


def _added(data: Data, operation: KeyOperation) -> tuple[DataChange, ...]:
    *parents, last = key_steps(operation.path)
    there = look(data, operation.path, operation.document)
    if there is not None:
        if is_seen(there.entry.value, operation.value, data.language):
            return ()
        line = data.text.count("\n", 0, max(0, there.entry.start)) + 1
        message = f"{operation.path} is there already, with another value (line {line}). Use `set`."
        raise PatchConflictError(message)
    if data.language == "toml":
        return data_toml_change.added(data, operation)
    steps: tuple[int, ...] = ()
    if parents:
        parent = look(data, path_said(parents), operation.document)
        if parent is None:
            return ()
        document, holders, steps, holder = (
            parent.document,
            parent.holders,
            parent.steps,
            parent.entry.value,
        )
        _refuse_shared(data, _inside(parent), what=operation.path)
    else:
        tops = [
            (number, top)
            for number, top in chosen(data, operation.document)
            if top.kind is Kind.MAPPING
        ]
        if len(tops) > 1:
            message = (
                f"The file has {len(tops)} documents that could get {last}. Say which by "
                "`document:`, counted from 0."
            )
            raise PatchConflictError(message)
        if not tops:
            held = (
                {Kind.SEQUENCE: "holds a list"}.get(data.documents[0].kind, "holds a single value")
                if data.documents
                else "is empty"
            )
            message = f"{operation.path}: the file {held}, and no mapping that could get {last}."
            raise PatchConflictError(message)
        ((document, holder),) = tops
        holders = ()
        steps = ()
    if holder.kind is not Kind.MAPPING:
        held = "a list: use `item: {add}`" if holder.kind is Kind.SEQUENCE else "no mapping"
        message = f"{operation.path}: what should hold {last} is {held}."
        raise PatchConflictError(message)
    unlike = any(
        entry.key is not None and entry.key.tag not in {"", _TEXT, _MERGE}
        for entry in holder.entries
    )
    if unlike and key_written(last, data.language, flow=True) != last:
        message = (
            f"{operation.path}: keys there are no texts, so it cannot be told what {last} should "
            "be. Use an `anchor`."
        )
        raise PatchConflictError(message)
    in_flow = _is_flow((*holders, holder))
    key = key_written(last, data.language, flow=in_flow)
    new = f"{key}: {written(operation.value, data.language, flow=in_flow)}"
    if holder.style is NodeStyle.PAIR:
        splices = [(holder.start, holder.start, "{"), (holder.end, holder.end, f", {new}}}")]
    else:
        splices = (
            flow.added(data, holder, new)
            if holder.style is NodeStyle.FLOW
            else [_below(data, holder, new)]
        )
    return (
        DataChange(
            what="append",
            document=document,
            steps=steps,
            key=("scalar", None, ("text", last)),
            value=value_seen(operation.value, data.language),
            splices=tuple(splices),
        ),
    )


_TEXT = "tag:yaml.org,2002:str"


_MERGE = "tag:yaml.org,2002:merge"


def _inside(parent: DataPlace) -> DataPlace:
    """Return a place in the value of an entry, for the question who shares it."""
    value = parent.entry.value
    hollow = type(parent.entry)(start=value.end, end=value.end, value=_nothing(value.end))
    return DataPlace(
        document=parent.document, steps=parent.steps, holders=(*parent.holders, value), entry=hollow
    )


def _nothing(at: int) -> Value:

    return Value(kind=Kind.SCALAR, style=NodeStyle.EMPTY, start=at, end=at, body=at, lead=at)


def _below(data: Data, holder: Value, new: str) -> Splice:
    """Put a line below the last entry of a block, as far to the right as the first one."""
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


def _removed(data: Data, places: list[DataPlace], said: str) -> tuple[DataChange, ...]:
    if data.language == "toml":
        return tuple(data_toml_change.removed(data, place, said) for place in places)
    holders = {(place.document, place.steps[:-1]) for place in places}
    if len(holders) < len(places):
        message = (
            "Several entries of one list or mapping would go at once. Name them one by one, each "
            "in an operation of its own."
        )
        raise PatchConflictError(message)
    return tuple(_removal(data, place, said) for place in places)


def _removal(data: Data, place: DataPlace, said: str) -> DataChange:
    _refuse_shared(data, place, what=said)
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
    """Leave an empty list or mapping where the only entry of a block goes."""
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
            # The dash stands below the key, where brackets may not.
            at = max(outer.sign, holder.lead if holder.lead < holder.end else 0)
            start, stop = flow.line_start(text, entry.start), flow.next_line(text, entry.end)
            return [(at, at, f" {nothing}"), (start, stop, "")]
    return [(entry.start, entry.end, nothing)]


def _entry_of(place: DataPlace) -> Entry:
    return place.holders[-2].entries[place.steps[-2]]


def _cut(data: Data, holder: Value, position: int) -> Splice:
    """Take one of several entries out of a block."""
    text, entry = data.text, holder.entries[position]
    if flow.prefix(text, entry.start) is not None and flow.is_blank(
        data, entry.end, flow.line_end(text, entry.end)
    ):
        return flow.line_start(text, entry.start), flow.next_line(text, entry.end), ""
    if position == 0:
        # It stands behind a dash or a question mark: the next one takes its place, or moves below
        # it with the comments that stand over it.
        following = holder.entries[1].start
        stop = flow.line_end(text, entry.end)
        if flow.is_blank(data, entry.end, stop) and text[stop:following].strip():
            return len(text[: entry.start].rstrip(" \t")), stop, ""
        return entry.start, following, ""
    message = "Something else stands on the lines of what would go. Use an `anchor`."
    raise PatchConflictError(message)


def _located(data: Data) -> Iterator[DataPlace]:
    for number, top in enumerate(data.documents):
        for steps, holders, entry in entries(top):
            yield DataPlace(document=number, steps=steps, holders=holders, entry=entry)


def _places(data: Data, selector: Selector) -> list[DataPlace] | None:
    """Return the entries that a selector matches, None when it matches something that is no entry."""
    if selector.key is not None and selector.within is None:
        place = look(data, selector.key, selector.document)
        return [] if place is None else [place]

    nodes = find(data.text, selector, data.language)
    located = [place for place in _located(data) if place.entry.start >= 0]
    # The value of a key may begin and end as the only key in it does: a match is an entry first.
    spans = {(place.entry.start, place.entry.end): place for place in located}
    for place in located:
        spans.setdefault((place.entry.value.start, place.entry.value.end), place)
    places = [spans.get((node.start, node.end)) for node in nodes]
    return None if None in places else [place for place in places if place is not None]


def _holder_places(
    data: Data, selector: Selector
) -> list[tuple[int, tuple[int, ...], tuple[Value, ...], Value]]:
    """Return the lists and mappings that a selector matches.

    Document, steps, what holds them, themselves.
    """
    places = _places(data, selector)
    if places is not None:
        return [(place.document, place.steps, place.holders, place.entry.value) for place in places]

    tops = {(top.start, top.end): number for number, top in enumerate(data.documents)}
    found = [tops.get((node.start, node.end)) for node in find(data.text, selector, data.language)]
    if None in found:
        message = f"{selector.said()} matches something that is no list. Name the list by `key`."
        raise PatchConflictError(message)
    return [(number, (), (), data.documents[number]) for number in found if number is not None]


def _items(data: Data, change: PartChange) -> tuple[DataChange, ...]:
    changes: list[DataChange] = []
    for document, steps, holders, holder in _holder_places(data, change.of):
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
            document=document, steps=steps, holders=(*holders, holder), entry=_hollow(holder)
        )
        if change.add is not None:
            _refuse_shared(data, hollow, what=what)
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
                changes.append(_removal(data, place, what))
            else:
                _refuse_shared(data, place, what=what)
                changes.append(_item_replaced(data, place, change.with_))
    groups = [(each.document, each.steps[:-1]) for each in changes if each.what == "remove"]
    if len(set(groups)) < len(groups):
        message = (
            f"{change.gone} is in the list {len(groups)} times; remove them one by one, by "
            "`remove:` with the list's key and a number."
        )
        raise PatchConflictError(message)
    return tuple(changes)


def stands_beside(text: str, beside: Beside, language: str) -> bool | None:
    """Say whether entries are there already, in a list beside the match.

    None for a text that says none. Raises PatchConflictError.
    """
    data = read(text, language)
    places = _beside(data, beside)
    if places is None:
        return None
    for place in places:
        holder, position = place.holder, place.steps[-1]
        wanted = beside_entries.said_entries(data, holder, beside_entries.bare(beside.text, holder))
        if wanted is None or holder.style is NodeStyle.PAIR:
            return None
        if holder.kind is Kind.MAPPING:
            pairs = [(seen_key(entry), seen(entry.value, ordered=True)) for entry in holder.entries]
            there = all(each in pairs for each in wanted)
        else:
            first = position + 1 if beside.before is None else max(0, position - len(wanted))
            items = holder.entries[first : first + len(wanted)]
            there = tuple(seen(entry.value, ordered=True) for entry in items) == wanted
        if not there:
            return False
    return bool(places)


def _beside(data: Data, beside: Beside) -> list[DataPlace] | None:
    """Return the places beside which entries are put, None where a text is inserted that is none, or beside none."""
    selector = beside.before or beside.after
    if (
        selector is None
        or selector.anchor is not None
        or (selector.key is None and selector.assignment is None and "$" in beside.text)
    ):
        return None
    places = _places(data, selector)
    if places is None or any(place.entry.start < 0 for place in places):
        return None
    if data.language == "toml" and any(
        place.holder.style is not NodeStyle.FLOW for place in places
    ):
        return None  # a line of TOML: which table it is of is told by the lines above it
    return places


def _inserted(data: Data, beside: Beside) -> tuple[DataChange, ...] | None:
    """Return what puts entries beside others, None where a text is inserted that is none, or beside none."""
    places, selector = _beside(data, beside), beside.before or beside.after
    if places is None or selector is None:
        return None
    changes: list[DataChange] = []
    for place in places:
        change = _insertion(data, place, beside, selector.said())
        if change is None:
            return None
        changes.append(change)
    return tuple(changes)


def _insertion(data: Data, place: DataPlace, beside: Beside, said: str) -> DataChange | None:

    holder = place.holder
    new = beside_entries.bare(beside.text, holder)
    entries_seen = beside_entries.said_entries(data, holder, new)
    if entries_seen is None or holder.style is NodeStyle.PAIR:
        return None
    _refuse_shared(
        data,
        DataPlace(
            document=place.document, steps=place.steps, holders=place.holders, entry=_hollow(holder)
        ),
        what=said,
    )
    keys = [seen_key(entry) for entry in holder.entries] if holder.kind is Kind.MAPPING else []
    keys += [each[0] for each in entries_seen if keys and isinstance(each, tuple)]
    if len({repr(key) for key in keys}) < len(keys):
        message = f"{new} has a key that the mapping has already, or twice. Use `set`."
        raise PatchConflictError(message)
    spaces = beside_entries.column(data, place)
    lines = indented_lines(new, spaces, data.language).replace(
        "\n", flow.newline_at(data.text, place.entry.start)
    )
    before = beside.before is not None
    return DataChange(
        what="insert",
        document=place.document,
        steps=(*place.steps[:-1], place.steps[-1] + (not before)),
        value=entries_seen,
        splices=tuple(beside_entries.inserted(data, place, lines, before=before)),
    )


def _hollow(holder: Value) -> Entry:

    return Entry(start=holder.end, end=holder.end, value=_nothing(holder.end))


def _item_added(
    data: Data, document: int, steps: tuple[int, ...], holder: Value, said: str
) -> DataChange:
    item = _read_item(data, holder, said)
    key, value = item if holder.kind is Kind.MAPPING and isinstance(item, tuple) else (None, item)
    new = said.replace("\n", flow.newline_at(data.text, holder.end))
    if holder.style is not NodeStyle.FLOW and "\n" in said:
        under = (
            flow.column(data.text, holder.entries[0].start) + "  "
        )  # as far to the right as what stands behind the dash
        new = said.replace("\n", flow.newline_at(data.text, holder.end) + under)
    splices = (
        flow.added(data, holder, new)
        if holder.style is NodeStyle.FLOW
        else [_below(data, holder, f"- {new}")]
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
        splices=tuple(_put(data, place.entry, new)),
    )


_UNSURE = re.compile(
    r"(?i:yes|no|on|off)|[-+]?0[0-7_]+|[-+]?0o[0-7]+|0b[01_]+|[-+]?\d[\d_]*(?::[0-5]?\d)+(?:\.\d*)?|[-+]?\d+_[\d_]*|\d+[eE]\d+"
)
"""Plain scalars of YAML whose type the two versions of it do not agree on."""


def _read_item(data: Data, holder: Value, said: str) -> object:
    """Return what a reader sees of an item as it is written; of a pair, its key and its value.

    Raises PatchConflictError.
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

    As it is written, or the text itself, where that is no value of its own.
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
    """Say whether an item is the one that is named: by what is read of it, or by its key."""
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
    for _, _, _, holder in _holder_places(data, selector):
        wanted = _named_item(data, holder, said)
        held.append(sum(_is_meant(entry, said, wanted) for entry in holder.entries))
    return held


def items_said(text: str, selector: Selector, language: str) -> list[str]:
    """Return the items of the lists that a selector matches.

    Texts as they are read, all else as it is written. Raises PatchConflictError.
    """
    data = read(text, language)
    entries = [
        entry for _, _, _, holder in _holder_places(data, selector) for entry in holder.entries
    ]
    texts = [entry.value.read if entry.key is None else None for entry in entries]
    return [
        str(seen_there[1])
        if isinstance(seen_there, tuple) and seen_there[0] == "text"
        else data.text[entry.start : entry.end]
        for entry, seen_there in zip(entries, texts, strict=True)
    ]


def hides_items(text: str, selector: Selector, language: str) -> bool:
    """Say whether what a selector matches is no list, or may hold more than is written there.

    An alias. Raises PatchConflictError.
    """
    holders = [holder for _, _, _, holder in _holder_places(read(text, language), selector)]
    lists = all(holder.kind in {Kind.SEQUENCE, Kind.MAPPING} for holder in holders)
    return not lists or any(
        entry.value.kind is Kind.ALIAS for holder in holders for entry in holder.entries
    )


def leads_into_list(text: str, operation: KeyOperation, language: str) -> bool:
    """Say whether a path that names a key leads to a list by now, any item of which may have that key. Raises PatchConflictError."""
    data, steps = read(text, language), key_steps(operation.path)
    above = [
        (look(data, path_said(steps[:depth]), operation.document), steps[depth])
        for depth in range(1, len(steps))
    ]
    return any(
        place is not None and place.entry.value.kind is Kind.SEQUENCE and not step.isdigit()
        for place, step in above
    )


def is_seen(value: Value, wanted: Written, language: str) -> bool:
    """Say whether a reader sees in a file's value what an edit gives."""
    return normal(seen(value, ordered=True), language) == normal(
        value_seen(wanted, language), language
    )
