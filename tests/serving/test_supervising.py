"""Supervision of real processes that misbehave as front ends and workers do.

Small programs stand for them: they listen where the real ones do, and answer what those answer.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from forkhouse.core.errors import BusyError, ServingError, UsageError
from forkhouse.core.processes import runs
from forkhouse.documents.lockfile import DebianBinary
from forkhouse.documents.reading import parse
from forkhouse.serving.arranging import ProcessPlace
from forkhouse.serving.client import fetch, samples
from forkhouse.serving.deployment import Deployment
from forkhouse.serving.keeping import BackOff, State
from forkhouse.serving.processes import LOCALHOST, Server, free_ports
from forkhouse.serving.supervising import NOTE, Supervisor, supervised

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from forkhouse.flow.plant import Plant

SRC = Path(__file__).parents[2] / "src"
STAND_IN = '''
#!{python}
"""Started as `PYTHON -m MODULE ...`, as the real processes are; what it does stands beside it."""
import http.server, json, os, pathlib, signal, subprocess, sys, threading, time
import urllib.request

here = pathlib.Path(__file__).parent
module = sys.argv[2]
mode = os.environ.get("MODE", "")
child = None
if mode == "dies at once":
    sys.exit(3)
if mode == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
else:
    def ended(*_):
        (here / "order").open("a").write(module + "\\n")
        if module == "dynamo.vllm":
            child.kill()
        os._exit(0)
    signal.signal(signal.SIGTERM, ended)
if module == "dynamo.frontend":
    port = int(sys.argv[sys.argv.index("--http-port") + 1])
else:
    port = int(os.environ["DYN_SYSTEM_PORT"])
    # An engine: a child that a dead parent leaves behind.
    child = subprocess.Popen(["sleep", "300"])
    if mode == "leaves daemons":
        # One leads a session of its own; the other one has another parent as well.
        subprocess.Popen(["setsid", "--fork", "sleep", "300"]).wait()
        first = os.fork()
        if first == 0:
            os.setsid()
            if os.fork() == 0:
                os.execvp("sleep", ["sleep", "300"])
            os._exit(0)
        os.waitpid(first, 0)
    (here / "children").open("a").write(str(child.pid) + "\\n")


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if (here / f"hang-{{port}}").exists():
            time.sleep(300)
        if self.path == "/v1/models":
            there = all(serves(int(each)) for each in os.environ["WORKERS"].split(","))
            return self.answer(200, {{"data": [{{"id": "tiny"}}] if there else []}})
        self.answer(503 if (here / f"unwell-{{port}}").exists() else 200, {{}})

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def serves(port):
    try:
        return urllib.request.urlopen(f"http://127.0.0.1:{{port}}/health", timeout=1).status == 200
    except OSError:
        return False


http.server.ThreadingHTTPServer.allow_reuse_address = True
server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
if mode == "dies soon":
    time.sleep(0.4)
    os._exit(5)
while True:
    time.sleep(60)
'''
QUICK = (
    "{start: 10, silence: 0.5, ask: 0.05, first-delay: 0.1, longest-delay: 0.4, steady: 30, "
    "drain: 5, end: 5}"
)


@dataclass(frozen=True, kw_only=True)
class Small:
    """A deployment of programs that stand for a front end and workers."""

    folder: Path
    frontend: int
    own: int
    workers: int
    text: str

    @property
    def deployment(self) -> Deployment:
        return parse(Deployment, self.text, name="deployment.yaml")

    @property
    def python(self) -> Path:
        return self.folder / "python"

    def place(self) -> ProcessPlace:
        return ProcessPlace.below(self.folder / "s", python=self.python, model=self.folder)

    def ready(self) -> dict[str, Any]:
        status, text = fetch(self.own, "/readyz", wait=5)
        said: dict[str, Any] = json.loads(text)
        assert status == (200 if said["ready"] else 503)
        return said

    def engines(self) -> list[psutil.Process]:
        """Return the engines that were started and still run."""
        numbers = map(int, (self.folder / "children").read_text(encoding="utf-8").split())
        found = []
        for number in numbers:
            with contextlib.suppress(psutil.NoSuchProcess):
                found.append(psutil.Process(number))
        return [each for each in found if runs(each)]


@pytest.fixture
def small(short_path: Path) -> Callable[..., Small]:
    """Make a deployment with prefill and decode; a mode is what a role's program does wrong."""

    def make(frontend: str = "", prefill: str = "", decode: str = "", terms: str = QUICK) -> Small:
        program = short_path / "python"
        program.write_text(STAND_IN.lstrip().format(python=sys.executable), encoding="utf-8")
        program.chmod(0o755)
        client, own = free_ports(2)
        workers = run_of_ports(20, {client, own})
        text = textwrap.dedent(
            f"""
            name: tiny
            model: {{path: "{short_path}", name: tiny}}
            roles:
              frontend:
                port: {client}
                environment: {{MODE: "{frontend}", WORKERS: "{workers},{workers + 10}"}}
              prefill: {{environment: {{MODE: "{prefill}"}}}}
              decode: {{environment: {{MODE: "{decode}"}}}}
            ports: {{supervisor: {own}, workers: {workers}}}
            supervision: {terms}
            """
        )
        return Small(folder=short_path, frontend=client, own=own, workers=workers, text=text)

    return make


