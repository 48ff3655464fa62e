"""Read and prove Meson files through the lexer and parser of mesonbuild itself.

Its printer is not used: spans leave every other byte alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from forkhouse.core.errors import PatchConflictError
from forkhouse.patches import guard, nodes
from forkhouse.patches.backends import Node, Parts, UnprovenError, above_comments
from forkhouse.patches.languages import text as plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from forkhouse.patches.backends import Step
    from forkhouse.patches.edits import Selector

_OPENING = {"lparen": "rparen", "lbracket": "rbracket", "lcurl": "rcurl"}
_CLOSING = frozenset(_OPENING.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class _Token:
    kind: str
    start: int
    end: int
    text: str
    closing: int = -1
    """For an opening bracket, the position of the token that closes it."""


def _readable(text: str) -> str:
    """Return a text of equal length as Meson reads it from a file: without carriage returns."""
    return text.replace("\r\n", " \n")


def _tokens(text: str) -> list[_Token]:
    """Return the tokens of a build file with their positions, without layout tokens.

    Raises PatchConflictError for a text that Meson cannot read.
    """
    lexed = [token for token in _lexed(text) if token.kind != "comment"]
    closing = _matched([token.kind for token in lexed])
    return [
        replace(token, closing=closing.get(position, -1)) for position, token in enumerate(lexed)
    ]


def _lexed(text: str) -> list[_Token]:
    """Return the tokens of a build file with their positions, including comments.

    Raises PatchConflictError for a text that Meson cannot read.
    """
    from mesonbuild import mlog  # start-up time
    from mesonbuild.mesonlib import MesonException
    from mesonbuild.mparser import Lexer

    try:
        with mlog.no_logging():
            lexed = [
                token
                for token in Lexer(_readable(text)).lex("meson.build")
                if token.tid != "whitespace"
            ]
    except MesonException as error:
        message = f"not a Meson file: {error}"
        raise PatchConflictError(message) from error
    return [
        _Token(
            kind=token.tid,
            start=token.bytespan[0],
            end=token.bytespan[1],
            text=text[token.bytespan[0] : token.bytespan[1]],
        )
        for token in lexed
    ]


def _matched(kinds: Sequence[str]) -> dict[int, int]:
    """Return the closing bracket of each opening bracket."""
    matched = {}
    opened: list[int] = []
    for position, kind in enumerate(kinds):
        if kind in _OPENING:
            opened.append(position)
        elif kind in _CLOSING and opened:
            matched[opened.pop()] = position
    return matched


def _parts(tokens: Sequence[_Token], opening: int) -> Parts:
    closing = tokens[opening].closing
    spans: list[tuple[int, int]] = []
    commas: list[int] = []
    group: list[_Token] = []
    position = opening + 1
    while position < closing:
        token = tokens[position]
        if token.kind == "comma":
            commas.append(token.start)
            if group:
                spans.append((group[0].start, group[-1].end))
            group = []
        elif token.kind != "eol":
            group.append(token)
            if token.closing > position:
                position = token.closing
                group.append(tokens[position])
        position += 1
    if group:
        spans.append((group[0].start, group[-1].end))
    return Parts(
        spans=tuple(spans),
        start=tokens[opening].end,
        end=tokens[closing].start,
        commas=tuple(commas),
    )


def find(text: str, selector: Selector, language: str) -> list[Node]:
    """Return what a selector matches.

    Calls of functions and methods are matched by name, and assignments by their target.
    """
    if selector.anchor is not None:
        return plain.find(text, selector, language)
    if selector.call is None and selector.assignment is None:
        message = (
            "Meson knows call, assignment and anchor; it has no functions, classes, keys, patterns "
            "or rules here."
        )
        raise PatchConflictError(message)
    tokens = _tokens(text)
    return (
        _calls(text, tokens, selector)
        if selector.call is not None
        else _assignments(text, tokens, selector)
    )


def _calls(text: str, tokens: Sequence[_Token], selector: Selector) -> list[Node]:
    nodes = []
    said = "".join((selector.call or "").split())
    name = said.rpartition(".")[2]
    for position in range(len(tokens) - 1):
        if (
            tokens[position].kind != "id"
            or tokens[position].text != name
            or tokens[position + 1].closing < 0
        ):
            continue
        method = position > 0 and tokens[position - 1].kind == "dot"
        if tokens[position + 1].kind != "lparen" or (name != said and not method):
            continue
        first = _chain(tokens, position) if not said.startswith(".") and name != said else position
        if (
            first != position
            and "".join(token.text for token in tokens[first : position + 1] if token.kind != "eol")
            != said
        ):
            continue
        parts = _parts(tokens, position + 1)
        words = {text[start:end] for start, end in parts.spans}
        if selector.argument is None or selector.argument in words:
            start, end = tokens[first].start, tokens[tokens[position + 1].closing].end
            nodes.append(
                Node(start=start, end=end, arguments=parts, head=above_comments(text, start, "#"))
            )
    return nodes


def _chain(tokens: Sequence[_Token], method: int) -> int:
    """Return the start of the object that a method is called on.

    The object is a name, or a chain of calls and indexes.
    """
    opening = {
        token.closing: position for position, token in enumerate(tokens) if token.closing >= 0
    }
    at = method
    while at >= 2 and tokens[at - 1].kind == "dot":  # something to call it on, and the dot
        at = _operand(tokens, at - 2, opening)
    return at


def _operand(tokens: Sequence[_Token], end: int, opening: Mapping[int, int]) -> int:
    """Return the start of the operand that ends at a token.

    The operand is a name or a literal, with the calls and indexes behind it.
    """
    at = end
    while at in opening:
        at = opening[at]
        if at == 0 or tokens[at - 1].kind not in {"id", *_CLOSING}:
            return at
        at -= 1
    return at


def _assignments(text: str, tokens: Sequence[_Token], selector: Selector) -> list[Node]:
    nodes = []
    for position in range(len(tokens) - 2):
        first, sign = tokens[position], tokens[position + 1]
        if (
            first.kind != "id"
            or first.text != selector.assignment
            or sign.kind not in {"assign", "plusassign"}
        ):
            continue
        # Inside brackets an `=` cannot stand, so this is a statement; it ends with its line,
        # brackets kept together.
        value = last = position + 2
        while last < len(tokens) and tokens[last].kind != "eol":
            last = max(tokens[last].closing, last) + 1
        if last == value:
            continue
        # A list that something is added to, or that is added to something, is not the whole value:
        # its items are not told apart.
        whole = tokens[value].kind == "lbracket" and tokens[value].closing == last - 1
        items = _parts(tokens, value) if whole else None
        nodes.append(
            Node(
                start=first.start,
                end=tokens[last - 1].end,
                items=items,
                head=above_comments(text, first.start, "#"),
            )
        )
    return nodes


def faults(text: str, language: str) -> int:  # the protocol's signature
    """Return 1 if Meson's own parser does not read the text, or the count of `_misshapen`."""
    from mesonbuild import mlog  # start-up time
    from mesonbuild.mesonlib import MesonException
    from mesonbuild.mparser import Parser

    try:
        with mlog.no_logging():
            Parser(_readable(text), "meson.build").parse()
        return _misshapen(text)
    except (MesonException, PatchConflictError, RecursionError):
        return 1


