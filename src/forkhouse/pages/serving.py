"""A measurement, or a comparison of two, as one self-contained HTML page."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from forkhouse.benchmark.compare import described, series_label, within
from forkhouse.benchmark.metrics import BY_KEY, METRICS, percentile
from forkhouse.pages.plots import (
    Bar,
    PlotLine,
    PlotStyle,
    Point,
    figure,
    key,
    lines_chart,
    ratio_chart,
    reach,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from forkhouse.benchmark.compare import Comparison, Pair, Ratio, RatioVerdict
    from forkhouse.benchmark.metrics import Metric
    from forkhouse.benchmark.results import Case, Load, Measurement, ServingLayout

COLOURS: dict[ServingLayout, str] = {
    "aggregated": "#2f6db5",
    "disaggregated": "#c2571a",
    "endpoint": "#5b4b9a",
}
VERDICTS: dict[RatioVerdict, str] = {
    "better": "#14704e",
    "worse": "#b92d24",
    "undecided": "#5d6675",
    "none": "#2f6db5",
}
CPU_LABEL = "Measured on a CPU: this proves the path, and says nothing of a GPU."
WITHIN = ("first-token-p50", "between-tokens-p50", "output-throughput", "transfer-time")
ENOUGH_FOR_P99 = 100
STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 1.5rem auto; max-width: 1240px;
padding: 0 1rem; color: #1c2330; background: #fff; }
h1 { font-size: 1.5rem; margin: 0 0 .4rem; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; } p { max-width: 75ch; margin: .4rem 0; }
.cpu { border: 2px solid #b26a00; background: #fff4de; padding: .6rem .9rem; border-radius: 6px;
font-weight: 600; margin: .8rem 0;
max-width: none; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 370px), 1fr));
gap: 1.4rem; align-items: start; }
figure { margin: 0; min-width: 0; } figcaption { font-weight: 600; margin-bottom: .3rem; }
svg { width: 100%; height: auto; display: block; }
svg text { font: 13px system-ui, sans-serif; fill: #1c2330; }
svg text.dim { fill: #5d6675; }
svg.key { width: 36px; height: 14px; display: inline-block; vertical-align: -2px;
margin-right: .4em; }
.legend span { display: inline-block; margin: 0 1.3rem .3rem 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .93em; font-variant-numeric: tabular-nums; }
td, th { text-align: right; padding: .28rem .6rem; border-bottom: 1px solid #e3e6eb;
white-space: nowrap; vertical-align: top; }
th { font-weight: 600; } td:first-child, th:first-child { text-align: left; padding-left: 0; }
table.words td, table.words th { text-align: left; white-space: normal; overflow-wrap: anywhere; }
table.rates th { white-space: normal; max-width: 9rem; }
table.ratios td:nth-child(-n+3), table.ratios th:nth-child(-n+3) { text-align: left; }
.wide + .wide { margin-top: 1.2rem; }
table.words td:first-child { white-space: nowrap; color: #5d6675; }
small { color: #5d6675; } details { margin: .6rem 0; } summary { cursor: pointer; }
ul { margin: .3rem 0; padding-left: 1.2rem; }
@media (max-width: 560px) { table.words td:first-child { white-space: normal; }
td, th { padding: .28rem .45rem; } }
@media print { .grid { grid-template-columns: 1fr 1fr; } figure, tr { break-inside: avoid; } }
"""


def measurement_page(measurement: Measurement) -> str:
    """Return the page of one measurement."""
    found = measurement.environment
    device = found.device or "a device that was not named"
    head = (
        f"<p>{escape(found.model)} on {escape(device)}, begun {escape(measurement.begun)}. "
        f"{_load_text(measurement.load)}</p>"
    )
    rounds = sorted({len(case.rounds) for case in measurement.cases})
    head += (
        f"<p>Each point is the median of {' or '.join(map(str, rounds))} rounds; the thin stroke "
        "reaches from the least round to the "
        "greatest. Point at one for its figures.</p>"
    )
    return _document(
        "Serving benchmark",
        [
            _banner([found.on_cpu]),
            head,
            _legend(measurement.cases),
            _charts(measurement.cases),
            *(
                _ratio_section(
                    title, pairs, [BY_KEY[name] for name in WITHIN], explained=number == 0
                )
                for number, (title, pairs) in enumerate(within(measurement))
            ),
            _figures(measurement.cases),
            _environment(measurement),
        ],
    )


