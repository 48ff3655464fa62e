"""Start the served stack on this machine: Dynamo's front end, and vLLM workers on the CPU or on MI210.

Everything listens on 127.0.0.1 and finds each other through files, so two stacks beside each other never meet, and the
network is not needed. The processes see the environment that is written here, not the caller's.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from forkhouse.errors import ServingError
from forkhouse.serving.client import Answer, chat, lists_model, metrics
from forkhouse.serving.processes import LOCALHOST, Server, free_ports, stop_all, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

MODEL_NAME = "tiny"
BLOCK_TOKENS = 32  # the smallest that vLLM's attention on the CPU takes
START_SECONDS = 300.0
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CARRIED = ("LANG", "LC_ALL", "TMPDIR")
"""Variables of the caller that every server gets."""


class Role(StrEnum):
    """What a worker does, in the words of Dynamo's --disaggregation-mode."""

    AGGREGATED = "agg"
    PREFILL = "prefill"
    DECODE = "decode"


@dataclass(frozen=True, kw_only=True, slots=True)
class Device:
    """Where the engines compute, as data: what differs between a CPU and an MI210."""

    name: str
    kv_buffer: str
    """Where transferred KV blocks lie, in vLLM's words. PyTorch for ROCm calls a GPU cuda."""
    transports: str
    """UCX_TLS: what UCX may use."""
    target: str | None = None
    """What compilers call the GPU that it takes; None for the CPU."""
    environment: Mapping[str, str] = field(default_factory=dict)
    carried: tuple[str, ...] = ()
    """Further variables of the caller that reach the workers."""
    arguments: tuple[str, ...] = ()
    """Further arguments of the vLLM worker."""


