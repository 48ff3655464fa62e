"""`forkhouse radar`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from forkhouse.cli.opening import opened, working, workspace_of
from forkhouse.cli.options import access_options, json_option, wait_option
from forkhouse.cli.output import print_table, say
from forkhouse.core.storage import write_atomic
from forkhouse.flow.bump import bumped_pins, survey_all
from forkhouse.flow.survey import surveyable
from forkhouse.pages.radar import page

if TYPE_CHECKING:
    from forkhouse.radar.scan import Matrix
    from forkhouse.sources.acquire import SourcePolicy


@click.command()
@click.argument("upstreams", nargs=-1)
@click.option(
    "--before",
    type=click.IntRange(0),
    default=3,
    show_default=True,
    help="Releases before the pin.",
)
@click.option(
    "--after",
    type=click.IntRange(0),
    default=12,
    show_default=True,
    help="Releases, or commits of a mirror, after the pin.",
)
@click.option(
    "--until",
    default="HEAD",
    show_default=True,
    help="Revision of a mirror at which the commits end.",
)
@click.option(
    "--html",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the page here instead of build/radar.html.",
)
@click.option(
    "--bump",
    metavar="NAME",
    help="Pin NAME at the newest candidate on which its whole series is settled.",
)
@access_options
@wait_option
@json_option
@click.pass_context
def radar(
    context: click.Context,
    upstreams: tuple[str, ...],
    before: int,
    after: int,
    until: str,
    html: Path | None,
    bump: str | None,
    sources: SourcePolicy,
    mirror: Path | None,
    wait: float,
    *,
    offline: bool,
    as_json: bool,
) -> None:
    """Judge every series on every candidate pin.

    Which patches survive, which are upstream, and what first broke the others.
    """
    workspace = workspace_of(context)
    with working(workspace, wait):
        plant = opened(workspace, sources, mirror, offline=offline)
        if bump:
            plant.checkout.upstream(bump)
        names = tuple(dict.fromkeys([*upstreams, *([bump] if bump else [])])) or surveyable(plant)
        matrices, not_judged = survey_all(plant, names, before=before, after=after, until=until)
        target = html or workspace.build / "radar.html"
        write_atomic(target, page(matrices).encode())
        bumped = (
            bumped_pins(plant, bump, [matrix for matrix in matrices if matrix.upstream == bump])
            if bump
            else []
        )
    if as_json:
        say(json.dumps([matrix.as_json() for matrix in matrices], indent=1))
    else:
        for matrix in matrices:
            _print_matrix(matrix)
    # Beside JSON, too: what is not in a list of what was judged would otherwise count as judged.
    for name, reason in not_judged.items():
        say(f"Not judged: {name}: {reason}", err=as_json)
    say(f"The page: {target}", err=as_json)
    for finding in bumped if as_json else ():
        say(f"Bump: {finding.subject}: {finding.state}: {finding.detail}", err=True)
    if bump and not as_json:
        print_table(
            "Bump",
            ("pin", "state", "detail"),
            [[finding.subject, finding.state, finding.detail] for finding in bumped],
        )


_LETTERS = {
    "clean": "=",
    "merged": "m",
    "restructured": "s",
    "upstreamed": "u",
    "obsolete": "o",
    "conflict": "X",
}


def _print_matrix(matrix: Matrix) -> None:
    legend = ", ".join(f"{letter} {verdict}" for verdict, letter in _LETTERS.items())
    first, last = matrix.candidates[0].label, matrix.candidates[-1].label
    say(
        f"\n{matrix.upstream} ({matrix.form}), {len(matrix.candidates)} candidates from {first} to "
        f"{last}, pinned at {matrix.pin}. {legend}"
    )
    rows = []
    for row, name in enumerate(matrix.patches):
        broken = matrix.first_break(row)
        rows.append(
            [
                name,
                "".join(_LETTERS[cell.verdict] for cell in matrix.cells[row]),
                broken.label if broken else "never",
            ]
        )
    print_table(matrix.upstream, ("patch", "verdicts", "first broken by"), rows)
    if matrix.beyond:
        say(
            f"{matrix.beyond} newer candidates were NOT judged; --after "
            f"{len(matrix.candidates) + matrix.beyond} judges them, too."
        )
    whole = matrix.newest_whole()
    say(
        f"The whole series is settled up to {whole.label}."
        if whole
        else "The whole series is settled on no candidate."
    )
