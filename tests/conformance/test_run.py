"""Real runs of pytest on a tiny upstream.

The package under test is one that every environment with pytest has.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from forkhouse.conformance import ConformanceError
from forkhouse.conformance.run import Run, ending_all, lay_out, run_suite
from forkhouse.conformance.suite import Suite
from forkhouse.core.errors import HashMismatchError, UsageError
from forkhouse.documents.lockfile import Lock
from forkhouse.documents.reading import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from forkhouse.sources.index import Registry

SUBJECT = "iniconfig"
VERSION = importlib.metadata.version(SUBJECT)
PYTHON = Path(sys.executable)


def suite(tests: tuple[str, ...] = ("tests/test_a.py",), **values: Any) -> Suite:
    return Suite(
        upstream=SUBJECT, package=SUBJECT, files=("tests", "pyproject.toml"), tests=tests, **values
    )


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Run]:
    """Run the tests that a text holds as tests/test_a.py, with other values of the suite, and other
    files beside it.
    """

    def start(
        test: str,
        *,
        version: str = VERSION,
        prepare: Path | None = None,
        files: dict[str, str] | None = None,
        **values: Any,
    ) -> Run:
        folder, temporary = tmp_path / "source", tmp_path / "temporary"
        temporary.mkdir()
        for path, text in {
            "tests/test_a.py": test,
            "pyproject.toml": "[tool.pytest.ini_options]\n",
            **(files or {}),
        }.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(textwrap.dedent(text), encoding="utf-8")
        return run_suite(
            suite(**values),
            PYTHON,
            folder,
            logs=tmp_path,
            temporary=temporary,
            prepare=prepare,
            version=version,
        )

    return start


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def gone() -> Iterator[Callable[[Path], bool]]:
    """Say whether the process whose number a file holds has ended.

    It is ended at the latest with the test.
    """
    seen: list[int] = []

    def look(path: Path) -> bool:
        seen.append(int(path.read_text(encoding="ascii")))
        return not psutil.pid_exists(seen[-1])

    yield look
    for number in seen:
        if psutil.pid_exists(number):
            psutil.Process(number).kill()


def test_every_outcome_by_its_node_id(run: Callable[..., Run]) -> None:
    done = run("""
        import pytest

        @pytest.fixture
        def broken():
            yield
            raise OSError("clean-up")

        class TestGroup:
            class TestInner:
                @pytest.mark.parametrize("value", ["a.b", "c::d[e]"])
                def test_value(self, value): pass

        def test_failed(): assert 1 == 2, "one"
        def test_failed_twice(broken): raise ValueError("call")
        def test_failed_after(broken): pass
        def test_skipped(): pytest.skip("not here")
        @pytest.mark.xfail
        def test_expected(): raise ValueError
        def test_skipped_and_after(broken): pytest.skip("not here")
        """)
    assert done.tested == VERSION
    assert {
        result.test.removeprefix("tests/test_a.py::"): result.outcome.value
        for result in done.results
    } == {
        "TestGroup::TestInner::test_value[a.b]": "passed",
        "TestGroup::TestInner::test_value[c::d[e]]": "passed",
        "test_failed": "failed",
        "test_failed_twice": "failed",
        "test_failed_after": "failed",
        "test_skipped": "skipped",
        "test_expected": "skipped",
        "test_skipped_and_after": "failed",
    }
    messages = {result.test: result.message for result in done.results}
    assert messages["tests/test_a.py::test_failed_twice"] == "ValueError: call"
    assert messages["tests/test_a.py::test_skipped"] == "not here"
    assert {result.file for result in done.results} == {"tests/test_a.py"}


def test_a_file_that_cannot_be_imported_is_a_failure_and_the_others_run(
    run: Callable[..., Run],
) -> None:
    done = run(
        "import nowhere_at_all",
        files={"tests/test_b.py": "def test_b(): pass"},
        tests=("tests/test_a.py", "tests/test_b.py"),
    )
    assert {result.test: result.outcome.value for result in done.results} == {
        "tests/test_a.py": "failed",
        "tests/test_b.py::test_b": "passed",
    }


def test_no_tests_are_no_result(run: Callable[..., Run]) -> None:
    with pytest.raises(ConformanceError, match="pytest found no tests"):
        run("")


def test_a_file_of_tests_that_is_not_there(run: Callable[..., Run]) -> None:
    with pytest.raises(ConformanceError, match=r"ended with exit code 4[^$]*test_gone"):
        run("def test_a(): pass", tests=("tests/test_gone.py",))


def test_a_crash_of_the_interpreter_names_the_test(run: Callable[..., Run]) -> None:
    with pytest.raises(
        ConformanceError,
        match=r"ended by signal 11\. The last test that it began: tests/test_a\.py::test_crash\n",
    ):
        run("""
            import os, signal
            def test_good(): pass
            def test_crash(): os.kill(os.getpid(), signal.SIGSEGV)
            """)


def test_an_interpreter_that_leaves_with_success_in_the_middle(run: Callable[..., Run]) -> None:
    with pytest.raises(ConformanceError, match="left no whole report"):
        run("import os\ndef test_leave(): os._exit(0)")


def test_a_hung_test_is_ended_and_the_next_one_runs(run: Callable[..., Run]) -> None:
    done = run(
        "import time\ndef test_hung(): time.sleep(200)\ndef test_next(): pass", test_seconds=1
    )
    assert [result.outcome.value for result in done.results] == ["failed", "passed"]
    assert "Timeout" in done.results[0].message


def test_a_run_that_does_not_end_is_killed(run: Callable[..., Run]) -> None:
    before = set(psutil.Process().children(recursive=True))
    started = time.monotonic()
    with pytest.raises(ConformanceError, match="did not end within 3 s"):
        run(
            """
            import signal, time
            def test_deaf():
                signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
                time.sleep(200)
            """,
            run_seconds=3,
        )
    assert time.monotonic() - started < 60
    assert set(psutil.Process().children(recursive=True)) == before


def test_what_tests_leave_running_is_ended(
    run: Callable[..., Run], tmp_path: Path, gone: Callable[[Path], bool]
) -> None:
    # A session of its own, an empty environment and no parent: nothing ties it to the test but the
    # kernel's word.
    script = (
        "import os, sys, time; os.fork() and os._exit(0); open(sys.argv[1], "
        "'w').write(str(os.getpid())); time.sleep(200)"
    )
    run(f"""
        import pathlib, subprocess, sys, time
        def test_leaves_a_daemon():
            path = pathlib.Path({str(tmp_path / "pid")!r})
            command = [sys.executable, "-c", {script!r}, path]
            subprocess.run(command, env={{}}, start_new_session=True, check=True)
            while not (path.exists() and path.read_text()): time.sleep(0.01)
        """)
    assert gone(tmp_path / "pid")


def test_what_ran_before_goes_on() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as before:
        with ending_all():
            script = (
                "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', 'import "
                "time; time.sleep(200)'], stdout=subprocess.DEVNULL).pid)"
            )
            left = int(
                subprocess.run(
                    [sys.executable, "-c", script], stdout=subprocess.PIPE, check=True
                ).stdout
            )
            assert psutil.pid_exists(left)
        assert not psutil.pid_exists(left)
        assert before.poll() is None
        before.communicate(b"\n")
    assert before.returncode == 0


def test_the_tests_see_nothing_of_the_users_environment(
    run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_ADDOPTS", "--no-such-option")
    done = run(
        "import os\ndef test_a(): assert os.environ['GIVEN'] == 'yes' and os.environ['HOME'] != "
        "'/root'",
        environment={"GIVEN": "yes"},
    )
    assert done.results[0].outcome == "passed"


def test_a_script_prepares_the_folder(run: Callable[..., Run], tmp_path: Path) -> None:
    script = tmp_path / "prepare.py"
    script.write_text("open('made', 'w').close()", encoding="ascii")
    assert (
        run("import os\ndef test_a(): assert os.path.exists('made')", prepare=script)
        .results[0]
        .outcome
        == "passed"
    )


def test_a_script_that_fails_is_shown(run: Callable[..., Run], tmp_path: Path) -> None:
    script = tmp_path / "prepare.py"
    script.write_text("raise SystemExit('no model today')", encoding="ascii")
    with pytest.raises(ConformanceError, match=r"prepare\.py failed:\nno model today"):
        run("def test_a(): pass", prepare=script)


def test_the_sources_own_package_is_never_tested(run: Callable[..., Run]) -> None:
    with pytest.raises(ConformanceError, match="not in the environment under test"):
        run("def test_a(): pass", files={f"{SUBJECT}/__init__.py": ""})


def test_another_release_is_not_tested(run: Callable[..., Run]) -> None:
    with pytest.raises(
        ConformanceError, match=rf"has {SUBJECT} {VERSION}, and the tests are those of 0\.0\.1"
    ):
        run("def test_a(): pass", version="0.0.1")


def test_a_local_label_is_the_same_release(run: Callable[..., Run]) -> None:
    assert run("def test_a(): pass", version=f"{VERSION}+ours.1").tested == VERSION


LOCK = """\
format: 1
python: '>=3.11,<3.12'
rocm: '>=5.2.3,<8'
gpu-targets: [gfx90a]
upstreams:
  {name}:
    version: {version}
    licence: MIT
    why: An example.
    sources:
      - kind: sdist
        package: {name}
        file: {name}-{version}.tar.gz
        sha256: {sha256}
