"""Make operations for every key and item of a document, and what a reader must see after each."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import yaml

from forkhouse.conformance.peers.readers import Keyed, Listed, ReadScalar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkhouse.conformance.peers.readers import Language, Seen

Action = Literal["set", "add", "remove", "item-add", "item-remove", "item-replace"]
StepPath = tuple[int, ...]
"""Positions from the top of all documents: which document, then which entry or item, and so on."""
NEW_KEY = "forkhouse-new"
NEW_TEXT = "ours"

VALUES: tuple[tuple[str, str, Seen], ...] = (
    ("text", '"ours"', ReadScalar(type="str", text="ours")),
    ("int", "42", ReadScalar(type="int", text="42")),
    ("float", "2.5", ReadScalar(type="float", text="2.5")),
    ("bool", "true", ReadScalar(type="bool", text="true")),
    (
        "list",
        '[7, "two"]',
        Listed(items=(ReadScalar(type="int", text="7"), ReadScalar(type="str", text="two"))),
    ),
    ("like-time", '"22:22"', ReadScalar(type="str", text="22:22")),
    ("like-bool", '"no"', ReadScalar(type="str", text="no")),
    ("like-float", '"1e3"', ReadScalar(type="str", text="1e3")),
    ("like-int", '"017"', ReadScalar(type="str", text="017")),
    ("blanks", '" # x: "', ReadScalar(type="str", text=" # x: ")),
    ("quotes", json.dumps('say "it\'s" \\ so'), ReadScalar(type="str", text='say "it\'s" \\ so')),
)
"""What is written in an edit, and what a reader has to see. Every key gets two of them, in turn."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DocumentOperation:
    """One operation of an edit."""

    id: str
    """Position of what it is about among all that the document holds, and what is done.

    No text of the document.
    """
    action: Action
    target: StepPath
    """What it is about.

    The value that is set or removed, the mapping or list that gets something, the item that goes.
    """
    written: str
    """The operation as a line of an edit, which is YAML."""
    name: str
    """The path that it names."""
    value: Seen | None
    """What is there afterwards; None for a removal."""
    sure: bool = True
    """Whether there is exactly one thing that the path can mean.

    If not, the operation has to be refused.
    """


