"""TOML for those that ask for more than keys: what an array of texts holds, and where; and tomlkit's documents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from forkhouse.errors import PatchConflictError
from forkhouse.patches.languages import Matched, data_flow, key_steps, whole
from forkhouse.patches.languages.data import Kind, Style, look
from forkhouse.patches.languages.data import read as data_of
from forkhouse.patches.languages.data_write import text_written as written_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tomlkit import TOMLDocument

    from forkhouse.patches.edits import KeyOperation
    from forkhouse.patches.languages import Span, Splice
    from forkhouse.patches.languages.data import Data, Value


def read(text: str) -> TOMLDocument:
    """Read TOML. Raises PatchConflictError for what is none."""
    import tomlkit  # noqa: PLC0415  # start-up time
    from tomlkit.exceptions import TOMLKitError  # noqa: PLC0415

    try:
        return tomlkit.parse(text)
    except (TOMLKitError, ValueError, RecursionError) as error:
        message = f"not TOML: {error}"
        raise PatchConflictError(message) from error


def faults(text: str, language: str) -> int:  # noqa: ARG001  # the protocol's signature
    """Say 1 when the text is no TOML. Asked often, and tomllib answers faster than tomlkit."""
    import tomllib  # noqa: PLC0415  # start-up time

    try:
        tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        return 1
    return 0


def change_document(text: str, change: Callable[[TOMLDocument], int]) -> Matched:
    """Change a document by a function that says how often it matched."""
    import tomllib  # noqa: PLC0415  # start-up time

    from tomlkit.exceptions import TOMLKitError  # noqa: PLC0415

    document = read(text)
    if document.as_string() != text:
        # Seen with an array of tables that other tables interrupt.
        message = "tomlkit does not write this file as it stands, so an edit would touch what is beside it. Use an `anchor`, in the language text."
        raise PatchConflictError(message)
    try:
        matches = change(document)
        changed = document.as_string() if matches else text
        # tomlkit's own view of what it changed and a strict reading of what it wrote have to be one.
        if matches and _comparable(tomllib.loads(changed)) != _comparable(document.unwrap()):
            message = "tomlkit cannot write this change without touching what is beside it. Use an `anchor`, in the language text."
            raise PatchConflictError(message)
    except (TOMLKitError, ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        message = f"tomlkit cannot make this change: {error}"
        raise PatchConflictError(message) from error
    return whole(text, changed, matches)


def _comparable(values: object) -> str:
    """Return values as text; in strings of several lines the two readers keep line ends or do not."""
    import json  # noqa: PLC0415  # start-up time

    return json.dumps(values, sort_keys=True, default=str).replace("\\r\\n", "\\n")


def _holder(document: object, steps: tuple[str, ...]) -> dict[str, object] | None:
    for step in steps:
        if not isinstance(document, dict) or step not in document:
            return None
        document = document[step]
    return cast("dict[str, object]", document) if isinstance(document, dict) else None


def _drop_implied(document: TOMLDocument, steps: Sequence[str]) -> None:
    """Drop tables that were there only because the header of what is gone named them."""
    from tomlkit.items import Table  # noqa: PLC0415  # start-up time

    for depth in range(len(steps), 0, -1):
        holder = _holder(document, tuple(steps[: depth - 1]))
        implied = holder[steps[depth - 1]] if holder is not None else None
        if holder is None or not isinstance(implied, Table) or not implied.is_super_table() or len(implied) > 0:
            return
        del holder[steps[depth - 1]]


def change_key(text: str, operation: KeyOperation) -> Matched:
    """Set, add or remove a key by its dotted path."""
    *parents, last = key_steps(operation.path)

    def change(document: TOMLDocument) -> int:
        table = _holder(document, tuple(parents))
        if table is None or (last in table) is (operation.add is not None):
            return 0
        if operation.remove is not None:
            del table[last]
            _drop_implied(document, parents)
        else:
            table[last] = list(operation.value) if isinstance(operation.value, tuple) else operation.value
        return 1

    return change_document(text, change)


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """A text in an array of TOML."""

    span: Span
    """Where it stands, with its quotes."""
    text: str
    """What it says."""


def keys_of(text: str, path: str) -> tuple[str, ...]:
    """Return the names of the keys of a table, in order; none where there is no table. Raises PatchConflictError for what is no TOML."""
    data = data_of(text, "toml")
    holder = data.documents[0]
    if path:
        place = look(data, path)
        if place is None or place.entry.value.kind is not Kind.MAPPING:
            return ()
        holder = place.entry.value
    return tuple(entry.name for entry in holder.entries if entry.name is not None)


def texts_of(text: str, path: str) -> tuple[Item | None, ...] | None:
    """Return the items of an array, None for each that is no text; None where there is no array at the path.

    Raises PatchConflictError for what is no TOML.
    """
    holder = _array(data_of(text, "toml"), path)
    if holder is None:
        return None
    found = []
    for entry in holder.entries:
        read_value = entry.value.read
        is_text = isinstance(read_value, tuple) and read_value[0] == "text"
        found.append(Item(span=(entry.start, entry.end), text=str(read_value[1])) if is_text and isinstance(read_value, tuple) else None)
    return tuple(found)


def item_added(text: str, path: str, item: str) -> list[Splice]:
    """Return what puts an item, as TOML writes it, last in an array. Raises PatchConflictError where there is no array."""
    data = data_of(text, "toml")
    return data_flow.added(data, _there(data, path), item)


def item_removed(text: str, path: str, position: int) -> list[Splice]:
    """Return what takes one item out of an array, with its comma. Raises PatchConflictError where there is no array."""
    data = data_of(text, "toml")
    return data_flow.removed(data, _there(data, path), position)


def text_written(said: str, *, like: str = "") -> str:
    """Write a text in quotes: in those of `like`, an item as it stands, where they can hold it."""
    if like.startswith("'") and not like.startswith("'''") and said.isprintable() and "'" not in said:
        return f"'{said}'"
    return written_text(said, "toml", flow=True)


def _array(data: Data, path: str) -> Value | None:
    place = look(data, path)
    value = place.entry.value if place is not None else None
    return value if value is not None and value.kind is Kind.SEQUENCE and value.style is Style.FLOW else None


def _there(data: Data, path: str) -> Value:
    holder = _array(data, path)
    if holder is None:
        message = f"{path} is no array."
        raise PatchConflictError(message)
    return holder