def comparison_page(comparison: Comparison, names: tuple[str, str]) -> str:
    """Return the page of a comparison of two measurements, called by `names`."""
    first, second = comparison.first, comparison.second
    head = (
        f"<p>A is <b>{escape(names[0])}</b>, on "
        f"{escape(first.environment.device or 'a device that was not named')}. "
        f"B is <b>{escape(names[1])}</b>, on "
        f"{escape(second.environment.device or 'a device that was not named')}. "
        f"{_load_text(first.load)}</p>"
    )
    alone = [
        f"<p>Only in {which}: {escape('; '.join(labels))}.</p>"
        for which, labels in (("A", comparison.only_first), ("B", comparison.only_second))
        if labels
    ]
    return _document(
        "Serving benchmark: B to A",
        [
            _banner([first.environment.on_cpu, second.environment.on_cpu]),
            head,
            *alone,
            _ratio_section("Ratios", comparison.pairs, METRICS, counted=True),
            _ratio_table(comparison.pairs),
            "<h2>Where the environments differ</h2>",
            _words(
                ("", "A", "B"),
                [(each.what, each.first, each.second) for each in comparison.differences],
            )
            if comparison.differences
            else "<p>In nothing that is recorded.</p>",
        ],
    )


def _document(title: str, parts: Sequence[str]) -> str:
    body = "\n".join(part for part in parts if part)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><meta name="viewport" '
        'content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head>\n<body>\n<h1>{title}</h1>\n{body}\n</body>\n</html>\n"
    )


def _banner(on_cpu: Sequence[bool]) -> str:
    if not any(on_cpu):
        return ""
    which = "" if all(on_cpu) else f" This is true of {'A' if on_cpu[0] else 'B'} alone."
    return f'<p class="cpu">{CPU_LABEL}{which}</p>'


def _load_text(load: Load) -> str:
    shared = (
        f"{load.prefix_tokens} tokens that all prompts of a round share, then "
        if load.prefix_tokens
        else ""
    )
    end = "" if load.ignore_eos else " at most"
    return (
        f"Each prompt has {shared}{load.prompt_tokens} of its own, each answer{end} "
        f"{load.output_tokens} tokens; a round has "
        f"{load.requests_per_slot} requests for each one in flight."
    )


def _style(case: Case) -> PlotStyle:
    return PlotStyle(
        colour=COLOURS[case.layout],
        filled=case.prefix_caching is not False,
        square=case.layout == "disaggregated",
    )


def _legend(cases: Sequence[Case]) -> str:
    styles = {case.series: _style(case) for case in cases}
    return (
        '<p class="legend">'
        + "".join(
            f"<span>{key(style)}{escape(series_label(series))}</span>"
            for series, style in styles.items()
        )
        + "</p>"
    )


def _lines(metric: Metric, cases: Sequence[Case]) -> list[PlotLine]:
    found = []
    for series in dict.fromkeys(case.series for case in cases):
        own = sorted(
            (case for case in cases if case.series == series), key=lambda case: case.concurrency
        )
        points = [
            Point(x=case.concurrency, middle=middle, rounds=metric.rounds(case))
            for case in own
            if (middle := metric.middle(case)) is not None
        ]
        if points:
            found.append(
                PlotLine(label=series_label(series), style=_style(own[0]), points=tuple(points))
            )
    return found


def _charts(cases: Sequence[Case]) -> str:
    charts = [
        lines_chart(metric.title, metric.unit, lines)
        for metric in METRICS
        if (lines := _lines(metric, cases))
    ]
    return f'<div class="grid">{"".join(charts)}</div>'


