"""Edits of one file: text in, text out, with the number of matches of every operation checked."""

from __future__ import annotations

import re
from textwrap import indent
from typing import TYPE_CHECKING

from packaging.requirements import Requirement

from forkhouse.errors import PatchConflictError
from forkhouse.patches.edits import (
    CodeOperation,
    EntryPointsOperation,
    LineChange,
    PartChange,
    Place,
    RequirementOperation,
    Selector,
    TomlOperation,
)
from forkhouse.patches.languages import backend, parses
from forkhouse.patches.languages.requirements import change_requirement
from forkhouse.patches.languages.toml import change_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forkhouse.patches.edits import FileEdit, Operation
    from forkhouse.patches.languages import Node, Parts

Splice = tuple[int, int, str]
"""A span of the old text, and what takes its place."""


class MatchError(PatchConflictError):
    """An operation matched another number of times than it expects."""

    def __init__(self, message: str, *, anchor: str) -> None:
        """Say what was looked for in `anchor`, for whoever has to find it."""
        super().__init__(message)
        self.anchor = anchor


def apply_edit(text: str, edit: FileEdit) -> str:
    """Return `text` with the operations of `edit` applied in order.

    Raises MatchError, a PatchConflictError, when an operation matches another number of times than it expects, and PatchConflictError
    when the file no longer parses after an operation.
    """
    sound = parses(text, edit.language)
    operations: tuple[Operation, ...] = edit.operations
    for number, operation in enumerate(operations, start=1):
        changed, matches = _apply(text, operation, edit.language)
        said = operation.model_dump(by_alias=True, exclude_defaults=True)
        where = f"{' or '.join(edit.paths)}: operation {number}"
        if matches != operation.count:
            message = (
                f"{where} matched {matches} times, expected {operation.count}: {said}. "
                "The upstream changed what the edit is about: look at the file and rewrite the edit to mean the same there."
            )
            raise MatchError(message, anchor=_anchor(operation))
        if sound and changed != text and not parses(changed, edit.language):
            message = f"{where} leaves a file that is no {edit.language} any more: {said}."
            raise PatchConflictError(message)
        text = changed
    return text


def _apply(text: str, operation: Operation, language: str) -> tuple[str, int]:
    match operation:
        case CodeOperation():
            splices = _splices(text, operation, language)
            return (_spliced(text, splices) if len(splices) == operation.count else text), len(splices)
        case RequirementOperation():
            return change_requirement(text, operation.requirement)
        case EntryPointsOperation():
            return _remove_group(text, operation.remove.group)
        case TomlOperation():
            return change_key(text, set_=operation.set, remove=operation.remove, value=operation.value)


def _spliced(text: str, splices: Sequence[Splice]) -> str:
    begun = len(text)
    for start, end, new in sorted(splices, reverse=True):
        if end > begun:
            message = "Two matches lie one in the other, so both cannot be changed. Narrow the pattern, or match the outer one alone."
            raise PatchConflictError(message)
        text = text[:start] + new + text[end:]
        begun = start
    return text


def _find(text: str, selector: Selector, language: str) -> list[Node]:
    nodes = backend(language).find(text, selector, language)
    if selector.within is None:
        return nodes
    scopes = _find(text, selector.within, language)
    if len(scopes) != 1:
        message = f"The scope `within: {selector.within.said()}` matched {len(scopes)} times, expected 1."
        raise MatchError(message, anchor=selector.within.said())
    return [node for node in nodes if scopes[0].start <= node.start and node.end <= scopes[0].end]


def _splices(text: str, operation: CodeOperation, language: str) -> list[Splice]:
    match operation:
        case CodeOperation(replace=Selector() as selector) | CodeOperation(wrap=Selector() as selector):
            nodes = _find(text, selector, language)
            return [(node.start, node.end, _filled(operation.with_ or "", node, selector, text)) for node in nodes]
        case CodeOperation(remove=Selector() as selector):
            return [(*_whole_lines(text, node.start, node.end), "") for node in _find(text, selector, language)]
        case CodeOperation(insert=Place(before=Selector() as selector) as place):
            return [_before(place.text, node, selector, text) for node in _find(text, selector, language)]
        case CodeOperation(insert=Place(after=Selector() as selector) as place):
            return [_after(place.text, node, selector, text, language) for node in _find(text, selector, language)]
        case CodeOperation(argument=PartChange() as change):
            return _change_parts(text, change, language, of_call=True)
        case CodeOperation(item=PartChange() as change):
            return _change_parts(text, change, language, of_call=False)
        case CodeOperation(include=LineChange() as change):
            return _change_line(text, change, _INCLUDE)
        case CodeOperation(import_=LineChange() as change):
            return _change_line(text, change, _IMPORT)
        case _:
            message = f"an operation without an action: {operation}"
            raise AssertionError(message)


