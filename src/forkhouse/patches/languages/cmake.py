"""Read and prove CMake files through CMake's tree-sitter grammar."""

from __future__ import annotations

import re
from bisect import bisect_right
from functools import cache, lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

from forkhouse.core.errors import PatchConflictError
from forkhouse.patches import guard, nodes
from forkhouse.patches.backends import Layout, Node, Parts, UnprovenError, indentation
from forkhouse.patches.languages import text as plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tree_sitter import Node as TreeNode
    from tree_sitter import Parser

    from forkhouse.patches.backends import Step
    from forkhouse.patches.edits import Selector


@cache
def _parser() -> Parser:
    import tree_sitter_cmake  # start-up time
    from tree_sitter import Language, Parser

    return Parser(Language(tree_sitter_cmake.language()))


_BLANKS = 5000
"""The greatest number of blanks in a row that a file may have."""


class _Source:
    """A text with its tree. The tree counts bytes, everything else here counts characters."""

    def __init__(self, text: str) -> None:
        self.text = text
        # The grammar needs quadratic time for many blanks when it recovers from an error.
        if any(len(run) > _BLANKS for run in re.findall(r"\s+", text)):
            message = (
                "The file has thousands of blanks in a row, which the grammar cannot read. Edit it "
                "as `text`."
            )
            raise PatchConflictError(message)
        try:
            self._bytes = text.encode("utf-8")
        except UnicodeEncodeError as error:
            message = f"not text: {error}"
            raise PatchConflictError(message) from error
        self.root = _parser().parse(self._bytes).root_node
        # The ends of characters of several bytes, and the surplus of bytes over characters there.
        self._wide: list[int] = []
        self._surplus = [0]
        position = 0
        for character in text if len(self._bytes) != len(text) else "":
            width = len(character.encode("utf-8"))
            position += width
            if width > 1:
                self._wide.append(position)
                self._surplus.append(self._surplus[-1] + width - 1)

    def span(self, node: TreeNode) -> tuple[int, int]:
        return self._place(node.start_byte), self._place(node.end_byte)

    def _place(self, byte: int) -> int:
        return byte - self._surplus[bisect_right(self._wide, byte)]

    def said(self, node: TreeNode) -> str:
        start, end = self.span(node)
        return self.text[start:end]


@lru_cache(maxsize=4)
def _source(text: str) -> _Source:
    """Return a text with its tree.

    The last few are kept: an operation, its proof and the next operation ask for the same.
    """
    return _Source(text)


def _walk(node: TreeNode) -> Iterator[TreeNode]:
    stack = [node]
    while stack:
        current = stack.pop()
        yield current
        stack.extend(reversed(current.children))


def find(text: str, selector: Selector, language: str) -> list[Node]:
    """Return what a selector matches.

    Commands are matched by name, and the `set` of a variable as its assignment. Functions and
    macros are scopes.
    """
    if selector.anchor is not None:
        return plain.find(text, selector, language)
    source = _source(text)
    if selector.call is not None or selector.assignment is not None:
        return _commands(source, selector)
    if selector.function is not None:
        found = []
        for definition in _walk(source.root):
            if definition.type not in {"function_def", "macro_def"}:
                continue
            parts = _arguments(source, definition.children[0])
            start, end = source.span(definition)
            if (
                parts
                and parts.spans
                and _is_function(source.text[slice(*parts.spans[0])], selector.function)
            ):
                found.append(
                    Node(start=start, end=len(text[:end].rstrip()), head=_head(source, definition))
                )
        return found
    message = (
        "CMake knows call, assignment, function and anchor; it has no classes, keys, patterns or "
        "rules here."
    )
    raise PatchConflictError(message)


def _is_function(said: str, name: str) -> bool:
    """Say whether a function is the one of a name: CMake knows no case, and no quotes around it."""
    return said.strip('"').casefold() == name.casefold()


_COMMENT_KINDS = frozenset({"line_comment", "bracket_comment"})


def _head(source: _Source, node: TreeNode) -> int | None:
    """Return the start of the comments that stand directly above a command.

    Returns None if there are none, or if they are the head of the file.
    """
    text = source.text
    first, previous = source.span(node)[0], node.prev_sibling
    while previous is not None and previous.type in _COMMENT_KINDS:
        start, end = source.span(previous)
        if (
            text[end:first].strip()
            or text[end:first].count("\n") > 1
            or indentation(text, start) is None
        ):
            break
        first, previous = start, previous.prev_sibling
    return first if first < source.span(node)[0] and text[:first].strip("\ufeff \t\r\n") else None


def _commands(source: _Source, selector: Selector) -> list[Node]:
    name = (selector.call or "set").casefold()
    nodes = []
    for command in _walk(source.root):
        if (
            not command.type.endswith("_command")
            or not command.children
            or source.said(command.children[0]).casefold() != name
        ):
            continue
        parts = _arguments(source, command)
        words = [source.text[start:end] for start, end in parts.spans] if parts else []
        if selector.assignment is not None and words[:1] != [selector.assignment]:
            continue
        if selector.argument is not None and selector.argument not in words:
            continue
        start, end = source.span(command)
        values = None
        if parts and parts.spans and name == "set":
            values = Parts(
                spans=parts.spans[1 : _values_end(words)],
                start=parts.spans[0][1],
                end=parts.end,
                layout=Layout.WORDS,
            )
        nodes.append(
            Node(
                start=start,
                end=end,
                arguments=parts,
                items=values,
                head=_head(source, command),
                scope=_block(source, command),
            )
        )
    return nodes


