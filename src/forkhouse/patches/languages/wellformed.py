"""Find what a grammar cannot read in a text."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from forkhouse.core.errors import PatchConflictError
from forkhouse.patches.languages.constructs import is_value
from forkhouse.patches.languages.trees import faulty_nodes, is_before_block, root_of, search

if TYPE_CHECKING:
    from ast_grep_py import SgNode


def faults(text: str, language: str) -> int:
    """Return how many places the grammar cannot read.

    For Python, Python's own parser is asked first.
    """
    own = language == "python" and _python_refuses(text)
    if language == "python" and not own:
        return 0
    try:
        root = root_of(text, language)
    except PatchConflictError:
        return own + 1
    overlooked = (
        _empty_bodies(root) + _stray_words(root) + _stray_ends(root)
        if language == "bash"
        else _unended_macros(root)
        if language == "rust"
        else 0
    )
    return own + len(faulty_nodes(root)) + overlooked


def _unended_macros(root: SgNode) -> int:
    """Count macro statements of Rust in round or square brackets that lack their semicolon.

    The grammar accepts them, and rustc does not.
    """
    found = search(root, {"kind": "macro_invocation", "inside": {"kind": "block"}})
    return sum(not each.text().endswith("}") and not is_value(each) for each in found)


def first_fault(text: str, language: str) -> int | None:
    """Return where the first unreadable text begins, or None if the grammar reads everything."""
    found = [
        node.range().start.index
        for node in faulty_nodes(root_of(text, language))
        if not is_before_block(node)
    ]
    return min(found, default=None)


def _empty_bodies(root: SgNode) -> int:
    """Count the bodies without a command, which the grammar accepts and no shell does."""
    nodes = search(
        root,
        {
            "any": [
                {"kind": kind}
                for kind in ("do_group", "compound_statement", "subshell", "else_clause")
            ]
        },
    )
    empty = sum(
        not any(child.is_named() and child.kind() != "comment" for child in node.children())
        for node in nodes
    )
    for node in search(root, {"any": [{"kind": "if_statement"}, {"kind": "elif_clause"}]}):
        behind = next(
            (child.range().end.index for child in node.children() if child.kind() == "then"), None
        )
        body = [
            child
            for child in node.children()
            if behind is not None and child.range().start.index >= behind and child.is_named()
        ]
        body = [child for child in body if child.kind() != "comment"]
        empty += behind is not None and (
            not body or body[0].kind() in {"elif_clause", "else_clause"}
        )
    return empty


def _stray_words(root: SgNode) -> int:
    """Count the words such as `else` and `fi` that the grammar takes for the name of a command.

    No shell does: they go on with something, or end it, and nothing of the kind is open.
    """
    words = r"^(?:then|else|elif|fi|do|done|esac|\})(?:\s|$)"
    return len(search(root, {"kind": "command", "regex": words}))


def _stray_ends(root: SgNode) -> int:
    """Count what ends a branch of a `case` where none is open, which the grammar takes for `;`."""
    # A rule cannot name these kinds, and a quoted text may be the same.
    ends = [
        (end, around.kind())
        for end in search(root, {"regex": r"^(?:;;&?|;&)$"})
        if end.kind() == end.text() and (around := end.parent()) is not None
    ]
    # What is in an error is counted as such.
    return sum(
        around != "ERROR" and not (around == "case_item" and end.next() is None)
        for end, around in ends
    )


def _python_refuses(text: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the upstream's escapes and comparisons
            compile(text.removeprefix("\ufeff"), "<edited>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
        return True
    return False
