"""Name the nodes that selectors ask for, in the words of each grammar."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from forkhouse.patches.backends import Layout

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, kw_only=True, slots=True)
class Grammar:
    """The names of the nodes that selectors ask for.

    Each kind of node comes with the field that holds its name.
    """

    functions: Mapping[str, str] = field(default_factory=dict)
    classes: Mapping[str, str] = field(default_factory=dict)
    calls: Mapping[str, str] = field(default_factory=dict)
    assignments: Mapping[str, str] = field(default_factory=dict)
    arguments: str = "arguments"
    """The field of a call that holds its arguments."""
    value: str = "value"
    """The field of an assignment that holds the assigned value."""
    lists: frozenset[str] = frozenset()
    layout: Layout = Layout.COMMAS


_C = Grammar(
    functions={"function_definition": "declarator"},
    classes={"struct_specifier": "name", "union_specifier": "name", "enum_specifier": "name"},
    calls={"call_expression": "function"},
    assignments={
        "init_declarator": "declarator",
        "assignment_expression": "left",
        "preproc_def": "name",
        "preproc_function_def": "name",
        "enumerator": "name",
        "initializer_pair": "designator",
    },
    lists=frozenset({"initializer_list", "argument_list", "enumerator_list"}),
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
    "cpp": replace(
        _C,
        classes={**_C.classes, "class_specifier": "name"},
        assignments={
            **_C.assignments,
            "field_declaration": "declarator",
            "alias_declaration": "name",
        },
    ),
    "rust": Grammar(
        functions={"function_item": "name"},
        classes={
            "struct_item": "name",
            "enum_item": "name",
            "trait_item": "name",
            "impl_item": "type",
        },
        calls={"call_expression": "function", "macro_invocation": "macro"},
        assignments={
            "let_declaration": "pattern",
            "const_item": "name",
            "static_item": "name",
            "field_initializer": "field",
        },
        lists=frozenset(
            {
                *("array_expression", "tuple_expression", "arguments", "token_tree"),
                "field_initializer_list",
            }
        ),
    ),
    "bash": Grammar(
        functions={"function_definition": "name"},
        calls={"command": "name"},
        assignments={"variable_assignment": "name"},
        lists=frozenset({"array"}),
        layout=Layout.WORDS,
    ),
    # For patterns and rules alone; keys and items are read by `data`.
    "yaml": Grammar(),
    "json": Grammar(),
}


WRAPPERS = frozenset(
    {
        "stream",
        "document",
        "block_node",
        "flow_node",
        "expression_statement",
        "parenthesized_expression",
    }
)
"""Nodes that hold one other node and add nothing to it."""


BUILT_INS_OF_C = frozenset(
    {"offsetof_expression", "sizeof_expression", "alignof_expression", "static_assert_declaration"}
)


BUILT_IN = {
    "bash": frozenset({"unset_command", "declaration_command", "test_command"}),
    "c": BUILT_INS_OF_C - {"static_assert_declaration"},
    "cpp": BUILT_INS_OF_C,
}
"""Shell commands and C operators that have nodes of their own, by their first word.

Examples are `unset`, `[` and `offsetof`.
"""
