"""Limits on what a build may use of the machine, and the check that it stays within them."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Sequence

_GIB = 2**30
_NUMBERS = Path("/proc/sys/kernel/pid_max")
"""How many numbers the kernel has for processes and threads."""


@cache
def _most_memory() -> int:
    return int(psutil.virtual_memory().total * 0.95)


@cache
def _most_threads() -> int:
    return min(65_536, int(_NUMBERS.read_text(encoding="ascii")) // 2)


def shared_memory() -> int:
    """Return the bytes of memory of this machine that are shared, or are files of memory.

    No process owns them, and without a control group nobody tells whose they are.
    """
    return int(psutil.virtual_memory().shared)


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildLimits:
    """Upper limits for a build.

    The builds of the recipes stay far below all of them.
    """

    processes: int = 4096
    threads: int | None = None
    """Threads of all processes together.

    None for half of the numbers that the machine has for them, or 65,536.
    """
    memory: int | None = None
    """Bytes of memory, over all processes together.

    What only one process has counts, and what is shared or lies in files of memory (/tmp, /dev/shm,
    memfd_create) by how much more of that the machine has than before. None for 95 % of the
    machine's.
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

    def exceeded(self, init: psutil.Process, shared: int) -> str | None:
        """Return which limit the processes below `init` are over, as the end of a sentence.

        None when none is. `shared` is `shared_memory` before they began.

        Read from /proc, as control groups cannot be made in most containers, and the kernel's limit
        of processes never binds root.
        """
        count, threads = 0, 0
        used = max(0, shared_memory() - shared)
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in init.children(recursive=True):
                count += 1
                with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                    memory = process.memory_info()
                    used += memory.rss - memory.shared
                    threads += process.num_threads()
        if count > self.processes:
            return f"it had {count} processes; {self.processes} is the most that a build may have"
        if threads > (self.threads or _most_threads()):
            return (
                f"it had {threads} threads; {self.threads or _most_threads()} is the most that a "
                "build may have"
            )
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
