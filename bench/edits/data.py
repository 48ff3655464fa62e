"""Operations on files of keys and values.

What any of their readers has to see, in one form for YAML, JSON and TOML.

A value is a pair: ("map", ((key, value), …)), ("list", (value, …)), or a type and the text of a
scalar. Types and order count.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.edits.case import Case, Raw
from bench.edits.stream import UnreadableError, layout

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

Value = tuple[str, Any]
Path = tuple[Any, ...]
"""Keys as values, and numbers of items."""


@dataclass(frozen=True, slots=True)
class Remark:
    """A comment, and the code that it is about.

    Behind which it stands on its line, or which its next line begins with.
    """

    text: str
    host: str
    behind: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """A value as a user writes it in an edit, and what may come of it beside a refusal."""

    said: object
    readings: tuple[Value, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Format:
    """A language of data, as its own readers see it."""

    read: Callable[[str], Value]
    """Raises UnreadableError."""
    second: Callable[[str], Value] | None
    """Another reader."""
    remarks: Callable[[str], list[Remark]]
    values: tuple[Written, ...]
    items: tuple[tuple[str, Value], ...]
    """New items of a list as they are written in the file."""
    spelt: Callable[[Value], str | None]
    """An item of a list as an edit names it."""
    unordered: bool = False
    """Keys may stand in any order.

    A table that exists only because of its entries disappears with the last of them.
    """


def walk(value: Value, path: Path = ()) -> Iterator[tuple[Path, Value]]:
    """Yield all values below one, with their paths."""
    kind, inner = value
    if kind == "map":
        for key, each in inner:
            yield (*path, key), each
            yield from walk(each, (*path, key))
    elif kind == "list":
        for number, each in enumerate(inner):
            yield (*path, number), each
            yield from walk(each, (*path, number))


def put(value: Value, path: Path, change: Callable[[Value], Value | None]) -> Value:
    """Return a value with the one at a path changed, or gone where the change gives None."""
    step, *rest = path
    kind, inner = value
    result: list[object] = []
    for number, each in enumerate(inner):
        key, old = each if kind == "map" else (number, each)
        if key == step:
            new = put(old, tuple(rest), change) if rest else change(old)
            if new is None:
                continue
            result.append((key, new) if kind == "map" else new)
        else:
            result.append(each)
    return kind, tuple(result)


_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def spelt(path: Path) -> str | None:
    """Return a path as an edit names it; None for one that no edit can name."""
    steps = []
    for step in path:
        if isinstance(step, int):
            steps.append(str(step))
            continue
        kind, text = step
        if (
            kind in {"map", "list", "merge"}
            or not text
            or '"' in text
            or "\n" in text
            or not text.isprintable()
        ):
            return None
        steps.append(text if _PLAIN.fullmatch(text) else f'"{text}"')
    return ".".join(steps)


def unambiguous(value: Value) -> bool:
    """Say whether no mapping has a key twice."""
    return all(
        each[0] != "map" or len({key for key, _ in each[1]}) == len(each[1])
        for each in [value, *(inner for _, inner in walk(value))]
    )


def judged(
    text: str,
    form: Format,
    expected: list[Value],
    *,
    loose: Callable[[Remark], bool] = lambda _: False,
    moved: Callable[[Remark], bool] = lambda _: False,
    unordered: bool = False,
    follows: str = "",
) -> Callable[[str], str | None]:
    """Return a judge of a result: the value that its readers see, its comments, its line ends.

    A loose comment may go; one that is moved stays, while the code that it is about is another.
    Where a key can take along a loose one that stands over it, that is about the key then, or about
    what it was about.
    """
    remarks = form.remarks(text)

    def check(after: str) -> str | None:
        try:
            found = form.read(after)
            other = form.second(after) if form.second is not None else None
        except UnreadableError as error:
            return f"the reader refuses the result: {error}"
        if not any(same(found, each, unordered=unordered or form.unordered) for each in expected):
            return f"the reader sees other values: {difference(expected[0], found)}"
        if other is not None and form.second is not None:
            before = form.second(text)
            if not _second(before, other, form.read(text), found):
                return "another reader sees other values than the first"
        old, new = _unfollowed(remarks, form.remarks(after), loose, follows)
        return _remarks(
            old,
            new,
            loose,
            lambda remark: moved(remark) or (loose(remark) and (remark.behind or not follows)),
        ) or layout(text, after)

    return check


def _second(before: Value, after: Value, first_before: Value, first_after: Value) -> bool:
    """Say whether two readers agree after an edit wherever they agreed before it."""
    was = _flat(first_before) == _flat(before)
    return not was or _flat(first_after) == _flat(after)


def _flat(value: Value) -> object:
    """Return the shape and the texts of a value, which readers of unlike rules agree on."""
    kind, inner = value
    if kind == "map":
        return tuple((_flat(key), _flat(each)) for key, each in inner)
    if kind == "list":
        return tuple(_flat(each) for each in inner)
    return inner


def same(one: Value, other: Value, *, unordered: bool) -> bool:
    """Say whether two values are equal.

    Keys may stand in another order where the order is not the file's to say.
    """
    if not unordered:
        return one == other
    return _sorted(one) == _sorted(other)


def _sorted(value: Value) -> Value:
    kind, inner = value
    if kind == "map":
        return kind, tuple(sorted(((key, _sorted(each)) for key, each in inner), key=repr))
    if kind == "list":
        return kind, tuple(_sorted(each) for each in inner)
    return value


def difference(wanted: Value, found: Value) -> str:
    """Return where two values differ first; what is of one file alone comes behind a bar."""
    one, other = dict(_leaves(wanted)), dict(_leaves(found))
    for path in [*one, *other]:
        if one.get(path) != other.get(path):
            place = ".".join(
                str(step[1]) if isinstance(step, tuple) else str(step) for step in path
            )
            kinds = [
                each[0] if each is not None else "nothing"
                for each in (one.get(path), other.get(path))
            ]
            return (
                f"{kinds[0]} wanted, {kinds[1]} found | at {place}: {str(one.get(path))[:150]}, "
                f"{str(other.get(path))[:150]}"
            )
    return "the same in another order"


def _leaves(value: Value) -> Iterator[tuple[Path, Value]]:
    for path, each in [((), value), *walk(value)]:
        if each[0] not in {"map", "list"} or not each[1]:
            yield path, each


def _unfollowed(
    before: list[Remark], after: list[Remark], loose: Callable[[Remark], bool], follows: str
) -> tuple[list[Remark], list[Remark]]:
    """Return the comments without those loose ones that stand over a key in the result."""
    kept, rest = [], list(after)
    for remark in before:
        there = Remark(remark.text, follows, behind=False)
        if follows and loose(remark) and not remark.behind and there in rest:
            rest.remove(there)
        else:
            kept.append(remark)
    return kept, rest


def _remarks(
    before: list[Remark],
    after: list[Remark],
    loose: Callable[[Remark], bool],
    moved: Callable[[Remark], bool],
) -> str | None:
    reached = {0}
    for remark in before:
        following = set()
        for at in reached:
            same_ = at < len(after) and (
                after[at] == remark
                or (
                    after[at].text == remark.text
                    and (moved(remark) or not remark.host or not after[at].host)
                )
            )
            following |= {at + 1} if same_ else set()
            following |= {at} if loose(remark) else set()
        if not following:
            at = max(reached)
            found = (
                f", it stands at {after[at].host!r} now"
                if at < len(after) and after[at].text == remark.text
                else ""
            )
            return (
                f"a comment is lost, or about something else | {remark.text!r} of "
                f"{remark.host!r}{found}"
            )
        reached = following
    return (
        None
        if len(after) in reached
        else f"a comment is there that nobody wrote | {after[max(reached)].text!r}"
    )


PLAIN = 0.75
"""The share of operations in their plainest form.

