"""Know what bash does with declarations, with the success of commands, and with `time`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from forkhouse.patches.backends import Layout, Parts, UnprovenError
from forkhouse.patches.languages.trees import root_of, search, span_of
from forkhouse.patches.nodes import SHOWN, shift_of

if TYPE_CHECKING:
    from ast_grep_py import SgNode

    from forkhouse.patches.backends import Step

_NAMING = frozenset({"declaration_command", "variable_assignments", "command"})
"""Nodes in which assignments stand beside other words."""
_CONDITIONS = frozenset({"if_statement", "elif_clause"})
_LOOPS = frozenset({"while_statement", "for_statement", "c_style_for_statement"})
_BODIES = frozenset(
    {
        *("compound_statement", "subshell", "do_group", "else_clause", "case_item"),
        *("case_statement", "redirected_statement", "command_substitution", "list", "pipeline"),
        *_CONDITIONS,
        *_LOOPS,
    }
)
"""Nodes whose success is that of a command in them."""
_USING = frozenset({"negated_command", "command_substitution", "process_substitution"})
_KEYWORD = re.compile(r"(?:time|coproc)(?!\S)")
"""Words that stand before a pipeline, and mean all of it."""


def declares_only(declaration: SgNode, node: SgNode) -> bool:
    """Say whether a command such as `local -r x=1` has no other names than one."""
    return all(word.range() == node.range() for word in _names(declaration))


def _names(declaration: SgNode) -> list[SgNode]:
    """Return the words of a declaration that are no options."""
    words = [word for word in declaration.children()[1:] if "comment" not in word.kind()]
    return [word for word in words if not (word.kind() == "word" and word.text()[0] in "-+")]


def words_beside(node: SgNode) -> tuple[Parts, int] | None:
    """Return the words among which an assignment stands on its own, and its position there.

    Returns None for one that is a command of its own, or all that a command declares.
    """
    parent = node.parent()
    if parent is None or node.kind() != "variable_assignment" or parent.kind() not in _NAMING:
        return None
    words = parent.children()
    start = span_of(words[0])[0]
    if parent.kind() == "declaration_command":
        if declares_only(parent, node):
            return None
        start, words = span_of(words[0])[1], words[1:]
    spans = tuple(map(span_of, words))
    if span_of(node) not in spans:
        return None
    parts = Parts(spans=spans, start=start, end=spans[-1][1], layout=Layout.LINE)
    return parts, spans.index(span_of(node))


def decides(node: SgNode) -> bool:
    """Say whether something depends on the success of a group of commands that a node ends.

    Without the node, another command would decide instead. The same holds of a pipe that reads
    what the group writes, if the node is all of the group.
    """
    parent, alone = node.parent(), True
    while parent is not None and parent.kind() in _BODIES | _USING:
        kind = parent.kind()
        inside = [each for each in parent.children() if each.is_named()]
        behind = [each for each in inside if each.range().start.index >= node.range().end.index]
        if kind in _USING:
            return True
        if kind in _CONDITIONS and any(each.text() == "then" for each in _after(node)):
            return True
        if kind == "while_statement" and node.kind() != "do_group":
            return True
        if kind in {"list", "pipeline"}:
            if behind:
                return kind == "list" or alone
        elif any(_is_command(each) for each in behind):
            return False
        alone = alone and len(inside) == 1
        node, parent = parent, parent.parent()
    return False


def _after(node: SgNode) -> list[SgNode]:
    found, following = [], node.next()
    while following is not None:
        found.append(following)
        following = following.next()
    return found


def _is_command(node: SgNode) -> bool:
    """Say whether a node behind another one in a body is run after it."""
    return not node.kind().endswith(("_redirect", "comment", "_clause", "case_item"))


def prove(step: Step) -> None:
    """Raise UnprovenError for a declaration without names, and for a word that means too much."""
    _prove_declarations(step)
    _prove_keywords(step)


def _prove_declarations(step: Step) -> None:
    """Raise UnprovenError if a declaration would lose its last name: it would print all then."""
    shift = shift_of(step)
    bare = None
    for old in search(root_of(step.before, "bash"), {"kind": "declaration_command"}):
        start, end = span_of(old)
        if not shift.touches(start, end) or not _names(old):
            continue
        if bare is None:
            bare = {
                span_of(new)[0]
                for new in search(root_of(step.after, "bash"), {"kind": "declaration_command"})
                if not _names(new)
            }
        if shift.leaves(step.before, start, end) and shift.start(start) in bare:
            what = (
                f"'{' '.join(old.text().split())[:SHOWN]}' would have no name any more, and print "
                "variables instead. Remove the whole of it"
            )
            raise UnprovenError(what, text=step.before, position=start)


def _prove_keywords(step: Step) -> None:
    """Raise UnprovenError if `time` comes to one command of a pipeline: it would mean all."""
    new = [(first, last) for first, last in shift_of(step).new() if first < last]
    if not any(_KEYWORD.search(step.after, first, last) for first, last in new):
        return
    for pipeline in search(root_of(step.after, "bash"), {"kind": "pipeline"}):
        start, end = span_of(pipeline)
        for command in pipeline.children():
            place = span_of(command)[0]
            if (
                _KEYWORD.match(step.after, place)
                and any(first <= place < last for first, last in new)
                and not any(first <= start and end <= last for first, last in new)
            ):
                what = (
                    f"'{' '.join(command.text().split())[:SHOWN]}' would stand in a pipeline, all "
                    "of which that word means. Put brackets around it: { …; }"
                )
                raise UnprovenError(what, text=step.after, position=place)
