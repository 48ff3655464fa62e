"""Read TOML with positions: our scanner finds lines and spans, `tomllib` their meaning.

A text on which the two disagree is not read.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from forkhouse.patches.languages.data import (
    BOM,
    Data,
    Entry,
    Kind,
    NodeStyle,
    Statement,
    Value,
    refused,
)

if TYPE_CHECKING:
    from typing import NoReturn

    from forkhouse.patches.backends import Span

_SPACE = re.compile(r"[ \t]*")
_LINES = re.compile(r"[ \t\r\n]*")
_COMMENT = re.compile(r"#[^\n\r]*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'"""(?:[^"\\]|\\.|"{1,2}(?!"))*"{3,5}|'
    r"'''(?:[^']|'{1,2}(?!'))*'{3,5}|"
    r'"(?:[^"\\\n]|\\.)*"|'
    r"'[^'\n]*'",
    re.DOTALL,
)
_WORD = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[^\s,\]}#]+|[^\s,\]}#=]+")


@dataclass(kw_only=True, slots=True)
class _Table:
    """A table while it is read."""

    entries: dict[str, _Table | list[_Table] | Entry] = field(default_factory=dict)


def read(text: str) -> Data:
    """Read TOML. Raises PatchConflictError for what tomllib does not read."""
    try:
        standard = tomllib.loads(text.removeprefix(BOM))
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"line (\d+)", str(error))
        position = (
            sum(len(each) + 1 for each in text.split("\n")[: int(line[1]) - 1]) if line else 0
        )
        raise refused(text, "toml", min(position, len(text)), f"not TOML: {error}") from error
    scanner = _Scanner(text)
    scanner.document()
    top = _frozen(scanner.root, standard, scanner)
    return Data(
        text=text,
        language="toml",
        documents=(top,),
        comments=tuple(scanner.comments),
        statements=tuple(scanner.statements),
    )


def _frozen(table: _Table, standard: object, scanner: _Scanner) -> Value:
    """Make a value of a table with the values that tomllib read."""
    if not isinstance(standard, dict) or list(standard) != list(table.entries):
        scanner.refuse(0, "two readers do not see the same keys in it")
    entries = []
    for name, held in table.entries.items():
        read_value = standard[name]
        if isinstance(held, Entry):
            entries.append(_filled_entry(held, read_value, scanner))
            continue
        if isinstance(held, list):
            if not isinstance(read_value, list) or len(read_value) != len(held):
                scanner.refuse(0, "two readers do not see the same tables in it")
            inner = tuple(
                Entry(start=-1, end=-1, value=_frozen(each, one, scanner))
                for each, one in zip(held, read_value, strict=True)
            )
            value = Value(
                kind=Kind.SEQUENCE,
                style=NodeStyle.TABLE,
                start=-1,
                end=-1,
                body=-1,
                lead=-1,
                entries=inner,
            )
        else:
            value = _frozen(held, read_value, scanner)
        entries.append(Entry(start=-1, end=-1, value=value, name=name))
    return Value(
        kind=Kind.MAPPING,
        style=NodeStyle.TABLE,
        start=-1,
        end=-1,
        body=-1,
        lead=-1,
        entries=tuple(entries),
    )


def _filled_entry(entry: Entry, standard: object, scanner: _Scanner) -> Entry:
    return Entry(
        start=entry.start,
        end=entry.end,
        value=_filled(entry.value, standard, scanner),
        key=None,
        name=entry.name,
        sign=entry.sign,
    )


def _filled(value: Value, standard: object, scanner: _Scanner) -> Value:
    """Give each scalar between brackets the value that tomllib read."""
    if value.kind is Kind.SCALAR:
        return _replaced(value, scalar_seen(standard), ())
    if (
        value.kind is Kind.SEQUENCE
        and isinstance(standard, list)
        and len(standard) == len(value.entries)
    ):
        return _replaced(
            value,
            None,
            tuple(
                _filled_entry(entry, one, scanner)
                for entry, one in zip(value.entries, standard, strict=True)
            ),
        )
    if value.style is NodeStyle.DOTTED:
        inner = _Table()
        for entry, names in zip(value.entries, scanner.dotted[value.start], strict=True):
            table = inner
            for name in names[:-1]:
                table, _ = scanner.into(table, (), name, many=False)
            table.entries[names[-1]] = entry
        frozen = _frozen(inner, standard, scanner)
        return _replaced(value, None, frozen.entries)
    if (
        value.kind is Kind.MAPPING
        and isinstance(standard, dict)
        and [entry.name for entry in value.entries] == list(standard)
    ):
        pairs = zip(value.entries, standard.values(), strict=True)
        return _replaced(
            value, None, tuple(_filled_entry(entry, one, scanner) for entry, one in pairs)
        )
    return scanner.refuse(max(value.start, 0), "two readers do not see the same value there")


def _replaced(value: Value, read_value: object, entries: tuple[Entry, ...]) -> Value:
    return Value(
        kind=value.kind,
        style=value.style,
        start=value.start,
        end=value.end,
        body=value.body,
        lead=value.lead,
        read=read_value,
        entries=entries,
        commas=value.commas,
    )


def scalar_seen(value: object) -> object:
    """Return the type and the text of a scalar.

    A line end in a text counts as one character, however it is written.
    """
    name = "text" if isinstance(value, str) else type(value).__name__
    return (name, value if isinstance(value, str) else repr(value))