def run_of_ports(count: int, taken: set[int]) -> int:
    """Return the first of ports in a row, none of them taken, of which the two used are free."""
    while True:
        (first,) = free_ports(1)
        if taken & set(range(first, first + count)):
            continue
        with contextlib.suppress(OSError):
            import socket

            for port in (first, first + 10):
                with socket.socket() as probe:
                    probe.bind((LOCALHOST, port))
            return first


@pytest.fixture
def short_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a short path, because names of sockets have a limit."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="fh-") as folder:
        yield Path(folder)


def until(condition: Callable[[], bool], what: str, wait: float = 20) -> None:
    deadline = time.monotonic() + wait
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)


def status(supervisor: Supervisor, name: str) -> Any:
    (found,) = (each for each in supervisor.readiness().processes if each.name == name)
    return found


def death(supervisor: Supervisor) -> str:
    """Return what is told of a process that ended, as soon as one has."""
    told: list[ServingError] = []

    def ended() -> bool:
        found = supervisor.first_death()
        told.extend([found] if found else [])
        return bool(told)

    until(ended, "a death")
    return str(told[0])


def test_a_dead_worker_is_missed_and_started_again(small: Callable[..., Small]) -> None:
    made = small()
    with supervised(made.deployment, made.place()) as supervisor:
        supervisor.wait_until_ready(20)
        assert fetch(made.own, "/livez") == (200, "ok\n")
        assert fetch(made.own, "/other")[0] == 404
        said = made.ready()
        assert {role: each["state"] for role, each in said["roles"].items()} == {
            "frontend": "ready",
            "prefill": "ready",
            "decode": "ready",
        }
        (engine,) = [
            each for each in made.engines() if each.ppid() == status(supervisor, "decode-1").pid
        ]
        os.kill(status(supervisor, "decode-1").pid, signal.SIGKILL)
        until(lambda: not made.ready()["ready"], "readiness to go")
        until(lambda: supervisor.readiness().ready, "readiness to come again")
        decode = status(supervisor, "decode-1")
        assert decode.restarts == 1
        assert status(supervisor, "prefill-1").restarts == 0
        assert not runs(engine)
        counted = samples(fetch(made.own, "/metrics")[1])
        assert counted["forkhouse_restarts_total"] == 1
        assert counted["forkhouse_up"] == 3
        assert counted["forkhouse_ready"] == 1
        pids = [each.pid for each in supervisor.readiness().processes]
    assert not any(psutil.pid_exists(pid or 0) for pid in pids)
    assert made.engines() == []
    # The front end ends before any worker, so that what it has begun is answered.
    order = (made.folder / "order").read_text(encoding="utf-8").split()
    assert order == ["dynamo.frontend", "dynamo.vllm", "dynamo.vllm"]
    assert not (made.place().state / NOTE).exists()
    with pytest.raises(ConnectionRefusedError):
        fetch(made.own, "/livez")


def test_one_that_dies_at_once_is_tried_again_ever_more_slowly(small: Callable[..., Small]) -> None:
    made = small(decode="dies at once")
    with supervised(made.deployment, made.place()) as supervisor:
        until(lambda: status(supervisor, "decode-1").restarts >= 4, "four restarts")
        assert "decode-1 ended with exit code 3. The command was:" in death(supervisor)
        said = made.ready()
        assert said["roles"]["decode"]["state"] == "missing"
        assert said["roles"]["prefill"]["state"] == "ready"
        assert not said["ready"]
        decode = said["roles"]["decode"]["processes"][0]
        assert decode["why"] in {"ended with exit code 3", ""}
        front = status(supervisor, "frontend")
        assert front.state is not State.READY
        assert "tiny is not listed" in front.why
        assert front.restarts == 0  # it is well, only of no use


def test_one_that_dies_after_a_while_comes_back(small: Callable[..., Small]) -> None:
    made = small(decode="dies soon")
    with supervised(made.deployment, made.place()) as supervisor:
        until(lambda: status(supervisor, "decode-1").restarts >= 2, "two restarts")
        until(lambda: supervisor.readiness().ready, "a moment in which all is ready")