def commands(text: str) -> Iterator[tuple[int, str]]:
    """Yield all commands of a file in order, each with its position and its text."""
    source = _source(text)
    for node in _walk(source.root):
        if node.type.endswith("_command"):
            yield source.span(node)[0], source.said(node)


def is_code(text: str, place: int) -> bool:
    """Say whether a place lies in no comment and in no quoted or bracketed argument."""
    source = _source(text)
    spans = [
        source.span(node)
        for node in _walk(source.root)
        if node.type in {*_COMMENT_KINDS, "quoted_argument", "bracket_argument"}
    ]
    return not any(start < place < end for start, end in spans)


_BLOCKS = frozenset({"if_condition", "foreach_loop", "while_loop", "block_def"})


def _block(source: _Source, command: TreeNode) -> tuple[int, int] | None:
    """Return the block that a command begins, such as `if`, up to the command that ends it.

    None for other commands.
    """
    parent = command.parent
    begins = (
        parent is not None
        and parent.type in _BLOCKS
        and parent.children[0].start_byte == command.start_byte
    )
    return source.span(parent) if begins and parent is not None else None


_SEVERAL = re.compile(r"(?!\"|\[=*\[).*(?:\$\w*\{|;|@\w+@)", re.DOTALL)
"""A word that CMake may expand to no word, or to several."""


def _values_end(words: list[str]) -> int:
    """Return how many words of a `set` come before those that say where the value goes.

    CMake finds these last words from the end of the command.
    """
    for place, word in enumerate(words[1:], start=1):
        behind = words[place + 1 :]
        sure = [each for each in behind if not _SEVERAL.match(each)]
        forced = sure[-1:] == ["FORCE"]
        # After CACHE come a type, a text and maybe FORCE.
        whole = len(sure) - forced == 2 if sure == behind else len(sure) <= 3
        if (word.strip('"') == "PARENT_SCOPE" and not sure) or (
            word.strip('"') == "CACHE" and whole
        ):
            return place
    return len(words)


def _arguments(source: _Source, command: TreeNode) -> Parts | None:
    brackets = [child for child in command.children if child.type in {"(", ")"}]
    if len(brackets) != 2:  # an opening and a closing one
        return None
    holder = next((child for child in command.children if child.type == "argument_list"), None)
    spans: list[tuple[int, int]] = []
    depth = opened = 0
    for child in holder.children if holder else []:
        start, end = source.span(child)
        if child.type == "(":
            opened, depth = (start if depth == 0 else opened), depth + 1
        elif child.type == ")":
            depth -= 1
            if depth == 0:
                spans.append((opened, end))
        elif child.type == "argument" and depth == 0:
            # CMake takes `-DX="y"` for one argument, the quotes included.
            goes_on = (
                bool(spans) and spans[-1][1] == start and source.text[spans[-1][0]] not in '"[('
            )
            spans[-1:] = [(spans[-1][0], end)] if goes_on else [*spans[-1:], (start, end)]
    return Parts(
        spans=tuple(spans),
        start=source.span(brackets[0])[1],
        end=source.span(brackets[1])[0],
        layout=Layout.WORDS,
    )


def faults(text: str, language: str) -> int:  # the protocol's signature
    """Return how many places the grammar cannot read."""
    try:
        root = _source(text).root
    except PatchConflictError:
        return 1
    return sum(node.is_error or node.is_missing for node in _walk(root)) if root.has_error else 0


class _Tree:
    """A node of the grammar, as the proof reads it."""

    __slots__ = ("_inner", "_node", "_source", "end", "kind", "role", "start")

    def __init__(self, node: TreeNode, source: _Source) -> None:
        self._node, self._source = node, source
        self._inner: list[nodes.Tree] | None = None
        self.kind = node.type
        self.start, self.end = source.span(node)
        while self.end > self.start and source.text[self.end - 1] in "\r\n\t ":
            self.end -= 1
        if node.is_error or node.is_missing:
            self.role = nodes.NodeRole.FAULT
        else:
            self.role = (
                nodes.NodeRole.COMMENT if self.kind in _COMMENT_KINDS else nodes.NodeRole.CODE
            )

    def children(self) -> list[nodes.Tree]:
        if self._inner is None:
            self._inner = [_Tree(node, self._source) for node in self._node.children]
        return self._inner


def prove(step: Step) -> None:
    """Raise UnprovenError unless only what was meant has changed (see `guard`)."""
    before, after = (_source(text) for text in (step.before, step.after))
    if _shared_lines(after) > _shared_lines(before):
        what = "two commands would share a line, which CMake does not read"
        raise UnprovenError(what, text=step.before, position=step.splices[0][0])
    guard.prove(_Tree(before.root, before), _Tree(after.root, after), step, inner_lines)


def _shared_lines(source: _Source) -> int:
    """Return how many commands begin on a line on which another one ends."""
    commands = [
        node for node in _walk(source.root) if node.type.endswith("_command") and node.children
    ]
    return sum(one.end_point.row == other.start_point.row for one, other in pairwise(commands))


def inner_lines(text: str, language: str) -> set[int]:  # the protocol's signature
    """Return the numbers, from 0, of the lines that begin in a quoted or bracketed argument."""
    lines: set[int] = set()
    for node in _walk(_source(text).root):
        if node.type in {"quoted_argument", "bracket_argument"}:
            lines.update(range(node.start_point.row + 1, node.end_point.row + 1))
    return lines