profiles: {{}}
"""


@pytest.fixture
def pinned(make_sdist: Callable[..., Path], publish: Callable[..., str]) -> Callable[[str], str]:
    """Publish a source whose one test file has the given text; return a lock that pins it."""

    def pin(test: str) -> str:
        members = {
            "tests/test_a.py": test,
            "pyproject.toml": "",
            f"{SUBJECT}/__init__.py": "raise SystemExit",
            "setup.py": "",
        }
        sdist = make_sdist(
            SUBJECT, VERSION, {name: text.encode() for name, text in members.items()}
        )
        return LOCK.format(name=SUBJECT, version=VERSION, sha256=publish(sdist, SUBJECT))

    return pin


def test_only_the_files_of_the_suite_are_laid_out(
    pinned: Callable[[str], str], registry: Registry, tmp_path: Path
) -> None:
    folder = tmp_path / "work/source"
    assert lay_out(suite(), parse(Lock, pinned(""), name="lock"), registry, folder) == VERSION
    assert sorted(path.name for path in folder.iterdir()) == ["pyproject.toml", "tests"]
    registry.close()


def test_a_source_without_the_tests(
    pinned: Callable[[str], str], registry: Registry, tmp_path: Path
) -> None:
    moved = Suite(upstream=SUBJECT, package=SUBJECT, files=("moved",), tests=("moved/test_a.py",))
    with pytest.raises(ConformanceError, match="has none of moved"):
        lay_out(moved, parse(Lock, pinned(""), name="lock"), registry, tmp_path / "work/source")
    registry.close()


def test_a_source_that_is_not_as_pinned(
    pinned: Callable[[str], str], registry: Registry, tmp_path: Path
) -> None:
    text = pinned("")
    wrong = text.replace(text.partition("sha256: ")[2][:64], hashlib.sha256(b"other").hexdigest())
    with pytest.raises(HashMismatchError):
        lay_out(suite(), parse(Lock, wrong, name="lock"), registry, tmp_path / "work/source")
    registry.close()


def test_an_upstream_without_an_sdist(
    pinned: Callable[[str], str], registry: Registry, tmp_path: Path
) -> None:
    lock = parse(Lock, pinned("").replace(f"  {SUBJECT}:", "  other:"), name="lock")
    with pytest.raises(UsageError, match="no sdist"):
        lay_out(suite(), lock, registry, tmp_path / "work/source")


DOCUMENT = f"""
upstream: {SUBJECT}
package: {SUBJECT}
files: [tests, pyproject.toml]
tests: [tests/test_a.py]
expected:
  - tests: ["*::test_gpu"]
    kind: needs-gpu
    reason: It counts GPUs.
    unpatched: same
