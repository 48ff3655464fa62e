"""Read what pytest says of its tests, from its JUnit XML."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from forkhouse.conformance import ConformanceError
from forkhouse.conformance.suite import Outcome

if TYPE_CHECKING:
    from pathlib import Path

FAMILY = "xunit1"
"""The one of pytest's two dialects that names a test's file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UpstreamResult:
    """What became of one test."""

    test: str
    """Node id, as pytest prints it."""
    file: str
    outcome: Outcome
    seconds: float
    message: str
    """First line of why it did not pass; empty when it did."""


def read_junit(path: Path) -> tuple[UpstreamResult, ...]:
    """Return the results of a run, one a test, in the order in which they ran.

    A file that could not be imported is a failed test of the file's name. Raises ConformanceError
    when the report is not there, cut off, or no report.
    """
    try:
        root = ET.parse(path).getroot()  # noqa: S314  # written by the run before
    except (FileNotFoundError, ET.ParseError) as error:
        message = f"pytest left no whole report ({error}): its process ended before its tests did."
        raise ConformanceError(message) from error
    results: dict[str, UpstreamResult] = {}
    for case in root.iter("testcase"):
        result = _result(case)
        before = results.get(result.test)
        # A test that failed, and whose clean-up failed as well, is there twice.
        if before is None or before.outcome is not Outcome.FAILED:
            results[result.test] = result
    return tuple(results.values())


def _result(case: ET.Element) -> UpstreamResult:
    file, group, name = case.get("file", ""), case.get("classname", ""), case.get("name", "")
    module = file.removesuffix(".py").replace("/", ".")
    classes = group.removeprefix(module).strip(".")
    # A file that could not be imported has its module's name, and is in no class and no module.
    test = (
        file
        if not group and name == module
        else "::".join([file, *filter(None, classes.split(".")), name])
    )
    outcome, message = Outcome.PASSED, ""
    # Also a test that was skipped may fail when it is cleaned up: that is told after it, and
    # counts.
    for child in sorted(case, key=lambda child: child.tag == "skipped"):
        if child.tag in {"failure", "error", "skipped"}:
            outcome = Outcome.SKIPPED if child.tag == "skipped" else Outcome.FAILED
            message = next(
                iter((child.get("message") or child.text or "").strip().splitlines()), ""
            )
            break
    return UpstreamResult(
        test=test, file=file, outcome=outcome, seconds=float(case.get("time", "0")), message=message
    )
