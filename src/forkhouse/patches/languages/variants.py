"""Show a text of C or C++ as the compiler reads it, for each choice of the conditions near a place.

The grammars read the branches of `#if` one by one. So they take `if (a)` in a branch, and `f();`
behind `#endif`, for two statements. A compiler that chooses that branch reads one. A proof that an
operation changes nothing else has to hold for what a compiler reads, whatever it chooses.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

from forkhouse.patches.languages.masking import blanked, without_comments_and_literals

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from forkhouse.patches.backends import Span

_DIRECTIVE = re.compile(
    r"^[ \t]*(?:#|\?\?=|%:)[ \t]*(if|ifdef|ifndef|elif|elifdef|elifndef|else|endif)\b"
    r"((?:[^\n\\]|\\[\s\S])*)",
    re.MULTILINE,
)
MOST = 24
"""The greatest number of choices that are looked at for one operation."""


@dataclass(frozen=True, slots=True)
class BranchCondition:
    """A condition of a branch: it holds if `name` is true, or, if `negated`, if it is not."""

    name: str
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Branch:
    """A branch of a conditional group: its condition (None for `#else`) and its lines."""

    condition: BranchCondition | None
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Group:
    """A group from `#if` to `#endif`."""

    start: int
    end: int
    lines: tuple[Span, ...]
    branches: tuple[Branch, ...]


@dataclass(slots=True)
class _Open:
    start: int
    lines: list[Span]
    conditions: list[BranchCondition | None]


def _condition(word: str, said: str, follows: str) -> BranchCondition | None:
    """Return the condition of a directive.

    `follows` is the text behind it: a guard against a second inclusion is never false.
    """
    said = " ".join(said.split())
    if word in {"ifdef", "elifdef"}:
        return BranchCondition(said)
    if word in {"ifndef", "elifndef"}:
        guard = re.match(r"\s*#[ \t]*define[ \t]+(\w+)", follows)
        return (
            BranchCondition("1")
            if guard and guard[1] == said
            else BranchCondition(said, negated=True)
        )
    if word == "else":
        return None
    negated = False
    while negation := re.fullmatch(r"!\s*(\w+|defined\b.*|\(.*\))", said):
        if not _one(negation[1]):
            break
        said, negated = negation[1], not negated
    defined = re.fullmatch(r"defined\s*(?:\(\s*(\w+)\s*\)|(\w+))", said)
    if defined is None and (inner := re.fullmatch(r"\(\s*(\w+)\s*\)", said)):
        said = inner[1]
    return BranchCondition((defined[1] or defined[2]) if defined else said, negated)


def _one(said: str) -> bool:
    """Say whether a condition is one operand, so that a `!` before it belongs to all of it."""
    return re.fullmatch(r"\w+|defined\s*(?:\(\s*\w+\s*\)|\w+)|\([^()]*\)", said) is not None


@lru_cache(maxsize=4)
def groups_of(text: str) -> tuple[Group, ...]:
    """Return the conditional groups of a text; none if they do not fit together."""
    code = without_comments_and_literals(text)
    found: list[Group] = []
    opened: list[_Open] = []
    for match in _DIRECTIVE.finditer(code):
        word = match[1]
        if word.startswith("if"):
            opened.append(_Open(match.start(), [], []))
        elif not opened:
            return ()
        opened[-1].lines.append(match.span())
        if word != "endif":
            opened[-1].conditions.append(_condition(word, match[2], code[match.end() :][:200]))
            continue
        one = opened.pop()
        branches = tuple(
            Branch(condition, upper[1], lower[0])
            for condition, (upper, lower) in zip(one.conditions, pairwise(one.lines), strict=True)
        )
        found.append(Group(one.start, match.end(), tuple(one.lines), branches))
    return () if opened else tuple(found)


def _around(group: Group, groups: Sequence[Group]) -> list[tuple[Group, int]]:
    """Return the branches that enclose a group, the nearest one last."""
    around = [
        (each, number)
        for each in groups
        if each.start < group.start and group.end < each.end
        for number, branch in enumerate(each.branches)
        if branch.start <= group.start and group.end <= branch.end
    ]
    return sorted(around, key=lambda pair: pair[0].start)


@dataclass(slots=True)
class _Near:
    """Find the groups whose branches meet a place with nothing but blanks and comments between."""

    code: str
    groups: Sequence[Group]
    found: set[int] = field(default_factory=set)

    def before(self, place: int) -> None:
        """Look upwards from a place."""
        place = len(self.code[:place].rstrip())
        for number, group in enumerate(self.groups):
            for position, (start, end) in enumerate(group.lines):
                if start + len(self.code[start:end].rstrip()) != place:
                    continue
                known = number in self.found
                self.found.add(number)
                if position < len(group.branches):
                    self.before(group.start)
                elif not known:
                    for branch in group.branches:
                        self.before(branch.end)

    def behind(self, place: int) -> None:
        """Look downwards from a place."""
        place += len(self.code[place:]) - len(self.code[place:].lstrip())
        for number, group in enumerate(self.groups):
            for position, (start, end) in enumerate(group.lines):
                line = self.code[start:end]
                if start + len(line) - len(line.lstrip()) != place:
                    continue
                known = number in self.found
                self.found.add(number)
                if position:
                    self.behind(group.end)
                elif not known:
                    for branch in group.branches:
                        self.behind(branch.start)


def choices(text: str, places: Sequence[Span]) -> Iterator[dict[str, bool]]:
    """Yield what may be chosen for the conditions whose branches meet one of some places.

    Each choice says of the names of conditions whether they are true. All others are false.
    """
    if "#" not in text:
        return
    groups = groups_of(text)
    if not groups:
        return
    near = _Near(without_comments_and_literals(text), groups)
    for start, end in places:
        near.before(start)
        near.behind(end)
    seen: list[dict[str, bool]] = []
    for number in sorted(near.found):
        group = groups[number]
        around = _around(group, groups)
        for branch in range(len(group.branches) + 1):
            chosen = _chosen([*around, (group, branch)])
            if chosen is not None and chosen not in seen and len(seen) < MOST:
                seen.append(chosen)
                yield chosen


def _chosen(branches: Sequence[tuple[Group, int]]) -> dict[str, bool] | None:
    """Return a choice in which some branches are read, or None if there is none.

    The number behind the last branch of a group stands for none of them.
    """
    chosen: dict[str, bool] = {}
    for each, number in branches:
        for position, one in enumerate(each.branches[: number + 1]):
            if one.condition is None:
                if number > position:
                    return None  # with an `#else` there is always a branch
                continue
            holds = (position == number) is not one.condition.negated
            if chosen.setdefault(one.condition.name, holds) is not holds:
                return None
    return chosen


_ALWAYS = {"0": False, "1": True, "true": True, "false": False}


def chosen_text(text: str, chosen: dict[str, bool], *, others: bool = False) -> str:
    """Return a text as a choice leaves it: all else is blank, and everything keeps its place.

    `others` says whether the conditions that were not chosen are true.
    """
    gone: list[Span] = []
    for group in groups_of(text):
        gone += group.lines
        taken = False
        for branch in group.branches:
            condition = branch.condition
            holds = condition is None or (
                _ALWAYS.get(condition.name, chosen.get(condition.name, others))
                is not condition.negated
            )
            if taken or not holds:
                gone.append((branch.start, branch.end))
            taken = taken or holds
    pieces, begun = [], 0
    for start, end in sorted(gone):
        if end > begun:
            first = max(start, begun)
            pieces += [text[begun:first], blanked(text[first:end])]
            begun = end
    return "".join([*pieces, text[begun:]])
