"""Compare the outcomes of a suite's cases with the list of refused ones, and write such a list.

The comparison goes in both directions: unlisted refusals and listed cases that pass.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

from forkhouse.conformance.peers.outcome import FAULTS, CaseOutcome, CaseResult
from forkhouse.conformance.peers.suite import Refusal
from forkhouse.conformance.suite import matches

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


@dataclass(frozen=True, kw_only=True, slots=True)
class ListingVerdict:
    """How far the engine did what its peer does, or refused it for a reason that is listed."""

    counts: Mapping[CaseOutcome, int]
    faults: tuple[CaseResult, ...]
    """Results that nothing excuses: other results, and reasons that are not true."""
    unlisted: tuple[CaseResult, ...]
    """Refusals that are not listed."""
    unmatched: tuple[str, ...]
    """Entries of the list that are no longer refused, or are no case at all."""
    unexplained: tuple[str, ...]
    """Entries of the list without a reason."""

    @property
    def good(self) -> bool:
        """Whether all was as listed, and there was something to compare."""
        compared = sum(
            count
            for outcome, count in self.counts.items()
            if outcome is not CaseOutcome.PASSED_OVER
        )
        return compared > 0 and not (
            self.faults or self.unlisted or self.unmatched or self.unexplained
        )

    def problems(self) -> list[str]:
        """Return the problems, one a line."""
        return [
            *([] if self.counts else ["no case was tried"]),
            *(f"{result.outcome}: {result.id}: {result.said}" for result in self.faults),
            *(f"refused, and not listed: {result.id}: {result.said}" for result in self.unlisted),
            *(
                f"listed, and not refused so (the list is out of date): {said}"
                for said in self.unmatched
            ),
            *(f"listed without a reason: {said}" for said in self.unexplained),
        ]

    def as_json(self) -> dict[str, object]:
        """Return the verdict as values that JSON can hold."""
        return {
            "counts": {str(outcome): count for outcome, count in self.counts.items()},
            "good": self.good,
            "problems": self.problems(),
        }


def _is_listed(result: CaseResult, refusal: Refusal) -> bool:
    return matches(refusal.says, result.said) and any(
        matches(pattern, result.id) for pattern in refusal.cases
    )


def compare(results: Iterable[CaseResult], refused: Sequence[Refusal]) -> ListingVerdict:
    """Judge the results of a suite by what is listed as refused."""
    results = tuple(results)
    refusals = [result for result in results if result.outcome is CaseOutcome.REFUSED]
    unmatched = [
        f"{pattern}: {each.says}"
        for each in refused
        for pattern in each.cases
        if not any(
            matches(pattern, result.id) and matches(each.says, result.said) for result in refusals
        )
    ]
    return ListingVerdict(
        counts=Counter(result.outcome for result in results),
        faults=tuple(result for result in results if result.outcome in FAULTS),
        unlisted=tuple(
            result for result in refusals if not any(_is_listed(result, each) for each in refused)
        ),
        unmatched=tuple(unmatched),
        unexplained=tuple(each.says for each in refused if not each.reason.strip()),
    )


_PATH = r"(?<=does not apply: )[^:]*?(?=: the lines | is | has )"
_OF_THE_SUITE = re.compile(
    rf"""{_PATH}|The operation:.*|"[^"]*"|'[^']*'|\{{.*?\}}(?=[ .:,;])|&\w+|(?<=alias )\*\w+|\d+""",
    re.DOTALL,
)
"""Parts of a message that come from the suite: paths, operations, quoted texts, and numbers."""


_SHORT = 2
"""A name of so few characters may be a word of the message as well.

It is looked for only where a name stands.
"""


def said_in_general(result: CaseResult) -> str:
    """Return a message with a star for each part that comes from the suite.

    Such parts are found by the names that the case is about, and by their form.
    """
    said = _OF_THE_SUITE.sub("*", result.said)
    for name in sorted({*result.about} - {""}, key=len, reverse=True):
        word = re.escape(re.sub(r"\d+", "*", name))
        said = re.sub(
            rf"(?<=: ){word}(?=[ :])" if len(name) <= _SHORT else rf"(?<![\w.]){word}(?!\w)",
            "*",
            said,
        )
    return re.sub(r"\*[*\s.]*\*", "*", said)


def listed(
    results: Iterable[CaseResult], refused: Sequence[Refusal], *, by_id: bool
) -> tuple[Refusal, ...]:
    """Return a list that excuses all refusals.

    What is listed and still true, then the rest, without a reason, which a person has to give.

    With `by_id` each new entry names its cases; else it stands for every case with such a message.
    """
    refusals = [result for result in results if result.outcome is CaseOutcome.REFUSED]
    kept: list[Refusal] = []
    for each in refused:
        mine = [result for result in refusals if matches(each.says, result.said)]
        cases = tuple(
            pattern for pattern in each.cases if any(matches(pattern, result.id) for result in mine)
        )
        kept += [each.model_copy(update={"cases": cases})] if cases else []
    new: dict[str, list[str]] = {}
    for result in refusals:
        if not any(_is_listed(result, each) for each in kept):
            new.setdefault(said_in_general(result), []).append(result.id)
    return (
        *kept,
        *(
            Refusal(cases=tuple(cases) if by_id else ("*",), says=says, reason="")
            for says, cases in new.items()
        ),
    )


def with_list(document: str, refused: Sequence[Refusal]) -> str:
    """Return the text of a suite's document with its last part, the list of refusals, replaced."""
    head, _, _ = document.partition("\nrefused:")
    entries = [each.model_dump(mode="json", exclude_defaults=True) for each in refused]
    return (
        head.rstrip("\n")
        + "\n"
        + (
            yaml.safe_dump({"refused": entries}, sort_keys=False, width=120, allow_unicode=True)
            if entries
            else ""
        )
    )
