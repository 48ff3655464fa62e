"""`forkhouse verify`, `install`, `list` and `why`: what is done with a finished wheelhouse.

The program that is carried along with a wheelhouse has the same commands. So this module and what
it imports need Click and packaging alone.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click
from packaging.utils import canonicalize_name

from forkhouse.cli.options import json_option, profile_option
from forkhouse.cli.output import print_table, say
from forkhouse.core.progress import showing
from forkhouse.wheelhouse.contents import PROFILE, chain, read_contents
from forkhouse.wheelhouse.install import install_onto, install_wheelhouse
from forkhouse.wheelhouse.verifying import verify as verify_wheelhouse

if TYPE_CHECKING:
    from collections.abc import Callable

from_option = click.option(
    "--from",
    "place",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder of a wheelhouse, instead of the profile's in this checkout.",
)


def _wheelhouse(context: click.Context, profile: str, place: Path | None) -> Path:
    # Each program that has these commands says where it looks.
    finder: Callable[[str], Path] = context.meta["forkhouse.wheelhouse"]
    return place.resolve() if place is not None else finder(profile)


@click.command()
@profile_option
@from_option
@click.option(
    "--into",
    type=click.Path(path_type=Path),
    help="Virtual environment to make; it must not exist.",
)
@click.option(
    "--onto",
    type=click.Path(path_type=Path),
    help="Environment that is there, with what the wheelhouse lacks (ROCm's PyTorch).",
)
@click.pass_context
def install(
    context: click.Context, profile: str, place: Path | None, into: Path | None, onto: Path | None
) -> None:
    """Install a profile from its wheelhouse alone, without a network.

    Into a new environment, or onto one that fits.
    """
    if (into is None) == (onto is None):
        message = "Give --into for a new environment, or --onto for one that is there."
        raise click.UsageError(message)
    with showing():
        wheelhouse = _wheelhouse(context, profile, place)
        interpreter = (
            install_wheelhouse(wheelhouse, into)
            if into
            else install_onto(wheelhouse, Path(str(onto)))
        )
    say(f"Installed. Its Python is {interpreter}")


@click.command()
@click.argument(
    "place", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path)
)
@profile_option
@click.pass_context
def verify(context: click.Context, place: Path | None, profile: str) -> None:
    """Check every file of a wheelhouse against its SHA256SUMS.

    PLACE is its folder; without it, the wheelhouse of a profile in this checkout is checked.
    """
    with showing():
        count = verify_wheelhouse(_wheelhouse(context, profile, place))
    say(f"All {count} files are as they were built.")


@click.command("list")
@profile_option
@from_option
@json_option
@click.pass_context
def list_wheels(context: click.Context, profile: str, place: Path | None, *, as_json: bool) -> None:
    """List the wheels of a wheelhouse, the largest first, and who requires each."""
    contents = read_contents(_wheelhouse(context, profile, place))
    wheels = sorted(contents.wheels, key=lambda wheel: (-wheel.size, wheel.name))
    if as_json:
        shown = ("name", "version", "file", "size", "built", "required_by")
        rows = [{key: asdict(wheel)[key] for key in shown} for wheel in wheels]
        say(json.dumps(rows, indent=1))
        return
    columns = ("wheel", "version", "MB", "origin", "required by")
    print_table(
        f"Wheels of the profile {contents.profile}",
        columns,
        [
            [
                wheel.name,
                wheel.version,
                f"{wheel.size / 1e6:.1f}",
                "built" if wheel.built else "index",
                ", ".join(wheel.required_by),
            ]
            for wheel in wheels
        ],
    )
    total = sum(wheel.size for wheel in wheels)
    say(f"{len(wheels)} wheels, {total / 1e6:.1f} MB")
    for each in contents.missing:
        say(f"missing: {each.name} {each.wanted}: {each.reason}. To have it: {each.remedy}.")


@click.command()
@click.argument("name")
@profile_option
@from_option
@json_option
@click.pass_context
def why(
    context: click.Context, name: str, profile: str, place: Path | None, *, as_json: bool
) -> None:
    """Say why a wheel is in a wheelhouse: who requires it, how large it is, and what it brings."""
    contents = read_contents(_wheelhouse(context, profile, place))
    path = chain(contents, canonicalize_name(name))
    wheel = path[-1]
    brought = sorted(
        (
            each
            for each in contents.wheels
            if {requirer.partition("[")[0] for requirer in each.required_by} == {wheel.name}
        ),
        key=lambda each: (-each.size, each.name),
    )
    if as_json:
        answer = {
            **asdict(wheel),
            "path": [each.name for each in path],
            "alone-for-it": [each.name for each in brought],
        }
        say(json.dumps({key: answer[key] for key in answer if key != "torch_symbols"}, indent=1))
        return
    say(f"{wheel.name} {wheel.version}, {wheel.size / 1e6:.1f} MB ({wheel.file})")
    if wheel.why:
        say(f"The lock says: {wheel.why}")
    say(f"Required by: {', '.join(wheel.required_by)}")
    say(f"From: {' > '.join([PROFILE, *(each.name for each in path)])}")
    if brought:
        named = ", ".join(f"{each.name} ({each.size / 1e6:.1f} MB)" for each in brought)
        say(f"Required by it alone: {named}")
