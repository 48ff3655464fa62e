"""`forkhouse patches`: the commands for the maintainer of a patch series."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from forkhouse.cli.opening import opened, working, workspace_of
from forkhouse.cli.options import access_options, json_option, upstream_argument, wait_option
from forkhouse.cli.output import print_table, say
from forkhouse.core.errors import PatchConflictError, UnreachableError, UsageError
from forkhouse.core.progress import printable, showing
from forkhouse.flow.authoring import (
    Absent,
    begin,
    find_patches,
    judge,
    lay_out,
    open_bench,
    open_benches,
    other_base,
)
from forkhouse.flow.authoring import explain as explain_patch
from forkhouse.flow.authoring import export as export_series
from forkhouse.flow.authoring import refresh as refresh_series

if TYPE_CHECKING:
    from pathlib import Path

    from forkhouse.sources.acquire import SourcePolicy


@click.group()
def patches() -> None:
    """Work on patch series: check, explain, export, apply, refresh, begin."""


@patches.command("check")
@click.argument("upstream", required=False)
@click.option(
    "--on", "version", help="Judge the series on this release of the upstream instead of the pin."
)
@access_options
@json_option
@click.pass_context
def check_patches(
    context: click.Context,
    upstream: str | None,
    version: str | None,
    sources: SourcePolicy,
    mirror: Path | None,
    *,
    offline: bool,
    as_json: bool,
) -> None:
    """Say what becomes of each patch on its pin, or on another release.

    A verdict, and its cause.
    """
    workspace = workspace_of(context)
    rows: list[dict[str, str]] = []
    with showing():
        plant = opened(workspace, sources, mirror, offline=offline)
        folder = workspace.root / "patches"
        known = (
            [path.name for path in sorted(folder.iterdir()) if path.is_dir()]
            if folder.is_dir()
            else []
        )
        for name in [upstream] if upstream else known:
            benches, absent = open_benches(plant, name)
            for bench in benches:
                rows += [
                    {
                        "upstream": name,
                        "form": bench.form,
                        "patch": each.patch,
                        "verdict": str(each.verdict),
                        "cause": each.cause,
                    }
                    for each in judge(plant, bench, version)
                ]
            rows += [
                {
                    "upstream": name,
                    "form": each.form,
                    "patch": "",
                    "verdict": "not judged",
                    "cause": each.reason,
                }
                for each in absent
            ]
    if as_json:
        say(json.dumps(rows, indent=1))
    else:
        print_table(
            "Patches",
            ("upstream", "form", "patch", "verdict", "cause"),
            [list(row.values()) for row in rows],
        )
    conflicts = [
        f"{row['upstream']}/{row['patch']}" for row in rows if row["verdict"] == "conflict"
    ]
    if conflicts:
        message = (
            f"In conflict: {', '.join(conflicts)}. `forkhouse patches refresh UPSTREAM --on "
            "VERSION` lays out what is needed to resolve it."
        )
        raise PatchConflictError(message)


@patches.command()
@upstream_argument
@click.argument("patch", required=False)
@access_options
@click.pass_context
def explain(
    context: click.Context,
    upstream: str,
    patch: str | None,
    sources: SourcePolicy,
    mirror: Path | None,
    *,
    offline: bool,
) -> None:
    """Print what a patch (by the beginning of its name) changes at the pin, as a diff.

    Without PATCH, the whole series.
    """
    with showing():
        benches, absent = open_benches(
            opened(workspace_of(context), sources, mirror, offline=offline), upstream
        )
    for bench, found in find_patches(benches, patch):
        for each in found:
            say(f"# {each.name} ({bench.form}): {each.subject}")
            text = explain_patch(bench, each)
            # Byte by byte for a file or a tool; a terminal would obey what an upstream's lines
            # hold.
            click.echo(printable(text.decode(errors="replace")) if sys.stdout.isatty() else text)
    for missing in absent:
        say(f"# Not shown: {missing.form}: {missing.reason}", err=True)


@patches.command()
@upstream_argument
@access_options
@wait_option
@click.pass_context
def export(
    context: click.Context,
    upstream: str,
    sources: SourcePolicy,
    mirror: Path | None,
    wait: float,
    *,
    offline: bool,
) -> None:
    """Write the series as git-format patches to build/export/UPSTREAM.

    They are for a reviewer or for `git am`.
    """
    workspace = workspace_of(context)
    with working(workspace, wait):
        benches, absent = open_benches(
            opened(workspace, sources, mirror, offline=offline), upstream
        )
        folder = workspace.build / "export" / upstream
        # Of an upstream in several forms each has a folder of its own: paths and context differ.
        written = [
            path
            for bench in benches
            for path in export_series(bench, folder if len(benches) == 1 else folder / bench.form)
        ]
    for path in written:
        say(path.relative_to(workspace.root).as_posix())
    for each in absent:
        say(f"Not exported: {each.form}: {each.reason}", err=True)


@patches.command("apply")
@upstream_argument
@access_options
@wait_option
@click.pass_context
def apply_patches(
    context: click.Context,
    upstream: str,
    sources: SourcePolicy,
    mirror: Path | None,
    wait: float,
    *,
    offline: bool,
) -> None:
    """Write the patched source as files to build/patched/UPSTREAM."""
    workspace = workspace_of(context)
    with working(workspace, wait):
        lay_out(
            open_bench(opened(workspace, sources, mirror, offline=offline), upstream),
            workspace.build / "patched" / upstream,
        )
    say(f"build/patched/{upstream}")


@patches.command()
@upstream_argument
@click.option("--on", "version", required=True, help="The release to carry the series to.")
@click.option(
    "--retire",
    is_flag=True,
    help="Take patches out of the series that are upstream or have lost their object.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be rewritten, and write nothing.")
@access_options
@wait_option
@json_option
@click.pass_context
def refresh(
    context: click.Context,
    upstream: str,
    version: str,
    sources: SourcePolicy,
    mirror: Path | None,
    wait: float,
    *,
    retire: bool,
    dry_run: bool,
    offline: bool,
    as_json: bool,
) -> None:
    """Carry a series to another release and rewrite only what must change.

    Conflicts are laid out in build/conflicts/UPSTREAM.
    """
    workspace = workspace_of(context)
    conflicts = workspace.build / "conflicts" / upstream
    with working(workspace, wait):
        plant = opened(workspace, sources, mirror, offline=offline)
        benches, absent = open_benches(plant, upstream)
        carried, bases = [], []
        for number, bench in enumerate(benches):
            try:
                bases.append(other_base(plant, bench, version)[0])
                carried.append(bench)
            except (UnreachableError, UsageError) as error:
                if number == len(benches) - 1 and not carried:
                    raise
                absent.append(Absent(form=bench.form, reason=str(error)))
        series = workspace.root / "patches" / upstream
        changes = refresh_series(
            carried, bases, series=series, conflicts=conflicts, retire=retire, dry_run=dry_run
        )
    if as_json:
        say(json.dumps([asdict(change) for change in changes], indent=1))
    else:
        columns = ("form", "patch", "verdict", "action")
        print_table(
            "Series",
            columns,
            [[change.form, change.patch, change.verdict, change.action] for change in changes],
        )
    for each in absent:
        say(f"Not judged: {each.form}: {each.reason}", err=True)
    if any(change.verdict == "conflict" for change in changes):
        where = (
            "without --dry-run, the files, the intent and the cause of each are laid out"
            if dry_run
            else "the files, the intent and the cause of each are"
        )
        message = f"Some patches need a person; {where} in build/conflicts/{upstream}."
        raise PatchConflictError(message)


@patches.command()
@upstream_argument
@click.option("--subject", required=True)
@click.option("--description", required=True, help="Why the patch is needed.")
@click.option("--path", required=True, help="File to change, as in the upstream's own tree.")
@click.option(
    "--language", required=True, help="Language of the file, see docs/reference/patches.md."
)
@click.option("--pattern", help="What to replace, as a pattern of the language.")
@click.option("--anchor", help="What to replace, as a text that is there once.")
@click.option(
    "--with", "text", default="", help="What to put there; without it the match is removed."
)
@access_options
@wait_option
@click.pass_context
def new(
    context: click.Context,
    upstream: str,
    subject: str,
    description: str,
    path: str,
    language: str,
    pattern: str | None,
    anchor: str | None,
    text: str,
    sources: SourcePolicy,
    mirror: Path | None,
    wait: float,
    *,
    offline: bool,
) -> None:
    """Begin a structural edit at the end of a series.

    It is written only when it applies at the pin and changes something.
    """
    if (pattern is None) == (anchor is None):
        message = "Give exactly one of --pattern and --anchor."
        raise click.UsageError(message)
    workspace = workspace_of(context)
    with working(workspace, wait):
        bench = open_bench(opened(workspace, sources, mirror, offline=offline), upstream)
        written = begin(
            bench,
            workspace.root / "patches" / upstream,
            subject=subject,
            description=description,
            path=path,
            language=language,
            selector=("pattern", pattern) if pattern is not None else ("anchor", anchor or ""),
            text=text,
        )
    say(
        f"{written.relative_to(workspace.root)}: next, `forkhouse lock --update {upstream}` "
        "records its effect."
    )
