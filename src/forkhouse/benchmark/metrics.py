"""What is compared: each metric gives one figure for each round of a case."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from forkhouse.benchmark.results import Case, Round, TransferCounts


def percentile(values: Iterable[float], share: float) -> float | None:
    """Return a percentile of `values`, with linear interpolation; None when there are no values.

    `share` is the part of the values that lies below it, 0 to 1.
    """
    ordered = sorted(values)
    if not ordered:
        return None
    position = share * (len(ordered) - 1)
    low = int(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)


def _first(each: Round, share: float) -> float | None:
    return percentile((request.first_token_ms for request in each.requests), share)


def _between(each: Round, share: float) -> float | None:
    return percentile(
        (
            request.between_tokens_ms
            for request in each.requests
            if request.between_tokens_ms is not None
        ),
        share,
    )


def _latency(each: Round, share: float) -> float | None:
    return percentile((request.latency_ms for request in each.requests), share)


def _of_transfers(each: Round, figure: Callable[[TransferCounts], float]) -> float | None:
    found = each.transfers
    return figure(found) if found is not None and found.count and found.seconds else None


def _cached_share(each: Round) -> float | None:
    cached = [
        request.cached_tokens for request in each.requests if request.cached_tokens is not None
    ]
    return (
        100 * sum(cached) / sum(request.input_tokens for request in each.requests)
        if len(cached) == len(each.requests)
        else None
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """A figure of a round."""

    key: str
    title: str
    unit: str
    more_is_better: bool | None
    """None where the metric says what happened, and neither direction is a merit."""
    of: Callable[[Round], float | None]
    """The figure; None when the round has none."""

    def rounds(self, case: Case) -> tuple[float, ...]:
        """Return the figures of all rounds that have one, in their order."""
        return tuple(value for value in map(self.of, case.rounds) if value is not None)

    def middle(self, case: Case) -> float | None:
        """Return the median of the rounds; None when there is none."""
        values = self.rounds(case)
        return statistics.median(values) if values else None


METRICS = (
    Metric(
        key="first-token-p50",
        title="Time to first token, median",
        unit="ms",
        more_is_better=False,
        of=lambda each: _first(each, 0.5),
    ),
    Metric(
        key="first-token-p90",
        title="Time to first token, 90th percentile",
        unit="ms",
        more_is_better=False,
        of=lambda each: _first(each, 0.9),
    ),
    Metric(
        key="between-tokens-p50",
        title="Time between tokens, median",
        unit="ms",
        more_is_better=False,
        of=lambda each: _between(each, 0.5),
    ),
    Metric(
        key="between-tokens-p90",
        title="Time between tokens, 90th percentile",
        unit="ms",
        more_is_better=False,
        of=lambda each: _between(each, 0.9),
    ),
    Metric(
        key="latency-p50",
        title="Time of a request, median",
        unit="ms",
        more_is_better=False,
        of=lambda each: _latency(each, 0.5),
    ),
    Metric(
        key="request-throughput",
        title="Request throughput",
        unit="requests/s",
        more_is_better=True,
        of=lambda each: len(each.requests) / each.seconds,
    ),
    Metric(
        key="output-throughput",
        title="Token throughput, output",
        unit="tokens/s",
        more_is_better=True,
        of=lambda each: sum(request.output_tokens for request in each.requests) / each.seconds,
    ),
    Metric(
        key="total-throughput",
        title="Token throughput, input and output",
        unit="tokens/s",
        more_is_better=True,
        of=lambda each: (
            sum(request.input_tokens + request.output_tokens for request in each.requests)
            / each.seconds
        ),
    ),
    Metric(
        key="transfer-time",
        title="KV transfer, mean time",
        unit="ms",
        more_is_better=False,
        of=lambda each: _of_transfers(each, lambda found: 1000 * found.seconds / found.count),
    ),
    Metric(
        key="transfer-bandwidth",
        title="KV transfer, bandwidth while transferring",
        unit="MB/s",
        more_is_better=True,
        of=lambda each: _of_transfers(each, lambda found: found.size / found.seconds / 1e6),
    ),
    Metric(
        key="transfer-size",
        title="KV transfer, mean size",
        unit="MB",
        more_is_better=None,
        of=lambda each: _of_transfers(each, lambda found: found.size / found.count / 1e6),
    ),
    Metric(
        key="cached-share",
        title="Prompt tokens found in the prefix cache",
        unit="%",
        more_is_better=None,
        of=_cached_share,
    ),
)
BY_KEY = {metric.key: metric for metric in METRICS}
