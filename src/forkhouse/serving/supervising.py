"""Start every process of a deployment, keep them running, and end all of them."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import socket
import threading
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import psutil

from forkhouse.core.errors import ServingError, UsageError
from forkhouse.core.processes import end, members
from forkhouse.core.progress import report
from forkhouse.core.storage import locked, storage_errors, write_atomic
from forkhouse.serving.arranging import processes
from forkhouse.serving.keeping import Keeper, State, Status
from forkhouse.serving.processes import LOCALHOST, stop_all
from forkhouse.serving.telling import Teller

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from forkhouse.serving.arranging import Planned, ProcessPlace
    from forkhouse.serving.deployment import Deployment, Supervision
    from forkhouse.serving.orphans import Orphans

LONGEST_TEMPORARY = 60
"""Bytes of the path of a folder for sockets: a name has 107, and servers add up to 45."""
LOOK_SECONDS = 0.2
LEFTOVER_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Readiness:
    """Whether requests can be answered, and by whom."""

    draining: bool
    processes: tuple[Status, ...]

    def roles(self) -> dict[str, list[Status]]:
        """Return the processes by their roles."""
        found: dict[str, list[Status]] = {}
        for each in self.processes:
            found.setdefault(each.role, []).append(each)
        return found

    @property
    def ready(self) -> bool:
        """Whether a process of every role is ready, and nothing is being ended."""
        return not self.draining and all(
            any(each.state is State.READY for each in group) for group in self.roles().values()
        )

    def as_json(self) -> dict[str, Any]:
        """Return it for machines.

        A role is ready, degraded (some of its processes are ready) or missing.
        """
        roles = {}
        for role, group in self.roles().items():
            count = sum(each.state is State.READY for each in group)
            state = "ready" if count == len(group) else "degraded" if count else "missing"
            roles[role] = {
                "state": state,
                "wanted": len(group),
                "ready": count,
                "processes": [asdict(each) for each in group],
            }
        return {"ready": self.ready, "draining": self.draining, "roles": roles}


class Supervisor:
    """Keeps the processes of a deployment. `supervised` makes one, and ends it."""

    def __init__(
        self, planned: Sequence[Planned], *, place: ProcessPlace, terms: Supervision
    ) -> None:
        """Take what is to run, the front end first."""
        self._place, self._terms = place, terms
        self._draining = False
        self._noting = threading.Lock()
        self._keepers = [
            Keeper(
                each,
                folder=place.state,
                log=place.logs / f"{each.name}.log",
                terms=terms,
                started=self._note,
            )
            for each in planned
        ]

    def readiness(self) -> Readiness:
        """Return how all is now."""
        return Readiness(
            draining=self._draining, processes=tuple(keeper.status for keeper in self._keepers)
        )

    def start(self) -> None:
        """Start all."""
        for keeper in self._keepers:
            keeper.start()

    def check(self) -> None:
        """Raise what went wrong in the supervision itself."""
        for keeper in self._keepers:
            if keeper.failure is not None:
                raise keeper.failure

    def first_death(self) -> ServingError | None:
        """Return what is known of a process that ended by itself, with the end of its log.

        Also of one that could not be started at all.
        """
        for keeper in self._keepers:
            now = keeper.status
            if now.state is State.WAITING and keeper.server is not None:
                return keeper.server.error(now.why)
            if now.state is State.WAITING:
                return ServingError(now.why)
        return None

    def wait_until_ready(self, wait: float) -> None:
        """Wait until all is ready. Raises ServingError after `wait` seconds."""
        deadline = time.monotonic() + wait
        while not self.readiness().ready:
            self.check()
            if time.monotonic() >= deadline:
                states = ", ".join(
                    f"{each.name} is {each.state}{f' ({each.why})' if each.why else ''}"
                    for each in self.readiness().processes
                )
                message = (
                    f"Waited {wait:g} s in vain: {states}. The logs in {self._place.logs} say more."
                )
                raise ServingError(message)
            time.sleep(LOOK_SECONDS)

    def run(self, orphans: Orphans) -> None:
        """Go on until a signal asks for the end. Raises what went wrong in the supervision."""
        while True:
            self.check()
            servers = [keeper.server for keeper in self._keepers]
            orphans.reap({server.process.pid for server in servers if server})
            time.sleep(LOOK_SECONDS)

    def end(self) -> None:
        """End all: first the front end, so that requests that are on their way are answered.

        Raises ServingError, after all were ended, when something had to be killed.
        """
        self._draining = True
        for keeper in self._keepers:
            keeper.ask_to_stop()
        for keeper in self._keepers:
            keeper.stop()
        problems = []
        first, *others = [keeper.server for keeper in self._keepers]
        report().line("serve", "ending: the front end first, then the workers")
        for group, wait in (([first], self._terms.drain), (others, self._terms.end)):
            try:
                stop_all([server for server in group if server], wait)
            except ServingError as error:
                problems.append(str(error))
        for keeper in self._keepers:
            keeper.ended()
        (self._place.state / NOTE).unlink(missing_ok=True)
        if problems:
            raise ServingError("\n".join(problems))

    def _note(self) -> None:
        """Write down which processes run, for a supervisor that comes after one that was killed."""
        with self._noting:
            lives = []
            for keeper in self._keepers:
                pid = keeper.status.pid
                with contextlib.suppress(psutil.NoSuchProcess):
                    if pid is not None:
                        started = psutil.Process(pid).create_time()
                        lives.append({"pid": pid, "started": started, "name": keeper.planned.name})
            write_atomic(self._place.state / NOTE, json.dumps(lives).encode())


NOTE = "processes.json"
"""What runs, by number and start, as the last supervisor left it."""


def end_leftovers(state: Path) -> None:
    """End what a supervisor left behind that was killed itself.

    Raises ServingError when something does not end.
    """
    try:
        noted = [
            (int(each["pid"]), float(each["started"]), str(each["name"]))
            for each in json.loads((state / NOTE).read_bytes())
        ]
    except FileNotFoundError:
        return
    except (OSError, ValueError, KeyError, TypeError):
        noted = []
    for pid, started, name in noted:
        find = functools.partial(_left, pid, started)
        if find():
            report().line(name, f"process {pid} of a supervisor that was killed is ended")
        if left := end(find, LEFTOVER_SECONDS):
            message = (
                f"Process {left[0].pid} of an earlier run does not end, though it was killed. "
                "Wait for it, or restart the machine, and run the same command again."
            )
            raise ServingError(message)
    (state / NOTE).unlink(missing_ok=True)


def _left(pid: int, started: float) -> list[psutil.Process]:
    """Return what still runs of a process: itself, its children, and its group.

    The number may be another's now. It is not while the group of that number has members, so
    where it leads to no process, who is in the group belongs to the one that was noted.
    """
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        if process.create_time() != started:
            return []
        return [*process.children(recursive=True), *members(pid), process]
    return [each for each in members(pid) if each.create_time() >= started]


def require_place(deployment: Deployment, place: ProcessPlace) -> None:
    """Make the folders of a place. Raises UsageError for what cannot be served there."""
    if not place.model.is_dir():
        message = (
            f"The model's folder {place.model} is not there. Correct model.path of the deployment "
            f"{deployment.name}."
        )
        raise UsageError(message)
    if len(os.fsencode(place.temporary)) > LONGEST_TEMPORARY:
        message = (
            f"{place.temporary} is too long for the names of sockets in it: more than "
            f"{LONGEST_TEMPORARY} bytes. Give a folder with a shorter path (--state)."
        )
        raise UsageError(message)
    for folder in place.folders():
        with storage_errors(f"Making {folder}"):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)


def require_ports(planned: Sequence[Planned], own: int) -> None:
    """Raise ServingError where somebody has a port that is needed."""
    wanted = [
        ("the supervisor", LOCALHOST, own),
        *((each.name, each.host, each.port) for each in planned),
    ]
    for name, host, port in wanted:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host.strip("[]"), port))
            except OSError as error:
                message = (
                    f"Port {port} of {host}, which {name} needs, cannot be had: {error.strerror}. "
                    "End what holds it (`ss -tlnp` names it), or choose another port in the file."
                )
                raise ServingError(message) from error


@contextlib.contextmanager
def supervised(deployment: Deployment, place: ProcessPlace) -> Iterator[Supervisor]:
    """Start all processes of a deployment, and yield what keeps them; afterwards all are ended.

    Health, readiness and metrics are answered on the supervisor's port meanwhile. Raises UsageError
    or ServingError where it cannot begin, BusyError where the folder of the place is in use, and
    ServingError when something had to be killed at the end.
    """
    planned = processes(deployment, place)
    require_place(deployment, place)

    def busy(pid: str) -> str:
        return (
            f"Process {pid} serves with the folder {place.state} already. End it, or give another "
            "folder (--state)."
        )

    with locked(place.state / "lock", wait=0, busy=busy):
        end_leftovers(place.state)
        # What an earlier run's processes wrote there says nothing of those that start now.
        for folder in (place.state / "discovery", place.temporary):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(mode=0o700)
        require_ports(planned, deployment.ports.supervisor)
        supervisor = Supervisor(planned, place=place, terms=deployment.supervision)
        with Teller(supervisor.readiness, deployment.ports.supervisor):
            try:
                supervisor.start()
                yield supervisor
            finally:
                supervisor.end()
