"""The program that is carried with a wheelhouse, and needs nothing but Python.

`python3 forkhouse.pyz verify`: the wheelhouse is the folder in which the program lies.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from forkhouse import __version__
from forkhouse.carry.bundle import is_bundle
from forkhouse.cli.ending import Explaining, run
from forkhouse.cli.house import (
    copy,
    generations,
    install,
    join,
    list_wheels,
    prune,
    rollback,
    verify,
    why,
)
from forkhouse.cli.selftest import selftest
from forkhouse.core.errors import UsageError
from forkhouse.wheelhouse.verifying import CHECKSUMS


def _beside(_profile: str) -> Path:
    """Return the bundle that this program is the end of, or the folder in which it lies.

    Raises UsageError where that is no wheelhouse, BundleError where a part is missing.
    """
    program = Path(sys.argv[0]).resolve()
    if is_bundle(program):  # the last part of one in parts
        return program
    folder = program.parent
    if not (folder / CHECKSUMS).is_file():
        message = (
            f"{folder} is no wheelhouse: it has no {CHECKSUMS}. Name one: `verify DIR`, or --from "
            "DIR."
        )
        raise UsageError(message)
    return folder


@click.group(
    cls=Explaining,
    commands={
        "copy": copy,
        "generations": generations,
        "install": install,
        "join": join,
        "list": list_wheels,
        "prune": prune,
        "rollback": rollback,
        "selftest": selftest,
        "verify": verify,
        "why": why,
    },
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__)
@click.pass_context
def carried(context: click.Context) -> None:
    """Verify, install and test the wheelhouse that this program was carried with.

    `python3 forkhouse.pyz` in the folder of a wheelhouse, or `python3 BUNDLE` with a bundle.
    """
    context.meta["forkhouse.wheelhouse"] = _beside


def main() -> None:
    """Run the command line."""
    run(carried)
