"""Prove that what stands beside a change still belongs to the same code."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

from forkhouse.patches.backends import UnprovenError, is_blank, line_end, line_start
from forkhouse.patches.edits import CodeOperation
from forkhouse.patches.nodes import Change, Known, NodeRole, Tree

if TYPE_CHECKING:
    from collections.abc import Sequence


def prove_attached(
    change: Change,
    old: Sequence[Tree],
    now: Sequence[Tree],
    known: Known,
) -> None:
    """Require attributes and documentation to stay with their node or with its replacement.

    Raises UnprovenError.
    """
    now_at = {(node.start, node.end): place for place, node in enumerate(now)}
    head = _head(change, old)
    for place, node in enumerate(old):
        if node.role not in {NodeRole.LEAD, NodeRole.COMMENT} or change.shift.touches(
            node.start, node.end
        ):
            continue
        at = now_at.get((change.shift.start(node.start), change.shift.end(node.end)))
        holder = next(
            (
                each
                for each in old[place + 1 :]
                if each.role not in {NodeRole.LEAD, NodeRole.COMMENT}
            ),
            None,
        )
        if at is None or holder is None or holder.start == holder.end:
            continue
        if node.role is NodeRole.COMMENT and (place < head or not _documents(change, node, holder)):
            continue
        heir = next(
            (each for each in now[at + 1 :] if each.role not in {NodeRole.LEAD, NodeRole.COMMENT}),
            None,
        )
        if heir is not None and known.get((heir.start, heir.end), (None, None))[0] is holder:
            continue
        gone = not change.shift.leaves(change.step.before, holder.start, holder.end)
        if gone and (
            node.role is NodeRole.COMMENT
            or (heir is not None and change.is_new(heir) and not change.removed(holder))
        ):
            continue
        what = f"'{change.said(node)}' belongs to '{change.said(holder)}', and would belong to " + (
            f"'{change.said(heir, now=True)}'" if heir is not None else "nothing"
        )
        raise UnprovenError(what, text=change.step.before, position=node.start)


def prove_leads(change: Change, now: Sequence[Tree], known: Known) -> None:
    """Raise UnprovenError if a new attribute or documentation belongs to code that was there.

    Only an operation that inserts before that code may add one.
    """
    operation = change.step.operation
    if (
        isinstance(operation, CodeOperation)
        and operation.insert is not None
        and operation.insert.before is not None
    ):
        return
    for place, node in enumerate(now):
        if (
            node.role is not NodeRole.LEAD
            or (node.start, node.end) in known
            or not change.is_new(node)
        ):
            continue
        heir = next(
            (
                each
                for each in now[place + 1 :]
                if each.role not in {NodeRole.LEAD, NodeRole.COMMENT}
            ),
            None,
        )
        if heir is not None and (heir.start, heir.end) in known:
            what = (
                f"'{change.said(node, now=True)}' would belong to "
                f"'{change.said(heir, now=True)}', which the operation does not name"
            )
            raise UnprovenError(what, text=change.step.after, position=node.start)


def prove_comments(change: Change, old: Sequence[Tree]) -> None:
    """Require comments behind code to stay on its line, and all others to stay on their own.

    Raises UnprovenError.
    """
    for node in old:
        if node.role is not NodeRole.COMMENT or change.shift.touches(node.start, node.end):
            continue
        place = change.shift.start(node.start)
        was = change.step.before[line_start(change.step.before, node.start) : node.start].strip()
        now = change.step.after[line_start(change.step.after, place) : place].strip()
        if bool(was) is not bool(now):
            how = "stand alone on its line" if was else "stand behind other code"
            what = f"the comment '{change.said(node)}' would {how}"
            raise UnprovenError(what, text=change.step.before, position=node.start)
        if was and not change.by_anchor() and _is_parted(change, node):
            what = f"the comment '{change.said(node)}' would stand behind other code"
            raise UnprovenError(what, text=change.step.before, position=node.start)


def _is_parted(change: Change, comment: Tree) -> bool:
    """Say whether a comment in the middle of a line is parted from the code before it.

    A comment at the end of a line is about the whole line.
    """
    before, after = change.step.before, change.step.after
    if is_blank(before[comment.end : line_end(before, comment.end)], change.step.language):
        return False
    code, there = (
        len(text[:place].rstrip(", \t")) - 1
        for text, place in ((before, comment.start), (after, change.shift.start(comment.start)))
    )
    gone = any(first <= code < last for first, last, _ in change.shift.splices)
    return not gone and change.shift.start(code) != there


def prove_access(
    change: Change,
    old: Sequence[Tree],
    now: Sequence[Tree],
    known: Known,
) -> None:
    """Require each member of a C++ class to stay as public or private as it is.

    An operation that changes such a word itself is meant to. Raises UnprovenError.
    """
    words = [node for node in old if node.kind == "access_specifier"]
    if any(
        change.shift.touches(word.start, word.end)
        and not change.shift.leaves(change.step.before, word.start, word.end)
        for word in words
    ):
        return
    was: dict[int, str] = {}
    word = ""
    for node in old:
        if node.kind == "access_specifier":
            word = change.step.before[node.start : node.end]
        was[node.start] = word
    word = ""
    for node in now:
        if node.kind == "access_specifier":
            word = change.step.after[node.start : node.end]
        member = known.get((node.start, node.end), (None, None))[0]
        if (
            member is not None
            and member.role is NodeRole.CODE
            and re.match(r"\w", change.step.before[member.start :])
            and was[member.start].split() != word.split()
        ):
            what = (
                f"'{change.said(member)}' would be {word or 'as at the head of the class'}, "
                f"which it is not now. Put '{was[member.start] or 'what holds there'}:' behind "
                "what is new"
            )
            raise UnprovenError(what, text=change.step.before, position=member.start)


def prove_background(change: Change, old: Sequence[Tree], now: Sequence[Tree]) -> None:
    """Require each `&` of a shell to stay with the command that it runs in the background.

    Raises UnprovenError.
    """
    for command, sign in pairwise(old):
        if sign.kind != "&" or change.shift.touches(sign.start, sign.end):
            continue
        place = next(
            (each for each in range(len(now)) if now[each].start == change.shift.start(sign.start)),
            0,
        )
        there = now[place - 1] if place else None
        same = there is not None and there.start == change.shift.start(command.start)
        gone = not change.shift.leaves(change.step.before, command.start, command.end)
        if not same and not (
            gone
            and there is not None
            and there.kind == command.kind
            and _alone(change, now, place - 1)
        ):
            what = (
                f"'{change.said(command)}' runs in the background, and would not; or something "
                "else would"
            )
            raise UnprovenError(what, text=change.step.before, position=command.start)


def _alone(change: Change, now: Sequence[Tree], place: int) -> bool:
    """Say whether a new node is the only code that was inserted at its place."""
    node = now[place]
    return not any(
        each is not node
        and each.role is NodeRole.CODE
        and any(
            first <= each.start and each.end <= last
            for first, last in change.new
            if first <= node.start < last
        )
        for each in now
    )


def _head(change: Change, old: Sequence[Tree]) -> int:
    """Return the number of comments at the head of the file, up to an empty line.

    They are a licence, the line for an interpreter, or an encoding.
    """
    text = change.step.before
    if not old or text[: old[0].start].strip("\ufeff \t\r\n"):
        return 0
    count = next(
        (place for place, node in enumerate(old) if node.role is not NodeRole.COMMENT), len(old)
    )
    return next(
        (
            place
            for place in range(1, count)
            if "\n\n" in text[old[place - 1].end : old[place].start].replace("\r", "")
        ),
        count,
    )


def _documents(change: Change, comment: Tree, holder: Tree) -> bool:
    """Say whether a comment stands directly over code, on lines of its own."""
    text = change.step.before
    if (
        text[line_start(text, comment.start) : comment.start].strip()
        or text[line_start(text, holder.start) : holder.start].strip()
    ):
        return False
    between = [line.strip() for line in text[comment.end : holder.start].split("\n")[1:-1]]
    return all(between)
