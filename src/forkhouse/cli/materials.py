"""`forkhouse licences` and `vulnerabilities`: what is known of all that is in a wheelhouse."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from forkhouse.cli.opening import workspace_of
from forkhouse.cli.options import json_option, profile_option
from forkhouse.cli.output import print_table, say
from forkhouse.core.errors import AuditError, VulnerableError
from forkhouse.core.progress import showing
from forkhouse.core.wording import bullets
from forkhouse.wheelhouse.verifying import verify

if TYPE_CHECKING:
    from forkhouse.provenance.exposure import Exposure

_SHOWN = 20
"""Components that are named."""

place_argument = click.argument(
    "place", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path)
)


def _wheelhouse(context: click.Context, profile: str, place: Path | None) -> Path:
    """Return a wheelhouse that is as it was built: what is said is about the wheels in it.

    Raises ClosureError, HashMismatchError.
    """
    folder = place.resolve() if place is not None else workspace_of(context).wheelhouse(profile)
    verify(folder)
    return folder


@click.command()
@place_argument
@profile_option
@json_option
@click.pass_context
def licences(context: click.Context, place: Path | None, profile: str, *, as_json: bool) -> None:
    """Tell the licence of every wheel, and where its text is.

    PLACE is the folder of a wheelhouse; without it, that of a profile in this checkout is read.
    What it carries for its target is told as well, and what is not known is said. A wheel of ours
    without the text of its licence is a failure (22).
    """
    from forkhouse.provenance.terms import terms_of  # start-up time
    from forkhouse.wheelhouse.contents import read_contents
    from forkhouse.wheelhouse.optional import FOLDER as OPTIONAL

    with showing():
        folder = _wheelhouse(context, profile, place)
        files = {wheel.file: wheel.built for wheel in read_contents(folder).wheels}
        carried = {
            path.relative_to(folder).as_posix(): False
            for place in ("tools", OPTIONAL)
            for path in folder.glob(f"{place}/*.whl")
        }
        found = terms_of(folder, files | carried)
    if as_json:
        say(json.dumps([{**asdict(each), "known": each.known} for each in found], indent=1))
    else:
        rows = [
            [
                each.name,
                each.version,
                "built" if each.built else "carried" if "/" in each.file else "index",
                each.expression or each.said or "UNKNOWN",
                str(len(each.texts)) if each.texts else "NO TEXT",
            ]
            for each in found
        ]
        print_table("Licences", ("wheel", "version", "origin", "licence", "texts"), rows)
        unknown = [each.name for each in found if not each.known]
        if unknown:
            say(f"UNKNOWN, as they say nothing of it: {', '.join(unknown)}")
    bare = [each.file for each in found if each.built and not each.texts]
    if bare:
        message = (
            f"These wheels are ours and carry no text of a licence:\n{bullets(bare)}\nName the "
            "upstream's files as `license-files` in the recipe's pyproject.toml."
        )
        raise AuditError(message)


@click.command()
@click.argument("export", type=click.Path(exists=True, path_type=Path))
@place_argument
@profile_option
@json_option
@click.pass_context
def vulnerabilities(
    context: click.Context, export: Path, place: Path | None, profile: str, *, as_json: bool
) -> None:
    """Hold a wheelhouse against known vulnerabilities, without a network.

    EXPORT is what osv.dev has of the ecosystem PyPI: a JSON file, a folder of them, or a zip
    archive. PLACE is the folder of a wheelhouse; without it, that of a profile in this checkout is
    read. What a patch of the series resolves is told apart; what is left is a failure (57).
    """
    from forkhouse.provenance.exposure import look  # start-up time

    with showing():
        found = look(_wheelhouse(context, profile, place), export)
    open_ones = [each for each in found.exposures if each.resolved is None]
    if as_json:
        say(json.dumps(asdict(found), indent=1))
    else:
        rows = [
            [
                each.package,
                each.version,
                _names(each),
                each.severity,
                ", ".join(each.fixed) or "-",
                each.resolved or "OPEN",
            ]
            for each in found.exposures
        ]
        columns = ("package", "version", "vulnerability", "severity", "mended in", "state")
        print_table("Known vulnerabilities", columns, rows)
        say(f"{found.packages} packages were held against {export.name}.")
        if found.unnamed:
            more = f" and {len(found.unnamed) - _SHOWN} more" if len(found.unnamed) > _SHOWN else ""
            names = ", ".join(found.unnamed[:_SHOWN])
            say(f"Not on the package index, so not held against it: {names}{more}")
        if found.unjudged:
            names = ", ".join(found.unjudged)
            say(f"These name no versions of a package that is here, so look yourself: {names}")
    if open_ones:
        lines = bullets(f"{each.wheel}: {_names(each)}: {each.summary}" for each in open_ones)
        message = (
            f"These wheels have known vulnerabilities:\n{lines}\nPin a version that mends them, or "
            "add a patch whose header says so (`Bug: CVE-...`)."
        )
        raise VulnerableError(message)


def _names(exposure: Exposure) -> str:
    return ", ".join(dict.fromkeys([exposure.id, *exposure.aliases]))
