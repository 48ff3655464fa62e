"""Say whether an operation applies in the construct that it was made for.

What it looks for may stand once in another function, class, service or target, after the upstream
took it out of the one that is meant. Then the operation would apply there, and mean something else.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forkhouse.core.errors import PatchConflictError
from forkhouse.patches.backends import language_of, line_end, line_start
from forkhouse.patches.edits import CodeOperation, PartChange, Selector, target
from forkhouse.patches.effects import selected_after, selects_itself
from forkhouse.patches.finding import find
from forkhouse.patches.languages.data import LANGUAGES
from forkhouse.patches.languages.enclosures import Enclosure, enclosure_at, enclosures
from forkhouse.patches.merging import LIKENESS
from forkhouse.patches.partchanges import is_part
from forkhouse.patches.standing import results

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from forkhouse.patches.backends import Node, Span
    from forkhouse.patches.edits import Operation

_CODE = frozenset({"python", "c", "cpp", "rust", "bash"})
"""Languages in which a construct of the same name, elsewhere, may be another one."""
_NEAR = 3
"""The number of lines above and below a place by which it is known: those of git's context."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Match:
    """Where an operation applies."""

    around: Enclosure
    span: Span
    by_text: bool
    """Whether the operation names the text of the match, so that this text proves nothing."""


def other_place(
    before: str, now: str, operation: Operation, language: str, path: str
) -> tuple[str, str] | None:
    """Return the construct in which an operation applied at the pin, and the other one of now.

    Returns None if it is the same, or if the upstream renamed or moved it, as its other lines show.
    """
    lost, came = _lost_and_came(
        *(_matches(text, operation, language, path) for text in (before, now))
    )
    return _strayed(before, lost, now, came, language, path)


def other_result(
    left: str, now: str, operation: Operation, language: str, path: str
) -> tuple[str, str] | None:
    """Do the same as `other_place` for the result of an operation, which the upstream has.

    `left` is the text that the operation leaves at the pin.
    """
    lost, came = _lost_and_came(
        *(_results(text, operation, language, path) for text in (left, now))
    )
    return _strayed(left, lost, now, came, language, path)


def _lost_and_came(
    old: Sequence[_Match], new: Sequence[_Match]
) -> tuple[list[_Match], list[_Match]]:
    """Return the matches in constructs that have fewer of them now, and in those with more."""
    missing = Counter(each.around.chain for each in old)
    missing.subtract(each.around.chain for each in new)
    return (
        [each for each in old if missing[each.around.chain] > 0],
        [each for each in new if missing[each.around.chain] < 0],
    )


def other_place_of_lines(
    before: str, old: Sequence[Span], now: str, new: Sequence[Span], path: str
) -> tuple[str, str] | None:
    """Do the same as `other_place` for the spans of the lines that a diff changes."""
    matches = [
        [
            _Match(around=enclosure_at(text, span[0], "text", path), span=span, by_text=True)
            for span in spans
        ]
        for text, spans in ((before, old), (now, new))
    ]
    chains = [{each.around.chain for each in found} for found in matches]
    lost = [each for each in matches[0] if each.around.chain not in chains[1]]
    came = [each for each in matches[1] if each.around.chain not in chains[0]]
    return _strayed(before, lost, now, came, "text", path)


def _strayed(
    before: str,
    lost: Sequence[_Match],
    now: str,
    came: Sequence[_Match],
    language: str,
    path: str,
) -> tuple[str, str] | None:
    if not lost:
        return None
    known = dict.fromkeys(each.chain for each in enclosures(before, language, path))
    there = {each.chain: each for each in enclosures(now, language, path)}
    language = language_of(path) if language == "text" else language
    for match in came:
        if not any(_is_moved(before, each, known, now, match, there, language) for each in lost):
            return _said(lost[0].around), _said(match.around)
    return None


def _said(around: Enclosure) -> str:
    return f"'{' / '.join(around.chain)}'" if around.chain else "no function or the like"


def _matches(text: str, operation: Operation, language: str, path: str) -> list[_Match]:
    """Return where an operation applies, or nothing for one that names its place by a path."""
    selector = target(operation)
    if selector is None or selector.key is not None or not isinstance(operation, CodeOperation):
        return []
    try:
        nodes = find(text, selector, language)
    except PatchConflictError:
        return []
    change = operation.argument or operation.item
    made = []
    for node in nodes:
        start = node.start + len(text[node.start :]) - len(text[node.start :].lstrip())
        if change is None or _has(text, node, change, language, of_call=operation.item is None):
            made.append(
                _Match(
                    around=enclosure_at(text, start, language, path),
                    span=(start, node.end),
                    by_text=selector.function is None and selector.class_ is None,
                )
            )
    return made