def _line_indent(text: str, start: int) -> str | None:
    """Return the indentation before `start`, None when something else stands there."""
    line = text[text.rfind("\n", 0, start) + 1 : start]
    return None if line.strip() else line


def _filled(template: str, node: Node, selector: Selector, text: str) -> str:
    """Fill a template for one match: the indentation of the matched line, then $MATCH and the metavariables of the pattern.

    For an anchor only $MATCH of a `wrap` means anything; the rest of its template is taken as it is.
    """
    matched = text[node.start : node.end]
    if selector.anchor is not None:
        return template.replace("$MATCH", matched)
    first, newline, rest = template.removesuffix("\n").partition("\n")
    indented = first + newline + indent(rest, _line_indent(text, node.start) or "")

    def captured(variable: re.Match[str]) -> str:
        name = variable[1]
        if name == "MATCH":
            return matched
        # In shell, Meson and CMake a name after a dollar sign may be just that; a pattern is what gives it a meaning.
        if selector.pattern is None and selector.rule is None:
            return variable[0]
        if name not in node.captures:
            message = f"The replacement uses ${name}, which the pattern does not capture. Name it in the pattern."
            raise PatchConflictError(message)
        return node.captures[name]

    # Captured code keeps the indentation that it has.
    return re.sub(r"\${1,3}([A-Z_][A-Z0-9_]*)\b", captured, indented)


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _before(template: str, node: Node, selector: Selector, text: str) -> Splice:
    """Insert before a match: on its own line when the match is the first thing on one."""
    spaces = _line_indent(text, node.start) if selector.anchor is None else None
    filled = _filled(template, node, selector, text)
    return node.start, node.start, filled if spaces is None else f"{filled}{_newline(text)}{spaces}"


def _after(template: str, node: Node, selector: Selector, text: str, language: str) -> Splice:
    """Insert after a match: on its own line when the match, but for a comment, is alone on its lines."""
    spaces = _line_indent(text, node.start) if selector.anchor is None else None
    filled = _filled(template, node, selector, text)
    newline = text.find("\n", node.end)
    line_end = len(text) if newline < 0 else newline - (text[newline - 1 : newline] == "\r")
    comment = r"\s*(//.*)?" if language in {"c", "cpp", "rust"} else r"\s*(#.*)?"
    if spaces is not None and re.fullmatch(comment, text[node.end : line_end]):
        return line_end, line_end, f"{_newline(text)}{spaces}{filled}"
    return node.end, node.end, filled


def _whole_lines(text: str, start: int, end: int) -> tuple[int, int]:
    """Widen a span to its whole lines when nothing else stands on them, so that a removal leaves no empty line."""
    line_start = text.rfind("\n", 0, start) + 1
    line_end = text.find("\n", end)
    line_end = len(text) if line_end < 0 else line_end + 1
    alone = not text[line_start:start].strip() and not text[end:line_end].strip()
    return (line_start, line_end) if alone else (start, end)


def _change_parts(text: str, change: PartChange, language: str, *, of_call: bool) -> list[Splice]:
    splices = []
    for node in _find(text, change.of, language):
        parts = node.arguments if of_call else node.items
        if parts is None:
            what = "arguments" if of_call else "items"
            message = f"{change.of.said()} has no {what} that can be told apart here."
            raise MatchError(message, anchor=change.of.said())
        if change.add is not None:
            splices.append(_added_part(text, parts, change.add))
            continue
        wanted = change.remove if change.remove is not None else change.replace
        for position, (start, end) in enumerate(parts.spans):
            if not _is_part(text[start:end], wanted or ""):
                continue
            if change.with_ is not None:
                splices.append((start, end, change.with_))
            else:
                splices.append((*_part_with_separator(text, parts, position), ""))
    return splices


def _is_part(said: str, wanted: str) -> bool:
    """Say whether an argument or item is the one meant: as it is written, or by its keyword when that is all that is given."""
    keyword = wanted.endswith(("=", ":"))
    return said == wanted or (keyword and re.sub(r"\s*[=:].*", "", said, flags=re.DOTALL) == wanted[:-1].strip() and said != wanted[:-1])


