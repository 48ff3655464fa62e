from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from forkhouse.benchmark import results
from forkhouse.benchmark.compare import chance, compare, within
from forkhouse.benchmark.metrics import percentile
from forkhouse.benchmark.results import Case, TransferCounts
from forkhouse.cli.main import cli
from forkhouse.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from forkhouse.benchmark.compare import Pair, Ratio
    from forkhouse.benchmark.results import Measurement, Round


def ratio(pair: Pair, key: str) -> Ratio:
    return {each.metric.key: each for each in pair.ratios()}[key]


def test_percentiles_lie_on_a_straight_line_between_values() -> None:
    assert percentile([], 0.5) is None
    assert percentile([7], 0.9) == 7
    assert percentile([4, 1, 3, 2], 0.5) == 2.5
    assert percentile([10, 20, 30, 40, 50], 0.9) == 46


def test_a_ratio_is_that_of_medians_and_spreads_over_every_pair_of_rounds(
    make_case: Callable[..., Case], make_measurement: Callable[..., Measurement]
) -> None:
    first = make_measurement(make_case(0, [100, 120, 110]))
    second = make_measurement(make_case(0, [60, 55, 50]))
    (pair,) = compare(first, second).pairs
    found = ratio(pair, "first-token-p50")
    assert (found.first, found.second, found.ratio) == (110, 55, 0.5)
    assert found.low == pytest.approx(50 / 120)
    assert found.high == pytest.approx(60 / 100)
    assert found.verdict == "better"
    assert {
        each.verdict
        for each in compare(second, first).pairs[0].ratios()
        if each.metric.key == "first-token-p50"
    } == {"worse"}


def test_rounds_that_overlap_decide_nothing(
    make_case: Callable[..., Case], make_measurement: Callable[..., Measurement]
) -> None:
    first, second = (
        make_measurement(make_case(0, [100, 110])),
        make_measurement(make_case(0, [50, 101])),
    )
    found = ratio(compare(first, second).pairs[0], "first-token-p50")
    assert found.ratio == pytest.approx(75.5 / 105)
    assert found.high == pytest.approx(1.01)
    assert found.verdict == "undecided"


@pytest.mark.parametrize(
    ("before", "after"), [([100], [50]), ([100], [50, 51]), ([100, 101], [50])]
)
def test_a_single_round_tells_no_spread(
    before: list[float],
    after: list[float],
    make_case: Callable[..., Case],
    make_measurement: Callable[..., Measurement],
) -> None:
    (pair,) = compare(
        make_measurement(make_case(0, before)), make_measurement(make_case(0, after))
    ).pairs
    found = ratio(pair, "first-token-p50")
    assert (found.low, found.high, found.verdict) == (None, None, "undecided")
    assert pair.chance() is None


def test_how_often_chance_alone_decides() -> None:
    assert (chance(2, 2), chance(3, 3), chance(5, 5), chance(2, 3)) == (3, 10, 126, 5)


def test_figures_of_throughput_and_transfers(
    make_round: Callable[..., Round], make_measurement: Callable[..., Measurement]
) -> None:
    moved = TransferCounts(
        count=4, size=8_000_000, seconds=0.02, post_seconds=0.001, descriptors=9, failed=0
    )
    twice = moved.model_copy(update={"seconds": 0.01})

    def case(transfers: TransferCounts, seconds: float, cached: int) -> Case:
        rounds = tuple(
            make_round(seed, seconds=seconds, transfers=transfers, cached=cached) for seed in (1, 2)
        )
        return Case(layout="disaggregated", prefix_caching=True, concurrency=1, rounds=rounds)

    (pair,) = compare(
        make_measurement(case(moved, 2, 45)), make_measurement(case(twice, 1, 90))
    ).pairs
    expected = {
        "request-throughput": (2, 4, 2, "better"),
        "output-throughput": (20, 40, 2, "better"),
        "total-throughput": (200, 400, 2, "better"),
        "transfer-time": (5, 2.5, 0.5, "better"),
        "transfer-bandwidth": (400, 800, 2, "better"),
        "transfer-size": (2, 2, 1, "none"),
        "cached-share": (50, 100, 2, "none"),
        "between-tokens-p50": (10, 10, 1, "undecided"),
    }
    for key, values in expected.items():
        found = ratio(pair, key)
        assert (found.first, found.second, found.ratio, found.verdict) == values, key


def test_cases_that_one_measurement_lacks_are_named(
    make_case: Callable[..., Case], make_measurement: Callable[..., Measurement]
) -> None:
    first = make_measurement(make_case(0, [1]), make_case(10, [1], concurrency=4))
    second = make_measurement(make_case(0, [1]), make_case(10, [1], "disaggregated", caching=True))
    comparison = compare(first, second)
    assert [pair.label for pair in comparison.pairs] == [
        "aggregated, prefix cache off, 1 in flight"
    ]
    assert comparison.only_first == ("aggregated, prefix cache off, 4 in flight",)
    assert comparison.only_second == ("disaggregated, prefix cache on, 1 in flight",)


