"""Plots as inline SVG: figures over the concurrency, and ratios with their spread."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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


def mark(style: PlotStyle, x: float, y: float, *, size: float = 4.5) -> str:
    """Return the sign of a series at a place."""
    fill = style.colour if style.filled else "#fff"
    if style.square:
        return (
            f'<rect x="{x - size:.1f}" y="{y - size:.1f}" width="{2 * size}" height="{2 * size}" '
            f'fill="{fill}" stroke="{style.colour}" stroke-width="2"/>'
        )
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size}" fill="{fill}" stroke="{style.colour}" '
        'stroke-width="2"/>'
    )


def key(style: PlotStyle) -> str:
    """Return the sign of a series with a piece of its line, for a legend."""
    return (
        '<svg class="key" viewBox="0 0 36 14" aria-hidden="true"><path d="M1 7H35" '
        f"{_stroke(style)}/>{mark(style, 18, 7)}</svg>"
    )


def _stroke(style: PlotStyle) -> str:
    return f'fill="none" stroke="{style.colour}" stroke-width="2"' + (
        "" if style.filled else ' stroke-dasharray="5 4"'
    )


def lines_chart(title: str, unit: str, series: Sequence[PlotLine]) -> str:
    """Return a plot over the concurrency.

    A line through the medians of the rounds, and a thin stroke from the least to the greatest
    round.

    The axis begins at zero, so that heights can be compared.
    """
    places = sorted({point.x for line in series for point in line.points})
    top = ceiling(
        max(
            (value for line in series for point in line.points for value in point.rounds), default=1
        )
        or 1
    )

    def across(x: int, shift: float = 0) -> float:
        return LEFT + (places.index(x) + 0.5) * (WIDTH - LEFT - RIGHT) / len(places) + shift

    def up(value: float) -> float:
        return HEIGHT - BOTTOM - value / top * (HEIGHT - BOTTOM - TOP)

    parts = []
    for step in range(5):
        value = top * step / 4
        parts.append(f'<path d="M{LEFT} {up(value):.1f}H{WIDTH - RIGHT}" stroke="{GRID}"/>')
        parts.append(
            f'<text x="{LEFT - 8}" y="{up(value) + 4:.1f}" text-anchor="end">{value:,g}</text>'
        )
    parts += [
        f'<text x="{across(x):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{x}</text>'
        for x in places
    ]
    parts.append(
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}" text-anchor="middle" '
        'class="dim">requests in flight</text>'
    )
    for number, line in enumerate(series):
        shift = 7 * (number - (len(series) - 1) / 2)  # beside each other where the figures agree
        path = " ".join(
            f"{across(point.x, shift):.1f},{up(point.middle):.1f}" for point in line.points
        )
        parts.append(f'<polyline points="{path}" {_stroke(line.style)}/>')
        for point in line.points:
            x = across(point.x, shift)
            note = (
                f"{line.label}, {point.x} in flight: median {figure(point.middle)} {unit}; rounds "
                f"{', '.join(map(figure, point.rounds))}"
            )
            spread = (
                f'<path d="M{x:.1f} {up(min(point.rounds)):.1f}V{up(max(point.rounds)):.1f}" '
                f'stroke="{line.style.colour}"/>'
            )
            parts.append(
                f"<g><title>{escape(note)}</title>{spread}"
                f"{mark(line.style, x, up(point.middle))}</g>"
            )
    return _figure(f"{title} ({unit})", WIDTH, HEIGHT, parts)


def reach(bars: Sequence[Bar]) -> float:
    """Return the ratio at which an axis has to end, on both sides of 1, to show all of `bars`."""
    ends = [value for bar in bars for value in (bar.ratio, bar.low, bar.high) if value is not None]
    return max(1.25, *(max(value, 1 / value) for value in ends)) * 1.05


def ratio_chart(title: str, bars: Sequence[Bar], end: float) -> str:
    """Return a plot of ratios on a logarithmic axis from 1/`end` to `end`.

    Twice as much is as far from 1 as half as much.
    """
    height = ROW * len(bars) + AXIS
    span = math.log(end)

    def across(ratio: float) -> float:
        return 16 + (math.log(ratio) + span) / (2 * span) * (WIDTH - 32)

    parts = []
    bands = "".join(
        f"V{number * ROW + 38}m0 22" for number in range(len(bars))
    )  # between the labels, not through them
    for tick in _ticks(end):
        parts.append(
            f'<path d="M{across(tick):.1f} 20{bands}" stroke="{INK if tick == 1 else GRID}" '
            'fill="none"/>'
        )
        parts.append(
            f'<text x="{across(tick):.1f}" y="{height - 6}" text-anchor="middle" '
            f'class="dim">{tick:g}</text>'
        )
    for number, bar in enumerate(bars):
        y = number * ROW + 29
        shown = (
            f"{bar.ratio:.2f}"
            if bar.low is None or bar.high is None
            else f"{bar.ratio:.2f} ({bar.low:.2f} to {bar.high:.2f})"
        )
        label = f'<text x="4" y="{y - 14}">{escape(bar.label)}</text>'
        text = (
            f'<text x="{WIDTH - 4}" y="{y - 14}" text-anchor="end" '
            f'style="fill:{bar.colour}">{shown}</text>'
        )
        spread = ""
        if bar.low is not None and bar.high is not None:
            width = max(2.0, across(bar.high) - across(bar.low))
            spread = (
                f'<rect x="{across(bar.low):.1f}" y="{y - 4}" width="{width:.1f}" height="8" '
                f'rx="2" fill="{bar.colour}" opacity="0.35"/>'
            )
        dot = f'<circle cx="{across(bar.ratio):.1f}" cy="{y}" r="5" fill="{bar.colour}"/>'
        parts.append(f"<g><title>{escape(bar.note)}</title>{label}{text}{spread}{dot}</g>")
    return _figure(title, WIDTH, height, parts)


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


def _figure(title: str, width: int, height: int, parts: Sequence[str]) -> str:
    drawn = (
        f'<svg viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(title)}">{"".join(parts)}</svg>'
    )
    return f"<figure><figcaption>{escape(title)}</figcaption>{drawn}</figure>"
