"""Find the conditions under which a place of a file runs, and the construct that it is a part of.

Code that was moved under `if OFF` does not have the same effect.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from forkhouse.patches.languages.cmake import commands
from forkhouse.patches.languages.meson import statements
from forkhouse.patches.languages.trees import child_at, root_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ast_grep_py import SgNode

_BRANCH = re.compile(
    r"^(?:preproc_(?:if|ifdef|elif|elifdef|else)|(?:if|elif|else|while|until|for|do|loop|try|except"
    r"|catch|finally|with|switch|case|match|"
    r"let_chain)(?:_\w+)?|match_arm|seh_\w+|lambda(?:_expression)?|closure_expression)$"
)
"""Nodes whose parts run under a condition, several times, or later."""
_DEFINITIONS = re.compile(
    r"(?:function|class|method|impl|trait|mod|namespace|struct)_?\w*(?:definition|item|specifier)$"
)
_STOPS = frozenset({":", "then", "do", "{", "=>", "\n"})
"""Tokens at which the head of a branch ends."""
_BODY = re.compile(
    r"_statement$|^(?:block|compound_statement|comment|line_comment|block_comment|match_block)$"
)
_LOGICAL = frozenset({"&&", "||", "and", "or"})
_OTHERWISE = re.compile(
    r"^(?:conditional|ternary)_expression$|_comprehension$|^generator_expression$"
)
"""Nodes whose condition may stand behind what it decides about."""


def branches(text: str, place: int, language: str) -> tuple[str, ...]:
    """Return the constructs around a place, from the outermost inwards.

    These are the heads of branches and loops, and the names of functions and classes. The result is
    empty for a language without code. Raises PatchConflictError for a text that the language cannot
    read.
    """
    match language:
        case "python" | "c" | "cpp" | "rust" | "bash":
            return tuple(_of_grammar(text, place, language))
        case "cmake":
            return _of_words(_cmake_words(text, place))
        case "meson":
            return _of_words(_meson_words(text, place))
        case _:
            return ()


def _of_grammar(text: str, place: int, language: str) -> Iterator[str]:

    node: SgNode | None = root_of(text, language)
    while node is not None:
        child = child_at(node, place)
        if child is None:
            return
        yield from _said(node, child)
        node = child


def _said(node: SgNode, child: SgNode) -> Iterator[str]:
    """Return what a node says about when its child runs."""
    kind = node.kind()
    before = [
        each for each in node.children() if each.range().end.index <= child.range().start.index
    ]
    if _DEFINITIONS.search(kind):
        name = node.field("name") or node.field("declarator") or node.field("type")
        # A function stays the same one if its parameters change.
        yield f"{kind} {_words(name.text()).partition('(')[0] if name is not None else ''}"
    elif _OTHERWISE.search(kind):
        others = [each for each in node.children() if each.range() != child.range()]
        yield " ".join([kind, *(_words(each.text()) for each in others)])
    elif kind in {"binary_expression", "boolean_operator", "list"}:
        yield from (
            [_words(" ".join(each.text() for each in before))]
            if _LOGICAL & {each.kind() for each in before}
            else []
        )
    elif kind.startswith("preproc_") and _BRANCH.match(kind):
        heads = [each for each in (node.field("condition"), node.field("name")) if each is not None]
        yield " ".join(_words(each.text()) for each in [*node.children()[:1], *heads])
    elif _BRANCH.match(kind):
        yield f"{kind} {' '.join(_head(before))}"
    if kind in {
        "source_file",
        "declaration_list",
        "block",
        "match_block",
        "field_declaration_list",
    }:
        yield from _attributes(before)


def _head(before: list[SgNode]) -> Iterator[str]:
    for each in before:
        if each.kind() in _STOPS or (each.kind() == ")" and before[0].kind() != "("):
            return
        if not _BODY.search(each.kind()):
            yield _words(each.text())


def _attributes(before: list[SgNode]) -> Iterator[str]:
    """Return the conditional attributes of an item of Rust."""
    for each in reversed(before):
        if each.kind() not in {"attribute_item", "line_comment", "block_comment"}:
            return
        if re.match(r"#\s*\[\s*cfg\b", each.text()):
            yield _words(each.text())


def _words(said: str) -> str:
    return " ".join(said.split())


_OPENING = frozenset({"if", "foreach", "while", "function", "macro", "block"})


def _of_words(words: Iterator[tuple[str, str]]) -> tuple[str, ...]:
    """Return the blocks that are open behind the last of several commands.

    Each command is a word and the text that follows it.
    """
    stack: list[str] = []
    for word, rest in words:
        if word in _OPENING:
            stack.append(f"{word} {rest}")
        elif word in {"elseif", "elif", "else"} and stack:
            stack[-1] += f" {word} {rest}"
        elif word.startswith("end") and stack:
            stack.pop()
    return tuple(stack)


def _cmake_words(text: str, place: int) -> Iterator[tuple[str, str]]:

    for start, said in commands(text):
        word, _, rest = said.partition("(")
        name = word.strip().casefold()
        # The name alone identifies a block, as it does a function of C.
        if start < place:
            yield (
                name,
                rest.split()[0].rstrip(")")
                if name in {"function", "macro"} and rest.split()
                else _words(rest),
            )


def _meson_words(text: str, place: int) -> Iterator[tuple[str, str]]:

    for start, said in statements(text):
        found = re.match(r"(\w+)\b(.*)", said, re.DOTALL)
        if start < place and found is not None:
            yield found[1], _words(found[2])
