"""Set two measurements against each other.

For each metric of each case the ratio, and how far it spreads.

The ratio is the median of B's rounds over the median of A's. Its spread reaches from the smallest
to the largest ratio that any round of B has to any round of A. It is a range of what was seen, and
promises nothing more: no distribution is assumed, and requests of one round, which wait for each
other, are not taken for independent. Where the whole of it lies on one side of 1, every round of
the one was better than every round of the other. Between equal systems with n rounds each that
happens to a metric by chance once in C(2n, n) / 2 times: once in 10 with three rounds, once in 126
with five. That takes rounds of A and B for interchangeable. Each round of a stack that is started
for the measurement is a start of its own, so what differs from start to start is in the spread. The
rounds of an endpoint share its one start: what is particular to that start is in none of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from forkhouse.benchmark.metrics import METRICS
from forkhouse.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkhouse.benchmark.metrics import Metric
    from forkhouse.benchmark.results import Case, Measurement, ServingLayout

RatioVerdict = Literal["better", "worse", "undecided", "none"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Ratio:
    """The figures of one metric in A and in B."""

    metric: Metric
    first: float
    """A: the median of its rounds, in the metric's unit."""
    second: float
    """B: the same."""
    ratio: float
    """B / A."""
    low: float | None
    """Smallest ratio of any two rounds.

    None when A or B has a single round, which tells of no spread.
    """
    high: float | None

    @property
    def verdict(self) -> RatioVerdict:
        """Whether B is better in every pair of rounds, worse in every pair, or neither.

        None where the metric is no merit.
        """
        if self.metric.more_is_better is None:
            return "none"
        if self.low is None or self.high is None or self.low <= 1 <= self.high:
            return "undecided"
        return "better" if (self.low > 1) == self.metric.more_is_better else "worse"


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """A case of A beside the same case of B."""

    label: str
    first: Case
    second: Case

    def ratios(self) -> tuple[Ratio, ...]:
        """Return the ratio of every metric that both cases have."""
        return tuple(_ratios(self.first, self.second))

    def chance(self) -> int | None:
        """Return in how many cases chance alone gives a decided verdict once.

        None with fewer than two rounds each, which decide nothing.
        """
        return chance(len(self.first.rounds), len(self.second.rounds))


