"""Splices are put into a text in the order of their places, however they are given."""

from __future__ import annotations

import random

import pytest

from forkhouse.core.errors import PatchConflictError
from forkhouse.patches.pieces import Pieces, spliced

TEXT = "abcdefgh"


@pytest.mark.parametrize(
    ("splices", "new"),
    [
        # What is inserted where something is removed stands before it.
        ([(2, 4, ""), (2, 2, "X")], "abXefgh"),
        ([(2, 2, "X"), (2, 4, "")], "abXefgh"),
        ([(2, 4, "Y"), (2, 2, "X")], "abXYefgh"),
        ([(2, 4, "Y"), (4, 4, "X")], "abYXefgh"),
        ([(4, 4, "X"), (2, 4, "Y")], "abYXefgh"),
        # Those at one place keep their order.
        ([(2, 2, "X"), (2, 2, "Y")], "abXYcdefgh"),
        ([(2, 2, "Y"), (5, 5, "Z"), (2, 2, "X")], "abYXcdeZfgh"),
        ([(8, 8, "Z"), (0, 0, "A")], "AabcdefghZ"),
        ([], "abcdefgh"),
    ],
)
def test_splices_at_one_place_stand_in_one_order(
    splices: list[tuple[int, int, str]], new: str
) -> None:
    assert spliced(TEXT, splices) == new
    assert Pieces.of(TEXT).changed(splices).text == new


@pytest.mark.parametrize("splices", [[(1, 3, ""), (2, 4, "")], [(2, 2, "X"), (1, 3, "")]])
def test_splices_over_each_other_are_refused(splices: list[tuple[int, int, str]]) -> None:
    for each in (splices, splices[::-1]):
        with pytest.raises(PatchConflictError, match="Two matches lie one in the other"):
            spliced(TEXT, each)


def test_several_steps_are_one_difference_to_the_first_text() -> None:
    source = random.Random(7)
    for _ in range(300):
        pieces = Pieces.of(TEXT)
        for _ in range(3):
            edges = sorted(source.choices(range(len(pieces.text) + 1), k=4))
            splices = [
                (start, stop, source.choice(["", "X", "YZ"]))
                for start, stop in ((edges[0], edges[1]), (edges[2], edges[3]))
            ]
            source.shuffle(splices)
            expected = spliced(pieces.text, splices)
            pieces = pieces.changed(splices)
            assert pieces.text == expected
        assert spliced(TEXT, pieces.splices()) == pieces.text
