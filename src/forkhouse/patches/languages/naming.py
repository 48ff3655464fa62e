"""Decide whether a node is the function, class, call or assignment with a name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from forkhouse.core.errors import PatchConflictError
from forkhouse.patches.languages.grammars import BUILT_IN
from forkhouse.patches.languages.trees import search

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ast_grep_py import SgNode


def built_ins(root: SgNode, name: str, language: str) -> list[SgNode]:
    """Return the commands and operators of a name that have nodes of their own."""
    found = search(root, {"any": [{"kind": kind} for kind in sorted(BUILT_IN[language])]})
    return [node for node in found if node.children() and node.children()[0].text() == name]


def named_by_typedef(root: SgNode, name: str) -> list[SgNode]:
    """Return each whole `typedef struct {…} NAME;` whose class has that name only by it."""
    found = []
    for node in search(root, {"kind": "type_definition"}):
        held = node.field("type")
        made = (
            held is not None
            and held.kind().endswith("_specifier")
            and held.field("body") is not None
        )
        own = held.field("name") if held is not None and made else None
        if (
            made
            and (own is None or own.text() != name)
            and [each.text() for each in node.field_children("declarator")] == [name]
        ):
            found.append(node)
    return found


def is_macro_name(said: str, name: str) -> bool:
    """Say whether a macro call is the one that is meant.

    It is selected by the macro's name alone, or with its arguments in any layout.
    """
    return "".join(said.split()) == "".join(name.split()) or said.partition("(")[0].strip() == name


def named_nodes(root: SgNode, kinds: Mapping[str, str], name: str) -> Iterator[SgNode]:
    """Yield the nodes of some kinds that have a given name, with the field that holds it."""
    found = [
        (node, field) for kind, field in kinds.items() for node in search(root, {"kind": kind})
    ]
    for node, field_name in sorted(found, key=lambda pair: pair[0].range().start.index):
        if node.kind().endswith("_specifier") and node.field("body") is None:
            continue  # a mention of a struct, not the struct
        if node.kind() == "field_declaration" and node.field("default_value") is None:
            continue  # a member without a value
        holders = node.field_children(field_name)
        if not any(_is_name(each, name, node.kind()) for each in holders):
            continue
        if node.kind() == "field_declaration" and len(holders) > 1:
            message = (
                f"{name} is declared together with other members: "
                f"'{' '.join(node.text().split())}'. Edit it by an `anchor`, in the language text."
            )
            raise PatchConflictError(message)
        if _is_name(holders[0], name, node.kind()):
            yield node


def _is_name(holder: SgNode, name: str, kind: str) -> bool:
    if kind == "function_definition" and holder.kind() == "parenthesized_declarator":
        # A macro with one argument, such as `MODULE(name) {`, looks like a type and a name in
        # brackets.
        definition = holder.parent()
        macro = None if definition is None else definition.field("type")
        return macro is not None and is_macro_name(f"{macro.text()}{holder.text()}", name)
    # A declarator wraps its name in pointers, parameters and templates; a key may be quoted.
    while holder.kind().endswith("declarator"):
        inner = holder.field("declarator")
        if inner is None:  # of a reference
            inner = next((child for child in reversed(holder.children()) if child.is_named()), None)
        if inner is None:
            break
        holder = inner
    said = (
        holder.text().partition("(")[0].strip()
        if holder.kind() == "operator_cast"
        else holder.text()
    )
    # A macro that makes a definition is named with its arguments.
    if "(" in name and kind == "function_definition" and holder.kind() != "operator_name":
        declarator = holder.parent()
        return declarator is not None and "".join(declarator.text().split()) == "".join(
            name.split()
        )
    if kind == "impl_item":
        # A struct and its implementation have one name; `impl NAME` is the implementation.
        definition = holder.parent()
        trait = definition.field("trait") if definition is not None else None
        return name in {
            f"impl {said}",
            f"impl {trait.text() if trait is not None else ''} for {said}",
        }
    if kind == "macro_invocation" and name.endswith("!"):
        name = name[:-1]
    if kind == "initializer_pair":
        return name in {said, said.removeprefix(".")}
    plain_name = _without_types(said)
    if name.startswith("."):  # a method, whatever it is called on
        return re.split(r"\.|->|::", plain_name)[-1] == name[1:] and plain_name != name[1:]
    return name in {said, said.strip("\"'"), plain_name, plain_name.rpartition("::")[2]}


def _without_types(said: str) -> str:
    """Return a name without the text between angle brackets.

    That text is the types of a template, or of a generic call.
    """
    while (shorter := re.sub(r"(?:::)?<[^<>]*>", "", said)) != said:
        said = shorter
    return said
