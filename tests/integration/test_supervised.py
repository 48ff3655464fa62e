"""The real stack under supervision: a worker is killed, is missed, and comes back by itself."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from forkhouse.core.errors import ServingError
from forkhouse.core.processes import runs
from forkhouse.flow.demo import deployment as small_deployment
from forkhouse.serving.client import chat, chat_stream, fetch, metrics
from forkhouse.serving.processes import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from forkhouse.serving.launching import Device
    from tests.integration.conftest import Model

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

SRC = Path(__file__).parents[2] / "src"
LONG = 800  # tokens: an answer that takes seconds
START_SECONDS = 300.0
LEASE_SECONDS = 60.0  # after which a dead worker is forgotten, with time to spare
IN_A_ROW = 4
MODEL = "tiny"


@dataclass(frozen=True, kw_only=True)
class Running:
    """A supervisor that serves, and the ports that it was told."""

    program: Server
    clients: int
    own: int

    def ready(self) -> dict[str, Any]:
        status, text = fetch(self.own, "/readyz", wait=10)
        said: dict[str, Any] = json.loads(text)
        assert status == (200 if said["ready"] else 503)
        return said

    def is_ready(self) -> bool:
        with contextlib.suppress(OSError):
            return bool(self.ready()["ready"])
        return False

    def pid(self, role: str) -> int:
        (process,) = self.ready()["roles"][role]["processes"]
        assert process["pid"] is not None
        return int(process["pid"])

    def until(self, condition: Callable[[], bool], what: str, wait: float) -> None:
        deadline = time.monotonic() + wait
        while not condition():
            self.program.check()
            assert time.monotonic() < deadline, f"waited in vain for {what}: {self.ready()}"
            time.sleep(0.1)


@pytest.fixture
def running(stack_python: Path, device: Device, model: Model, tmp_path: Path) -> Iterator[Running]:
    if device.target is not None:
        pytest.skip("the small deployment is one for the CPU")
    folder = tmp_path / "a model"
    folder.symlink_to(model.folder)
    chosen = small_deployment("disaggregated", folder)
    file = tmp_path / "deployment.yaml"
    values = chosen.model_dump(mode="json", by_alias=True, exclude_none=True)
    file.write_text(json.dumps(values), encoding="utf-8")  # JSON is YAML
    # A short path: names of sockets have a limit.
    state = Path("/tmp") / f"fh-{os.getpid()}"
    command = [
        *(sys.executable, "-m", "forkhouse", "serve", str(file)),
        *("--python", str(stack_python), "--state", str(state)),
    ]
    with Server.start(
        "supervisor",
        command,
        log=tmp_path / "supervisor.log",
        environment={"PATH": os.environ["PATH"], "PYTHONPATH": str(SRC), "HOME": str(tmp_path)},
        folder=tmp_path,
    ) as program:
        made = Running(
            program=program, clients=chosen.roles.frontend.port, own=chosen.ports.supervisor
        )
        made.until(made.is_ready, "readiness", START_SECONDS)
        yield made
    subprocess.run(["rm", "-r", state], check=True)


def answered(running: Running, model: Model) -> bool:
    """Say whether there was an answer, which has to be the right one."""
    prompt = model.prompts[0]
    try:
        answer = chat(running.clients, MODEL, prompt.text, tokens=model.answer_tokens).text
    except ServingError:
        return False
    assert answer == prompt.answer
    return True


def test_a_killed_decode_worker_is_missed_and_requests_recover(
    running: Running, model: Model
) -> None:
    assert answered(running, model)
    before = running.pid("decode")
    os.kill(before, signal.SIGKILL)
    running.until(lambda: not running.is_ready(), "readiness to go", 30)
    said = running.ready()["roles"]
    assert said["decode"]["state"] == "missing"
    assert said["prefill"]["state"] == "ready"
    assert fetch(running.own, "/livez")[0] == 200
    running.until(running.is_ready, "readiness to come again", START_SECONDS)
    assert running.pid("decode") != before
    running.until(
        lambda: all(answered(running, model) for _ in range(IN_A_ROW)), "answers", LEASE_SECONDS
    )
    counted = metrics(running.own)
    assert counted["forkhouse_restarts_total"] == 1
    assert counted["forkhouse_up"] == 3

    # What is on its way when all is ended is answered to its end.
    pieces: list[str] = []
    failures: list[ServingError] = []

    def ask() -> None:
        try:
            pieces.extend(chat_stream(running.clients, MODEL, model.prompts[0].text, tokens=LONG))
        except ServingError as error:
            failures.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    running.until(lambda: len(pieces) > 5 or not asking.is_alive(), "the first words", 60)
    below = psutil.Process(running.program.process.pid).children(recursive=True)
    assert len(below) >= 3
    begun = len(pieces)
    running.program.terminate()
    asking.join(timeout=120)
    assert running.program.wait(120) == 0
    assert failures == []
    assert len(pieces) > max(begun, LONG // 2)
    assert not any(runs(each) for each in below)


def test_the_demo_shows_both_arrangements(
    stack_python: Path, device: Device, tmp_path: Path
) -> None:
    if device.target is not None:
        pytest.skip("it serves on the CPU")
    result = subprocess.run(
        [sys.executable, "-m", "forkhouse", "demo", "--python", str(stack_python)],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(SRC), "HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == lines[1]
    assert len(lines[0].split()) > 5
    assert lines[3].startswith("aggregated")
    assert lines[4].startswith("disaggregated")
    assert lines[4].endswith("KiB")
    assert not list(Path("/tmp").glob("fh-demo-*"))
