"""Whether the effect of an edit is there already. Only what can be seen counts: nothing is taken for upstream by accident."""

from __future__ import annotations

import ast
import re
from collections import Counter
from functools import partial
from textwrap import dedent
from typing import TYPE_CHECKING

from forkhouse.errors import PatchConflictError
from forkhouse.patches.changes import changes, find, is_part, keyword_of, scope_of, spliced
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
from forkhouse.patches.languages import indentation, is_blank, keyed, line_end, line_start, newline_at
from forkhouse.patches.languages.branches import branches
from forkhouse.patches.languages.data import LANGUAGES, look, read
from forkhouse.patches.languages.data_change import hides_items, is_seen, items_held, items_said, leads_into_list, stands_beside
from forkhouse.patches.languages.entrypoints import remove_group
from forkhouse.patches.languages.requirements import change_requirement, is_named, is_required, nameless
from forkhouse.patches.spellings import MEANINGFUL, bare, is_same, laid_out, may_be, mentions, respelled, stands, tells, worded, words_of
from forkhouse.patches.templates import filled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from forkhouse.patches.edits import FileEdit, Operation, RequirementChange
    from forkhouse.patches.languages import Node, Span
    from forkhouse.patches.languages.imports import Line


def effect_present(text: str, edit: FileEdit) -> bool:
    """Say whether a file is already as the edit would leave it: what each operation looks for is gone, what it brings is there.

    An operation whose effect cannot be seen in the result alone counts as not done.
    """
    return all(is_done(text, operation, edit.language) for operation in edit.operations)


def lost_requirements(text: str, edit: FileEdit) -> list[RequirementChange]:
    """Return the changes of requirements that find nothing to remove or replace in a file."""
    wanted = [operation.requirement for operation in edit.operations if isinstance(operation, RequirementOperation)]
    try:
        return [change for change in wanted if change.gone is not None and change_requirement(text, change).matches == 0]
    except PatchConflictError:
        return []


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
            return _is_inserted(text, place, language, partial(_stands_loosely, language))
        case CodeOperation(wrap=Selector() as selector):
            return _is_wrapped(text, operation.with_ or "", selector, language, _lies_in)
        case CodeOperation(argument=PartChange(add=str()) as change) | CodeOperation(item=PartChange(add=str()) as change):
            said = _said_parts(text, operation, change, language)
            return is_done(text, operation, language) or any(is_same(each, change.come or "", language) for each in said)
        case CodeOperation(include=LineChange(add=str())) | CodeOperation(import_=LineChange(add=str())):
            return is_done(text, operation, language)
        case RequirementOperation(requirement=change):
            return is_named(text, change)
        case _:
            return False


def _said_parts(text: str, operation: CodeOperation, change: PartChange, language: str) -> list[str]:
    """Return the arguments or items that a change may be about, as they are written; of a file of keys, as they are read."""
    if language in LANGUAGES:
        return items_said(text, change.of, language)
    nodes = find(text, change.of, language)
    held = [node.items if operation.argument is None else node.arguments for node in nodes]
    return [text[start:end] for parts in held if parts is not None for start, end in parts.spans]


def _key_is_done(text: str, operation: KeyOperation, language: str) -> bool:
    if operation.remove is not None:
        return keyed.matched(text, operation, language).matches == 0 and not leads_into_list(text, operation, language)
    place = look(read(text, language), operation.path, operation.document)
    return place is not None and is_seen(place.entry.value, operation.value, language)


def _items_are_done(text: str, change: PartChange, language: str) -> bool:
    """Say whether what an operation takes out of lists is in none of them, and what it brings in all."""
    gone, come = change.gone, change.come
    if gone is not None and hides_items(text, change.of, language):
        return False
    left = gone is not None and items_held(text, change.of, gone, language) != [0] * len(items_held(text, change.of, gone, language))
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
            return _is_wrapped(text, operation.with_ or "", selector, language, _is_inside)
        case CodeOperation(remove=Selector() as selector):
            return not find(text, selector, language) and not is_mentioned(text, selector)
        case CodeOperation(insert=Place() as place):
            return _is_inserted(text, place, language, partial(_stands, language))
        case CodeOperation(argument=PartChange() as change) | CodeOperation(item=PartChange() as change):
            return _part_is_done(text, operation, change, language)
        case CodeOperation(include=LineChange() as change) | CodeOperation(import_=LineChange() as change):
            return _import_is_done(text, change, language, include=operation.include is not None)
        case _:
            return False


