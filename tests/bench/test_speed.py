from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from bench.peers import missing
from bench.speed import GOALS, as_json, measure_apply, measure_radar, table

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"not installed: {', '.join(missing())}")


def test_the_series_gives_every_tool_the_same_tree(tmp_path: Path) -> None:
    # How long it takes is no test's business; that the trees are equal is checked by the
    # measurement itself.
    ratios = measure_apply(tmp_path, patches=4, rounds=1)
    assert {"apply / git am", "apply / quilt"} < {each.name for each in ratios}
    assert all(each.ours > 0 and each.theirs > 0 for each in ratios)


def test_the_radar_is_measured_twice_and_its_peer_on_a_sample(tmp_path: Path) -> None:
    ratios = measure_radar(tmp_path, commits=8, patches=6, sample=1, rounds=1)
    assert [each.name for each in ratios] == [
        "radar / worktree and git am -3",
        "second radar / first",
    ]
    assert "measured on 1 of them" in ratios[0].note
    report = json.loads(json.dumps(as_json(ratios, 1)))
    assert [each["goal"] for each in report["ratios"]] == [GOALS[each.name] for each in ratios]
    assert "second radar" in table(ratios)
