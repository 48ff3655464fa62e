"""Start servers, wait until they serve, and end them with all their children.

Servers start others (vLLM's engine runs in a child, its workers in grandchildren), and a server
that was killed leaves them behind with its ports and its memory. So descendants are noted while
their parents live, and a stop ends when all are gone.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import shlex
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

import psutil

from forkhouse.core.errors import ServingError
from forkhouse.core.processes import end, members, runs
from forkhouse.core.wording import quoted
from forkhouse.serving.patience import patient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

LOCALHOST = "127.0.0.1"
POLL_SECONDS = 0.1
STOP_SECONDS = 90.0
KILL_SECONDS = 10.0
LOG_LINES = 30
LOG_HEAD, LOG_TAIL = 2**22, 2**16
"""Bytes of a log that are read for an error: of its beginning, for the cause, and of its end."""
_EXCEPTION = re.compile(r"\b[A-Z]\w*(?:Error|Exception): .+")
_LOCAL_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
_given: set[int] = set()
"""Ports that this process gave out: who got one may not have opened it yet."""


def free_ports(count: int) -> tuple[int, ...]:
    """Return `count` free TCP ports of 127.0.0.1, none of them returned before.

    They lie below the range that the kernel uses for outgoing connections. So no connection takes
    a port when its server opens it a minute later. Raises ServingError when too few are free.
    """
    with contextlib.ExitStack() as held:
        ports: set[int] = set()
        first_local = int(_LOCAL_PORTS.read_text(encoding="ascii").split()[0])
        candidates = range(10_000, first_local) if first_local > 11_000 else range(10_000, 32_768)
        for port in random.sample(candidates, len(candidates)):
            if len(ports) == count:
                _given.update(ports)
                return tuple(ports)
            if port in _given:
                continue
            probe = held.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                probe.bind((LOCALHOST, port))
                ports.add(port)
    message = (
        f"{count} free ports were wanted on {LOCALHOST}, and {candidates} has only {len(ports)}. "
        "End what holds the others (`ss -tlnp`)."
    )
    raise ServingError(message)


@dataclass(kw_only=True, slots=True)
class Server:
    """A running process with its log. Use it in a `with` block, or call `stop`."""

    name: str
    command: tuple[str, ...]
    log: Path
    process: subprocess.Popen[bytes]
    begun: int = 0
    """Bytes that the log had before, of earlier lives."""
    _asked: bool = False
    _descendants: set[psutil.Process] = field(default_factory=set)

    @classmethod
    def start(
        cls,
        name: str,
        command: Iterable[str],
        *,
        log: Path,
        environment: Mapping[str, str],
        folder: Path,
    ) -> Self:
        """Start `command` in `folder` with exactly `environment`, in a process group of its own.

        Both outputs are appended to `log`. The process gets no session of its own, because the
        kernel divides the processors among sessions first. When one thread of a session polls
        without a pause, as NIXL's does, the other threads of that session get so small a share of
        the other cores that they wait for seconds. Raises ServingError when the command cannot be
        run.
        """
        command = tuple(command)
        with log.open("ab") as output:
            begun = output.tell()
            try:
                process = subprocess.Popen(
                    command,
                    cwd=folder,
                    env=dict(environment),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    process_group=0,
                )
            except OSError as error:
                message = (
                    f"{name} could not be started: {error}. The command was:\n  "
                    f"{shlex.join(command)}"
                )
                raise ServingError(message) from error
        return cls(name=name, command=command, log=log, process=process, begun=begun)

    def __enter__(self) -> Self:
        """Return this server."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the server."""
        self.stop()

    def descendants(self) -> frozenset[psutil.Process]:
        """Return every process that was seen to descend from this server and still runs.

        The server itself is not among them.
        """
        if self.process.returncode is None:
            # Not waited for yet, so its number is still its own: whoever is in the group of that
            # number is ours, orphans too.
            own = self.process.pid
            self._descendants.update(each for each in members(own) if each.pid != own)
            self._descendants.update(_children(psutil.Process(self.process.pid)))
        # psutil identifies a process by number and start time: a number that is used again is never
        # taken for one of ours.
        for process in tuple(self._descendants):
            self._descendants.update(_children(process))
        self._descendants = {process for process in self._descendants if runs(process)}
        return frozenset(self._descendants)

    def check(self) -> None:
        """Raise ServingError with the end of the log when the server has ended."""
        self.descendants()
        code = self.process.poll()
        if code is not None:
            how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
            raise self.error(how)

    def error(self, what: str) -> ServingError:
        """Return an error that says `what` happened to this server.

        It contains the server's command, the first exception in its log, and the end of the log.
        """
        head, tail = self._said()
        cause = _EXCEPTION.search(head) or _EXCEPTION.search(tail)
        parts = [
            f"{self.name} {what}. The command was:\n  {shlex.join(self.command)}",
            # The end of a log often tells only that a child failed, whose own words stand far
            # above.
            *([f"The first exception in its log:\n  | {cause.group()}"] if cause else []),
            f"The end of its log, {self.log}:\n{quoted(tail.splitlines()[-LOG_LINES:])}",
        ]
        return ServingError("\n".join(parts))

    def _said(self) -> tuple[str, str]:
        """Return the beginning and the end of what this process printed, of a log of any size."""
        with self.log.open("rb") as stream:
            end = stream.seek(0, os.SEEK_END)
            begun = self.begun if self.begun <= end else 0  # it was cut off meanwhile (logrotate)
            texts = []
            for start, size in ((begun, LOG_HEAD), (max(begun, end - LOG_TAIL), LOG_TAIL)):
                stream.seek(start)
                texts.append(stream.read(size).decode(errors="replace"))
        return texts[0], texts[1]

    def wait(self, wait: float) -> int:
        """Return the exit code when the server has ended by itself.

        Kills it after `wait` seconds, and raises ServingError.

        Unlike the process's own `wait`, it looks for descendants before the number of the process
        is given up: after that, nothing tells whose they were. It does so once, at the end: looking
        through all processes would disturb what is measured meanwhile.
        """
        deadline = time.monotonic() + wait
        while (code := self.ended()) is None:
            if time.monotonic() >= deadline:
                self.kill()
                how = f"did not end within {wait:g} s, and was killed"
                raise self.error(how)
            time.sleep(POLL_SECONDS)
        return code

    def ended(self) -> int | None:
        """Return the exit code when the server has ended by itself; None while it runs.

        As `wait`, it looks for descendants before the number of the process is given up.
        """
        own = self.process.pid
        if self.process.returncode is None and os.waitid(
            os.P_PID, own, os.WEXITED | os.WNOWAIT | os.WNOHANG
        ):
            self.descendants()
            self.process.wait()
        return self.process.returncode

    def terminate(self) -> None:
        """Send SIGTERM, once.

        Many servers take a second one for impatience and leave their children behind.
        """
        self.descendants()
        if not self._asked and self.process.poll() is None:
            self.process.terminate()
            self._asked = True

    def stop(self, wait: float = STOP_SECONDS) -> None:
        """End the server and all its descendants. Does nothing when they have ended.

        The server gets SIGTERM, and `wait` seconds for it and its children; what then still runs is
        killed. Raises ServingError when something had to be killed, or cannot be.
        """
        self.terminate()
        left = self._wait(time.monotonic() + wait)
        if not left:
            return
        names = ", ".join(f"{_name(process)} ({process.pid})" for process in left)
        self.kill()
        how = f"did not end within {wait:g} s of SIGTERM, and was killed: {names}"
        raise self.error(how)

    def kill(self) -> None:
        """End the server and all its descendants with SIGKILL, as a crash does.

        Raises ServingError when they do not end.
        """
        if remains := end(self._left, KILL_SECONDS):
            how = f"still runs after SIGKILL: {', '.join(str(process.pid) for process in remains)}"
            raise self.error(how)

    def _wait(self, deadline: float) -> list[psutil.Process]:
        """Return the processes of the server that still run at `deadline` (monotonic).

        Descendants count. Returns early, with an empty list, once all have ended.
        """
        while (left := self._left()) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        return left

    def _left(self) -> list[psutil.Process]:
        """Return the processes of the server that run now, its own included."""
        left = list(self.descendants())
        if self.process.poll() is None:
            left.append(psutil.Process(self.process.pid))
        return left


