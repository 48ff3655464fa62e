"""Read YAML, JSON and TOML with positions: values, their spans, and the comments.

The three readers make one kind of tree. Operations on it are splices of the text. The proof reads
the text before and after with the standard reader of the format (PyYAML, `json`, `tomllib`), and
compares what that reader *sees*, not what is written.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, cast

from forkhouse.core.errors import PatchConflictError
from forkhouse.patches.keypaths import key_steps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkhouse.patches.backends import Span

LANGUAGES = ("yaml", "json", "toml")
BOM = "\ufeff"


class Kind(Enum):
    """The kind of a value."""

    MAPPING = auto()
    SEQUENCE = auto()
    SCALAR = auto()
    ALIAS = auto()
    """A reference to a value at another place, in YAML."""


class NodeStyle(Enum):
    """The form in which a value is written."""

    FLOW = auto()
    """The value stands between brackets."""
    PAIR = auto()
    """The value is a mapping of one key in a list of YAML, without brackets."""
    BLOCK = auto()
    """The value is written by indentation."""
    LITERAL = auto()
    """The value is a text below its header, `|` or `>`, in YAML."""
    LINE = auto()
    """The value is a scalar that stands where it begins."""
    EMPTY = auto()
    """The value is a null for which nothing is written."""
    DOTTED = auto()
    """The value is an inline table of TOML with dotted keys, so its parts may stand apart."""
    TABLE = auto()
    """The value is a table of TOML, or an array of tables.

    It is written by its header, by headers below it, or by dotted keys.
    """


@dataclass(frozen=True, kw_only=True, slots=True)
class Value:
    """A value and its position."""

    kind: Kind
    style: NodeStyle
    start: int
    """Where it begins, with its tag and its anchor."""
    end: int
    """Where it ends, without comments behind it."""
    body: int
    """Where it begins, without tag and anchor."""
    lead: int
    """The end of the first piece of the value.

    That piece is the tag and anchor alone, or the header of a literal. For a value in one piece,
    this is equal to `end`.
    """
    tag: str = ""
    read: object = None
    """What the reader sees of a scalar: its type, and its value as text."""
    anchor: str | None = None
    entries: tuple[Entry, ...] = ()
    commas: tuple[int, ...] = ()
    """The positions of the commas in a value between brackets."""

    @property
    def what(self) -> str:
        """The name of its kind, for a person."""
        return {
            Kind.MAPPING: "a mapping",
            Kind.SEQUENCE: "a list",
            Kind.ALIAS: f"the alias *{self.anchor}",
        }.get(self.kind, "a scalar")


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A key with its value, or an item of a list."""

    start: int
    """The start of the entry: its key, its question mark or its dash.

    It is -1 for a table of TOML, which may stand at several places.
    """
    end: int
    value: Value
    key: Value | None = None
    name: str | None = None
    """The name of the entry in a path; None for a key that is no scalar, and for items."""
    sign: int | None = None
    """The end of the dash, the colon or the equals sign; None for a key without one."""
    explicit: bool = False
    """Whether the key stands behind a question mark."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Statement:
    """A line of TOML: a header, or a key with its value."""

    start: int
    end: int
    path: tuple[str | int, ...]
    """The path of the table or key from the top; a number counts the tables of an array."""
    header: int
    """The number of the header above the statement, or its own; -1 above the first header."""
    keys: tuple[Span, ...]
    """The parts of its dotted key."""
    value: Value | None = None
    """The value; None for a header."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Data:
    """A file of data."""

    text: str
    language: str
    documents: tuple[Value, ...]
    comments: tuple[Span, ...]
    strict: bool = True
    """Whether the text is no dialect: for JSON, it has neither comments nor trailing commas."""
    statements: tuple[Statement, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class DataPlace:
    """The place of an entry in a file."""

    document: int
    steps: tuple[int, ...]
    """The positions among the entries, from the top."""
    holders: tuple[Value, ...]
    """The values that hold it, from the top."""
    entry: Entry

    @property
    def holder(self) -> Value:
        """The value that holds the entry."""
        return self.holders[-1]


def read(text: str, language: str) -> Data:
    """Read a file.

    Raises PatchConflictError, which says where the file is ill-formed, and the words of its
    standard reader.
    """
    found = _read(text, language)
    if isinstance(found, str):
        raise PatchConflictError(found)
    return found


@lru_cache(maxsize=8)
def _read(text: str, language: str) -> Data | str:
    """Return what a file holds, or why it cannot be read.

    Both are kept, as both are asked for more than once.
    """
    reader = import_module(f"forkhouse.patches.languages.data_{language}")
    try:
        return cast("Data", reader.read(text))
    except RecursionError:
        return f"The file is nested too deep to be read as {language}. Edit it as `text`."
    except PatchConflictError as error:
        return str(error)


def refused(text: str, language: str, position: int, what: str) -> PatchConflictError:
    """Return the error for a file that cannot be read."""
    line = text.count("\n", 0, position) + 1
    return PatchConflictError(
        f"The file cannot be read as {language}, line {line}: {what}. Edit it as `text`, or mend "
        "the file first."
    )


def entries(value: Value) -> Iterator[tuple[tuple[int, ...], tuple[Value, ...], Entry]]:
    """Yield each entry below a value, with its positions and the values that hold it."""
    todo: list[tuple[tuple[int, ...], tuple[Value, ...], Value]] = [((), (value,), value)]
    while todo:
        steps, holders, holder = todo.pop()
        for position, entry in enumerate(holder.entries):
            yield (*steps, position), holders, entry
            todo.append(((*steps, position), (*holders, entry.value), entry.value))


def values(value: Value) -> Iterator[Value]:
    """Yield a value and all values below it, including keys."""
    yield value
    for _, _, entry in entries(value):
        if entry.key is not None:
            yield from values(entry.key)
        yield entry.value


def chosen(data: Data, document: int | None) -> tuple[tuple[int, Value], ...]:
    """Return the documents that an edit selects, with their numbers.

    Raises PatchConflictError for a document that does not exist.
    """
    numbered = tuple(enumerate(data.documents))
    if document is None:
        return numbered
    if document >= len(numbered):
        message = f"There is no document {document}: the file has {len(numbered)}, counted from 0."
        raise PatchConflictError(message)
    return numbered[document : document + 1]


def look(data: Data, path: str, document: int | None = None) -> DataPlace | None:
    """Return where a path leads, or None if it leads to nothing.

    Raises PatchConflictError if that is not clear: the key is given twice, it comes from an alias
    or a merge, or several documents have it.
    """
    found = [
        place
        for number, top in chosen(data, document)
        if (place := _walk(data, number, top, path)) is not None
    ]
    if len(found) > 1:
        numbers = " and ".join(str(place.document) for place in found)
        message = (
            f"{path} is in several documents of the file: {numbers}. Say which by `document:`, "
            "counted from 0."
        )
        raise PatchConflictError(message)
    return found[0] if found else None


_DIGITS = 9
"""The greatest number of digits in a position of a list."""


def _walk(data: Data, number: int, top: Value, path: str) -> DataPlace | None:
    holders: list[Value] = []
    steps: list[int] = []
    value, entry = top, None
    for step in key_steps(path):
        if value.kind is Kind.ALIAS:
            message = (
                f"{path}: the way to {step} leads through {value.what}. What stands at its anchor "
                "is used at other places too."
            )
            raise PatchConflictError(message)
        position = _position(data, number, value, step, path)
        if position is None:
            return None
        holders.append(value)
        steps.append(position)
        entry = value.entries[position]
        value = entry.value
    assert entry is not None  # a path has a step
    return DataPlace(document=number, steps=tuple(steps), holders=tuple(holders), entry=entry)


def _position(data: Data, number: int, holder: Value, step: str, path: str) -> int | None:
    if holder.kind is Kind.SEQUENCE:
        there = (
            step.isdecimal()
            and step.isascii()
            and len(step) < _DIGITS
            and int(step) < len(holder.entries)
        )
        return int(step) if there else None
    found = [position for position, entry in enumerate(holder.entries) if entry.name == step]
    if len(found) > 1:
        first, second = (holder.entries[position] for position in found[:2])
        same = (
            first.key is not None and second.key is not None and first.key.read == second.key.read
        )
        lines = " and ".join(
            str(data.text.count("\n", 0, holder.entries[position].start) + 1) for position in found
        )
        why = "is given more than once" if same else "may mean several keys, of different types"
        message = (
            f"{path}: the key {step} {why} (lines {lines}). Which of them a reader takes cannot be "
            "told: use an `anchor`."
        )
        raise PatchConflictError(message)
    if not found and is_merged(data, number, holder, step):
        message = (
            f"{path}: the key {step} comes from a merge (`<<`), so it is not written there. Edit "
            "it where its anchor stands."
        )
        raise PatchConflictError(message)
    if found and holder.entries[found[0]].key is not None and is_merge(holder.entries[found[0]]):
        message = f"{path}: `<<` is no key, but merges other mappings. Use an `anchor`."
        raise PatchConflictError(message)
    return found[0] if found else None


MERGE = "tag:yaml.org,2002:merge"


def is_merge(entry: Entry) -> bool:
    """Say whether an entry of YAML merges other mappings into its own."""
    return entry.key is not None and entry.key.tag == MERGE


def is_merged(data: Data, number: int, holder: Value, name: str) -> bool:
    """Say whether a mapping gets a key from other mappings that are merged into it."""
    anchored = {
        value.anchor: value
        for value in values(data.documents[number])
        if value.anchor and value.kind is not Kind.ALIAS
    }
    todo = [entry.value for entry in holder.entries if is_merge(entry)]
    seen: set[int] = set()
    while todo:
        value = todo.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if value.kind is Kind.ALIAS:
            todo += [anchored[value.anchor]] if value.anchor in anchored else []
        elif value.kind is Kind.SEQUENCE:
            todo += [entry.value for entry in value.entries]
        elif any(entry.name == name for entry in value.entries):
            return True
        else:
            todo += [entry.value for entry in value.entries if is_merge(entry)]
    return False


def seen(value: Value, *, ordered: bool) -> object:
    """Return everything that a reader sees of a value, to compare it.

    This includes types, tags, anchors, and the order where it has a meaning.
    """
    if value.kind is Kind.ALIAS:
        return ("alias", value.anchor)
    if value.kind is Kind.SCALAR:
        return ("scalar", value.anchor, value.read)
    if value.kind is Kind.SEQUENCE:
        return (
            "list",
            value.anchor,
            value.tag,
            tuple(seen(entry.value, ordered=ordered) for entry in value.entries),
        )
    pairs = [(seen_key(entry), seen(entry.value, ordered=ordered)) for entry in value.entries]
    return (
        "mapping",
        value.anchor,
        value.tag,
        tuple(pairs if ordered else sorted(pairs, key=lambda pair: repr(pair[0]))),
    )


def seen_key(entry: Entry) -> object:
    """Return what a reader sees of a key."""
    return (
        seen(entry.key, ordered=True)
        if entry.key is not None
        else ("scalar", None, ("text", entry.name))
    )


def normal(tree: object, language: str) -> object:
    """Return what a reader sees in a fixed order where the order of keys has no meaning."""
    if language != "toml" or not isinstance(tree, tuple) or tree[0] == "scalar":
        return tree
    if tree[0] == "list":
        return (*tree[:3], tuple(normal(item, language) for item in tree[3]))
    pairs = [(key, normal(value, language)) for key, value in tree[3]]
    return (*tree[:3], tuple(sorted(pairs, key=lambda pair: repr(pair[0]))))
