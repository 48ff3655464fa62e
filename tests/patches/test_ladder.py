"""Every verdict, each reached the way that it is reached in an upstream's history."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pygit2.enums import FileMode

from forkhouse.patches.ladder import Ladder, Verdict, pin
from forkhouse.patches.series import Patch, read_series
from forkhouse.sources.store import ObjectStore, TreeFile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from forkhouse.patches.ladder import Judgement

HEADER = "Subject: s\nDescription: d\nOrigin: o\nForwarded: no\nRetire-When: never\n"
PIN = {
    "pkg/device.py": "import os\n\n\ndef count():\n    return int(os.popen('nvidia-smi').read())\n\n\ndef name():\n    return 'cuda'\n",
    "pkg/other.py": "VALUE = 1\n",
    "README": "A project.\n",
}
EDIT = """edits:
  - path: pkg/device.py
    language: python
    operations:
      - replace: {function: count}
        with: |
          def count():
              return len(find_gpus())
after:
  - absent: {text: nvidia-smi, in: "pkg/**"}
"""
DIFF = """Subject: Change the value

---
diff --git a/pkg/other.py b/pkg/other.py
--- a/pkg/other.py
+++ b/pkg/other.py
@@ -1 +1 @@
-VALUE = 1
+VALUE = 2
"""


class Upstream:
    """A series and the trees that it is judged on."""

    def __init__(self, store: ObjectStore, folder: Path) -> None:
        self.store = store
        self.folder = folder
        folder.mkdir()
        (folder / "series").write_text("0001-edit.edit.yaml\n0002-diff.patch\n", encoding="utf-8")
        (folder / "0001-edit.edit.yaml").write_text(HEADER + EDIT, encoding="utf-8")
        (folder / "0002-diff.patch").write_text(DIFF, encoding="utf-8")

    def tree(self, **changes: str | None) -> str:
        files = {**PIN, **{path.replace("__", "/").replace("_dot_", "."): text for path, text in changes.items()}}
        kept = {path: text for path, text in files.items() if text is not None}
        return self.store.import_files(TreeFile(path=path, content=text.encode(), mode=FileMode.BLOB) for path, text in kept.items())

    def series(self) -> tuple[Patch, ...]:
        return read_series(self.folder)

    def judge(self, base: str) -> list[Judgement]:
        plain = Ladder(store=self.store, paths={}, pinned={})
        ladder = Ladder(store=self.store, paths={}, pinned=pin(self.tree(), self.series(), plain))
        return ladder.judge_series(base, self.series())


@pytest.fixture
def upstream(store: ObjectStore, tmp_path: Path) -> Upstream:
    return Upstream(store, tmp_path / "demo")


def device(change: Callable[[str], str]) -> dict[str, str | None]:
    text = change(PIN["pkg/device.py"])
    assert text != PIN["pkg/device.py"]
    return {"pkg__device_dot_py": text}


def test_on_its_pin_a_series_is_clean(upstream: Upstream) -> None:
    assert [judgement.verdict for judgement in upstream.judge(upstream.tree())] == [Verdict.CLEAN, Verdict.CLEAN]


def test_clean_where_only_lines_have_moved(upstream: Upstream) -> None:
    edit, diff = upstream.judge(upstream.tree(README="Another.\n", **device(lambda text: text + "\n\ndef more():\n    return 1\n" * 3)))
    assert (edit.verdict, diff.verdict) == (Verdict.CLEAN, Verdict.CLEAN)
    assert b"find_gpus" in upstream.store.read(edit.tree, "pkg/device.py")


def test_merged_where_the_neighbourhood_changed(upstream: Upstream) -> None:
    edit, _ = upstream.judge(upstream.tree(**device(lambda text: text.replace("def name():", "def name(short=False):"))))
    assert edit.verdict is Verdict.MERGED
    assert b"short" in upstream.store.read(edit.tree, "pkg/device.py")


def test_restructured_where_the_patched_lines_themselves_changed(upstream: Upstream) -> None:
    edit, _ = upstream.judge(upstream.tree(**device(lambda text: text.replace("popen('nvidia-smi')", "popen('nvidia-smi -L')"))))
    assert edit.verdict is Verdict.RESTRUCTURED
    assert upstream.store.read(edit.tree, "pkg/device.py").count(b"find_gpus") == 1


def test_a_renamed_file_is_followed(upstream: Upstream) -> None:
    edit, _ = upstream.judge(upstream.tree(pkg__device_dot_py=None, pkg__gpu__device_dot_py=PIN["pkg/device.py"] + "\n\nMORE = 1\n"))
    assert edit.verdict is Verdict.RESTRUCTURED
    assert edit.renamed == {"pkg/device.py": "pkg/gpu/device.py"}
    assert b"find_gpus" in upstream.store.read(edit.tree, "pkg/gpu/device.py")


def test_upstreamed_where_the_effect_is_there_already(upstream: Upstream) -> None:
    done = PIN["pkg/device.py"].replace("return int(os.popen('nvidia-smi').read())", "return len(find_gpus())")
    base = upstream.tree(pkg__device_dot_py=done, pkg__other_dot_py="VALUE = 2\n")
    edit, diff = upstream.judge(base)
    assert (edit.verdict, diff.verdict) == (Verdict.UPSTREAMED, Verdict.UPSTREAMED)
    assert edit.tree == diff.tree == base


def test_obsolete_where_the_file_is_gone(upstream: Upstream) -> None:
    edit, diff = upstream.judge(upstream.tree(pkg__device_dot_py=None, pkg__other_dot_py=None))
    assert (edit.verdict, diff.verdict) == (Verdict.OBSOLETE, Verdict.OBSOLETE)
    assert "pkg/device.py is gone" in edit.cause


def test_conflict_where_the_function_has_another_name(upstream: Upstream) -> None:
    edit, _ = upstream.judge(upstream.tree(**device(lambda text: text.replace("def count", "def count_devices"))))
    assert edit.verdict is Verdict.CONFLICT
    assert "matched 0 times, expected 1" in edit.cause
    assert "Nearest to it: pkg/device.py:4: def count_devices():" in edit.cause


def test_conflict_where_the_condition_breaks(upstream: Upstream) -> None:
    edit, _ = upstream.judge(upstream.tree(pkg__new_dot_py="run('nvidia-smi')\n"))
    assert edit.verdict is Verdict.CONFLICT
    assert "'nvidia-smi' must be gone from pkg/**, but it is in pkg/new.py" in edit.cause


def test_a_file_that_went_while_its_code_lives_on_is_no_obsolete_patch(upstream: Upstream) -> None:
    edit, _ = upstream.judge(upstream.tree(pkg__device_dot_py=None, pkg__rewritten_dot_py="import sub\nsub.call('nvidia-smi')\n"))
    assert edit.verdict is Verdict.CONFLICT


def test_conflict_where_a_diff_meets_another_change(upstream: Upstream) -> None:
    _, diff = upstream.judge(upstream.tree(pkg__other_dot_py="VALUE = 7\n"))
    assert diff.verdict is Verdict.CONFLICT
    assert "Nothing was applied with fuzz" in diff.cause


def test_a_diff_is_merged_only_with_its_base_at_hand(upstream: Upstream) -> None:
    (upstream.folder / "series").write_text("0002-diff.patch\n", encoding="utf-8")
    (upstream.folder / "0001-edit.edit.yaml").unlink()
    longer = "# one\n# two\n# three\nVALUE = 1\n# four\n# five\n# six\n"
    text = DIFF.replace("@@ -1 +1 @@\n", "@@ -1,7 +1,7 @@\n # one\n # two\n # three\n") + " # four\n # five\n # six\n"
    (upstream.folder / "0002-diff.patch").write_text(text, encoding="utf-8")
    plain = Ladder(store=upstream.store, paths={}, pinned={})
    base = upstream.tree(pkg__other_dot_py=longer)
    changed = upstream.tree(pkg__other_dot_py=longer.replace("# one", "# uno"))
    (alone,) = plain.judge_series(changed, upstream.series())
    assert alone.verdict is Verdict.CONFLICT
    (known,) = Ladder(store=upstream.store, paths={}, pinned=pin(base, upstream.series(), plain)).judge_series(changed, upstream.series())
    assert known.verdict is Verdict.MERGED
    assert upstream.store.read(known.tree, "pkg/other.py") == longer.replace("# one", "# uno").replace("= 1", "= 2").encode()


def test_obsolete_where_a_loosened_requirement_is_asked_for_no_more(upstream: Upstream) -> None:
    edit = """edits:
  - path: requirements.txt
    language: requirements
    operations:
      - requirement: {replace: certifi, with: certifi}
