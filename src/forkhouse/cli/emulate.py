"""`forkhouse emulate`: run a kernel's machine code on this machine's CPU."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from forkhouse.cli.options import json_option
from forkhouse.cli.output import print_table, say
from forkhouse.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forkhouse.binaries.codeobject import Kernel
    from forkhouse.emulation.finding import FoundCode
    from forkhouse.emulation.launching import Report

_MOST = 10_000_000


class _Triple(click.ParamType):  # type: ignore[type-arg]
    """Three numbers for x, y and z; those that are left out are 1."""

    name = "x,y,z"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int, int]:
        """Return the numbers. Raises BadParameter."""
        if isinstance(value, tuple):
            x, y, z = value
            return x, y, z
        parts = str(value).split(",")
        if len(parts) > 3 or not all(part.isascii() and part.isdecimal() for part in parts):
            self.fail(f"{value!r} is no X,Y,Z of whole numbers, such as 4,1,1.", param, ctx)
        if any(len(part) > 10 or int(part) < 1 for part in parts):
            self.fail(f"{value!r} has a number below 1, or one that is too large.", param, ctx)
        x, y, z = (int(part) for part in (*parts, "1", "1")[:3])
        return x, y, z


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--list", "listed", is_flag=True, help="List the kernels and run none.")
@click.option("--kernel", metavar="NAME", help="Kernel to run, as the linker knows it.")
@click.option("--grid", type=_Triple(), default="1,1,1", help="Workgroups in x, y and z.")
@click.option(
    "--block", type=_Triple(), default="64,1,1", help="Work items of a workgroup in x, y and z."
)
@click.option(
    "--args",
    "arguments",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="JSON list of the kernel's arguments; its buffers are .npy files beside it.",
)
@click.option(
    "--dynamic-lds",
    type=click.IntRange(0, 65536),
    default=0,
    help="Bytes of LDS beside those that the kernel always has.",
)
@click.option(
    "--most-instructions",
    type=click.IntRange(1),
    default=_MOST,
    show_default=True,
    help="Instructions that one wave may run before it counts as endless.",
)
@click.option(
    "--target",
    type=click.Choice(["gfx90a"]),
    default="gfx90a",
    show_default=True,
    help="GPU whose code is run.",
)
@json_option
def emulate(
    file: Path,
    kernel: str | None,
    grid: tuple[int, int, int],
    block: tuple[int, int, int],
    arguments: Path | None,
    dynamic_lds: int,
    most_instructions: int,
    target: str,
    *,
    listed: bool,
    as_json: bool,
) -> None:
    """Run a kernel of gfx90a on this machine's CPU, by a model of the instruction set.

    FILE is a code object, a library or object file with GPU code, or a wheel. Buffers are written
    to their files once the whole kernel has ended, and not before.
    """
    from forkhouse.emulation.faults import needed  # start-up time

    needed("numpy")
    needed("tinygrad")
    from forkhouse.emulation.finding import code_in  # start-up time

    found = code_in(file, target)
    if listed:
        _list(found, as_json=as_json)
        return
    if kernel is None:
        message = "Give --kernel NAME, or --list to see which there are."
        raise UsageError(message)
    _run(
        found,
        kernel,
        arguments,
        {
            "grid": grid,
            "block": block,
            "dynamic_lds": dynamic_lds,
            "most_instructions": most_instructions,
        },
        as_json=as_json,
    )


def _run(
    found: Sequence[FoundCode],
    kernel: str,
    arguments: Path | None,
    options: dict[str, Any],
    *,
    as_json: bool,
) -> None:
    from forkhouse.emulation.finding import require_kernel  # start-up time
    from forkhouse.emulation.given import Given  # start-up time
    from forkhouse.emulation.launching import launch  # start-up time

    image = require_kernel(tuple(found), kernel)
    given = Given(arguments) if arguments else None
    report = launch(image, kernel, arguments=given.values if given else [], **options)
    written = given.write_back() if given else ()
    if as_json:
        say(json.dumps(_as_json(report, written), indent=1))
        return
    pace = report.instructions / max(report.seconds, 1e-9)
    say(
        f"{report.kernel}: {report.workgroups} workgroups, {report.waves} waves, "
        f"{report.instructions} instructions in {report.seconds:.2f} s ({pace:,.0f} per second)"
    )
    if written:
        say(f"written: {', '.join(written)}")


def _as_json(report: Report, written: Sequence[str]) -> dict[str, Any]:
    return {
        "kernel": report.kernel,
        "workgroups": report.workgroups,
        "waves": report.waves,
        "instructions": report.instructions,
        "seconds": round(report.seconds, 6),
        "operations": dict(sorted(report.operations.items())),
        "written": list(written),
    }


def _list(found: Sequence[FoundCode], *, as_json: bool) -> None:
    rows = [(each.where, kernel) for each in found for kernel in each.image.kernels.values()]
    readable = _demangled([kernel.name for _, kernel in rows])
    shown = [_arguments(kernel) for _, kernel in rows]
    described = [
        {
            "kernel": kernel.name,
            "readable": readable[number],
            "where": where,
            "lds": kernel.descriptor.lds,
            "scratch": kernel.descriptor.scratch,
            "vgprs": kernel.vectors,
            "agprs": kernel.accumulators,
            "sgprs": kernel.scalars,
            "vgpr_spills": kernel.vector_spills,
            "sgpr_spills": kernel.scalar_spills,
            "arguments": shown[number],
            "arguments_size": kernel.descriptor.arguments,
            "most_work_items": kernel.most_work_items,
        }
        for number, (where, kernel) in enumerate(rows)
    ]
    if as_json:
        say(json.dumps(described, indent=1))
        return
    columns = ("kernel", "LDS", "scratch", "VGPR", "AGPR", "spills", "arguments", "in")
    cells = [
        [
            str(each["readable"] or each["kernel"]),
            str(each["lds"]),
            str(each["scratch"]),
            str(each["vgprs"]),
            str(each["agprs"]),
            f"{each['vgpr_spills']}+{each['sgpr_spills']}",
            f"{len(shown[number])} in {each['arguments_size']} bytes",
            str(each["where"] or "-"),
        ]
        for number, each in enumerate(described)
    ]
    print_table("Kernels", columns, cells)


def _arguments(kernel: Kernel) -> list[dict[str, object]]:
    """Return what is said of the arguments that a caller gives."""
    return [
        {"name": each.name, "kind": each.kind, "size": each.size, "offset": each.offset}
        for each in kernel.arguments
        if not each.hidden
    ]


def _demangled(names: Sequence[str]) -> list[str]:
    """Return names as their source has them, where a program for that is on the PATH.

    An empty text stands for a name that stays as it is.
    """
    tool = next((name for name in ("llvm-cxxfilt", "c++filt") if shutil.which(name)), None)
    if tool is None or not names:
        return [""] * len(names)
    done = subprocess.run(
        [tool],
        input="\n".join(names) + "\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    lines = done.stdout.splitlines()
    if done.returncode or len(lines) != len(names):
        return [""] * len(names)
    return ["" if line == name else line for line, name in zip(lines, names, strict=True)]
