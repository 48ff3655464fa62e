"""The exact processes of a deployment: command, environment, and where their health is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from forkhouse.serving.deployment import PORTS_OF_A_WORKER, Deployment, WorkerGroup
from forkhouse.serving.kernelcache import kernel_variables
from forkhouse.serving.launching import (
    Surroundings,
    frontend_command,
    worker_command,
    worker_environment,
)
from forkhouse.serving.processes import LOCALHOST

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from forkhouse.serving.launching import WorkerRole

FRONTEND = "frontend"
CPU_KV_CACHE = 4  # GiB
QUIET = {"DYN_LOG": "info,tower_http=off"}
"""A worker that loads would log each question about its health as an error."""
FIRST_PORT_ALONE = 9090
"""Where the ports of a worker begin that has an address of its own, as in a pod."""
ANY = ("0.0.0.0", "::", "[::]")


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessPlace:
    """Where the processes run: what a deployment does not say, as it differs by machine."""

    python: Path
    model: Path
    state: Path
    """Folder for discovery, caches, logs and a home."""
    temporary: Path
    """Folder for sockets; its path is short, because a socket's has 107 bytes at most."""
    address: str = LOCALHOST
    """Where the processes reach each other."""
    own_address: bool = False
    """Whether each has an address of its own, as pods have: then their ports are equal."""
    choose_gpus: bool = True
    """Whether a process is told which GPUs it sees; else who starts it decides that."""

    @classmethod
    def below(cls, state: Path, *, python: Path, model: Path) -> Self:
        """Return this machine as the place, with everything that is written below `state`."""
        return cls(python=python, model=model, state=state, temporary=state / "tmp")

    @property
    def logs(self) -> Path:
        """Folder of the logs."""
        return self.state / "logs"

    def surroundings(self, deployment: Deployment) -> Surroundings:
        """Return what all processes have in common."""
        return Surroundings(
            python=self.python,
            home=self.state / "home",
            discovery=self.state / "discovery",
            caches=self.state / "caches",
            temporary=self.temporary,
            planes=deployment.planes.planes(),
        )

    def folders(self) -> tuple[Path, ...]:
        """Return the folders that have to be there before a process starts."""
        names = ("home", "discovery", "caches", "logs")
        return (self.state, *(self.state / name for name in names), self.temporary)


def url(host: str, port: int, path: str) -> str:
    """Return the URL of a path on a host; an address of IPv6 stands in brackets there."""
    place = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return f"http://{place}:{port}{path}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Planned:
    """One process: exactly how it is started, and where its health is asked."""

    name: str
    """Such as decode-2."""
    role: str
    """As in the file: frontend, worker, prefill or decode."""
    command: tuple[str, ...]
    environment: Mapping[str, str]
    host: str
    """Where it is asked."""
    port: int
    """Where it is asked: the front end's port for clients, a worker's for health and counters."""
    live: str = "/live"
    """Path that is answered while the process is not stuck."""
    health: str = "/health"
    """Path that is answered with 200 once the process serves."""
    lists: str | None = None
    """The model that a front end has to list before it is ready; it does so once a worker of each
    role is there. Its own health says nothing of them."""
    gpus: int = 0
    devices: tuple[int, ...] = ()
    """Numbers of the GPUs that it sees; none where somebody else decides."""

    def as_json(self) -> dict[str, Any]:
        """Return it for machines."""
        return {
            "name": self.name,
            "role": self.role,
            "command": list(self.command),
            "environment": dict(self.environment),
            "health": url(self.host, self.port, self.health),
            "live": url(self.host, self.port, self.live),
            "gpus": self.gpus,
            "devices": list(self.devices),
        }


def processes(deployment: Deployment, place: ProcessPlace) -> tuple[Planned, ...]:
    """Return every process of a deployment, the front end first."""
    common = {
        "LANG": "C.UTF-8",
        **place.surroundings(deployment).environment(place.address),
        **deployment.environment,
    }
    found = [_frontend(deployment, place, common)]
    for name, role, group in deployment.roles.groups():
        for number in range(group.replicas):
            at = FIRST_PORT_ALONE
            if not place.own_address:
                at = deployment.ports.workers + PORTS_OF_A_WORKER * (len(found) - 1)
            found.append(_worker(deployment, place, common, name, role, group, number, at))
    return tuple(found)


def _frontend(deployment: Deployment, place: ProcessPlace, common: Mapping[str, str]) -> Planned:
    frontend = deployment.roles.frontend
    # A pod's clients and probes come to its own address.
    address = "0.0.0.0" if place.own_address else frontend.address
    return Planned(
        name=FRONTEND,
        role=FRONTEND,
        command=frontend_command(
            place.python, port=frontend.port, address=address, arguments=frontend.arguments
        ),
        environment={**common, **frontend.environment},
        host=LOCALHOST if address in ANY else address,
        port=frontend.port,
        lists=deployment.model.name,
    )


def _worker(
    deployment: Deployment,
    place: ProcessPlace,
    common: Mapping[str, str],
    name: str,
    role: WorkerRole,
    group: WorkerGroup,
    number: int,
    port: int,
) -> Planned:
    on_gpu = deployment.hardware.target is not None
    devices: tuple[int, ...] = ()
    if place.choose_gpus:
        devices = group.devices[number * group.gpus : (number + 1) * group.gpus]
    own = worker_environment(
        deployment.hardware, address=place.address, status_port=port, side_channel_port=port + 1
    )
    sizes = (
        ({"HIP_VISIBLE_DEVICES": ",".join(map(str, devices))} if devices else {})
        if on_gpu
        else {
            "VLLM_CPU_KVCACHE_SPACE": str(group.kv_cache or CPU_KV_CACHE),
            "OMP_NUM_THREADS": str(group.threads),
        }
    )
    return Planned(
        name=f"{name}-{number + 1}",
        role=name,
        command=worker_command(
            place.python,
            role=role,
            device=deployment.hardware,
            model=place.model,
            served_name=deployment.model.name,
            arguments=(*_size_arguments(group, on_gpu=on_gpu), *group.arguments),
        ),
        environment={
            **QUIET,
            **kernel_variables(place.python, deployment.hardware),
            **common,
            **own,
            **sizes,
            **group.environment,
        },
        host=place.address,
        port=port,
        gpus=group.gpus if on_gpu else 0,
        devices=devices,
    )


def _size_arguments(group: WorkerGroup, *, on_gpu: bool) -> tuple[str, ...]:
    if not on_gpu:
        return ()
    parts: list[str] = []
    if group.gpus > 1:
        parts += ["--tensor-parallel-size", str(group.gpus)]
    if group.gpu_memory is not None:
        parts += ["--gpu-memory-utilization", f"{group.gpu_memory / 100:g}"]
    if group.kv_cache is not None:
        parts += ["--kv-cache-memory-bytes", str(group.kv_cache * 2**30)]
    return tuple(parts)