def is_mentioned(text: str, selector: Selector) -> bool:
    """Say whether a file still has the name of what is not found in it.

    A grammar may not read it, or know it by another kind of node: while its name stands there, nothing proves that it is gone. The same
    holds of an anchor, or what a pattern says, in another layout.
    """
    code = selector.anchor if selector.anchor is not None else selector.pattern
    if code is not None:
        return stands(text, code) is not None or (not tells(code) and all(_is_a_word(word, text) for word in words_of(code)))
    names = (selector.function, selector.class_, selector.call, selector.assignment)
    name = next((each for each in names if each is not None), None)
    words = re.findall(r"\w+", (name or "").partition("(")[0])
    return bool(words) and _is_a_word(words[-1], text)


def _is_a_word(word: str, text: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text) is not None


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
                return _came_in_place(before, now, operation, selector, language)
            case CodeOperation(argument=PartChange() as change) if _selects_itself(change):
                after = _selected_after(change)
                return len(find(now, after, language)) > len(find(before, after, language))
            case CodeOperation(argument=PartChange(add=str(come)) as change) if keyword_of(come) is None and not come.startswith(
                ("-", "**")
            ):
                # Which parameter it is for depends on those before it.
                changed = spliced(before, [splice for splices in changes(before, operation, language) for splice in splices])
                return _before_it(now, change, language) <= _before_it(changed, change, language)
            case CodeOperation(include=LineChange() as change) | CodeOperation(import_=LineChange() as change) if change.gone is not None:
                include = operation.include is not None
                if include and len(_NAMED_BY_MACRO.findall(now)) > len(_NAMED_BY_MACRO.findall(before)):
                    return False
                # For the whole file, or in a function and under a condition, as it was.
                return (
                    change.come is None
                    or _is_for_all(now, change.come, language, include=include)
                    or not _is_for_all(before, change.gone, language, include=include)
                )
            case RequirementOperation(requirement=change) if change.gone is not None:
                return nameless(now) <= nameless(before)
            case CodeOperation(argument=PartChange() as change) | CodeOperation(item=PartChange() as change) if language not in LANGUAGES:
                return change.gone is None or _is_nowhere_else(before, now, operation, change, language)
    except PatchConflictError:
        return False
    return True


def _is_for_all(text: str, said: str, language: str, *, include: bool) -> bool:
    """Say whether an import stands for the whole file."""
    from forkhouse.patches.languages.imports import imports, meaning  # noqa: PLC0415  # start-up time

    wanted = meaning(said, language)
    return any(line.top and wanted in line.meanings for line in imports(text, language, include=include))


def _came_in_place(before: str, now: str, operation: CodeOperation, selector: Selector, language: str) -> bool:
    """Say whether what replaces something stands where the operation would put it: on the same line, under the same conditions."""
    new = operation.with_ or ""
    if len(_results(now, new, selector, language)) <= len(_results(before, new, selector, language)):
        return False
    if not _left_lines(before, operation, language) <= _said_lines(now):
        return False
    found = changes(before, operation, language)
    changed = spliced(before, [splice for splices in found for splice in splices])
    old, wanted, there = (
        Counter(branches(text, place, language) for place in _results(text, new, selector, language)) for text in (before, changed, now)
    )
    return bool(found) and wanted - old <= there - old


_NAMED_BY_MACRO = re.compile(r"^[ \t]*#[ \t]*include(?:_next)?[ \t]+[A-Za-z_]", re.MULTILINE)
"""An include of what only a macro names."""


