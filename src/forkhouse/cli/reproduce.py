"""`forkhouse reproduce`: build twice, and compare."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from forkhouse.cli.opening import opened, working, workspace_of
from forkhouse.cli.options import access_options, json_option, profile_option, wait_option
from forkhouse.cli.output import print_table, say
from forkhouse.core.errors import NotReproducibleError
from forkhouse.core.storage import discard, storage_errors
from forkhouse.core.wording import bullets

if TYPE_CHECKING:
    from pathlib import Path

    from forkhouse.flow.reproducing import BuiltPair, Reproduction
    from forkhouse.sources.acquire import SourcePolicy

_SHOWN = 20
"""Differing members of a wheel that the end names; --json has all."""


@click.command()
@profile_option
@click.option(
    "--recipe",
    "recipes",
    multiple=True,
    help="Build this recipe and what it needs, instead of all. Can be given several times.",
)
@click.option("--bundle", is_flag=True, help="Make the bundle twice as well.")
@click.option("--image", is_flag=True, help="Make the container image twice as well.")
@access_options
@wait_option
@json_option
@click.pass_context
def reproduce(
    context: click.Context,
    profile: str,
    recipes: tuple[str, ...],
    sources: SourcePolicy,
    mirror: Path | None,
    wait: float,
    *,
    bundle: bool,
    image: bool,
    offline: bool,
    as_json: bool,
) -> None:
    """Build every wheel of ours twice under other conditions, and compare the bytes.

    Other folder, moment, number of jobs, user (for root), language, time zone and umask. Nothing
    but downloads is shared with earlier builds.
    """
    from forkhouse.flow.reproducing import clean, reproduce  # start-up time

    packed = [*(["bundle"] if bundle else []), *(["image"] if image else [])]
    if recipes and packed:
        message = "--bundle and --image are of the whole profile. Leave out --recipe."
        raise click.UsageError(message)
    workspace = workspace_of(context)
    work = workspace.build / "reproduce"
    with working(workspace, wait):
        plant = opened(workspace, sources, mirror, offline=offline)
        with storage_errors("Making the work folder"):
            discard(work)
            work.mkdir(parents=True)
        found = reproduce(plant, profile, recipes, work, packed)
        pairs = [*found.pairs, *found.packed]
        clean(work, keep_files=not all(pair.equal for pair in pairs))
    if as_json:
        wheels = [{"recipe": each.name, "wheel": each.file, **_row(each)} for each in found.pairs]
        files = [{"kind": each.name, "file": each.file, **_row(each)} for each in found.packed]
        answer = {"profile": profile, **_told(found), "wheels": wheels, "packed": files}
        say(json.dumps(answer, indent=1))
    else:
        print_table(
            "Built twice",
            ("recipe", "file", "equal", "what differs", "seconds"),
            [
                [
                    pair.name,
                    pair.file,
                    "yes" if pair.equal else "NO",
                    ", ".join(pair.differs[:3]) + (", …" if len(pair.differs) > 3 else ""),
                    " and ".join(f"{each:.1f}" for each in pair.seconds),
                ]
                for pair in pairs
            ],
        )
        for name, why in found.left_out.items():
            say(f"left out: {name}: {why}")
    if differing := [pair for pair in pairs if not pair.equal]:
        raise NotReproducibleError(_explained(differing))


def _told(found: Reproduction) -> dict[str, object]:
    return {
        "conditions": [each.described() for each in found.conditions],
        "left-out": dict(found.left_out),
    }


def _row(pair: BuiltPair) -> dict[str, object]:
    return {
        "equal": pair.equal,
        "sha256": list(pair.sha256),
        "seconds": [round(each, 1) for each in pair.seconds],
        "differs": list(pair.differs),
        "explanation": None if pair.explanation is None else str(pair.explanation),
    }


def _explained(pairs: list[BuiltPair]) -> str:
    parts = []
    for pair in pairs:
        more = len(pair.differs) - _SHOWN
        shown = [*pair.differs[:_SHOWN], *([f"and {more} more"] if more > 0 else [])]
        parts.append(f"{pair.file} ({pair.name}) differs in:\n{bullets(shown)}")
        if pair.explanation is not None:
            parts.append(f"diffoscope explains it in {pair.explanation}")
    parts.append(
        "Both files are kept below build/reproduce. Let the recipe leave out what depends on the "
        "time, the place or the order; SOURCE_DATE_EPOCH is set for every build."
    )
    return "\n".join(parts)