def operations(documents: tuple[Seen, ...], language: Language) -> Iterator[DocumentOperation]:
    """Yield the operations on what a reader sees; of several documents each by its number, too."""
    together = [name for document in documents for name, _, _ in _named(document, ())]
    lone = sum(isinstance(document, Keyed) for document in documents) == 1
    for number, document in enumerate(documents):
        yield from _on_document(
            document, _Which(number=number, said={}, names=Counter(together), lone=lone), language
        )
        if len(documents) > 1:
            own = Counter(name for name, _, _ in _named(document, ()))
            yield from _on_document(
                document,
                _Which(number=number, said={"document": number}, names=own, lone=True),
                language,
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Which:
    """One of the documents of a file."""

    number: int
    said: dict[str, int]
    """How an operation names it, where it does."""
    names: Counter[tuple[str, ...]]
    """How often each path can mean something."""
    lone: bool
    """Whether a path without a step can mean one mapping alone."""

    @property
    def id(self) -> str:
        return f"{self.number}{'@' if self.said else ''}"


def _on_document(document: Seen, which: _Which, language: Language) -> Iterator[DocumentOperation]:
    if isinstance(document, Keyed):
        yield _operation(
            f"{which.id}:add",
            "add",
            (which.number,),
            {"add": NEW_KEY, **which.said},
            VALUES[0],
            sure=which.lone,
        )
    turn = 0
    for position, (steps, target, seen) in enumerate(_named(document, ())):
        if not all(map(_can_be_said, steps)):
            continue
        name, sure = ".".join(map(_step, steps)), which.names[steps] == 1
        place, path = f"{which.id}:{position}", (which.number, *target)
        for _ in range(2):
            value = VALUES[turn % len(VALUES)]
            turn += 1
            if value[2] != seen:
                yield _operation(
                    f"{place}:set-{value[0]}",
                    "set",
                    path,
                    {"set": name, **which.said},
                    value,
                    sure=sure,
                )
        yield _operation(
            f"{place}:remove", "remove", path, {"remove": name, **which.said}, None, sure=sure
        )
        if isinstance(seen, Keyed):
            value = VALUES[turn % len(VALUES)]
            yield _operation(
                f"{place}:add-{value[0]}",
                "add",
                path,
                {"add": f"{name}.{NEW_KEY}", **which.said},
                value,
                sure=sure,
            )
        if isinstance(seen, Listed):
            yield from _items(place, path, {"key": name, **which.said}, seen, language, sure=sure)


def _operation(
    place: str,
    action: Action,
    target: StepPath,
    said: dict[str, str | int],
    value: tuple[str, str, Seen] | None,
    *,
    sure: bool,
) -> DocumentOperation:
    written = _yaml(said)[:-1] + (f", value: {value[1]}" if value else "") + "}"
    name = str(said[action])
    return DocumentOperation(
        id=place,
        action=action,
        target=target,
        written=written,
        name=name,
        value=value[2] if value else None,
        sure=sure,
    )


def _yaml(said: object) -> str:
    """Write an operation on one line of YAML, its texts quoted."""
    if isinstance(said, dict):
        return f"{{{', '.join(f'{_yaml(key)}: {_yaml(value)}' for key, value in said.items())}}}"
    if isinstance(said, int):
        return str(said)
    return str(
        yaml.safe_dump(said, default_style='"', width=float("inf"), allow_unicode=True)
    ).strip()


def _items(
    place: str,
    path: StepPath,
    of: dict[str, str | int],
    seen: Listed,
    language: Language,
    *,
    sure: bool,
) -> Iterator[DocumentOperation]:
    """Yield operations on the items of a list, each named as it is written."""

    def operation(
        what: str, action: Action, target: StepPath, change: dict[str, str], value: Seen | None
    ) -> DocumentOperation:
        written = _yaml({"item": {"of": of, **change}})
        return DocumentOperation(
            id=f"{place}:{what}",
            action=action,
            target=target,
            written=written,
            name=str(of["key"]),
            value=value,
            sure=sure,
        )

    new = NEW_TEXT if language == "yaml" else json.dumps(NEW_TEXT)
    ours = ReadScalar(type="str", text=NEW_TEXT)
    yield operation("item-add", "item-add", path, {"add": new}, ours)
    texts = Counter(item.text for item in seen.items if isinstance(item, ReadScalar))
    for position, item in enumerate(seen.items):
        # A number is written as a reader sees it; a text may be written in several ways.
        if (
            isinstance(item, ReadScalar)
            and item.type == "int"
            and re.fullmatch(r"-?[1-9]\d*", item.text)
            and texts[item.text] == 1
        ):
            yield operation(
                f"item-remove-{position}",
                "item-remove",
                (*path, position),
                {"remove": item.text},
                None,
            )
            yield operation(
                f"item-replace-{position}",
                "item-replace",
                (*path, position),
                {"replace": item.text, "with": new},
                ours,
            )


def _named(
    seen: Seen, target: StepPath, steps: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], StepPath, Seen]]:
    """Yield everything below a value that a path can name.

    Its steps, where it is, and what it is.
    """
    inner: list[tuple[str, Seen]] = []
    if isinstance(seen, Listed):
        inner = [(str(position), item) for position, item in enumerate(seen.items)]
    elif isinstance(seen, Keyed):
        inner = [
            (key.text if isinstance(key, ReadScalar) else "", value) for key, value in seen.entries
        ]
    for position, (step, value) in enumerate(inner):
        if isinstance(seen, Keyed) and not isinstance(seen.entries[position][0], ReadScalar):
            continue  # a key that is no text: no path can name it
        yield (*steps, step), (*target, position), value
        yield from _named(value, (*target, position), (*steps, step))


def _can_be_said(step: str) -> bool:
    """Say whether a path can name a step.

    It has no quote, and no half of a surrogate pair, which no text has.
    """
    return '"' not in step and step.encode("utf-8", "replace").decode("utf-8") == step