"""


@pytest.fixture
def begin(
    pinned: Callable[[str], str], tmp_path: Path
) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start the program in a checkout of its own on a source with the given test file.

    What runs at the end is killed.
    """
    # A signal that is ignored here, as in what a shell starts in the background, would be ignored
    # by the program too.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    begun: list[subprocess.Popen[str]] = []

    def start(test: str, *options: str) -> subprocess.Popen[str]:
        (tmp_path / "upstream.lock").write_text(pinned(test), encoding="utf-8")
        (tmp_path / "suite.yaml").write_text(DOCUMENT, encoding="utf-8")
        arguments = [
            sys.executable,
            "-m",
            "forkhouse.conformance",
            "suite.yaml",
            "--stack-python",
            sys.executable,
            *options,
        ]
        environment = {**os.environ, "FORKHOUSE_CACHE": str(tmp_path / "cache")}
        begun.append(
            subprocess.Popen(
                arguments,
                cwd=tmp_path,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return begun[-1]

    yield start
    signal.signal(signal.SIGINT, before)
    for process in begun:
        with process:
            process.kill()


@pytest.fixture
def command(
    begin: Callable[..., subprocess.Popen[str]],
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the program to its end; see `begin`."""

    def start(test: str, *options: str) -> subprocess.CompletedProcess[str]:
        process = begin(test, *options)
        output, errors = process.communicate()
        return subprocess.CompletedProcess(process.args, process.returncode, output, errors)

    return start


GOOD = "def test_gpu(): raise OSError\ndef test_cpu(): pass\n"


def test_the_program_says_how_many_of_each_file(
    command: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = command(GOOD)
    assert done.returncode == 0, done.stderr
    first, last = done.stdout.splitlines()
    assert first == "tests/test_a.py: 1 passed, 1 failed as expected"
    assert last.endswith("1 passed, 1 did not and are listed; all as expected")
    assert list((tmp_path / "build/upstream-tests").iterdir()) == []


def test_the_program_fails_and_keeps_its_log(
    command: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = command("def test_gpu(): pass\ndef test_cpu(): raise OSError('new')\n")
    assert done.returncode == 1
    assert "- failed, and not listed: tests/test_a.py::test_cpu: OSError: new\n" in done.stdout
    assert "(the list is out of date): tests/test_a.py::test_gpu\n" in done.stdout
    assert "OSError: new" in (tmp_path / f"build/upstream-tests/{SUBJECT}/pytest.log").read_text(
        encoding="utf-8"
    )


def test_the_program_speaks_json(command: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    answer = json.loads(command(GOOD, "--json").stdout)
    assert answer["good"] is True
    assert answer["tested"] == VERSION
    assert answer["tallies"][0]["failed_as_expected"] == 1


def test_the_program_explains_that_there_is_no_result(
    command: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    done = command("import os\nos.abort()\n")
    assert done.returncode == 1
    assert "ended by signal 6" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_program_that_is_ended_takes_its_tests_along(
    begin: Callable[..., subprocess.Popen[str]],
    number: signal.Signals,
    tmp_path: Path,
    gone: Callable[[Path], bool],
) -> None:
    mark = tmp_path / "pid"
    program = begin(
        "import os, pathlib, "
        f"time\npathlib.Path({str(mark)!r}).write_text(str(os.getpid()))\ntime.sleep(200)\n"
    )
    until(lambda: mark.exists() and bool(mark.read_text(encoding="ascii")))
    program.send_signal(number)
    program.communicate(timeout=60)
    assert program.returncode != 0
    until(lambda: gone(mark))
