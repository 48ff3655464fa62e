"""Prove that no untouched Python string becomes a docstring, stops being one, or moves to another.

A string that stands as a statement is a docstring if it is the first statement of a module, a class
or a function. Behind an assignment it documents that attribute (PEP 258). In any other place it has
no effect. Only its neighbours decide which it is, so a removal or an insertion beside it can change
that.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from forkhouse.patches.backends import UnprovenError
from forkhouse.patches.languages.trees import root_of, search, span_of
from forkhouse.patches.nodes import SHOWN, shift_of

if TYPE_CHECKING:
    from ast_grep_py import SgNode

    from forkhouse.patches.backends import Span, Step

_PLAIN = re.compile(r"""[rRuU]?["']""")
"""The beginning of a string that can be a docstring: no bytes, and no f-string."""


def prove(step: Step) -> None:
    """Raise UnprovenError if an untouched string becomes a docstring or stops being one."""
    shift = shift_of(step)
    before, after = strings(step.before), strings(step.after)
    for (start, end), owner in before.items():
        now = after.get((shift.start(start), shift.end(end)), owner)
        if shift.touches(start, end):
            continue
        said = " ".join(step.before[start:end].split())[:SHOWN]
        if (now is None) is not (owner is None) or (now == MODULE) is not (owner == MODULE):
            change = (
                "would become a docstring, which it is not now"
                if owner is None
                else "would be a docstring no more, or that of something else"
            )
        elif owner is not None and now not in {owner, shift.start(owner), shift.end(owner)}:
            change = "would document another attribute than now"
        else:
            continue
        what = f"{said} {change}. Edit both together, by an `anchor`"
        raise UnprovenError(what, text=step.before, position=start)


MODULE = -1
"""The owner of a string that documents the module, class or function around it."""


def strings(text: str) -> dict[Span, int | None]:
    """Return the strings that are statements, and where that begins which each documents.

    This is MODULE for what stands around the string, and None if it documents nothing.
    """
    kinds = [
        {"kind": kind} for kind in ("string", "concatenated_string", "parenthesized_expression")
    ]
    found = search(root_of(text, "python"), {"kind": "expression_statement", "has": {"any": kinds}})
    return {span_of(node): _owner(node) for node in found if is_text(node)}


def _owner(node: SgNode) -> int | None:
    if _documents(node):
        return MODULE
    previous = _above(node)
    if previous is None or not is_of_attribute(node):
        return None
    return span_of(previous)[0]


def is_of_attribute(node: SgNode) -> bool:
    """Say whether a statement is a string that documents the attribute above it (PEP 258)."""
    previous = _above(node)
    if previous is None or not is_text(node) or previous.kind() != "expression_statement":
        return False
    inner = _code(previous)
    if len(inner) != 1 or inner[0].kind() != "assignment":
        return False
    left, holder = inner[0].field("left"), node.parent()
    owner = None if holder is None or holder.kind() == "module" else holder.parent()
    return (
        owner is None
        or owner.kind() == "class_definition"
        or (left is not None and left.text().startswith("self."))
    )


def _above(node: SgNode) -> SgNode | None:
    """Return the statement above a string, with nothing but comments between."""
    previous = node.prev()
    while previous is not None and (previous.kind() == "comment" or previous.text() == ";"):
        previous = previous.prev()
    return previous


def is_text(node: SgNode) -> bool:
    """Say whether a statement is a string that can document something."""
    if (
        node.kind() != "expression_statement"
        or len([child for child in node.children() if child.kind() != "comment"]) != 1
    ):
        return False  # a comma makes a tuple of it
    inner = _code(node)
    while len(inner) == 1 and inner[0].kind() in {
        "parenthesized_expression",
        "concatenated_string",
        "expression_statement",
    }:
        inner = _code(inner[0])
    return bool(inner) and all(
        each.kind() == "string" and _PLAIN.match(each.text()) is not None for each in inner
    )


def _documents(node: SgNode) -> bool:
    holder = node.parent()
    if (
        holder is None
        or (first := _code(holder)[0]).range() != node.range()
        or first.kind() != node.kind()
    ):
        return False
    owner = holder.parent()
    return holder.kind() == "module" or (
        owner is not None and owner.kind() in {"function_definition", "class_definition"}
    )


def _code(node: SgNode) -> list[SgNode]:
    return [child for child in node.children() if child.is_named() and child.kind() != "comment"]
