"""Operations on code: made of the constructs that a reader found, whatever the language."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from bench.edits.case import Case
from bench.edits.stream import ANY, Change, Comment, Stream, UnreadableError, judge

if TYPE_CHECKING:
    import random
    import re
    from collections.abc import Callable, Iterable, Sequence

    from bench.edits.stream import Key

Range = tuple[int, int]
"""First piece of code, and the one behind the last."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Construct:
    """What a reader found that an operation can name."""

    what: str
    """function, class, call or assignment."""
    name: str
    core: Range
    whole: Range
    """The core with what belongs to it: decorators, attributes, its semicolon."""
    statement: bool = True
    """It stands alone: it can be removed, and something can be inserted at it."""
    parts: tuple[Range, ...] | None = None
    """Arguments or items; None where they cannot be told apart."""
    closing: int = -1
    """The piece that closes the parts."""
    instead: tuple[Key, ...] = ()
    """What has to come where it is removed."""
    alike: int = 1
    """How many constructs of the file have this kind and name."""
    list_: bool = False
    """The parts are items."""
    trailing: bool = False
    """A comma stands behind the last part."""
    lone: bool = False
    """A single part needs a comma behind it."""
    scope: str = ""
    """The function that it is looked for in; nothing for the whole file."""

    @property
    def selector(self) -> dict[str, object]:
        """How an edit names it."""
        return {
            self.what: self.name,
            **({"within": {"function": self.scope}} if self.scope else {}),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Tongue:
    """What a language brings to the operations on it."""

    read: Callable[[str], Stream]
    """Raises UnreadableError."""
    texts: Callable[[str, str, random.Random], str | None]
    """A new text for a construct of a kind and name."""
    statement: Callable[[random.Random], str]
    """A new text to stand alone."""
    part: Callable[[random.Random], str]
    """A new argument or item."""
    wrapper: str = "outer($MATCH)"
    documents: re.Pattern[str] | None = None
    """How comments begin that belong to what stands behind them."""
    commas: bool = True
    verify: Callable[[str, str], str | None] = field(default=lambda _before, _after: None)
    """A further reader: the old text and the new one."""
    keyword: str = ""
    """What stands behind the name of an argument that is given by name.

    Those come last, and what has no name stands before them.
    """
    fragment: Callable[[str], Stream] | None = None
    """Reads a new text that is no statement, where that is not the same as reading a file."""

    def keys(self, text: str, *, whole: bool = False) -> tuple[tuple[Key, ...], tuple[str, ...]]:
        """Return the code and the comments of a new text, which is whole statements or not."""
        return _keys(self.read if whole or self.fragment is None else self.fragment, text)


@lru_cache(maxsize=4096)
def _keys(read: Callable[[str], Stream], text: str) -> tuple[tuple[Key, ...], tuple[str, ...]]:
    stream = read(text)
    return tuple(token.key for token in stream.code), tuple(
        comment.text for comment in stream.comments
    )


def judged(
    stream: Stream, tongue: Tongue, alternatives: Iterable[Sequence[Change]]
) -> Callable[[str], str | None]:
    """Return a judge that lets any of several results pass."""
    ways = list(alternatives)

    def check(after: str) -> str | None:
        try:
            new = tongue.read(after)
        except UnreadableError as error:
            return f"the reader refuses the result: {error}"
        wrong = None
        for changes in ways:
            wrong = judge(stream, new, changes)
            if wrong is None:
                return tongue.verify(stream.text, after)
        return wrong

    return check


def loose(stream: Stream, span: Range, *, above: bool = True) -> tuple[Comment, ...]:
    """Return the comments that go or stay with pieces of code.

    In them, behind them on their last line, and those directly over them.
    """
    first, last = span
    end, start = stream.edges(first, last)
    inner = (
        stream.code[first].start,
        max((token.end for token in stream.code[first:last] if token.end > token.start), default=0),
    )
    over = stream.documents(inner[0], ANY) if above else ()
    own = inner[0] - stream.text.rfind("\n", 0, inner[0])
    found = []
    for comment in stream.between(end, start):
        inside = inner[0] <= comment.start < inner[1]
        behind = comment.start >= inner[1] and "\n" not in stream.text[inner[1] : comment.start]
        deeper = (
            comment.start >= inner[1]
            and comment.start - stream.text.rfind("\n", 0, comment.start) > own
            and not stream.trailing(comment)
        )
        if inside or behind or deeper or comment in over:
            found.append(comment)
    return tuple(found)


MOST = 3
"""Constructs of one name that one operation changes."""


def cases(
    stream: Stream,
    tongue: Tongue,
    constructs: Sequence[Construct],
    scopes: Sequence[Construct] = (),
) -> list[Callable[[random.Random], Case | None]]:
    """Return what makes cases of the constructs of a file.

    Those that are there several times are named within a function, or counted.
    """
    alone = [each for each in constructs if each.alike == 1]
    groups: dict[tuple[str, str], list[Construct]] = {}
    for each in constructs:
        groups.setdefault((each.what, each.name), []).append(each)
    # One without a place is there for the reader, but not clearly enough to be edited.
    several = [
        those
        for those in groups.values()
        if len(those) > 1 and all(each.core != (0, 0) for each in those)
    ]
    functions = [
        each for each in [*constructs, *scopes] if each.what == "function" and each.alike == 1
    ]
    scoped = [
        replace(inner[0], scope=function.name)
        for those in several
        for function in functions
        if len(
            inner := [
                each
                for each in those
                if function.core[0] < each.core[0] and each.core[1] <= function.core[1]
            ]
        )
        == 1
    ]
    together = [those for those in several if len(those) <= MOST and _apart(those)]
    by_kind: dict[str, list[list[Construct]]] = {}
    for each in alone:
        by_kind.setdefault(each.what, []).append([each])
    makers: list[Callable[[random.Random], Case | None]] = []
    for one_kind in by_kind.values():
        makers += 5 * [
            lambda chance, one_kind=one_kind: operate(
                stream, tongue, chance.choice(one_kind), chance
            )
        ]
    if scoped:
        makers += 3 * [lambda chance: operate(stream, tongue, [chance.choice(scoped)], chance)]
    if together:
        makers += 2 * [lambda chance: operate(stream, tongue, chance.choice(together), chance)]
    parted = [each for each in [*alone, *scoped] if each.parts is not None]
    if parted:
        makers += 5 * [lambda chance: change_parts(stream, tongue, chance.choice(parted), chance)]
    return makers


def _apart(those: Sequence[Construct]) -> bool:
    spans = sorted(each.whole for each in those)
    return all(one[1] < other[0] for one, other in itertools.pairwise(spans))


def operate(
    stream: Stream, tongue: Tongue, those: Sequence[Construct], chance: random.Random
) -> Case | None:
    """Make a case of one construct as a whole, or of all that have a name."""
    one = those[0]
    several = len(those) > 1
    action = chance.choice(("replace", "remove", "before", "after", "wrap"))
    if action == "remove" and several:
        return None  # two of one block may leave it empty
    if (
        action in {"remove", "before", "after"} and not all(each.statement for each in those)
    ) or len({each.statement for each in those}) > 1:
        return None
    if action == "wrap" and (
        one.what != "call" or any(each.parts is None for each in those) or not tongue.wrapper
    ):
        return None
    selector = one.selector
    text = ""
    operation: dict[str, object]
    match action:
        case "replace":
            found = tongue.texts(one.what, one.name, chance)
            if found is None:
                return None
            text, operation = found, {"replace": selector, "with": found}
        case "wrap":
            operation = {"wrap": selector, "with": tongue.wrapper}
        case "remove":
            operation = {"remove": selector}
        case _:
            text = tongue.statement(chance)
            operation = {"insert": {action: selector, "text": text}}
    changes = [
        change
        for each in sorted(those, key=lambda each: each.core)
        for change in _changes(stream, tongue, each, action, text)
    ]
    kind = f"{action} {one.what}{' within' if one.scope else ' counted' if several else ''}"
    return Case(
        kind=kind,
        operation={**operation, **({"count": len(those)} if several else {})},
        judge=judged(stream, tongue, [changes]),
    )


def _changes(
    stream: Stream, tongue: Tongue, one: Construct, action: str, text: str
) -> list[Change]:
    if action == "replace":
        keys, comments = tongue.keys(text, whole=one.statement)
        return [
            Change(
                first=one.core[0],
                last=one.core[1],
                new=keys,
                comments=comments,
                loose=loose(stream, one.core, above=False),
            )
        ]
    if action == "wrap":
        keys, _ = tongue.keys(tongue.wrapper.replace("$MATCH", "matched"))
        at = next(number for number, (_, said) in enumerate(keys) if said == "matched")
        first, last = one.core[0], one.closing + 1
        return [
            Change(first=first, last=first, new=keys[:at]),
            Change(first=last, last=last, new=keys[at + 1 :]),
        ]
    if action == "remove":
        docs = (
            stream.documents(stream.code[one.whole[0]].start, tongue.documents)
            if tongue.documents
            else ()
        )
        return [
            Change(
                first=one.whole[0],
                last=one.whole[1],
                new=one.instead,
                loose=loose(stream, one.whole),
                gone=docs,
            )
        ]
    keys, comments = tongue.keys(text, whole=True)
    at = one.whole[0] if action == "before" else one.whole[1]
    _, behind = stream.edges(at, at)
    docs = stream.documents(behind, tongue.documents) if tongue.documents else ()
    return [Change(first=at, last=at, new=keys, comments=comments, tied=docs)]


def change_parts(
    stream: Stream, tongue: Tongue, one: Construct, chance: random.Random
) -> Case | None:
    """Make a case of one argument of a call, or one item of a list."""
    parts = one.parts or ()
    name = "item" if one.list_ else "argument"
    selector = one.selector
    text = tongue.part(chance)
    keys, comments = tongue.keys(text)
    comma: tuple[Key, ...] = (
        ((stream.code[one.closing - 1].kind, ","),) if one.trailing else tongue.keys(",")[0]
    )
    comma = comma if tongue.commas else ()
    action = chance.choice(("add", "remove", "replace"))
    kind = f"{name} {action}"
    if action == "add":
        last = parts[-1][1] if parts else one.closing
        first_of_tuple = (*keys, *comma) if one.lone and not parts else keys
        named = (
            None
            if one.list_ or keys_named(keys, tongue)
            else next((part for part in parts if _is_named(stream, part, tongue)), None)
        )
        ways = [
            [
                Change(
                    first=last,
                    last=last,
                    new=(*(comma if parts else ()), *first_of_tuple),
                    comments=comments,
                )
            ]
        ]
        if named is not None:
            ways = [[Change(first=named[0], last=named[0], new=(*keys, *comma), comments=comments)]]
        elif one.trailing:
            ways = [
                [
                    Change(
                        first=one.closing, last=one.closing, new=(*keys, *comma), comments=comments
                    )
                ],
                [Change(first=one.closing, last=one.closing, new=keys, comments=comments)],
            ]
        return Case(
            kind=kind,
            operation={name: {"of": selector, "add": text}},
            judge=judged(stream, tongue, ways),
        )
    if not parts:
        return None
    number = chance.randrange(len(parts))
    first, last = parts[number]
    said = stream.text[stream.code[first].start : stream.code[last - 1].end]
    if "\n" in said or any(
        stream.text[stream.code[a].start : stream.code[b - 1].end] == said
        for n, (a, b) in enumerate(parts)
        if n != number
    ):
        return None
    if action == "replace":
        change = Change(
            first=first,
            last=last,
            new=keys,
            comments=comments,
            loose=tuple(inside(stream, (first, last))),
        )
        return Case(
            kind=kind,
            operation={name: {"of": selector, "replace": said, "with": text}},
            judge=judged(stream, tongue, [[change]]),
        )
    ways = []
    spare = loose(stream, (first, last))
    if one.lone and len(parts) == 2:  # the other one stays, and its comma with it
        ways = [[Change(first=first, last=last + 1, loose=loose(stream, (first, last + 1)))]]
        if not one.trailing:
            other = parts[0][1] if number else one.closing
            gone = Change(first=first, last=last, loose=spare)
            between = Change(first=first, last=last + 1, loose=loose(stream, (first, last + 1)))
            ways = [[gone]] if number else [[between, Change(first=other, last=other, new=comma)]]
        return Case(
            kind=kind,
            operation={name: {"of": selector, "remove": said}},
            judge=judged(stream, tongue, ways),
        )
    if not tongue.commas or (len(parts) == 1 and not one.trailing):
        ways.append([Change(first=first, last=last, loose=spare)])
    else:
        # The comma behind it goes, or the one before it; both leave the same code but for a comment
        # at either.
        if number + 1 < len(parts) or one.trailing:
            ways.append(
                [Change(first=first, last=last + 1, loose=loose(stream, (first, last + 1)))]
            )
        if number > 0:
            ways.append(
                [Change(first=first - 1, last=last, loose=loose(stream, (first - 1, last)))]
            )
        if one.trailing and number + 1 == len(parts) and number > 0:
            ways.append(
                [Change(first=first - 1, last=last + 1, loose=loose(stream, (first - 1, last + 1)))]
            )
    return Case(
        kind=kind,
        operation={name: {"of": selector, "remove": said}},
        judge=judged(stream, tongue, ways),
    )


def keys_named(keys: Sequence[Key], tongue: Tongue) -> bool:
    """Say whether an argument is given by name: `NAME=VALUE`, or `**` with a mapping."""
    words = [said for _, said in keys[:2]]
    return bool(tongue.keyword) and (
        words[:1] == ["**"] or (words[1:] == [tongue.keyword] and words[0].isidentifier())
    )


def _is_named(stream: Stream, part: Range, tongue: Tongue) -> bool:
    return keys_named([(each.kind, each.text) for each in stream.code[slice(*part)]], tongue)


def inside(stream: Stream, span: Range) -> list[Comment]:
    """Return the comments in pieces of code."""
    first, last = span
    return stream.between(stream.code[first].start, stream.code[last - 1].end)


def counted(constructs: Sequence[Construct]) -> list[Construct]:
    """Return the constructs with how many of them have the same kind and name."""
    numbers = Counter((each.what, each.name) for each in constructs)
    return [replace(each, alike=numbers[each.what, each.name]) for each in constructs]
