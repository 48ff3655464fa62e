"""`forkhouse sign`: say with a key that a wheelhouse is what was built."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from forkhouse.cli.opening import working, workspace_of
from forkhouse.cli.options import profile_option, wait_option
from forkhouse.cli.output import say
from forkhouse.core.progress import showing
from forkhouse.provenance.attestation import ENVELOPE, parse_moment
from forkhouse.wheelhouse.byproducts import byproducts_of
from forkhouse.wheelhouse.trust import sign as sign_wheelhouse


@click.command()
@click.argument(
    "place", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path)
)
@profile_option
@click.option(
    "--key",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="An ssh key (the public one where an agent has it), or a private key in PEM.",
)
@click.option(
    "--finished-on",
    metavar="TIME|now",
    help="When you sign, as your own word; `verify --not-older-than` holds on to it.",
)
@wait_option
@click.pass_context
def sign(
    context: click.Context,
    place: Path | None,
    profile: str,
    key: Path,
    finished_on: str | None,
    wait: float,
) -> None:
    """Sign a wheelhouse: the statement of its build, with the digest of every file.

    PLACE is its folder; without it, the wheelhouse of a profile in this checkout is signed, and the
    digests of its build's logs with it.
    """
    moment = None
    if finished_on is not None:
        moment = datetime.now(UTC) if finished_on == "now" else parse_moment(finished_on)
    if place is not None:
        with showing():
            envelope = sign_wheelhouse(place.resolve(), key.absolute(), finished=moment)
    else:
        workspace = workspace_of(context)
        # No build puts another wheelhouse there meanwhile.
        with working(workspace, wait):
            envelope = sign_wheelhouse(
                workspace.wheelhouse(profile),
                key.absolute(),
                finished=moment,
                byproducts=byproducts_of(workspace, profile),
            )
    count = len(envelope.signatures)
    say(f"Wrote {ENVELOPE}; it has {count} signature{'s'[: count > 1]}.")
    if moment is None:
        say("It does not say when it was signed: --finished-on lets others refuse an older one.")
