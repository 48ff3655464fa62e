"""Patches that an upstream took over, found in real histories by their patch id."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from forkhouse.pages.radar import page
from forkhouse.patches.ladder import Ladder, pin
from forkhouse.patches.series import read_series
from forkhouse.patches.verdicts import Verdict
from forkhouse.radar.candidates import commit_candidates
from forkhouse.radar.scan import scan
from forkhouse.radar.taken import taken

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from forkhouse.core.journal import Journal
    from forkhouse.radar.scan import Matrix
    from forkhouse.sources.store import ObjectStore

TEXT = "".join(f"step_{number}()\n" for number in range(12))
EDIT = """Subject: s
Description: d
Origin: o
Forwarded: no
Retire-When: never
edits:
  - path: a.py
    language: python
    operations:
      - replace: {call: step_6}
        with: our_own_step(6)
"""


class History:
    """A repository that begins with the file of the patch, and the radar over it."""

    def __init__(
        self, folder: Path, git: Callable[..., str], store: ObjectStore, journal: Journal
    ) -> None:
        self.folder = folder / "upstream"
        self.git = git
        self.store = store
        self.journal = journal
        self.folder.mkdir()
        git(self.folder, "init", "--quiet", "--initial-branch=main")
        self.commit("Begin", TEXT)
        git(self.folder, "tag", "pin")
        self.series = folder / "series"
        self.series.mkdir()
        (self.series / "series").write_text("0001-own.edit.yaml\n", encoding="utf-8")
        (self.series / "0001-own.edit.yaml").write_text(EDIT, encoding="utf-8")

    def commit(self, subject: str, text: str | None = None, **others: str) -> str:
        """Commit the file, or other ones, and return how the commit is told."""
        for name, content in {**({"a.py": text} if text is not None else {}), **others}.items():
            (self.folder / name).write_text(content, encoding="utf-8")
        self.git(self.folder, "add", ".")
        self.git(self.folder, "commit", "--quiet", "--allow-empty", "-m", subject)
        return f"{self.git(self.folder, 'rev-parse', 'HEAD').strip()[:12]} {subject}"

    def radar(self, *, limit: int = 100) -> Matrix:
        candidates = commit_candidates(
            self.folder, "pin", "main", self.store, limit=limit
        ).candidates
        patches = read_series(self.series)
        pinned = pin(candidates[0].tree, patches, Ladder(store=self.store, paths={}, pinned={}))
        ladder = Ladder(store=self.store, paths={}, pinned=pinned)
        own = taken(candidates, pinned, self.store)
        return scan(
            "demo",
            "git",
            "pin",
            candidates,
            patches,
            ladder,
            journal=self.journal,
            engine="test",
            taken=own,
        )


@pytest.fixture
def history(
    tmp_path: Path, git: Callable[..., str], store: ObjectStore, journal: Journal
) -> History:
    return History(tmp_path, git, store, journal)


def verdicts(matrix: Matrix) -> list[Verdict]:
    (row,) = matrix.cells
    return [cell.verdict for cell in row]


OURS = TEXT.replace("step_6()", "our_own_step(6)")


def test_the_commit_with_an_equal_patch_id_is_named(history: History) -> None:
    # Its lines are not where they were at the pin, and its neighbours are.
    history.commit("Longer", f"import os\n\n{TEXT}")
    subject = history.commit("Take the step", f"import os\n\n{OURS}")
    history.commit("Go on", others="x = 1\n")
    matrix = history.radar()
    assert verdicts(matrix) == [
        Verdict.CLEAN,
        Verdict.CLEAN,
        Verdict.UPSTREAMED,
        Verdict.UPSTREAMED,
    ]
    assert matrix.brought_by(0) == subject
    assert matrix.cells[0][2].cause.endswith(f"commit {subject} has the same patch id")
    assert subject in page([matrix])
    assert f"'upstreamed-by': '{subject}'" in str(matrix.as_json())


def test_a_commit_that_brings_more_is_known_by_its_effect_alone(history: History) -> None:
    history.commit("Take the step and more", OURS, others="x = 1\n")
    matrix = history.radar()
    assert verdicts(matrix) == [Verdict.CLEAN, Verdict.UPSTREAMED]
    assert matrix.taken == {}
    assert matrix.brought_by(0) == matrix.candidates[1].label


def test_the_commit_is_found_in_a_merged_branch_and_between_candidates(history: History) -> None:
    history.git(history.folder, "checkout", "--quiet", "-b", "side")
    subject = history.commit("Take the step", OURS)
    history.git(history.folder, "checkout", "--quiet", "main")
    history.commit("Meanwhile", main="x = 1\n")
    history.git(history.folder, "merge", "--quiet", "--no-ff", "-m", "Merge", "side")
    history.commit("After", after="x = 1\n")
    assert history.radar().brought_by(0) == subject
    assert verdicts(history.radar()) == [
        Verdict.CLEAN,
        Verdict.CLEAN,
        Verdict.UPSTREAMED,
        Verdict.UPSTREAMED,
    ]
    # The nearest come first: the merge is the last that is walked, and what it brings lies beside
    # the way.
    assert len(history.radar(limit=2).candidates) == 3
    assert history.radar(limit=2).brought_by(0) == subject
    assert history.radar(limit=1).brought_by(0) is None


def test_what_was_taken_and_changed_since_is_upstreamed_all_the_same(history: History) -> None:
    subject = history.commit("Take the step", OURS)
    history.commit("Improve it", OURS.replace("our_own_step(6)", "better_step(6, fast=True)"))
    matrix = history.radar()
    assert verdicts(matrix) == [Verdict.CLEAN, Verdict.UPSTREAMED, Verdict.UPSTREAMED]
    assert (
        matrix.cells[0][2].cause
        == f"commit {subject} has the same patch id, and the upstream has changed it since"
    )


def test_what_was_taken_back_is_not_upstream(history: History) -> None:
    first = history.commit("Take the step", OURS)
    history.git(history.folder, "revert", "--no-edit", "HEAD")
    history.commit("Go another way", TEXT.replace("step_6()", "step_six()"))
    assert verdicts(history.radar()) == [
        Verdict.CLEAN,
        Verdict.UPSTREAMED,
        Verdict.CLEAN,
        Verdict.CONFLICT,
    ]
    history.commit("Back", TEXT)
    again = history.commit("Take it again", OURS)
    history.commit("Improve it", OURS.replace("our_own_step(6)", "better_step(6, fast=True)"))
    matrix = history.radar()
    assert verdicts(matrix)[-2:] == [Verdict.UPSTREAMED, Verdict.UPSTREAMED]
    assert matrix.cells[0][-1].cause.startswith(f"commit {again}")
    assert matrix.brought_by(0) == first
