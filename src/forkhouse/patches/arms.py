"""Prove that a change makes no other branch of what stands around it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from forkhouse.patches.backends import UnprovenError
from forkhouse.patches.edits import CodeOperation
from forkhouse.patches.nodes import Change, Known, NodeRole, Tree

if TYPE_CHECKING:
    from collections.abc import Sequence


_BRANCH = re.compile(r"else|elif|except|finally|case_(?:item|statement)|preproc_el")
"""Kinds of nodes that are one branch of the statement around them."""

_ARM = re.compile(r"case_(?:item|statement)$")

_LEAVES = re.compile(r"(?:break|return|continue|goto|throw|co_return)_statement")
"""Statements of C behind which the next arm of a `switch` is not reached."""


def prove_branches(change: Change, old: Sequence[Tree], now: Sequence[Tree], known: Known) -> None:
    """Raise UnprovenError if a new node is a branch of the statement around it.

    A separate arm, put between others by an operation that inserts, is none.
    """
    for place, node in enumerate(now):
        if (
            (node.start, node.end) in known
            or not change.is_new(node)
            or _BRANCH.search(node.kind) is None
            or _had_branch(change, old)
            or _is_arm(change, now, place)
        ):
            continue
        fallen = (
            ", and what runs in the one above it would go on there" if _ARM.match(node.kind) else ""
        )
        what = (
            f"'{change.said(node, now=True)}' would make another branch of what stands "
            f"around it{fallen}"
        )
        raise UnprovenError(what, text=change.step.after, position=node.start)


def _had_branch(change: Change, old: Sequence[Tree]) -> bool:
    """Say whether one of the removed nodes was a branch."""
    return any(
        _BRANCH.search(node.kind)
        and not change.shift.leaves(change.step.before, node.start, node.end)
        for node in old
    )


def _is_arm(change: Change, now: Sequence[Tree], place: int) -> bool:
    """Say whether a new branch is a separate arm that is inserted between the others.

    No arm above may fall through into it.
    """
    operation = change.step.operation
    if not (
        isinstance(operation, CodeOperation)
        and operation.insert is not None
        and _ARM.match(now[place].kind)
    ):
        return False
    above = next((each for each in reversed(now[:place]) if _ARM.match(each.kind)), None)
    return above is None or _is_over(change, above)


def _is_over(change: Change, arm: Tree) -> bool:
    """Say whether the code of an arm never falls through into the next arm."""
    last = next((each for each in reversed(arm.children()) if each.role is NodeRole.CODE), None)
    if last is None:
        return False
    if arm.kind == "case_item":
        return change.step.after[last.start : last.end] == ";;"
    return _LEAVES.match(last.kind) is not None or (
        last.kind == "compound_statement" and _is_over_inside(last)
    )


def _is_over_inside(block: Tree) -> bool:
    inner = [each for each in block.children() if each.role is NodeRole.CODE]
    return len(inner) > 2 and _LEAVES.match(inner[-2].kind) is not None  # two brackets
