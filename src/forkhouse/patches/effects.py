"""Decide whether the effect of an edit is in a file already.

Only what can be seen counts, so that nothing is taken for upstream by accident.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

from forkhouse.core.errors import PatchConflictError
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
from forkhouse.patches.finding import find
from forkhouse.patches.languages import keyed
from forkhouse.patches.languages.changes import left_by
from forkhouse.patches.languages.data import LANGUAGES, look, read
from forkhouse.patches.languages.data_change import is_seen, leads_into_list, stands_beside
from forkhouse.patches.languages.data_items import hides_items, items_held, items_said
from forkhouse.patches.languages.entrypoints import remove_group
from forkhouse.patches.languages.imports import imports, meaning, unread_includes
from forkhouse.patches.languages.requirements import change_requirement, is_named, is_required
from forkhouse.patches.languages.templates import filled
from forkhouse.patches.partchanges import is_part, keyword_of
from forkhouse.patches.pieces import spliced
from forkhouse.patches.spellings import (
    MEANINGFUL,
    bare,
    is_same,
    may_be,
    respelled,
    stands,
    stands_apart,
    tells,
    words_of,
)
from forkhouse.patches.standing import is_inside, lies_in, results, stands_loosely, stands_there

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from forkhouse.patches.backends import Node, Span
    from forkhouse.patches.edits import FileEdit, Operation, RequirementChange
    from forkhouse.patches.languages.imports import ImportLine


def effect_present(text: str, edit: FileEdit) -> bool:
    """Say whether a file is already as the edit would leave it.

    What each operation removes has to be gone, and what it adds has to be there. An operation whose
    effect cannot be seen in the result alone counts as not done.
    """
    return all(is_done(text, operation, edit.language) for operation in edit.operations)


def lost_requirements(text: str, edit: FileEdit) -> list[RequirementChange]:
    """Return the changes of requirements that find nothing to remove or replace in a file."""
    wanted = [
        operation.requirement
        for operation in edit.operations
        if isinstance(operation, RequirementOperation)
    ]
    try:
        return [
            change
            for change in wanted
            if change.gone is not None and change_requirement(text, change).matches == 0
        ]
    except PatchConflictError:
        return []


def asks_for_nothing(text: str, edit: FileEdit) -> bool:
    """Say whether an edit only replaces requirements, and the file declares none of them."""
    wanted = [
        operation.requirement
        for operation in edit.operations
        if isinstance(operation, RequirementOperation)
    ]
    try:
        return len(wanted) == len(edit.operations) and all(
            change.replace is not None and change_requirement(text, change).matches == 0
            for change in wanted
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
                # A missing requirement, even if the count allows it, proves no replacement.
                return (
                    found.matches > 0
                    and allows(operation.count, found.matches)
                    and spliced(text, found.splices) == text
                )
            case EntryPointsOperation():
                return remove_group(text, operation.remove.group).matches == 0
            case KeyOperation():
                return _key_is_done(text, operation, language)
    except PatchConflictError:
        return False


def would_repeat(text: str, operation: Operation, language: str) -> bool:
    """Say whether an operation would add something that its place has already."""
    match operation:
        case CodeOperation(insert=Place() as place):
            return _is_inserted(text, place, language, partial(stands_loosely, language))
        case CodeOperation(wrap=Selector() as selector):
            return _is_wrapped(text, operation.with_ or "", selector, language, lies_in)
        case (
            CodeOperation(argument=PartChange(add=str()) as change)
            | CodeOperation(item=PartChange(add=str()) as change)
        ):
            said = said_parts(text, operation, change, language)
            return is_done(text, operation, language) or any(
                is_same(each, change.come or "", language) for each in said
            )
        case (
            CodeOperation(include=LineChange(add=str()))
            | CodeOperation(import_=LineChange(add=str()))
        ):
            return is_done(text, operation, language)
        case RequirementOperation(requirement=change):
            return is_named(text, change)
        case _:
            return False


def said_parts(text: str, operation: CodeOperation, change: PartChange, language: str) -> list[str]:
    """Return the arguments or items that a change may be about, as they are written.

    In a file of keys, return them as they are read.
    """
    if language in LANGUAGES:
        return items_said(text, change.of, language)
    nodes = find(text, change.of, language)
    held = [node.items if operation.argument is None else node.arguments for node in nodes]
    return [text[start:end] for parts in held if parts is not None for start, end in parts.spans]


def _key_is_done(text: str, operation: KeyOperation, language: str) -> bool:
    if operation.remove is not None:
        return keyed.matched(text, operation, language).matches == 0 and not leads_into_list(
            text, operation, language
        )
    place = look(read(text, language), operation.path, operation.document)
    return place is not None and is_seen(place.entry.value, operation.value, language)


def _items_are_done(text: str, change: PartChange, language: str) -> bool:
    """Say whether no list has the item that a change removes, and each has the one it adds."""
    gone, come = change.gone, change.come
    if gone is not None and hides_items(text, change.of, language):
        return False
    left = gone is not None and items_held(text, change.of, gone, language) != [0] * len(
        items_held(text, change.of, gone, language)
    )
    left = left or (
        gone is not None
        and any(
            bare(each) != bare(come or "") and (may_be(each, gone) or _has_keyword(each, gone))
            for each in items_said(text, change.of, language)
        )
    )
    there = items_held(text, change.of, come if come is not None else gone or "", language)
    return not left and bool(there) and (come is None or all(there))


def _code_is_done(text: str, operation: CodeOperation, language: str) -> bool:
    match operation:
        case CodeOperation(replace=Selector() as selector):
            return _is_replaced(text, operation, selector, language)
        case CodeOperation(wrap=Selector() as selector):
            return _is_wrapped(text, operation.with_ or "", selector, language, is_inside)
        case CodeOperation(remove=Selector() as selector):
            return not find(text, selector, language) and not is_mentioned(text, selector)
        case CodeOperation(insert=Place() as place):
            return _is_inserted(text, place, language, partial(stands_there, language))
        case (
            CodeOperation(argument=PartChange() as change)
            | CodeOperation(item=PartChange() as change)
        ):
            return _part_is_done(text, operation, change, language)
        case (
            CodeOperation(include=LineChange() as change)
            | CodeOperation(import_=LineChange() as change)
        ):
            return _import_is_done(text, change, language, include=operation.include is not None)
        case _:
            return False


def is_mentioned(text: str, selector: Selector) -> bool:
    """Say whether a file still mentions the name that an operation does not find in it.

    The grammar may not read that place, or give it another kind of node. While the name stands in
    the file, nothing proves that it is gone. The same holds for an anchor, or the text of a
    pattern, in another layout.
    """
    code = selector.anchor if selector.anchor is not None else selector.pattern
    if selector.anchor is not None and stands_apart(text, selector.anchor):
        return True
    if code is not None:
        return stands(text, code) is not None or (
            not tells(code) and all(_is_a_word(word, text) for word in words_of(code))
        )
    names = (selector.function, selector.class_, selector.call, selector.assignment)
    name = next((each for each in names if each is not None), None)
    words = re.findall(r"\w+", (name or "").partition("(")[0])
    return bool(words) and _is_a_word(words[-1], text)


def _is_a_word(word: str, text: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text) is not None


def _says_something(piece: str) -> bool:
    """Say whether code, without its metavariables, is long enough for a match to mean anything."""
    return len(re.sub(r"\${1,3}[A-Z_][A-Z0-9_]*|\s", "", piece)) >= MEANINGFUL


def _is_replaced(text: str, operation: CodeOperation, selector: Selector, language: str) -> bool:
    new = operation.with_ or ""
    if not _says_something(new) or not results(text, new, selector, language):
        return False
    if selector.anchor is not None and stands(respelled(new).sub("", text), selector.anchor):
        return False
    # A second application may change nothing, as when a function is replaced by its namesake.
    return left_by(text, operation, language) == text


def _is_inserted(text: str, place: Place, language: str, stands_there: Callable[..., bool]) -> bool:
    """Say whether a text stands where an operation would insert it.

    `stands_there` says so of one match.
    """
    selector = place.before or place.after
    if selector is None or not place.text.strip():
        return False
    nodes = find(text, selector, language)
    if language in LANGUAGES and place.before is not None and selector.key is not None:
        # After an insertion before it, a number in the path counts another item.
        words = place.text.strip(", \t\r\n")
        if any(text[node.start : node.end].strip(", \t\r\n") == words for node in nodes):
            return True
    there = stands_beside(text, place, language) if nodes and language in LANGUAGES else None
    if there is not None:
        return there
    return bool(nodes) and all(
        stands_there(
            text,
            node,
            filled(place.text, node, selector, text, language),
            before=place.before is not None,
        )
        for node in nodes
    )


def _is_wrapped(
    text: str,
    template: str,
    selector: Selector,
    language: str,
    lies_in: Callable[[str, Span, str, str, str], bool],
) -> bool:
    """Say whether every match stands in what would be put around it."""
    nodes = find(text, selector, language)
    head, _, tail = template.removesuffix("\n").partition("$MATCH")
    if not nodes or not (head.strip() or tail.strip()):
        return False
    return all(
        any(
            lies_in(text, span, head, tail, language)
            for span in ((node.start, node.end), node.whole)
        )
        for node in nodes
    )


def _import_is_done(text: str, change: LineChange, language: str, *, include: bool) -> bool:

    lines = imports(text, language, include=include)
    come = change.come
    if change.gone is not None and meaning(change.gone, language) in {
        each for line in lines for each in line.meanings
    }:
        return False
    if (
        change.gone is not None
        and include
        and meaning(change.gone, language) in unread_includes(text, language)
    ):
        return False
    if change.gone is not None and _is_imported_otherwise(text, lines, change, language):
        return False
    # An added import applies to the whole file; one in a function, or under a condition, does not.
    return come is None or meaning(come, language) in {
        each for line in lines if line.top or change.add is None for each in line.meanings
    }


def _is_imported_otherwise(
    text: str, lines: Sequence[ImportLine], change: LineChange, language: str
) -> bool:
    """Say whether another line imports what an operation removes.

    It may do so by another name, in other quotes, or by the whole module.
    """
    words = re.findall(
        r"[\w./-]*\w",
        re.sub(r"^\s*#\s*include|\b(?:import|from|use|pub|as)\b", " ", change.gone or ""),
    )
    if not words:
        return False
    come = None if change.come is None else meaning(change.come, language)
    others = [text[line.node.start : line.node.end] for line in lines if line.meaning != come]
    if language in {"c", "cpp"}:
        others += re.findall(r"^[ \t]*#[ \t]*(?:import|include_next)\b.*", text, re.MULTILINE)
    elif len(words) > 1 and any("*" in other and _is_a_word(words[-2], other) for other in others):
        return True  # the other line imports all names of the module
    if language == "python" and _is_reached(text, change.gone or "", others):
        return True
    if language == "rust" and re.search(
        rf"\b{re.escape(words[-2])}\s*::\s*{re.escape(words[-1])}\b" if len(words) > 1 else r"(?!)",
        text,
    ):
        return True  # the code names it by its path
    return any(re.search(rf"(?<![\w]){re.escape(words[-1])}(?!\w)", other) for other in others)


def _is_reached(text: str, gone: str, others: Sequence[str]) -> bool:
    """Say whether a Python file reaches a name, which it once imported, through its module.

    An example is `a.b` in place of `from a import b`.
    """
    found = re.match(r"\s*from\s+([\w.]+)\s+import\s+(.*)", gone, re.DOTALL)
    if found is None:
        return _is_imported_in_words(text, gone) or any(
            re.match(rf"\s*from\s+{re.escape(holder)}\s+import\b", other)
            and _is_a_word(module, other)
            for whole in re.findall(r"[\w.]+", gone.replace("import", " ", 1))
            for holder, _, module in [whole.rpartition(".")]
            if holder
            for other in others
        )
    module = found[1].rpartition(".")[2]
    names = [each.split()[0] for each in found[2].strip("() \n").split(",") if each.split()]
    return any(_is_a_word(module, other) for other in others) and any(
        re.search(rf"\.\s*{re.escape(name)}\b", text) for name in names
    )


_BY_NAME = re.compile(r"(?:import_module|__import__|find_spec|importorskip)\(\s*[\"']([\w.]+)[\"']")
"""A call that imports the module that its first argument names."""


def _is_imported_in_words(text: str, gone: str) -> bool:
    """Say whether a call with a module's name as text imports a removed module."""
    wanted = re.findall(r"[\w.]+", gone.replace("import", " ", 1))
    return any(
        said == module or said.startswith(f"{module}.")
        for said in _BY_NAME.findall(text)
        for module in wanted
    )