def _before_it(text: str, change: PartChange, language: str) -> set[tuple[str, ...]]:
    """Return the arguments that stand before the one that comes, for each call."""
    held = [node.arguments for node in find(text, change.of, language)]
    said = [tuple(" ".join(text[start:end].split()) for start, end in parts.spans) for parts in held if parts]
    come = " ".join((change.come or "").split())
    return {each[: each.index(come)] for each in said if come in each}


def _is_nowhere_else(before: str, now: str, operation: CodeOperation, change: PartChange, language: str) -> bool:
    """Say whether what is taken out of a list or a call went to no other place of the file, as to another command or a variable."""
    known = change.model_copy(update={"of": change.of.model_copy(update={"argument": None})})
    if not _unseen(_said_parts(now, operation, known, language), language) <= _unseen(
        _said_parts(before, operation, known, language), language
    ):
        return False
    if operation.argument is not None:
        return True
    changed = spliced(before, [splice for splices in changes(before, operation, language) for splice in splices])
    gone = change.gone or ""
    return mentions(now, gone) <= mentions(changed, gone)


def _unseen(said: Sequence[str], language: str) -> Counter[str]:
    """Return the parts that may stand for others: variables, macros, what Python unpacks."""
    sign = _FOR_OTHERS.get(language)
    return Counter(each for each in said if sign is not None and sign.search(each))


_MACRO = re.compile(r"^[A-Z_][A-Z0-9_]*(?:\(|$)")
_FOR_OTHERS = {
    **dict.fromkeys(("bash", "cmake"), re.compile(r"\$")),
    **dict.fromkeys(("c", "cpp"), _MACRO),
    "python": re.compile(r"^\*"),
    "meson": re.compile(r"^[A-Za-z_]"),
}
"""How a part begins, or what it holds, that may stand for several others."""


def _left_lines(before: str, operation: CodeOperation, language: str) -> set[str]:
    """Return the first line of each place as an operation leaves it: what else stands on it says that it is that place, and no other."""
    found = changes(before, operation, language)
    changed = spliced(before, [splice for splices in found for splice in splices])
    return {
        line for line in _said_lines(changed) - _said_lines(before) if (operation.with_ or "").strip().partition("\n")[0].strip() in line
    }


def _said_lines(text: str) -> set[str]:
    return {" ".join(line.split()) for line in text.splitlines()}


def _results(text: str, new: str, selector: Selector, language: str) -> list[int]:
    """Return where what a selector was replaced by stands, of where the selector looks."""
    if selector.pattern is not None and re.search(r"\$[A-Z_]", new):
        # What a pattern with metavariables was replaced by is a pattern itself.
        return [node.start for node in find(text, Selector(pattern=new, within=selector.within), language)]
    start, end = scope_of(text, selector, language)
    found = [each.start() for each in worded(new).finditer(text, start, end)]
    return found if selector.anchor is not None else [place for place in found if _is_code(text, language, place)]


def _is_code(text: str, language: str, place: int) -> bool:
    """Say whether what begins at a place is code, and not within a comment or a literal, as far as a grammar tells it."""
    if language in _PARSED:
        from forkhouse.patches.languages.places import is_code  # noqa: PLC0415  # start-up time

        return is_code(text, language, place)
    if language == "cmake":
        from forkhouse.patches.languages import cmake  # noqa: PLC0415  # start-up time

        return cmake.is_code(text, place)
    return True


def _is_replaced(text: str, operation: CodeOperation, selector: Selector, language: str) -> bool:
    new = operation.with_ or ""
    if not _says_something(new) or not _results(text, new, selector, language):
        return False
    if selector.anchor is not None and stands(respelled(new).sub("", text), selector.anchor):
        return False
    found = changes(text, operation, language)
    # As when a function is replaced by another of its name: applying again changes nothing.
    return not found or spliced(text, [splice for splices in found for splice in splices]) == text


