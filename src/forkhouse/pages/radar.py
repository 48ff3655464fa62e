"""The radar as one self-contained HTML page.

A heat map of verdicts and a line of survival, drawn in SVG.
"""

from __future__ import annotations

import datetime as dt
from html import escape
from typing import TYPE_CHECKING

from forkhouse.patches.ladder import Verdict

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
STYLE = """
body { font: 14px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1340px; padding: 0 1rem;
color: #1c2330; background: #fff; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.5rem; }
svg { width: 100%; height: auto; display: block; }
svg text { font: 12px system-ui, sans-serif; fill: #1c2330; }
table { border-collapse: collapse; }
td, th { text-align: left; padding: .25rem .9rem .25rem 0; border-bottom: 1px solid #e3e6eb;
vertical-align: top; }
.key { display: inline-block; width: .9em; height: .9em; margin-right: .4em; vertical-align: -1px;
border-radius: 2px; }
.legend span { margin-right: 1.4rem; white-space: nowrap; }
.pin { stroke: #1c2330; stroke-dasharray: 4 3; } code { font-size: .92em; }
"""


def page(matrices: Sequence[Matrix]) -> str:
    """Return the page for some upstreams."""
    legend = "".join(
        f'<span><i class="key" style="background:{COLOURS[each]}"></i>{each}: '
        f"{MEANINGS[each]}</span> "
        for each in Verdict
    )
    sections = "".join(_section(matrix) for matrix in matrices)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><meta name="viewport" '
        'content="width=device-width">'
        f"<title>Drift radar</title><style>{STYLE}</style></head>\n<body>\n<h1>Drift radar</h1>\n"
        f'<p class="legend">{legend}</p>\n{sections}</body>\n</html>\n'
    )


def _section(matrix: Matrix) -> str:
    whole = matrix.newest_whole()
    newest = (
        f"The whole series is settled up to <b>{escape(whole.label)}</b>."
        if whole
        else "The whole series is settled on no candidate."
    )
    if matrix.beyond:
        newest += f" {matrix.beyond} newer candidates were not judged."
    rows = []
    for row, name in enumerate(matrix.patches):
        broken = matrix.first_break(row)
        cause = matrix.cells[row][matrix.candidates.index(broken)].cause if broken else ""
        cells = (broken.label if broken else "never", matrix.brought_by(row) or "not yet", cause)
        tail = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        rows.append(f"<tr><td><code>{escape(name)}</code></td>{tail}</tr>")
    return (
        f"<h2>{escape(matrix.upstream)} <small>({escape(matrix.form)}, pinned at "
        f"{escape(matrix.pin)}, "
        f"{len(matrix.candidates)} "
        f"candidates)</small></h2>\n<p>{newest}</p>\n{_map(matrix)}\n{_line(matrix)}\n"
        "<table><tr><th>patch</th><th>first broken by</th><th>upstreamed "
        f"by</th><th>cause</th></tr>{''.join(rows)}</table>\n"
    )


def _x(matrix: Matrix, column: float) -> float:
    return LABEL_WIDTH + column * MAP_WIDTH / len(matrix.candidates)


def _pin_mark(matrix: Matrix, height: float) -> str:
    column = next(
        (
            number
            for number, candidate in enumerate(matrix.candidates)
            if candidate.label == matrix.pin
        ),
        None,
    )
    if column is None:
        return ""
    x = _x(matrix, column + 0.5)
    return (
        f'<line class="pin" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height}"><title>the pin, '
        f"{escape(matrix.pin)}</title></line>"
    )


def _map(matrix: Matrix) -> str:
    height = ROW * len(matrix.patches) + 70
    width = MAP_WIDTH / len(matrix.candidates)
    gap = 1 if width > 4 else 0  # gaps would eat narrow cells
    parts = []
    for row, name in enumerate(matrix.patches):
        y = row * ROW
        parts.append(
            f'<text x="{LABEL_WIDTH - 8}" y="{y + 15}" '
            f'text-anchor="end">{escape(_short(name))}</text>'
        )
        for column, cell in enumerate(matrix.cells[row]):
            title = escape(
                f"{name} on {matrix.candidates[column].label}: {cell.verdict}. {cell.cause}"
            )
            parts.append(
                f'<rect x="{_x(matrix, column):.1f}" y="{y + 1}" width="{width - gap:.1f}" '
                f'height="{ROW - 2}" '
                f'fill="{COLOURS[cell.verdict]}"><title>{title}</title></rect>'
            )
    every = max(1, len(matrix.candidates) // 28)
    bottom = ROW * len(matrix.patches) + 10
    for column in range(0, len(matrix.candidates), every):
        x = _x(matrix, column + 0.5)
        label = escape(matrix.candidates[column].label[:14])
        parts.append(
            f'<text x="{x:.1f}" y="{bottom}" text-anchor="end" transform="rotate(-45 {x:.1f} '
            f'{bottom})">{label}</text>'
        )
    parts.append(_pin_mark(matrix, ROW * len(matrix.patches)))
    return (
        f'<svg viewBox="0 0 {LABEL_WIDTH + MAP_WIDTH} {height}" role="img" aria-label="verdicts by '
        f'patch and candidate">{"".join(parts)}</svg>'
    )


def _line(matrix: Matrix) -> str:
    survival = matrix.survival()
    points = " ".join(
        f"{_x(matrix, column + 0.5):.1f},{CHART - share * (CHART - 20):.1f}"
        for column, share in enumerate(survival)
    )
    parts = []
    for share in (0, 0.5, 1):
        y = CHART - share * (CHART - 20)
        parts.append(
            f'<line x1="{LABEL_WIDTH}" x2="{LABEL_WIDTH + MAP_WIDTH}" y1="{y}" y2="{y}" '
            'stroke="#e3e6eb"/>'
        )
        parts.append(
            f'<text x="{LABEL_WIDTH - 8}" y="{y + 4}" text-anchor="end">{share:.0%}</text>'
        )
    parts.append(
        f'<text x="{LABEL_WIDTH - 60}" y="{CHART - 60}" text-anchor="end">patches settled, by '
        "candidate</text>"
    )
    parts.append(f'<polyline points="{points}" fill="none" stroke="#4a7fc1" stroke-width="2"/>')
    if len(survival) <= 60:  # more dots would be a band
        for column, share in enumerate(survival):
            candidate = matrix.candidates[column]
            day = dt.datetime.fromtimestamp(candidate.when, dt.UTC).date()
            title = escape(f"{candidate.label} ({day}): {share:.0%}")
            x, y = _x(matrix, column + 0.5), CHART - share * (CHART - 20)
            parts.append(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" '
                f'fill="#4a7fc1"><title>{title}</title></circle>'
            )
    parts.append(_pin_mark(matrix, CHART))
    return (
        f'<svg viewBox="0 0 {LABEL_WIDTH + MAP_WIDTH} {CHART + 10}" role="img" aria-label="share '
        f'of patches settled">{"".join(parts)}</svg>'
    )


def _short(name: str) -> str:
    stem = name.removesuffix(".edit.yaml").removesuffix(".patch")
    return stem if len(stem) <= 62 else f"{stem[:61]}…"  # what fits beside the map
