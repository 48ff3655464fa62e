"""Copy an upstream's tests out of its tree, and run them in the environment under test."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil
from packaging.version import Version

from forkhouse.conformance import ConformanceError
from forkhouse.conformance.results import FAMILY, read_junit
from forkhouse.core.errors import UsageError
from forkhouse.core.processes import end
from forkhouse.core.wording import end_of, quoted
from forkhouse.documents.lockfile import SdistSource
from forkhouse.sources.archives import read_tar
from forkhouse.sources.store import ObjectStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from forkhouse.conformance.results import UpstreamResult
    from forkhouse.conformance.suite import Suite
    from forkhouse.documents.lockfile import Lock
    from forkhouse.sources.index import Registry

LOG_LINES = 30
_BEGUN = re.compile(r"\S+\.py::\S+")
RAN = (0, 1)
"""Exit codes of pytest with which every test was run: all passed, or some did not."""
NO_TESTS = 5
KILL_SECONDS = 30

WITH_US = ("setpriv", "--pdeathsig", "KILL")
"""Runs a command that the kernel ends when this process is killed, and can end nothing any more."""

# Where the import system would take the package from, and the version that its distribution states.
_LOOK = """
import importlib.metadata, importlib.util, json, sys
spec = importlib.util.find_spec(sys.argv[1])
print(json.dumps([spec and spec.origin, sys.prefix, importlib.metadata.version(sys.argv[2])]))
"""


def lay_out(suite: Suite, lock: Lock, registry: Registry, folder: Path) -> str:
    """Write the files that a suite needs, from the sdist that the lock pins, below `folder`.

    Return the pinned version.

    Raises UsageError when the lock has no sdist of the upstream, UnreachableError or
    HashMismatchError when it cannot be had as pinned, ConformanceError when it has none of the
    files.
    """
    pinned = lock.upstreams.get(suite.upstream)
    source = (
        next((each for each in pinned.sources if isinstance(each, SdistSource)), None)
        if pinned
        else None
    )
    if pinned is None or source is None:
        message = (
            f"The lock has no sdist of '{suite.upstream}', from which its tests could be taken."
        )
        raise UsageError(message)
    files, _ = read_tar(registry.fetch(source.package, source.file, source.sha256))
    wanted = [
        file
        for file in files
        if any(
            file.path == path or file.path.startswith(f"{path.rstrip('/')}/")
            for path in suite.files
        )
    ]
    if not wanted:
        message = f"{source.file} has none of {', '.join(suite.files)}."
        raise ConformanceError(message)
    # The store refuses links that lead out of the tree; it lives as long as the folder beside it.
    store = ObjectStore(folder.with_name(f"{folder.name}.git"))
    store.check_out(store.import_files(wanted), folder)
    return source.version or pinned.version


def check_subject(
    suite: Suite, python: Path, folder: Path, version: str, environment: Mapping[str, str]
) -> str:
    """Return the installed version of what is tested.

    Raises ConformanceError when it is another release, or not the environment's.
    """
    looked = _must(
        [python, "-c", _LOOK, suite.package, suite.upstream],
        folder,
        environment,
        "Looking for what is tested",
    )
    origin, prefix, installed = json.loads(looked)
    if not str(origin).startswith(f"{prefix}{os.sep}"):
        message = (
            f"The tests would import {suite.package} from {origin}, which is not in the "
            "environment under test."
        )
        raise ConformanceError(message)
    if Version(installed).public != Version(version).public:
        message = (
            f"The environment has {suite.upstream} {installed}, and the tests are those of "
            f"{version}. Build and install the wheelhouse anew."
        )
        raise ConformanceError(message)
    return str(installed)


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """The result of a run of the suite."""

    tested: str
    """Installed version of what was tested."""
    results: tuple[UpstreamResult, ...]
    seconds: float


def run_suite(
    suite: Suite,
    python: Path,
    folder: Path,
    *,
    logs: Path,
    temporary: Path,
    prepare: Path | None,
    version: str,
) -> Run:
    """Run the tests of release `version` that are laid out in `folder`.

    The log and pytest's own report go to `logs`.

    `prepare` is run before, in the same folder. What the tests write to a home or a temporary
    folder goes to `temporary`. No process outlives the run. Raises ConformanceError when there are
    no results, or not those of this release.
    """
    environment = _environment(suite, temporary)
    junit, log = logs / "junit.xml", logs / "pytest.log"
    command = [
        *WITH_US,
        *(
            str(python),
            "-m",
            "pytest",
            "--verbose",
            "--continue-on-collection-errors",
            "-p",
            "no:cacheprovider",
        ),
        *("-o", f"junit_family={FAMILY}", f"--junitxml={junit}", f"--timeout={suite.test_seconds}"),
        *suite.tests,
    ]
    with ending_all(), log.open("wb") as output:
        tested = check_subject(suite, python, folder, version, environment)
        if prepare is not None:
            _must([python, prepare], folder, environment, prepare.name)
        started = time.monotonic()
        try:
            ended = subprocess.run(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=suite.run_seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            code = None
        else:
            code = ended.returncode
    if code not in RAN:
        message = f"pytest {_how(code, suite)}. {_end(log)}"
        raise ConformanceError(message)
    return Run(tested=tested, results=read_junit(junit), seconds=time.monotonic() - started)


def _how(code: int | None, suite: Suite) -> str:
    if code is None:
        return f"did not end within {suite.run_seconds} s, and was killed"
    if code == NO_TESTS:
        return "found no tests"
    return f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"


def _environment(suite: Suite, temporary: Path) -> dict[str, str]:
    """Return all the variables that the tests see: nothing of the user's."""
    folders = {"HOME": str(temporary), "TMPDIR": str(temporary)}
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", **folders, **suite.environment}


def _must(
    command: list[str | Path], folder: Path, environment: Mapping[str, str], doing: str
) -> str:
    result = subprocess.run(
        command, cwd=folder, env=dict(environment), capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        message = f"{doing} failed:\n{end_of(result.stderr)}"
        raise ConformanceError(message)
    # What is tested may write to standard output when it is imported; ours comes last.
    return (result.stdout.strip().splitlines() or [""])[-1]


def _end(log: Path) -> str:
    """Return the end of a verbose log of pytest, and the test that it was in.

    A traceback of native code can be longer than the end.
    """
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    begun = [match[0] for line in lines if (match := _BEGUN.match(line))]
    last = f"The last test that it began: {begun[-1]}\n" if begun else ""
    return f"{last}The end of its log:\n{quoted(lines[-LOG_LINES:])}"


_PR_SET_CHILD_SUBREAPER, _PR_GET_CHILD_SUBREAPER = 36, 37


@contextlib.contextmanager
def ending_all() -> Iterator[None]:
    """Kill, at the end of the block, every process that was started in it and still runs.

    Within the block, the kernel makes this process the parent of orphans. So no process escapes,
    not even one in a session of its own.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    before = ctypes.c_int()
    libc.prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(before))
    this = psutil.Process()
    others = set(this.children(recursive=True))
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    try:
        yield
    finally:
        # A killed process leaves its own children to us.
        def find() -> list[psutil.Process]:
            return [each for each in this.children(recursive=True) if each not in others]

        if alive := end(find, KILL_SECONDS):
            message = (
                f"Still there after SIGKILL: {', '.join(str(process.pid) for process in alive)}. "
                "The kernel does not let go of them."
            )
            raise ConformanceError(message)
        psutil.wait_procs(find(), timeout=KILL_SECONDS)  # asks for their exit codes
        libc.prctl(_PR_SET_CHILD_SUBREAPER, before.value)
