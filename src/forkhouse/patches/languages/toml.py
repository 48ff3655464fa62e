"""TOML, through tomlkit, which keeps comments, order and spelling."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from forkhouse.errors import PatchConflictError
from forkhouse.patches.languages import Matched, key_steps, whole
from forkhouse.patches.languages.text import find

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tomlkit import TOMLDocument
    from tomlkit.items import Array

    from forkhouse.patches.edits import KeyOperation, PartChange
    from forkhouse.patches.languages import Step

__all__ = ["change_document", "change_items", "change_key", "faults", "find", "read"]


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


def items_of(text: str, path: str) -> list[object] | None:
    """Return what an array holds, None where there is no array."""
    *parents, last = key_steps(path)
    table = _holder(read(text).unwrap(), tuple(parents))
    found = table.get(last) if table is not None else None
    return found if isinstance(found, list) else None


def value_of(said: str) -> object:
    """Read one value. Raises PatchConflictError for what is none."""
    return read(f"value = {said}\n").unwrap()["value"]


def change_items(text: str, change: PartChange) -> Matched:
    """Add, remove or replace an item of an array."""
    *parents, last = key_steps(change.of.key or "")

    def changed(document: TOMLDocument) -> int:
        table = _holder(document, tuple(parents))
        array = table.get(last) if table is not None else None
        if not isinstance(array, list):
            return 0
        items = cast("Array", array)
        if change.add is not None:
            items.append(value_of(change.add))
            return 1
        wanted = value_of(change.gone or "")
        plain = items.unwrap()
        positions = [position for position, item in enumerate(plain) if item == wanted and type(item) is type(wanted)]
        for position in reversed(positions):
            if change.with_ is None:
                del items[position]
            else:
                items[position] = value_of(change.with_)
        return len(positions)

    return change_document(text, changed)


def inner_lines(text: str, language: str) -> set[int]:  # noqa: ARG001  # the protocol's signature
    """Return none: what is put into such a file is a value, and no code."""
    return set()


def prove(step: Step) -> None:  # the protocol's signature
    """Raise UnprovenError unless only what was meant has changed."""
