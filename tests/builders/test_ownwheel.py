from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from forkhouse.builders.ownwheel import write_own_wheel, write_tests_wheel
from forkhouse.core.identity import ROOT
from forkhouse.provenance.contents import read_wheel

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("which", ["the code", "the tests"])
def test_what_is_carried_of_ours_says_its_terms_and_has_their_text(
    tmp_path: Path, which: str
) -> None:
    wheel = (
        write_own_wheel(tmp_path)
        if which == "the code"
        else write_tests_wheel(ROOT.parents[1], tmp_path)
    )
    assert wheel is not None
    contents = read_wheel(wheel)
    assert contents.expression == "Apache-2.0"
    assert [path.partition("/")[2] for path in contents.texts] == ["licenses/LICENSE"]
