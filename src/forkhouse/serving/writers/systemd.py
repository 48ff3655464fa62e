"""Write systemd units: a service for each process, and a target for all of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from forkhouse.serving.arranging import FRONTEND, ProcessPlace, processes

if TYPE_CHECKING:
    from forkhouse.serving.arranging import Planned
    from forkhouse.serving.deployment import Deployment

USER = "forkhouse"
HEAD = "# Written by `forkhouse serve`. Change the deployment, and write it again.\n"
LONGEST_STOP = 15.0
"""Seconds beyond those that a process is given to end by itself."""


def units(deployment: Deployment, *, python: Path) -> dict[str, str]:
    """Return the units of a deployment by their file names, and the user that they run as."""
    state = Path("/var/lib/forkhouse") / deployment.name
    place = ProcessPlace.below(state, python=python, model=Path(deployment.model.path))
    planned = processes(deployment, place)
    target = f"forkhouse-{deployment.name}.target"
    names = {each.name: f"forkhouse-{deployment.name}-{each.name}.service" for each in planned}
    files = {names[each.name]: _service(deployment, each, place, target, names) for each in planned}
    wants = "\n".join(f"Wants={name}" for name in names.values())
    files[target] = (
        f"{HEAD}[Unit]\nDescription=Forkhouse {deployment.name}\n{wants}\n\n"
        "[Install]\nWantedBy=multi-user.target\n"
    )
    files["forkhouse.sysusers.conf"] = f'{HEAD}u {USER} - "Forkhouse" /var/lib/forkhouse\n'
    return files


def _service(
    deployment: Deployment,
    planned: Planned,
    place: ProcessPlace,
    target: str,
    names: dict[str, str],
) -> str:
    on_gpu = deployment.hardware.target is not None
    # Units stop in the opposite order: so the front end ends first, and what it has begun is
    # answered.
    others = [name for each, name in names.items() if each != FRONTEND]
    after = [*others, "network-online.target"] if planned.name == FRONTEND else []
    stop = deployment.supervision.drain if planned.name == FRONTEND else deployment.supervision.end
    folders = [place.state, *(each for each in place.folders() if each != place.state)]
    relative = " ".join(str(each.relative_to("/var/lib")) for each in folders)
    lines = [
        "[Unit]",
        f"Description=Forkhouse {deployment.name}: {planned.name}",
        f"After={' '.join(after) or 'network-online.target'}",
        "Wants=network-online.target",
        f"PartOf={target}",
        "# However often it ends, it is started again.",
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        "Type=exec",
        f"ExecStart={' '.join(_word(each) for each in planned.command)}",
        *(f"Environment={_assigned(name, value)}" for name, value in planned.environment.items()),
        f"User={USER}",
        *(["SupplementaryGroups=render video"] if on_gpu and planned.name != FRONTEND else []),
        f"StateDirectory={relative}",
        "StateDirectoryMode=0700",
        f"WorkingDirectory={place.state}",
        "UMask=0077",
        "Restart=always",
        f"RestartSec={_span(deployment.supervision.first_delay)}",
        f"TimeoutStopSec={_span(stop + LONGEST_STOP)}",
        "# Its children get SIGKILL where they outlive it.",
        "KillMode=mixed",
        "# RDMA and GPUs pin memory.",
        "LimitMEMLOCK=infinity",
        "LimitNOFILE=65536",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "ProtectHome=read-only",
        "ProtectKernelTunables=yes",
        "ProtectControlGroups=yes",
        "RestrictSUIDSGID=yes",
    ]
    return HEAD + "\n".join(lines) + "\n"


def _span(seconds: float) -> str:
    """Return a time as systemd.time(7) reads it, which knows no exponents."""
    return f"{seconds:.6f}".rstrip("0").rstrip(".")


def _escaped(text: str) -> str:
    """Return a text between double quotes, as systemd.syntax(7) wants it; `%` is a specifier."""
    text = text.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t")
    return f'"{text.replace("%", "%%")}"'


def _word(text: str) -> str:
    """Return a word of a command: there `$` begins a variable as well."""
    return _escaped(text.replace("$", "$$"))


def _assigned(name: str, value: str) -> str:
    return _escaped(f"{name}={value}")
