"""Turn operations on code into the splices that they make."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from forkhouse.core.errors import PatchConflictError
from forkhouse.patches import parts as layout
from forkhouse.patches.backends import (
    indentation,
    is_blank,
    line_end,
    line_start,
    newline_at,
    next_line,
)
from forkhouse.patches.edits import (
    CodeOperation,
    LineChange,
    PartChange,
    Place,
    Selector,
    allows,
)
from forkhouse.patches.finding import MatchError, find
from forkhouse.patches.languages import insertions
from forkhouse.patches.languages.imports import addition, imports, meaning
from forkhouse.patches.languages.masking import without_comments_and_literals
from forkhouse.patches.languages.templates import filled, indented_lines, wrapped
from forkhouse.patches.partchanges import part_changes
from forkhouse.patches.pieces import Pieces, spliced

if TYPE_CHECKING:
    from forkhouse.patches.backends import Node, Splice


def left_by(text: str, operation: CodeOperation, language: str) -> str:
    """Return a text as an operation leaves it, wherever it matches. Raises PatchConflictError."""
    found = changes(text, operation, language)
    return spliced(text, [splice for splices in found for splice in splices])


def changes(text: str, operation: CodeOperation, language: str) -> list[list[Splice]]:
    """Return for each match of an operation what it changes."""
    match operation:
        case (
            CodeOperation(replace=Selector() as selector)
            | CodeOperation(wrap=Selector() as selector)
        ):
            nodes = find(text, selector, language)
            if operation.wrap is not None:
                nodes = [
                    wrapped(node, operation.with_ or "", selector, text, language) for node in nodes
                ]
                nodes = [
                    _with_comment(node, operation.with_ or "", text, language) for node in nodes
                ]
            else:
                nodes = [
                    _behind_lead(node, operation.with_ or "", selector, text, language)
                    for node in nodes
                ]
            new = [filled(operation.with_ or "", node, selector, text, language) for node in nodes]
            return [
                [
                    _for_statement(node, each, text, language)
                    or (node.start, node.end, _ended_once(each, text, node.end, language))
                ]
                for node, each in zip(nodes, new, strict=True)
            ]
        case CodeOperation(remove=Selector() as selector):
            nodes = find(text, selector, language)
            if not allows(operation.count, len(nodes)):
                # A wrong number is reported first, and then whether each can be removed.
                return [[] for _ in nodes]
            # Two removals together may leave something else than each alone.
            if len(nodes) < 2:
                return [_removal(text, node, selector, language) for node in nodes]
            return [_one_by_one(text, nodes, selector, language), *([] for _ in nodes[1:])]
        case CodeOperation(insert=Place(before=Selector() as selector) as place):
            return [
                insertions.beside_item(place, node, selector, text, language)
                or [insertions.before(place.text, node, selector, text, language)]
                for node in find(text, selector, language)
            ]
        case CodeOperation(insert=Place(after=Selector() as selector) as place):
            return [
                insertions.beside_item(place, node, selector, text, language)
                or [insertions.after(place.text, node, selector, text, language)]
                for node in find(text, selector, language)
            ]
        case CodeOperation(argument=PartChange() as change):
            return part_changes(text, change, language, of_call=True)
        case CodeOperation(item=PartChange() as change):
            return part_changes(text, change, language, of_call=False)
        case CodeOperation(include=LineChange() as change):
            return _of_imports(text, change, language, include=True)
        case CodeOperation(import_=LineChange() as change):
            return _of_imports(text, change, language, include=False)
        case _:
            message = f"an operation without an action: {operation}"
            raise AssertionError(message)


_LEADS = ("@", "#[", "///", "/**", "template", "[[", "__attribute__")
"""How a line begins that belongs to the definition below it."""
_ATTRIBUTES = re.compile(
    r"(?:(?:\[\[(?:[^\]]|\](?!\]))*\]\]|__attribute__\s*\(\((?:[^()]|\((?:[^()]"
    r"|\([^()]*\))*\))*\)\))\s*)+"
)
"""The attributes that a function of C or C++ begins with."""


def _behind_lead(node: Node, new: str, selector: Selector, text: str, language: str) -> Node:
    """Return a definition without what stands before it, which a replacement leaves.

    The attributes of C and C++ are a part of the definition to the grammar; a text that begins with
    its own takes their place. Raises PatchConflictError if the text brings again what stays.
    """
    if selector.function is None and selector.class_ is None:
        return node
    own = _ATTRIBUTES.match(text, node.start) if language in {"c", "cpp"} else None
    if own is not None and _ATTRIBUTES.match(new.lstrip()) is None:
        node = replace(node, start=own.end())
    kept = {"".join(line.split()) for line in text[node.whole[0] : node.start].splitlines()}
    for line in new.lstrip().splitlines():
        if not line.lstrip().startswith(_LEADS):
            break
        template = line.lstrip().startswith("template") and any(
            each.startswith("template") for each in kept
        )
        ended = not line.rstrip().endswith(("(", "[", "{", ","))
        if template or (ended and "".join(line.split()) in kept):
            message = (
                f"'{line.strip()}' would be there twice: `replace` leaves what stands before "
                f"{selector.said()}. Begin the text behind that, or replace an `anchor`."
            )
            raise PatchConflictError(message)
    return node


_OPENED = re.compile(
    r"[; \t]*(?:(?:/\*(?:(?!\*/).)*\*/|#\[(=*)\[.*?\]\1\])[; \t]*)*"
    r"(?:/\*(?!.*\*/)|#\[(=*)\[(?!.*\]\2\]))"
)
"""A comment that begins on a line, behind others at most, and does not end on it."""


def _with_comment(node: Node, template: str, text: str, language: str) -> Node:
    """Extend a match by the comment behind it if the template begins a new line after it.

    Such a comment describes the code before it and has to stay on the line of that code. Raises
    PatchConflictError for a comment of several lines.
    """
    stop = line_end(text, node.end)
    rest = text[node.end : stop]
    if not re.search(r"\$MATCH[ \t]*\n", template.rstrip()) or not rest.strip():
        return node
    if _OPENED.match(rest) is not None and language != "text":
        message = (
            "A comment of several lines begins behind "
            f"{' '.join(text[node.start : node.end].split())}, and would stand behind what is put "
            "around it. Replace the whole."
        )
        raise PatchConflictError(message)
    if not is_blank(rest, language):
        return node
    return replace(node, end=node.end + len(rest.rstrip()))


_STATEMENT = re.compile(r"(?:if|for|while|do|switch|unsafe|loop|match|try)\b|\{")


def _for_statement(node: Node, new: str, text: str, language: str) -> Splice | None:
    """Return the splice that puts statements in the place of a call with its semicolon.

    Returns None if the new text is one expression, or if the match is no whole statement.
    """
    if (
        language not in {"c", "cpp", "rust"}
        or text[node.end : node.end + 1] != ";"
        or node.whole != (node.start, node.end + 1)
    ):
        return None
    code = without_comments_and_literals(new).strip()
    inner = None
    while inner != code:  # what stands in brackets is left out, from the inside
        inner, code = code, re.sub(r"\([^()]*\)|\[[^\[\]]*\]|\{[^{}]*\}", "", code)
    several = ";" in code.removesuffix(";")
    if not several and not _STATEMENT.match(new.strip()):
        return None
    ended = code.endswith(";") or new.rstrip().endswith("}")
    return node.start, node.end + 1, new if ended else f"{new.rstrip()};"


def _ended_once(new: str, text: str, end: int, language: str) -> str:
    """Drop the semicolon of a replacement if the text has one at `end` already.

    This concerns classes and declarators of C and C++ and macros of Rust: their semicolon is not a
    part of the match.
    """
    return (
        new.removesuffix(";")
        if language in {"c", "cpp", "rust"} and text[end : end + 1] == ";"
        else new
    )


def _removal(text: str, node: Node, selector: Selector, language: str) -> list[Splice]:
    """Return the splices that remove a match and all that belongs to it.

    They leave no empty line, lone comma or empty block behind. Raises PatchConflictError when the
    match cannot be removed alone.
    """
    if node.instead is None or (node.decides and node.among is None):
        message = (
            f"{selector.said()} is part of a chain or a condition, or its value is used, and "
            "cannot go alone. Replace the whole of it."
        )
        raise PatchConflictError(message)
    if node.among is not None:
        return layout.removed(text, *node.among, language)
    insertions.refuse_pragma(text, node, language)
    if node.doubt:
        message = (
            f"{selector.said()} cannot be removed: {node.doubt} Remove both by an `anchor`, in the "
            "language text."
        )
        raise PatchConflictError(message)
    start, end = node.whole
    if node.instead:
        return [(start, end, node.instead)]
    start, end = node.gone or node.whole
    return [
        (*_whole_lines(text, start, end, "text" if selector.anchor is not None else language), "")
    ]


def _one_by_one(text: str, nodes: list[Node], selector: Selector, language: str) -> list[Splice]:
    """Remove matches one by one, from the last to the first.

    What an empty block needs, and what separates neighbours, depends on the matches that are left.
    """
    edited = Pieces.of(text)
    for left in range(len(nodes), 0, -1):
        now = edited.text
        found = find(now, selector, language)
        if len(found) != left:
            # The one behind those that are left was removed last.
            line = text.count("\n", 0, nodes[left].start) + 1
            message = (
                f"Without the match in line {line}, "
                f"{selector.said()} would match otherwise: "
                "the matches lie one in the other. Match the outer one alone, or write an "
                "operation for each."
            )
            raise PatchConflictError(message)
        edited = edited.changed(_removal(now, found[-1], selector, language))
    return edited.splices()


def _whole_lines(text: str, start: int, end: int, language: str) -> tuple[int, int]:
    """Widen a span to whole lines if nothing else but a comment behind it stands on them."""
    if text[:end].endswith("\n"):
        return start, end  # the span ends with its line
    alone = indentation(text, start) is not None and is_blank(
        text[end : line_end(text, end)], language
    )
    return (line_start(text, start), next_line(text, end)) if alone else (start, end)


def _of_imports(
    text: str, change: LineChange, language: str, *, include: bool
) -> list[list[Splice]]:

    if change.add is not None:
        return [[addition(text, change.add, language, include=include)]]
    wanted = meaning(change.gone or "", language)
    lines = imports(text, language, include=include)
    meant = [line for line in lines if line.meaning == wanted]
    among = [(line, line.names.index(wanted)) for line in lines if wanted in line.names]
    if among and (change.with_ is not None or any(line.parts is None for line, _ in among)):
        node = among[0][0].node
        what = "one of several" if len(among[0][0].names) > 1 else "not all"
        message = (
            f"'{change.gone}' is {what} that '{' '.join(text[node.start : node.end].split())}' "
            "brings. Replace the whole of that line."
        )
        raise MatchError(message, anchor=change.gone or "")
    if change.with_ is not None:
        new = change.with_.removesuffix("\n")
        return [
            [(line.node.start, line.node.end, _at(text, line.node, new, language))]
            for line in meant
        ]
    alone = [_removal(text, line.node, Selector(pattern=change.gone), language) for line in meant]
    return alone + [
        layout.removed(text, line.parts, position, language)
        for line, position in among
        if line.parts is not None
    ]


def _at(text: str, node: Node, new: str, language: str) -> str:
    """Return code with the layout of the place of a node."""
    return indented_lines(new.strip(), indentation(text, node.start) or "", language).replace(
        "\n", newline_at(text, node.start)
    )