def _added_part(text: str, parts: Parts, new: str) -> Splice:
    """Put a part last, in the layout of those that are there."""
    if not parts.spans:
        return parts.start, parts.start, new if parts.separator else f" {new}"
    _, end = parts.spans[-1]
    spaces = _line_indent(text, parts.spans[-1][0])
    gap = " " if spaces is None else f"{_newline(text)}{spaces}"
    if not parts.separator:
        return end, end, f"{gap}{new}"
    # Behind a trailing comma the new part gets one, too.
    trailing = re.match(rf"\s*{re.escape(parts.separator)}", text[end : parts.end])
    if trailing:
        end += trailing.end()
        return end, end, f"{gap}{new}{parts.separator}" if spaces is not None else f"{gap}{new}"
    return end, end, f"{parts.separator}{gap}{new}"


def _part_with_separator(text: str, parts: Parts, position: int) -> tuple[int, int]:
    """Return the span of a part with the separator that belongs to it."""
    start, end = parts.spans[position]
    if not parts.separator:
        before = parts.spans[position - 1][1] if position else parts.start
        whole = _whole_lines(text, start, end)
        return whole if whole != (start, end) else (before, end)
    following = re.match(rf"\s*{re.escape(parts.separator)}[ \t]*", text[end : parts.end])
    if position + 1 < len(parts.spans):
        stop = end + (following.end() if following else 0)
        whole = _whole_lines(text, start, stop)
        return whole if whole != (start, stop) else (start, parts.spans[position + 1][0])
    before = parts.spans[position - 1][1] if position else start
    # Of the last part the comma before it goes, or the trailing one when each part has its own line.
    if following and _line_indent(text, start) is not None:
        return _whole_lines(text, start, end + following.end())
    return before, end + (following.end() if following and not position else 0)


_INCLUDE = re.compile(r"^[ \t]*#[ \t]*include\b.*$", re.MULTILINE)
_IMPORT = re.compile(r"^[ \t]*(?:(?:pub )?use|import|from)\b.*$", re.MULTILINE)


def _change_line(text: str, change: LineChange, lines: re.Pattern[str]) -> list[Splice]:
    """Change a line of a kind (`lines`): an added one goes after the last of them that is not indented."""
    found = [(match.start(), match.start() + len(match[0].rstrip("\r"))) for match in lines.finditer(text)]
    if change.add is not None:
        outer = [(start, end) for start, end in found if not text[start].isspace()]
        if not outer:
            return []
        end = outer[-1][1]
        return [(end, end, f"{_newline(text)}{change.add}")]
    wanted = " ".join((change.remove or change.replace or "").split())
    meant = [(start, end) for start, end in found if " ".join(text[start:end].split()) == wanted]
    if change.with_ is not None:
        return [(end - len(text[start:end].lstrip()), end, change.with_) for start, end in meant]
    return [(*_whole_lines(text, start, end), "") for start, end in meant]


def _remove_group(text: str, group: str) -> tuple[str, int]:
    """Remove one `[group]` of an entry-points file with its lines."""
    return re.subn(rf"^\[{re.escape(group)}\]\r?\n(?:(?!\[).*(?:\n|\Z))*?(?=^\[|\Z)", "", text, flags=re.MULTILINE)


def _anchor(operation: Operation) -> str:
    """Return the text that a person would look for where an operation found nothing."""
    match operation:
        case CodeOperation():
            change = operation.argument or operation.item
            selectors = [operation.replace, operation.wrap, operation.remove, change.of if change else None]
            selectors += [operation.insert.before, operation.insert.after] if operation.insert else []
            line = operation.include or operation.import_
            said = [selector.said() for selector in selectors if selector is not None]
            return said[0] if said else (line.remove or line.replace or "" if line else "")
        case RequirementOperation():
            return operation.requirement.remove or operation.requirement.replace or ""
        case EntryPointsOperation():
            return operation.remove.group
        case TomlOperation():
            return operation.set or operation.remove or ""


def asks_for_nothing(text: str, edit: FileEdit) -> bool:
    """Say whether an edit only replaces requirements, and the file asks for none of them any more."""
    changes = [operation.requirement for operation in edit.operations if isinstance(operation, RequirementOperation)]
    return len(changes) == len(edit.operations) and all(
        change.replace is not None and change_requirement(text, change)[1] == 0 for change in changes
    )


