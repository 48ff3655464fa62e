"""The command line `forkhouse`: its commands, each loaded when it is called."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from pathlib import Path

import click

from forkhouse import __version__
from forkhouse.cli.ending import Explaining, run
from forkhouse.core.revision import revision

_COMMANDS = {
    "audit": "audit:audit",
    "bench": "bench:bench",
    "build": "build:build",
    "bundle": "bundle:bundle",
    "copy": "house:copy",
    "demo": "demo:demo",
    "device": "machine:device",
    "doctor": "machine:doctor",
    "emulate": "emulate:emulate",
    "generations": "house:generations",
    "image": "image:image",
    "install": "house:install",
    "join": "house:join",
    "licences": "materials:licences",
    "list": "house:list_wheels",
    "lock": "lock:lock",
    "patches": "patches:patches",
    "prune": "house:prune",
    "radar": "radar:radar",
    "reproduce": "reproduce:reproduce",
    "rollback": "house:rollback",
    "selftest": "selftest:selftest",
    "sign": "trust:sign",
    "serve": "serve:serve",
    "toolchain": "machine:toolchain",
    "triton": "triton:triton",
    "verify": "house:verify",
    "vulnerabilities": "materials:vulnerabilities",
    "why": "house:why",
}
"""Where each command is: a module of this package, and a name in it."""


class _Commands(Explaining):
    """Commands that are loaded when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, loaded; None for a name that is none."""
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name].partition(":")
        command = getattr(import_module(f"{__package__}.{module}"), name)
        assert isinstance(command, click.Command)  # as the table says
        return command


def _print_version(
    context: click.Context,
    option: click.Parameter,
    asked: bool,  # noqa: FBT001  # click calls it so
) -> None:
    """Say the version, and the commit where it is known."""
    if asked and not context.resilient_parsing:
        commit = revision()
        built_from = f" (commit {commit})" if commit else ""
        click.echo(f"forkhouse, version {__version__}{built_from}")
        context.exit()


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
@click.option(
    "--root",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Checkout to work in, instead of this one.",
)
@click.pass_context
def cli(context: click.Context, root: Path | None) -> None:
    """Pin, patch, build and ship the forked inference stack."""
    context.obj = root
    context.meta["forkhouse.wheelhouse"] = partial(_wheelhouse, context)


def _wheelhouse(context: click.Context, profile: str) -> Path:
    """Return the wheelhouse of a profile of the checkout. Raises UsageError where there is none."""
    from forkhouse.cli.opening import workspace_of  # start-up time

    return workspace_of(context).wheelhouse(profile)


def main() -> None:
    """Run the command line."""
    run(cli)
