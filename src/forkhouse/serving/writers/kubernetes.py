"""Write Kubernetes manifests: a Deployment for each role, a Service, and disruption budgets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from forkhouse.core.errors import UsageError
from forkhouse.serving.arranging import FRONTEND, ProcessPlace, processes
from forkhouse.serving.writers.containers import STATE, documents, image_of, probe

if TYPE_CHECKING:
    from forkhouse.serving.arranging import Planned
    from forkhouse.serving.deployment import Deployment

OWN_ADDRESS = "$(POD_IP)"
"""Kubernetes puts a variable here that was defined before."""
PROBE_SECONDS = 10


def manifests(deployment: Deployment) -> dict[str, str]:
    """Return the manifests of a deployment by file name, one file for each role.

    Raises UsageError where it names no image, where its processes find each other by files, as
    pods share none, and for a model's path that cannot be mounted.
    """
    image = image_of(deployment)
    if deployment.planes.discovery == "file":
        message = (
            f"The processes of {deployment.name} find each other by files, and pods share none. "
            "Give planes: {discovery: etcd, etcd: ADDRESS}."
        )
        raise UsageError(message)
    if ":" in deployment.model.path:
        message = (
            f"The model's path {deployment.model.path} has a ':' in it, and Kubernetes mounts "
            "nothing there. Give it another path."
        )
        raise UsageError(message)
    place = ProcessPlace(
        python=Path(image.python),
        model=Path(deployment.model.path),
        state=STATE,
        temporary=STATE / "tmp",
        address=OWN_ADDRESS,
        own_address=True,
        choose_gpus=False,
    )
    replicas = {FRONTEND: 1}
    replicas |= {name: group.replicas for name, _, group in deployment.roles.groups()}
    # Replicas are equal, as each has an address of its own.
    roles = {each.role: each for each in processes(deployment, place)}
    files = {}
    for role, planned in roles.items():
        objects = [_deployment(deployment, planned, place, replicas[role])]
        if role == FRONTEND:
            objects.append(_service(deployment, planned))
        objects.append(_budget(deployment, role))
        files[f"{deployment.name}-{role}.yaml"] = documents(objects)
    return files


def _labels(deployment: Deployment, role: str) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": "forkhouse",
        "app.kubernetes.io/instance": deployment.name,
        "app.kubernetes.io/component": role,
    }


def _metadata(deployment: Deployment, role: str) -> dict[str, Any]:
    return {"name": f"{deployment.name}-{role}", "labels": _labels(deployment, role)}


def _deployment(
    deployment: Deployment, planned: Planned, place: ProcessPlace, replicas: int
) -> dict[str, Any]:
    labels = _labels(deployment, planned.role)
    terms = deployment.supervision
    # A new worker beside the old one would ask for GPUs that nobody has.
    strategy = {"type": "Recreate"} if planned.gpus else {"type": "RollingUpdate"}
    stop = terms.drain if planned.role == FRONTEND else terms.end
    claim = deployment.model.claim
    model = (
        {"persistentVolumeClaim": {"claimName": claim, "readOnly": True}}
        if claim
        else {"hostPath": {"path": str(place.model), "type": "Directory"}}
    )
    spec = {
        "containers": [_container(deployment, planned, place)],
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": max(1, round(stop)) + PROBE_SECONDS,
        "volumes": [
            {"name": "state", "emptyDir": {}},
            {"name": "shared-memory", "emptyDir": {"medium": "Memory"}},
            {"name": "model", **model},
        ],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(deployment, planned.role),
        "spec": {
            "replicas": replicas,
            "strategy": strategy,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def _container(deployment: Deployment, planned: Planned, place: ProcessPlace) -> dict[str, Any]:
    image = image_of(deployment)
    own = {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    variables = [
        {"name": name, "value": _literal(value)} for name, value in planned.environment.items()
    ]
    program, *arguments = planned.command
    folders = ("home", "caches", "tmp")
    mounts = [
        *(
            {"name": "state", "mountPath": str(place.state / one), "subPath": one}
            for one in folders
        ),
        {"name": "shared-memory", "mountPath": "/dev/shm"},
        {"name": "model", "mountPath": str(place.model), "readOnly": True},
    ]
    container: dict[str, Any] = {
        "name": planned.role,
        "image": image.reference,
        "command": [_literal(program)],
        "args": [_literal(each) for each in arguments],
        "env": [own, *variables],
        "ports": [{"name": "http", "containerPort": planned.port}],
        "volumeMounts": mounts,
        # What pins memory for RDMA asks for IPC_LOCK, as a pod has no limit to raise.
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"], "add": ["IPC_LOCK"]},
        },
        **_probes(deployment, planned, image.python),
    }
    if planned.gpus:
        # AMD's device plugin gives the container /dev/kfd and its part of /dev/dri.
        container["resources"] = {"limits": {"amd.com/gpu": planned.gpus}}
    return container


def _probes(deployment: Deployment, planned: Planned, python: str) -> dict[str, Any]:
    terms = deployment.supervision

    def http(path: str, failures: float) -> dict[str, Any]:
        return {
            "httpGet": {"path": path, "port": "http"},
            "periodSeconds": PROBE_SECONDS,
            "timeoutSeconds": 5,
            "failureThreshold": max(1, round(failures / PROBE_SECONDS)),
        }

    ready = http(planned.health, PROBE_SECONDS)
    if planned.lists is not None:
        # The front end's own health says nothing of its workers; it lists a model once all roles
        # are there.
        del ready["httpGet"]
        command = probe(planned, python, "127.0.0.1")
        ready = {"exec": {"command": command}, **ready}
    return {
        "startupProbe": http(planned.health, terms.start),
        "livenessProbe": http(planned.live, terms.silence),
        "readinessProbe": ready,
    }


def _service(deployment: Deployment, planned: Planned) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(deployment, planned.role),
        "spec": {
            "selector": _labels(deployment, planned.role),
            "ports": [{"name": "http", "port": planned.port, "targetPort": "http"}],
        },
    }


def _budget(deployment: Deployment, role: str) -> dict[str, Any]:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": _metadata(deployment, role),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": _labels(deployment, role)}},
    }


def _literal(text: str) -> str:
    """Return a text in which Kubernetes replaces nothing but the pod's own address."""
    return OWN_ADDRESS.join(part.replace("$", "$$") for part in text.split(OWN_ADDRESS))
