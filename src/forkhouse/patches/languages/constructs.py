"""Find what belongs to a construct, and what has to replace it when it is removed.

Decorators, attributes, comments and separators may belong to it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from forkhouse.patches.backends import indentation, is_blank, line_end, line_start
from forkhouse.patches.languages import shell
from forkhouse.patches.languages.grammars import GRAMMARS
from forkhouse.patches.languages.lists import only_child
from forkhouse.patches.languages.trees import readable, span_of

if TYPE_CHECKING:
    from ast_grep_py import SgNode


_TAKEN_ALONG = frozenset({"template_declaration", "decorated_definition", "redirected_statement"})
"""Nodes around a definition or a command that have no meaning without it."""


DECLARATIONS = frozenset(
    {
        "function_definition",
        "declaration",
        "struct_specifier",
        "class_specifier",
        "enum_specifier",
        "union_specifier",
        "template_declaration",
    }
)
"""Nodes of C and C++ that a macro may stand before."""


_BODIES = frozenset(
    {
        "if_statement",
        "else_clause",
        "while_statement",
        "do_statement",
        "for_statement",
        "for_range_loop",
        "labeled_statement",
    }
)
"""Statements of C whose body may be a single statement without braces."""


_SHELL_BODIES = frozenset(
    {"compound_statement", "do_group", "subshell", "if_statement", "elif_clause", "else_clause"}
)


WITH_MACROS = frozenset({"linkage_specification", "expression_statement", "type_definition"})


def with_macros(text: str, start: int, language: str) -> int:
    """Return where a declaration begins, with the macros before it on its line.

    The grammar does not see these macros.
    """
    begun = line_start(text, start)
    hidden = text[begun:start]
    if (
        language not in {"c", "cpp"}
        or not hidden.strip()
        or readable(text, language)[begun:start].strip()
    ):
        return start
    return begun + len(hidden) - len(hidden.lstrip())


def outer_of(node: SgNode, language: str, text: str) -> tuple[tuple[int, int] | None, SgNode]:
    """Return the span to remove with a match, and the statement that the match is.

    The span is None if it is the match alone.
    """
    target = node
    while (parent := target.parent()) is not None:
        kind = parent.kind()
        alone = (kind == "expression_statement" and only_child(parent) is not None) or (
            kind == "declaration_command" and shell.declares_only(parent, target)
        )
        linkage = kind == "linkage_specification" and target.kind() != "declaration_list"
        if _goes_on_behind(parent) or not (
            alone
            or linkage
            or kind in _TAKEN_ALONG
            or (
                kind == "declaration"
                and len(parent.field_children("declarator")) == 1
                and not target.kind().endswith("_specifier")
            )
        ):
            break
        target = parent
    start, end = span_of(target)
    following = target.next()
    if (
        target.kind().endswith(("_specifier", "macro_invocation"))
        and following is not None
        and following.text() == ";"
    ):
        end = following.range().end.index
    if target.kind() in DECLARATIONS or target.kind() == "linkage_specification":
        start = with_macros(text, start, language)
    start, end = with_lead(target, (start, end), language, text)
    outer = start, with_documents_behind(target, end, language, text)
    return (None if outer == span_of(node) else outer), target


def _goes_on_behind(node: SgNode) -> bool:
    """Say whether a shell command continues behind the word that starts its here-document.

    An example is the pipe in `f <<END | g`.
    """
    if node.kind() != "redirected_statement":
        return False
    documents = (child for child in node.children() if child.kind() == "heredoc_redirect")
    return any(
        each.kind() in {"pipeline", "list", "&&", "||", ";"}
        for document in documents
        for each in document.children()
    )


def declaring_node(target: SgNode) -> SgNode:
    """Return the declaration that also defines a class, as in `typedef struct x {…} X;`.

    What stands beside the class stands beside that declaration.
    """
    parent = target.parent()
    inside = (
        parent is not None
        and target.kind().endswith("_specifier")
        and parent.kind() in {"type_definition", "declaration"}
    )
    return parent if parent is not None and inside and target.field("body") is not None else target


def with_lead(target: SgNode, span: tuple[int, int], language: str, text: str) -> tuple[int, int]:
    """Widen the span of a construct by what stands before it and belongs to it.

    These are its attributes, and the comments that document it.
    """
    start, end = span
    lead, previous = start, target.prev()
    while previous is not None and (
        previous.kind() == "attribute_item" or "comment" in previous.kind()
    ):
        first, last = span_of(previous)
        attached = previous.kind() == "attribute_item" or (
            is_documentation(text[first:last], language) and language == "rust"
        )
        near = not text[last:lead].strip() and text[last:lead].count("\n") <= 1
        if language == "python" and indentation(text, first) is None:
            break  # `a = 1  #: Of a.` is about what it stands behind
        if attached or (
            near
            and is_documentation(text[first:last], language)
            and not _is_of_file(text, first, last)
        ):
            start = first
        elif not near or indentation(text, first) is None:
            break
        lead, previous = first, previous.prev()
    return start, end


_BEHIND = re.compile(r"//[/!]<|/\*[*!]<")


def with_documents_behind(target: SgNode, end: int, language: str, text: str) -> int:
    """Return the end of a construct with the comments of Doxygen below it that document it.

    They begin with `///<`.
    """
    following = target.next()
    while (
        language in {"c", "cpp"}
        and following is not None
        and "comment" in following.kind()
        and _BEHIND.match(following.text())
        and not text[end : span_of(following)[0]].strip()
    ):
        end, following = span_of(following)[1], following.next()
    return end


def above(target: SgNode, start: int, text: str) -> int | None:
    """Return the start of the comments that stand directly above a construct.

    Returns None if there are none, or if they are the head of the file.
    """
    first, previous = start, target.prev()
    if previous is None:
        # The grammar of Python leaves the comments at the head of a block outside of it.
        holder = target.parent()
        if holder is not None and holder.kind() == "block":
            previous = holder.prev()
    while previous is not None and span_of(previous)[1] > first:
        previous = previous.prev()  # attributes and documentation, which belong to it anyway
    while previous is not None and "comment" in previous.kind():
        begun, end = span_of(previous)
        if (
            text[end:first].strip()
            or text[end:first].count("\n") > 1
            or indentation(text, begun) is None
            or (previous.kind() != "comment" and previous.text().startswith(("//!", "/*!")))
        ):
            break  # in Rust, `//!` documents what is around it
        first, previous = begun, previous.prev()
    return first if first < start and text[:first].strip("\ufeff \t\r\n") else None


def with_separator(
    target: SgNode, whole: tuple[int, int], language: str, text: str
) -> tuple[int, int] | None:
    """Return the span of a statement with the semicolon to another statement on its line.

    Returns None if there is no other statement on the line.
    """
    if language not in {"python", "bash"}:
        return None
    start, end = whole
    following, previous = target.next(), target.prev()
    if following is not None and following.text() in {";", "&"} and following.kind() in {";", "&"}:
        end = following.range().end.index
        return start, end + len(text[end:]) - len(text[end:].lstrip(" \t"))
    if (
        previous is not None
        and previous.kind() == ";"
        and "\n" not in text[previous.range().start.index : start]
    ):
        return previous.range().start.index, end
    parent = target.parent()
    beside = indentation(text, start) is None or not is_blank(
        text[end : line_end(text, end)], language
    )
    # In an arm or a pair of brackets on one line, a semicolon divides its only command from a new
    # one beside it.
    return (
        (start, end)
        if language == "bash" and parent is not None and parent.kind() in _ON_ONE_LINE and beside
        else None
    )


_ON_ONE_LINE = frozenset({"case_item", "subshell"})


_DOCUMENTATION = re.compile(r"//[/!](?![/<])|/\*[*!](?![*/<])")


_OF_FILE = re.compile(r"/\*.*(?:copyright|licen[cs]e|SPDX-|[@\\]file\b)", re.IGNORECASE | re.DOTALL)


def _is_of_file(text: str, start: int, end: int) -> bool:
    """Say whether a comment begins a file and describes all of it, whatever stands below."""
    return not text[:start].strip("\ufeff \t\r\n") and _OF_FILE.match(text[start:end]) is not None


def is_documentation(comment: str, language: str) -> bool:
    """Say whether a comment documents the item behind it, in the form of rustdoc or Doxygen.

    A comment that documents the construct around it does not.
    """
    if language == "rust":
        return comment.startswith(("///", "/**")) and not comment.startswith(
            ("////", "/***", "/**/")
        )
    if language == "python":
        return comment.startswith("#:")  # a comment for an attribute, as Sphinx reads it
    return language in {"c", "cpp"} and _DOCUMENTATION.match(comment) is not None


_HOLDERS = frozenset(
    {
        *(
            "return_statement",
            "co_return_statement",
            "return_expression",
            "break_expression",
            "yield",
            "await",
            "raise_statement",
        ),
        *(
            "for_statement",
            "parenthesized_expression",
            "command_substitution",
            "process_substitution",
            "condition_clause",
        ),
    }
)
"""Nodes that use the value of a node in them, so that this cannot be removed alone."""


def _is_unit(block: SgNode) -> bool:
    """Say whether a block of Rust is the body of a function that returns nothing.

    Its last expression is then no value.
    """
    function = block.parent()
    return (
        function is not None
        and function.kind() == "function_item"
        and function.field("return_type") is None
    )


_STATEMENTS = ("_statement", "_declaration", "_item", "_definition", "comment", "label")
"""The ends of the names of node kinds that are no value of a Rust block."""


def is_value(target: SgNode) -> bool:
    """Say whether a node in a block of Rust is the value of the block.

    A statement is not, and a macro is only if it is the last node.
    """
    following = target.next()
    while following is not None and "comment" in following.kind():
        following = following.next()
    macro = (
        target.kind() == "macro_invocation" and following is not None and following.text() != "}"
    )
    return not macro and not target.kind().endswith(_STATEMENTS)


_VALUES = frozenset({"call", "call_expression"})
_HELD = {
    "python": frozenset({"module", "block", "decorator", *GRAMMARS["python"].lists}),
    **dict.fromkeys(
        ("c", "cpp"),
        frozenset(
            {
                *("translation_unit", "compound_statement", "declaration_list", "comma_expression"),
                *("field_declaration_list", "linkage_specification", *GRAMMARS["cpp"].lists),
            }
        ),
    ),
    "rust": frozenset({"source_file", "block", *GRAMMARS["rust"].lists}),
}
"""Nodes in which a call can go alone: as a statement, or as an item of a list."""


def instead_of(target: SgNode, language: str) -> str | None:
    """Return the text to put in the place of a removed statement.

    It keeps other code from taking that place. Returns None if the statement cannot be removed
    alone.
    """
    parent = target.parent()
    if parent is None:
        return ""
    kind = parent.kind()
    if language in _HELD and target.kind() in _VALUES and kind not in _HELD[language]:
        return None  # its value is used
    if kind == "for_statement" and language in {"c", "cpp"}:
        held = parent.field("body")
        return ";" if held is not None and held.range() == target.range() else None
    if kind in _HOLDERS or (
        target.kind().endswith("_specifier")
        and kind in {"declaration", "type_definition", "field_declaration"}
    ):
        return None
    if language == "rust" and kind == "block" and is_value(target) and not _is_unit(parent):
        return None
    if language in {"c", "cpp"}:
        if kind == "case_statement":
            return (
                ""
                if len(
                    [
                        child
                        for child in parent.children()
                        if child.kind().endswith(("statement", "declaration"))
                    ]
                )
                > 1
                else ";"
            )
        return ";" if kind in _BODIES and target.kind().endswith("statement") else ""
    if language == "bash" and kind in {
        "list",
        "pipeline",
        "negated_command",
        "redirected_statement",
        "heredoc_redirect",
    }:
        return None
    others = [
        child
        for child in parent.children()
        if child.is_named() and "comment" not in child.kind() and child.range() != target.range()
    ]
    if language == "python":
        return "pass" if kind == "block" and not others else ""
    if language == "bash" and kind in _SHELL_BODIES:
        then = next(
            (child.range().end.index for child in parent.children() if child.kind() == "then"), 0
        )
        if then > target.range().start.index:
            return None  # the condition of an `if`
        body = [
            other
            for other in others
            if other.range().start.index >= then
            and other.kind() not in {"elif_clause", "else_clause"}
        ]
        return "" if body else ":"
    return ""
