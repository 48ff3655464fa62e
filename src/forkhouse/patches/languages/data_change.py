"""Plan the change that an operation makes to YAML, JSON or TOML.

A plan holds the splices of the text, and what a reader has to see afterwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkhouse.core.errors import PatchConflictError
from forkhouse.patches.backends import Matched
from forkhouse.patches.edits import CodeOperation, KeyOperation, PartChange, Selector
from forkhouse.patches.edits import Place as Beside
from forkhouse.patches.keypaths import key_steps, path_said
from forkhouse.patches.languages import data_flow as flow
from forkhouse.patches.languages import data_insert as beside_entries
from forkhouse.patches.languages import data_toml_change
from forkhouse.patches.languages.changes import changes
from forkhouse.patches.languages.data import (
    DataPlace,
    Kind,
    NodeStyle,
    Value,
    chosen,
    look,
    normal,
    read,
    seen,
    seen_key,
)
from forkhouse.patches.languages.data_entries import below, put, removed
from forkhouse.patches.languages.data_items import item_changes
from forkhouse.patches.languages.data_places import (
    entry_places,
    hollow_entry,
    inside,
    is_flow,
    refuse_shared,
)
from forkhouse.patches.languages.data_plan import DataChange
from forkhouse.patches.languages.data_write import key_written, value_seen, written
from forkhouse.patches.languages.templates import indented_lines

if TYPE_CHECKING:
    from forkhouse.patches.edits import Operation
    from forkhouse.patches.languages.data import Data
    from forkhouse.patches.values import Written


def planned(text: str, operation: Operation, language: str) -> tuple[DataChange, ...] | None:
    """Return the changes that an operation makes, or None if it gives texts and not values.

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
            return () if place is None else removed(read(text, language), [place], path)
        case CodeOperation(remove=Selector(anchor=None) as selector):
            data = read(text, language)
            places = entry_places(data, selector)
            return None if places is None else removed(data, places, selector.said())
        case CodeOperation(item=PartChange() as change):
            return item_changes(read(text, language), change)
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
        read(text, language)  # nothing can be proven in a file that cannot be read

    assert isinstance(operation, CodeOperation)  # every operation on a key has a plan
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


def _set(data: Data, place: DataPlace, operation: KeyOperation) -> DataChange:
    refuse_shared(data, place, what=operation.path)
    if data.language == "toml" and place.entry.start < 0:
        return data_toml_change.replaced(data, place, operation)
    new = written(operation.value, data.language, flow=is_flow(place.holders))
    return DataChange(
        what="set",
        document=place.document,
        steps=place.steps,
        value=value_seen(operation.value, data.language),
        splices=tuple(put(data, place.entry, new)),
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
        refuse_shared(data, inside(parent), what=operation.path)
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
    in_flow = is_flow((*holders, holder))
    key = key_written(last, data.language, flow=in_flow)
    new = f"{key}: {written(operation.value, data.language, flow=in_flow)}"
    if holder.style is NodeStyle.PAIR:
        splices = [(holder.start, holder.start, "{"), (holder.end, holder.end, f", {new}}}")]
    else:
        splices = (
            flow.added(data, holder, new)
            if holder.style is NodeStyle.FLOW
            else [below(data, holder, new)]
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


def stands_beside(text: str, beside: Beside, language: str) -> bool | None:
    """Say whether the entries of an insertion stand in a list beside the match already.

    Returns None for a text that holds no entries. Raises PatchConflictError.
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
    """Return the places beside which entries are inserted, or None.

    None means that the inserted text is no entry, or that what it stands beside is none.
    """
    selector = beside.before or beside.after
    if (
        selector is None
        or selector.anchor is not None
        or (selector.key is None and selector.assignment is None and "$" in beside.text)
    ):
        return None
    places = entry_places(data, selector)
    if places is None or any(place.entry.start < 0 for place in places):
        return None
    if data.language == "toml" and any(
        place.holder.style is not NodeStyle.FLOW for place in places
    ):
        return None  # the lines above a line of TOML decide which table it belongs to
    return places


def _inserted(data: Data, beside: Beside) -> tuple[DataChange, ...] | None:
    """Return the changes that insert entries beside others, or None.

    None means that the inserted text is no entry, or that what it stands beside is none.
    """
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
    refuse_shared(
        data,
        DataPlace(
            document=place.document,
            steps=place.steps,
            holders=place.holders,
            entry=hollow_entry(holder),
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


def leads_into_list(text: str, operation: KeyOperation, language: str) -> bool:
    """Say whether a path of keys leads through a list, any item of which may have the key.

    Raises PatchConflictError.
    """
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
