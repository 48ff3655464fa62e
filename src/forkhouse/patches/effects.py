"""Whether the effect of an edit is there already. Only what can be seen counts: nothing is taken for upstream by accident."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from forkhouse.errors import PatchConflictError
from forkhouse.patches.changes import changes, filled, find, is_part, scope_of, spliced
from forkhouse.patches.edits import (
    CodeOperation,
    EntryPointsOperation,
    KeyOperation,
    LineChange,
    PartChange,
    Place,
    RequirementOperation,
    Selector,
    allows,
)
from forkhouse.patches.languages import keyed
from forkhouse.patches.languages.data import LANGUAGES, look, read
from forkhouse.patches.languages.data_change import is_seen, items_held
from forkhouse.patches.languages.entrypoints import remove_group
from forkhouse.patches.languages.requirements import change_requirement, is_required

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forkhouse.patches.edits import FileEdit, Operation
    from forkhouse.patches.languages import Node
    from forkhouse.patches.languages.imports import Line

MEANINGFUL = 8
"""Characters that a piece of code needs before finding it says anything."""


def effect_present(text: str, edit: FileEdit) -> bool:
    """Say whether a file is already as the edit would leave it: what each operation looks for is gone, what it brings is there.

    An operation whose effect cannot be seen in the result alone counts as not done.
    """
    return all(is_done(text, operation, edit.language) for operation in edit.operations)


def asks_for_nothing(text: str, edit: FileEdit) -> bool:
    """Say whether an edit only replaces requirements, and the file asks for none of them any more."""
    wanted = [operation.requirement for operation in edit.operations if isinstance(operation, RequirementOperation)]
    try:
        return len(wanted) == len(edit.operations) and all(
            change.replace is not None and change_requirement(text, change).matches == 0 for change in wanted
        )
    except PatchConflictError:
        return False


def is_done(text: str, operation: Operation, language: str) -> bool:
    """Say whether an operation's effect is there."""
    try:
        match operation:
            case CodeOperation():
                if language in LANGUAGES and operation.item is not None:
                    return _items_are_done(text, operation.item, language)
                return _code_is_done(text, operation, language)
            case RequirementOperation(requirement=change):
                if change.add is not None:
                    return is_required(text, change)
                found = change_requirement(text, change)
                if change.remove is not None:
                    return found.matches == 0
                # A requirement that may be missing is none that was replaced.
                return found.matches > 0 and allows(operation.count, found.matches) and spliced(text, found.splices) == text
            case EntryPointsOperation():
                return remove_group(text, operation.remove.group).matches == 0
            case KeyOperation():
                return _key_is_done(text, operation, language)
    except PatchConflictError:
        return False


def would_repeat(text: str, operation: Operation, language: str) -> bool:
    """Say whether an operation that adds something would add what stands at its place already."""
    match operation:
        case CodeOperation(insert=Place() as place):
            return _is_inserted(text, place, language)
        case CodeOperation(wrap=Selector() as selector):
            return _is_wrapped(text, operation.with_ or "", selector, language)
        case CodeOperation(argument=PartChange(add=str())) | CodeOperation(item=PartChange(add=str())):
            return is_done(text, operation, language)
        case CodeOperation(include=LineChange(add=str())) | CodeOperation(import_=LineChange(add=str())):
            return is_done(text, operation, language)
        case RequirementOperation(requirement=change):
            return is_required(text, change)
        case _:
            return False


def _key_is_done(text: str, operation: KeyOperation, language: str) -> bool:
    if operation.remove is not None:
        return keyed.matched(text, operation, language).matches == 0
    place = look(read(text, language), operation.path, operation.document)
    return place is not None and is_seen(place.entry.value, operation.value, language)


def _items_are_done(text: str, change: PartChange, language: str) -> bool:
    """Say whether what an operation takes out of lists is in none of them, and what it brings in all."""
    gone, come = change.gone, change.come
    left = gone is not None and items_held(text, change.of, gone, language) != [0] * len(items_held(text, change.of, gone, language))
    there = items_held(text, change.of, come if come is not None else gone or "", language)
    return not left and bool(there) and (come is None or all(there))


