"""Which processes run, and an end to them."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

POLL_SECONDS = 0.01
"""Between two looks for whether processes have stopped or ended."""
STOP_SECONDS = 0.2
"""How long a process that acts is waited for, once it was told to stop."""


def runs(process: psutil.Process) -> bool:
    """Return whether a process runs.

    A process that ended and whose parent has not asked for its exit code holds no resources. A
    number that another process has got meanwhile is not taken for this one.
    """
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def members(group: int) -> list[psutil.Process]:
    """Return what runs in a process group. What has left it, as a daemon does, is not found."""
    return [process for process in psutil.process_iter() if _is_in(process, group)]


def _is_in(process: psutil.Process, group: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        return os.getpgid(process.pid) == group and runs(process)
    return False


def end(find: Callable[[], Iterable[psutil.Process]], seconds: float) -> list[psutil.Process]:
    """Kill what `find` finds and what that starts meanwhile; return what still runs afterwards.

    All are stopped before any is killed. Otherwise one that is killed could have started another
    since the last look, and nothing would tell whose that is. Waits about `seconds` at most.
    """
    deadline = time.monotonic() + seconds
    ours = _stop(find)
    while left := [each for each in ours if runs(each)]:
        # The youngest first: none is older than who started it.
        for each in sorted(left, key=lambda each: each.create_time(), reverse=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        if time.monotonic() >= deadline:
            break
        time.sleep(POLL_SECONDS)
        ours |= _stop(find)
    return left


def _stop(find: Callable[[], Iterable[psutil.Process]]) -> set[psutil.Process]:
    """Stop (SIGSTOP) what `find` finds until it finds nobody else, and return them all."""
    stopped: set[psutil.Process] = set()
    while found := {each for each in find() if runs(each)} - stopped:
        for process in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()
        # Who waits in the kernel stops later, before it does anything else. One that waits for a
        # child which vfork(2) made waits as long as that child is stopped.
        deadline = time.monotonic() + STOP_SECONDS
        while any(map(_acts, found)) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS / 10)
        stopped |= found
    return stopped


def _acts(process: psutil.Process) -> bool:
    """Return whether a process can still start another: it takes a moment to stop."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return runs(process) and process.status() != psutil.STATUS_STOPPED
    return False