def _is_inserted(text: str, place: Place, language: str, stands_there: Callable[[str, Node, str, bool], bool]) -> bool:
    """Say whether the text stands where it would be inserted."""
    selector = place.before or place.after
    if selector is None or not place.text.strip():
        return False
    nodes = find(text, selector, language)
    if language in LANGUAGES and place.before is not None and selector.key is not None:
        # What a number counts is another item, once one is put before it.
        words = place.text.strip(", \t\r\n")
        if any(text[node.start : node.end].strip(", \t\r\n") == words for node in nodes):
            return True
    there = stands_beside(text, place, language) if nodes and language in LANGUAGES else None
    if there is not None:
        return there
    return bool(nodes) and all(
        stands_there(text, node, filled(place.text, node, selector, text, language), place.before is not None) for node in nodes
    )


def _stands_loosely(language: str, text: str, node: Node, new: str, before: bool) -> bool:  # noqa: FBT001  # as `_stands`
    """Say whether a text stands at a place, all white space aside: to put it there again would double it, however it is laid out."""
    # A comma, or a semicolon between statements of one line, belongs to neither.
    wanted = "".join(new.split()).strip(",").rstrip(";")
    start, end = node.whole
    window = _window(new)
    if before:
        # What was put before a function may have become a part of it: a decorator.
        own = "".join(text[start : min(node.start, start + window)].split())
        places = [start] if node.head is None else [node.head, start]
        if not is_blank(new.rstrip().rpartition("\n")[2], language):
            places = [each for place in places for each in _above_comments(text, place, window, language)]
        return own.startswith(wanted) or any(_squeezed(text, max(0, place - window), place).endswith(wanted) for place in places)
    behind = end + len(text[end:]) - len(text[end:].lstrip(" \t,;"))
    places = [end, behind, *_below_comments(text, behind, window, language)]
    return any("".join(text[place : place + window].split()).lstrip(";,").startswith(wanted) for place in places)


def _above_comments(text: str, place: int, window: int, language: str) -> Iterator[int]:
    """Give where code may end before a place: without a comment behind it, and without comments that fill lines of their own."""
    at, least = place, max(0, place - window)
    while at > least:
        above = text[:at].rstrip()
        start = line_start(text, len(above))
        line = text[start : len(above)]
        cut = next((found.start() for found in _SIGN.finditer(line) if is_blank(line[found.start() :], language)), None)
        yield start + cut if cut is not None else at
        if cut is None:
            return
        if line[:cut].strip():
            return
        at = start


def _below_comments(text: str, place: int, window: int, language: str) -> Iterator[int]:
    """Give where lines end behind a place that hold nothing but comments."""
    at = place
    while at < min(len(text), place + window):
        stop = line_end(text, at)
        if not is_blank(text[at:stop], language):
            return
        yield stop
        at = stop + len(newline_at(text, stop))


_SIGN = re.compile(r"#|//|/\*|%|;")
"""How a comment may begin."""


def _squeezed(text: str, start: int, end: int) -> str:
    return "".join(text[start:end].split()).rstrip(";,")


def _window(new: str) -> int:
    """Return how far a text is looked for: white space of any length may stand between, but not without end, which keeps it linear."""
    return 8 * len(new) + 1024


def _stands(language: str, text: str, node: Node, new: str, before: bool) -> bool:  # noqa: FBT001  # as `_stands_loosely`
    """Say whether a text stands at a place, with other white space only where that means nothing."""
    wanted = laid_out(new if language == "text" else _parted(new), language)
    start, end = node.whole
    if not before:
        places = [wanted.match(text, each) for each in _behind(text, end, language)]
    else:
        upper = [start] if node.head is None else [start, node.head]
        ends = [_last_before(text, each, language) for each in upper]
        places = [re.compile(wanted.pattern + r"\Z").search(text, max(0, each - _window(new)), each) for each in ends]
        places.append(wanted.match(text, start, node.start))
    return any(
        _stands_alone(text, found, language) and _is_same_code(text, node, found, new, language) for found in places if found is not None
    )


