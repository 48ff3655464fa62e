"""`forkhouse audit`: look into finished wheels."""

from __future__ import annotations

import json
from pathlib import Path

import click

from forkhouse.audit.look import AuditTerms, audit_wheel
from forkhouse.audit.policy import read_policy
from forkhouse.audit.report import refuse
from forkhouse.binaries.kernels import KernelInventory
from forkhouse.cli.options import json_option, profile_option
from forkhouse.cli.output import print_table, say
from forkhouse.core.progress import report, showing


@click.command()
@click.argument(
    "wheels",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="WHEEL...",
)
@profile_option
@click.option(
    "--target",
    "targets",
    multiple=True,
    default=("gfx90a",),
    show_default=True,
    help="GPU that HIP libraries must serve.",
)
@click.option("--build-path", "build_paths", multiple=True, help="Folder that no file may name.")
@click.option(
    "--excuse",
    "excused",
    multiple=True,
    metavar="NAME",
    help="CUDA package that is let in, as the lock's externals are.",
)
@click.option(
    "--third-party",
    is_flag=True,
    help="Judge as wheels of others: names, requirements and linked libraries alone.",
)
@click.option(
    "--inventory",
    "recorded",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Kernels that must be there, as JSON.",
)
@json_option
def audit(
    wheels: tuple[Path, ...],
    profile: str,
    targets: tuple[str, ...],
    build_paths: tuple[str, ...],
    excused: tuple[str, ...],
    recorded: Path | None,
    *,
    third_party: bool,
    as_json: bool,
) -> None:
    """Look into wheels as is done before they enter a wheelhouse.

    No CUDA, GPU code for each target, true in all they say.
    """
    terms = AuditTerms(
        policy=read_policy(profile),
        targets=targets,
        build_paths=build_paths,
        excused=frozenset(excused),
    )
    inventory = (
        KernelInventory.parse(recorded.read_bytes(), name=recorded.name) if recorded else None
    )
    reports = []
    with showing(), report().task("audit", total=len(wheels)) as task:
        for wheel in wheels:
            reports.append(audit_wheel(wheel, terms, ours=not third_party, recorded=inventory))
            task.advance(1)
    if as_json:
        say(json.dumps([each.as_json() for each in reports], indent=1))
    else:
        rows = [
            [
                each.file,
                "passed" if each.passed else "refused",
                each.glibc or "-",
                ", ".join(sorted({library.target for library in each.kernels})) or "-",
                str(sum(len(library.kernels) for library in each.kernels)),
            ]
            for each in reports
        ]
        print_table("Audit", ("wheel", "verdict", "glibc", "GPU targets", "kernels"), rows)
        for each in reports:
            for note in each.notes:
                say(f"note: {each.file}: {note}")
    refuse(reports)
