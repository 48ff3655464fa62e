"""`forkhouse bundle`: one file to carry."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from forkhouse.builders.zipapp import NAME as PROGRAM
from forkhouse.carry.bundle import open_bundle
from forkhouse.carry.layout import places, total
from forkhouse.carry.packing import Files, index_of, without, write_bundle
from forkhouse.cli.opening import opened, working, workspace_of
from forkhouse.cli.options import json_option, profile_option, split_option, wait_option
from forkhouse.cli.output import say
from forkhouse.core.storage import fresh_folder
from forkhouse.flow.bundling import WHEELHOUSE, contents

if TYPE_CHECKING:
    from forkhouse.carry.layout import Index


@click.command()
@profile_option
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write; by default wheels/PROFILE.tar.",
)
@click.option(
    "--with-sources", is_flag=True, help="Carry the sources, too, so that the site can build again."
)
@split_option
@click.option(
    "--delta",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="OLD",
    help="Leave out what a site with this bundle has.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be in it, and write nothing.")
@wait_option
@json_option
@click.pass_context
def bundle(
    context: click.Context,
    profile: str,
    out: Path | None,
    split: int | None,
    delta: Path | None,
    wait: float,
    *,
    with_sources: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Put a wheelhouse and all that tells how it was made into one file.

    `tar` opens it, and `python3 FILE verify | install | list` runs on any Python that can use the
    wheels.
    """
    workspace = workspace_of(context)
    target = out or workspace.wheelhouse(profile).with_name(f"{profile}.tar")
    with working(workspace, wait), fresh_folder(workspace.build / "bundle") as scratch:
        plant = opened(workspace, "auto", None, offline=True)
        found = contents(plant, profile, scratch, sources=with_sources)
        index = index_of(profile, found.files, f"{WHEELHOUSE}/{PROGRAM}", found.digests)
        if delta is not None:
            index = without(index, open_bundle(delta).index)
        written = [] if dry_run else write_bundle(index, Files(found.files), target, split=split)
    if as_json:
        answer = {
            "files": [str(path) for path in written],
            "size": total(index),
            "sha256-of-index": index.sha256,
            "members": [asdict(each) for each in index.members],
        }
        say(json.dumps(answer, indent=1))
    else:
        _say(index, written, target, delta)


def _quoted(name: str) -> str:
    """Return the name of a file in this folder as a shell takes it, and never for an option."""
    return shlex.quote(f"./{name}" if name.startswith("-") else name)


def _say(index: Index, written: list[Path], target: Path, delta: Path | None) -> None:
    sizes: dict[str, int] = {}
    for place in places(index):
        folder = place.member.path.partition("/")[0]
        sizes[folder] = sizes.get(folder, 0) + place.member.length
    for folder, size in sizes.items():
        say(f"{folder}: {size / 1e6:.1f} MB")
    held = [each for each in index.members if each.held]
    if held:
        say(f"left out, as the site has it: {sum(each.size for each in held) / 1e6:.1f} MB")
    say(f"{total(index) / 1e6:.1f} MB; the index has the sha256 {index.sha256}")
    for path in written:
        say(str(path))
    if written and delta is not None:
        whole = _quoted(f"{target.stem}-whole.tar")
        names = " ".join(_quoted(path.name) for path in (written[0], delta))
        say(f"Next, where it goes: python3 {_quoted(written[-1].name)} join {names} {whole}")
    elif written:
        say(f"Next, where it goes: python3 {_quoted(written[-1].name)} verify")
