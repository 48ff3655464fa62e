"""Run the carried tests against an installed stack, and say what came of it."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forkhouse.core.environments import without_settings
from forkhouse.core.errors import SelfTestError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from forkhouse.selftest.environment import Tests

DEVICES = {"cpu": None, "mi210": "gfx90a"}
"""What can be tested, and the GPU that has to be there for it, as compilers call it."""
_MARKS = "integration and not extended"
_END_SECONDS = 180
"""How long interrupted tests may take to end the servers that they started."""
_RESULTS = "results.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class SelftestTerms:
    """What is tested, and how."""

    device: str
    stack: Path
    """The interpreter of the stack."""
    launcher: tuple[str, ...] = ()
    """A command that is put before every process that uses the GPU: an emulator's."""
    model: Path | None = None
    """The folder of a real model; None for a tiny random one."""
    only: str | None = None
    """Which tests, as an expression of pytest's -k; None for all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What came of one test."""

    test: str
    outcome: str
    """passed, failed, or skipped."""
    seconds: float
    why: str
    """Why it failed or was skipped."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SelftestOutcome:
    """What came of all tests."""

    results: tuple[Result, ...]
    code: int
    """The exit code of pytest (0 and 1: tests were run)."""
    seconds: float

    @property
    def passed(self) -> bool:
        """Return whether tests ran, and none of them failed."""
        return self.code == 0 and self.count("passed") > 0

    def count(self, outcome: str) -> int:
        """Return how many tests have an outcome."""
        return sum(each.outcome == outcome for each in self.results)


def run_tests(
    tests: Tests, terms: SelftestTerms, scratch: Path, tell: Callable[[str], None]
) -> SelftestOutcome:
    """Run the tests, and return what came of them.

    `tell` gets each line that pytest prints. All that is written lies in `scratch`: pytest.log,
    junit.xml, and below `files` the logs of the servers. Raises SelfTestError where pytest did not
    come to an end of its own.
    """
    options = [
        *("-c", str(tests.settings), "--rootdir", str(tests.suite)),
        *("-p", "pytest_timeout", "-p", "tests.integration.options", "-p", "no:cacheprovider"),
        *("-m", _MARKS, f"--device={terms.device}", f"--stack-python={terms.stack}"),
        *(f"--junitxml={scratch / 'junit.xml'}", f"--results={scratch / _RESULTS}"),
        *(f"--basetemp={scratch / 'files'}", "--verbose", "--color=no"),
    ]
    if terms.launcher:
        options.append(f"--launcher={shlex.join(terms.launcher)}")
    if terms.model is not None:
        options.append(f"--model={terms.model}")
    if terms.only is not None:
        options += ["-k", terms.only]
    begun = time.monotonic()
    command = [str(tests.python), "-P", "-m", "pytest", str(tests.suite), *options]
    code = _run(command, scratch, tell)
    return SelftestOutcome(
        results=_results(scratch), code=code, seconds=round(time.monotonic() - begun, 1)
    )


def _run(command: Sequence[str], scratch: Path, tell: Callable[[str], None]) -> int:
    # One module of a distribution that registers itself with pytest would be in every test.
    environment = {**without_settings(os.environ), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    environment.pop("PYTEST_ADDOPTS", None)
    with (
        (scratch / "pytest.log").open("w", encoding="utf-8") as log,
        subprocess.Popen(
            command,
            cwd=scratch,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            process_group=0,
        ) as process,
    ):
        assert process.stdout is not None
        try:
            for line in process.stdout:
                log.write(line)
                tell(line.rstrip("\n"))
        except BaseException:
            # It ends the servers that it started.
            process.send_signal(signal.SIGINT)
            try:
                process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
            raise
        return process.wait()


def _results(scratch: Path) -> tuple[Result, ...]:
    try:
        listed = json.loads((scratch / _RESULTS).read_text(encoding="utf-8"))
        return tuple(Result(**each) for each in listed)
    except (OSError, ValueError, TypeError) as error:
        said = (scratch / "pytest.log").read_text(encoding="utf-8", errors="replace")[-3000:]
        message = f"pytest did not come to its end ({error}). It said:\n{said}"
        raise SelfTestError(message) from error
