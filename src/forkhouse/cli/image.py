"""`forkhouse image`: a container image of a wheelhouse."""

from __future__ import annotations

import json
from pathlib import Path

import click

from forkhouse.cli.opening import working, workspace_of
from forkhouse.cli.options import json_option, profile_option, wait_option
from forkhouse.cli.output import print_table, say
from forkhouse.core.storage import discard, fresh_folder
from forkhouse.image.assembling import make_image


@click.command()
@profile_option
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write; by default wheels/PROFILE.oci.tar.",
)
@click.option(
    "--base",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="OCI archive to build on, instead of a small Debian that is made of its packages.",
)
@wait_option
@json_option
@click.pass_context
def image(
    context: click.Context,
    profile: str,
    out: Path | None,
    base: Path | None,
    wait: float,
    *,
    as_json: bool,
) -> None:
    """Put a wheelhouse, installed, into a container image: an OCI archive.

    Needs no daemon. `skopeo copy oci-archive:FILE TARGET` brings it to a registry or an engine.
    """
    workspace = workspace_of(context)
    house = workspace.wheelhouse(profile)
    target = (out or house.with_name(f"{profile}.oci.tar")).absolute()
    scratch = workspace.build / "image"
    with working(workspace, wait):
        try:
            with fresh_folder(scratch):
                made = make_image(house, target, scratch, base)
        except BaseException:
            discard(scratch)  # gigabytes, which tell nothing
            raise
    rows = [(each.what, each.blob.size, each.blob.sha256) for each in made.layers]
    if as_json:
        layers = [{"what": what, "size": size, "sha256": sha256} for what, size, sha256 in rows]
        say(json.dumps({"file": str(target), "digest": made.digest, "layers": layers}, indent=1))
        return
    print_table(
        "Layers",
        ("layer", "MB", "sha256"),
        [[what, f"{size / 1e6:.1f}", sha256] for what, size, sha256 in rows],
    )
    say(f"{target}, {target.stat().st_size / 1e6:.1f} MB; its manifest is {made.digest}")
    say(f"Next: skopeo copy oci-archive:{target.name} containers-storage:stack")
