"""Proof that nothing of an earlier build is alive before its folder is used again.

A build's processes live in a process namespace of their own, and the kernel ends all of them with
the first. So one process tells for all: it is noted beside the folder before the build begins, by
number and start, and asked for before the next one begins. A number that another process has got
meanwhile, or one of before the machine's last start, is no life.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from forkhouse.core.errors import BuildError
from forkhouse.core.storage import discard, read_file, write_atomic

if TYPE_CHECKING:
    from typing import Self

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_PATIENCE = 30.0
"""Seconds that the kernel may take to end what was killed.

A process that waits for a disk ends when the disk answers.
"""


def boot() -> str:
    """Return what this start of the machine is called (random(4))."""
    return _BOOT.read_text(encoding="ascii").strip()


@dataclass(frozen=True, kw_only=True, slots=True)
class Life:
    """The first process of a sandbox, or of a build without one."""

    pid: int
    started: float
    """Seconds since 1970 UTC, as the kernel counts them."""
    boot: str

    @classmethod
    def of(cls, pid: int) -> Self:
        """Return the life of a process that runs. Raises psutil.NoSuchProcess."""
        return cls(pid=pid, started=psutil.Process(pid).create_time(), boot=boot())

    def process(self) -> psutil.Process | None:
        """Return the process; None when it has ended, with all that it was the first of."""
        if self.boot != boot():
            return None
        try:
            process = psutil.Process(self.pid)
            # One that nobody has asked for its exit code is over; the kernel has waited for the
            # rest of its namespace before.
            over = process.create_time() != self.started or process.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return None
        return None if over else process

    def end(self) -> None:
        """Kill the process, and with it its namespace, and wait until it has ended.

        Raises BuildError when it does not.
        """
        until = time.monotonic() + _PATIENCE
        while (process := self.process()) is not None:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                return
            if time.monotonic() > until:
                message = (
                    f"Process {self.pid} belongs to an earlier build in this folder and does not "
                    "end, though it was killed; it may wait for "
                    "a disk. Nothing is built beside it. Wait for it, or restart the machine, and "
                    "run the same command again."
                )
                raise BuildError(message)
            time.sleep(0.01)


def _note(work: Path) -> Path:
    return work.with_name(f"{work.name}.life")


def note(work: Path, life: Life) -> None:
    """Note that a build lives in the folder `work`. Raises StorageError."""
    write_atomic(_note(work), json.dumps(asdict(life)).encode())


def end_earlier(work: Path) -> None:
    """End what is left of an earlier build in the folder `work`, and forget it.

    Raises BuildError when it does not end.
    """
    try:
        noted = json.loads(read_file(_note(work)))
        life = Life(pid=int(noted["pid"]), started=float(noted["started"]), boot=str(noted["boot"]))
    except FileNotFoundError:
        return
    except (OSError, ValueError, KeyError, TypeError):
        # A note is written whole and made durable before its build begins, so one that is damaged
        # is not from this start of the machine.
        discard(_note(work))
        return
    life.end()
    _note(work).unlink(missing_ok=True)
