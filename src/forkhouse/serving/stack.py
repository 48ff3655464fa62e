"""Start the served stack: Dynamo's front end, and vLLM workers on the CPU or on MI210.

By default everything listens on 127.0.0.1 and finds each other through files, so two stacks beside
each other never meet, and the network is not needed. The processes see the environment that is
written here, not the caller's.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from forkhouse.core.errors import ServingError
from forkhouse.core.wording import end_of, quoted
from forkhouse.serving.client import Answer, chat, metrics, workers_known
from forkhouse.serving.kernelcache import kernel_variables
from forkhouse.serving.launching import (
    Device,
    Planes,
    Surroundings,
    WorkerRole,
    frontend_command,
    worker_command,
    worker_environment,
)
from forkhouse.serving.patience import patient
from forkhouse.serving.processes import LOCALHOST, Server, free_ports, stop_all, wait_until
from forkhouse.serving.transfers import Transfers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

MODEL_NAME = "tiny"
BLOCK_TOKENS = 32  # the smallest that vLLM's attention on the CPU takes
START_SECONDS = 300.0
WORKER_ARGUMENTS = ("--max-model-len", "1024", "--max-num-seqs", "4", "--enforce-eager")
"""Arguments of every vLLM worker: small, and started in seconds. Later arguments win."""
CARRIED = ("LANG", "LC_ALL")
"""Variables of the caller that every server gets."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Host:
    """Where a process of the stack runs.

    On this machine, or in a network namespace that stands for another one.
    """

    address: str = LOCALHOST
    """The address at which the others reach it."""
    prefix: tuple[str, ...] = ()
    """A command that runs the command after it there."""


HERE = Host()


@dataclass(frozen=True, kw_only=True, slots=True)
class FrontendPlan:
    """How the front end is started."""

    host: Host = HERE
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerPlan:
    """How a vLLM worker is started."""

    role: WorkerRole
    host: Host = HERE
    model: Path | None = None
    """The model's folder, where it is another than the setting's."""
    block_tokens: int = BLOCK_TOKENS
    prefix_caching: bool = False
    """Whether prefixes are cached, so that a known prompt is not computed and transferred again.

    Tests that count transfers turn it off.
    """
    transfer: Mapping[str, object] = field(default_factory=dict)
    """Further settings of the KV transfer, in the words of vLLM's --kv-transfer-config."""
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Worker:
    """A running vLLM worker."""

    plan: WorkerPlan
    server: Server
    metrics_port: int
    """Port of its counters, and of what the front end asks about the model."""

    @property
    def role(self) -> WorkerRole:
        """What it does."""
        return self.plan.role

    def running(self) -> int:
        """Return how many requests it computes now; none while it starts."""
        return int(self._counters().get("vllm:num_requests_running", 0))

    def generated(self) -> int:
        """Return how many tokens it has generated since it started; none while it starts."""
        return int(self._counters().get("vllm:generation_tokens_total", 0))

    def blocks_in_use(self) -> float:
        """Return what part of its KV cache is in use, from 0 to 1; 0 while it starts."""
        return self._counters().get("vllm:kv_cache_usage_perc", 0.0)

    def _counters(self) -> dict[str, float]:
        with contextlib.suppress(ServingError):
            return metrics(self.metrics_port, self.plan.host.address)
        return {}

    def transfers(self) -> Transfers:
        """Return what this worker's connector has pulled from others since it started."""
        return Transfers.counted(metrics(self.metrics_port, self.plan.host.address))


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """What a stack is made of.

    `python` is the interpreter of the environment that the wheelhouse was installed into.
    """

    python: Path
    model: Path
    device: Device
    scratch: Path
    """An empty folder for logs and discovery."""
    caches: Path
    """A folder that stacks may share.

    VLLM keeps there what it learnt about a model's class, in seconds, in a process of its own.
    """
    planes: Planes = field(default_factory=Planes)
    temporary: Path = Path(tempfile.gettempdir())
    """Where servers leave sockets and files.

    `started_stack` gives each stack a folder of its own, and removes it.
    """

    def environment(self, host: Host) -> dict[str, str]:
        """Return the variables that every process on `host` gets."""
        surroundings = Surroundings(
            python=self.python,
            home=self.scratch / "home",
            discovery=self.scratch / "discovery",
            caches=self.caches,
            temporary=self.temporary,
            planes=self.planes,
            grace=0,  # for requests that are on their way; a whole stack is stopped: there are none
        )
        carried = {name: os.environ[name] for name in CARRIED if name in os.environ}
        return {**carried, **surroundings.environment(host.address)}

    def start_frontend(self, plan: FrontendPlan, port: int) -> Server:
        """Start Dynamo's front end."""
        return Server.start(
            "front end",
            (
                *plan.host.prefix,
                *frontend_command(self.python, port=port, arguments=plan.arguments),
            ),
            log=self.scratch / "frontend.log",
            environment={**self.environment(plan.host), **plan.environment},
            folder=self.scratch,
        )

    def start_worker(
        self, plan: WorkerPlan, name: str, *, metrics_port: int, side_channel_port: int
    ) -> Worker:
        """Start a vLLM worker.

        `side_channel_port` is where prefill and decode workers exchange what NIXL needs to connect.
        """
        device = self.device
        command = worker_command(
            self.python,
            role=plan.role,
            device=device,
            model=plan.model or self.model,
            served_name=MODEL_NAME,
            transfer=plan.transfer,
            arguments=(
                *("--block-size", str(plan.block_tokens), *WORKER_ARGUMENTS),
                "--enable-prefix-caching" if plan.prefix_caching else "--no-enable-prefix-caching",
                *device.small_arguments,
                *plan.arguments,
            ),
        )
        own = worker_environment(
            device,
            address=plan.host.address,
            status_port=metrics_port,
            side_channel_port=side_channel_port,
        )
        server = Server.start(
            f"{name} worker",
            (*plan.host.prefix, *device.launcher, *command),
            log=self.scratch / f"{name}.log",
            environment={
                **self.environment(plan.host),
                **{name: os.environ[name] for name in device.carried if name in os.environ},
                **device.small_environment,
                **own,
                **kernel_variables(self.python, device),
                **plan.environment,
            },
            folder=self.scratch,
        )
        return Worker(plan=plan, server=server, metrics_port=metrics_port)