def _ratio_note(pair: Pair, ratio: Ratio) -> str:
    unit = ratio.metric.unit
    return (
        f"{pair.label}: {figure(ratio.second)} {unit} to {figure(ratio.first)} {unit}; "
        f"{ratio.verdict}"
    )


def _ratio_section(
    title: str,
    pairs: Sequence[Pair],
    metrics: Sequence[Metric],
    *,
    explained: bool = True,
    counted: bool = False,
) -> str:
    bars: dict[Metric, list[Bar]] = {}
    for pair in pairs:
        for ratio in pair.ratios():
            if ratio.metric in metrics:
                bar = Bar(
                    label=pair.label,
                    ratio=ratio.ratio,
                    low=ratio.low,
                    high=ratio.high,
                    colour=VERDICTS[ratio.verdict],
                    note=_ratio_note(pair, ratio),
                )
                bars.setdefault(ratio.metric, []).append(bar)
    end = reach([bar for group in bars.values() for bar in group])
    charts = [
        ratio_chart(_titled(metric), bars[metric], end) for metric in metrics if metric in bars
    ]
    return (
        f"<h2>{title}</h2>\n{_ratio_words(pairs, counted=counted) if explained else ''}\n<div "
        f'class="grid">{"".join(charts)}</div>'
    )


def _titled(metric: Metric) -> str:
    return (
        metric.title
        if metric.more_is_better is None
        else f"{metric.title} ({'more' if metric.more_is_better else 'less'} is better)"
    )


def _ratio_words(pairs: Sequence[Pair], *, counted: bool) -> str:
    text = (
        "The dot is the ratio of the medians of the rounds; the bar reaches from the smallest to "
        "the largest ratio of any two rounds. "
        "Green is better in every pair of rounds, red is worse in every pair, grey is neither."
    )
    chances = {pair.chance() for pair in pairs}
    known = min((each for each in chances if each is not None), default=None)
    if known is None:
        text += " With a single round there is no spread, and nothing is decided."
    else:
        text += (
            f" With so many rounds, equal systems look decided by chance once in {known} times, "
            "for each bar. "
            "What is particular to one start of a server counts as a difference where its rounds "
            "share that start, as those of an endpoint do."
        )
    verdicts = [
        ratio.verdict for pair in pairs for ratio in pair.ratios() if ratio.verdict != "none"
    ]
    count = (
        f"<p>B is better in {verdicts.count('better')} of {len(verdicts)} figures, and worse in "
        f"{verdicts.count('worse')}.</p>"
    )
    return f"<p>{text}</p>{count if known is not None and counted else ''}"


def _ratio_table(pairs: Sequence[Pair]) -> str:
    rows = []
    for pair in pairs:
        for ratio in pair.ratios():
            spread = (
                "-"
                if ratio.low is None or ratio.high is None
                else f"{ratio.low:.3f} to {ratio.high:.3f}"
            )
            verdict = "" if ratio.verdict == "none" else ratio.verdict
            words = f'<b style="color:{VERDICTS[ratio.verdict]}">{verdict}</b>'
            cells = (
                ratio.metric.title,
                ratio.metric.unit,
                figure(ratio.first),
                figure(ratio.second),
                f"{ratio.ratio:.3f}",
                spread,
            )
            rows.append(
                "".join(f"<td>{escape(cell)}</td>" for cell in (pair.label, *cells))
                + f"<td>{words}</td>"
            )
    head = "".join(
        f"<th>{name}</th>"
        for name in ("case", "metric", "unit", "A", "B", "B / A", "spread", "B is")
    )
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return (
        '<h2>All ratios</h2>\n<div class="wide"><table '
        f'class="ratios"><tr>{head}</tr>{body}</table></div>'
    )