def _behind(text: str, end: int, language: str) -> tuple[int, ...]:
    """Return where what stands behind a match may begin: behind white space, what parts it from the match, and a comment on its line."""
    found = _PARTED.match(text, end) if language != "text" else None
    apart = end + len(text[end:]) - len(text[end:].lstrip())
    behind = found.end() if found else apart
    stop = line_end(text, behind)
    if not is_blank(text[behind:stop], language):
        return apart, behind
    return apart, behind, stop + len(text[stop:]) - len(text[stop:].lstrip())


def _parted(new: str) -> str:
    """Return what is inserted without what would part it from the match: a comma, or a semicolon between statements, belongs to neither."""
    new = new.strip().strip(",")
    return new if new.endswith(";;") else new.removesuffix(";")


def _last_before(text: str, place: int, language: str) -> int:
    """Return where what stands before a match ends, but for what parts it from the match."""
    above = text[:place].rstrip()
    return len(above) if language == "text" or not above.endswith((",", ";")) or above.endswith(";;") else len(above[:-1].rstrip())


_PARSED = frozenset({"python", "c", "cpp", "rust", "bash"})
"""Languages whose grammar can say what a whole construct is."""
_PARTED = re.compile(r"\s*(?:,|;(?!;))?\s*")


def _stands_alone(text: str, found: re.Match[str], language: str) -> bool:
    """Say whether code is no part of what stands beside it on its lines: `g(1)` of `x = g(1)`, or of `g(1).h`."""
    start, end = found.span()
    before, behind = text[line_start(text, start) : start].rstrip(), text[end : line_end(text, end)]
    begins = not before or before[-1] in (";{}([,:&|)" if language == "bash" else ";{}([,:&|")
    # A single `&` in a shell lets the command run beside what follows.
    ends = is_blank(behind, language) or re.match(r"[;{})\],|]|&&" if language == "bash" else r"[;{})\],|&]", behind.lstrip()) is not None
    return language == "text" or (begins and ends)


def _is_same_code(text: str, node: Node, found: re.Match[str], new: str, language: str) -> bool:
    """Say whether what stands there means the same: whole constructs beside the match, in Python with the same blocks in them."""
    if language in _PARSED and not _is_beside(text, node, found, language):
        return False
    if language != "python":
        return True
    spaces, own = indentation(text, found.start()), indentation(text, node.whole[0])
    if spaces is not None and own is not None and spaces != own:
        return False
    try:
        return ast.dump(ast.parse(dedent(f"{spaces or ''}{found[0]}"))) == ast.dump(ast.parse(dedent(f"{own or ''}{new}")))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return found[0].split() == new.split()  # no code by itself: a decorator


def _is_beside(text: str, node: Node, found: re.Match[str], language: str) -> bool:
    from forkhouse.patches.languages.places import is_beside  # noqa: PLC0415  # start-up time

    start, end = node.whole
    if start <= found.start() < end:
        return True  # a decorator or an attribute, which belongs to the match
    return is_beside(text, language, found.span(), start)


def _is_wrapped(text: str, template: str, selector: Selector, language: str, lies_in: Callable[[str, Span, str, str, str], bool]) -> bool:
    """Say whether every match lies in what would be put around it."""
    nodes = find(text, selector, language)
    head, _, tail = template.removesuffix("\n").partition("$MATCH")
    if not nodes or not (head.strip() or tail.strip()):
        return False
    return all(any(lies_in(text, span, head, tail, language) for span in ((node.start, node.end), node.whole)) for node in nodes)


def _lies_in(text: str, span: Span, head: str, tail: str, language: str) -> bool:
    """Say whether a piece of a text stands between two others, white space and a semicolon aside."""
    before, behind = "".join(head.split()), "".join(tail.split()).removeprefix(";")
    # White space of any length may stand between, but not without end.
    width = 8 * (len(head) + len(tail)) + 1024
    start, end = span
    rest = text[end : line_end(text, end)]
    end += len(rest) if is_blank(rest, language) else 0  # a comment behind it goes with it
    left, right = text[max(0, start - width) : start], text[end : end + width]
    right = right.lstrip().removeprefix(";")
    inside = "".join(left.split()).endswith(before) and "".join(right.split()).startswith(behind)
    return inside and not _cuts(left[::-1], len(before)) and not _cuts(right, len(behind))


