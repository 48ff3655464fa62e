"""Read JSON with the positions of its values.

It may have comments and trailing commas, as editors and compilers allow.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from forkhouse.patches.languages.data import BOM, Data, Entry, Kind, NodeStyle, Value, refused, seen

if TYPE_CHECKING:
    from typing import NoReturn

    from forkhouse.patches.backends import Span

_SPACE = re.compile(r"[ \t\n\r]*")
_COMMENT = re.compile(r"//[^\n\r]*|/\*.*?\*/", re.DOTALL)
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
_WORD = re.compile(
    r"-?Infinity|NaN|true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?(?!"
    r"[0-9A-Za-z_.])"
)


def read(text: str) -> Data:
    """Read JSON.

    Raises PatchConflictError for what neither `json` nor a reader of JSON with comments reads.
    """
    scanner = _Scanner(text)
    top = scanner.document()
    body = text.removeprefix(BOM)
    strict = not scanner.comments and not scanner.trailing
    if not strict:
        characters = list(text)
        for start, end in [*scanner.comments, *((comma, comma + 1) for comma in scanner.trailing)]:
            characters[start:end] = [" "] * (end - start)
        body = "".join(characters).removeprefix(BOM)
    try:
        standard = json.loads(body, object_pairs_hook=_Pairs)
    except ValueError as error:
        raise refused(text, "json", getattr(error, "pos", 0), str(error)) from error
    if _standard_seen(standard) != seen(top, ordered=True):
        raise refused(text, "json", 0, "two readers do not see the same in it")
    return Data(
        text=text,
        language="json",
        documents=(top,),
        comments=tuple(scanner.comments),
        strict=strict,
    )


class _Pairs(list[tuple[str, object]]):
    """A mapping as it is written, with keys that are given twice."""


def _standard_seen(value: object) -> object:
    if isinstance(value, _Pairs):
        pairs = tuple(
            (("scalar", None, ("text", key)), _standard_seen(inner)) for key, inner in value
        )
        return ("mapping", None, "", pairs)
    if isinstance(value, list):
        return ("list", None, "", tuple(_standard_seen(inner) for inner in value))
    return ("scalar", None, scalar_seen(value))


def scalar_seen(value: object) -> object:
    """Return the type and the text of a scalar."""
    name = {"NoneType": "null", "str": "text"}.get(type(value).__name__, type(value).__name__)
    return (name, value if isinstance(value, str) else repr(value))


class _Scanner:
    """Reads one value and what stands around it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.comments: list[Span] = []
        self.trailing: list[int] = []

    def document(self) -> Value:
        at = self._skip(len(BOM) if self.text.startswith(BOM) else 0)
        if at == len(self.text):
            self._refuse(at, "there is no value in it")
        value = self._value(at)
        at = self._skip(value.end)
        if at != len(self.text):
            self._refuse(at, "something stands behind its value")
        return value

    def _refuse(self, at: int, what: str) -> NoReturn:
        raise refused(self.text, "json", at, what)

    def _skip(self, at: int) -> int:
        while True:
            match = _SPACE.match(self.text, at)
            at = match.end() if match else at
            comment = _COMMENT.match(self.text, at)
            if comment is None:
                return at
            self.comments.append(comment.span())
            at = comment.end()

    def _value(self, at: int) -> Value:
        match self.text[at : at + 1]:
            case "{":
                return self._holder(at, Kind.MAPPING, "}")
            case "[":
                return self._holder(at, Kind.SEQUENCE, "]")
            case _:
                return self._scalar(at)

    def _scalar(self, at: int) -> Value:
        match = _STRING.match(self.text, at) or _WORD.match(self.text, at)
        if match is None:
            self._refuse(at, "a value is expected there")
        said = match[0]
        try:
            # Most texts of a long file have no escape, and so need no parser.
            read = said[1:-1] if said[0] == '"' and "\\" not in said else json.loads(said)
        except ValueError as error:
            self._refuse(at, str(error))
        end = match.end()
        return Value(
            kind=Kind.SCALAR,
            style=NodeStyle.LINE,
            start=at,
            end=end,
            body=at,
            lead=end,
            read=scalar_seen(read),
        )

    def _holder(self, start: int, kind: Kind, close: str) -> Value:
        entries: list[Entry] = []
        commas: list[int] = []
        at = self._skip(start + 1)
        while self.text[at : at + 1] != close:
            entry = self._pair(at) if kind is Kind.MAPPING else self._item(at)
            entries.append(entry)
            at = self._skip(entry.end)
            if self.text[at : at + 1] == ",":
                commas.append(at)
                at = self._skip(at + 1)
                if self.text[at : at + 1] == close:
                    self.trailing.append(commas[-1])
            elif self.text[at : at + 1] != close:
                self._refuse(at, f"a comma or {close} is expected there")
        return Value(
            kind=kind,
            style=NodeStyle.FLOW,
            start=start,
            end=at + 1,
            body=start,
            lead=at + 1,
            entries=tuple(entries),
            commas=tuple(commas),
        )

    def _item(self, at: int) -> Entry:
        value = self._value(at)
        return Entry(start=at, end=value.end, value=value)

    def _pair(self, at: int) -> Entry:
        if self.text[at : at + 1] != '"':
            self._refuse(at, "a key is expected there")
        key = self._scalar(at)
        colon = self._skip(key.end)
        if self.text[colon : colon + 1] != ":":
            self._refuse(colon, "a colon is expected there")
        value = self._value(self._skip(colon + 1))
        assert isinstance(key.read, tuple)  # a scalar's
        return Entry(
            start=at, end=value.end, value=value, key=key, name=str(key.read[1]), sign=colon + 1
        )
