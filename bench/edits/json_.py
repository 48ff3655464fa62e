"""JSON, as `json` reads it, and with comments as `json5` does."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import json5

from bench.edits import data
from bench.edits.data import Format, Remark, Value, Written, raw
from bench.edits.stream import UnreadableError

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable

    from bench.edits.case import Case


def _model(value: object) -> Value:
    match value:
        case tuple():
            return value
        case bool():
            return "bool", str(value).lower()
        case None:
            return "null", ""
        case str():
            return "str", value
        case list():
            return "list", tuple(_model(each) for each in value)
    raise AssertionError(value)


def _pairs(pairs: Iterable[tuple[str, object]]) -> Value:
    return "map", tuple((("str", key), _model(value)) for key, value in pairs)


def _number(text: str) -> Value:
    return ("int" if text.lstrip("-").isdigit() else "float"), text


def read(text: str) -> Value:
    """Return what `json` sees, or `json5` where it refuses the text; numbers as they are written.

    Raises UnreadableError.
    """
    body = text.removeprefix("\ufeff")
    try:
        return _model(
            json.loads(
                body,
                object_pairs_hook=_pairs,
                parse_float=_number,
                parse_int=_number,
                parse_constant=_number,
            )
        )
    except (ValueError, RecursionError) as error:
        if "//" not in body and "/*" not in body:
            raise UnreadableError(str(error)) from error
    try:
        return _model(
            json5.loads(
                body,
                object_pairs_hook=_pairs,
                parse_float=_number,
                parse_int=_number,
                parse_constant=_number,
            )
        )
    except (ValueError, RecursionError) as error:
        raise UnreadableError(str(error)) from error


_PIECE = re.compile(r'"(?:[^"\\\n]|\\.)*"|//[^\n]*|/\*.*?\*/|[^\s"/]+', re.DOTALL)


def remarks(text: str) -> list[Remark]:
    """Return the comments; a file without any, as nearly all are, costs nothing."""
    if "//" not in text and "/*" not in text:
        return []
    found = []
    host = ""
    for match in _PIECE.finditer(text):
        if match[0].startswith(("//", "/*")):
            own = not text[text.rfind("\n", 0, match.start()) + 1 : match.start()].strip()
            found.append(Remark(match[0].rstrip("\r"), "" if own else host, not own))
        elif match[0].strip(",:[]{}"):
            host = match[0].strip(",:[]{}")
    return found


def spelt(value: Value) -> str | None:
    """Return an item as a file has it; None where its spelling is not known."""
    kind, text = value
    if kind == "str" and str(text).isascii() and str(text).isprintable():
        return json.dumps(text)
    return {"int": str(text), "float": str(text), "bool": str(text), "null": "null"}.get(kind)


SCALARS = (
    raw("rocm", ("str", "rocm")),
    raw("true", ("bool", "true")),
    raw("7", ("int", "7")),
    raw("-3", ("int", "-3")),
    raw("12345678901234567890", ("int", "12345678901234567890")),
    raw("1.5", ("float", "1.5")),
    raw("-0.25", ("float", "-0.25")),
    raw("1.0", ("float", "1.0")),
    raw("1e3", ("float", "1e3"), ("float", "1e+3"), ("float", "1000.0"), ("str", "1e3")),
    raw("1.0e+3", ("float", "1.0e+3"), ("float", "1000.0")),
    raw("no", ("str", "no")),
    raw("on", ("str", "on")),
    raw("22:22", ("str", "22:22")),
    raw("0o17", ("str", "0o17"), ("int", "15")),
    raw("017", ("str", "017")),
    raw("2024-05-01", ("str", "2024-05-01")),
    raw("'null'", ("str", "null")),
    raw("'1.10'", ("str", "1.10")),
    raw("''", ("str", "")),
    raw('"a\\tb\\nc"', ("str", "a\tb\nc")),
    raw("'say \"it\" \\ # so'", ("str", 'say "it" \\ # so')),
    raw("é ü", ("str", "é ü")),
    Written(said="one\n  two\n\nthree\n", readings=(("str", "one\n  two\n\nthree\n"),)),
)
VALUES = (
    *SCALARS,
    raw("null", ("null", "")),
    raw("~", ("null", "")),
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
    ("2.50", ("float", "2.50")),
    ("null", ("null", "")),
    ('{"a": [1, 2]}', ("map", ((("str", "a"), ("list", (("int", "1"), ("int", "2")))),))),
    ('["x"]', ("list", (("str", "x"),))),
    ('{\n  "a": 1\n}', ("map", ((("str", "a"), ("int", "1")),))),
)
FORMAT = Format(read=read, second=None, remarks=remarks, values=VALUES, items=ITEMS, spelt=spelt)


def pool(text: str) -> list[Callable[[random.Random], Case | None]]:
    """Return what makes cases of a file. Raises UnreadableError."""
    return data.pool(text, FORMAT)
