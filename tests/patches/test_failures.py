"""A failure of ours while one patch is judged.

That patch's verdict, told with a report, and asked again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from forkhouse.core.errors import PatchConflictError
from forkhouse.patches.failures import INTERNAL
from forkhouse.patches.ladder import Ladder, pin
from forkhouse.patches.series import read_series
from forkhouse.patches.verdicts import Verdict
from forkhouse.radar.candidates import commit_candidates
from forkhouse.radar.scan import scan
from forkhouse.sources.store import ObjectStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from forkhouse.core.journal import Journal
    from forkhouse.radar.scan import Matrix

HEADER = "Subject: s\nDescription: d\nOrigin: o\nForwarded: no\nRetire-When: never\n"
OPERATION = (
    "    language: python\n    operations:\n      - replace: {call: vendor_query}\n        with: "
    "count_gpus()\n"
)


class History:
    """A repository two of whose files a series changes, and in which the content of one of them is
    lost, as in a damaged or partial clone.
    """

    def __init__(
        self, folder: Path, git: Callable[..., str], commit: Callable[..., str], journal: Journal
    ) -> None:
        self.folder, self.series, self.journal = folder / "up", folder / "series", journal
        self.build = folder / "build"
        commit(self.folder, {"a.py": "x = vendor_query()\n", "b.py": "y = vendor_query()\n"})
        git(self.folder, "tag", "pin")
        commit(self.folder, {"a.py": "import os\n\nx = vendor_query()\n"})
        self.series.mkdir()
        names = [f"000{number}-{name}.edit.yaml" for number, name in enumerate("ab", start=1)]
        (self.series / "series").write_text("\n".join(names) + "\n", encoding="utf-8")
        for name in names:
            (self.series / name).write_text(
                f"{HEADER}edits:\n  - path: {name[5]}.py\n{OPERATION}", encoding="utf-8"
            )
        blob = git(self.folder, "rev-parse", "HEAD:a.py")
        self.lost = self.folder / ".git/objects" / blob[:2] / blob[2:]
        self.content = self.lost.read_bytes()

    def radar(self) -> Matrix:
        store = ObjectStore(self.build / "store.git")
        candidates = commit_candidates(self.folder, "pin", "main", store, limit=10).candidates
        patches = read_series(self.series)
        pinned = pin(candidates[0].tree, patches, Ladder(store=store, paths={}, pinned={}))
        ladder = Ladder(store=store, paths={}, pinned=pinned)
        return scan(
            "up", "git", "pin", candidates, patches, ladder, journal=self.journal, engine="test"
        )


@pytest.fixture
def history(
    tmp_path: Path, git: Callable[..., str], commit: Callable[..., str], journal: Journal
) -> History:
    return History(tmp_path, git, commit, journal)


def test_a_failure_is_the_verdict_of_one_patch_and_ends_nothing(history: History) -> None:
    history.lost.unlink()
    first, second = history.radar().cells
    assert [cell.verdict for cell in first] == [Verdict.CLEAN, Verdict.CONFLICT]
    assert [cell.verdict for cell in second] == [Verdict.CLEAN, Verdict.CLEAN]
    cause = first[1].cause
    assert cause.startswith(f"{INTERNAL}: NotFoundError: ")
    assert " at forkhouse/sources/store.py:" in cause
    assert "please report it with reports/judging-" in cause
    (report,) = (history.build / "reports").iterdir()
    assert report.name in cause
    text = report.read_text(encoding="utf-8")
    assert "0001-a.edit.yaml" in text
    assert "NotFoundError" in text
    assert str(history.folder.parent) not in text, "a report tells nothing of the machine"
    assert "vendor_query" not in text, "a report tells nothing of the sources"


def test_a_failure_is_not_remembered(history: History) -> None:
    history.lost.unlink()
    assert history.radar().newest_whole() is not None
    assert history.radar().cells[0][1].verdict is Verdict.CONFLICT
    history.lost.write_bytes(history.content)
    assert [cell.verdict for cell in history.radar().cells[0]] == [
        Verdict.CLEAN,
        Verdict.RESTRUCTURED,
    ]


def test_a_failure_at_the_pin_is_loud(history: History, git: Callable[..., str]) -> None:
    git(history.folder, "tag", "--force", "pin", "main")
    history.lost.unlink()
    with pytest.raises(
        PatchConflictError,
        match=f"0001-a.edit.yaml does not apply at the pin itself: {INTERNAL}: NotFoundError",
    ):
        history.radar()


def test_a_report_that_cannot_be_written_is_no_second_failure(history: History) -> None:
    history.lost.unlink()
    history.build.mkdir()
    (history.build / "reports").write_text("in the way", encoding="utf-8")
    assert history.radar().cells[0][1].cause.endswith("please report this line.")