def statements(text: str) -> Iterator[tuple[int, str]]:
    """Yield all statements of a file in order, each with its position and its text.

    Raises PatchConflictError.
    """
    held: list[_Token] = []
    for token in _lexed(text):
        if token.kind == "eol":
            if held:
                yield held[0].start, text[held[0].start : held[-1].end]
            held = []
        elif token.kind != "comment":
            held.append(token)
    if held:
        yield held[0].start, text[held[0].start : held[-1].end]


@dataclass(frozen=True, slots=True)
class _Tree:
    """A token, a bracket, a statement or a block of statements, in the form for the proof.

    Meson's own tree has no comments.
    """

    kind: str
    start: int
    end: int
    role: nodes.NodeRole = nodes.NodeRole.CODE
    inner: tuple[_Tree, ...] = ()

    def children(self) -> tuple[_Tree, ...]:
        return self.inner


_BLOCKS = {"if": "endif", "foreach": "endforeach"}


def _tree(text: str) -> _Tree:
    """Return the tree of a text.

    Raises PatchConflictError for a text that Meson cannot read.
    """
    open_nodes: list[tuple[str, str, list[_Tree]]] = [("file", "", []), ("statement", "", [])]

    def close() -> None:
        kind, _, inner = open_nodes.pop()
        if inner:
            open_nodes[-1][2].append(_Tree(kind, inner[0].start, inner[-1].end, inner=tuple(inner)))

    for token in _lexed(text):
        end = (
            token.start + len(text[token.start : token.end].rstrip())
            if token.kind == "comment"
            else token.end
        )
        leaf = _Tree(
            token.kind,
            token.start,
            end,
            nodes.NodeRole.COMMENT if token.kind == "comment" else nodes.NodeRole.CODE,
        )
        kind, closing, inner = open_nodes[-1]
        if token.kind in _OPENING:
            open_nodes.append(("bracket", _OPENING[token.kind], [leaf]))
        elif token.kind == closing and kind == "bracket":
            inner.append(leaf)
            close()
        elif token.kind in _BLOCKS and kind == "statement" and not inner:
            open_nodes[-1] = ("block", _BLOCKS[token.kind], [])
            open_nodes.append(("statement", "", [leaf]))
        elif token.kind == "eol" or (token.kind == "comment" and kind == "statement" and not inner):
            if token.kind == "comment":
                open_nodes[-2][2].append(leaf)
                continue
            if kind == "statement":
                close()
                ended = inner[-1].kind if inner else ""
                if open_nodes[-1][0] == "block" and ended == open_nodes[-1][1]:
                    close()
                open_nodes.append(("statement", "", []))
        else:
            inner.append(leaf)
    while len(open_nodes) > 1:
        close()
    return _Tree("file", 0, len(text), inner=tuple(open_nodes[0][2]))


