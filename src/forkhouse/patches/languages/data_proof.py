"""Prove that an operation on YAML, JSON or TOML changed what it says and nothing else.

The proof covers what a reader of the format sees, and what a person sees in the file.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from forkhouse.core.errors import PatchConflictError
from forkhouse.patches.backends import UnprovenError
from forkhouse.patches.edits import CodeOperation, KeyOperation
from forkhouse.patches.languages.data import BOM, Kind, NodeStyle, normal, read, seen, values
from forkhouse.patches.languages.data_change import expected, planned
from forkhouse.patches.languages.data_flow import skip_comments

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from forkhouse.patches.backends import Splice, Step
    from forkhouse.patches.languages.data import Data, Entry, Value


def prove(step: Step) -> None:
    """Raise UnprovenError unless a reader of the file sees just the change that is meant."""
    try:
        before = read(step.before, step.language)
    except PatchConflictError as error:
        _refuse(f"what the file held cannot be told. {error}", step.before, 0)
    try:
        after = read(step.after, step.language)
    except PatchConflictError as error:
        _refuse(
            f"it leaves a file that is no {step.language} any more. {error}",
            text=step.after,
            position=_first(step.splices),
        )
    moves = _Moves(step.splices)
    plan = planned(step.before, step.operation, step.language)
    if plan is not None:
        wanted = [normal(top, step.language) for top in expected(before, plan)]
        got = [normal(seen(top, ordered=True), step.language) for top in after.documents]
        if wanted != got:
            what = f"a reader would not see what the operation says. {_difference(wanted, got)}"
            _refuse(what, step.before, _first(step.splices))
    else:
        _prove_frame(before, after, moves, step)
        _prove_wrap(before, step)
        _prove_held(before, after, step)
        if _repeated(after) > _repeated(before):
            _refuse(
                "a key would stand twice in one mapping, of which readers take one",
                step.before,
                _first(step.splices),
            )
    if before.strict and not after.strict:
        what = "the file is strict JSON, and would hold comments or a comma before a bracket"
        _refuse(what, step.before, _first(step.splices))
    if step.before.startswith(BOM) != step.after.startswith(BOM):
        _refuse("the byte-order mark would go or come", step.before, 0)
    _prove_line_ends(step)
    _prove_comments(before, after, moves, step)


def _prove_held(before: Data, after: Data, step: Step) -> None:
    """Raise UnprovenError if a removal leaves a key without the value that it holds.

    A reader then sees a null.
    """
    empty, now = (
        sum(value.style is NodeStyle.EMPTY for top in data.documents for value in values(top))
        for data in (before, after)
    )
    if now > empty and not any(new.strip() for _, _, new in step.splices):
        what = "a key would be left without a value, and a reader would see null. Remove the key"
        _refuse(what, step.before, _first(step.splices))


def _repeated(data: Data) -> int:
    """Return how many keys are repeated in their mapping."""
    count = 0
    for top in data.documents:
        for value in values(top):
            names = [
                entry.name
                for entry in value.entries
                if entry.name is not None and entry.key is not None
            ]
            count += len(names) - len(set(names))
    return count


def _prove_wrap(before: Data, step: Step) -> None:
    """Raise UnprovenError if an operation wraps YAML of several lines.

    The lines would stand too far to the left, and in YAML their place has a meaning.
    """
    operation = step.operation
    if (
        before.language != "yaml"
        or not isinstance(operation, CodeOperation)
        or operation.wrap is None
    ):
        return
    for start, end, _ in step.splices:
        if "\n" in step.before[start:end]:
            _refuse(
                "what is wrapped has several lines, and would stand too far to the left. Replace "
                "the whole of it",
                step.before,
                start,
            )


def _refuse(what: str, text: str, position: int) -> NoReturn:
    raise UnprovenError(what, text=text, position=position)


def _first(splices: Sequence[Splice]) -> int:
    return min((start for start, _, _ in splices), default=0)


def _difference(wanted: object, got: object) -> str:
    """Return the first difference of two trees, for a person."""
    if (
        isinstance(wanted, tuple | list)
        and isinstance(got, tuple | list)
        and len(wanted) == len(got)
    ):
        for one, other in zip(wanted, got, strict=True):
            if one != other:
                return _difference(one, other)
    return f"Expected {_short(wanted)}, and it would be {_short(got)}."


_LENGTH = 200
"""The greatest number of characters of a value in a message."""


def _short(value: object) -> str:
    said = repr(value)
    return said if len(said) <= _LENGTH else f"{said[:_LENGTH]}…"


class _Moves:
    """The positions of the old text in the new text."""

    def __init__(self, splices: Sequence[Splice]) -> None:
        self.splices = sorted(splices, key=lambda splice: splice[:2])
        self.regions: list[tuple[int, int]] = []
        """The spans that are new in the text after the operation."""
        shift = 0
        for start, end, new in self.splices:
            self.regions.append((start + shift, start + shift + len(new)))
            shift += len(new) - (end - start)

    def moved(self, position: int) -> int:
        """Return the new position of a character that stays."""
        return position + sum(
            len(new) - (end - start)
            for start, end, new in self.splices
            if end <= position and start <= position
        )

    def gone(self, position: int) -> bool:
        """Say whether a character is removed."""
        return any(start <= position < end for start, end, _ in self.splices)

    def touched(self, start: int, end: int) -> bool:
        """Say whether a piece of the text before changes."""
        return any(
            (begun < end and over > start) or start < begun == over < end
            for begun, over, _ in self.splices
        )

    def is_new(self, position: int) -> bool:
        """Say whether a character of the new text was inserted."""
        return any(start <= position < end for start, end in self.regions)


def _prove_frame(before: Data, after: Data, moves: _Moves, step: Step) -> None:
    """Prove that all keys and values outside of a changed text are as they were.

    This is for an operation that gives a text and not a value.
    """
    if before.language == "toml":
        _prove_statements(before, after, moves, step)
        return
    if len(before.documents) != len(after.documents):
        what = (
            f"the file would hold {len(after.documents)} documents instead of "
            f"{len(before.documents)}"
        )
        _refuse(what, step.before, _first(step.splices))
    if not _says_text(step):
        _refuse_shared(before, moves, step)
    for one, other in zip(before.documents, after.documents, strict=True):
        _prove_value(one, other, moves, step)


def _says_text(step: Step) -> bool:
    operation = step.operation
    if isinstance(operation, KeyOperation) or not isinstance(operation, CodeOperation):
        return False
    place = operation.insert
    selector = (
        operation.replace
        or operation.wrap
        or operation.remove
        or (place.before or place.after if place else None)
    )
    return selector is not None and selector.anchor is not None


def _refuse_shared(before: Data, moves: _Moves, step: Step) -> None:
    for top in before.documents:
        used = {value.anchor for value in values(top) if value.kind is Kind.ALIAS}
        for value in values(top):
            if (
                value.kind is not Kind.ALIAS
                and value.anchor in used
                and moves.touched(value.start, value.end)
            ):
                what = (
                    f"what stands at the anchor &{value.anchor} is used at other places of the "
                    "file, and would change there too"
                )
                _refuse(what, step.before, value.start)


def _prove_value(one: Value, other: Value, moves: _Moves, step: Step) -> None:
    touched = moves.touched(one.start, one.end)
    if not touched and seen(one, ordered=True) == seen(other, ordered=True):
        return
    if any(
        start <= one.start and one.end <= end and start < end for start, end, _ in moves.splices
    ):
        return  # the operation changes all of it
    if (one.kind, one.tag, one.anchor) != (other.kind, other.tag, other.anchor):
        _refuse(
            "a value around or beside what is edited would be of another kind",
            step.before,
            one.start,
        )
    if one.kind in {Kind.SCALAR, Kind.ALIAS}:
        if not touched:
            _refuse("a value beside what is edited would be another one", step.before, one.start)
        return
    there = {entry.start: entry for entry in other.entries}
    for entry in one.entries:
        if moves.gone(entry.start) or moves.touched(
            entry.start, entry.sign if entry.sign is not None else entry.start + 1
        ):
            # Its key or its dash changes, but maybe not its value.
            _prove_rest(entry.value, other, moves, step)
            continue
        found = there.pop(moves.moved(entry.start), None)
        if found is None or _key(entry) != _key(found):
            _refuse(
                "a key or an item beside what is edited would not be there any more",
                step.before,
                entry.start,
            )
        _prove_value(entry.value, found.value, moves, step)
    strange = next((start for start in there if not moves.is_new(start)), None)
    if strange is not None:
        _refuse("what is edited would change which keys or items belong there", step.after, strange)


def _prove_rest(value: Value, other: Value, moves: _Moves, step: Step) -> None:
    """Prove that a value is still there when its key, or a part of it, was changed."""
    if value.start == value.end or all(moves.gone(place) for place in (value.start, value.end - 1)):
        return
    begins = None if moves.gone(value.start) else moves.moved(value.start)
    ends = None if moves.gone(value.end - 1) else moves.moved(value.end - 1) + 1
    held = [
        entry.value
        for entry in other.entries
        if begins in {None, entry.value.start} and ends in {None, entry.value.end}
    ]
    if not held:
        _refuse("a value beside what is edited would be another one", step.before, value.start)
    _prove_value(value, held[0], moves, step)


def _key(entry: Entry) -> object:
    return seen(entry.key, ordered=True) if entry.key is not None else None


def _prove_statements(before: Data, after: Data, moves: _Moves, step: Step) -> None:
    """Prove that each line of TOML outside of the changed text has the same key and value."""
    there = {statement.start: statement for statement in after.statements}
    for statement in before.statements:
        if moves.touched(statement.start, statement.end) or moves.gone(statement.start):
            continue
        found = there.get(moves.moved(statement.start))
        same = (
            found is not None
            and found.path == statement.path
            and (statement.value is None) == (found.value is None)
            and (
                statement.value is None
                or found.value is None
                or normal(seen(statement.value, ordered=True), "toml")
                == normal(seen(found.value, ordered=True), "toml")
            )
        )
        if not same:
            _refuse(
                "a key beside what is edited would be another one", step.before, statement.start
            )


_LINE_END = re.compile(r"\r\n|\n|\r")


def _prove_line_ends(step: Step) -> None:
    """Prove that new lines end as lines of the file do."""
    had = set(_LINE_END.findall(step.before))
    new = {end for _, _, text in step.splices for end in _LINE_END.findall(text)}
    if had and not new <= had and not ("\r" in step.before and "\n" not in step.before and not new):
        _refuse(
            "a new line would end otherwise than those of the file",
            step.before,
            _first(step.splices),
        )


def _prove_comments(before: Data, after: Data, moves: _Moves, step: Step) -> None:
    """Prove that comments outside of the changed text are still comments of the same things."""
    there = set(after.comments)
    text, now = step.before, step.after
    for start, end in before.comments:
        if moves.touched(start, end) or moves.gone(start):
            continue
        at = moves.moved(start)
        if (at, at + end - start) not in there:
            _refuse("a comment would not be one any more", text, start)
        line = text.rfind("\n", 0, start) + 1
        if text[line:start].strip(f" \t{BOM}"):
            held = line + len(text[line:start].rstrip()) - 1
            if not moves.gone(held) and (
                "\n" in now[moves.moved(held) : at] or _parted(now, moves.moved(held) + 1, at, step)
            ):
                _refuse("a comment would stand behind something else", text, start)
            continue
        follows = _following(before, end)
        # A comment at the head of a file is about the file, so an insertion may go below it.
        if not skip_comments(before, 0, start).strip(f"{BOM} \t\r\n") and _inserts(step):
            continue
        if (
            follows is not None
            and _inserts(step)
            and step.language == "yaml"
            and _is_inner(before, start, _column(text, follows))
        ):
            continue
        # A comment above a closing bracket is about no entry.
        if (
            follows is None
            or moves.gone(follows)
            or text[follows] in "]}"
            or _has_gap(text, end, follows)
        ):
            continue
        if _following(after, at + end - start) != moves.moved(follows):
            _refuse("a comment would stand above something else", text, start)


def _is_inner(data: Data, start: int, indent: int) -> bool:
    """Say whether a comment is indented as a part of what stands before it.

    The comments directly above it have to be indented so, too.
    """
    lines = {place - _column(data.text, place): place for place, _ in data.comments}
    at: int | None = start
    while at is not None:
        if _column(data.text, at) <= indent:
            return False
        line = at - _column(data.text, at)
        at = lines.get(data.text.rfind("\n", 0, line - 1) + 1) if line > 0 else None
        if at is not None and data.text[at - _column(data.text, at) : at].strip():
            return True  # behind something else, on its line
    return True


def _column(text: str, position: int) -> int:
    return position - text.rfind("\n", 0, position) - 1


def _inserts(step: Step) -> bool:
    return isinstance(step.operation, CodeOperation) and step.operation.insert is not None


def _parted(now: str, start: int, end: int, step: Step) -> bool:
    """Say whether an operation adds more than a comma between a value and its comment."""
    between = now[start:end].strip().strip(",")
    operation = step.operation
    adds = isinstance(operation, KeyOperation) and operation.add is not None
    adds = (
        adds
        or _inserts(step)
        or (
            isinstance(operation, CodeOperation)
            and operation.item is not None
            and operation.item.add is not None
        )
    )
    return bool(between) and adds


def _following(data: Data, position: int) -> int | None:
    """Return the position of the next text that is no comment."""
    for start, end in [*data.comments, (len(data.text), len(data.text))]:
        if end <= position:
            continue
        piece = data.text[position:start]
        if piece.strip():
            return position + len(piece) - len(piece.lstrip())
        position = end
    return None


def _has_gap(text: str, start: int, end: int) -> bool:
    """Say whether an empty line stands between a comment and what follows.

    Such a comment belongs to nothing else.
    """
    return re.search(r"\n[ \t]*\r?\n", text[start:end]) is not None
