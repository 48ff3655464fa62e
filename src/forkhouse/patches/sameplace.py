"""Say whether an edit names the same thing in a file now as at the pin.

A number in a path counts items, and an anchor is a piece of text. Both may lead to something else
when the upstream puts an item in front, or when the text goes on in another way.
"""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

from forkhouse.core.errors import PatchConflictError
from forkhouse.patches.edits import CodeOperation, KeyOperation, target
from forkhouse.patches.finding import find
from forkhouse.patches.keypaths import key_steps, path_said
from forkhouse.patches.languages.data import LANGUAGES, Kind, look, read, seen

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from forkhouse.patches.backends import Node
    from forkhouse.patches.edits import Operation, Selector
    from forkhouse.patches.languages.data import Data, Value

_IDENTITIES = ("name", "id", "key", "uses", "repo", "title", "path", "url", "image")
"""Keys whose values tell one item of a list from the others."""
_ALIKE = 0.5
"""The share of equal entries from which on two mappings may be one item that changed."""


def other_target(before: str, now: str, operation: Operation, language: str) -> str:
    """Say how the target of an operation differs from that at the pin.

    Returns an empty text if it is the same one, as far as can be told.
    """
    try:
        for path, document in _paths(operation) if language in LANGUAGES else ():
            told = _other_item(before, now, path, document, language)
            if told:
                return told
        for selector in _selectors(operation):
            told = _other_text(before, now, selector, language)
            if told:
                return told
    except PatchConflictError:
        return ""  # what cannot be read is reported where it is applied
    return ""


def _selectors(operation: Operation) -> Iterator[Selector]:
    """Yield the selectors of an operation, with those that enclose them."""
    selector = target(operation) if isinstance(operation, CodeOperation) else None
    while selector is not None:
        yield selector
        selector = selector.within


def _paths(operation: Operation) -> Iterator[tuple[str, int | None]]:
    if isinstance(operation, KeyOperation):
        if operation.remove is None:
            yield operation.path, operation.document
        return
    for selector in _selectors(operation):
        if selector.key is not None:
            yield selector.key, selector.document


def _other_item(before: str, now: str, path: str, document: int | None, language: str) -> str:
    """Say which number in a path leads to another item than at the pin."""
    was, there = read(before, language), read(now, language)
    if document is None:
        pairs = _with_path(was, there, path)
    else:
        old_tops, new_tops = was.documents, there.documents
        if max(len(old_tops), len(new_tops)) > 1:
            slot = _slot(old_tops, new_tops, document)
            if slot != document:
                return _told(f"document {document}", slot)
        pairs = list(zip(old_tops, new_tops, strict=False))[document : document + 1]
    for old, new in pairs:
        told = _walked(old, new, path)
        if told:
            return told
    return ""


def _with_path(was: Data, there: Data, path: str) -> list[tuple[Value, Value]]:
    """Return the one document at the pin and the one now that have a path, or most of it.

    Returns nothing if there is none. Raises PatchConflictError if there are several.
    """
    if len(was.documents) == len(there.documents) == 1:
        return [(was.documents[0], there.documents[0])]
    steps = key_steps(path)
    for depth in range(len(steps), 0, -1):
        places = [look(each, path_said(steps[:depth])) for each in (was, there)]
        if places[0] is not None and places[1] is not None:
            return [(was.documents[places[0].document], there.documents[places[1].document])]
    return []


def _walked(old: Value, new: Value, path: str) -> str:
    done: list[str] = []
    for step in key_steps(path):
        done.append(step)
        if old.kind is Kind.SEQUENCE and new.kind is Kind.SEQUENCE:
            if not step.isdecimal() or int(step) >= len(old.entries):
                return ""
            place = int(step)
            slot = _slot(
                [entry.value for entry in old.entries],
                [entry.value for entry in new.entries],
                place,
            )
            if slot != place:
                return _told(".".join(done), slot)
            old, new = old.entries[place].value, new.entries[place].value
            continue
        pair = [
            next((entry.value for entry in each.entries if entry.name == step), None)
            for each in (old, new)
        ]
        if pair[0] is None or pair[1] is None:
            return ""
        old, new = pair[0], pair[1]
    return ""


def _told(what: str, slot: int | None) -> str:
    where = "" if slot is None else f"; that one has the number {slot} now"
    return f"{what} is another one than at the pin{where}"


def _slot(was: Sequence[Value], there: Sequence[Value], place: int) -> int | None:
    """Return the position now of an item at the pin, or None if it is gone or cannot be told."""
    old, new = ([repr(seen(each, ordered=False)) for each in values] for values in (was, there))
    if place >= len(old):
        return None
    if place < len(new) and old[place] == new[place]:
        return place
    for kind, first, last, begin, end in SequenceMatcher(
        None, old, new, autojunk=False
    ).get_opcodes():
        if not first <= place < last:
            continue
        if kind == "equal":
            return begin + place - first
        named = [
            each for each in range(begin, end) if _identity(there[each]) == _identity(was[place])
        ]
        if _identity(was[place]) is not None:
            return named[0] if len(named) == 1 else None
        if last - first == end - begin:
            return begin + place - first
        alike = [each for each in range(begin, end) if _likeness(was[place], there[each]) >= _ALIKE]
        return alike[0] if len(alike) == 1 else None
    return None


def _identity(value: Value) -> object:
    """Return the entry of a mapping that tells it from others, or None."""
    named = {entry.name: entry.value for entry in value.entries if value.kind is Kind.MAPPING}
    return next(
        (
            (name, repr(seen(named[name], ordered=False)))
            for name in _IDENTITIES
            if name in named and named[name].kind is Kind.SCALAR
        ),
        None,
    )


def _likeness(one: Value, other: Value) -> float:
    """Return the share of entries that two mappings have in common, 0 for other values."""
    if one.kind is not Kind.MAPPING or other.kind is not Kind.MAPPING:
        return 0
    pairs = [
        {(entry.name, repr(seen(entry.value, ordered=False))) for entry in each.entries}
        for each in (one, other)
    ]
    return len(pairs[0] & pairs[1]) / max(1, len(pairs[0] | pairs[1]))


_GOES_ON = re.compile(r"[\w.+\-:/@=~]")
"""Characters with which a name, a version or a path goes on."""


def _other_text(before: str, now: str, selector: Selector, language: str) -> str:
    """Say that an anchor is a part of a longer word now, or no more of the word that it was."""
    if selector.anchor is None:
        return ""
    was, there = find(before, selector, language), find(now, selector, language)
    if len(was) != 1 or len(there) != 1:
        return ""
    edges = [_beside(text, node) for text, node in ((before, was[0]), (now, there[0]))]
    for old, new, inner in zip(*edges, (selector.anchor[0], selector.anchor[-1]), strict=True):
        goes_on = any(_GOES_ON.match(each) for each in (old, new))
        if old != new and goes_on and re.match(r"\w", inner):
            line = now.count("\n", 0, there[0].start)
            return (
                f"'{selector.anchor.strip()[:60]}' was a word by itself at the pin, or a part of "
                f"another word than now: '{now.splitlines()[line].strip()[:80]}'"
            )
    return ""


def _beside(text: str, node: Node) -> tuple[str, str]:
    """Return the characters beside a match; white space and the ends of a text count as one."""
    before, behind = text[: node.start][-1:], text[node.end :][:1]
    return before.strip(), behind.strip()
