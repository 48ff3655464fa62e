"""Prove that what is put beside an operator, or into a declaration, keeps their meaning."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from forkhouse.patches.backends import UnprovenError
from forkhouse.patches.nodes import SHOWN, Change, NodeRole, Tree

if TYPE_CHECKING:
    from collections.abc import Sequence


_OPERATOR = re.compile(
    r"binary|unary|comparison|boolean|not_operator|conditional|ternary|cast|attribute$"
    r"|field_expression|subscript|await|power"
    r"|delete_expression|sizeof_expression|fold_expression|try_expression|index_expression"
)
"""Kinds of nodes that are operators on the nodes in them."""

_SHELL = frozenset({"redirected_statement", "pipeline", "list", "negated_command"})

_COMPOUND = re.compile(
    r"binary|unary|comparison|boolean|not_operator|conditional|ternary|cast|lambda|assignment|await"
    r"|closure|if_expression|match_expression"
    r"|loop_expression|while_expression|for_expression|^block$|unsafe|range|power|update"
    r"|named_expression|reference|pointer_expression|^list$|pipeline|redirected|negated"
)
"""Kinds of nodes that need brackets when they stand beside an operator."""

_FIXED = frozenset({"assert_statement", "interpolation"})
"""Kinds of nodes in which a sign behind an expression begins something else: a comma, a colon."""

_TIGHT = re.compile(r"unary|pointer_expression|reference_expression")

_LOOSE = re.compile(r"binary|boolean|comparison|conditional|ternary")


def needs_brackets(kind: str) -> bool:
    """Say whether a node of a kind needs brackets beside an operator."""
    return _COMPOUND.search(kind) is not None and kind != "variable_assignment"  # a word of a shell


def operates(kind: str, language: str) -> bool:
    """Say whether a node of a kind binds the nodes in it to each other."""
    return (
        _OPERATOR.search(kind) is not None
        or kind in _FIXED
        or (language == "bash" and kind in _SHELL)
    )


def _in_brackets(change: Change, start: int, end: int) -> bool:
    """Say whether brackets directly enclose a piece of the new text.

    Then no operator beside the brackets can bind to a part of the piece.
    """
    before, behind = change.step.after[:start].rstrip(), change.step.after[end:].lstrip()
    return before[-1:] in {"(", "[", "{"} and behind[:1] in {")", "]", "}"}


def prove_units(change: Change, before: Tree, old: Sequence[Tree], now: Sequence[Tree]) -> None:
    """Raise UnprovenError if an operator beside a new operand would bind to a part of it.

    The same holds for a new command in a chain of shell commands. What is put there has to be
    one node that needs no brackets, or has to stand in brackets.
    """
    for node in old:
        if node.start == node.end or not change.shift.touches(node.start, node.end):
            continue
        if change.shift.leaves(change.step.before, node.start, node.end):
            continue
        first, last = change.shift.end(node.start), change.shift.start(node.end)
        new = [
            each
            for each in now
            if each.start < last and each.end > first and each.role is NodeRole.CODE
        ]
        compound = bool(new) and before.kind not in _FIXED and needs_brackets(new[0].kind)
        if compound and _TIGHT.match(new[0].kind) and _LOOSE.match(before.kind):
            continue  # a sign before an operand binds closer than any operator between two
        if (
            new
            and (len(new) > 1 or compound or new[0].kind == "named_expression")
            and (
                before.kind == "interpolation"
                or not _in_brackets(change, new[0].start, new[-1].end)
            )
        ):
            said = " ".join(change.step.after[new[0].start : new[-1].end].split())[:SHOWN]
            what = (
                f"'{said}' comes for '{change.said(node)}' beside what would bind to a part of "
                "it alone. Put brackets around it"
            )
            raise UnprovenError(what, text=change.step.before, position=node.start)


def prove_forms(change: Change, before: Tree, old: Sequence[Tree], now: Sequence[Tree]) -> None:
    """Require the replacement of a part of a declaration or command to have the same form.

    What stands around it then keeps its meaning. Raises UnprovenError.
    """
    for node in old:
        if (
            node.kind not in _PARTS
            or (node.kind == "variable_assignment" and before.kind not in _COMMANDS)
            or not change.shift.touches(node.start, node.end)
        ):
            continue
        if change.shift.leaves(change.step.before, node.start, node.end) or change.removed(node):
            continue
        first, last = change.shift.end(node.start), change.shift.start(node.end)
        new = [
            each
            for each in now
            if each.start < last
            and each.end > first
            and each.role is NodeRole.CODE
            and each.kind != ","
        ]
        form = _form(node, change.step.before)
        if all(_form(each, change.step.after) == form for each in new):
            continue
        said = " ".join(change.step.after[new[0].start : new[-1].end].split())[:SHOWN]
        what = (
            f"'{said}' would stand for '{change.said(node)}' as a part of "
            f"'{change.said(before)}', and is written in another form. Write it "
            "as that part is written, with all that belongs to it; or replace the whole by a "
            "pattern or an `anchor`"
        )
        raise UnprovenError(what, text=change.step.before, position=node.start)


_PARTS = frozenset({"init_declarator", "initializer_pair", "enumerator", "variable_assignment"})
"""Kinds of nodes that are only a part of a declaration."""

_COMMANDS = frozenset({"declaration_command", "command", "variable_assignments"})
"""Kinds of nodes of a shell in which an assignment is only a part of a command.

Elsewhere an assignment is a command by itself.
"""

_SHORT = re.compile(r"declarator$|^(?:field_)?identifier$")


def _form(node: Tree, text: str) -> tuple[object, ...]:
    """Return the text of a part without its name and its value.

    For a declaration of C this includes its pointers, brackets and references.
    """
    children = node.children()
    if node.kind == "init_declarator" and children:
        return _form(children[0], text)
    if not _SHORT.search(node.kind):
        return (node.kind,)
    if not node.kind.endswith("declarator"):
        return ("identifier",)
    inner = [each for each in children if each.role is NodeRole.CODE]
    if node.kind == "array_declarator":  # its size may change with its value
        return (node.kind, _form(inner[0], text))
    return (
        node.kind,
        *(
            _form(each, text) if _SHORT.search(each.kind) else text[each.start : each.end]
            for each in inner
        ),
    )