def stop_all(servers: Iterable[Server], wait: float = STOP_SECONDS) -> None:
    """Stop all `servers` at the same time.

    Raises ServingError, after all were stopped, when one of them had to be killed.
    """
    servers = tuple(servers)
    for server in servers:
        server.terminate()
    problems = []
    for server in servers:
        try:
            server.stop(wait)
        except ServingError as error:
            problems.append(str(error))
    if problems:
        raise ServingError("\n".join(problems))


def wait_until(
    condition: Callable[[], bool], *, what: str, servers: Iterable[Server], wait: float
) -> float:
    """Return the seconds it took until `condition` held.

    `what` completes "waiting for ..."; while waiting, all `servers` must live.

    Raises ServingError when a server ends, or when `wait` seconds have passed.
    """
    servers, wait = tuple(servers), patient(wait)
    started = time.monotonic()
    while True:
        for server in servers:
            server.check()
        if condition():
            return time.monotonic() - started
        if time.monotonic() - started >= wait:
            message = f"Waited {wait:g} s in vain for {what}."
            raise ServingError(
                "\n".join([message, *(str(server.error("still runs")) for server in servers)])
            )
        time.sleep(POLL_SECONDS)


def _children(process: psutil.Process) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.children(recursive=True)
    return []


def _name(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.NoSuchProcess):
        return str(process.name())
    return "ended"
