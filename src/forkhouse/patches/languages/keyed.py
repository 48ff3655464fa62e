"""Handle YAML, JSON and TOML: files of keys and values.

`data` reads them, `data_change` changes them, and `data_proof` proves the changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkhouse.core.errors import PatchConflictError
from forkhouse.patches.backends import Node, UnprovenError
from forkhouse.patches.languages import astgrep, data_change, data_insert, data_proof
from forkhouse.patches.languages import data_flow as flow
from forkhouse.patches.languages import text as plain
from forkhouse.patches.languages.data import Kind, entries, look, read, values

if TYPE_CHECKING:
    from forkhouse.patches.backends import Matched, Step
    from forkhouse.patches.edits import Operation, Selector
    from forkhouse.patches.languages.data import Data, Entry, Value

__all__ = ["faults", "find", "inner_lines", "matched", "prove"]


def find(text: str, selector: Selector, language: str) -> list[Node]:
    """Return what a selector matches.

    Raises PatchConflictError, also for a key that cannot be told from others.
    """
    if selector.anchor is not None:
        return plain.find(text, selector, language)
    if selector.key is not None:
        place = look(read(text, language), selector.key, selector.document)
        if place is not None and place.entry.start < 0:
            message = (
                f"{selector.key} is a table with a header of its own, and no text that could be "
                "replaced as one."
            )
            raise PatchConflictError(message)
        return [] if place is None else [_node(read(text, language), place.entry)]
    if selector.assignment is not None:
        found = [
            entry
            for top in read(text, language).documents
            for _, _, entry in entries(top)
            if entry.name == selector.assignment
        ]
        return [
            _node(read(text, language), entry)
            for entry in sorted(found, key=lambda entry: entry.start)
            if entry.start >= 0
        ]
    if language == "toml":
        message = (
            "TOML has keys, to be named by `key` or `assignment`; the other selectors need a "
            "grammar that knows them. Use an `anchor`."
        )
        raise PatchConflictError(message)

    return astgrep.find(text, selector, language)


def _node(data: Data, entry: Entry) -> Node:
    """Return an entry as a match, with the place for a text that is inserted before it.

    That place is above the comments of the entry.
    """
    first = data_insert.above(data, entry)
    alone = flow.prefix(data.text, entry.start) is not None and first < flow.line_start(
        data.text, entry.start
    )
    head = first + len(data.text[first:]) - len(data.text[first:].lstrip(" \t")) if alone else None
    return Node(start=entry.start, end=entry.end, head=head)


def matched(text: str, operation: Operation, language: str) -> Matched:
    """Return what an operation changes. Raises PatchConflictError."""
    try:
        return data_change.matched(text, operation, language)
    except RecursionError as error:
        raise PatchConflictError(_DEEP) from error


def prove(step: Step) -> None:
    """Raise UnprovenError unless a reader of the file sees just the change that is meant."""
    try:
        data_proof.prove(step)
    except RecursionError as error:
        raise UnprovenError(_DEEP, text=step.before, position=0) from error


_DEEP = "The file is nested too deep for its values to be compared. Edit it as `text`."


def faults(text: str, language: str) -> int:
    """Return how many places of a text are not well formed.

    If the standard reader does not read the file, this is the count of the grammar. A key that a
    mapping has twice is one: some readers take the last, some refuse the file.
    """
    try:
        data = read(text, language)
    except PatchConflictError:
        if language == "toml":
            return 1

        return 1 + astgrep.faults(text, language)
    return sum(
        _doubled(value)
        for document in data.documents
        for value in values(document)
        if value.kind is Kind.MAPPING
    )


def _doubled(mapping: Value) -> int:
    """Return how many keys of a mapping are there already; YAML's sign for a merge is no key."""
    keys = [
        entry.key.read
        for entry in mapping.entries
        if entry.key is not None and entry.key.read is not None and entry.name != "<<"
    ]
    return len(keys) - len(set(keys))


def inner_lines(text: str, language: str) -> set[int]:
    """Return the numbers, from 0, of the lines that begin inside a multi-line text of TOML.

    JSON has no such texts. In YAML, the lines of a text are read relative to the indentation of the
    whole text, and all of them move together.
    """
    if language != "toml" or ('"""' not in text and "'''" not in text):
        return set()
    found: set[int] = set()
    for code, shift in (
        (text, 0),
        (f"value = {text}", len("value = ")),
        (f"value = {{{text}}}", len("value = {")),
    ):
        try:
            data = read(code, language)
        except PatchConflictError:
            continue
        for value in (
            value
            for statement in data.statements
            if statement.value is not None
            for value in values(statement.value)
        ):
            first, last = (text.count("\n", 0, place - shift) for place in (value.start, value.end))
            found.update(range(first + 1, last + 1) if value.kind is Kind.SCALAR else ())
        break
    return found