On a key and not an item of a list, named by its path and not by a selector.
"""


class _File:
    """A file of keys and values, and the cases that can be made of it."""

    def __init__(self, text: str, form: Format) -> None:
        self.text = text
        self.form = form
        self.value = form.read(text)
        if self.value[0] not in {"map", "list"} or not unambiguous(self.value):
            message = "it has no keys, or one twice"
            raise UnreadableError(message)
        self.places = [(path, each) for path, each in walk(self.value) if spelt(path) is not None]
        self.keys = [(path, each) for path, each in self.places if not isinstance(path[-1], int)]
        self.lists = [(path, each) for path, each in self.places if each[0] == "list"]
        self.maps = [(path, each) for path, each in self.places if each[0] == "map"]

    def set(self, chance: random.Random) -> Case | None:
        path, each = chance.choice(
            self.keys if chance.random() < PLAIN or not self.lists else self.places
        )
        new = chance.choice(self.form.values)
        expected = [_with(self.value, path, reading) for reading in new.readings]
        inside = self._inside(path, each)
        nothing = names((), ("list", ()))
        # A comment behind a scalar stays, one in a table or a list may go with it.
        goes, stays = (inside, nothing) if each[0] in {"map", "list"} else (nothing, inside)
        step = path[-1]
        follows = str(step[1]) if self.form.unordered and isinstance(step, tuple) else ""
        judge = judged(self.text, self.form, expected, loose=goes, moved=stays, follows=follows)
        return Case(kind="set", operation={"set": spelt(path), "value": new.said}, judge=judge)

    def add(self, chance: random.Random) -> Case | None:
        holders = [*self.maps, ((), self.value)] if self.value[0] == "map" else self.maps
        if not holders:
            return None
        path, each = chance.choice(holders)
        key = ("str", chance.choice(("added", "added.key", "Added-Key")))
        if any(old == key for old, _ in each[1]):
            return None
        new = chance.choice(self.form.values)
        expected = [_added(self.value, path, key, reading) for reading in new.readings]
        judge = judged(self.text, self.form, expected, unordered=True)
        return Case(
            kind="add", operation={"add": spelt((*path, key)), "value": new.said}, judge=judge
        )

    def remove(self, chance: random.Random) -> Case | None:
        path, each = chance.choice(self.places)
        expected = [put(self.value, path, lambda _: None)]
        for length in range(len(path) - 1, 0, -1) if self.form.unordered else ():
            if dict(_every(expected[-1]))[path[:length]][1]:
                break
            expected.append(put(expected[-1], path[:length], lambda _: None))
        said = spelt(path)
        operation: dict[str, object] = (
            {"remove": said} if chance.random() < PLAIN else {"remove": {"key": said}}
        )
        return Case(
            kind="remove",
            operation=operation,
            judge=judged(self.text, self.form, expected, loose=self._inside(path, each)),
        )

    def _inside(self, path: Path, each: Value) -> Callable[[Remark], bool]:
        """Return whether a comment is about what is at a path, or in it.

        In a list a comment may stand over nothing, and in an empty one it stands over what comes
        behind the list.
        """
        about = names(path[-1:], each)
        order = [place for place, _ in self.places]
        behind = next(
            (place for place in order[order.index(path) + 1 :] if place[: len(path)] != path), ()
        )
        over = (
            str(behind[-1][1])
            if each == ("list", ()) and behind and isinstance(behind[-1], tuple)
            else None
        )
        return lambda remark: (
            about(remark) or (each[0] in {"map", "list"} and not remark.host) or remark.host == over
        )

    def item(self, chance: random.Random) -> Case | None:
        path, each = chance.choice(self.lists)
        inner: tuple[Value, ...] = each[1]
        written, new = chance.choice(self.form.items)
        of = {"key": spelt(path)}
        action = chance.choice(("add", "remove", "replace"))
        if action == "add":
            expected = [_with(self.value, path, ("list", (*inner, new)))]
            last = names((), inner[-1]) if inner else names(path[-1:], each)
            judge = judged(
                self.text, self.form, expected, moved=lambda remark: remark.behind and last(remark)
            )
            return Case(
                kind="item add", operation={"item": {"of": of, "add": written}}, judge=judge
            )
        if not inner:
            return None
        number = chance.randrange(len(inner))
        said = self.form.spelt(inner[number])
        if said is None or inner.count(inner[number]) > 1:
            return None
        rest: tuple[Value, ...] = () if action == "remove" else (new,)
        expected = [
            _with(self.value, path, ("list", (*inner[:number], *rest, *inner[number + 1 :])))
        ]
        change: dict[str, object] = {
            "of": of,
            action: said,
            **({"with": written} if action == "replace" else {}),
        }
        judge = judged(self.text, self.form, expected, loose=names((number,), inner[number]))
        certain = not any(f"{quote}{said}{quote}" in self.text for quote in "'\"")
        return Case(kind=f"item {action}", operation={"item": change}, judge=judge, certain=certain)


def names(path: Path, each: Value) -> Callable[[Remark], bool]:
    """Return whether a comment is about what is at a path, or in it."""
    values = {str(inner[1]) for _, inner in _leaves(each)}
    # A collection with a tag of its own is one value here, and a comment may be about a part of it.
    values |= {
        text
        for _, inner in _leaves(each)
        if str(inner[0]).startswith("!")
        for text in re.findall(r"'([^']*)'", str(inner[1]))
    }
    steps = {
        str(step[1])
        for deep in [path[-1:], *(deep for deep, _ in walk(each))]
        for step in deep
        if isinstance(step, tuple)
    }
    texts = {line.strip("'\" \t") for text in values | steps for line in text.split("\n")}
    return lambda remark: remark.host.strip("'\" \t") in texts - {""}


def pool(text: str, form: Format) -> list[Callable[[random.Random], Case | None]]:
    """Return what makes cases of a file. Raises UnreadableError."""
    file = _File(text, form)
    makers: list[Callable[[random.Random], Case | None]] = [file.add]
    makers += [file.set, file.set, file.remove] if file.keys else []
    makers += [file.item] if file.lists else []
    return makers


def _every(value: Value) -> Iterator[tuple[Path, Value]]:
    yield (), value
    yield from walk(value)


def _with(value: Value, path: Path, reading: Value) -> Value:
    return put(value, path, lambda _: reading)


def _added(value: Value, path: Path, key: Value, reading: Value) -> Value:
    def more(old: Value) -> Value:
        return "map", (*old[1], (key, reading))

    return put(value, path, more) if path else more(value)


def raw(text: str, *readings: Value) -> Written:
    """Return a value written just so."""
    return Written(said=Raw(text=text), readings=readings)
