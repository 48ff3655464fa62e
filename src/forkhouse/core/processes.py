"""Which processes of a group run, and an end to them."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterable


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


def kill(processes: Iterable[psutil.Process]) -> None:
    """Send SIGKILL to processes. Those that have ended meanwhile are passed over."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
