"""`forkhouse device`, `toolchain` and `doctor`: what this machine has."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from forkhouse.cli.opening import opened, working, workspace_of
from forkhouse.cli.options import (
    access_options,
    json_option,
    rocm_option,
    transfer_option,
    wait_option,
)
from forkhouse.cli.output import print_table, say
from forkhouse.core.errors import ToolchainError
from forkhouse.core.progress import showing
from forkhouse.flow.doctor import examine
from forkhouse.serving.device import require_gpu

if TYPE_CHECKING:
    from pathlib import Path

    from forkhouse.documents.lockfile import Transfer
    from forkhouse.sources.acquire import SourcePolicy


@click.command()
@click.option("--target", default="gfx90a", show_default=True, help="GPU target to look for.")
def device(target: str) -> None:
    """Say which AMD GPUs this machine has; fail when none is of the target."""
    for gpu in require_gpu(target):
        say(str(gpu))


@click.command()
@rocm_option
@click.option("--dry-run", is_flag=True, help="Make no private toolchain; only say what is found.")
@access_options
@wait_option
@json_option
@click.pass_context
def toolchain(
    context: click.Context,
    sources: SourcePolicy,
    mirror: Path | None,
    rocm: Path | None,
    wait: float,
    *,
    dry_run: bool,
    offline: bool,
    as_json: bool,
) -> None:
    """Find a HIP toolchain for the GPU targets; where there is none, make one.

    Says what is wrong with every toolchain that does not compile for them.
    """
    workspace = workspace_of(context)
    with working(workspace, wait):
        looks = list(
            opened(workspace, sources, mirror, offline=offline, rocm=rocm).tools.looks(
                make=not dry_run
            )
        )
    rows = [
        [look.origin, str(look.root or ""), "yes" if look.toolchain else "no", look.reason]
        for look in looks
    ]
    columns = ("origin", "root", "usable", "reason")
    if as_json:
        say(json.dumps([dict(zip(columns, row, strict=True)) for row in rows], indent=1))
    else:
        print_table("HIP toolchains, in the order of preference", columns, rows)
    if not any(look.toolchain for look in looks):
        message = (
            "None of these compiles for the GPU targets of the lock. Install ROCm, give --rocm "
            "DIR, or run this without --dry-run."
        )
        raise ToolchainError(message)


@click.command()
@click.argument("profile", required=False)
@rocm_option
@transfer_option
@json_option
@click.pass_context
def doctor(
    context: click.Context,
    profile: str | None,
    rocm: Path | None,
    transfer: Transfer | None,
    *,
    as_json: bool,
) -> None:
    """Say what a profile needs of this machine, what is there, and how to close each gap.

    Without a profile, all are looked at. Nothing is changed.
    """
    with showing():
        plant = opened(
            workspace_of(context), "auto", None, offline=True, rocm=rocm, transfer=transfer
        )
        looks = list(plant.tools.looks(make=False))
        needs = [
            need
            for name in (
                [profile]
                if profile
                else [
                    each
                    for each, held in plant.lock.profiles.items()
                    if held.transfer or not transfer
                ]
            )
            for need in examine(
                name,
                plant.checkout.recipes(name),
                python=plant.lock.python,
                looks=looks,
                apt=bool(shutil.which("apt-get")),
                rocm=plant.tools.find_rocm,
            )
        ]
    if as_json:
        say(json.dumps([asdict(need) for need in needs], indent=1))
    else:
        columns = ("profile", "need", "state", "where", "version", "remedy")
        print_table(
            "Needs", columns, [[str(value) for value in asdict(need).values()] for need in needs]
        )
    missing = sorted({need.need for need in needs if need.state == "missing"})
    if missing:
        message = f"Missing: {', '.join(missing)}. The table says how each is put right."
        raise ToolchainError(message)
