"""The trees that the grammars of ast-grep make of a text, and the spans of what is in them."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, cast

from ast_grep_py import SgRoot

from forkhouse.core.errors import PatchConflictError
from forkhouse.patches.languages import masking

if TYPE_CHECKING:
    from ast_grep_py import Config, SgNode


_LEVELS = 100
"""Of nesting that a file of YAML may have.

The grammar's scanner keeps 253 and then ends the whole process with an assertion.
"""


def _levels(text: str) -> int:
    """Return a bound of how deep blocks of YAML can be nested.

    Indentations that occur, and indicators on one line.
    """
    lines = text.splitlines()
    indentations = {len(line) - len(line.lstrip()) for line in lines}
    return len(indentations) + max(
        (len(re.findall(r"[-?:](?=\s|$)", line)) for line in lines), default=0
    )


@lru_cache(maxsize=8)
def readable(text: str, language: str) -> str:
    """Return a text of the same length as the grammar can read it.

    Without macros, where those of C hide what is declared.
    """
    if language not in {"c", "cpp"}:
        return text

    def unread(tried: str) -> list[int]:
        try:
            return [
                node.range().start.index for node in faulty_nodes(SgRoot(tried, language).root())
            ]
        except UnicodeEncodeError:
            return []

    return masking.without_macros(masking.masked(text), unread)


@lru_cache(maxsize=8)
def root_of(text: str, language: str) -> SgNode:
    """Return the tree of a text.

    The last few are kept: an operation, its proof and the next operation ask for the same.

    Raises PatchConflictError for one that is no text (it holds half of a surrogate pair), or YAML
    nested too deep to be read.
    """
    if language == "yaml" and _levels(text) > _LEVELS:
        message = (
            f"The file may be nested more than {_LEVELS} levels deep, which the grammar cannot "
            "read. Edit it as `text`."
        )
        raise PatchConflictError(message)
    try:
        return SgRoot(readable(text, language), language).root()
    except UnicodeEncodeError as error:
        message = f"not text: {error}"
        raise PatchConflictError(message) from error


def hidden(text: str, name: str, language: str) -> int | None:
    """Return where a name stands in what the grammar reads as blanks.

    A macro, or CUDA's own words; None where it does not.
    """
    shown = readable(text, language)
    found = re.finditer(rf"(?<!\w){re.escape(name)}(?!\w)", text) if shown != text else ()
    return next((match.start() for match in found if not shown[match.start()].strip()), None)


def child_at(node: SgNode, place: int) -> SgNode | None:
    """Return the part of a node that covers a place of the text."""
    return next(
        (
            each
            for each in node.children()
            if each.range().start.index <= place < each.range().end.index
        ),
        None,
    )


def search(root: SgNode, rule: dict[str, object]) -> list[SgNode]:
    """Return what a rule matches, in order.

    Raises PatchConflictError for a rule that ast-grep cannot read.
    """
    try:
        found = root.find_all(
            cast("Config", {"rule": rule})
        )  # ast-grep's own type is a plain dict at run time
    except (
        Exception
    ) as error:  # what ast-grep raises for a rule it cannot read has no type of its own
        said = " ".join(str(error).partition("Stack backtrace")[0].split())
        arm = (
            " An arm of a `case` is named by a rule: {kind: case_item, has: {field: value, regex: "
            "'^NAME$'}}."
            if ";;" in str(rule)
            else ""
        )
        message = f"ast-grep refuses the rule {rule}: {said.rstrip('.')}.{arm}"
        raise PatchConflictError(message) from error
    return sorted(found, key=lambda node: node.range().start.index)


def span_of(node: SgNode) -> tuple[int, int]:
    """Return the span of a node.

    YAML's nodes swallow the comments and line ends behind them, which are not theirs.
    """
    place = node.range()
    start, end = place.start.index, place.end.index
    while (
        node.kind().startswith(("block_", "flow_", "document", "stream"))
        and node.kind() != "block_scalar"
    ):
        children = [child for child in node.children() if child.kind() != "comment"]
        if not children:
            break
        node = children[-1]
        end = node.range().end.index
    if node.kind() == "block_scalar":
        end = start + len(node.get_root().root().text()[start : node.range().end.index].rstrip())
    if node.kind().startswith("preproc_") or node.kind().endswith(
        "comment"
    ):  # they hold the end of their line
        end = start + len(node.text().rstrip("\r\n \t"))
    if node.kind() in _DIRECTIVES:
        end = start + len(masking.without_last_comment(node.text()))
    if node.kind() == "preproc_include" and (path := node.field("path")) is not None:
        end = path.range().end.index  # an include takes in the comment behind it, and its line end
    behind = comments_behind(node)
    if behind:
        end = len(node.get_root().root().text()[: behind[0].range().start.index].rstrip())
    elif end == node.range().end.index and node.text().endswith(
        "\r"
    ):  # so does what ends with a comment
        end -= 1
    return start, end


_DIRECTIVES = frozenset({"preproc_def", "preproc_function_def", "preproc_call"})
"""Lines of a preprocessor whose nodes take in a comment behind them."""


_ENDING_IN_BLOCKS = frozenset(
    {
        *("function_definition", "class_definition", "decorated_definition", "block"),
        *(
            "if_statement",
            "elif_clause",
            "else_clause",
            "for_statement",
            "while_statement",
            "with_statement",
        ),
        *(
            "try_statement",
            "except_clause",
            "except_group_clause",
            "finally_clause",
            "match_statement",
            "case_clause",
        ),
    }
)
"""Nodes of Python that may end with a block on the line of its colon."""


def comments_behind(node: SgNode) -> list[SgNode]:
    """Return the comments behind a construct of Python whose body stands on the line of its colon.

    The grammar takes them for a part of that.
    """
    current: SgNode | None = node
    while current is not None and current.kind() in _ENDING_IN_BLOCKS:
        children = current.children()
        if current.kind() == "block":
            colon = current.prev()
            if colon is None or colon.range().end.line != current.range().start.line:
                return []
            code = next(
                (
                    place
                    for place in range(len(children), 0, -1)
                    if children[place - 1].kind() != "comment"
                ),
                0,
            )
            if code < len(children):
                return children[code:] if code else []
        current = children[-1] if children else None
    return []


def faulty_nodes(root: SgNode) -> list[SgNode]:
    """Return what a grammar could not read, and the tokens that it made up, which are empty."""
    empty = [node for node in search(root, {"regex": "^$"}) if is_made_up(node)]
    return [*search(root, {"kind": "ERROR"}), *empty]


def is_made_up(node: SgNode) -> bool:
    """Say whether a grammar made a node up, to go on reading."""
    # The whole of an empty text is empty, too, and a few nodes with a name may be.
    return (
        node.is_leaf()
        and node.text() == ""
        and (not node.is_named() or node.kind().endswith("identifier"))
    )


def is_before_block(node: SgNode) -> bool:
    """Say whether a semicolon was made up between a macro and its block, as in `TEST(suite, case) {`: that is what such code looks like."""
    statement = node.parent()
    body = statement.next() if statement is not None else None
    return (
        statement is not None
        and statement.kind() == "expression_statement"
        and body is not None
        and body.kind() == "compound_statement"
    )