def test_differences_of_the_environment_are_named(
    make_case: Callable[..., Case], make_measurement: Callable[..., Measurement]
) -> None:
    first = make_measurement(make_case(0, [1]))
    second = make_measurement(
        make_case(0, [1]), device="NVIDIA A100", machine=None, server_version="0.31"
    )
    found = {each.what: (each.first, each.second) for each in compare(first, second).differences}
    assert found["device"] == ("mi210", "NVIDIA A100")
    assert found["server's version"] == ("unknown", "0.31")
    assert found["GPUs in the machine"] == ("none", "unknown")
    assert "begun" not in found
    assert compare(first, first).differences == ()


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ({"output_tokens": 20}, "output-tokens is 10 in A and 20 in B"),
        ({"tokenizer_sha256": "1" * 64}, "tokenizers differ"),
    ],
)
def test_other_loads_are_refused(
    others: dict[str, object],
    said: str,
    make_case: Callable[..., Case],
    make_measurement: Callable[..., Measurement],
) -> None:
    with pytest.raises(UsageError, match=said):
        compare(make_measurement(make_case(0, [1])), make_measurement(make_case(0, [1]), **others))


def test_measurements_without_a_common_case_are_refused(
    make_case: Callable[..., Case], make_measurement: Callable[..., Measurement]
) -> None:
    with pytest.raises(UsageError, match="no case in common"):
        compare(
            make_measurement(make_case(0, [1])), make_measurement(make_case(0, [1], concurrency=2))
        )


def test_arrangements_of_one_measurement_are_compared(
    make_case: Callable[..., Case], make_measurement: Callable[..., Measurement]
) -> None:
    cases = [
        make_case(0, [100, 100]),
        make_case(10, [50, 50], caching=True),
        make_case(20, [150, 150], "disaggregated"),
        make_case(30, [30, 30], "disaggregated", caching=True),
    ]
    found = dict(within(make_measurement(*cases)))
    apart = {
        pair.label: ratio(pair, "first-token-p50").ratio
        for pair in found["Disaggregated to aggregated"]
    }
    cached = {
        pair.label: ratio(pair, "first-token-p50").ratio for pair in found["Prefix cache on to off"]
    }
    assert apart == {"prefix cache off, 1 in flight": 1.5, "prefix cache on, 1 in flight": 0.6}
    assert cached == {"aggregated, 1 in flight": 0.5, "disaggregated, 1 in flight": 0.2}


def test_the_command_prints_ratios_and_writes_a_page(
    tmp_path: Path, make_case: Callable[..., Case], make_measurement: Callable[..., Measurement]
) -> None:
    results.write(make_measurement(make_case(0, [100, 120])), tmp_path / "a.json")
    results.write(make_measurement(make_case(0, [50, 60]), device="cpu"), tmp_path / "b.json")
    files = [str(tmp_path / "a.json"), str(tmp_path / "b.json")]
    plain = CliRunner().invoke(
        cli, ["bench", "compare", *files, "--html", str(tmp_path / "c.html")]
    )
    assert plain.exit_code == 0, plain.output
    assert "Measured on a CPU" in plain.stdout
    assert "0.417 to 0.600" in plain.stdout
    assert "This is true of B alone" in (tmp_path / "c.html").read_text(encoding="utf-8")
    answer = json.loads(CliRunner().invoke(cli, ["bench", "compare", *files, "--json"]).stdout)
    assert answer["cases"][0]["metrics"]["first-token-p50"]["ratio"] == 0.5
    assert answer["on-cpu"] == [False, True]


def test_what_a_measurement_of_others_says_does_nothing_to_a_terminal(
    make_case: Callable[..., Case], make_measurement: Callable[..., Measurement], tmp_path: Path
) -> None:
    """Escape sequences, and what rich would read as markup.

    Colours, links, and a closing word that ends nothing.
    """
    hostile = (
        "\x1b[2J\x9b31m[red]m[/red] [link=http://a]x[/link] [/nothing] https://me:canary@host/"
    )
    for name, seconds in (("a.json", 1), ("b.json", 2)):
        measured = make_measurement(
            make_case(0, [seconds]),
            device=hostile,
            model=f"{hostile}{name}" if name == "b.json" else hostile,
        )
        results.write(measured, tmp_path / name)
    command = [
        sys.executable,
        "-m",
        "forkhouse",
        "bench",
        "compare",
        str(tmp_path / "a.json"),
        str(tmp_path / "b.json"),
    ]
    plain = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "CI": "1"}
    )
    environment = {key: value for key, value in os.environ.items() if key != "CI"} | {
        "TERM": "dumb",
        "COLUMNS": "400",
    }
    ours, theirs = pty.openpty()
    live = subprocess.run(
        command, stdout=theirs, stderr=subprocess.PIPE, check=False, env=environment
    )
    os.close(theirs)
    drawn = b""
    with contextlib.suppress(OSError):  # how a terminal ends
        while piece := os.read(ours, 65536):
            drawn += piece
    os.close(ours)
    assert (plain.returncode, live.returncode) == (0, 0), (plain.stderr, live.stderr)
    for said in (plain.stdout, drawn.decode()):
        assert "\x1b[2J" not in said
        assert "\x9b" not in said
        assert "canary" not in said
        assert "[red]m[/red] [link=http://a]x[/link] [/nothing]" in said
