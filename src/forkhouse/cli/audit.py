"""`forkhouse audit`: look into finished wheels."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click
from packaging.utils import canonicalize_name

from forkhouse.audit.comparing import changes, read_side
from forkhouse.audit.look import AuditTerms, audit_wheel
from forkhouse.audit.policy import read_policy
from forkhouse.audit.report import refuse
from forkhouse.binaries.kernels import KernelInventory
from forkhouse.binaries.resources import heaviest
from forkhouse.cli.options import json_option, profile_option
from forkhouse.cli.output import print_table, say
from forkhouse.core.digests import sha256_file
from forkhouse.core.errors import UsageError
from forkhouse.core.progress import printable, report, showing
from forkhouse.wheelhouse.kernels import audit_kernels
from forkhouse.wheelhouse.optional import FOLDER as OPTIONAL

if TYPE_CHECKING:
    from forkhouse.audit.comparing import WheelChange
    from forkhouse.binaries.resources import KernelResources

_HEAVIEST, _LONGEST, _SHOWN = 10, 60, 200
"""Kernels in the table, letters of a name there, and changes that are listed."""


@click.command()
@click.argument(
    "wheels",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, path_type=Path),
    metavar="WHEEL|FOLDER...",
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
@click.option(
    "--against",
    type=click.Path(exists=True, path_type=Path),
    metavar="WHEEL|FOLDER",
    help="Say what is otherwise than in these wheels of the same names.",
)
@json_option
def audit(
    wheels: tuple[Path, ...],
    profile: str,
    targets: tuple[str, ...],
    build_paths: tuple[str, ...],
    excused: tuple[str, ...],
    recorded: Path | None,
    against: Path | None,
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
    wheels = tuple(wheel for place in wheels for wheel in _wheels(place))
    reports = []
    with showing(), report().task("audit", total=len(wheels)) as task:
        for wheel in wheels:
            reports.append(
                audit_kernels(wheel, terms)
                if wheel.parent.name == OPTIONAL
                else audit_wheel(wheel, terms, ours=not third_party, recorded=inventory)
            )
            task.advance(1)
        otherwise = _otherwise(wheels, _wheels(against)) if against else None
    if as_json:
        listed = [each.as_json() for each in reports]
        if otherwise is not None:
            for told in listed:
                found = otherwise.get(str(told["file"]))
                told["against"] = None if found is None else [asdict(each) for each in found]
        say(json.dumps(listed, indent=1))
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
        _say_heaviest([each for report in reports for each in report.resources])
        if otherwise is not None:
            _say_otherwise(otherwise)
    refuse(reports)


def _wheels(place: Path) -> tuple[Path, ...]:
    """Return a wheel, or those of a folder, with the optional ones of a wheelhouse.

    Raises UsageError where a folder has none.
    """
    if not place.is_dir():
        return (place,)
    found = (*sorted(place.glob("*.whl")), *sorted(place.glob(f"{OPTIONAL}/*.whl")))
    if not found:
        message = f"{place} has no wheel. Name wheels, or the folder of a wheelhouse."
        raise UsageError(message)
    return found


def _otherwise(
    wheels: tuple[Path, ...], before: tuple[Path, ...]
) -> dict[str, list[WheelChange] | None]:
    """Return what is otherwise in each wheel, by its file; None where none was there before.

    Equal bytes are not looked into. Raises AuditError, OSError.
    """
    known = {canonicalize_name(path.name.partition("-")[0]): path for path in before}
    found: dict[str, list[WheelChange] | None] = {}
    for wheel in wheels:
        old = known.get(canonicalize_name(wheel.name.partition("-")[0]))
        if old is None:
            found[wheel.name] = None
        elif sha256_file(old) == sha256_file(wheel):
            found[wheel.name] = []
        else:
            found[wheel.name] = list(changes(read_side(old), read_side(wheel)))
    return found


def _say_heaviest(resources: list[KernelResources]) -> None:
    columns = ("kernel", "target", "spills", "scratch", "LDS", "VGPRs", "AGPRs", "SGPRs")
    rows = [
        [
            each.kernel if len(each.kernel) <= _LONGEST else f"{each.kernel[:_LONGEST]}…",
            each.target,
            str(each.vgpr_spills),
            str(each.scratch),
            str(each.lds),
            *(str(each.vgprs), str(each.agprs), str(each.sgprs)),
        ]
        for each in heaviest(resources, _HEAVIEST)
    ]
    if rows:
        print_table(f"The heaviest of {len(resources)} kernels", columns, rows)


def _say_otherwise(otherwise: dict[str, list[WheelChange] | None]) -> None:
    for file, found in otherwise.items():
        if found is None:
            say(f"against: {file}: there was no wheel of this name before")
        elif found:
            say(f"against: {file}: {len(found)} things are otherwise")
            for each in found[:_SHOWN]:
                say(f"  {printable(str(each))}")
            if len(found) > _SHOWN:
                say(f"  … and {len(found) - _SHOWN} more, all in --json")
        else:
            say(f"against: {file}: nothing is otherwise")
