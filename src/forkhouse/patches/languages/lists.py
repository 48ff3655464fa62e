"""Find the arguments of a call and the items of a list one by one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from forkhouse.patches.backends import Layout, Parts
from forkhouse.patches.languages import shell
from forkhouse.patches.languages.grammars import BUILT_IN, BUILT_INS_OF_C, WRAPPERS, Grammar
from forkhouse.patches.languages.trees import readable, span_of

if TYPE_CHECKING:
    from collections.abc import Container

    from ast_grep_py import SgNode


def if_seen(parts: Parts | None, text: str, language: str) -> Parts | None:
    """Return the parts of a list, or None if hidden text stands between them.

    The grammar sees blanks there, but a macro may stand for some of the parts.
    """
    if parts is None or language not in {"c", "cpp"} or (shown := readable(text, language)) == text:
        return parts
    edges = [parts.start, *(edge for span in parts.spans for edge in span), parts.end]
    gaps = zip(edges[::2], edges[1::2], strict=True)
    return parts if all(text[start:end] == shown[start:end] for start, end in gaps) else None


def arguments_of(node: SgNode, grammar: Grammar) -> Parts | None:
    """Return the arguments of a call, or None if the grammar cannot tell them apart."""
    if node.kind() in BUILT_INS_OF_C:
        return _bracketed(node)
    if node.kind() in BUILT_IN["bash"] - {"test_command"}:
        first, *words = node.children()
        spans = tuple((word.range().start.index, word.range().end.index) for word in words)
        return Parts(
            spans=spans,
            start=first.range().end.index,
            end=node.range().end.index,
            layout=Layout.LINE,
        )
    call = _inside(node, grammar.calls)
    if call is None or not grammar.calls:
        return None
    if call.kind() == "command":
        name = call.field("name")
        if name is None or _has_words_behind(call):
            return None
        behind = [
            child
            for child in call.children()
            if child.range().start.index >= name.range().end.index
        ]
        words = [child for child in behind if not child.kind().endswith("_redirect")]
        if words != behind[: len(words)] or _has_descriptor(call, words):
            return None  # a redirection stands between them, or a part of it
        spans = tuple((word.range().start.index, word.range().end.index) for word in words)
        return Parts(
            spans=spans,
            start=name.range().end.index,
            end=call.range().end.index,
            layout=Layout.LINE,
        )
    holder = call.field(grammar.arguments)
    if holder is None:
        holder = next((child for child in call.children() if child.kind() == "token_tree"), None)
    # An iterator as the only argument of a call in Python has no list around it.
    return None if holder is None or holder.kind() not in grammar.lists else _parts(holder, grammar)


def _has_descriptor(command: SgNode, words: list[SgNode]) -> bool:
    """Say whether the last word is the variable of a redirection, as in `{fd}>file`.

    The grammar takes it for an argument.
    """
    end = command.range().end.index
    text = command.get_root().root().text()
    return (
        bool(words)
        and re.fullmatch(r"\{\w+\}", words[-1].text()) is not None
        and text[end : end + 1] in {"<", ">", "&"}
    )


def _has_words_behind(command: SgNode) -> bool:
    """Say whether arguments follow a redirection, which the grammar takes for parts of it."""
    statement = command.parent()
    redirects = (
        statement.children()
        if statement is not None and statement.kind() == "redirected_statement"
        else []
    )
    for redirect in [
        each for each in (*redirects, *command.children()) if each.kind().endswith("_redirect")
    ]:
        words = [
            each
            for each in redirect.children()
            if each.is_named() and not each.kind().startswith(("heredoc", "file_descriptor"))
        ]
        own = 0 if redirect.kind() == "heredoc_redirect" else 1
        if (
            any(each.kind() == "ERROR" for each in words)
            or sum(not each.kind().endswith("_redirect") for each in words) > own
        ):
            return True
    return False


def _bracketed(node: SgNode) -> Parts | None:
    """Return the arguments between the brackets of a C operator that looks like a call.

    Returns None if it has no brackets.
    """
    holder = next(
        (child for child in node.children() if child.kind() == "parenthesized_expression"), node
    )
    children = holder.children()
    first = next((place for place, child in enumerate(children) if child.text() == "("), None)
    last = next(
        (place for place in reversed(range(len(children))) if children[place].text() == ")"), None
    )
    if first is None or last is None:
        return None
    inner = children[first + 1 : last]
    spans = tuple(
        span_of(child) for child in inner if child.is_named() and "comment" not in child.kind()
    )
    commas = tuple(child.range().start.index for child in inner if child.text() == ",")
    if len(spans) != len(commas) + 1:
        return None  # a member of a member, which the grammar does not read
    return Parts(
        spans=spans,
        start=children[first].range().end.index,
        end=children[last].range().start.index,
        commas=commas,
    )


def _inside(node: SgNode | None, kinds: Container[str]) -> SgNode | None:
    """Return the node of a given kind that a match is, or that the match only wraps."""
    while node is not None and node.kind() not in kinds:
        node = only_child(node) if node.kind() in WRAPPERS else None
    return node


def only_child(node: SgNode) -> SgNode | None:
    """Return the only child of a node, without comments, or None if there are more or none."""
    inner = [
        child for child in node.children() if child.is_named() and "comment" not in child.kind()
    ]
    return inner[0] if len(inner) == 1 else None


def items_of(node: SgNode, grammar: Grammar) -> Parts | None:
    """Return the items of a list, or None for a node that is none or has unclear items."""
    value: SgNode | None = node
    while value is not None and value.kind() not in grammar.lists:
        value = (
            value.field(grammar.value)
            or value.field("value")
            or value.field("right")
            or value.field("declarator")
            or only_child(value)
        )
    return None if value is None else _parts(value, grammar)


def _parts(holder: SgNode, grammar: Grammar) -> Parts | None:
    children = holder.children()
    start, end = span_of(holder)
    if len(children) < 2:  # two brackets
        return None
    start, end = children[0].range().end.index, children[-1].range().start.index
    commas = tuple(child.range().start.index for child in children if child.text() == ",")
    if holder.kind() == "token_tree":
        if any(child.text() == ";" for child in children):
            return None  # `vec![0; 3]`: no list
        return Parts(spans=_token_parts(children), start=start, end=end, commas=commas)
    inner = [
        child for child in children[1:-1] if child.is_named() and "comment" not in child.kind()
    ]
    if any(child.kind() == "ERROR" or child.kind().startswith("preproc_") for child in inner):
        return None  # some of them are there under a condition only
    return Parts(
        spans=tuple(span_of(child) for child in inner),
        start=start,
        end=end,
        commas=commas,
        layout=grammar.layout,
        lone_comma=holder.kind() in {"tuple", "tuple_expression"},
    )


def _token_parts(children: list[SgNode]) -> tuple[tuple[int, int], ...]:
    """Divide the tokens of a Rust macro into groups at its commas."""
    spans: list[tuple[int, int]] = []
    group: list[SgNode] = []
    for child in [*children[1:-1], None]:
        if child is not None and child.text() != ",":
            group.append(child)
        elif group:
            spans.append((group[0].range().start.index, group[-1].range().end.index))
            group = []
    return tuple(spans)


def has_argument(node: SgNode, argument: str | None, grammar: Grammar, text: str) -> bool:
    """Say whether a call has an argument; this is true if no argument is asked for."""
    if argument is None:
        return True
    parts = arguments_of(node, grammar)
    return parts is not None and argument in {text[start:end] for start, end in parts.spans}


def among_of(node: SgNode, grammar: Grammar) -> tuple[Parts, int] | None:
    """Return the list that a match is a part of, if it is one."""
    parent = node.parent()
    while parent is not None and parent.kind() in WRAPPERS:
        parent = parent.parent()
    if parent is None:
        return None
    if (words := shell.words_beside(node)) is not None:
        return words
    if parent.kind() == "declaration" and len(parent.field_children("declarator")) > 1:
        commas = tuple(
            child.range().start.index for child in parent.children() if child.text() == ","
        )
        spans = tuple(span_of(child) for child in parent.field_children("declarator"))
        parts: Parts | None = Parts(spans=spans, start=spans[0][0], end=spans[-1][1], commas=commas)
    elif parent.kind() in grammar.lists - {"token_tree"}:
        parts = _parts(parent, grammar)
    else:
        return None
    start, end = span_of(node)
    positions = (
        [position for position, span in enumerate(parts.spans) if span == (start, end)]
        if parts is not None
        else []
    )
    return (parts, positions[0]) if parts is not None and positions else None