@dataclass(kw_only=True, slots=True)
class Stack:
    """A front end and its workers, which may come and go. `running_stack` makes one and ends it."""

    setting: Setting
    frontend_plan: FrontendPlan
    port: int
    """Port of the front end, on 127.0.0.1 of its host."""
    frontend: Server
    workers: list[Worker] = field(default_factory=list)
    """Those that were started and not stopped."""
    model: str = MODEL_NAME
    _started: int = 0

    @property
    def url(self) -> str:
        """The base URL for OpenAI clients."""
        return f"http://{LOCALHOST}:{self.port}/v1"

    @property
    def servers(self) -> tuple[Server, ...]:
        """Every process that should run."""
        return (self.frontend, *(worker.server for worker in self.workers))

    def worker(self, role: WorkerRole) -> Worker:
        """Return the worker with `role`, the first where there are several.

        Raises KeyError when there is none.
        """
        return {worker.role: worker for worker in reversed(self.workers)}[role]

    def start_worker(self, plan: WorkerPlan) -> Worker:
        """Start one more worker; it serves a while later.

        Raises ServingError when it cannot be run.
        """
        metrics_port, side_channel_port = free_ports(2)
        self._started += 1
        name = f"{plan.role}-{self._started}"
        worker = self.setting.start_worker(
            plan, name, metrics_port=metrics_port, side_channel_port=side_channel_port
        )
        self.workers.append(worker)
        return worker

    def blocks_in_use(self) -> list[float]:
        """Return for each worker what part of its KV cache is in use, from 0 to 1."""
        return [worker.blocks_in_use() for worker in self.workers]

    def kill(self, worker: Worker) -> None:
        """End a worker and its children at once, as a crash does.

        Raises ServingError when they cannot be ended.
        """
        self.workers.remove(worker)
        worker.server.kill()

    def restart_frontend(self) -> None:
        """Stop the front end, and start another on the same port.

        Raises ServingError when it does not stop.
        """
        self.frontend.stop()
        self.frontend = self.setting.start_frontend(self.frontend_plan, self.port)

    def chat(self, text: str, *, tokens: int) -> Answer:
        """Return the answer of at most `tokens` tokens to one user message.

        Raises ServingError when there is none.
        """
        return chat(self.port, self.model, text, tokens=tokens)

    def wait_for_answer(self, wait: float = START_SECONDS) -> None:
        """Wait until every worker is known to the front end, and the model answers.

        Raises ServingError when a process ends early, or after `wait` seconds. A model is listed
        once one worker of each role is there, and a moment before they take requests.
        """
        all_known = f"all {len(self.workers)} workers to be known to the front end"
        known = wait_until(
            lambda: workers_known(self.port) >= len(self.workers),
            what=all_known,
            servers=self.servers,
            wait=wait,
        )
        left = wait - known / patient(1)
        wait_until(self._answers, what="a first answer", servers=self.servers, wait=left)

    def _answers(self) -> bool:
        with contextlib.suppress(ServingError):
            return bool(self.chat("ready?", tokens=1).text)
        return False


def write_tiny_model(python: Path, folder: Path, *options: str) -> None:
    """Write the tiny random model, with prompts whose answers are known.

    The stack's Python writes it; `options` are those of `model.py`. Raises ServingError.
    """
    script = Path(__file__).with_name("model.py")
    variables = {
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }  # so small a model is slower with more threads
    result = subprocess.run(
        [python, script, folder, *options],
        env=variables,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if result.returncode != 0:
        said = quoted(end_of(result.stderr).splitlines())
        message = f"The tiny model could not be written with {python}:\n{said}"
        raise ServingError(message)


@contextlib.contextmanager
def started_stack(
    setting: Setting, plans: Iterable[WorkerPlan], frontend: FrontendPlan
) -> Iterator[Stack]:
    """Start a front end and workers, and yield the stack before it answers.

    Every process is ended afterwards. Raises ServingError when a process cannot be started or
    does not end.
    """
    for folder in ("home", "discovery"):
        (setting.scratch / folder).mkdir(parents=True)
    (port,) = free_ports(1)
    # Not in the scratch folder: the name of a Unix socket has 107 bytes at most, and servers add
    # much to that of the folder.
    with tempfile.TemporaryDirectory(prefix="forkhouse-") as temporary:
        setting = replace(setting, temporary=Path(temporary))
        stack = Stack(
            setting=setting,
            frontend_plan=frontend,
            port=port,
            frontend=setting.start_frontend(frontend, port),
        )
        try:
            for plan in plans:
                stack.start_worker(plan)
            yield stack
        finally:
            stop_all(stack.servers)


@contextlib.contextmanager
def running_stack(
    setting: Setting,
    plans: Iterable[WorkerPlan],
    *,
    frontend: FrontendPlan | None = None,
    wait: float = START_SECONDS,
) -> Iterator[Stack]:
    """Start a front end and workers, and yield the stack once it answers.

    Every process is ended afterwards. Raises ServingError when a process ends early, when `wait`
    seconds pass without an answer, or when a process does not end.
    """
    with started_stack(setting, plans, frontend or FrontendPlan()) as stack:
        stack.wait_for_answer(wait)
        yield stack