_OPERATORS = frozenset(
    {
        "plus",
        "dash",
        "star",
        "percent",
        "fslash",
        "equal",
        "nequal",
        "lt",
        "le",
        "gt",
        "ge",
        "and",
        "or",
        "not",
        "in",
        "questionmark",
        "dot",
    }
)


def _prove_units(step: Step) -> None:
    """Raise UnprovenError if an operand would become several operands.

    An operator beside it would take only a part of them.
    """
    shift = nodes.shift_of(step)
    after = [token for token in _lexed(step.after) if token.kind not in {"comment", "eol"}]
    for first, last in shift.new():
        inside = [token for token in after if first <= token.start and token.end <= last]
        before = next((token for token in reversed(after) if token.end <= first), None)
        behind = next((token for token in after if token.start >= last), None)
        beside = {token.kind for token in (before, behind) if token is not None}
        called = (
            behind is not None
            and behind.kind in {"lbracket", "lparen", "dot"}
            and "\n" not in step.after[last : behind.start]
        )
        depth = 0
        for token in inside:
            depth += (token.kind in _OPENING) - (token.kind in _CLOSING)
            own = token.kind in _OPERATORS - {"dot"} or token.kind == "comma"
            taken = called or (token is not inside[0] and beside & _OPERATORS)
            if depth == 0 and own and token is not inside[-1] and taken:
                what = (
                    "what is put there has an operator of its own beside another one, which would "
                    "take a part of it. Put brackets around it"
                )
                raise UnprovenError(what, text=step.after, position=token.start)


def prove(step: Step) -> None:
    """Raise UnprovenError unless only what was meant has changed (see `guard`)."""
    if faults(step.before, step.language):
        what = (
            "Meson does not read this file, so what is changed in it cannot be told. Edit it by an "
            "`anchor`, in the language text."
        )
        raise UnprovenError(what, text=step.before, position=step.splices[0][0])
    _prove_units(step)
    guard.prove(_tree(step.before), _tree(step.after), step, inner_lines)


_BINARY = _OPERATORS - {"not", "dash", "in", "dot"} | {"assign", "plusassign", "colon"}


def _misshapen(text: str) -> int:
    """Return the number of operators without an operand and of arguments behind keywords.

    Meson's parser accepts the first, and refuses the second only later.
    """
    tokens = [token for token in _lexed(text) if token.kind != "comment"]
    found = 0
    for position, token in enumerate(tokens):
        behind = tokens[position + 1].kind if position + 1 < len(tokens) else "eol"
        if token.kind in _BINARY | {"not", "dash", "dot"} and (
            behind in _BINARY | {"eol", "comma", "dot"} or behind in _CLOSING
        ):
            found += 1
        if token.kind == "dot" and (
            position == 0
            or tokens[position - 1].kind
            in _BINARY | {"eol", "comma", "not", "dash"} | set(_OPENING)
        ):
            found += 1
    return found + sum(
        _late(tokens, place) for place, token in enumerate(tokens) if token.kind == "lparen"
    )


def _late(tokens: Sequence[_Token], opening: int) -> int:
    """Return how many arguments without a keyword follow one with a keyword."""
    depth, keyword, colon, count = 0, False, False, 0
    begun = asks = False
    for token in tokens[opening + 1 :]:
        if depth == 0 and (token.kind == "comma" or token.kind in _CLOSING):
            count += begun and keyword and not colon
            keyword, colon, begun, asks = keyword or colon, False, False, False
            if token.kind in _CLOSING:
                break
            continue
        depth += (token.kind in _OPENING) - (token.kind in _CLOSING)
        begun = begun or token.kind != "eol"
        asks = asks or (depth == 0 and token.kind == "questionmark")
        colon = colon or (depth == 0 and token.kind == "colon" and not asks)
    return count


def inner_lines(text: str, language: str) -> set[int]:  # the protocol's signature
    """Return the numbers, from 0, of the lines that begin inside a string of several lines."""
    lines: set[int] = set()
    try:
        tokens = _lexed(text)
    except PatchConflictError:
        return lines
    for token in tokens:
        if "string" in token.kind:
            first = text.count("\n", 0, token.start)
            lines.update(range(first + 1, first + 1 + text.count("\n", token.start, token.end)))
    return lines
