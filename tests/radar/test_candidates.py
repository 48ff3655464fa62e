from __future__ import annotations

import pytest
from packaging.version import Version

from forkhouse.radar.candidates import around
from forkhouse.sources.releases import Release

FOUND = [
    Release(version=Version(f"{number}.0"), file=f"demo-{number}.0.tar.gz")
    for number in range(1, 8)
]


@pytest.mark.parametrize(
    ("pin", "before", "after", "chosen"),
    [
        (5, 2, 1, [3, 4, 5, 6]),
        (5, 4, 9, [1, 2, 3, 4, 5, 6, 7]),
        (5, 6, 0, [1, 2, 3, 4, 5]),
        (5, 0, 0, [5]),
        (1, 3, 1, [1, 2]),
        (7, 1, 3, [6, 7]),
    ],
)
def test_the_neighbours_of_a_pin_are_those_that_there_are(
    pin: int, before: int, after: int, chosen: list[int]
) -> None:
    found = around(FOUND, Version(f"{pin}.0"), before=before, after=after)
    assert [release.version.major for release in found] == chosen
