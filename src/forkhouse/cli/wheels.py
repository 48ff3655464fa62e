"""`forkhouse install`, `verify` and `audit`: what is done with finished wheels."""

from __future__ import annotations

import json
from pathlib import Path

import click

from forkhouse.audit.look import AuditTerms, audit_wheel
from forkhouse.audit.policy import read_policy
from forkhouse.audit.report import refuse
from forkhouse.binaries.kernels import KernelInventory
from forkhouse.cli.opening import workspace_of
from forkhouse.cli.options import json_option, profile_option
from forkhouse.cli.output import print_table, say
from forkhouse.core.progress import report, showing
from forkhouse.wheelhouse.install import install_onto, install_wheelhouse
from forkhouse.wheelhouse.verifying import verify as verify_wheelhouse


@click.command()
@profile_option
@click.option(
    "--into",
    type=click.Path(path_type=Path),
    help="Virtual environment to make; it must not exist.",
)
@click.option(
    "--onto",
    type=click.Path(path_type=Path),
    help="Environment that is there, with what the wheelhouse lacks (ROCm's PyTorch).",
)
@click.pass_context
def install(context: click.Context, profile: str, into: Path | None, onto: Path | None) -> None:
    """Install a profile from its wheelhouse alone, without a network.

    Into a new environment, or onto one that fits.
    """
    if (into is None) == (onto is None):
        message = "Give --into for a new environment, or --onto for one that is there."
        raise click.UsageError(message)
    with showing():
        wheelhouse = workspace_of(context).wheelhouse(profile)
        interpreter = (
            install_wheelhouse(wheelhouse, into)
            if into
            else install_onto(wheelhouse, Path(str(onto)))
        )
    say(f"Installed. Its Python is {interpreter}")


@click.command()
@profile_option
@click.pass_context
def verify(context: click.Context, profile: str) -> None:
    """Check every file of a wheelhouse against its SHA256SUMS."""
    with showing():
        count = verify_wheelhouse(workspace_of(context).wheelhouse(profile))
    say(f"All {count} files are as they were built.")


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
