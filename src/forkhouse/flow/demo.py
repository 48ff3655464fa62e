"""Serve a tiny model on the CPU once, aggregated and disaggregated, and show the answers.

It runs what a deployment runs: the same file, the same supervisor, the installed wheelhouse.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from forkhouse.core.errors import ServingError, UsageError
from forkhouse.core.storage import discard, storage_errors, write_atomic
from forkhouse.documents.reading import parse
from forkhouse.serving.arranging import ProcessPlace, processes
from forkhouse.serving.client import chat_stream, metrics
from forkhouse.serving.deployment import PORTS_OF_A_WORKER, Deployment
from forkhouse.serving.keeping import State
from forkhouse.serving.launching import CPU, usable_path
from forkhouse.serving.processes import free_ports
from forkhouse.serving.stack import BLOCK_TOKENS, WORKER_ARGUMENTS, write_tiny_model
from forkhouse.serving.supervising import Supervisor, supervised
from forkhouse.serving.transfers import Transfers
from forkhouse.wheelhouse.install import install_wheelhouse

if TYPE_CHECKING:
    from collections.abc import Callable

    from forkhouse.core.workspace import Workspace
    from forkhouse.serving.keeping import Status

LAYOUTS = {"aggregated": ("worker",), "disaggregated": ("prefill", "decode")}
"""The roles of the workers in each arrangement."""
MODEL = "tiny"
QUESTION = "Which of the two workers has computed this?"
TOKENS = 24
READY_SECONDS = 600.0
LOOK_SECONDS = 0.1
DEPLOYMENT = """\
name: demo-{layout}
model: {{path: {model}, name: {name}}}
device: cpu
roles:
  frontend: {{port: {frontend}}}
{workers}
ports: {{supervisor: {supervisor}, workers: {first}}}
supervision: {{ask: 0.5}}
# Nothing is on its way when all is ended.
environment: {{DYN_GRACEFUL_SHUTDOWN_GRACE_PERIOD_SECS: 0}}
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """What one arrangement showed."""

    layout: str
    ready_seconds: float
    """From the start of the processes until all were ready."""
    answer_seconds: float
    pieces: tuple[str, ...]
    """Parts of the answer, one after the other."""
    pulled: int | None
    """Bytes of KV cache that the decode worker pulled; None where nothing is handed over."""