def _cuts(text: str, length: int) -> bool:
    """Say whether a word goes on behind the first characters of a text, white space not counted."""
    places = [place for place, character in enumerate(text) if not character.isspace()][:length]
    return bool(places) and re.match(r"\w\w", text[places[-1] : places[-1] + 2]) is not None


def _is_inside(text: str, span: Span, head: str, tail: str, language: str) -> bool:
    """Say whether a piece of a text stands in what would be put around it, and both together are whole constructs."""
    start, end = span
    width = _window(head + tail)
    rest = text[end : line_end(text, end)]
    behind = end + (len(rest) if is_blank(rest, language) else 0)
    closing = tail.strip().removeprefix(";").removesuffix(";").strip()
    first = re.compile(_around(head, language) + r"\s*\Z").search(text, max(0, start - width), start)
    last = re.compile(r"\s*;?\s*" + _around(closing, language)).match(text, behind, behind + width) if closing else None
    if first is None or (closing and last is None):
        return False
    # Comments that are put around something are no part of a construct.
    whole = (
        start if _says_nothing(head, language) else first.start(),
        end if last is None or _says_nothing(tail, language) else last.end(),
    )
    if language in _PARSED:
        from forkhouse.patches.languages.places import is_whole  # noqa: PLC0415  # start-up time

        return is_whole(text, language, whole)
    return re.search(r"[\w.$]$", text[: whole[0]][-1:]) is None and re.match(r"[\w.(\[]", text[whole[1] : whole[1] + 1]) is None


def _says_nothing(piece: str, language: str) -> bool:
    return all(is_blank(line, language) for line in piece.splitlines())


def _around(piece: str, language: str) -> str:
    return laid_out(piece, language).pattern if piece.strip() else ""


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
    if language in {"c", "cpp"}:
        others += re.findall(r"^[ \t]*#[ \t]*(?:import|include_next)\b.*", text, re.MULTILINE)
    elif len(words) > 1 and any("*" in other and _is_a_word(words[-2], other) for other in others):
        return True  # all that a module has
    if language == "python" and _is_reached(text, change.gone or "", others):
        return True
    if language == "rust" and re.search(rf"\b{re.escape(words[-2])}\s*::\s*{re.escape(words[-1])}\b" if len(words) > 1 else r"(?!)", text):
        return True  # by its whole path
    return any(re.search(rf"(?<![\w]){re.escape(words[-1])}(?!\w)", other) for other in others)


def _is_reached(text: str, gone: str, others: Sequence[str]) -> bool:
    """Say whether a file of Python has what it no longer imports by way of the module: `a.b` instead of `from a import b`."""
    found = re.match(r"\s*from\s+([\w.]+)\s+import\s+(.*)", gone, re.DOTALL)
    if found is None:
        return False
    module = found[1].rpartition(".")[2]
    names = [each.split()[0] for each in found[2].strip("() \n").split(",") if each.split()]
    return any(_is_a_word(module, other) for other in others) and any(re.search(rf"\.\s*{re.escape(name)}\b", text) for name in names)


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


def _node_is_done(text: str, node: Node, change: PartChange, *, of_call: bool) -> bool:
    parts = node.arguments if of_call else node.items
    said: Sequence[str] = [text[start:end] for start, end in parts.spans] if parts else []
    gone, come = change.gone, change.come
    left = [
        each
        for each in said
        if gone is not None and each != come and (is_part(each, gone) or may_be(each, gone) or _has_keyword(each, gone))
    ]
    return parts is not None and not left and (come is None or come in said)


def _has_keyword(each: str, gone: str) -> bool:
    """Say whether a part has the keyword of what is to be gone: it is there with another value then."""
    keyword = keyword_of(gone)
    return keyword is not None and keyword_of(each) == keyword and "://" not in gone  # an address has none