def chance(first: int, second: int) -> int | None:
    """Return N where the rounds of two equal systems lie wholly apart once in N cases.

    `first` and `second` are the numbers of rounds. None when they are too few to say anything.
    """
    return math.comb(first + second, first) // 2 if first > 1 and second > 1 else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """Something of the environment in which two measurements differ."""

    what: str
    first: str
    second: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Two measurements beside each other."""

    first: Measurement
    second: Measurement
    pairs: tuple[Pair, ...]
    only_first: tuple[str, ...]
    """Labels of the cases that only A has."""
    only_second: tuple[str, ...]
    differences: tuple[Difference, ...]

    def as_json(self) -> dict[str, object]:
        """Return the comparison as JSON-compatible values."""
        return {
            "kind": "serving-comparison",
            "format": 1,
            "on-cpu": [self.first.environment.on_cpu, self.second.environment.on_cpu],
            "spread": "smallest and largest ratio of any round of B to any round of A",
            "differences": [
                {"what": each.what, "a": each.first, "b": each.second} for each in self.differences
            ],
            "only-a": list(self.only_first),
            "only-b": list(self.only_second),
            "cases": [
                {
                    "case": pair.label,
                    "rounds": [len(pair.first.rounds), len(pair.second.rounds)],
                    "metrics": {
                        each.metric.key: {
                            "unit": each.metric.unit,
                            "a": each.first,
                            "b": each.second,
                            "ratio": each.ratio,
                            "low": each.low,
                            "high": each.high,
                            "verdict": each.verdict,
                        }
                        for each in pair.ratios()
                    },
                }
                for pair in self.pairs
            ],
        }


def series_label(series: tuple[ServingLayout, bool | None]) -> str:
    """Return the description of a case without its concurrency."""
    layout, caching = series
    return layout if caching is None else f"{layout}, prefix cache {'on' if caching else 'off'}"


def label(case: Case) -> str:
    """Return the description of a case."""
    return f"{series_label(case.series)}, {case.concurrency} in flight"


def compare(first: Measurement, second: Measurement) -> Comparison:
    """Compare B (`second`) with A (`first`).

    Raises UsageError when the shapes of their loads or their tokenizers differ, or when they have
    no case in common.
    """
    shapes = first.load.model_dump(by_alias=True), second.load.model_dump(by_alias=True)
    other = [
        f"{name} is {value} in A and {shapes[1][name]} in B"
        for name, value in shapes[0].items()
        if value != shapes[1][name]
    ]
    if first.environment.tokenizer_sha256 != second.environment.tokenizer_sha256:
        other.append("the tokenizers differ, so a token is not the same amount of text")
    if other:
        message = (
            f"The two measurements cannot be compared: {'; '.join(other)}. Measure one of them "
            "again with the load of the other."
        )
        raise UsageError(message)
    theirs = {(case.series, case.concurrency): case for case in second.cases}
    ours = {(case.series, case.concurrency): case for case in first.cases}
    pairs = tuple(
        Pair(label=label(case), first=case, second=theirs[place])
        for place, case in ours.items()
        if place in theirs
    )
    only_first = tuple(label(case) for place, case in ours.items() if place not in theirs)
    only_second = tuple(label(case) for place, case in theirs.items() if place not in ours)
    if not pairs:
        message = (
            f"The two measurements have no case in common. A has {'; '.join(only_first)}. B has "
            f"{'; '.join(only_second)}."
        )
        raise UsageError(message)
    return Comparison(
        first=first,
        second=second,
        pairs=pairs,
        only_first=only_first,
        only_second=only_second,
        differences=tuple(_differences(first, second)),
    )


def within(measurement: Measurement) -> tuple[tuple[str, tuple[Pair, ...]], ...]:
    """Compare the arrangements of one measurement.

    By a title, disaggregated with aggregated, and prefix cache on with off.
    """
    cases = {
        (case.layout, case.prefix_caching, case.concurrency): case for case in measurement.cases
    }
    apart, cached = [], []
    for (layout, caching, concurrency), case in cases.items():
        flight = f"{concurrency} in flight"
        if layout == "aggregated" and (other := cases.get(("disaggregated", caching, concurrency))):
            state = "" if caching is None else f"prefix cache {'on' if caching else 'off'}, "
            apart.append(Pair(label=f"{state}{flight}", first=case, second=other))
        if caching is False and (other := cases.get((layout, True, concurrency))):
            cached.append(Pair(label=f"{layout}, {flight}", first=case, second=other))
    found = (
        ("Disaggregated to aggregated", tuple(apart)),
        ("Prefix cache on to off", tuple(cached)),
    )
    return tuple((title, pairs) for title, pairs in found if pairs)


def _ratios(first: Case, second: Case) -> Iterator[Ratio]:
    for metric in METRICS:
        ours, theirs = metric.rounds(first), metric.rounds(second)
        before, after = metric.middle(first), metric.middle(second)
        # A cache that holds nothing has a share of zero, and no ratio.
        if before is None or after is None or min(*ours, *theirs) <= 0:
            continue
        alone = min(len(ours), len(theirs)) == 1
        yield Ratio(
            metric=metric,
            first=before,
            second=after,
            ratio=after / before,
            low=None if alone else min(theirs) / max(ours),
            high=None if alone else max(theirs) / min(ours),
        )


def described(measurement: Measurement) -> dict[str, str]:
    """Return the environment of a measurement, in the words of the page.

    By name, "unknown" where it is not known.
    """
    found = measurement.environment
    known = found.machine
    stack = found.stack
    gpus = (
        "unknown"
        if known is None
        else ", ".join(f"{gpu.vendor} {gpu.name} {gpu.target or ''}".strip() for gpu in known.gpus)
        or "none"
    )
    lines: dict[str, object] = {
        "begun": measurement.begun,
        "device": found.device,
        "model": found.model,
        "endpoint": found.endpoint,
        "server's version": found.server_version,
        "load generator": found.generator,
        "forkhouse": found.forkhouse,
        "processor": known and known.processor,
        "cores": known and known.cores,
        "memory": known and f"{known.memory_bytes / 2**30:.1f} GiB",
        "system": known and known.system,
        "kernel": known and known.kernel,
        "GPUs in the machine": gpus,
        "AMD driver package": known and known.amdgpu_driver,
        "ROCm": known and known.rocm,
        "NVIDIA driver": known and known.nvidia_driver,
        "Python of the stack": stack and stack.python,
        "worker arguments": stack and " ".join(stack.worker_arguments),
        "worker variables": stack
        and " ".join(f"{name}={value}" for name, value in stack.worker_environment.items()),
    }
    if stack is not None:
        if stack.wheels is None:
            lines["pins and patches"] = None
        for wheel in stack.wheels or ():
            count = len(wheel.patches)
            lines[f"wheel {wheel.name}"] = (
                f"{wheel.version}, {count} patch{'' if count == 1 else 'es'}, patched tree "
                f"{wheel.patched_tree[:12]}, sha256 {wheel.sha256[:12]}"
            )
        lines |= {
            f"installed {name}": stack.installed.get(name)
            for name in ("torch", "triton", "transformers")
        }
    return {name: "unknown" if value is None else str(value) for name, value in lines.items()}


def _differences(first: Measurement, second: Measurement) -> Iterator[Difference]:
    ours, theirs = described(first), described(second)
    for name in ours | theirs:
        values = ours.get(name, "unknown"), theirs.get(name, "unknown")
        if name != "begun" and values[0] != values[1]:
            yield Difference(what=name, first=values[0], second=values[1])
