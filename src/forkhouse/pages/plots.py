"""Plots as inline SVG: figures over the concurrency, and ratios with their spread."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forkhouse.pages.rendering import render

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from markupsafe import Markup

INK = "#1c2330"
GRID = "#e3e6eb"
WIDTH = 440
HEIGHT = 250
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 12, 42
ROW = 40
AXIS = 24


@dataclass(frozen=True, kw_only=True, slots=True)
class PlotStyle:
    """How a series is drawn.

    Told apart by form as well as by hue, for eyes that see no red or green.
    """

    colour: str
    filled: bool
    """Dots filled and the line drawn through; else hollow dots and a broken line."""
    square: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """The figures of the rounds of a case."""

    x: int
    middle: float
    rounds: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class PlotLine:
    """A series."""

    label: str
    style: PlotStyle
    points: tuple[Point, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """A ratio and its spread."""

    label: str
    ratio: float
    low: float | None
    high: float | None
    colour: str
    note: str


def ceiling(value: float) -> float:
    """Return the end of an axis that a positive `value` is on.

    Such that a quarter of it is a short number.
    """
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 6, 8, 10) if step * power >= value * (1 - 1e-9))


def figure(value: float) -> str:
    """Return a number with three digits that count."""
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{min(digits, 6)}f}"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Mark:
    """A place at an axis, and what is written there."""

    x: float = 0
    y: float = 0
    label: str
    colour: str = GRID


@dataclass(frozen=True, kw_only=True, slots=True)
class _Sign:
    """The sign of a series at a place."""

    x: float
    y: float
    square: bool
    fill: str
    colour: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _DrawnPoint:
    """The figures of the rounds of a case, at a place."""

    sign: _Sign
    least: float
    greatest: float
    note: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _DrawnLine:
    """A series, at a place."""

    style: PlotStyle
    points: tuple[_DrawnPoint, ...]

    @property
    def path(self) -> str:
        """Through the signs of its points."""
        return " ".join(f"{point.sign.x:.1f},{point.sign.y:.1f}" for point in self.points)


def _sign(style: PlotStyle, x: float, y: float) -> _Sign:
    fill = style.colour if style.filled else "#fff"
    return _Sign(x=x, y=y, square=style.square, fill=fill, colour=style.colour)


def key(style: PlotStyle) -> Markup:
    """Return the sign of a series with a piece of its line, for a legend."""
    return render("key.svg", style=style, sign=_sign(style, 18, 7))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Axes:
    """Where figures lie in a plot over the concurrency."""

    places: tuple[int, ...]
    top: float

    def across(self, x: int, shift: float = 0) -> float:
        width = (WIDTH - LEFT - RIGHT) / len(self.places)
        return LEFT + (self.places.index(x) + 0.5) * width + shift

    def up(self, value: float) -> float:
        return HEIGHT - BOTTOM - value / self.top * (HEIGHT - BOTTOM - TOP)


def lines_chart(title: str, unit: str, series: Sequence[PlotLine]) -> Markup:
    """Return a plot over the concurrency.

    A line through the medians of the rounds, and a thin stroke from the least to the greatest
    round.

    The axis begins at zero, so that heights can be compared.
    """
    points = [point for line in series for point in line.points]
    greatest = max((value for point in points for value in point.rounds), default=1)
    axes = _Axes(places=tuple(sorted({point.x for point in points})), top=ceiling(greatest or 1))
    steps = [axes.top * step / 4 for step in range(5)]
    # Beside each other where the figures agree.
    shifts = [7 * (number - (len(series) - 1) / 2) for number in range(len(series))]
    return render(
        "lines-chart.html",
        title=f"{title} ({unit})",
        width=WIDTH,
        height=HEIGHT,
        left=LEFT,
        right=WIDTH - RIGHT,
        grid=GRID,
        rules=[_Mark(y=axes.up(value), label=f"{value:,g}") for value in steps],
        ticks=[_Mark(x=axes.across(x), y=HEIGHT - BOTTOM + 18, label=str(x)) for x in axes.places],
        lines=[_drawn(line, unit, axes, shift) for line, shift in zip(series, shifts, strict=True)],
    )


def _drawn(line: PlotLine, unit: str, axes: _Axes, shift: float) -> _DrawnLine:
    return _DrawnLine(
        style=line.style,
        points=tuple(
            _DrawnPoint(
                sign=_sign(line.style, axes.across(point.x, shift), axes.up(point.middle)),
                least=axes.up(min(point.rounds)),
                greatest=axes.up(max(point.rounds)),
                note=(
                    f"{line.label}, {point.x} in flight: median {figure(point.middle)} {unit}; "
                    f"rounds {', '.join(map(figure, point.rounds))}"
                ),
            )
            for point in line.points
        ),
    )


def reach(bars: Sequence[Bar]) -> float:
    """Return the ratio at which an axis has to end, on both sides of 1, to show all of `bars`."""
    ends = [value for bar in bars for value in (bar.ratio, bar.low, bar.high) if value is not None]
    return max(1.25, *(max(value, 1 / value) for value in ends)) * 1.05


@dataclass(frozen=True, kw_only=True, slots=True)
class _Spread:
    """From the smallest to the largest ratio, at a place."""

    x: float
    width: float


@dataclass(frozen=True, kw_only=True, slots=True)
class _DrawnBar:
    """A ratio and its spread, at a place."""

    bar: Bar
    x: float
    y: int
    shown: str
    spread: _Spread | None


def ratio_chart(title: str, bars: Sequence[Bar], end: float) -> Markup:
    """Return a plot of ratios on a logarithmic axis from 1/`end` to `end`.

    Twice as much is as far from 1 as half as much.
    """
    return render(
        "ratio-chart.html",
        title=title,
        width=WIDTH,
        height=ROW * len(bars) + AXIS,
        # between the labels, not through them
        bands="".join(f"V{number * ROW + 38}m0 22" for number in range(len(bars))),
        ticks=[
            _Mark(x=_across(tick, end), label=f"{tick:g}", colour=INK if tick == 1 else GRID)
            for tick in _ticks(end)
        ],
        rows=[_drawn_bar(bar, number * ROW + 29, end) for number, bar in enumerate(bars)],
    )


def _across(ratio: float, end: float) -> float:
    span = math.log(end)
    return 16 + (math.log(ratio) + span) / (2 * span) * (WIDTH - 32)


def _drawn_bar(bar: Bar, y: int, end: float) -> _DrawnBar:
    shown, spread = f"{bar.ratio:.2f}", None
    if bar.low is not None and bar.high is not None:
        low, high = _across(bar.low, end), _across(bar.high, end)
        spread = _Spread(x=low, width=max(2.0, high - low))
        shown += f" ({bar.low:.2f} to {bar.high:.2f})"
    return _DrawnBar(bar=bar, x=_across(bar.ratio, end), y=y, shown=shown, spread=spread)


def _ticks(end: float) -> Iterator[float]:
    """Yield round ratios below `end` and their reciprocals, few enough to be read."""
    steps = (
        (1.25, 1.5) if end < 2 else (2, 4) if end < 5 else (2, 5, 10, 50, 100, 500, 1000)
    )  # by eye
    yield 1
    for step in steps:
        if step < end:
            yield step
            yield round(1 / step, 3)
