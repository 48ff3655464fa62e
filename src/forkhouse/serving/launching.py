"""How the processes of the served stack are started: their commands and their environments.

The tests' stack, the supervisor and the writers of units and manifests all take them from here.
Nothing here starts a process.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from forkhouse.core.errors import UsageError
from forkhouse.serving.processes import LOCALHOST

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class WorkerRole(StrEnum):
    """What a worker does, in the words of Dynamo's --disaggregation-mode."""

    AGGREGATED = "agg"
    PREFILL = "prefill"
    DECODE = "decode"


KV_ROLES = {WorkerRole.PREFILL: "kv_producer", WorkerRole.DECODE: "kv_consumer"}
"""What vLLM's connector calls a worker of a role."""


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
    """Further variables of the caller that reach the workers of the tests' stack."""
    arguments: tuple[str, ...] = ()
    """Further arguments of the vLLM worker."""
    small_environment: Mapping[str, str] = field(default_factory=dict)
    """Variables of workers that share a small device, as those of the tests do."""
    small_arguments: tuple[str, ...] = ()
    """Arguments of the same."""
    launcher: tuple[str, ...] = ()
    """A command that is put before that of every process which uses the GPU: an emulator's."""


CPU = Device(
    name="cpu",
    kv_buffer="cpu",
    transports="tcp,self,posix,sysv,cma",
    environment={
        # By default each engine binds a thread to every core. Those of two engines spin against
        # each other: seconds for a token.
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        # Let vLLM keep the executor that is asked for below; by default it puts engine and model
        # into two processes, which wait for each other by yielding in a loop, and starve the rest
        # where cores are few.
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        # nixl_cu12's module for InfiniBand loads the system's libraries beside those that it
        # brings, and the process crashes at its end.
        "UCX_MODULES": "^ib",
    },
    arguments=("--distributed-executor-backend", "uni"),
    small_environment={
        "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB; the default is half of the memory
        "OMP_NUM_THREADS": "1",
    },
)
MI210 = Device(
    name="mi210",
    kv_buffer="cuda",
    transports="rocm,tcp,self,posix,sysv,cma",
    target="gfx90a",
    carried=("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "ROCM_PATH", "LD_LIBRARY_PATH"),
    # Prefill and decode share the first visible GPU: each refuses to start unless its part of the
    # memory is free.
    small_arguments=("--gpu-memory-utilization", "0.3", "--kv-cache-memory-bytes", str(2**30)),
)
DEVICES = {device.name: device for device in (CPU, MI210)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Planes:
    """How the processes of a stack find each other, and how requests and events reach them."""

    etcd: str | None = None
    """URL of the etcd that is asked where the others are; None for files."""
    nats: str | None = None
    """URL of the NATS server that carries requests and events; None for TCP and ZeroMQ."""

    def environment(self, files: Path) -> dict[str, str]:
        """Return Dynamo's variables; `files` is the folder for discovery by files."""
        found = (
            {"DYN_DISCOVERY_BACKEND": "etcd", "ETCD_ENDPOINTS": self.etcd}
            if self.etcd
            else {"DYN_DISCOVERY_BACKEND": "file"}
        )
        carried = (
            {"DYN_REQUEST_PLANE": "nats", "DYN_EVENT_PLANE": "nats", "NATS_SERVER": self.nats}
            if self.nats
            else {}
        )
        return {
            "DYN_FILE_KV": str(files),
            "DYN_REQUEST_PLANE": "tcp",
            "DYN_EVENT_PLANE": "zmq",
            **found,
            **carried,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Surroundings:
    """What the processes of a stack have in common: its Python, its folders, its planes."""

    python: Path
    """The interpreter of the environment that the wheelhouse was installed into."""
    home: Path
    discovery: Path
    """Where processes that find each other by files look."""
    caches: Path
    """Where vLLM and others keep what they can find again."""
    temporary: Path
    """Where servers leave sockets and files."""
    planes: Planes = Planes()
    grace: int | None = None
    """Seconds that a worker goes on with what it has begun when it is asked to end.

    None for Dynamo's own choice.
    """

    def environment(self, address: str = LOCALHOST) -> dict[str, str]:
        """Return the variables of every process that the others reach at `address`."""
        grace = (
            {}
            if self.grace is None
            else {"DYN_GRACEFUL_SHUTDOWN_GRACE_PERIOD_SECS": str(self.grace)}
        )
        return {
            "PATH": f"{self.python.parent}:{SYSTEM_PATH}",
            "HOME": str(self.home),
            "XDG_CACHE_HOME": str(self.caches),
            "TMPDIR": str(self.temporary),
            "PYTHONUNBUFFERED": "1",
            "HF_HUB_OFFLINE": "1",
            "DO_NOT_TRACK": "1",
            "VLLM_NO_USAGE_STATS": "1",
            **self.planes.environment(self.discovery),
            "DYN_TCP_RPC_HOST": address,
            "DYN_TCP_RESPONSE_STREAM_HOST": address,
            "DYN_EVENT_PLANE_HOST": address,
            # seconds; the default of a few passes while a busy machine lets a worker wait
            "DYN_TCP_REQUEST_TIMEOUT": "60",
            **grace,
            "DYN_SDK_DISABLE_ANSI_LOGGING": "1",
        }


def frontend_command(
    python: Path, *, port: int, address: str = LOCALHOST, arguments: Iterable[str] = ()
) -> tuple[str, ...]:
    """Return the command of Dynamo's front end that listens on `address`.

    It lists a model once every role of its workers is there, prefill beside decode.
    """
    where = ("--http-host", address, "--http-port", str(port))
    return (str(python), "-m", "dynamo.frontend", *where, *arguments)


def worker_command(
    python: Path,
    *,
    role: WorkerRole,
    device: Device,
    model: Path,
    served_name: str,
    transfer: Mapping[str, object] | None = None,
    arguments: Iterable[str] = (),
) -> tuple[str, ...]:
    """Return the command of a vLLM worker. Later arguments win, so `arguments` have the last word.

    `transfer` holds further settings of the KV transfer, in the words of vLLM's
    --kv-transfer-config.
    """
    mode: tuple[str, ...] = ()
    if role is not WorkerRole.AGGREGATED:
        settings = {
            "kv_connector": "NixlConnector",
            "kv_role": KV_ROLES[role],
            "kv_buffer_device": device.kv_buffer,
            **(transfer or {}),
        }
        mode = ("--disaggregation-mode", role, "--kv-transfer-config", json.dumps(settings))
    served = ("--model", str(model), "--served-model-name", served_name)
    return (str(python), "-m", "dynamo.vllm", *served, *device.arguments, *mode, *arguments)


def worker_environment(
    device: Device, *, address: str = LOCALHOST, status_port: int, side_channel_port: int
) -> dict[str, str]:
    """Return the variables that a worker has beside those of every process.

    At `status_port` it tells its health and its counters. `side_channel_port` is where prefill and
    decode workers exchange what NIXL needs to connect.
    """
    return {
        **device.environment,
        "UCX_TLS": device.transports,
        "VLLM_HOST_IP": address,
        "VLLM_NIXL_SIDE_CHANNEL_HOST": address,
        "VLLM_NIXL_SIDE_CHANNEL_PORT": str(side_channel_port),
        "DYN_SYSTEM_HOST": address,
        "DYN_SYSTEM_PORT": str(status_port),
    }


def usable_python(python: Path, device: Device) -> Path:
    """Return the absolute path of an interpreter with which a stack can be started on a device.

    Not resolved: the interpreter of a virtual environment is a link, and is known by the link's
    place. Raises UsageError where there is none, or where its path cannot be used.
    """
    python = usable_path(python.absolute(), device)
    if not os.access(python, os.X_OK) or python.is_dir():
        message = (
            f"{python} is no program. Name the interpreter of an environment that a wheelhouse was "
            "installed into, ENVIRONMENT/bin/python."
        )
        raise UsageError(message)
    return python


def usable_path(python: Path, device: Device) -> Path:
    """Return an interpreter's path, which may be of another machine.

    Raises UsageError where a stack cannot be started from there.
    """
    remedy = "Move it, or name it by a link that has none: ln -s ENVIRONMENT LINK."
    if ":" in str(python):
        message = f"{python} has a ':' in its path, which parts folders in PATH. {remedy}"
        raise UsageError(message)
    if device.target is None and any(letter.isspace() for letter in str(python)):
        # ld.so(8): the list's entries are separated by spaces or colons, and nothing escapes them.
        message = (
            f"{python} has a blank in its path. On the CPU vLLM names libraries of its environment "
            "in LD_PRELOAD, where a blank ends a name: the loader would ignore them, and say so in "
            f"a log alone. {remedy}"
        )
        raise UsageError(message)
    return python
