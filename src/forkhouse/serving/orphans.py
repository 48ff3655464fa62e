"""Processes that left their parents, as daemons do: they become this process's, and end with it.

Only for a process that starts nothing but servers: whatever is its child at the end is one of
theirs.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import time
from typing import TYPE_CHECKING, Self

import psutil

from forkhouse.core.errors import ServingError
from forkhouse.core.processes import end, runs
from forkhouse.core.progress import report

if TYPE_CHECKING:
    from collections.abc import Collection

_CHILD_SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER of linux/prctl.h."""
END_SECONDS = 10.0
REAP_SECONDS = 5.0
"""Between two looks for what has ended. A server's own end is noticed long before."""


class Orphans:
    """Takes in orphans for the length of a `with` block, and ends those that are left."""

    def __init__(self) -> None:
        """Begin with none."""
        self._ended: set[psutil.Process] = set()
        self._next = 0.0

    def __enter__(self) -> Self:
        """Let the kernel give orphans to this process instead of to init."""
        ctypes.CDLL(None, use_errno=True).prctl(_CHILD_SUBREAPER, 1, 0, 0, 0)
        return self

    def __exit__(self, *_: object) -> None:
        """End those that are left, and say so. Raises ServingError where one does not end."""
        told: set[psutil.Process] = set()

        def find() -> set[psutil.Process]:
            left = {each for each in _children() if runs(each)}
            for each in left - told:
                name = f"process {each.pid} ({_name(each)}), which had left its parent"
                report().line("serve", f"ending {name}")
            told.update(left)
            return left

        if left := end(find, END_SECONDS):
            message = f"Process {left[0].pid} still runs after SIGKILL. Restart the machine."
            raise ServingError(message)

    def reap(self, own: Collection[int]) -> None:
        """Ask for the exit codes of orphans that ended, as nobody else does.

        `own` are the numbers of servers, whose codes others ask for. What was not there at the last
        look is left to the next one, because a server may have been started meanwhile.
        """
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + REAP_SECONDS
        ended = {each for each in _children() if each.pid not in own and not runs(each)}
        for each in ended & self._ended:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(each.pid, os.WNOHANG)
        self._ended = ended


def _children() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def _name(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return str(process.name())
    return "ended"
