from __future__ import annotations

import pytest

from forkhouse.serving.client import samples

PAGE = r"""# HELP up Whether it runs, and a } and a {.
# TYPE up gauge
up{host="a",path="C:\\{x} \"y\" 7"} 1
up{host="b # {} 9"} 0.5 1700000000000
# A comment that says nothing
# TYPE tokens_total counter
tokens_total{model="m"} 4
tokens_total 3
# TYPE old counter
old 2
# TYPE seconds histogram
seconds_bucket{le="1"} 2
seconds_bucket{le="+Inf"} 5
seconds_sum 7.5
seconds_count 5
{"name.with.dots",a="b"} 6
untyped	8
"""


def test_what_a_page_of_prometheus_says_is_summed_over_the_labels() -> None:
    assert samples(PAGE) == {
        "up": 1.5,
        "tokens_total": 7,
        "old_total": 2,
        "seconds_bucket": 7,
        "seconds_sum": 7.5,
        "seconds_count": 5,
        "name.with.dots": 6,
        "untyped": 8,
    }
    assert samples("") == {}


@pytest.mark.parametrize(
    "page", ["<html>no</html>", "up", "up one", 'up{a="b" 1', '{"error": "none"}']
)
def test_what_is_no_such_page_is_refused(page: str) -> None:
    with pytest.raises((ValueError, IndexError)):
        samples(page)
