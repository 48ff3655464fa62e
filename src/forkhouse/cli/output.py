"""Tables, drawn on a terminal and plain elsewhere."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from forkhouse.core.progress import printable

if TYPE_CHECKING:
    from collections.abc import Sequence


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table.

    Drawn by rich on a terminal, tab-separated (so nothing is cut off) elsewhere.
    """
    rows = [[printable(cell) for cell in row] for row in rows]
    if sys.stdout.isatty() and not os.environ.get("CI"):
        from rich.console import Console  # start-up time
        from rich.table import Table  # start-up time

        table = Table(*columns, title=title)
        for row in rows:
            table.add_row(*row)
        Console().print(table)
        return
    widths = [max(len(row[column]) for row in [columns, *rows]) for column in range(len(columns))]
    for row in (columns, *rows):
        click.echo(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )
