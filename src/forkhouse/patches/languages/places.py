"""Find out what stands at a place of a text.

It may be code, whole constructs, or constructs in the same block as others.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from forkhouse.patches.backends import is_blank
from forkhouse.patches.languages.trees import child_at, root_of

if TYPE_CHECKING:
    from ast_grep_py import SgNode


def is_beside(text: str, language: str, span: tuple[int, int], other: int) -> bool:
    """Say whether code is one or several whole constructs in the block of another construct.

    That other construct begins at `other`.
    """
    start, end = span
    node = root_of(text, language)
    while True:
        held = {each: child_at(node, each) for each in (start, end - 1, other)}
        if None in held.values():
            return False
        inner = held[start]
        if inner is None or not all(
            each is not None and each.range() == inner.range() for each in held.values()
        ):
            break
        node = inner
    first, last, neighbour = (held[each] for each in (start, end - 1, other))
    if first is None or last is None or neighbour is None:
        return False
    rest = text[end : last.range().end.index].strip()
    # The only statement of a branch is in another block than what stands behind the branch.
    inside = neighbour.kind() in _BRANCHES and neighbour.range().start.index < other
    return first.range().start.index == start and rest in {"", ";"} and not inside


_BRANCHES = frozenset(
    {
        "if_statement",
        "for_statement",
        "while_statement",
        "do_statement",
        "for_range_loop",
        "else_clause",
    }
)


_BLOCKS = frozenset(
    {
        *(
            "module",
            "block",
            "translation_unit",
            "compound_statement",
            "declaration_list",
            "field_declaration_list",
            "source_file",
        ),
        *("program", "do_group", "case_item", "case_statement", "if_statement", "subshell"),
        *("decorated_definition", "preproc_if", "preproc_ifdef", "preproc_else"),
    }
)
"""Nodes in which constructs stand one after the other."""


def is_whole(text: str, language: str, span: tuple[int, int]) -> bool:
    """Say whether code is one or several whole constructs, and no branch of what is around it.

    An `else` is such a branch: it is a part of the statement that it belongs to.
    """
    start, end = span
    node = root_of(text, language)
    while True:
        first, last = child_at(node, start), child_at(node, end - 1)
        if first is None or last is None:
            return False
        place = first.range()
        rest = text[end : last.range().end.index].lstrip(" \t;")
        if place.start.index == start and all(
            is_blank(line, language) for line in rest.splitlines()
        ):
            together = node.kind() in _BLOCKS and first.is_named()
            return together or (first.range() == last.range() and node.kind() != "else_clause")
        if place != last.range():
            return False
        node = first


_IN_WORDS = re.compile(r"comment|string|char_literal")


_CODE_AGAIN = frozenset(
    {"interpolation", "command_substitution", "process_substitution", "expansion"}
)


def is_code(text: str, language: str, place: int) -> bool:
    """Say whether what begins at a place is code, and not within a comment or a literal."""
    node: SgNode | None = child_at(root_of(text, language), place)
    code = True
    while node is not None:
        if node.kind() in _CODE_AGAIN:
            code = True
        elif node.kind() == "heredoc_body" or (
            _IN_WORDS.search(node.kind()) and node.range().start.index < place
        ):
            code = False
        node = child_at(node, place)
    return code


def redirected(text: str, span: tuple[int, int]) -> int | None:
    """Return the end of a shell command with its redirections, or None if it has none."""
    start, end = span
    node: SgNode | None = root_of(text, "bash")
    while node is not None and (node.range().start.index, node.range().end.index) != span:
        if node.kind() == "redirected_statement" and node.range().start.index == start:
            body = node.field("body")
            if body is not None and body.range().end.index == end:
                return node.range().end.index
        node = child_at(node, start)
    return None


def ends_branch(text: str, language: str, end: int) -> bool:
    """Say whether a statement ends at a place and is the whole of a branch without braces."""
    node: SgNode | None = root_of(text, language)
    while node is not None:
        inner = child_at(node, end - 1)
        if (
            inner is not None
            and node.kind() in _BRANCHES
            and inner.range().end.index == end
            and inner.kind().endswith("_statement")
            and inner.kind() != "compound_statement"
        ):
            return True
        node = inner
    return False