CPU = Device(
    name="cpu",
    kv_buffer="cpu",
    transports="tcp,self,posix,sysv,cma",
    environment={
        "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB; the default is half of the memory
        # By default each engine binds a thread to every core. Those of two engines spin against each other: seconds for a token.
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": "1",
        # Let vLLM keep the executor that is asked for below; by default it puts engine and model into two processes, which
        # wait for each other by yielding in a loop, and starve the rest where cores are few.
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    },
    arguments=("--distributed-executor-backend", "uni"),
)
MI210 = Device(
    name="mi210",
    kv_buffer="cuda",
    transports="rocm,tcp,self,posix,sysv,cma",
    target="gfx90a",
    carried=("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "ROCM_PATH", "LD_LIBRARY_PATH"),
    # Prefill and decode share the first visible GPU: each refuses to start unless its part of the memory is free.
    arguments=("--gpu-memory-utilization", "0.3", "--kv-cache-memory-bytes", str(2**30)),
)
DEVICES = {device.name: device for device in (CPU, MI210)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Worker:
    """A running vLLM worker."""

    role: Role
    server: Server
    metrics_port: int

    def transfers(self) -> Transfers:
        """Return what this worker's connector has pulled from others since it started."""
        samples = metrics(self.metrics_port)
        return Transfers(
            count=int(samples.get("vllm:nixl_bytes_transferred_count", 0)),
            descriptors=int(samples.get("vllm:nixl_num_descriptors_sum", 0)),
            size=int(samples.get("vllm:nixl_bytes_transferred_sum", 0)),
            failed=int(samples.get("vllm:nixl_num_failed_transfers_total", 0)),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Transfers:
    """KV transfers that vLLM's NIXL connector counted when they were complete."""

    count: int
    descriptors: int
    """Pieces of memory, each continuous on both sides: fewer than blocks times layers where blocks lie beside each other."""
    size: int
    """Bytes of KV cache."""
    failed: int

    def since(self, earlier: Transfers) -> Transfers:
        """Return what was transferred after `earlier`."""
        return Transfers(
            count=self.count - earlier.count,
            descriptors=self.descriptors - earlier.descriptors,
            size=self.size - earlier.size,
            failed=self.failed - earlier.failed,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Stack:
    """A front end and its workers that answer requests."""

    port: int
    model: str
    frontend: Server
    workers: tuple[Worker, ...]
    seconds: float
    """Time from the first process to the first answer."""

    @property
    def url(self) -> str:
        """The base URL for OpenAI clients."""
        return f"http://{LOCALHOST}:{self.port}/v1"

    def worker(self, role: Role) -> Worker:
        """Return the worker with `role`. Raises KeyError when there is none."""
        return {worker.role: worker for worker in self.workers}[role]

    def chat(self, text: str, *, tokens: int) -> Answer:
        """Return the answer of at most `tokens` tokens to one user message. Raises ServingError when there is none."""
        return chat(self.port, self.model, text, tokens=tokens)


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """What a stack is made of: `python` is the interpreter of the environment that the wheelhouse was installed into."""

    python: Path
    model: Path
    device: Device
    scratch: Path
    """An empty folder for logs, caches and discovery."""

    def environment(self) -> dict[str, str]:
        """Return the variables that the front end and all workers share."""
        return {
            **{name: os.environ[name] for name in CARRIED if name in os.environ},
            "PATH": f"{self.python.parent}:{SYSTEM_PATH}",
            "HOME": str(self.scratch / "home"),
            "PYTHONUNBUFFERED": "1",
            "HF_HUB_OFFLINE": "1",
            "DO_NOT_TRACK": "1",
            "VLLM_NO_USAGE_STATS": "1",
            "DYN_DISCOVERY_BACKEND": "file",
            "DYN_FILE_KV": str(self.scratch / "discovery"),
            "DYN_REQUEST_PLANE": "tcp",
            "DYN_EVENT_PLANE": "zmq",
            "DYN_TCP_RPC_HOST": LOCALHOST,
            "DYN_TCP_RESPONSE_STREAM_HOST": LOCALHOST,
            "DYN_EVENT_PLANE_HOST": LOCALHOST,
            "DYN_TCP_REQUEST_TIMEOUT": "60",  # seconds; the default of a few passes while a busy machine lets a worker wait
            "DYN_SDK_DISABLE_ANSI_LOGGING": "1",
        }

    def start_frontend(self, port: int) -> Server:
        """Start Dynamo's front end. It lists a model once every role of its workers is there, prefill beside decode."""
        return Server.start(
            "front end",
            (str(self.python), "-m", "dynamo.frontend", "--http-host", LOCALHOST, "--http-port", str(port)),
            log=self.scratch / "frontend.log",
            environment=self.environment(),
            folder=self.scratch,
        )

    def start_worker(self, role: Role, *, metrics_port: int, side_channel_port: int) -> Worker:
        """Start a vLLM worker. `side_channel_port` is where prefill and decode workers exchange what NIXL needs to connect."""
        device = self.device
        transfer = {"kv_connector": "NixlConnector", "kv_role": "kv_both", "kv_buffer_device": device.kv_buffer}
        command = [
            *(str(self.python), "-m", "dynamo.vllm", "--model", str(self.model), "--served-model-name", MODEL_NAME),
            *("--max-model-len", "1024", "--max-num-seqs", "4", "--block-size", str(BLOCK_TOKENS), "--enforce-eager"),
            # A prompt seen before would not be transferred again, and the tests count.
            *("--no-enable-prefix-caching", *device.arguments),
        ]
        if role is not Role.AGGREGATED:
            command += ["--disaggregation-mode", role, "--kv-transfer-config", json.dumps(transfer)]
        server = Server.start(
            f"{role} worker",
            command,
            log=self.scratch / f"{role}.log",
            environment={
                **self.environment(),
                **{name: os.environ[name] for name in device.carried if name in os.environ},
                **device.environment,
                "UCX_TLS": device.transports,
                "VLLM_HOST_IP": LOCALHOST,
                "VLLM_NIXL_SIDE_CHANNEL_HOST": LOCALHOST,
                "VLLM_NIXL_SIDE_CHANNEL_PORT": str(side_channel_port),
                "DYN_SYSTEM_HOST": LOCALHOST,
                "DYN_SYSTEM_PORT": str(metrics_port),
            },
            folder=self.scratch,
        )
        return Worker(role=role, server=server, metrics_port=metrics_port)


@contextlib.contextmanager
def running_stack(setting: Setting, roles: Sequence[Role], *, wait: float = START_SECONDS) -> Iterator[Stack]:
    """Start a front end and one worker for each of `roles`, give the stack once it answers, and end every process afterwards.

    Raises ServingError when a process ends early, when `wait` seconds pass without an answer, or when a process does not end.
    """
    for folder in ("home", "discovery"):
        (setting.scratch / folder).mkdir(parents=True)
    http_port, *ports = free_ports(1 + 2 * len(roles))
    servers: list[Server] = []
    workers: list[Worker] = []
    try:
        servers.append(setting.start_frontend(http_port))
        for role, metrics_port, side_channel_port in zip(roles, ports[::2], ports[1::2], strict=True):
            workers.append(setting.start_worker(role, metrics_port=metrics_port, side_channel_port=side_channel_port))
            servers.append(workers[-1].server)
        listed = wait_until(lambda: lists_model(http_port, MODEL_NAME), what="the model to be listed", servers=servers, wait=wait)
        answered = wait_until(lambda: _answers(http_port), what="a first answer", servers=servers, wait=wait - listed)
        yield Stack(port=http_port, model=MODEL_NAME, frontend=servers[0], workers=tuple(workers), seconds=listed + answered)
    finally:
        stop_all(servers)


def _answers(port: int) -> bool:
    """Say whether the stack answers. A model is listed a moment before each of its workers takes requests."""
    with contextlib.suppress(ServingError):
        return bool(chat(port, MODEL_NAME, "ready?", tokens=1).text)
    return False