def _part_is_done(text: str, operation: CodeOperation, change: PartChange, language: str) -> bool:
    nodes = find(text, change.of, language)
    if selects_itself(change):
        there = find(text, selected_after(change), language)
        return not nodes and bool(there) and allows(operation.count, len(there))
    of_call = operation.argument is not None
    return bool(nodes) and all(_node_is_done(text, node, change, of_call=of_call) for node in nodes)


def selects_itself(change: PartChange) -> bool:
    """Say whether a call is selected by the very argument that is replaced."""
    return (
        change.with_ is not None
        and change.of.argument is not None
        and change.of.argument == change.gone
    )


def selected_after(change: PartChange) -> Selector:
    """Return the selector of such a call after the replacement."""
    return change.of.model_copy(update={"argument": change.with_})


def _node_is_done(text: str, node: Node, change: PartChange, *, of_call: bool) -> bool:
    parts = node.arguments if of_call else node.items
    said: Sequence[str] = [text[start:end] for start, end in parts.spans] if parts else []
    gone, come = change.gone, change.come
    left = [
        each
        for each in said
        if gone is not None
        and each != come
        and (
            is_part(each, gone)
            or may_be(each, gone)
            or _has_keyword(each, gone)
            or _is_option(each, gone)
        )
    ]
    return (
        parts is not None
        and not left
        and not _is_several(said, gone or "")
        and (come is None or come in said)
    )


def _is_several(said: Sequence[str], gone: str) -> bool:
    """Say whether a text names several parts that stand one behind the other: `--gpus all`."""
    words = gone.split()
    return len(words) > 1 and any(
        [*said[place : place + len(words)]] == words for place in range(len(said))
    )


def _is_option(each: str, gone: str) -> bool:
    """Say whether a word of a command line may be an option in another form.

    Examples are `--a /x` for `--a=/x`, `-D X=1` for `-DX=1`, and `-vx` for `-x`.
    """
    if re.fullmatch(r"-\w", gone):
        return re.fullmatch(rf"-\w*{gone[1]}\w*", each) is not None
    if gone.startswith("--"):
        return each == gone.partition("=")[0]
    defined = re.match(r"-\w(\w+)", gone)
    return defined is not None and _is_a_word(defined[1], each)


def _has_keyword(each: str, gone: str) -> bool:
    """Say whether a part has the keyword of a part that is to be removed.

    It is then there with another value.
    """
    keyword = keyword_of(gone)
    # A colon in an address does not end a keyword.
    return keyword is not None and keyword_of(each) == keyword and "://" not in gone
