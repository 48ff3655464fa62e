from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

from forkhouse.benchmark.compare import compare
from forkhouse.benchmark.results import Case, MeasuredStack, TransferCounts
from forkhouse.pages.plots import Bar, ceiling, figure, ratio_chart, reach
from forkhouse.pages.serving import CPU_LABEL, comparison_page, measurement_page

if TYPE_CHECKING:
    from collections.abc import Callable

    from forkhouse.benchmark.results import Measurement, Round

VOID = {"meta", "br", "path", "rect", "circle", "polyline"}


class Balanced(HTMLParser):
    """Fails at an end tag that does not match, and notes what a page refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.references: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.references += [
            value or "" for name, value in attrs if name in {"src", "href", "xlink:href", "srcset"}
        ]
        assert tag not in {"script", "link", "iframe", "object"}
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take a tag that closes itself."""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def check(text: str) -> None:
    parser = Balanced()
    parser.feed(text)
    parser.close()
    assert parser.open == []
    assert parser.references == []
    assert "url(" not in text
    assert not re.search(r"\b(nan|inf|None)\b", re.sub("<style>.*?</style>", "", text))


@pytest.fixture
def measurement(
    make_round: Callable[..., Round], make_measurement: Callable[..., Measurement]
) -> Measurement:
    moved = TransferCounts(
        count=4, size=8_000_000, seconds=0.02, post_seconds=0.001, descriptors=9, failed=0
    )
    cases = []
    seeds = iter(range(1000))
    for layout in ("aggregated", "disaggregated"):
        for caching in (False, True):
            for concurrency in (1, 16):
                rounds = tuple(
                    make_round(
                        next(seeds),
                        100 + number,
                        transfers=moved if layout == "disaggregated" else None,
                        cached=50 if caching else None,
                    )
                    for number in range(3)
                )
                cases.append(
                    Case.model_validate(
                        {
                            "layout": layout,
                            "prefix_caching": caching,
                            "concurrency": concurrency,
                            "rounds": rounds,
                        }
                    )
                )
    return make_measurement(*cases, device="cpu")


def test_the_page_of_a_measurement_is_whole_and_needs_nothing_else(
    measurement: Measurement,
) -> None:
    text = measurement_page(measurement)
    check(text)
    assert CPU_LABEL in text
    assert "Some &lt;fast&gt; one" in text
    for title in (
        "Time to first token, median (ms)",
        "KV transfer, bandwidth while transferring (MB/s)",
        "Disaggregated to aggregated",
    ):
        assert title in text


def test_a_gpu_gets_no_label_of_a_cpu(
    make_case: Callable[..., Case], make_measurement: Callable[..., Measurement]
) -> None:
    text = measurement_page(
        make_measurement(make_case(0, [100], "endpoint", caching=None), device="NVIDIA A100")
    )
    check(text)
    assert CPU_LABEL not in text
    assert "KV transfer, mean" not in text


def test_the_page_of_a_comparison_says_what_is_better(
    make_case: Callable[..., Case], make_measurement: Callable[..., Measurement]
) -> None:
    first = make_measurement(make_case(0, [100, 101]))
    second = make_measurement(make_case(0, [50, 51]), device="A <b>", machine=None)
    text = comparison_page(compare(first, second), ("a<.json", "b.json"))
    check(text)
    assert "a&lt;.json" in text
    assert "A &lt;b&gt;" in text
    assert CPU_LABEL not in text
    assert "B is better in 3 of 8 figures, and worse in 0." in text


def test_a_comparison_of_single_rounds_says_that_nothing_is_decided(
    make_case: Callable[..., Case], make_measurement: Callable[..., Measurement]
) -> None:
    text = comparison_page(
        compare(make_measurement(make_case(0, [100])), make_measurement(make_case(0, [50]))),
        ("a", "b"),
    )
    check(text)
    assert "nothing is decided" in text


def test_whatever_a_server_or_a_user_writes_is_text_of_the_page(
    make_case: Callable[..., Case], make_measurement: Callable[..., Measurement]
) -> None:
    hostile = "<script>alert('x')</script>"
    stack = MeasuredStack(
        python="3.11",
        worker_arguments=(hostile,),
        worker_environment={},
        wheels=None,
        installed={hostile: "1"},
    )
    mine = make_measurement(make_case(0, [100, 101]), model=hostile, device=hostile, stack=stack)
    one = measurement_page(mine)
    two = comparison_page(
        compare(mine, make_measurement(make_case(0, [50, 51]))), (hostile, "b.json")
    )
    for text in (one, two):
        check(text)
        assert text.count("&lt;script&gt;") >= 4


def test_axes_end_where_a_quarter_is_a_short_number() -> None:
    assert [ceiling(value) for value in (0.011, 0.2, 1, 1.5, 41, 601, 801, 1000.0)] == [
        0.02,
        0.2,
        1,
        2,
        60,
        800,
        1000,
        1000,
    ]


def test_numbers_have_three_digits_that_count() -> None:
    assert [figure(value) for value in (0, 0.001234, 1.234, 12.34, 123.4, 12345)] == [
        "0",
        "0.00123",
        "1.23",
        "12.3",
        "123",
        "12,345",
    ]


def test_twice_as_much_is_as_far_from_one_as_half_as_much() -> None:
    bars = [
        Bar(label="", ratio=ratio, low=None, high=None, colour="#000", note="")
        for ratio in (0.5, 1, 2)
    ]
    chart = ratio_chart("", bars, reach(bars))
    half, one, two = (float(x) for x in re.findall(r'<circle cx="([\d.]+)"', chart))
    assert one - half == pytest.approx(two - one, abs=0.2)
