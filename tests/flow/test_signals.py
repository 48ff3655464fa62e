"""Asked to end, a run ends at once with all that it began, and the next one goes on."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from forkhouse.core.signals import ENDING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.flow.conftest import Checkout

PIPE_CODE = 141


def begin(checkout: Checkout) -> subprocess.Popen[str]:
    """Start a build and wait until the transport's is under way."""
    checkout.let_builds_wait()
    running = subprocess.Popen(
        # Whoever runs the tests may ignore some of them, as nohup(1) and a shell's `&` do.
        ["env", "--default-signal", *checkout.command("build")],
        env=checkout.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    until = time.monotonic() + 120
    while not (checkout.root / "build/work/transport/project/begun").exists():
        assert running.poll() is None
        assert time.monotonic() < until
        time.sleep(0.02)
    return running


@pytest.mark.parametrize("number", ENDING, ids=lambda number: number.name)
def test_a_signal_to_the_process_alone_ends_the_build_and_its_children(
    checkout: Checkout, number: signal.Signals
) -> None:
    with begin(checkout) as running:
        children = psutil.Process(running.pid).children(recursive=True)
        assert children
        running.send_signal(number)
        _, said = running.communicate(timeout=30)
    assert running.returncode == 128 + number
    assert f"Ended by {number.name}" in said
    assert "Traceback" not in said
    _, alive = psutil.wait_procs(children, timeout=5)
    assert not [each for each in alive if each.status() != psutil.STATUS_ZOMBIE]
    ended = checkout.while_building(lambda: None)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("number", ENDING, ids=lambda number: number.name)
def test_a_signal_ends_a_git_that_waits_for_its_host(
    checkout: Checkout, tmp_path: Path, number: signal.Signals
) -> None:
    slow = tmp_path / "bin/git"
    slow.parent.mkdir()
    slow.write_text(
        '#!/bin/sh\nPATH=${PATH#*:}\ncase "$*" in *fetch*) sleep 60 ;; esac\nexec git "$@"\n',
        encoding="utf-8",
    )
    slow.chmod(0o755)
    variables = checkout.environment()
    with subprocess.Popen(
        ["env", "--default-signal", *checkout.command("build")],
        env={**variables, "PATH": f"{slow.parent}:{variables['PATH']}"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        children: list[psutil.Process] = []
        until = time.monotonic() + 60
        while not any(child.name() == "sleep" for child in children):
            assert time.monotonic() < until
            time.sleep(0.05)
            children = psutil.Process(running.pid).children(recursive=True)
        running.send_signal(number)
        running.communicate(timeout=30)
    assert running.returncode == 128 + number
    _, alive = psutil.wait_procs(children, timeout=5)
    assert not [each for each in alive if each.status() != psutil.STATUS_ZOMBIE]


def test_a_signal_while_the_program_is_loaded_is_no_failure(checkout: Checkout) -> None:
    """As soon as the first of our own modules runs."""
    program = (
        "import os, signal, sys\n"
        "class Here:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'click': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Here())\n"
        "from forkhouse.__main__ import main\nmain()\n"
    )
    ended = subprocess.run(
        ["env", "--default-signal", sys.executable, "-c", program],
        env=checkout.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (128 + signal.SIGINT, "")


def test_an_ignored_signal_stays_ignored(checkout: Checkout) -> None:
    """As nohup(1) wants it."""
    check = ["lock", "--check", "--offline"]
    command = ["python", "-m", "forkhouse", "--root", str(checkout.root), *check]
    ignoring = (
        "import os, signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); "
        f"os.execv({sys.executable!r}, {command!r})"
    )
    with subprocess.Popen(
        [sys.executable, "-c", ignoring],
        env=checkout.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        until = time.monotonic() + 60
        while (
            running.poll() is None
            and "forkhouse" not in psutil.Process(running.pid).cmdline()
            and time.monotonic() < until
        ):
            time.sleep(0.01)
        running.send_signal(signal.SIGHUP)
        _, said = running.communicate(timeout=120)
    assert "SIGHUP" not in said
    assert running.returncode >= 0


def test_a_reader_that_has_had_enough_is_no_failure(checkout: Checkout) -> None:
    with subprocess.Popen(
        checkout.command("build", "--dry-run", "--json"),
        env=checkout.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        said = running.stderr.read().decode()
    assert (running.returncode, "Traceback" in said) == (PIPE_CODE, False)


def test_a_full_output_is_explained(checkout: Checkout) -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:  # a device
        ended = subprocess.run(
            checkout.command("build", "--dry-run", "--json"),
            env=checkout.environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert ended.returncode == 31
    assert "No space left on device" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("wait", ["nan", "-1", "inf", "x"])
def test_a_time_that_is_none_is_refused(checkout: Checkout, wait: str) -> None:
    assert (
        "Invalid value for '--wait'"
        in checkout.run("build", "--dry-run", "--wait", wait, code=2).stderr
    )


def test_a_relative_cache_is_the_callers(checkout: Checkout, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    environment = {**checkout.environment(), "FORKHOUSE_CACHE": "given"}
    ended = subprocess.run(
        checkout.command("build"),
        env=environment,
        cwd=tmp_path / "here",
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "here/given/files").is_dir()


def test_a_run_with_few_descriptors_works_or_says_why(checkout: Checkout) -> None:
    few = ["prlimit", "--nofile=64:64", "--", *checkout.command("build")]
    ended = subprocess.run(
        few, env=checkout.environment(), capture_output=True, text=True, check=False
    )
    assert ended.returncode in {0, 31}, ended.stderr
    assert "Traceback" not in ended.stderr
