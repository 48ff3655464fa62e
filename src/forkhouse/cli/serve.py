"""`forkhouse serve`: start and supervise a deployment."""

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
from forkhouse.serving.arranging import Place, processes
from forkhouse.serving.deployment import read_deployment
from forkhouse.serving.launching import usable_python

if TYPE_CHECKING:
    from forkhouse.serving.arranging import Planned
    from forkhouse.serving.deployment import Deployment


@click.command()
@click.argument(
    "file", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE.yaml"
)
@click.option(
    "--python",
    "interpreter",
    type=click.Path(path_type=Path),
    required=True,
    help="Interpreter of the environment that a wheelhouse was installed into.",
)
@click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for logs, caches and sockets; else one of the user's, by the deployment's name.",
)
@click.option("--dry-run", is_flag=True, help="Print commands and environments; start nothing.")
@json_option
def serve(
    file: Path, interpreter: Path, state: Path | None, *, dry_run: bool, as_json: bool
) -> None:
    """Start the processes of a deployment, and start again what ends, until a signal comes.

    Health, readiness and metrics are answered on a port of 127.0.0.1.
    """
    deployment = read_deployment(file)
    python = usable_python(interpreter, deployment.hardware)
    place = Place.below(
        (state or _own_state(deployment)).absolute(),
        python=python,
        model=Path(deployment.model.path),
    )
    if dry_run:
        _show(processes(deployment, place), as_json=as_json)
        return
    if as_json:
        message = "--json goes with --dry-run."
        raise click.UsageError(message)
    if deployment.hardware.target:
        from forkhouse.serving.device import require_gpu  # start-up time

        require_gpu(deployment.hardware.target)
    _supervise(deployment, place)


def _supervise(deployment: Deployment, place: Place) -> None:
    from forkhouse.serving.supervising import supervised  # start-up time

    own = deployment.ports.supervisor
    frontend = deployment.roles.frontend
    # The end that a signal asks for is what a supervisor of services expects: it is no failure.
    try:
        with showing(), supervised(deployment, place) as supervisor:
            say(
                f"Serving {deployment.name} for clients on {frontend.address}:{frontend.port}; "
                f"how it is: http://127.0.0.1:{own}/readyz"
            )
            supervisor.run()
    except Stopped as stopped:
        say(f"Ended by {stopped.signal.name}; every process is ended.")


def _own_state(deployment: Deployment) -> Path:
    from platformdirs import user_state_path  # start-up time

    return user_state_path("forkhouse") / deployment.name


def _show(planned: tuple[Planned, ...], *, as_json: bool) -> None:
    if as_json:
        say(json.dumps([each.as_json() for each in planned], indent=1))
        return
    for each in planned:
        said = each.as_json()
        say(f"# {each.name}: health at {said['health']}")
        variables = [f"{name}={value}" for name, value in sorted(each.environment.items())]
        say(f"{shlex.join(['env', '-i', *variables, *each.command])}\n")
