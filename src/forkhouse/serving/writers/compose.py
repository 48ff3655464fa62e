"""Write a Compose file: one service for each process, all on the network of one host."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from forkhouse.serving.arranging import FRONTEND, ProcessPlace, processes
from forkhouse.serving.writers.containers import STATE, documents, image_of, probe

if TYPE_CHECKING:
    from forkhouse.serving.arranging import Planned
    from forkhouse.serving.deployment import Deployment


def compose_file(deployment: Deployment) -> str:
    """Return the Compose file of a deployment. Raises UsageError where it names no image."""
    image = image_of(deployment)
    place = ProcessPlace.below(STATE, python=Path(image.python), model=Path(deployment.model.path))
    services = {
        each.name: _service(deployment, each, place) for each in processes(deployment, place)
    }
    return documents(
        [
            {
                "services": services,
                "volumes": {"discovery": {}, "caches": {}},
            }
        ]
    )


def _service(deployment: Deployment, planned: Planned, place: ProcessPlace) -> dict[str, Any]:
    terms = deployment.supervision
    on_gpu = deployment.hardware.target is not None and planned.name != FRONTEND
    stop = terms.drain if planned.name == FRONTEND else terms.end
    model = {
        "type": "bind",
        "source": _literal(str(place.model)),
        "target": _literal(str(place.model)),
        "read_only": True,
        "bind": {"create_host_path": False},
    }
    service: dict[str, Any] = {
        "image": _literal(image_of(deployment).reference),
        "entrypoint": [],
        "command": [_literal(each) for each in planned.command],
        "environment": {name: _literal(value) for name, value in planned.environment.items()},
        # The processes find each other on 127.0.0.1, and hand over KV blocks in shared memory.
        "network_mode": "host",
        "ipc": "host",
        "volumes": [
            model,
            {"type": "volume", "source": "discovery", "target": str(place.state / "discovery")},
            {"type": "volume", "source": "caches", "target": str(place.state / "caches")},
        ],
        "tmpfs": [str(place.temporary), str(place.state / "home")],
        "ulimits": {"memlock": -1},
        "cap_drop": ["ALL"],
        "cap_add": ["IPC_LOCK"],
        "security_opt": ["no-new-privileges:true"],
        "init": True,
        "restart": "unless-stopped",
        "stop_grace_period": f"{max(1, round(stop))}s",
        "healthcheck": {
            "test": ["CMD", *map(_literal, probe(planned, str(place.python), planned.host))],
            "interval": "10s",
            "timeout": "5s",
            "retries": 6,
            "start_period": f"{max(1, round(terms.start))}s",
        },
    }
    if planned.name == FRONTEND:
        # Services stop in the opposite order: the front end first.
        workers = [each.name for each in processes(deployment, place) if each.name != FRONTEND]
        service["depends_on"] = workers
    if on_gpu:
        service["devices"] = ["/dev/kfd:/dev/kfd", "/dev/dri:/dev/dri"]
        # The host's number of the group that owns the devices, where the image has no such name.
        service["group_add"] = ["video", "${RENDER_GID:-render}"]
    return service


def _literal(text: str) -> str:
    """Return a text in which Compose replaces nothing."""
    return text.replace("$", "$$")