def _results(text: str, operation: Operation, language: str, path: str) -> list[_Match]:
    """Return where the result of an operation stands, or nothing for a removal."""
    match operation:
        case CodeOperation(replace=Selector(key=None) as selector):
            new = operation.with_ or ""
            try:
                places = results(text, new, selector, language)
            except PatchConflictError:
                return []
            return [
                _Match(
                    around=enclosure_at(text, place, language, path),
                    span=(place, place + len(new.strip())),
                    by_text=True,
                )
                for place in places
            ]
        case (
            CodeOperation(argument=PartChange() as change)
            | CodeOperation(item=PartChange() as change)
        ):
            if change.come is None:
                return []
            of = selected_after(change) if selects_itself(change) else change.of
            kind = "argument" if operation.argument is not None else "item"
            had = PartChange(of=of, remove=change.come)
            return _matches(text, CodeOperation.model_validate({kind: had}), language, path)
        case CodeOperation(remove=None):
            return _matches(text, operation, language, path)
        case _:
            return []


def _has(text: str, node: Node, change: PartChange, language: str, *, of_call: bool) -> bool:
    """Say whether a call or list has the part that a change is about."""
    parts = node.arguments if of_call else node.items
    if change.gone is None or parts is None or language in LANGUAGES:
        return True
    return any(is_part(text[start:end], change.gone) for start, end in parts.spans)


def _is_moved(
    before: str,
    old: _Match,
    known: dict[tuple[str, ...], None],
    now: str,
    new: _Match,
    there: dict[tuple[str, ...], Enclosure],
    language: str,
) -> bool:
    """Say whether the construct of a match was renamed, or its lines moved to a new construct."""
    chains = old.around.chain, new.around.chain
    rest = there.get(chains[0]) if chains[0] else None
    if chains[1] in known and (chains[1] or rest is not None):
        return False
    if chains[0] and chains[1][: len(chains[0])] == chains[0]:
        return True  # within the same construct
    wrapped = chains[0] and chains[1][-len(chains[0]) :] == chains[0]
    if wrapped and rest is None and language not in _CODE:
        return True  # the same construct within a new one
    if language in {"cmake", "meson"} and len(chains[0]) == len(chains[1]):
        return _is_renamed(before, now, *chains)
    if _is_in_its_place([*known], [*there], *chains):
        return True
    left = _lines(now, *rest.span) if rest is not None else Counter[str]()
    came = _lines(now, *new.around.span)
    own = _lines(before, *old.span) if old.by_text else Counter[str]()
    lines = _near(before, old), _lines(before, *old.around.span) if chains[0] else Counter[str]()
    return any(_share(each - own - left, came) >= LIKENESS / 100 for each in lines)


def _is_in_its_place(
    known: list[tuple[str, ...]],
    there: list[tuple[str, ...]],
    old: tuple[str, ...],
    new: tuple[str, ...],
) -> bool:
    """Say whether one construct, and no other beside it, has a new name where the old one was."""
    if not old or not new or old[:-1] != new[:-1]:
        return False
    before, now = (
        [each for each in chains if len(each) == len(old) and each[:-1] == old[:-1]]
        for chains in (known, there)
    )
    return (
        {*before} - {*now} == {old}
        and {*now} - {*before} == {new}
        and before.index(old) == now.index(new)
    )


def _is_renamed(before: str, now: str, old: tuple[str, ...], new: tuple[str, ...]) -> bool:
    """Say whether two chains differ by names of which the old ones are gone, and the new ones new.

    A target of CMake that was there before is another one, though its command is as good as equal.
    """
    return all(
        one == other
        or (
            one.partition(" ")[0] == other.partition(" ")[0]
            and not _is_a_word(one.partition(" ")[2], now)
            and not _is_a_word(other.partition(" ")[2], before)
        )
        for one, other in zip(old, new, strict=True)
    )


def _is_a_word(name: str, text: str) -> bool:
    return not name or re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w.-])", text) is not None


def _near(text: str, match: _Match) -> Counter[str]:
    """Return the lines above and below a match, within its construct."""
    start, end = match.around.span
    above = [line for line in text[start : line_start(text, match.span[0])].splitlines() if line]
    below = [line for line in text[line_end(text, match.span[1]) : end].splitlines() if line]
    return _counted([*above[-_NEAR:], *below[:_NEAR]])


def _lines(text: str, start: int, end: int) -> Counter[str]:
    return _counted(text[line_start(text, start) : line_end(text, end)].splitlines())


def _counted(lines: Iterable[str]) -> Counter[str]:
    return Counter(
        short for line in lines if (short := "".join(line.split())) and re.search(r"\w", short)
    )


def _share(lines: Counter[str], found: Counter[str]) -> float:
    """Return the share of lines, by length, that are among others."""
    whole = sum(len(line) * count for line, count in lines.items())
    return sum(len(line) * count for line, count in (lines & found).items()) / max(1, whole)
