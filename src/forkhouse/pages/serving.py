"""A measurement, or a comparison of two, as one self-contained HTML page."""

from __future__ import annotations

from dataclasses import dataclass
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
from forkhouse.pages.rendering import render_page

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from markupsafe import Markup

    from forkhouse.benchmark.compare import Comparison, Pair, Ratio, RatioVerdict
    from forkhouse.benchmark.metrics import Metric
    from forkhouse.benchmark.results import Case, Measurement, ServingLayout

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
UNNAMED = "a device that was not named"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Series:
    """A line of the plots, in the legend."""

    key: Markup
    label: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _Counts:
    """How many figures are better and worse."""

    better: int
    worse: int
    of: int


@dataclass(frozen=True, kw_only=True, slots=True)
class _Ratios:
    """A section of plots of ratios."""

    title: str
    charts: tuple[Markup, ...]
    chance: int | None
    """Equal systems look decided once in so many times; None where nothing is decided."""
    explained: bool = True
    counts: _Counts | None = None
    """None where they are not told."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _CaseRow:
    """A case's line of a table."""

    label: str
    concurrency: int
    cells: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _RatioRow:
    """A ratio's line of a table."""

    cells: tuple[str, ...]
    verdict: str
    colour: str


def measurement_page(measurement: Measurement) -> str:
    """Return the page of one measurement."""
    found, cases = measurement.environment, measurement.cases
    return render_page(
        "measurement.html",
        title="Serving benchmark",
        banner=_banner([found.on_cpu]),
        model=found.model,
        device=found.device or UNNAMED,
        begun=measurement.begun,
        load=measurement.load,
        rounds=sorted({len(case.rounds) for case in cases}),
        legend=_legend(cases),
        charts=_charts(cases),
        sections=[
            _ratios(title, pairs, [BY_KEY[name] for name in WITHIN], explained=number == 0)
            for number, (title, pairs) in enumerate(within(measurement))
        ],
        few=any(_requests(case) < ENOUGH_FOR_P99 for case in cases),
        enough=ENOUGH_FOR_P99,
        times=[_times(case) for case in cases],
        metrics=(metrics := _rate_metrics(cases)),
        rates=[_rates(case, metrics) for case in cases],
        environment=described(measurement),
        lists=_lists(measurement),
    )


def comparison_page(comparison: Comparison, names: tuple[str, str]) -> str:
    """Return the page of a comparison of two measurements, called by `names`."""
    environments = comparison.first.environment, comparison.second.environment
    return render_page(
        "comparison.html",
        title="Serving benchmark: B to A",
        banner=_banner([each.on_cpu for each in environments]),
        names=names,
        devices=[each.device or UNNAMED for each in environments],
        load=comparison.first.load,
        only_first=comparison.only_first,
        only_second=comparison.only_second,
        ratios=_ratios("Ratios", comparison.pairs, METRICS, counts=_counts(comparison.pairs)),
        ratio_rows=[_ratio_row(pair, each) for pair in comparison.pairs for each in pair.ratios()],
        differences=comparison.differences,
    )


def _banner(on_cpu: Sequence[bool]) -> str:
    if not any(on_cpu):
        return ""
    which = "" if all(on_cpu) else f" This is true of {'A' if on_cpu[0] else 'B'} alone."
    return f"{CPU_LABEL}{which}"


def _style(case: Case) -> PlotStyle:
    return PlotStyle(
        colour=COLOURS[case.layout],
        filled=case.prefix_caching is not False,
        square=case.layout == "disaggregated",
    )


def _legend(cases: Sequence[Case]) -> list[_Series]:
    styles = {case.series: _style(case) for case in cases}
    return [_Series(key=key(style), label=series_label(series)) for series, style in styles.items()]


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


def _charts(cases: Sequence[Case]) -> list[Markup]:
    return [
        lines_chart(metric.title, metric.unit, lines)
        for metric in METRICS
        if (lines := _lines(metric, cases))
    ]


def _ratio_note(pair: Pair, ratio: Ratio) -> str:
    unit = ratio.metric.unit
    return (
        f"{pair.label}: {figure(ratio.second)} {unit} to {figure(ratio.first)} {unit}; "
        f"{ratio.verdict}"
    )