def test_one_that_is_stuck_is_ended_and_started_again(small: Callable[..., Small]) -> None:
    made = small()
    with supervised(made.deployment, made.place()) as supervisor:
        supervisor.wait_until_ready(20)
        before = status(supervisor, "decode-1").pid
        stuck = made.folder / f"hang-{made.workers + 10}"
        stuck.touch()
        until(lambda: status(supervisor, "decode-1").pid != before, "an end", wait=40)
        stuck.unlink()
        until(lambda: supervisor.readiness().ready, "readiness to come again")
        assert not psutil.pid_exists(before)


def test_one_that_says_it_is_unwell_is_not_ready_and_not_ended(small: Callable[..., Small]) -> None:
    made = small()
    with supervised(made.deployment, made.place()) as supervisor:
        supervisor.wait_until_ready(20)
        unwell = made.folder / f"unwell-{made.workers}"
        unwell.touch()
        until(lambda: not supervisor.readiness().ready, "readiness to go")
        until(lambda: status(supervisor, "prefill-1").state is State.UNWELL, "the worker's state")
        time.sleep(0.7)  # longer than one that is silent is left alone
        unwell.unlink()
        until(lambda: supervisor.readiness().ready, "readiness to come again")
        assert status(supervisor, "prefill-1").restarts == 0


def test_one_that_never_serves_is_ended_and_started_again(small: Callable[..., Small]) -> None:
    made = small(terms=QUICK.replace("start: 10", "start: 0.5"))
    (made.folder / f"unwell-{made.workers}").touch()
    with supervised(made.deployment, made.place()) as supervisor:
        until(lambda: status(supervisor, "prefill-1").restarts >= 1, "a restart")


def test_one_that_refuses_to_end_is_killed_and_that_is_said(small: Callable[..., Small]) -> None:
    made = small(prefill="deaf", terms=QUICK.replace("end: 5", "end: 0.3"))
    with contextlib.ExitStack() as running:
        supervisor = running.enter_context(supervised(made.deployment, made.place()))
        supervisor.wait_until_ready(20)
        pids = [each.pid for each in supervisor.readiness().processes]
        with pytest.raises(ServingError, match=r"prefill-1 did not end within 0\.3 s of SIGTERM"):
            running.close()
    assert not any(psutil.pid_exists(pid or 0) for pid in pids)
    assert made.engines() == []


def test_a_command_that_cannot_be_run_is_said(small: Callable[..., Small]) -> None:
    made = small()
    made.python.write_text("#!/nowhere\n", encoding="utf-8")
    with supervised(made.deployment, made.place()) as supervisor:
        until(lambda: status(supervisor, "prefill-1").restarts >= 1, "a second try")
        assert not supervisor.readiness().ready
        until(lambda: status(supervisor, "prefill-1").state is State.WAITING, "a pause")
        with pytest.raises(ServingError, match="prefill-1 is waiting"):
            supervisor.wait_until_ready(0)
        assert "could not be started" in death(supervisor)


def test_a_second_supervisor_of_a_folder_is_refused(small: Callable[..., Small]) -> None:
    made = small()
    with (
        supervised(made.deployment, made.place()),
        pytest.raises(BusyError, match=f"Process {os.getpid()} serves with the folder"),
        supervised(made.deployment, made.place()),
    ):
        pass


def test_a_port_that_somebody_has_is_named(small: Callable[..., Small]) -> None:
    import socket

    made = small()
    with socket.socket() as other:
        other.bind((LOCALHOST, made.workers))
        other.listen()
        with (
            pytest.raises(ServingError, match=rf"Port {made.workers} .* which prefill-1 needs"),
            supervised(made.deployment, made.place()),
        ):
            pass


def test_a_folder_without_room_for_sockets_and_a_model_that_is_missing_are_refused(
    small: Callable[..., Small],
) -> None:
    made = small()
    long = ProcessPlace.below(made.folder / ("x" * 60), python=made.python, model=made.folder)
    with (
        pytest.raises(UsageError, match="too long for the names of sockets"),
        supervised(made.deployment, long),
    ):
        pass
    lost = ProcessPlace.below(made.folder / "s", python=made.python, model=made.folder / "lost")
    with (
        pytest.raises(UsageError, match=r"lost is not there\. Correct model\.path"),
        supervised(made.deployment, lost),
    ):
        pass


