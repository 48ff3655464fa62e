"""Tables, drawn on a terminal and plain elsewhere."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from forkhouse.core.progress import drawable, printable
from forkhouse.core.secrecy import masked

if TYPE_CHECKING:
    from collections.abc import Sequence


def say(text: str, *, err: bool = False) -> None:
    """Print a text on standard output or standard error.

    What is foreign in it does nothing to a terminal, and holds no credentials.
    """
    click.echo(printable(masked(text)), err=err)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table.

    Drawn by rich on a terminal, tab-separated (so nothing is cut off) elsewhere.
    """
    rows = [[printable(masked(cell)) for cell in row] for row in rows]
    if sys.stdout.isatty() and drawable():
        from rich.console import Console  # start-up time
        from rich.table import Table  # start-up time
        from rich.text import Text  # start-up time

        table = Table(*columns, title=Text(printable(title)))
        for row in rows:
            # As it is: what stands in brackets would be taken for markup.
            table.add_row(*map(Text, row))
        Console().print(table)
        return
    widths = [max(len(row[column]) for row in [columns, *rows]) for column in range(len(columns))]
    for row in (columns, *rows):
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