"""
    (upstream.folder / "series").write_text("0001-edit.edit.yaml\n", encoding="utf-8")
    (upstream.folder / "0002-diff.patch").unlink()
    (upstream.folder / "0001-edit.edit.yaml").write_text(HEADER + edit, encoding="utf-8")
    ladder = Ladder(store=upstream.store, paths={}, pinned={})
    wanted = {"strict": "certifi>=9\n", "loose": "certifi\n", "none": "numpy\n"}
    trees = {name: upstream.tree(requirements_dot_txt=text) for name, text in wanted.items()}
    judged = {name: ladder.judge_series(tree, upstream.series())[0].verdict for name, tree in trees.items()}
    assert judged == {"strict": Verdict.CLEAN, "loose": Verdict.UPSTREAMED, "none": Verdict.OBSOLETE}


def test_what_had_nothing_to_do_is_told_and_with_all_of_it_done_the_edit_is_upstream(upstream: Upstream) -> None:
    edit = """edits:
  - path: requirements.txt
    language: requirements
    operations:
      - requirement: {remove: ray}
      - requirement: {remove: "cupy-cuda*"}
        count: {min: 0, max: 1}
after:
  - absent: {requirement: "cupy-cuda*", in: "*.txt"}
"""
    (upstream.folder / "series").write_text("0001-edit.edit.yaml\n", encoding="utf-8")
    (upstream.folder / "0002-diff.patch").unlink()
    (upstream.folder / "0001-edit.edit.yaml").write_text(HEADER + edit, encoding="utf-8")
    ladder = Ladder(store=upstream.store, paths={}, pinned={})

    def judge(text: str, **others: str) -> Judgement:
        return ladder.judge_series(upstream.tree(requirements_dot_txt=text, **others), upstream.series())[0]

    whole, partly, done, wrong = judge("ray\ncupy-cuda13x\ntorch\n"), judge("ray\ntorch\n"), judge("torch\n"), judge("cupy-cuda13x\n")
    assert [each.verdict for each in (whole, partly, done, wrong)] == [
        Verdict.CLEAN,
        Verdict.CLEAN,
        Verdict.UPSTREAMED,
        Verdict.CONFLICT,
    ]
    assert whole.cause == ""
    assert partly.cause.startswith("requirements.txt: operation 2 found nothing to do: {'requirement': {'remove': 'cupy-cuda*'}")
    assert upstream.store.read(whole.tree, "requirements.txt") == upstream.store.read(partly.tree, "requirements.txt") == b"torch\n"
    # Only what may be missing is passed over; and a condition looks at every file that it names.
    assert "operation 1 matched 0 times" in wrong.cause
    assert "must be gone from *.txt" in judge("ray\n", other_dot_txt="cupy-cuda12x\n").cause


def test_a_loosened_requirement_that_may_be_missing_is_not_taken_for_upstream(upstream: Upstream) -> None:
    edit = """edits:
  - path: requirements.txt
    language: requirements
    operations:
      - requirement: {replace: torch, with: torch}
        count: {min: 0, max: 1}
      - requirement: {remove: ray}
        count: {min: 0, max: 1}
