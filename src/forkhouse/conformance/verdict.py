"""Compare what tests did with what was expected, in both directions."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from forkhouse.conformance.suite import Outcome, matches

if TYPE_CHECKING:
    from collections.abc import Iterable

    from forkhouse.conformance.results import UpstreamResult
    from forkhouse.conformance.suite import Suite


@dataclass(frozen=True, kw_only=True, slots=True)
class Tally:
    """How many tests of one file did what."""

    file: str
    passed: int
    failed_as_expected: int
    skipped_as_expected: int
    unexpected: int
    """Everything that makes the run fail.

    Failures and skips that are not listed, and listed tests that did something else.
    """


@dataclass(frozen=True, kw_only=True, slots=True)
class SuiteVerdict:
    """How far a run did what was expected."""

    tallies: tuple[Tally, ...]
    surprises: tuple[UpstreamResult, ...]
    """Tests that did not pass and are not listed as doing what they did."""
    stale: tuple[UpstreamResult, ...]
    """Tests that are listed and passed."""
    unmatched: tuple[str, ...]
    """Patterns of the list that mean no test."""
    empty: tuple[str, ...]
    """Files of which no test was run."""

    @property
    def good(self) -> bool:
        """Whether all was as expected, and there was something to expect."""
        return bool(self.tallies) and not (
            self.surprises or self.stale or self.unmatched or self.empty
        )

    def problems(self) -> list[str]:
        """Return what is not as expected, a line each, with what to do about it."""
        return [
            *([] if self.tallies else ["no test was run"]),
            *(
                f"{result.outcome}, and not listed: {result.test}: {result.message}"
                for result in self.surprises
            ),
            *(
                f"passed, and listed as not passing (the list is out of date): {result.test}"
                for result in self.stale
            ),
            *(
                f"listed, and no such test (the list is out of date): {pattern}"
                for pattern in self.unmatched
            ),
            *(f"no test was run of {file}" for file in self.empty),
        ]

    def as_json(self) -> dict[str, object]:
        """Return the verdict as values that JSON can hold."""
        return {**asdict(self), "good": self.good}


def compare(results: Iterable[UpstreamResult], suite: Suite) -> SuiteVerdict:
    """Judge the results of a run by the suite's expectations."""
    results = tuple(results)
    surprises: list[UpstreamResult] = []
    stale: list[UpstreamResult] = []
    counts: dict[str, Counter[str]] = {}
    for result in results:
        wanted: set[str] = {
            each.outcome
            for each in suite.expected
            if any(matches(pattern, result.test) for pattern in each.tests)
        }
        if result.outcome is Outcome.PASSED:
            kind = "unexpected" if wanted else "passed"
        else:
            kind = result.outcome.value if result.outcome.value in wanted else "unexpected"
        if kind == "unexpected":
            (stale if result.outcome is Outcome.PASSED else surprises).append(result)
        counts.setdefault(result.file, Counter())[kind] += 1
    patterns = [pattern for each in suite.expected for pattern in each.tests]
    return SuiteVerdict(
        tallies=tuple(
            Tally(
                file=file,
                passed=count["passed"],
                failed_as_expected=count["failed"],
                skipped_as_expected=count["skipped"],
                unexpected=count["unexpected"],
            )
            for file, count in counts.items()
        ),
        surprises=tuple(surprises),
        stale=tuple(stale),
        unmatched=tuple(
            pattern
            for pattern in patterns
            if not any(matches(pattern, result.test) for result in results)
        ),
        empty=tuple(file for file in suite.tests if file not in counts),
    )
