"""`forkhouse lock`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from forkhouse.cli.opening import opened, working, workspace_of
from forkhouse.cli.options import access_options, json_option, wait_option
from forkhouse.cli.output import print_table, say
from forkhouse.core.errors import HashMismatchError, RefusedRepositoryError
from forkhouse.core.wording import bullets
from forkhouse.flow.pinning import PinFinding
from forkhouse.flow.repin import check, fill_externals, update
from forkhouse.flow.tools import pin_tools

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from forkhouse.flow.plant import Plant
    from forkhouse.sources.acquire import SourcePolicy


@click.command()
@click.argument("target", required=False, metavar="[NAME[=VERSION]]")
@click.option(
    "--check", "mode", flag_value="check", help="Compare the pins with what can be reached now."
)
@click.option(
    "--update",
    "mode",
    flag_value="update",
    help="Pin anew: NAME alone (at VERSION), or everything; then every closure.",
)
@click.option(
    "--externals",
    "mode",
    flag_value="externals",
    help="Fill in the external wheels that the lock does not pin yet.",
)
@click.option(
    "--tools",
    "mode",
    flag_value="tools",
    help="Pin what a wheelhouse carries of Forkhouse itself, in pylock.tools.toml.",
)
@access_options
@wait_option
@json_option
@click.pass_context
def lock(
    context: click.Context,
    target: str | None,
    mode: str | None,
    sources: SourcePolicy,
    mirror: Path | None,
    wait: float,
    *,
    offline: bool,
    as_json: bool,
) -> None:
    """Check or update upstream.lock and the pylock files beside it."""
    if mode is None or (mode != "update" and target):
        message = "Give --check, --externals, --tools, or --update with or without NAME[=VERSION]."
        raise click.UsageError(message)
    pin = _pin(target)
    workspace = workspace_of(context)
    with working(workspace, wait):
        plant = opened(workspace, sources, mirror, offline=offline)
        if mode == "check":
            findings = check(plant)
        elif mode == "externals":
            findings = fill_externals(plant)
        elif mode == "tools":
            findings = _pin_tools(plant)
        else:
            findings = update(plant, *pin)
    if as_json:
        say(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        columns = ("pin", "state", "asked", "detail")
        print_table(
            "Pins",
            columns,
            [
                [finding.subject, finding.state, finding.asked, finding.detail]
                for finding in findings
            ],
        )
    _refuse_wrong(findings)


def _pin_tools(plant: Plant) -> list[PinFinding]:
    pins = pin_tools(plant)
    detail = f"{len(pins)} wheels"
    return [PinFinding(subject="pylock.tools.toml", state="updated", asked="", detail=detail)]


def _pin(target: str | None) -> tuple[str | None, str | None]:
    """Return the name and the version that NAME[=VERSION] says.

    Nothing of either where it was left out. Raises UsageError for half of it.
    """
    if target is None:
        return None, None
    name, equals, version = target.partition("=")
    if not name or (equals and not version):
        # All pins would be renewed for a name that a script left empty.
        message = (
            f"'{target}' is not NAME or NAME=VERSION. Without either, everything is pinned anew."
        )
        raise click.UsageError(message)
    return name, version or None


def _refuse_wrong(findings: Sequence[PinFinding]) -> None:

    for state, said, failure in (
        ("wrong", "are not true", HashMismatchError),
        ("refused", "could not be compared", RefusedRepositoryError),
    ):
        found = [finding for finding in findings if finding.state == state]
        if found:
            lines = bullets(f"{finding.subject}: {finding.detail}" for finding in found)
            message = f"{len(found)} pins {said}:\n{lines}"
            raise failure(message)
