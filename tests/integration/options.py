"""Options of the integration tests, and what holds for all of them.

A plug-in of pytest's, so that the tests run in a checkout and from a wheelhouse alike.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from forkhouse.serving.patience import patient, set_patience

if TYPE_CHECKING:
    from collections.abc import Callable

SENSELESS = {
    "test_ucx_perftest_measures_within_a_process_and_between_two": "it measures how fast memory is",
    "test_an_engine_that_holds_the_gpu_answers_as_the_cpu_does": "no process opens a simulated GPU",
}
"""Tests that show nothing under an emulator, each with the reason."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    parser.addoption(
        "--device",
        choices=["cpu", "mi210"],
        default="cpu",
        help="where the engines of the integration tests compute",
    )
    parser.addoption(
        "--stack-python", help="interpreter of the environment that a wheelhouse was installed into"
    )
    parser.addoption(
        "--model", help="folder of a real model to serve; without it, a tiny random one is made"
    )
    parser.addoption(
        "--runs",
        type=int,
        default=1,
        help="how many times the disaggregated tests are run, with new workers each time",
    )
    parser.addoption(
        "--write-table",
        action="store_true",
        help="write what the cross-vendor pairings gave into docs/explanation/cross-vendor.md",
    )
    parser.addoption(
        "--launcher",
        type=shlex.split,
        default=[],
        help="a command that is put before every process that uses the GPU: an emulator's",
    )
    parser.addoption(
        "--patience",
        type=float,
        default=None,
        help="how many times as long everything may take; 20 under a launcher, else 1",
    )
    parser.addoption("--image", type=Path, help="a container image to serve from: an OCI archive")
    parser.addoption("--bundle", type=Path, help="a bundle to carry to a bare machine")
    parser.addoption(
        "--hip-wheel", type=Path, help="a wheel whose GPU code is decoded: one built for ROCm"
    )
    parser.addoption("--results", type=Path, help="a file for what came of each test, as JSON")


class _Results:
    """Write what came of each test as JSON, whatever the tests are run by."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._found: dict[str, dict[str, object]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take note of a part of a test: how it was prepared, run, and cleaned up."""
        known = self._found.setdefault(
            report.nodeid, {"test": report.nodeid, "outcome": "passed", "seconds": 0.0, "why": ""}
        )
        known["seconds"] = round(float(str(known["seconds"])) + report.duration, 2)
        if report.outcome != "passed" and known["outcome"] == "passed":
            known["outcome"] = report.outcome
            known["why"] = _why(report)

    def pytest_sessionfinish(self) -> None:
        """Write it."""
        self._path.write_text(json.dumps(list(self._found.values())), encoding="utf-8")


def _why(report: pytest.TestReport) -> str:
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[-1])
    return report.longreprtext[-3000:]


def pytest_configure(config: pytest.Config) -> None:
    """Take over how patient to be, and where results go."""
    results = config.getoption("--results")
    if results is not None:
        config.pluginmanager.register(_Results(results))
    factor = config.getoption("--patience")
    try:
        set_patience(factor or (20 if config.getoption("--launcher") else 1))
    except ValueError as error:
        message = f"--patience: {error}"
        raise pytest.UsageError(message) from error


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say that nothing of this was on hardware, where that is so."""
    launcher = config.getoption("--launcher")
    return [f"EMULATED, not on a GPU: under {shlex.join(launcher)}"] if launcher else []


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give tests the time that they may take, and skip those that show nothing when emulated."""
    emulated = bool(config.getoption("--launcher"))
    for item in items:
        limit = item.get_closest_marker("timeout")
        if limit is not None and patient(1) != 1:
            item.add_marker(pytest.mark.timeout(patient(limit.args[0])), append=False)
        if emulated and item.get_closest_marker("integration"):
            item.user_properties.append(("emulated", "true"))
            reason = SENSELESS.get(getattr(item, "originalname", item.name))
            if reason:
                item.add_marker(pytest.mark.skip(reason=f"emulated: {reason}"))


@pytest.fixture(scope="session", autouse=True)
def told_in_the_report(
    request: pytest.FixtureRequest, record_testsuite_property: Callable[[str, object], None]
) -> None:
    """Let the report in JUnit's form say whether the tests were emulated."""
    launcher = request.config.getoption("--launcher")
    if launcher:
        record_testsuite_property("emulated", "true")
        record_testsuite_property("launcher", shlex.join(launcher))
