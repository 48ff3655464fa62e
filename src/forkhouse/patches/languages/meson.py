"""Meson, through the lexer and parser of mesonbuild itself; its printer is not used, as spans leave every other byte alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from forkhouse.errors import PatchConflictError
from forkhouse.patches.languages import Node, Parts
from forkhouse.patches.languages import text as plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forkhouse.patches.edits import Selector

_OPENING = {"lparen": "rparen", "lbracket": "rbracket", "lcurl": "rcurl"}
_LAYOUT = frozenset({"eol", "comment", "whitespace", "eol_cont"})


@dataclass(frozen=True, kw_only=True, slots=True)
class _Token:
    kind: str
    start: int
    end: int
    text: str


def _tokens(text: str) -> list[_Token]:
    """Return the tokens of a build file with their places. Raises PatchConflictError for what Meson cannot read."""
    from mesonbuild.mesonlib import MesonException  # noqa: PLC0415  # start-up time
    from mesonbuild.mparser import Lexer  # noqa: PLC0415

    try:
        return [
            _Token(kind=token.tid, start=token.bytespan[0], end=token.bytespan[1], text=text[token.bytespan[0] : token.bytespan[1]])
            for token in Lexer(text).lex("meson.build")
        ]
    except MesonException as error:
        message = f"not a Meson file: {error}"
        raise PatchConflictError(message) from error


def _closing(tokens: Sequence[_Token], opening: int) -> int | None:
    """Return where the bracket at `opening` is closed."""
    depth = 0
    for position in range(opening, len(tokens)):
        if tokens[position].kind in _OPENING:
            depth += 1
        elif tokens[position].kind in _OPENING.values():
            depth -= 1
            if depth == 0:
                return position
    return None


def _parts(tokens: Sequence[_Token], opening: int, closing: int) -> Parts:
    spans: list[tuple[int, int]] = []
    group: list[_Token] = []
    depth = 0
    for token in [*tokens[opening + 1 : closing], None]:
        if token is not None and not (token.kind == "comma" and depth == 0):
            depth += (token.kind in _OPENING) - (token.kind in _OPENING.values())
            if token.kind not in _LAYOUT:
                group.append(token)
        elif group:
            spans.append((group[0].start, group[-1].end))
            group = []
    return Parts(spans=tuple(spans), start=tokens[opening].end, end=tokens[closing].start, separator=",")


def find(text: str, selector: Selector, language: str) -> list[Node]:
    """Return what a selector matches: calls of functions and methods by name, and assignments by their target."""
    if selector.anchor is not None:
        return plain.find(text, selector, language)
    if selector.call is None and selector.assignment is None:
        message = "Meson knows call, assignment and anchor; it has no functions, classes, patterns or rules here."
        raise PatchConflictError(message)
    tokens = [token for token in _tokens(text) if token.kind not in {"whitespace", "comment"}]
    return _calls(text, tokens, selector) if selector.call is not None else _assignments(tokens, selector)


def _calls(text: str, tokens: Sequence[_Token], selector: Selector) -> list[Node]:
    nodes = []
    for position in range(len(tokens) - 1):
        if tokens[position].kind != "id" or tokens[position].text != selector.call or tokens[position + 1].kind != "lparen":
            continue
        closing = _closing(tokens, position + 1)
        if closing is None:
            continue
        parts = _parts(tokens, position + 1, closing)
        words = {text[start:end] for start, end in parts.spans}
        if selector.argument is None or selector.argument in words:
            nodes.append(Node(start=tokens[position].start, end=tokens[closing].end, arguments=parts))
    return nodes


def _assignments(tokens: Sequence[_Token], selector: Selector) -> list[Node]:
    nodes = []
    for position in range(len(tokens) - 2):
        first, sign = tokens[position], tokens[position + 1]
        if first.kind != "id" or first.text != selector.assignment or sign.kind not in {"assign", "plusassign"}:
            continue
        # Inside brackets an `=` cannot stand, so this is a statement; it ends with its line, brackets kept together.
        value = position + 2
        last = value
        while last < len(tokens) and tokens[last].kind not in {"eol", "eof"}:
            last = (_closing(tokens, last) or last) + 1 if tokens[last].kind in _OPENING else last + 1
        closing = _closing(tokens, value) if tokens[value].kind == "lbracket" else None
        items = _parts(tokens, value, closing) if closing is not None else None
        nodes.append(Node(start=first.start, end=tokens[last - 1].end, items=items))
    return nodes


def parses(text: str, language: str) -> bool:  # noqa: ARG001  # the protocol's signature
    """Say whether Meson's own parser reads the text."""
    from mesonbuild.mesonlib import MesonException  # noqa: PLC0415  # start-up time
    from mesonbuild.mparser import Parser  # noqa: PLC0415

    try:
        Parser(text, "meson.build").parse()
    except (MesonException, RecursionError):
        return False
    return True
