"""YAML, as PyYAML (1.1) and ruamel.yaml (1.2) compose it."""

from __future__ import annotations

import re
from bisect import bisect_left
from typing import TYPE_CHECKING

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError as RuamelError

from bench.edits import data
from bench.edits.data import Format, Remark, Value, Written, raw
from bench.edits.json_ import SCALARS
from bench.edits.stream import UnreadableError

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from bench.edits.case import Case

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_LARGEST = 1500
"""Characters of a file that ruamel.yaml, which is slow, is asked about too."""


def _model(node: yaml.Node, depth: int = 0) -> Value:
    kind = node.tag.removeprefix("tag:yaml.org,2002:")
    if depth > 60:  # an alias inside of what it names
        raise UnreadableError("nested too deep")
    if isinstance(node.value, str):
        return kind, node.value
    if type(node).__name__ == "MappingNode":
        pairs = tuple(
            (_model(key, depth + 1), _model(value, depth + 1)) for key, value in node.value
        )
        # With a tag of its own a collection is a value that only its own reader looks into.
        return ("map", pairs) if kind == "map" else (kind, repr(pairs))
    items = tuple(_model(value, depth + 1) for value in node.value)
    return ("list", items) if kind == "seq" else (kind, repr(items))


def read(text: str) -> Value:
    """Return what PyYAML sees in the one document of a text, scalars by type and text.

    Raises UnreadableError.
    """
    try:
        documents = list(yaml.compose_all(text, Loader=LOADER))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UnreadableError(str(error)) from error
    if len(documents) != 1 or documents[0] is None:
        raise UnreadableError("no document, or several")
    return _model(documents[0])


def second(text: str) -> Value:
    """Return what ruamel.yaml sees; of a large text, what PyYAML does. Raises UnreadableError."""
    if len(text) > _LARGEST:
        return read(text)
    try:
        node = YAML(typ="safe", pure=True).compose(text)
    except (RuamelError, ValueError, RecursionError, AssertionError) as error:
        raise UnreadableError(str(error)) from error
    if node is None:
        raise UnreadableError("ruamel.yaml: no document")
    return _model(node)


_WIDE = (yaml.ScalarToken, yaml.AnchorToken, yaml.AliasToken, yaml.TagToken)
_COMMENT = re.compile(r"(?:^|(?<=[\s\ufeff]))#[^\r\n]*", re.MULTILINE)


def remarks(text: str) -> list[Remark]:
    """Return the comments: what PyYAML's scanner passes over."""
    if "#" not in text:
        return []
    try:
        tokens = list(yaml.scan(text, Loader=LOADER))
    except yaml.YAMLError as error:
        raise UnreadableError(str(error)) from error
    spans = []
    for token in tokens:
        if isinstance(token, _WIDE):
            start, end = token.start_mark.index, token.end_mark.index
            if isinstance(token, yaml.ScalarToken) and token.style in {"|", ">"}:
                end = start + len(_block(text, start, end))
            spans.append(
                (
                    start,
                    end,
                    token.value
                    if isinstance(token.value, str)
                    else "".join(filter(None, token.value)),
                )
            )
    ends = [end for _, end, _ in spans]
    found = []
    after = 0
    while (match := _COMMENT.search(text, after)) is not None:
        at = match.start()
        following = bisect_left(ends, at + 1)
        if following < len(spans) and spans[following][0] <= at:
            after = ends[following]  # it is in a scalar
            continue
        after = match.end()
        line = text.rfind("\n", 0, at) + 1
        behind = bool(text[line:at].strip("\ufeff \t"))
        if behind:
            first = bisect_left(ends, line + 1)
            while first < following - 1 and text[spans[first][0]] in "!&":
                first += 1  # a tag or an anchor says nothing of what is there
            host = spans[min(first, following - 1)][2] if following else ""
        else:
            # What stands over everything else is about the file.
            host = spans[following][2] if 0 < following < len(spans) else ""
        found.append(Remark(match[0].rstrip(), host.strip().split("\n")[0], behind))
    return found


def _block(text: str, start: int, end: int) -> str:
    """Return a block scalar without the lines of comments behind it."""
    lines = text[start:end].split("\n")
    depths = [len(line) - len(line.lstrip(" ")) for line in lines[1:] if line.strip()]
    inner = depths[0] if depths else 0
    while len(lines) > 1 and (
        not lines[-1].strip() or len(lines[-1]) - len(lines[-1].lstrip(" ")) < inner
    ):
        lines.pop()
    return "\n".join(lines)


def spelt(value: Value) -> str | None:
    """Return an item as a file has it; None where its spelling is not known."""
    kind, text = value
    plain = kind in {"int", "float", "bool"} or (
        kind == "str" and re.fullmatch(r"[A-Za-z][A-Za-z0-9_./-]*", str(text))
    )
    return str(text) if plain else None


def _readings(written: Written) -> Written:
    """Return what may come of a value in YAML.

    It stands there as it was written, or quoted where it is no plain number or word.
    """
    if isinstance(written.said, str):
        return written
    said = written.said.text  # type: ignore[attr-defined]
    just = read(said)
    more = tuple(reading for reading in written.readings if reading != just)
    return Written(said=written.said, readings=(just, *more))


VALUES = (
    *(_readings(value) for value in SCALARS),
    raw("null", ("null", "null")),
    raw("~", ("null", "~"), ("null", "null")),
    raw(
        "[1, 2.5, a, true]",
        ("list", (("int", "1"), ("float", "2.5"), ("str", "a"), ("bool", "true"))),
    ),
    raw("[]", ("list", ())),
    raw(
        "[22:22, no]",
        *(
            ("list", (time, word))
            for time in (("str", "22:22"), ("int", "22:22"))
            for word in (("str", "no"), ("bool", "no"))
        ),
    ),
    raw(
        "{a: 1, b: [x]}",
        ("map", ((("str", "a"), ("int", "1")), (("str", "b"), ("list", (("str", "x"),))))),
    ),
)
ITEMS = (
    ("added", ("str", "added")),
    ("17", ("int", "17")),
    ("2.50", ("float", "2.50")),
    ('"two words # so"', ("str", "two words # so")),
    ("{a: 1}", ("map", ((("str", "a"), ("int", "1")),))),
    ("[x]", ("list", (("str", "x"),))),
)
FORMAT = Format(read=read, second=second, remarks=remarks, values=VALUES, items=ITEMS, spelt=spelt)


def pool(text: str) -> list[Callable[[random.Random], Case | None]]:
    """Return what makes cases of a file. Raises UnreadableError."""
    second(text)
    return data.pool(text, FORMAT)
