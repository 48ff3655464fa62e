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

    from forkhouse.flow.reproducing import Pair, Reproduction
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
    offline: bool,
    as_json: bool,
) -> None:
    """Build every wheel of ours twice under other conditions, and compare the bytes.

    Other folder, moment, number of jobs, user (for root), language, time zone and umask. Nothing
    but downloads is shared with earlier builds.
    """
    from forkhouse.flow.reproducing import clean, reproduce  # start-up time

    workspace = workspace_of(context)
    work = workspace.build / "reproduce"
    with working(workspace, wait):
        plant = opened(workspace, sources, mirror, offline=offline)
        with storage_errors("Making the work folder"):
            discard(work)
            work.mkdir(parents=True)
        found = reproduce(plant, profile, recipes, work)
        clean(work, keep_wheels=not all(pair.equal for pair in found.pairs))
    rows = [_row(pair) for pair in found.pairs]
    if as_json:
        say(json.dumps({"profile": profile, **_told(found), "wheels": rows}, indent=1))
    else:
        print_table(
            "Built twice",
            ("recipe", "wheel", "equal", "what differs", "seconds"),
            [
                [
                    pair.recipe,
                    pair.wheel,
                    "yes" if pair.equal else "NO",
                    ", ".join(pair.differs[:3]) + (", …" if len(pair.differs) > 3 else ""),
                    " and ".join(f"{each:.1f}" for each in pair.seconds),
                ]
                for pair in found.pairs
            ],
        )
        for name, why in found.left_out.items():
            say(f"left out: {name}: {why}")
    if differing := [pair for pair in found.pairs if not pair.equal]:
        raise NotReproducibleError(_explained(differing))


def _told(found: Reproduction) -> dict[str, object]:
    return {
        "conditions": [each.described() for each in found.conditions],
        "left-out": dict(found.left_out),
    }


def _row(pair: Pair) -> dict[str, object]:
    return {
        "recipe": pair.recipe,
        "wheel": pair.wheel,
        "equal": pair.equal,
        "sha256": list(pair.sha256),
        "seconds": [round(each, 1) for each in pair.seconds],
        "differs": list(pair.differs),
        "explanation": None if pair.explanation is None else str(pair.explanation),
    }


def _explained(pairs: list[Pair]) -> str:
    parts = []
    for pair in pairs:
        more = len(pair.differs) - _SHOWN
        shown = [*pair.differs[:_SHOWN], *([f"and {more} more"] if more > 0 else [])]
        parts.append(f"{pair.wheel} of the recipe {pair.recipe} differs in:\n{bullets(shown)}")
        if pair.explanation is not None:
            parts.append(f"diffoscope explains it in {pair.explanation}")
    parts.append(
        "Both wheels are kept below build/reproduce. Let the recipe leave out what depends on the "
        "time, the place or the order; SOURCE_DATE_EPOCH is set for every build."
    )
    return "\n".join(parts)