def _step(step: str) -> str:
    return step if re.fullmatch(r"[A-Za-z0-9_-]+", step) else f'"{step}"'


def agrees(
    before: tuple[Seen, ...],
    after: tuple[Seen, ...],
    operation: DocumentOperation,
    language: Language,
) -> bool:
    """Return whether a reader sees exactly the change that an operation asks for."""
    wanted = _changed(Listed(items=before), operation.target, operation)
    now: Seen = Listed(items=after)
    if language != "toml":
        return wanted == now
    # The tables of a TOML file may stand in any order, and one that only the header of what is gone
    # named may go with it.
    right = {_unordered(wanted)}
    for depth in range(len(operation.target) - 1, 1, -1) if operation.action == "remove" else ():
        wanted = _without_empty(wanted, operation.target[:depth])
        right.add(_unordered(wanted))
    return _unordered(now) in right


def alike(one: tuple[Seen, ...], other: tuple[Seen, ...]) -> bool:
    """Return whether two readers see the same keys and items, apart from the types of values."""
    return _untyped(Listed(items=one)) == _untyped(Listed(items=other))


def _untyped(seen: Seen) -> Seen:
    if isinstance(seen, Keyed):
        return Keyed(entries=tuple((_untyped(key), _untyped(value)) for key, value in seen.entries))
    return (
        Listed(items=tuple(map(_untyped, seen.items)))
        if isinstance(seen, Listed)
        else ReadScalar(type="", text=seen.text)
    )


def _unordered(seen: Seen) -> Seen:
    if isinstance(seen, Keyed):
        return Keyed(
            entries=tuple(
                sorted(
                    ((key, _unordered(value)) for key, value in seen.entries),
                    key=lambda entry: repr(entry[0]),
                )
            )
        )
    return Listed(items=tuple(map(_unordered, seen.items))) if isinstance(seen, Listed) else seen


def _without_empty(seen: Seen, target: StepPath) -> Seen:
    """Return what is seen, without the mapping at a place when that mapping is empty."""
    position, *rest = target
    if isinstance(seen, ReadScalar):
        return seen
    if isinstance(seen, Listed):
        items = list(seen.items)
        if rest and position < len(items):
            items[position] = _without_empty(items[position], tuple(rest))
        return Listed(items=tuple(items))
    entries = list(seen.entries)
    if position < len(entries):
        key, value = entries[position]
        if rest:
            entries[position] = (key, _without_empty(value, tuple(rest)))
        elif value == Keyed(entries=()):
            del entries[position]
    return Keyed(entries=tuple(entries))


def _changed(seen: Seen, target: StepPath, operation: DocumentOperation) -> Seen:
    if not target:
        return _with_new(seen, operation)
    position, *rest = target
    inner = tuple(rest)
    if isinstance(seen, Listed):
        item = (
            None if _goes(inner, operation) else _replaced(seen.items[position], inner, operation)
        )
        return Listed(
            items=(
                *seen.items[:position],
                *([] if item is None else [item]),
                *seen.items[position + 1 :],
            )
        )
    assert isinstance(seen, Keyed)  # paths lead through lists and mappings
    key, value = seen.entries[position]
    entry = [] if _goes(inner, operation) else [(key, _replaced(value, inner, operation))]
    return Keyed(entries=(*seen.entries[:position], *entry, *seen.entries[position + 1 :]))


def _goes(inner: StepPath, operation: DocumentOperation) -> bool:
    return not inner and operation.action in {"remove", "item-remove"}


def _replaced(seen: Seen, inner: StepPath, operation: DocumentOperation) -> Seen:
    if not inner and operation.action in {"set", "item-replace"}:
        assert operation.value is not None  # what is set has a value
        return operation.value
    return _changed(seen, inner, operation)


def _with_new(seen: Seen, operation: DocumentOperation) -> Seen:
    assert operation.value is not None  # what is added has a value
    if isinstance(seen, Listed):
        return Listed(items=(*seen.items, operation.value))
    assert isinstance(seen, Keyed)  # nothing else gets something added
    return Keyed(entries=(*seen.entries, (ReadScalar(type="str", text=NEW_KEY), operation.value)))
