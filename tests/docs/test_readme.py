"""The README begins with the two commands that CI runs, word for word, and is short enough to be
read.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
LONGEST = 120


def test_ci_runs_the_two_commands_word_for_word() -> None:
    script = (ROOT / ".ci/run").read_text(encoding="utf-8")
    build, test, *_ = BLOCKS
    assert build.strip().endswith("nox -s build-wheels -- --system-packages")
    assert test.strip().endswith("nox -s tests")
    assert build in script
    assert test in script


def test_it_is_read_in_a_few_minutes() -> None:
    assert len(README.splitlines()) <= LONGEST


def test_every_page_of_a_guide_is_linked() -> None:
    guides = [page for page in (ROOT / "docs/how-to").glob("*.md") if page.stem != "index"]
    assert [page.name for page in guides if f"docs/how-to/{page.name}" not in README] == []
