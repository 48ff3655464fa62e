"""`forkhouse serve`: start and supervise a deployment, or write it for those who do."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from forkhouse.cli.options import json_option
from forkhouse.cli.output import say
from forkhouse.core.progress import showing
from forkhouse.core.signals import Stopped
from forkhouse.core.storage import storage_errors, write_atomic
from forkhouse.serving.arranging import ProcessPlace, processes
from forkhouse.serving.deployment import read_deployment
from forkhouse.serving.launching import usable_path, usable_python

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forkhouse.serving.arranging import Planned
    from forkhouse.serving.deployment import Deployment

FOLDER = click.Path(file_okay=False, path_type=Path)
TARGET = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument(
    "file", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE.yaml"
)
@click.option(
    "--python",
    "interpreter",
    type=click.Path(path_type=Path),
    help="Interpreter of the environment that a wheelhouse was installed into.",
)
@click.option(
    "--state",
    type=FOLDER,
    help="Folder for logs, caches and sockets; else one of the user's, by the deployment's name.",
)
@click.option("--dry-run", is_flag=True, help="Print commands and environments; start nothing.")
@click.option("--systemd", type=FOLDER, help="Write systemd units into this folder instead.")
@click.option("--compose", type=TARGET, help="Write a Compose file instead.")
@click.option("--kubernetes", type=FOLDER, help="Write manifests into this folder instead.")
@click.option("--slurm", type=TARGET, help="Write a batch script instead.")
@json_option
def serve(
    file: Path,
    interpreter: Path | None,
    state: Path | None,
    systemd: Path | None,
    compose: Path | None,
    kubernetes: Path | None,
    slurm: Path | None,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Start the processes of a deployment, and start again what ends, until a signal comes.

    Health, readiness and metrics are answered on a port of 127.0.0.1.
    """
    deployment = read_deployment(file)
    written = [each for each in (systemd, compose, kubernetes, slurm) if each]
    if written and (state or dry_run or as_json or len(written) > 1):
        message = (
            "--systemd, --compose, --kubernetes and --slurm go alone: no --state, no --dry-run, no "
            "--json, and one of them at a time."
        )
        raise click.UsageError(message)
    if as_json and not dry_run:
        message = "--json goes with --dry-run."
        raise click.UsageError(message)
    if compose or kubernetes:
        _write_for_containers(deployment, interpreter, compose, kubernetes)
        return
    if interpreter is None:
        message = "Give --python: the interpreter of an environment with the stack."
        raise click.UsageError(message)
    if systemd or slurm:
        _write_for_machines(deployment, interpreter, systemd, slurm)
        return
    # What is only shown may be of another machine.
    python = (
        usable_path(interpreter.absolute(), deployment.hardware)
        if dry_run
        else usable_python(interpreter, deployment.hardware)
    )
    place = ProcessPlace.below(
        (state or _own_state(deployment)).absolute(),
        python=python,
        model=Path(deployment.model.path),
    )
    if dry_run:
        _show(processes(deployment, place), as_json=as_json)
    else:
        _supervise(deployment, place)


def _supervise(deployment: Deployment, place: ProcessPlace) -> None:
    from forkhouse.serving.device import require_gpu  # start-up time
    from forkhouse.serving.orphans import Orphans  # start-up time
    from forkhouse.serving.supervising import supervised  # start-up time

    if deployment.hardware.target:
        require_gpu(deployment.hardware.target)
    own = deployment.ports.supervisor
    frontend = deployment.roles.frontend
    # The end that a signal asks for is what a supervisor of services expects: it is no failure.
    try:
        with showing(), Orphans() as orphans, supervised(deployment, place) as supervisor:
            say(
                f"Serving {deployment.name} for clients on {frontend.address}:{frontend.port}; "
                f"how it is: http://127.0.0.1:{own}/readyz"
            )
            supervisor.run(orphans)
    except Stopped as stopped:
        say(f"Ended by {stopped.signal.name}; every process is ended.")


def _write_for_containers(
    deployment: Deployment, interpreter: Path | None, compose: Path | None, kubernetes: Path | None
) -> None:
    from forkhouse.serving.writers.compose import compose_file  # start-up time
    from forkhouse.serving.writers.containers import image_of  # start-up time
    from forkhouse.serving.writers.kubernetes import manifests  # start-up time

    if interpreter is not None:
        message = "In a container the interpreter is the image's: give image.python in the file."
        raise click.UsageError(message)
    usable_path(Path(image_of(deployment).python), deployment.hardware)
    if compose:
        _write(compose.absolute().parent, {compose.name: compose_file(deployment)})
    elif kubernetes:
        _write(kubernetes, manifests(deployment))


def _write_for_machines(
    deployment: Deployment, interpreter: Path, systemd: Path | None, slurm: Path | None
) -> None:
    from forkhouse.serving.writers.slurm import batch_script  # start-up time
    from forkhouse.serving.writers.systemd import units  # start-up time

    python = usable_path(interpreter.absolute(), deployment.hardware)
    if systemd:
        _write(systemd, units(deployment, python=python))
    elif slurm:
        script = batch_script(deployment, python=python)
        _write(slurm.absolute().parent, {slurm.name: script})


def _write(folder: Path, files: Mapping[str, str]) -> None:
    with storage_errors(f"Writing to {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        write_atomic(folder / name, text.encode())
        say(str(folder / name))


def _own_state(deployment: Deployment) -> Path:
    from forkhouse.core.homes import user_state  # start-up time

    return user_state("name a folder for the state (--state)") / deployment.name


def _show(planned: tuple[Planned, ...], *, as_json: bool) -> None:
    if as_json:
        say(json.dumps([each.as_json() for each in planned], indent=1))
        return
    for each in planned:
        said = each.as_json()
        say(f"# {each.name}: health at {said['health']}")
        variables = [f"{name}={value}" for name, value in sorted(each.environment.items())]
        say(f"{shlex.join(['env', '-i', *variables, *each.command])}\n")