def installed(workspace: Workspace, tell: Callable[[str], None]) -> Path:
    """Install the profile `cpu` below build/demo, unless that was done, and return its Python.

    Raises UsageError where the wheelhouse or a usable path is missing, and what an installation
    raises.
    """
    wheelhouse, folder = workspace.wheelhouse("cpu"), workspace.build / "demo"
    manifest = wheelhouse / "manifest.json"
    if not manifest.is_file():
        message = (
            f"There is no wheelhouse {wheelhouse}. Build it (nox -s build-wheels), copy one there, "
            "or name the Python of an environment that has the stack: --python."
        )
        raise UsageError(message)
    python = usable_path(folder / "stack/bin/python", CPU)
    note, digest = folder / "installed", hashlib.sha256(manifest.read_bytes()).hexdigest().encode()
    if note.is_file() and note.read_bytes() == digest and python.exists():
        tell("the wheelhouse is installed already")
        return python
    tell(f"installing {wheelhouse.name} into {folder / 'stack'} (about 4 GB)")
    with storage_errors(f"Making {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        for place in (note, folder / "stack"):
            discard(place)
    install_wheelhouse(wheelhouse, folder / "stack")
    write_atomic(note, digest)
    return python


def show(
    python: Path, tell: Callable[[str], None], piece: Callable[[str], None]
) -> tuple[Shown, ...]:
    """Serve in each arrangement, and return what was shown. Nothing is left afterwards.

    `tell` is called with what happens, `piece` with each part of an answer as it comes. Raises
    ServingError where something does not serve as it has to; logs are kept then, and named.
    """
    # A short path, as names of sockets have a limit.
    scratch = Path(tempfile.mkdtemp(prefix="fh-demo-"))
    try:
        tell("writing a tiny random model with the stack's own Python")
        write_tiny_model(python, scratch / "model", "--without-prompts")
        shown = tuple(_serve(layout, python, scratch, tell, piece) for layout in LAYOUTS)
    except ServingError as error:
        kept = [each for each in scratch.glob("*/logs/*.log") if each.is_file()]
        if not kept:
            shutil.rmtree(scratch)
            raise
        message = f"{error}\nAll logs are kept: {', '.join(map(str, kept))}"
        raise ServingError(message) from error
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    shutil.rmtree(scratch)
    return shown


def deployment(layout: str, model: Path) -> Deployment:
    """Return the deployment of an arrangement, on ports that are free now."""
    frontend, supervisor = free_ports(2)
    arguments = ", ".join([*WORKER_ARGUMENTS, "--block-size", str(BLOCK_TOKENS)])
    roles = LAYOUTS[layout]
    workers = "\n".join(f"  {role}: {{kv-cache: 1, arguments: [{arguments}]}}" for role in roles)
    text = DEPLOYMENT.format(
        layout=layout,
        model=model,
        name=MODEL,
        frontend=frontend,
        workers=workers,
        supervisor=supervisor,
        first=_row_of_ports(len(roles), {frontend, supervisor}),
    )
    return parse(Deployment, text, name=f"demo-{layout}.yaml")


def _row_of_ports(workers: int, taken: set[int]) -> int:
    """Return the first of ports in a row that are enough for workers, none of them taken."""
    while True:
        (first,) = free_ports(1)
        if not taken & set(range(first, first + workers * PORTS_OF_A_WORKER)):
            return first


def _serve(
    layout: str,
    python: Path,
    scratch: Path,
    tell: Callable[[str], None],
    piece: Callable[[str], None],
) -> Shown:
    chosen = deployment(layout, scratch / "model")
    # One folder for all: what vLLM learnt about the model's class is found again.
    place = ProcessPlace.below(scratch / "state", python=python, model=scratch / "model")
    names = [each.name for each in processes(chosen, place)]
    begun = time.monotonic()
    tell(f"{layout}: starting {', '.join(names)}")
    with supervised(chosen, place) as supervisor:
        _wait(supervisor, layout, tell, begun)
        ready = time.monotonic() - begun
        tell(f"{layout}: asking {QUESTION!r}")
        asked, pieces = time.monotonic(), list[str]()
        port = chosen.roles.frontend.port
        for each in chat_stream(port, MODEL, QUESTION, tokens=TOKENS):
            piece(each)
            pieces.append(each)
        piece("\n")
        answered = time.monotonic() - asked
        pulled = _pulled(chosen, place) if layout == "disaggregated" else None
        tell(f"{layout}: ending all of them")
    tell(f"{layout}: ended")
    if not pieces:
        message = f"The answer of the {layout} workers was empty."
        raise ServingError(message)
    return Shown(
        layout=layout,
        ready_seconds=ready,
        answer_seconds=answered,
        pieces=tuple(pieces),
        pulled=pulled,
    )


def _wait(supervisor: Supervisor, layout: str, tell: Callable[[str], None], begun: float) -> None:
    """Wait until all is ready, and tell of each process that becomes so. Raises ServingError."""
    known: dict[str, Status] = {}
    while True:
        supervisor.check()
        death = supervisor.first_death()
        if death is not None:
            raise death
        now = supervisor.readiness()
        for each in now.processes:
            before = known.get(each.name)
            if each.state is State.READY and (before is None or before.state is not State.READY):
                tell(f"{layout}: {each.name} is ready")
            known[each.name] = each
        if now.ready:
            return
        if time.monotonic() - begun > READY_SECONDS:
            supervisor.wait_until_ready(0)
        time.sleep(LOOK_SECONDS)


def _pulled(chosen: Deployment, place: ProcessPlace) -> int:
    """Return how many bytes of KV cache the decode worker pulled. Raises ServingError for none."""
    (decode,) = (each for each in processes(chosen, place) if each.role == "decode")
    transfers = Transfers.counted(metrics(decode.port))
    if transfers.count < 1 or transfers.size < 1:
        message = (
            "The answer came, and the decode worker has pulled no KV cache: it computed the prompt "
            "itself. That is not what disaggregated serving is."
        )
        raise ServingError(message)
    return transfers.size