def _code_is_done(text: str, operation: CodeOperation, language: str) -> bool:
    match operation:
        case CodeOperation(replace=Selector() as selector):
            return _is_replaced(text, operation, selector, language)
        case CodeOperation(wrap=Selector() as selector):
            return _is_wrapped(text, operation.with_ or "", selector, language)
        case CodeOperation(remove=Selector() as selector):
            return not find(text, selector, language) and not is_mentioned(text, selector)
        case CodeOperation(insert=Place() as place):
            return _is_inserted(text, place, language)
        case CodeOperation(argument=PartChange() as change) | CodeOperation(item=PartChange() as change):
            return _part_is_done(text, operation, change, language)
        case CodeOperation(include=LineChange() as change) | CodeOperation(import_=LineChange() as change):
            return _import_is_done(text, change, language, include=operation.include is not None)
        case _:
            return False


def is_mentioned(text: str, selector: Selector) -> bool:
    """Say whether a file still has the name of what is not found in it.

    A grammar may not read it, or know it by another kind of node: while its name stands there, nothing proves that it is gone.
    """
    names = (selector.function, selector.class_, selector.call, selector.assignment)
    name = next((each for each in names if each is not None), None)
    words = re.findall(r"\w+", (name or "").partition("(")[0])
    return bool(words) and re.search(rf"(?<!\w){re.escape(words[-1])}(?!\w)", text) is not None


def _says_something(piece: str) -> bool:
    """Say whether a piece of code is long enough, metavariables left out, for finding it to mean anything."""
    return len(re.sub(r"\${1,3}[A-Z_][A-Z0-9_]*|\s", "", piece)) >= MEANINGFUL


def came_about(before: str, now: str, operation: Operation, language: str) -> bool:
    """Say whether an operation's effect is there in a file now, and did not stand in it, by chance, in its state at the pin."""
    if not is_done(now, operation, language):
        return False
    try:
        match operation:
            case CodeOperation(replace=Selector() as selector):
                new = operation.with_ or ""
                more = _results(now, new, selector, language) > _results(before, new, selector, language)
                return more and _left_lines(before, operation, language) <= _said_lines(now)
            case CodeOperation(argument=PartChange() as change) if _selects_itself(change):
                after = _selected_after(change)
                return len(find(now, after, language)) > len(find(before, after, language))
    except PatchConflictError:
        pass  # its place at the pin is made by an operation before it
    return True


def _left_lines(before: str, operation: CodeOperation, language: str) -> set[str]:
    """Return the first line of each place as an operation leaves it: what else stands on it says that it is that place, and no other."""
    found = changes(before, operation, language)
    changed = spliced(before, [splice for splices in found for splice in splices])
    return {
        line for line in _said_lines(changed) - _said_lines(before) if (operation.with_ or "").strip().partition("\n")[0].strip() in line
    }


def _said_lines(text: str) -> set[str]:
    return {" ".join(line.split()) for line in text.splitlines()}


def _results(text: str, new: str, selector: Selector, language: str) -> int:
    """Return how often what a selector was replaced by stands where the selector looks."""
    if selector.pattern is not None and re.search(r"\$[A-Z_]", new):
        # What a pattern with metavariables was replaced by is a pattern itself.
        return len(find(text, Selector(pattern=new, within=selector.within), language))
    start, end = scope_of(text, selector, language)
    words = " ".join(new.split())
    return len(re.findall(rf"(?<!\w){re.escape(words)}(?!\w)", " ".join(text[start:end].split())))


def _is_replaced(text: str, operation: CodeOperation, selector: Selector, language: str) -> bool:
    new = operation.with_ or ""
    if not _says_something(new) or not _results(text, new, selector, language):
        return False
    found = changes(text, operation, language)
    # As when a function is replaced by another of its name: applying again changes nothing.
    return not found or spliced(text, [splice for splices in found for splice in splices]) == text


def _is_inserted(text: str, place: Place, language: str) -> bool:
    """Say whether the text stands where it would be inserted, white space aside."""
    selector = place.before or place.after
    if selector is None or not place.text.strip():
        return False
    nodes = find(text, selector, language)
    return bool(nodes) and all(
        _stands(text, node, filled(place.text, node, selector, text, language), before=place.before is not None) for node in nodes
    )


