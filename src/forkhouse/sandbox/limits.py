"""Limits on what a build may use of the machine, and the check that it stays within them."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Sequence

_GIB = 2**30


@cache
def _most_memory() -> int:
    return int(psutil.virtual_memory().total * 0.95)


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildLimits:
    """Upper limits for a build.

    The builds of the recipes stay far below all of them.
    """

    processes: int = 4096
    memory: int | None = None
    """Bytes of memory that no other process shares, over all processes together.

    None for 95 % of the machine's.
    """
    open_files: int = 65536
    """Descriptors of one process."""
    file_size: int = 64 * _GIB
    """Bytes of one file."""
    output: int = _GIB
    """Bytes that it may print."""
    silence: float = 3600.0
    """Seconds without a byte of output after which a build counts as dead."""

    def command(self, command: Sequence[str]) -> list[str]:
        """Return a command that runs under the limits which the kernel enforces (setrlimit(2))."""
        open_files = min(self.open_files, _hard_limit())
        options = {"--core": 0, "--nofile": open_files, "--fsize": self.file_size}
        return [
            "/usr/bin/prlimit",
            *(f"{name}={value}" for name, value in options.items()),
            "--",
            *command,
        ]

    def exceeded(self, init: psutil.Process) -> str | None:
        """Return which limit the processes below `init` are over, as the end of a sentence.

        None when none is.

        Read from /proc, as control groups cannot be made in most containers, and the kernel's limit
        of processes never binds root.
        """
        count, used = 0, 0
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in init.children(recursive=True):
                count += 1
                with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                    memory = process.memory_info()
                    used += memory.rss - memory.shared
        if count > self.processes:
            return f"it had {count} processes; {self.processes} is the most that a build may have"
        most = self.memory or _most_memory()
        if used > most:
            return (
                f"it used {used / _GIB:.1f} GiB of memory; {most / _GIB:.1f} GiB is the most that "
                "a build may use"
            )
        return None


def _hard_limit() -> int:
    import resource  # Linux alone

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return 2**30 if hard == resource.RLIM_INFINITY else hard
