"""CMake, through its tree-sitter grammar."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from forkhouse.errors import PatchConflictError
from forkhouse.patches.languages import Node, Parts
from forkhouse.patches.languages import text as plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tree_sitter import Node as TreeNode
    from tree_sitter import Parser

    from forkhouse.patches.edits import Selector


@cache
def _parser() -> Parser:
    import tree_sitter_cmake  # noqa: PLC0415  # start-up time
    from tree_sitter import Language, Parser  # noqa: PLC0415

    return Parser(Language(tree_sitter_cmake.language()))


class _Source:
    """A text with its tree. The tree counts bytes, everything else here counts characters."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._bytes = text.encode("utf-8")
        self.root = _parser().parse(self._bytes).root_node

    def span(self, node: TreeNode) -> tuple[int, int]:
        if len(self._bytes) == len(self.text):
            return node.start_byte, node.end_byte
        start = len(self._bytes[: node.start_byte].decode("utf-8"))
        return start, start + len(self._bytes[node.start_byte : node.end_byte].decode("utf-8"))

    def said(self, node: TreeNode) -> str:
        start, end = self.span(node)
        return self.text[start:end]


def _walk(node: TreeNode, kinds: frozenset[str]) -> Iterator[TreeNode]:
    stack = [node]
    while stack:
        current = stack.pop()
        if current.type in kinds:
            yield current
        stack.extend(reversed(current.children))


def find(text: str, selector: Selector, language: str) -> list[Node]:
    """Return what a selector matches: commands by name, `set` of a variable as its assignment, functions and macros as scopes."""
    if selector.anchor is not None:
        return plain.find(text, selector, language)
    source = _Source(text)
    if selector.call is not None or selector.assignment is not None:
        name = (selector.call or "set").casefold()
        nodes = []
        for command in _walk(source.root, frozenset({"normal_command"})):
            parts = _arguments(source, command)
            words = [source.text[start:end] for start, end in parts.spans] if parts else []
            if source.said(command.children[0]).casefold() != name:
                continue
            if selector.assignment is not None and words[:1] != [selector.assignment]:
                continue
            if selector.argument is not None and selector.argument not in words:
                continue
            start, end = source.span(command)
            values = None
            if parts and selector.assignment is not None:
                values = Parts(spans=parts.spans[1:], start=parts.spans[0][1], end=parts.end, separator="")
            nodes.append(Node(start=start, end=end, arguments=parts, items=values))
        return nodes
    if selector.function is not None:
        found = []
        for definition in _walk(source.root, frozenset({"function_def", "macro_def"})):
            parts = _arguments(source, definition.children[0])
            start, end = source.span(definition)
            if parts and parts.spans and source.text[slice(*parts.spans[0])] == selector.function:
                found.append(Node(start=start, end=end))
        return found
    message = "CMake knows call, assignment, function and anchor; it has no classes, patterns or rules here."
    raise PatchConflictError(message)


def _arguments(source: _Source, command: TreeNode) -> Parts | None:
    brackets = [child for child in command.children if child.type in {"(", ")"}]
    if len(brackets) != 2:  # noqa: PLR2004  # an opening and a closing one
        return None
    holder = next((child for child in command.children if child.type == "argument_list"), None)
    words = [child for child in holder.children if child.type == "argument"] if holder else []
    return Parts(
        spans=tuple(source.span(word) for word in words),
        start=source.span(brackets[0])[1],
        end=source.span(brackets[1])[0],
        separator="",
    )


def parses(text: str, language: str) -> bool:  # noqa: ARG001  # the protocol's signature
    """Say whether the grammar reads the text without an error."""
    return not _Source(text).root.has_error