class _Scanner:
    """Reads lines, and builds the tables that they make."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.comments: list[Span] = []
        self.statements: list[Statement] = []
        self.root = _Table()
        self.dotted: dict[int, list[list[str]]] = {}
        """The dotted keys of inline tables, by where those begin."""

    def refuse(self, at: int, what: str) -> NoReturn:
        raise refused(self.text, "toml", at, what)

    def document(self) -> None:
        at = self._skip(len(BOM) if self.text.startswith(BOM) else 0)
        table, header = self.root, -1
        path: tuple[str | int, ...] = ()
        while at < len(self.text):
            if self.text[at] == "[":
                at, table, path = self._header(at)
                header = len(self.statements) - 1
            else:
                at = self._line(at, table, path, header)
            at = self._skip(at)

    def _skip(self, at: int) -> int:
        while True:
            match = _LINES.match(self.text, at)
            at = match.end() if match else at
            comment = _COMMENT.match(self.text, at)
            if comment is None:
                return at
            self.comments.append(comment.span())
            at = comment.end()

    def _blank(self, at: int) -> int:
        match = _SPACE.match(self.text, at)
        return match.end() if match else at

    def _key(self, at: int) -> tuple[list[str], list[Span], int]:
        names: list[str] = []
        spans: list[Span] = []
        while True:
            at = self._blank(at)
            match = _BARE.match(self.text, at) or _STRING.match(self.text, at)
            if match is None:
                self.refuse(at, "a key is expected there")
            said = match[0]
            names.append(next(iter(tomllib.loads(f"{said} = 0"))) if said[0] in "\"'" else said)
            spans.append(match.span())
            at = self._blank(match.end())
            if self.text[at : at + 1] != ".":
                return names, spans, at
            at += 1

    def _header(self, start: int) -> tuple[int, _Table, tuple[str | int, ...]]:
        many = self.text.startswith("[[", start)
        names, spans, at = self._key(start + 1 + many)
        end = at + 1 + many
        table = self.root
        path: tuple[str | int, ...] = ()
        for position, name in enumerate(names):
            last = position == len(names) - 1
            table, path = self.into(table, path, name, many=many and last)
        self.statements.append(
            Statement(
                start=start, end=end, path=path, header=len(self.statements), keys=tuple(spans)
            )
        )
        return end, table, path

    def into(
        self, table: _Table, path: tuple[str | int, ...], name: str, *, many: bool
    ) -> tuple[_Table, tuple[str | int, ...]]:
        held = table.entries.get(name)
        if held is None:
            new = _Table()
            table.entries[name] = [new] if many else new
            return new, (*path, name, 0) if many else (*path, name)
        if isinstance(held, list):
            if many:
                held.append(_Table())
            return held[-1], (*path, name, len(held) - 1)
        if isinstance(held, Entry):
            self.refuse(0, f"{name} is a value, and no table")
        return held, (*path, name)

    def _line(self, start: int, table: _Table, path: tuple[str | int, ...], header: int) -> int:
        names, spans, at = self._key(start)
        sign = at + 1
        value = self._value(self._blank(sign))
        for name in names[:-1]:
            table, path = self.into(table, path, name, many=False)
        table.entries[names[-1]] = Entry(
            start=start, end=value.end, value=value, name=names[-1], sign=sign
        )
        self.statements.append(
            Statement(
                start=start,
                end=value.end,
                path=(*path, names[-1]),
                header=header,
                keys=tuple(spans),
                value=value,
            )
        )
        return value.end

    def _value(self, at: int) -> Value:
        if self.text[at : at + 1] == "[":
            return self._holder(at, Kind.SEQUENCE, "]")
        if self.text[at : at + 1] == "{":
            return self._holder(at, Kind.MAPPING, "}")
        match = _STRING.match(self.text, at) or _WORD.match(self.text, at)
        if match is None:
            self.refuse(at, "a value is expected there")
        end = match.end()
        return Value(kind=Kind.SCALAR, style=NodeStyle.LINE, start=at, end=end, body=at, lead=end)

    def _holder(self, start: int, kind: Kind, close: str) -> Value:
        entries: list[Entry] = []
        commas: list[int] = []
        keys: list[list[str]] = []
        at = self._skip(start + 1)
        while self.text[at : at + 1] != close:
            if kind is Kind.SEQUENCE:
                value = self._value(at)
                entries.append(Entry(start=at, end=value.end, value=value))
            else:
                names, _, colon = self._key(at)
                keys.append(names)
                value = self._value(self._skip(colon + 1))
                entries.append(
                    Entry(start=at, end=value.end, value=value, name=names[-1], sign=colon + 1)
                )
            at = self._skip(entries[-1].end)
            if self.text[at : at + 1] == ",":
                commas.append(at)
                at = self._skip(at + 1)
            elif self.text[at : at + 1] != close:
                self.refuse(at, f"a comma or {close} is expected there")
        dotted = any(len(names) > 1 for names in keys)
        if dotted:
            self.dotted[start] = keys
        return Value(
            kind=kind,
            style=NodeStyle.DOTTED if dotted else NodeStyle.FLOW,
            start=start,
            end=at + 1,
            body=start,
            lead=at + 1,
            entries=tuple(entries),
            commas=tuple(commas),
        )