def _spread_of(values: Iterable[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "<td>-</td>" * 3
    shares = (0.5, 0.9, 0.99 if len(known) >= ENOUGH_FOR_P99 else 1)
    return "".join(f"<td>{figure(percentile(known, share) or 0)}</td>" for share in shares)


def _figures(cases: Sequence[Case]) -> str:
    """Return the tables of all figures.

    Times over the requests of all rounds together, the others as medians of the rounds.
    """
    few = any(sum(len(each.requests) for each in case.rounds) < ENOUGH_FOR_P99 for case in cases)
    groups = ("first token, ms", "between tokens, ms", "request, ms", "longest gap, ms")
    top = "".join(f'<th colspan="3">{name}</th>' for name in groups)
    head = (
        '<tr><th rowspan="2">case</th><th rowspan="2">in flight</th><th '
        f'rowspan="2">requests</th>{top}</tr>'
    )
    last = "p99*" if few else "p99"
    head += f"<tr>{f'<th>p50</th><th>p90</th><th>{last}</th>' * len(groups)}</tr>"
    times = []
    for case in cases:
        requests = [request for each in case.rounds for request in each.requests]
        cells = f"{_place(case)}<td>{len(requests)}</td>"
        cells += _spread_of(request.first_token_ms for request in requests) + _spread_of(
            request.between_tokens_ms for request in requests
        )
        cells += _spread_of(request.latency_ms for request in requests) + _spread_of(
            request.longest_gap_ms for request in requests
        )
        times.append(f"<tr>{cells}</tr>")
    note = (
        f"<p><small>* The maximum, where there were fewer than {ENOUGH_FOR_P99} "
        "requests.</small></p>"
        if few
        else ""
    )
    return (
        f'<h2>Figures</h2>\n<div class="wide"><table>{head}{"".join(times)}</table></div>{note}\n'
        f'<div class="wide"><table class="rates">{_rates(cases)}</table></div>'
    )


def _place(case: Case) -> str:
    return f"<td>{escape(series_label(case.series))}</td><td>{case.concurrency}</td>"


def _rates(cases: Sequence[Case]) -> str:
    metrics = [
        metric
        for metric in METRICS
        if not metric.key.startswith(("first-", "between-", "latency-"))
    ]
    metrics = [metric for metric in metrics if any(metric.rounds(case) for case in cases)]
    titles = ["<br>".join((*metric.title.split(", "), metric.unit)) for metric in metrics]
    head = "".join(
        f"<th>{title}</th>"
        for title in (
            "case",
            "in flight",
            *titles,
            "KV transfers<br>with warm-up",
            "KV transfers<br>failed",
        )
    )
    rows = []
    for case in cases:
        middles = [metric.middle(case) for metric in metrics]
        cells = "".join(
            f"<td>{'-' if middle is None else figure(middle)}</td>" for middle in middles
        )
        moved = [each.transfers for each in case.rounds if each.transfers]
        for count in (sum(each.count for each in moved), sum(each.failed for each in moved)):
            cells += f"<td>{count if moved else '-'}</td>"
        rows.append(f"<tr>{_place(case)}{cells}</tr>")
    return f"<tr>{head}</tr>{''.join(rows)}"


def _words(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows
    )
    return (
        '<div class="wide"><table '
        f'class="words">{f"<tr>{top}</tr>" if any(head) else ""}{body}</table></div>'
    )


def _list(title: str, items: Mapping[str, str]) -> str:
    rows = _words(("", ""), list(items.items()))
    return f"<details><summary>{escape(title)}</summary>{rows}</details>"


def _environment(measurement: Measurement) -> str:
    parts = ["<h2>Environment</h2>", _words(("", ""), list(described(measurement).items()))]
    stack = measurement.environment.stack
    if stack is not None:
        patches = {
            f"{wheel.name} {number}": patch
            for wheel in stack.wheels or ()
            for number, patch in enumerate(wheel.patches, 1)
        }
        if patches:
            parts.append(_list(f"{len(patches)} patches", patches))
        parts.append(_list(f"{len(stack.installed)} installed distributions", stack.installed))
    return "\n".join(parts)