def _ratios(
    title: str,
    pairs: Sequence[Pair],
    metrics: Sequence[Metric],
    *,
    explained: bool = True,
    counts: _Counts | None = None,
) -> _Ratios:
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
    chances = [chance for pair in pairs if (chance := pair.chance()) is not None]
    return _Ratios(
        title=title,
        charts=tuple(
            ratio_chart(_titled(metric), bars[metric], end) for metric in metrics if metric in bars
        ),
        chance=min(chances, default=None),
        explained=explained,
        counts=counts,
    )


def _titled(metric: Metric) -> str:
    return (
        metric.title
        if metric.more_is_better is None
        else f"{metric.title} ({'more' if metric.more_is_better else 'less'} is better)"
    )


def _counts(pairs: Sequence[Pair]) -> _Counts:
    verdicts = [
        ratio.verdict for pair in pairs for ratio in pair.ratios() if ratio.verdict != "none"
    ]
    return _Counts(better=verdicts.count("better"), worse=verdicts.count("worse"), of=len(verdicts))


def _ratio_row(pair: Pair, ratio: Ratio) -> _RatioRow:
    spread = (
        "-" if ratio.low is None or ratio.high is None else f"{ratio.low:.3f} to {ratio.high:.3f}"
    )
    return _RatioRow(
        cells=(
            pair.label,
            ratio.metric.title,
            ratio.metric.unit,
            figure(ratio.first),
            figure(ratio.second),
            f"{ratio.ratio:.3f}",
            spread,
        ),
        verdict="" if ratio.verdict == "none" else ratio.verdict,
        colour=VERDICTS[ratio.verdict],
    )


def _spread_of(values: Iterable[float | None]) -> list[str]:
    known = [value for value in values if value is not None]
    if not known:
        return ["-"] * 3
    shares = (0.5, 0.9, 0.99 if len(known) >= ENOUGH_FOR_P99 else 1)
    return [figure(percentile(known, share) or 0) for share in shares]


def _requests(case: Case) -> int:
    return sum(len(each.requests) for each in case.rounds)


def _times(case: Case) -> _CaseRow:
    """Return the times of the requests of all rounds of a case together."""
    requests = [request for each in case.rounds for request in each.requests]
    spreads = (
        _spread_of(request.first_token_ms for request in requests),
        _spread_of(request.between_tokens_ms for request in requests),
        _spread_of(request.latency_ms for request in requests),
        _spread_of(request.longest_gap_ms for request in requests),
    )
    return _row(case, [str(len(requests)), *(cell for spread in spreads for cell in spread)])


def _row(case: Case, cells: Iterable[str]) -> _CaseRow:
    return _CaseRow(
        label=series_label(case.series), concurrency=case.concurrency, cells=tuple(cells)
    )


def _rate_metrics(cases: Sequence[Case]) -> list[Metric]:
    """Return what any of the cases has figures of, but for the times of requests."""
    return [
        metric
        for metric in METRICS
        if not metric.key.startswith(("first-", "between-", "latency-"))
        and any(metric.rounds(case) for case in cases)
    ]


def _rates(case: Case, metrics: Sequence[Metric]) -> _CaseRow:
    """Return the figures of a case as medians of its rounds, and what was transferred."""
    middles = [metric.middle(case) for metric in metrics]
    moved = [each.transfers for each in case.rounds if each.transfers]
    counts = (sum(each.count for each in moved), sum(each.failed for each in moved))
    return _row(
        case,
        [
            *("-" if middle is None else figure(middle) for middle in middles),
            *(str(count) if moved else "-" for count in counts),
        ],
    )


def _lists(measurement: Measurement) -> dict[str, dict[str, str]]:
    """Return what is folded up below the environment, by its title."""
    stack = measurement.environment.stack
    if stack is None:
        return {}
    patches = {
        f"{wheel.name} {number}": patch
        for wheel in stack.wheels or ()
        for number, patch in enumerate(wheel.patches, 1)
    }
    installed = {f"{len(stack.installed)} installed distributions": stack.installed}
    return ({f"{len(patches)} patches": patches} if patches else {}) | installed
