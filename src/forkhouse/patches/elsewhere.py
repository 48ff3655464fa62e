"""Find what an operation takes out of a file at another place of that file, or by another name.

What an upstream moved or renamed is not gone.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forkhouse.core.errors import PatchConflictError
from forkhouse.patches.changes import find, spliced
from forkhouse.patches.edits import CodeOperation, KeyOperation, Selector
from forkhouse.patches.languages.base import line_end, line_start
from forkhouse.patches.languages.data import Kind, look, read, seen
from forkhouse.patches.spellings import MEANINGFUL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkhouse.patches.edits import Operation
    from forkhouse.patches.languages.data import Data, Entry, Value

_OTHER = r"[\w.:-]+"
"""Any name."""


def stays(before: str, now: str, operation: Operation, language: str) -> str:
    """Return the line to which what an operation takes out came, or under another name is.

    The result is empty if there is none, or if a file cannot be read.
    """
    try:
        match operation:
            case CodeOperation(remove=Selector(key=str() as path, document=document)):
                place = _place_of_key(before, now, path, document, language)
            case CodeOperation(remove=Selector() as selector):
                place = _renamed(before, now, selector, language)
            case KeyOperation(remove=str() as path):
                place = _place_of_key(before, now, path, operation.document, language)
            case _:
                return ""
    except PatchConflictError:
        return ""
    return "" if place is None else now[line_start(now, place) : line_end(now, place)].strip()


def _renamed(before: str, now: str, selector: Selector, language: str) -> int | None:
    """Return where what a selector matches came under another name."""
    said = selector.function or selector.class_ or selector.assignment or selector.call or ""
    words = re.findall(r"\w+", said.partition("(")[0])
    nodes = find(before, selector, language) if words else []
    left = spliced(before, [(*node.whole, "") for node in nodes])
    for code in {before[node.start : node.end] for node in nodes}:
        pattern = _under_any_name(code, words[-1])
        known = {} if pattern is None else Counter(pattern.findall(left))
        for found in () if pattern is None else pattern.finditer(now):
            known[found[0]] = known.get(found[0], 0) - 1
            if known[found[0]] < 0:
                return found.start()
    return None


def _under_any_name(code: str, name: str) -> re.Pattern[str] | None:
    """Return a pattern for code with any other name, or None for code that says too little."""
    words = re.findall(r"\w+|[^\w\s]", code)
    if sum(len(word) for word in words if word != name and re.match(r"\w", word)) < MEANINGFUL:
        return None
    pieces = (
        _OTHER if word == name else "[\"']" if word in "\"'" else re.escape(word) for word in words
    )
    return re.compile(r"(?<!\w)" + r"\s*".join(pieces))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Held:
    """An entry of a file of data with its surroundings."""

    path: tuple[str, ...]
    """The keys that lead to it, and its own; any item of a list is `*`."""
    value: Value
    start: int
    """Where it begins; a table of TOML begins with its first key."""
    beside: tuple[str | None, str | None]
    """The keys before and behind it."""


def _place_of_key(
    before: str, now: str, path: str, document: int | None, language: str
) -> int | None:
    """Return where a key stands that is new there, or its value under a new key."""
    was, data = read(before, language), read(now, language)
    place = look(was, path, document)
    if place is None:
        return None
    held = [*_held(was)]
    (own,) = (each for each in held if each.value is place.entry.value)
    left = Counter(each.path for each in held)
    came = []
    for each in _held(data):
        left[each.path] -= 1
        came += [each] if left[each.path] < 0 else []
    value = seen(own.value, ordered=True)
    for each in came:
        same = seen(each.value, ordered=True) == value
        if (each.path[-1] == own.path[-1] and own.path[-1] != _ITEM) or (
            same and (_tells(was, own.value) or _is_in_its_place(each, own))
        ):
            return each.start
    return None


_ITEM = "*"


def _held(data: Data) -> Iterator[_Held]:
    todo: list[tuple[tuple[str, ...], Value]] = [((), top) for top in data.documents]
    while todo:
        above, holder = todo.pop()
        names = [
            _ITEM if holder.kind is Kind.SEQUENCE else str(entry.name) for entry in holder.entries
        ]
        beside = [None, *names, None]
        for position, entry in enumerate(holder.entries):
            path = (*above, names[position])
            yield _Held(
                path=path,
                value=entry.value,
                start=_start(entry),
                beside=(beside[position], beside[position + 2]),
            )
            todo.append((path, entry.value))


def _start(entry: Entry) -> int:
    while entry.start < 0 and entry.value.entries:
        entry = entry.value.entries[0]
    return max(entry.start, 0)


def _tells(data: Data, value: Value) -> bool:
    """Say whether a value is long enough for an equal one to be the same."""
    said = data.text[value.start : value.end] if value.start >= 0 else ""
    return len(re.sub(r"\W", "", said)) >= MEANINGFUL


def _is_in_its_place(one: _Held, other: _Held) -> bool:
    """Say whether two entries are in the same mapping, and beside the same key."""
    return one.path[:-1] == other.path[:-1] and any(
        name == there for name, there in zip(one.beside, other.beside, strict=True)
    )
