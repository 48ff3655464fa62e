"""How this process ends when it is asked to.

What it began ends first, and the exit code tells the signal.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""Signals by which a terminal, a supervisor or a person asks a process to end."""


class Stopped(BaseException):  # nothing has gone wrong
    """A signal asked this process to end. No handler of failures takes it for one."""

    def __init__(self, number: int) -> None:
        """Take the number of the signal."""
        super().__init__(number)
        self.signal = signal.Signals(number)

    @property
    def exit_code(self) -> int:
        """The exit code that shells give a process which a signal ended: 128 plus its number."""
        return 128 + self.signal


def listen() -> None:
    """Make signals that ask for an end raise Stopped in the main thread.

    Signals that our parent told us to ignore stay ignored (nohup(1)).
    """
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)


def _stop(number: int, _frame: FrameType | None) -> None:
    # While what was begun ends, a second one would leave a part of it; SIGKILL remains.
    for each in ENDING:
        signal.signal(each, _once)
    raise Stopped(number)


def _once(_number: int, _frame: FrameType | None) -> None:
    """Ignore a second signal, because the end has begun.

    It is a function and not SIG_IGN, because children inherit that.
    """
