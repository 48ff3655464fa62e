"""Keep one process running: watch it, and start it again when it ends or is stuck."""

from __future__ import annotations

import contextlib
import contextvars
import http.client
import json
import threading
import time
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from forkhouse.core.errors import ServingError
from forkhouse.core.progress import report
from forkhouse.serving.client import HTTP_OK, fetch
from forkhouse.serving.processes import Server

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from forkhouse.serving.arranging import Planned
    from forkhouse.serving.deployment import Supervision

POLL_SECONDS = 0.1
ANSWER_SECONDS = 5.0


class State(StrEnum):
    """How a process is."""

    STARTING = "starting"
    """It runs, and has not served yet."""
    READY = "ready"
    UNWELL = "unwell"
    """It has served, and does not now."""
    WAITING = "waiting"
    """It ended, and is started again after a delay."""
    ENDED = "ended"
    """It ended because all is ended."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """What is known of a process."""

    name: str
    role: str
    state: State
    pid: int | None = None
    restarts: int = 0
    why: str = ""
    """What its last end was, or why it is not ready."""

    @property
    def up(self) -> bool:
        """Whether it runs."""
        return self.pid is not None


@dataclass(frozen=True, slots=True)
class ProcessLook:
    """What a process says of itself."""

    live: bool
    serves: bool
    ready: bool
    why: str = ""


def look_at(planned: Planned, wait: float = ANSWER_SECONDS) -> ProcessLook:
    """Ask a process how it is."""

    def ask(path: str) -> tuple[int, str]:
        try:
            return fetch(planned.port, path, host=planned.host, wait=wait)
        except (OSError, http.client.HTTPException, UnicodeDecodeError) as error:
            return 0, type(error).__name__

    status, said = ask(planned.health)
    if status != HTTP_OK:
        # Its health may be bad for a good reason, as while it loads; then it still says so.
        live = status != 0 or ask(planned.live)[0] != 0
        why = f"{planned.health} is answered with {status}" if status else f"no answer: {said}"
        return ProcessLook(live, serves=False, ready=False, why=why)
    if planned.lists is None:
        return ProcessLook(live=True, serves=True, ready=True)
    status, said = ask("/v1/models")
    names: list[str] = []
    with contextlib.suppress(ValueError, KeyError, TypeError):
        names = [each["id"] for each in json.loads(said)["data"]]
    if planned.lists in names:
        return ProcessLook(live=True, serves=True, ready=True)
    why = f"{planned.lists} is not listed: a role of its workers is not there"
    return ProcessLook(live=status != 0, serves=True, ready=False, why=why)


class BackOff:
    """How long to wait before a process is started again: twice as long each time, with an end."""

    def __init__(self, *, first: float, longest: float, steady: float) -> None:
        """Take the first and the longest delay, and after how long a life counts as a good one.

        All are seconds.
        """
        self._first, self._longest, self._steady = first, longest, steady
        self._next = first

    def delay(self, served: float) -> float:
        """Return the seconds to wait after a life in which the process served for `served`."""
        if served >= self._steady:
            self._next = self._first
        delay = min(self._next, self._longest)
        self._next = min(2 * delay, self._longest)
        return delay


class Keeper:
    """Keeps one process running, in a thread of its own, until it is told to stop."""

    def __init__(
        self,
        planned: Planned,
        *,
        folder: Path,
        log: Path,
        terms: Supervision,
        started: Callable[[], None],
    ) -> None:
        """Take what is to run, and where. `started` is called whenever a process was started."""
        self.planned = planned
        self.status = Status(name=planned.name, role=planned.role, state=State.STARTING)
        """What is known of it now. It is replaced as a whole, so any thread may read it."""
        self.server: Server | None = None
        self.failure: BaseException | None = None
        """What went wrong in the keeping itself."""
        self._folder, self._log, self._terms, self._started = folder, log, terms, started
        self._stop = threading.Event()
        context = contextvars.copy_context()  # where progress goes
        self._thread = threading.Thread(
            target=lambda: context.run(self._run), name=planned.name, daemon=True
        )

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Start nothing again. What runs goes on until it is ended through `server`."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def ask_to_stop(self) -> None:
        """Start nothing again, and do not wait for what is under way."""
        self._stop.set()

    def ended(self) -> None:
        """Note that the process was ended."""
        self.status = replace(self.status, state=State.ENDED, pid=None)

    def _run(self) -> None:
        try:
            self._keep()
        except BaseException as error:  # noqa: BLE001  # raised where the supervisor looks
            self.failure = error

    def _keep(self) -> None:
        back_off = BackOff(
            first=self._terms.first_delay,
            longest=self._terms.longest_delay,
            steady=self._terms.steady,
        )
        while not self._stop.is_set():
            why, served = self._live()
            if self._stop.is_set():
                return
            delay = back_off.delay(served)
            self._become(State.WAITING, why=why, pid=None)
            report().line(self.planned.name, f"{why}; it is started again in {delay:g} s")
            if self._stop.wait(delay):
                return
            self.status = replace(self.status, restarts=self.status.restarts + 1)

    def _live(self) -> tuple[str, float]:
        """Start the process, and return why it ended and for how many seconds it served."""
        try:
            self.server = Server.start(
                self.planned.name,
                self.planned.command,
                log=self._log,
                environment=self.planned.environment,
                folder=self._folder,
            )
        except ServingError as error:
            return str(error).splitlines()[0], 0
        pid = self.server.process.pid
        self._become(State.STARTING, why="", pid=pid)
        report().line(self.planned.name, f"started as process {pid}, its log is {self._log}")
        self._started()
        why, served = self._watch(self.server)
        if not self._stop.is_set():
            try:
                self.server.kill()  # its children too, which a dead parent leaves behind
            except ServingError as error:
                why = f"{why}; {str(error).splitlines()[0]}"
        return why, served

    def _watch(self, server: Server) -> tuple[str, float]:
        begun = heard = time.monotonic()
        served_from: float | None = None
        next_look = begun

        def served() -> float:
            return 0.0 if served_from is None else time.monotonic() - served_from

        while not self._stop.wait(POLL_SECONDS):
            code = server.ended()
            if code is not None:
                how = f"ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
                return how, served()
            if time.monotonic() < next_look:
                continue
            server.descendants()  # noted while their parents live
            look = look_at(self.planned, min(ANSWER_SECONDS, self._terms.silence))
            now = time.monotonic()
            next_look = now + self._terms.ask
            heard = now if look.live else heard
            served_from = now if look.serves and served_from is None else served_from
            if served_from is None and now - begun > self._terms.start:
                return f"did not serve within {self._terms.start:g} s, and was ended", 0
            if served_from is not None and now - heard > self._terms.silence:
                return f"gave no answer for {self._terms.silence:g} s, and was ended", served()
            not_ready = State.UNWELL if self.status.state in _KNOWN else State.STARTING
            self._become(State.READY if look.ready else not_ready, why=look.why)
        return "", served()

    def _become(self, state: State, *, why: str, pid: int | None = -1) -> None:
        """Change the status, and say so where the state is another one. -1 keeps the process."""
        before = self.status
        pid = before.pid if pid == -1 else pid
        self.status = replace(before, state=state, why=why, pid=pid)
        if state is not before.state and state in (State.READY, State.UNWELL):
            report().line(self.planned.name, f"{state}{': ' if why else ''}{why}")


_KNOWN = (State.READY, State.UNWELL)
"""States of a process that has served."""
