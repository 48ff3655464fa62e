from __future__ import annotations

from pathlib import Path

import pytest

from forkhouse.conformance.results import UpstreamResult
from forkhouse.conformance.suite import Outcome, Suite, matches
from forkhouse.conformance.verdict import Tally, compare
from forkhouse.core.errors import DocumentError
from forkhouse.documents.lockfile import Lock, SdistSource
from forkhouse.documents.reading import load, parse

ROOT = Path(__file__).parents[2]

SUITE = """
upstream: demo
package: demo
files: [tests]
tests: [tests/test_a.py]
expected:
  - tests: ["tests/test_a.py::test_gpu[*]"]
    kind: needs-gpu
    reason: It counts GPUs.
    unpatched: same
  - tests: [tests/test_a.py::test_later]
    outcome: skipped
    kind: other-platform
    reason: It is for another platform.
    unpatched: same
"""


def suite(text: str = SUITE) -> Suite:
    return parse(Suite, text, name="demo.yaml")


def results(**outcomes: str) -> list[UpstreamResult]:
    return [
        UpstreamResult(
            test=f"tests/test_a.py::{name}",
            file="tests/test_a.py",
            outcome=Outcome(outcome),
            seconds=0.1,
            message="why",
        )
        for name, outcome in outcomes.items()
    ]


def listed(gpu: str = "failed", later: str = "skipped") -> list[UpstreamResult]:
    return results(**{"test_gpu[1]": gpu, "test_gpu[2]": "failed", "test_later": later})


def test_all_as_expected() -> None:
    verdict = compare([*listed(), *results(test_good="passed")], suite())
    assert verdict.good
    assert verdict.problems() == []
    assert verdict.tallies == (
        Tally(
            file="tests/test_a.py",
            passed=1,
            failed_as_expected=2,
            skipped_as_expected=1,
            unexpected=0,
        ),
    )


def test_a_failure_that_is_not_listed() -> None:
    verdict = compare([*listed(), *results(test_bad="failed")], suite())
    assert not verdict.good
    assert verdict.problems() == ["failed, and not listed: tests/test_a.py::test_bad: why"]
    assert verdict.tallies[0].unexpected == 1


def test_a_skip_that_is_not_listed() -> None:
    assert compare([*listed(), *results(test_quiet="skipped")], suite()).problems() == [
        "skipped, and not listed: tests/test_a.py::test_quiet: why"
    ]


def test_a_skip_where_a_failure_is_listed() -> None:
    assert compare(listed(gpu="skipped"), suite()).problems() == [
        "skipped, and not listed: tests/test_a.py::test_gpu[1]: why"
    ]


@pytest.mark.parametrize("which", [{"gpu": "passed"}, {"later": "passed"}])
def test_one_of_many_listed_tests_that_passes_makes_the_list_stale(which: dict[str, str]) -> None:
    verdict = compare(listed(**which), suite())
    assert not verdict.good
    assert [problem.split(":")[0] for problem in verdict.problems()] == [
        "passed, and listed as not passing (the list is out of date)"
    ]


def test_an_entry_without_a_test_makes_the_list_stale() -> None:
    verdict = compare(results(test_good="passed", test_later="skipped"), suite())
    assert verdict.unmatched == ("tests/test_a.py::test_gpu[*]",)
    assert not verdict.good


def test_no_tests_at_all() -> None:
    verdict = compare([], suite(SUITE.partition("expected:")[0]))
    assert not verdict.good
    assert verdict.problems() == ["no test was run", "no test was run of tests/test_a.py"]


def test_a_file_without_tests_beside_one_with() -> None:
    text = SUITE.replace("tests: [tests/test_a.py]", "tests: [tests/test_a.py, tests/test_b.py]")
    assert compare(listed(), suite(text)).empty == ("tests/test_b.py",)


def test_only_the_asterisk_is_special_in_a_pattern() -> None:
    assert matches("a.py::t[x-*]", "a.py::t[x-1\n]")
    assert not matches("a.py::t[x]", "a.py::tx")
    assert not matches("a.py::t", "aXpy::t")
    assert not matches("a.py::t", "a.py::t[x]")


@pytest.mark.parametrize("path", ["/etc", "../other", "tests/../../other"])
def test_paths_stay_inside_the_source(path: str) -> None:
    with pytest.raises(DocumentError, match="stays inside"):
        suite(SUITE.replace("files: [tests]", f"files: ['{path}']"))


def test_every_entry_has_a_reason() -> None:
    with pytest.raises(DocumentError, match=r"demo\.yaml:7: expected\[0\]\.reason: Field required"):
        suite(SUITE.replace("    reason: It counts GPUs.\n", ""))


@pytest.mark.parametrize(
    "path", sorted((ROOT / "tests/upstream").glob("*.yaml")), ids=lambda path: path.stem
)
def test_the_shipped_suites_are_well_formed(path: Path) -> None:
    shipped = load(Suite, path)
    assert any(
        isinstance(source, SdistSource)
        for source in load(Lock, ROOT / "upstream.lock").upstreams[shipped.upstream].sources
    )
    assert shipped.prepare is None or path.with_name(shipped.prepare).is_file()
    assert all(
        any(test.startswith(f"{folder}/") for folder in shipped.files) for test in shipped.tests
    )
    patterns = [pattern for each in shipped.expected for pattern in each.tests]
    assert len(patterns) == len(set(patterns))
    assert [
        pattern
        for pattern in patterns
        if not any(pattern.startswith(test) for test in shipped.tests)
    ] == []
