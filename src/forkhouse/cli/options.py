"""Options that several commands share."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import Any

import click


def access_options(command: click.decorators.FC) -> click.decorators.FC:
    """Add the options that say from where upstreams are taken."""
    for option in (
        click.option("--offline", is_flag=True, help="Use only what is in the cache."),
        click.option(
            "--mirror",
            type=click.Path(exists=True, file_okay=False, path_type=Path),
            help="Folder of bare repositories for git pins.",
        ),
        click.option(
            "--sources",
            type=click.Choice(["auto", "git", "registry"]),
            default="auto",
            show_default=True,
            help="Where upstreams come from: git when its host answers, else the registry; or one "
            "of them alone.",
        ),
    ):
        command = option(command)
    return command


class _Seconds(click.FloatRange):
    """A number of seconds that is finite and not negative.

    A negative number would mean to wait for ever.
    """

    name = "seconds"

    def __init__(self) -> None:
        super().__init__(min=0)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number. Raises BadParameter."""
        seconds = float(super().convert(value, param, ctx))
        return (
            seconds
            if math.isfinite(seconds)
            else self.fail(f"{value!r} is no number of seconds.", param, ctx)
        )


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")


rocm_option = click.option(
    "--rocm",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="ROCm to compile with; else one is looked for.",
)


transfer_option = click.option(
    "--transfer",
    type=click.Choice(["rixl", "nixl-rocm"]),
    help="Transfer library of a ROCm profile, instead of the one in the lock.",
)


wait_option = click.option(
    "--wait",
    type=_Seconds(),
    default=600,
    show_default=True,
    help="Seconds to wait for another run in this checkout.",
)


profile_option = click.option(
    "--profile", default="cpu", show_default=True, help="Profile of the lock."
)


upstream_argument = click.argument("upstream")


def json_file(
    _context: click.Context, _parameter: click.Parameter, path: Path | None
) -> Path | None:
    """Refuse a file that cannot be written, before anything is measured for it.

    Refuses also a name that does not end in .json, as the page beside the file would take it.
    """
    if path is None:
        return None
    if path.suffix != ".json":
        message = f"{path.name} has to end in .json: the page goes beside it, as .html."
        raise click.BadParameter(message)
    folder = path.resolve().parent
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        message = f"{folder} is no folder that can be written to."
        raise click.BadParameter(message)
    return path


class _Size(click.ParamType):  # type: ignore[type-arg]
    """A size in bytes, as people write it: 700M, 4G."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number of bytes. Raises BadParameter."""
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d{1,9})([KMGT]?)", str(value))
        size = int(found[1]) * 1024 ** "KMGT".find(found[2]) * 1024 if found and found[2] else 0
        size = int(found[1]) if found and not found[2] else size
        if size < SMALLEST_PART:
            self.fail(f"{value!r} is no size of 1M or more, such as 700M or 4G.", param, ctx)
        return size


SMALLEST_PART = 2**20
"""Bytes; the index of a bundle lies in its first part."""
split_option = click.option(
    "--split", type=_Size(), help="Write parts of at most this size (700M, 4G)."
)