def _stands(text: str, node: Node, new: str, *, before: bool) -> bool:
    wanted = "".join(new.split())
    start, end = node.whole
    # White space of any length may stand between, but not without end: this keeps it linear in the size of what is looked for.
    window = 8 * len(new) + 1024
    if before:
        # What was put before a function may have become a part of it: a decorator.
        own = "".join(text[start : min(node.start, start + window)].split())
        if node.head is not None and "".join(text[max(0, node.head - window) : node.head].split()).endswith(wanted):
            return True
        return own.startswith(wanted) or "".join(text[max(0, start - window) : start].split()).endswith(wanted)
    return "".join(text[end : end + window].split()).startswith(wanted)


def _is_wrapped(text: str, template: str, selector: Selector, language: str) -> bool:
    """Say whether every match lies in what would be put around it."""
    nodes = find(text, selector, language)
    head, _, tail = template.removesuffix("\n").partition("$MATCH")
    if not nodes or not (head.strip() or tail.strip()):
        return False
    return all(text[: node.start].endswith(head) and text[node.end :].startswith(tail) for node in nodes)


def _import_is_done(text: str, change: LineChange, language: str, *, include: bool) -> bool:
    from forkhouse.patches.languages.imports import imports, meaning, unread_includes  # noqa: PLC0415  # start-up time

    lines = imports(text, language, include=include)
    come = change.come
    if change.gone is not None and meaning(change.gone, language) in {each for line in lines for each in line.meanings}:
        return False
    if change.gone is not None and include and meaning(change.gone, language) in unread_includes(text, language):
        return False
    if change.gone is not None and _is_imported_otherwise(text, lines, change, language):
        return False
    # What is added stands for the whole file; an import in a function, or an include under a condition, is another one.
    return come is None or meaning(come, language) in {each for line in lines if line.top or change.add is None for each in line.meanings}


def _is_imported_otherwise(text: str, lines: Sequence[Line], change: LineChange, language: str) -> bool:
    """Say whether another line brings what is to be gone: by another name, in other quotes, or all of its module."""
    from forkhouse.patches.languages.imports import meaning  # noqa: PLC0415  # start-up time

    words = re.findall(r"[\w./-]*\w", re.sub(r"^\s*#\s*include|\b(?:import|from|use|pub|as)\b", " ", change.gone or ""))
    if not words:
        return False
    come = None if change.come is None else meaning(change.come, language)
    others = [text[line.node.start : line.node.end] for line in lines if line.meaning != come]
    return any(re.search(rf"(?<![\w]){re.escape(words[-1])}(?!\w)", other) for other in others)


def _part_is_done(text: str, operation: CodeOperation, change: PartChange, language: str) -> bool:
    nodes = find(text, change.of, language)
    if _selects_itself(change):
        there = find(text, _selected_after(change), language)
        return not nodes and bool(there) and allows(operation.count, len(there))
    of_call = operation.argument is not None
    return bool(nodes) and all(_node_is_done(text, node, change, of_call=of_call) for node in nodes)


def _selects_itself(change: PartChange) -> bool:
    """Say whether a call is known by the very argument that is replaced."""
    return change.with_ is not None and change.of.argument is not None and change.of.argument == change.gone


def _selected_after(change: PartChange) -> Selector:
    """Return how such a call is known afterwards."""
    return change.of.model_copy(update={"argument": change.with_})


def _loosely(part: str) -> str:
    """Return a part without blanks and quotes, which some languages do not distinguish."""
    return re.sub(r"[\s\"']", "", part)


def _node_is_done(text: str, node: Node, change: PartChange, *, of_call: bool) -> bool:
    parts = node.arguments if of_call else node.items
    said: Sequence[str] = [text[start:end] for start, end in parts.spans] if parts else []
    gone, come = change.gone, change.come
    # A keyword that is replaced by itself with another value is gone only as it was.
    left = [each for each in said if gone is not None and each != come and (is_part(each, gone) or _loosely(each) == _loosely(gone))]
    return parts is not None and not left and (come is None or come in said)