def effect_present(text: str, edit: FileEdit) -> bool:
    """Say whether a file is already as the edit would leave it: what each operation looks for is gone, what it brings is there.

    An operation whose effect cannot be seen in the result alone counts as not done, so that nothing is taken for upstream by accident.
    """
    return all(_is_done(text, operation, edit.language) for operation in edit.operations)


def _is_done(text: str, operation: Operation, language: str) -> bool:
    try:
        match operation:
            case CodeOperation():
                return _code_is_done(text, operation, language)
            case RequirementOperation(requirement=change):
                if change.add is not None:
                    named = change.model_copy(update={"add": None, "remove": Requirement(change.add).name})
                    return change_requirement(text, named)[1] > 0
                changed, matches = change_requirement(text, change)
                return matches == 0 if change.remove is not None else matches == operation.count and changed == text
            case EntryPointsOperation():
                return _remove_group(text, operation.remove.group)[1] == 0
            case TomlOperation():
                changed, matches = change_key(text, set_=operation.set, remove=operation.remove, value=operation.value)
                return matches == 0 if operation.remove is not None else matches == 1 and changed == text
    except PatchConflictError:
        return False


def _code_is_done(text: str, operation: CodeOperation, language: str) -> bool:
    flat = " ".join(text.split())

    def there(piece: str) -> bool:
        # A piece with metavariables has no text of its own to look for.
        words = " ".join(piece.split())
        return _says_something(words) and re.search(r"\$[A-Z]", words) is None and words in flat

    match operation:
        case CodeOperation(replace=Selector(pattern=str()) as selector) if "$" in (operation.with_ or ""):
            # What a pattern with metavariables was replaced by is a pattern itself.
            result = Selector(pattern=operation.with_)
            return _says_something(operation.with_ or "") and not _find(text, selector, language) and bool(_find(text, result, language))
        case CodeOperation(replace=Selector() as selector):
            return there(operation.with_ or "") and (not _find(text, selector, language) or _keeps_selector(text, operation, language))
        case CodeOperation(remove=Selector() as selector):
            return not _find(text, selector, language)
        case CodeOperation(insert=Place() as place):
            return _is_inserted(text, place, language)
        case CodeOperation(argument=PartChange() as change) | CodeOperation(item=PartChange() as change):
            return _part_is_done(text, change, language, of_call=operation.argument is not None)
        case CodeOperation(include=LineChange() as change) | CodeOperation(import_=LineChange() as change):
            lines = {" ".join(line.split()) for line in text.splitlines()}
            gone = change.remove or change.replace
            come = change.add or change.with_
            return (gone is None or " ".join(gone.split()) not in lines) and (come is None or " ".join(come.split()) in lines)
        case _:
            return False


def _says_something(piece: str) -> bool:
    """Say whether a piece of code is long enough, metavariables left out, for finding it to mean anything."""
    return len(re.sub(r"\${1,3}[A-Z_][A-Z0-9_]*|\s", "", piece)) >= MEANINGFUL


def _is_inserted(text: str, place: Place, language: str) -> bool:
    """Say whether the text stands where it would be inserted, white space aside."""
    selector = place.before or place.after
    assert selector is not None  # noqa: S101  # the model demands one of the two
    nodes = _find(text, selector, language)
    wanted = "".join(place.text.split())
    if place.before is not None:
        return bool(nodes) and all("".join(text[: node.start].split()).endswith(wanted) for node in nodes)
    return bool(nodes) and all("".join(text[node.end :].split()).startswith(wanted) for node in nodes)


MEANINGFUL = 8
"""Characters that a piece of code needs before finding it says anything."""


def _keeps_selector(text: str, operation: CodeOperation, language: str) -> bool:
    """Say whether applying again changes nothing, as when a function is replaced by another of its name."""
    return _spliced(text, _splices(text, operation, language)) == text


def _part_is_done(text: str, change: PartChange, language: str, *, of_call: bool) -> bool:
    nodes = _find(text, change.of, language)
    if not nodes:
        return False
    for node in nodes:
        parts = node.arguments if of_call else node.items
        said = [text[start:end] for start, end in parts.spans] if parts else []
        gone = change.remove if change.remove is not None else change.replace
        come = change.add if change.add is not None else change.with_
        if (gone is not None and any(_is_part(each, gone) for each in said)) or (come is not None and come not in said):
            return False
    return True
