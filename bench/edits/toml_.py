"""TOML, as `tomllib` reads it; Pygments tells where its comments are."""

from __future__ import annotations

import datetime as dt
import tomllib
from typing import TYPE_CHECKING

from pygments.lexers.configs import TOMLLexer
from pygments.token import Comment, Punctuation, String, Text, Whitespace

from bench.edits import data, pyproject
from bench.edits.data import Format, Remark, Value, Written, raw
from bench.edits.stream import UnreadableError

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from bench.edits.case import Case


def model(value: object) -> Value:
    """Return a value as all readers have it."""
    match value:
        case bool():
            return "bool", str(value).lower()
        case int() | float():
            return type(value).__name__, repr(value)
        case str():
            return "str", value.replace("\r\n", "\n")
        case dict():
            return "map", tuple((("str", key), model(each)) for key, each in value.items())
        case list():
            return "list", tuple(model(each) for each in value)
        case dt.date() | dt.time():
            return type(value).__name__, value.isoformat()
    raise AssertionError(value)


def read(text: str) -> Value:
    """Return what `tomllib` sees. Raises UnreadableError."""
    try:
        return model(tomllib.loads(text.removeprefix("\ufeff")))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UnreadableError(str(error)) from error


_OPENED = {"[": 1, "{": 1, "]": -1, "}": -1}
_LEXER = TOMLLexer(stripnl=False, stripall=False, ensurenl=False)


def remarks(text: str) -> list[Remark]:
    """Return the comments.

    One on its own line is about the key or the table of the next statement, by its last name.
    """
    if "#" not in text:
        return []
    pieces = [
        (kind, said)
        for _, kind, said in _LEXER.get_tokens_unprocessed(
            text.removeprefix("\ufeff").replace("\r\n", "\n")
        )
    ]
    found: list[Remark] = []
    waiting: list[int] = []
    host, depth, ends = "", 0, 0
    fresh, naming, first = True, False, True
    for kind, said in pieces:
        if kind in Comment:
            found.append(Remark(said.rstrip(), "" if fresh else host, not fresh))
            ends = 0
            waiting += [len(found) - 1] if fresh else []
            continue
        if kind in Whitespace or kind in Text:
            fresh = fresh or "\n" in said
            ends += said.count("\n")
            waiting = [] if ends > 1 else waiting  # an empty line is between
            continue
        ends = 0
        named = naming or (fresh and depth == 0)  # a header, or a key
        fresh = "\n" in said and kind not in String
        opened = _OPENED.get(said, 0) if kind in Punctuation else 0
        depth += opened
        waiting = [] if opened < 0 else waiting  # at the end of a list it stands over nothing
        name = said.strip("\"' \t") if kind in String else said.strip("[]{}=,. \t")
        host = name or host
        naming = named and said not in {"=", "]", "]]"}
        if naming or not (named or name):
            continue
        for number in (
            () if first else waiting
        ):  # what stands over everything else is about the file
            found[number] = Remark(found[number].text, host, behind=False)
        waiting, first = [], False
    return found


def spelt(value: Value) -> str | None:
    """Return an item as a file has it; None where its spelling is not known."""
    kind, text = value
    if kind == "str" and str(text).isascii() and str(text).isprintable() and "'" not in str(text):
        return f"'{text}'" if '"' in str(text) or "\\" in str(text) else f'"{text}"'
    return str(text) if kind in {"int", "bool", "float"} else None


VALUES = (
    raw("rocm", ("str", "rocm")),
    raw("true", ("bool", "true")),
    raw("7", ("int", "7")),
    raw("-3", ("int", "-3")),
    raw("1.5", ("float", "1.5")),
    raw("-0.25", ("float", "-0.25")),
    raw("1.0", ("float", "1.0")),
    raw("1e3", ("float", "1000.0"), ("str", "1e3")),
    raw("no", ("str", "no")),
    raw("22:22", ("str", "22:22")),
    raw("22:22:00", ("str", "22:22:00"), ("time", "22:22:00")),
    raw("0o17", ("str", "0o17"), ("int", "15")),
    raw("017", ("str", "017")),
    raw("2024-05-01", ("str", "2024-05-01"), ("date", "2024-05-01")),
    raw("'2024-05-01'", ("str", "2024-05-01")),
    raw("'1.10'", ("str", "1.10")),
    raw("'true'", ("str", "true")),
    raw("''", ("str", "")),
    raw('"a\\tb\\nc"', ("str", "a\tb\nc")),
    raw("'say \"it\" \\ # so'", ("str", 'say "it" \\ # so')),
    raw("é ü", ("str", "é ü")),
    Written(said="one\n  two\n\nthree\n", readings=(("str", "one\n  two\n\nthree\n"),)),
    raw(
        "[1, 2.5, a, true]",
        ("list", (("int", "1"), ("float", "2.5"), ("str", "a"), ("bool", "true"))),
    ),
    raw("[]", ("list", ())),
    raw("[22:22, no]", ("list", (("str", "22:22"), ("str", "no")))),
    raw(
        "{a: 1, b: [x]}",
        ("map", ((("str", "a"), ("int", "1")), (("str", "b"), ("list", (("str", "x"),))))),
    ),
)
ITEMS = (
    ('"added"', ("str", "added")),
    ("17", ("int", "17")),
    ("2.5", ("float", "2.5")),
    ("'lit\\eral'", ("str", "lit\\eral")),
    ('{a = "x"}', ("map", ((("str", "a"), ("str", "x")),))),
    ("[1, 2]", ("list", (("int", "1"), ("int", "2")))),
    ("2024-05-01", ("date", "2024-05-01")),
)
FORMAT = Format(
    read=read, second=None, remarks=remarks, values=VALUES, items=ITEMS, spelt=spelt, unordered=True
)


def pool(text: str) -> list[Callable[[random.Random], Case | None]]:
    """Return what makes cases of a file. Raises UnreadableError."""
    return [*data.pool(text, FORMAT), *pyproject.makers(text, remarks)]