"""
    (upstream.folder / "series").write_text("0001-edit.edit.yaml\n", encoding="utf-8")
    (upstream.folder / "0002-diff.patch").unlink()
    (upstream.folder / "0001-edit.edit.yaml").write_text(HEADER + edit, encoding="utf-8")
    ladder = Ladder(store=upstream.store, paths={}, pinned={})
    (none,) = ladder.judge_series(upstream.tree(requirements_dot_txt="numpy\n"), upstream.series())
    assert (none.verdict, none.cause) == (Verdict.CONFLICT, "it applies and changes nothing")
    (loose,) = ladder.judge_series(upstream.tree(requirements_dot_txt="torch\n"), upstream.series())
    assert loose.verdict is Verdict.UPSTREAMED


def test_a_project_that_cannot_be_read_is_a_conflict(upstream: Upstream) -> None:
    edit = """edits:
  - path: pyproject.toml
    language: requirements
    operations:
      - requirement: {replace: torch, with: torch}
after:
  - absent: {requirement: ray, in: pyproject.toml}
"""
    (upstream.folder / "series").write_text("0001-edit.edit.yaml\n", encoding="utf-8")
    (upstream.folder / "0002-diff.patch").unlink()
    (upstream.folder / "0001-edit.edit.yaml").write_text(HEADER + edit, encoding="utf-8")
    ladder = Ladder(store=upstream.store, paths={}, pinned={})
    (judged,) = ladder.judge_series(upstream.tree(pyproject_dot_toml="[project]\ndependencies = [\n"), upstream.series())
    assert judged.verdict is Verdict.CONFLICT
    assert "not TOML" in judged.cause
