"""Strings of Python that stand as statements.

The first one of a module, a class or a function is its docstring, and all others are nothing.

Where such a string stands is known only from its neighbours, so what is taken away or put in beside
one can make it a docstring or unmake it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from forkhouse.patches.guard import SHOWN, shift_of
from forkhouse.patches.languages.base import UnprovenError
from forkhouse.patches.languages.trees import root_of, search, span_of

if TYPE_CHECKING:
    from ast_grep_py import SgNode

    from forkhouse.patches.languages.base import Span, Step

_PLAIN = re.compile(r"""[rRuU]?["']""")
"""How a string begins that can document something: no bytes, and nothing to fill in."""


def prove(step: Step) -> None:
    """Raise UnprovenError where a string that the operation does not touch becomes a docstring, or is one no more."""
    shift = shift_of(step)
    before, after = strings(step.before), strings(step.after)
    for (start, end), documents in before.items():
        now = after.get((shift.start(start), shift.end(end)), documents)
        if shift.touches(start, end) or now is documents:
            continue
        said = " ".join(step.before[start:end].split())[:SHOWN]
        change = (
            "would be a docstring no more"
            if documents
            else "would become a docstring, which it is not now"
        )
        what = f"{said} {change}. Edit both together, by an `anchor`"
        raise UnprovenError(what, text=step.before, position=start)


def strings(text: str) -> dict[Span, bool]:
    """Return the strings that are statements, and whether each is a docstring."""
    kinds = [
        {"kind": kind} for kind in ("string", "concatenated_string", "parenthesized_expression")
    ]
    found = search(root_of(text, "python"), {"kind": "expression_statement", "has": {"any": kinds}})
    return {span_of(node): _documents(node) for node in found if is_text(node)}


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
