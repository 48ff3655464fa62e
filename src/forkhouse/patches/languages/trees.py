"""Make the trees of ast-grep's grammars for a text, and return the spans of their nodes."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, cast

from ast_grep_py import SgRoot

from forkhouse.core.errors import PatchConflictError
from forkhouse.patches.languages import masking

if TYPE_CHECKING:
    from ast_grep_py import Config, SgNode


_LEVELS = 100
"""The greatest depth of nesting that a file of YAML may have.

The grammar's scanner keeps 253 levels, and then ends the whole process with an assertion.
"""


def _levels(text: str) -> int:
    """Return an upper bound of the depth of blocks in a text of YAML.

    It counts the different indentations, and the indicators on one line.
    """
    lines = text.splitlines()
    indentations = {len(line) - len(line.lstrip()) for line in lines}
    return len(indentations) + max(
        (len(re.findall(r"[-?:](?=\s|$)", line)) for line in lines), default=0
    )


@lru_cache(maxsize=8)
def readable(text: str, language: str) -> str:
    """Return a text of the same length that the grammar can read.

    For C and C++, macros that hide what is declared are blanked out. For a shell, assignments on
    one line are parted by semicolons where the grammar takes the next line for their command, and
    a `-` before a here-document or a descriptor, which the grammar leaves out, is another word.
    """
    if language == "bash":
        return _parted(_DASH.sub(r"\1_", text))
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


_DASH = re.compile(
    r"(?m)^((?:(?!\(\().)*?[ \t])-(?=[ \t]*(?:\\\r?\n[ \t]*)?(?:<<(?!<)|\d[<>]&?\s*[^\s\d(]))"
)
"""A line of a shell up to a `-` that stands alone before a here-document or a descriptor."""
_TWO_ASSIGNMENTS = re.compile(r"\w(?:\[[^]\n]*\])?\+?=.*[ \t)\"'][A-Za-z_]\w*(?:\[[^]\n]*\])?\+?=")
"""What a line has at least that the grammar of a shell may misread."""


_STATEMENTS_IN = frozenset(
    {
        *("program", "compound_statement", "subshell", "do_group", "case_item", "if_statement"),
        *("elif_clause", "else_clause", "while_statement", "command_substitution"),
    }
)
"""Nodes of a shell that hold statements one behind the other."""
_CHAINS = frozenset({"pipeline", "list", "redirected_statement"})


def _parted(text: str) -> str:
    """Return a text of a shell in which each assignment of several on a line is a statement.

    The grammar reads such a line in two ways, by what follows it. In a chain they stay together.
    """
    if _TWO_ASSIGNMENTS.search(text) is None:
        return text
    try:
        root = SgRoot(text, "bash").root()
    except UnicodeEncodeError:
        return text
    shown = list(text)
    kinds = ("variable_assignments", "command")
    for node in search(root, {"any": [{"kind": kind} for kind in kinds]}):
        following = node.next()
        read = node.kind() == "variable_assignments"
        if (
            (read or runs_on(node, text))
            and not (read and following is not None and following.kind() == "&")
            and _begins_statement(node, alone=read)
        ):
            said = [each for each in node.children() if each.kind() == "variable_assignment"]
            gaps = [
                (one.range().end.index, other.range().start.index) for one, other in pairwise(said)
            ]
            if not any(text[start:end].strip(" \t") for start, end in gaps):
                for start, _ in gaps:
                    shown[start] = ";"
    return "".join(shown)


def _begins_statement(node: SgNode, *, alone: bool) -> bool:
    """Say whether a node begins a statement; if `alone`, whether it is a statement by itself."""
    parent = node.parent()
    while not alone and parent is not None and parent.kind() in _CHAINS:
        if parent.range().start.index != node.range().start.index:
            return False
        parent = parent.parent()
    return parent is not None and parent.kind() in _STATEMENTS_IN


def runs_on(command: SgNode, text: str) -> bool:
    """Say whether the grammar takes assignments of one line for a part of the next command."""
    name = command.field("name")
    before = name.prev() if name is not None else None
    while before is not None and "comment" in before.kind():
        before = before.prev()
    if name is None or before is None:
        return False
    gap = text[before.range().end.index : name.range().start.index]
    return re.search(r"(?<!\\)\r?\n", gap) is not None


@lru_cache(maxsize=8)
def root_of(text: str, language: str) -> SgNode:
    """Return the tree of a text.

    The last trees are kept: an operation, its proof and the next operation ask for the same one.
    Raises PatchConflictError for a string that is no text (it holds half of a surrogate pair), or
    for YAML that is nested too deep to be read.
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
    """Return where a name stands in text that is blanked out for the grammar, or None.

    Such text is a macro, or CUDA's own words.
    """
    shown = readable(text, language)
    found = re.finditer(rf"(?<!\w){re.escape(name)}(?!\w)", text) if shown != text else ()
    return next((match.start() for match in found if not shown[match.start()].strip()), None)


def child_at(node: SgNode, place: int) -> SgNode | None:
    """Return the child of a node that covers a place of the text."""
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
        # ast-grep's own type is a plain dict at run time.
        found = root.find_all(cast("Config", {"rule": rule}))
    # The error of ast-grep for a rule that it cannot read has no type of its own.
    except Exception as error:
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

    In YAML, nodes include the comments and line ends behind them. These are left out.
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
    # These nodes include their line end.
    if node.kind().startswith("preproc_") or node.kind().endswith("comment"):
        end = start + len(node.text().rstrip("\r\n \t"))
    if node.kind() in _DIRECTIVES:
        end = start + len(masking.without_last_comment(node.text()))
    if node.kind() == "preproc_include" and (path := node.field("path")) is not None:
        end = path.range().end.index  # the node includes a comment behind it, and its line end
    behind = comments_behind(node)
    if behind:
        end = len(node.get_root().root().text()[: behind[0].range().start.index].rstrip())
    elif end == node.range().end.index and node.text().endswith("\r"):
        end -= 1  # a node that ends with a comment includes the carriage return, too
    return start, end


_DIRECTIVES = frozenset({"preproc_def", "preproc_function_def", "preproc_call"})
"""Preprocessor lines whose nodes include a comment behind them."""


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
"""Nodes of Python that may end with a block on the line of their colon."""


def comments_behind(node: SgNode) -> list[SgNode]:
    """Return the comments behind a Python construct whose body is on the line of its colon.

    The grammar takes them for parts of the construct.
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
    """Return the nodes that a grammar could not read, and the empty tokens that it made up."""
    empty = [node for node in search(root, {"regex": "^$"}) if is_made_up(node)]
    return [*search(root, {"kind": "ERROR"}), *empty]


def is_made_up(node: SgNode) -> bool:
    """Say whether a grammar made a node up so that it could read on."""
    # The root of an empty text is empty, too, and so may be a few nodes with a name.
    return (
        node.is_leaf()
        and node.text() == ""
        and (not node.is_named() or node.kind().endswith("identifier"))
    )


def is_before_block(node: SgNode) -> bool:
    """Say whether a semicolon was made up between a macro and its block.

    The grammar does so for sound code such as `TEST(suite, case) {`.
    """
    statement = node.parent()
    body = statement.next() if statement is not None else None
    return (
        statement is not None
        and statement.kind() == "expression_statement"
        and body is not None
        and body.kind() == "compound_statement"
    )