def start_program(made: Small, *arguments: str) -> subprocess.Popen[str]:
    file = made.folder / "deployment.yaml"
    file.write_text(made.text, encoding="utf-8")
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "forkhouse", "serve", str(file)),
            *("--python", str(made.python), "--state", str(made.folder / "s"), *arguments),
        ],
        env={**os.environ, "PYTHONPATH": str(SRC)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def answers_ready(made: Small) -> bool:
    with contextlib.suppress(OSError):
        return bool(made.ready()["ready"])
    return False


def test_a_signal_ends_all_and_is_no_failure(small: Callable[..., Small]) -> None:
    made = small()
    with start_program(made) as program:
        until(lambda: answers_ready(made), "readiness")
        below = psutil.Process(program.pid).children(recursive=True)
        assert len(below) == 5  # with two engines
        program.send_signal(signal.SIGTERM)
        output, said = program.communicate(timeout=30)
    assert program.returncode == 0, said
    assert "Ended by SIGTERM; every process is ended." in output
    assert not any(runs(each) for each in below)


def test_daemons_that_left_their_parents_end_as_well(small: Callable[..., Small]) -> None:
    made = small(decode="leaves daemons")
    with start_program(made) as program:
        until(lambda: answers_ready(made), "readiness")
        below = psutil.Process(program.pid).children(recursive=True)
        program.send_signal(signal.SIGTERM)
        _, said = program.communicate(timeout=30)
    assert program.returncode == 0, said
    assert len(below) == 7  # with two engines and two daemons
    assert said.count("(sleep), which had left its parent") == 2, said
    assert not any(runs(each) for each in below)


def test_what_a_killed_supervisor_left_is_ended_by_the_next_one(
    small: Callable[..., Small],
) -> None:
    made = small()
    with start_program(made) as program:
        until(lambda: answers_ready(made), "readiness")
        below = psutil.Process(program.pid).children(recursive=True)
        program.kill()
        program.communicate(timeout=30)
    assert all(runs(each) for each in below)
    with supervised(made.deployment, made.place()) as supervisor:
        assert not any(runs(each) for each in below)
        supervisor.wait_until_ready(20)


def test_the_delay_doubles_has_a_limit_and_begins_anew_after_a_good_life() -> None:
    back_off = BackOff(first=1, longest=10, steady=60)
    assert [back_off.delay(served) for served in (0, 5, 59, 0, 0, 0)] == [1, 2, 4, 8, 10, 10]
    assert [back_off.delay(served) for served in (60, 0, 1000)] == [1, 2, 1]


PROMETHEUS = DebianBinary(
    package="prometheus",
    version="2.42.0+ds-5+deb12u1",
    suite="bookworm",
    file="prometheus_2.42.0+ds-5+deb12u1_amd64.deb",
    sha256="81d59a24fce84f7fbe97a45a4f2914b6a5881b5cd1db2a6a0e129e515e1a5f55",
)


@pytest.mark.integration
@pytest.mark.extended
def test_a_real_prometheus_scrapes_the_metrics(
    small: Callable[..., Small], plant: Plant, tmp_path: Path
) -> None:
    from forkhouse.sources.apt import fetch_debian_binaries  # asks a package index

    (package,) = fetch_debian_binaries((PROMETHEUS,), plant.registry, offline=False)
    subprocess.run(["dpkg-deb", "--extract", package, tmp_path], check=True)
    (port,) = free_ports(1)
    made = small()
    (tmp_path / "prometheus.yml").write_text(
        "scrape_configs: [{job_name: forkhouse, scrape_interval: 1s, static_configs: "
        f"[{{targets: ['127.0.0.1:{made.own}']}}]}}]\n",
        encoding="utf-8",
    )
    command = [
        str(tmp_path / "usr/bin/prometheus"),
        *(f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/tsdb"),
        f"--web.listen-address=127.0.0.1:{port}",
    ]

    def asked(query: str) -> dict[str, float]:
        """Return the values of a query, by the name of the process that each is about."""
        with contextlib.suppress(OSError):
            _, text = fetch(port, f"/api/v1/query?query={query}", wait=5)
            found = json.loads(text)["data"]["result"]
            return {each["metric"].get("process", ""): float(each["value"][1]) for each in found}
        return {}

    with (
        Server.start("prometheus", command, log=tmp_path / "log", environment={}, folder=tmp_path),
        supervised(made.deployment, made.place()) as supervisor,
    ):
        supervisor.wait_until_ready(20)
        until(lambda: asked("up") == {"": 1}, "a scrape", 60)
        until(lambda: asked("forkhouse_ready") == {"": 1}, "readiness", 20)
        names = [each.name for each in supervisor.readiness().processes]
        until(lambda: asked("forkhouse_up") == dict.fromkeys(names, 1.0), "all to be up", 20)
        os.kill(status(supervisor, "decode-1").pid, signal.SIGKILL)
        restarts = {**dict.fromkeys(names, 0.0), "decode-1": 1.0}
        until(lambda: asked("forkhouse_restarts_total") == restarts, "a restart", 60)
