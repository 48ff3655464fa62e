"""Python, C, C++ (with CUDA and HIP), Rust, shell, YAML and JSON, through ast-grep and the grammars that it brings."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from ast_grep_py import SgRoot

from forkhouse.errors import PatchConflictError
from forkhouse.patches.languages import Node, Parts
from forkhouse.patches.languages import text as plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ast_grep_py import Config, SgNode

    from forkhouse.patches.edits import Selector


@dataclass(frozen=True, kw_only=True, slots=True)
class Grammar:
    """Names of the nodes that stand for what selectors ask for: kind of node, and the field that holds its name."""

    functions: Mapping[str, str] = field(default_factory=dict)
    classes: Mapping[str, str] = field(default_factory=dict)
    calls: Mapping[str, str] = field(default_factory=dict)
    assignments: Mapping[str, str] = field(default_factory=dict)
    arguments: str = "arguments"
    """Field of a call that holds its arguments."""
    value: str = "value"
    """Field of an assignment that holds what is assigned."""
    lists: frozenset[str] = frozenset()
    separator: str = ","


_C = Grammar(
    functions={"function_definition": "declarator"},
    classes={"struct_specifier": "name", "class_specifier": "name", "union_specifier": "name", "enum_specifier": "name"},
    calls={"call_expression": "function"},
    assignments={"init_declarator": "declarator", "assignment_expression": "left", "preproc_def": "name"},
    lists=frozenset({"initializer_list", "argument_list"}),
)
GRAMMARS = {
    "python": Grammar(
        functions={"function_definition": "name"},
        classes={"class_definition": "name"},
        calls={"call": "function"},
        assignments={"assignment": "left", "keyword_argument": "name", "pair": "key"},
        value="right",
        lists=frozenset({"list", "tuple", "set", "dictionary", "argument_list"}),
    ),
    "c": _C,
    "cpp": _C,
    "rust": Grammar(
        functions={"function_item": "name"},
        classes={"struct_item": "name", "enum_item": "name", "trait_item": "name", "impl_item": "type"},
        calls={"call_expression": "function", "macro_invocation": "macro"},
        assignments={"let_declaration": "pattern", "const_item": "name", "static_item": "name", "field_initializer": "field"},
        lists=frozenset({"array_expression", "tuple_expression", "arguments", "token_tree"}),
    ),
    "bash": Grammar(
        functions={"function_definition": "name"},
        calls={"command": "name"},
        assignments={"variable_assignment": "name"},
        lists=frozenset({"array"}),
        separator="",
    ),
    "yaml": Grammar(assignments={"block_mapping_pair": "key", "flow_pair": "key"}, lists=frozenset({"flow_sequence", "block_sequence"})),
    "json": Grammar(assignments={"pair": "key"}, lists=frozenset({"array", "object"})),
}


def find(text: str, selector: Selector, language: str) -> list[Node]:
    """Return what a selector matches. Raises PatchConflictError for one that the language has no nodes for, or a rule that is none."""
    if selector.anchor is not None:
        return plain.find(text, selector, language)
    grammar = GRAMMARS[language]
    root = SgRoot(text, language).root()
    named = {
        "function": (selector.function, grammar.functions),
        "class": (selector.class_, grammar.classes),
        "call": (selector.call, grammar.calls),
        "assignment": (selector.assignment, grammar.assignments),
    }
    for what, (name, kinds) in named.items():
        if name is None:
            continue
        if not kinds:
            message = f"{language} has no {what} to select. Use a pattern, a rule or an anchor."
            raise PatchConflictError(message)
        return [_node(node, grammar, {}) for node in _named(root, kinds, name) if _has_argument(node, selector.argument, grammar)]
    if selector.pattern is not None:
        return [_node(node, grammar, _captures(node, selector.pattern)) for node in _search(root, {"pattern": selector.pattern})]
    rule = dict(selector.rule or {})
    return [_node(node, grammar, _captures(node, str(rule))) for node in _search(root, rule)]


def _search(root: SgNode, rule: dict[str, object]) -> list[SgNode]:
    try:
        found = root.find_all(cast("Config", {"rule": rule}))  # ast-grep's own type is a plain dict at run time
    except Exception as error:  # what ast-grep raises for a rule it cannot read has no type of its own
        message = f"ast-grep refuses the rule {rule}: {str(error).partition('Stack backtrace')[0].strip()}"
        raise PatchConflictError(message) from error
    return sorted(found, key=lambda node: node.range().start.index)


def _named(root: SgNode, kinds: Mapping[str, str], name: str) -> Iterator[SgNode]:
    found = [(node, field) for kind, field in kinds.items() for node in _search(root, {"kind": kind})]
    for node, field_name in sorted(found, key=lambda pair: pair[0].range().start.index):
        holder = node.field(field_name)
        if holder is not None and _is_name(holder, name):
            yield node


def _is_name(holder: SgNode, name: str) -> bool:
    # A declarator wraps its name in pointers, parameters and templates; a key may be quoted.
    while True:
        inner = holder.field("declarator") if holder.kind().endswith("declarator") else None
        if inner is None:
            break
        holder = inner
    said = holder.text()
    return name in {said, said.strip("\"'"), said.rpartition("::")[2]}


def _captures(node: SgNode, pattern: str) -> dict[str, str]:
    captures = {}
    for many, one in re.findall(r"\$\$\$([A-Z_][A-Z0-9_]*)|\$([A-Z_][A-Z0-9_]*)", pattern):
        if many:
            matched = node.get_multiple_matches(many)
            # From the first to the last, with all that stands between: commas are nodes of their own in some grammars only.
            if matched:
                whole = node.get_root().root().text()
                captures[many] = whole[matched[0].range().start.index : matched[-1].range().end.index]
            else:
                captures[many] = ""
        elif found := node.get_match(one):
            captures[one] = found.text()
    return captures


def _node(node: SgNode, grammar: Grammar, captures: Mapping[str, str]) -> Node:
    span = node.range()
    return Node(
        start=span.start.index,
        end=span.end.index,
        captures=captures,
        arguments=_arguments(node, grammar),
        items=_items(node, grammar),
    )


def _arguments(node: SgNode, grammar: Grammar) -> Parts | None:
    if node.kind() not in grammar.calls:
        return None
    if node.kind() == "command":
        name = node.field("name")
        if name is None:
            return None
        words = [child for child in node.children() if child.range().start.index >= name.range().end.index]
        spans = tuple((word.range().start.index, word.range().end.index) for word in words)
        return Parts(spans=spans, start=name.range().end.index, end=node.range().end.index, separator="")
    holder = node.field(grammar.arguments)
    if holder is None:
        holder = next((child for child in node.children() if child.kind() == "token_tree"), None)
    return None if holder is None else _parts(holder, grammar)


def _items(node: SgNode, grammar: Grammar) -> Parts | None:
    if node.kind() in grammar.lists:
        return _parts(node, grammar)
    value = node.field(grammar.value) or node.field("value") or node.field("right")
    while value is not None and value.kind() not in grammar.lists:
        inner = [child for child in value.children() if child.is_named()]
        value = inner[0] if len(inner) == 1 else None
    return None if value is None else _parts(value, grammar)


def _parts(holder: SgNode, grammar: Grammar) -> Parts | None:
    children = holder.children()
    if len(children) < 2 or holder.kind() == "block_sequence":  # noqa: PLR2004  # two brackets
        return None
    if holder.kind() == "token_tree":
        return _token_parts(children)
    inner = [child for child in children[1:-1] if child.is_named() and "comment" not in child.kind()]
    spans = tuple((child.range().start.index, child.range().end.index) for child in inner)
    return Parts(spans=spans, start=children[0].range().end.index, end=children[-1].range().start.index, separator=grammar.separator)


def _token_parts(children: list[SgNode]) -> Parts:
    """Group the tokens of a Rust macro between commas."""
    spans: list[tuple[int, int]] = []
    group: list[SgNode] = []
    for child in [*children[1:-1], None]:
        if child is not None and child.text() != ",":
            group.append(child)
        elif group:
            spans.append((group[0].range().start.index, group[-1].range().end.index))
            group = []
    return Parts(spans=tuple(spans), start=children[0].range().end.index, end=children[-1].range().start.index, separator=",")


def _has_argument(node: SgNode, argument: str | None, grammar: Grammar) -> bool:
    if argument is None:
        return True
    parts = _arguments(node, grammar)
    whole = node.get_root().root().text()
    return parts is not None and argument in {whole[start:end] for start, end in parts.spans}


def parses(text: str, language: str) -> bool:
    """Say whether the grammar reads the text without an error; the languages' own parsers have the last word where there is one."""
    if language == "python":
        try:
            compile(text, "<edited>", "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return False
        return True
    if language == "json":
        try:
            json.loads(text)
        except (ValueError, RecursionError):
            return False
        return True
    return not _search(SgRoot(text, language).root(), {"kind": "ERROR"})
