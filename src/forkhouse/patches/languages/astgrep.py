"""Read Python, C, C++ (with CUDA and HIP), Rust and shell, and patterns in YAML and JSON.

This is done by ast-grep and the grammars that it brings.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from forkhouse.core.errors import PatchConflictError
from forkhouse.patches import operands
from forkhouse.patches.backends import Node
from forkhouse.patches.languages import masking, shell
from forkhouse.patches.languages import text as plain
from forkhouse.patches.languages.constructs import (
    DECLARATIONS,
    WITH_MACROS,
    above,
    declaring_node,
    instead_of,
    outer_of,
    with_lead,
    with_macros,
    with_separator,
)
from forkhouse.patches.languages.grammars import BUILT_IN, GRAMMARS
from forkhouse.patches.languages.lists import (
    among_of,
    arguments_of,
    has_argument,
    if_seen,
    items_of,
)
from forkhouse.patches.languages.naming import (
    built_ins,
    is_macro_name,
    named_by_typedef,
    named_nodes,
)
from forkhouse.patches.languages.treeproof import inner_lines, prove
from forkhouse.patches.languages.trees import (
    hidden,
    readable,
    root_of,
    runs_on,
    search,
    span_of,
)
from forkhouse.patches.languages.wellformed import faults

__all__ = ["faults", "find", "inner_lines", "node_of", "prove"]

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ast_grep_py import SgNode

    from forkhouse.patches.edits import Selector


def find(text: str, selector: Selector, language: str) -> list[Node]:
    """Return what a selector matches.

    Raises PatchConflictError for a selector that the language has no nodes for, or an invalid rule.
    """
    if selector.anchor is not None:
        return plain.find(text, selector, language)
    grammar = GRAMMARS[language]
    root = root_of(text, language)
    if selector.key is not None:
        message = (
            f"{language} has no keys with a path. Use `assignment`, a pattern, a rule or an anchor."
        )
        raise PatchConflictError(message)
    if selector.function is not None and language == "c":
        return _in_order(
            [
                *_found(named_nodes(root, grammar.functions, selector.function), language, text),
                *_macro_definitions(root, selector.function, text),
            ]
        )
    named = {
        "function": (selector.function, grammar.functions),
        "class": (selector.class_, grammar.classes),
        "call": (selector.call, grammar.calls),
        "assignment": (selector.assignment, grammar.assignments),
    }
    for what, (name, kinds) in named.items():
        if name is None:
            continue
        if what == "call" and language in BUILT_IN:
            nodes = [*named_nodes(root, kinds, name), *built_ins(root, name, language)]
            _refuse_hidden(text, name, nodes, language)
            fitting = [
                node for node in nodes if has_argument(node, selector.argument, grammar, text)
            ]
            return _in_order(_found(fitting, language, text))
        if what == "class" and language in {"c", "cpp"}:
            return _in_order(
                _found(
                    [*named_nodes(root, kinds, name), *named_by_typedef(root, name)], language, text
                )
            )
        if what == "assignment":
            _refuse_chains(named_nodes(root, kinds, name), name)
        if not kinds:
            message = f"{language} has no {what} to select. Use a pattern, a rule or an anchor."
            raise PatchConflictError(message)
        return _found(
            [
                node
                for node in named_nodes(root, kinds, name)
                if has_argument(node, selector.argument, grammar, text)
            ],
            language,
            text,
        )
    if selector.pattern is not None:
        if language in {"c", "cpp"} and masking.masked(selector.pattern) != selector.pattern:
            message = (
                "CUDA's own words and launches are blanks to the grammar. Take them out of the "
                "pattern, or use an `anchor`."
            )
            raise PatchConflictError(message)
        found = search(root, {"pattern": _in_context(selector.pattern, language)})
        return [_node(node, language, _captures(node, selector.pattern), text) for node in found]
    rule = dict(selector.rule or {})
    return [_node(node, language, _captures(node, str(rule)), text) for node in search(root, rule)]


_CALL = re.compile(r"[\w$.>-]+\s*\([^{}]*\)\s*(;?)", re.DOTALL)


def _in_context(pattern: str, language: str) -> str | dict[str, str]:
    """Return a pattern in the form that ast-grep needs.

    It would read a call of C alone as a declaration.
    """
    call = _CALL.fullmatch(pattern.strip())
    if language != "c" or call is None:
        return pattern
    return {
        "context": f"void f(void) {{ {pattern.strip().rstrip(';')}; }}",
        "selector": "expression_statement" if call[1] else "call_expression",
    }


def _refuse_hidden(text: str, name: str, nodes: list[SgNode], language: str) -> None:
    """Raise PatchConflictError if a call that was found also stands in hidden text.

    Hidden text is what the grammar does not see. The call would be one of several there.
    """
    place = hidden(text, name.lstrip("."), language) if nodes else None
    if place is not None:
        line = text.count("\n", 0, place) + 1
        message = (
            f"{name} stands in line {line}, too, which the grammar can read only without it. Edit "
            "the place that is meant by an `anchor`."
        )
        raise PatchConflictError(message)


def _refuse_chains(nodes: Iterable[SgNode], name: str) -> None:
    """Raise PatchConflictError for an assignment that gives its value to other names as well.

    These names would be removed with it.
    """
    for node in nodes:
        right, outer = node.field("right"), node.parent()
        within = outer is not None and outer.kind() == node.kind()
        if within or (right is not None and right.kind() == node.kind()):
            whole = outer if within and outer is not None else node
            said = " ".join(whole.text().split())
            message = (
                f"'{said}' assigns to other names than {name} as well. Replace the whole of it, by "
                "a pattern or an anchor."
            )
            raise PatchConflictError(message)


def _found(nodes: Iterable[SgNode], language: str, text: str) -> list[Node]:
    nodes = list(nodes)
    for node in nodes:
        _refuse_unread(node, language, text)
    return [
        replace(_node(node, language, {}, text), instead=None)
        if _calls_twice(node)
        else _node(node, language, {}, text)
        for node in nodes
    ]


def _calls_twice(node: SgNode) -> bool:
    """Say whether a call is made on the result of a call of the same name: `m.def(1).def(2)`.

    The node of the second call contains the first.
    """
    name, inner = _method(node), node
    while name is not None and (held := _receiver(inner)) is not None:
        if _method(held) == name:
            return True
        inner = held
    return False


def _method(node: SgNode) -> str | None:
    function = node.field("function")
    name = None if function is None else function.field("attribute") or function.field("field")
    return None if name is None else name.text()


def _receiver(node: SgNode) -> SgNode | None:
    function = node.field("function")
    if function is None:
        return None
    return function.field("object") or function.field("argument") or function.field("value")


_ENDS_A_WORD = frozenset(' \t\r\n;&|()<>`"')
"""What a word of a shell ends at."""


def _refuse_unread(node: SgNode, language: str, text: str) -> None:
    """Raise PatchConflictError for a match that the grammar ends where the language does not."""
    start, end = span_of(node)
    line = text.count("\n", 0, start) + 1
    broken = next((child for child in node.children() if child.kind() == "ERROR"), None)
    if broken is not None:
        reason = f"the grammar cannot read a part of it, '{' '.join(broken.text().split())[:40]}'"
    elif language == "bash" and _is_misread(node, text):
        reason = "the grammar takes assignments of the line above for a part of the command"
    elif language == "bash" and text[end : end + 1] and text[end] not in _ENDS_A_WORD:
        reason = f"the grammar ends it before '{text[end]}', in the middle of a word"
    elif language == "bash" and any(
        "\n" in each.text() for each in search(node, {"kind": "expansion"})
    ):
        reason = (
            "the grammar sees an expansion in it that goes over several lines, and may be wrong "
            "about where that ends"
        )
    else:
        return
    message = (
        f"What is in line {line} cannot be told: {reason}. Edit that place by an `anchor`, in the "
        "language text."
    )
    raise PatchConflictError(message)


def _is_misread(node: SgNode, text: str) -> bool:
    """Say whether a node is, or is in, a command of which the grammar is wrong."""
    commands = [node, parent] if (parent := node.parent()) is not None else [node]
    return any(each.kind() == "command" and runs_on(each, text) for each in commands)


def _in_order(nodes: list[Node]) -> list[Node]:
    return sorted(nodes, key=lambda node: node.start)


def _macro_definitions(root: SgNode, name: str, text: str) -> list[Node]:
    """Return the definitions that a macro makes, such as `TEST(suite, case) {`.

    The grammar of C takes them for a call and a block.
    """
    nodes = []
    for call in search(root, {"kind": "call_expression"}):
        statement = call.parent()
        body = statement.next() if statement is not None else None
        if (
            statement is None
            or body is None
            or body.kind() != "compound_statement"
            or statement.kind() != "expression_statement"
        ):
            continue
        made_up = statement.children()[-1]
        start, end = call.range().start.index, call.range().end.index
        if made_up.text() == "" and is_macro_name(text[start:end], name):
            span = (start, body.range().end.index)
            outer = with_lead(statement, span, "c", text)
            nodes.append(
                Node(start=span[0], end=span[1], outer=outer, head=above(statement, outer[0], text))
            )
    return nodes


def _captures(node: SgNode, pattern: str) -> dict[str, tuple[int, int]]:
    captures = {}
    for many, one in re.findall(r"\$\$\$([A-Z_][A-Z0-9_]*)|\$([A-Z_][A-Z0-9_]*)", pattern):
        if many:
            matched = node.get_multiple_matches(many)
            # The span reaches from the first node to the last, as commas are nodes in some grammars
            # only. A node behind the match, such as a comment, is no part of it.
            end = min(matched[-1].range().end.index, span_of(node)[1]) if matched else 0
            captures[many] = (matched[0].range().start.index, end) if matched else (0, 0)
        elif found := node.get_match(one):
            captures[one] = (
                found.range().start.index,
                min(found.range().end.index, span_of(node)[1]),
            )
    return captures


def node_of(node: SgNode, language: str, text: str) -> Node:
    """Return a node of the tree as a match."""
    return _node(node, language, {}, text)


def _node(node: SgNode, language: str, captures: Mapping[str, tuple[int, int]], text: str) -> Node:
    grammar = GRAMMARS[language]
    start, end = span_of(node)
    if node.kind() in DECLARATIONS:
        start = with_macros(text, start, language)
    outer, target = outer_of(node, language, text)
    holder = declaring_node(target)
    if holder is not target:
        held = span_of(holder)
        outer = with_lead(holder, (with_macros(text, held[0], language), held[1]), language, text)
    whole = outer or (start, end)
    hidden = (
        masking.hidden_above(text, readable(text, language), whole[0])
        if holder.kind() in DECLARATIONS | WITH_MACROS
        else None
    )
    over = above(holder, whole[0], text)
    if hidden is not None:
        over = hidden
        if masking.is_of_gpus(text[hidden : whole[0]]):
            outer, hidden = (hidden, whole[1]), None
    return Node(
        start=start,
        end=end,
        captures=captures,
        loose=_loose(node, captures),
        arguments=if_seen(arguments_of(node, grammar), text, language),
        items=if_seen(items_of(node, grammar), text, language),
        outer=outer,
        gone=with_separator(target, whole, language, text),
        doubt=(
            f"The macro {text[hidden : whole[0]].split(maxsplit=1)[0]} stands on a line of its own "
            "over it, and may belong to it or not."
            if hidden is not None
            else ""
        ),
        head=over,
        among=among_of(node, grammar),
        instead=instead_of(target, language),
        decides=language == "bash" and shell.decides(target),
    )


def _loose(node: SgNode, captures: Iterable[str]) -> frozenset[str]:
    """Return the metavariables whose code needs brackets beside an operator."""
    found = {name: node.get_match(name) for name in captures}
    loose = {
        name
        for name, each in found.items()
        if each is not None and operands.needs_brackets(each.kind())
    }
    return frozenset(loose | ({"MATCH"} if operands.needs_brackets(node.kind()) else set()))
