"""The radar as one self-contained HTML page.

A heat map of verdicts and a line of survival, drawn in SVG.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forkhouse.pages.rendering import render_page
from forkhouse.patches.verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forkhouse.radar.scan import Matrix

# Told apart by lightness as well as by hue, for eyes that see no red or green.
COLOURS = {
    Verdict.CLEAN: "#1a7f5a",
    Verdict.MERGED: "#56b68b",
    Verdict.RESTRUCTURED: "#a8dcc4",
    Verdict.UPSTREAMED: "#4a7fc1",
    Verdict.OBSOLETE: "#b9bec7",
    Verdict.CONFLICT: "#c8372d",
}
MEANINGS = {
    Verdict.CLEAN: "the textual form applies exactly",
    Verdict.MERGED: "applies by a 3-way merge",
    Verdict.RESTRUCTURED: "only the structural form applies",
    Verdict.UPSTREAMED: "its effect is upstream",
    Verdict.OBSOLETE: "what it patched is gone",
    Verdict.CONFLICT: "needs a person",
}
LABEL_WIDTH = 430
MAP_WIDTH = 860
ROW = 22
CHART = 140


@dataclass(frozen=True, kw_only=True, slots=True)
class _Spot:
    """A place of a drawing, and what is said there."""

    x: float
    y: float
    label: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _Cell:
    """A verdict, as a rectangle of the map."""

    x: float
    colour: str
    note: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _Row:
    """A patch: its row of the map, and its line of the table."""

    name: str
    label: str
    y: int
    cells: tuple[_Cell, ...]
    broken_by: str | None
    brought_by: str | None
    cause: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _Section:
    """What the page shows of one upstream."""

    matrix: Matrix
    newest: str | None
    """The newest candidate on which the whole series is settled."""
    patches: tuple[_Row, ...]
    cell_width: float
    ticks: tuple[_Spot, ...]
    """Names of candidates below the map."""
    pin_x: float | None
    rules: tuple[_Spot, ...]
    """Of the line: shares that are written beside it."""
    dots: tuple[_Spot, ...]
    """Of the line: the share of patches that are settled, by candidate."""
    left: int = LABEL_WIDTH
    width: int = LABEL_WIDTH + MAP_WIDTH
    row_height: int = ROW
    line_height: int = CHART

    @property
    def map_height(self) -> int:
        """Of the rows alone."""
        return ROW * len(self.patches)

    @property
    def path(self) -> str:
        """Through the dots of the line."""
        return " ".join(f"{dot.x:.1f},{dot.y:.1f}" for dot in self.dots)


def page(matrices: Sequence[Matrix]) -> str:
    """Return the page for some upstreams."""
    sections = [_section(matrix) for matrix in matrices]
    return render_page("radar.html", colours=COLOURS, meanings=MEANINGS, sections=sections)


def _section(matrix: Matrix) -> _Section:
    whole = matrix.newest_whole()
    width = MAP_WIDTH / len(matrix.candidates)
    return _Section(
        matrix=matrix,
        newest=whole.label if whole else None,
        patches=tuple(_row(matrix, row, name) for row, name in enumerate(matrix.patches)),
        cell_width=width - (1 if width > 4 else 0),  # gaps would eat narrow cells
        ticks=_ticks(matrix),
        pin_x=_pin_x(matrix),
        rules=tuple(_Spot(x=0, y=_height(share), label=f"{share:.0%}") for share in (0, 0.5, 1)),
        dots=_dots(matrix),
    )


def _row(matrix: Matrix, row: int, name: str) -> _Row:
    broken = matrix.first_break(row)
    return _Row(
        name=name,
        label=_short(name),
        y=row * ROW,
        cells=tuple(
            _Cell(
                x=_x(matrix, column),
                colour=COLOURS[cell.verdict],
                note=f"{name} on {matrix.candidates[column].label}: {cell.verdict}. {cell.cause}",
            )
            for column, cell in enumerate(matrix.cells[row])
        ),
        broken_by=broken.label if broken else None,
        brought_by=matrix.brought_by(row),
        cause=matrix.cells[row][matrix.candidates.index(broken)].cause if broken else "",
    )


def _x(matrix: Matrix, column: float) -> float:
    return LABEL_WIDTH + column * MAP_WIDTH / len(matrix.candidates)


def _height(share: float) -> float:
    return CHART - share * (CHART - 20)


def _pin_x(matrix: Matrix) -> float | None:
    labels = [candidate.label for candidate in matrix.candidates]
    return _x(matrix, labels.index(matrix.pin) + 0.5) if matrix.pin in labels else None


def _ticks(matrix: Matrix) -> tuple[_Spot, ...]:
    every = max(1, len(matrix.candidates) // 28)
    return tuple(
        _Spot(
            x=_x(matrix, column + 0.5),
            y=ROW * len(matrix.patches) + 10,
            label=matrix.candidates[column].label[:14],
        )
        for column in range(0, len(matrix.candidates), every)
    )


def _dots(matrix: Matrix) -> tuple[_Spot, ...]:
    return tuple(
        _Spot(
            x=_x(matrix, column + 0.5),
            y=_height(share),
            label=f"{candidate.label} ({_day(candidate.when)}): {share:.0%}",
        )
        for column, (candidate, share) in enumerate(
            zip(matrix.candidates, matrix.survival(), strict=True)
        )
    )


def _day(when: int) -> dt.date:
    return dt.datetime.fromtimestamp(when, dt.UTC).date()


def _short(name: str) -> str:
    stem = name.removesuffix(".edit.yaml").removesuffix(".patch")
    return stem if len(stem) <= 62 else f"{stem[:61]}…"  # what fits beside the map
