"""Every verdict, each reached the way that it is reached in an upstream's history."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pygit2.enums import FileMode

from forkhouse.patches.ladder import Ladder, pin
from forkhouse.patches.merging import difference
from forkhouse.patches.series import Patch, read_series
from forkhouse.patches.verdicts import Verdict
from forkhouse.sources.store import ObjectStore, TreeFile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from forkhouse.patches.verdicts import Judgement

HEADER = "Subject: s\nDescription: d\nOrigin: o\nForwarded: no\nRetire-When: never\n"
PIN = {
    "pkg/device.py": "import os\n\n\ndef count():\n    return int(os.popen('nvidia-smi').read())\n"
    "\n\ndef name():\n    return 'cuda'\n",
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
        files = {
            **PIN,
            **{
                path.replace("__", "/").replace("_dot_", "."): text
                for path, text in changes.items()
            },
        }
        kept = {path: text for path, text in files.items() if text is not None}
        return self.store.import_files(
            TreeFile(path=path, content=text.encode(), mode=FileMode.BLOB)
            for path, text in kept.items()
        )

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
    assert [judgement.verdict for judgement in upstream.judge(upstream.tree())] == [
        Verdict.CLEAN,
        Verdict.CLEAN,
    ]


def test_clean_where_only_lines_have_moved(upstream: Upstream) -> None:
    edit, diff = upstream.judge(
        upstream.tree(
            README="Another.\n", **device(lambda text: text + "\n\ndef more():\n    return 1\n" * 3)
        )
    )
    assert (edit.verdict, diff.verdict) == (Verdict.CLEAN, Verdict.CLEAN)
    assert b"find_gpus" in upstream.store.read(edit.tree, "pkg/device.py")


def test_merged_where_the_neighbourhood_changed(upstream: Upstream) -> None:
    edit, _ = upstream.judge(
        upstream.tree(**device(lambda text: text.replace("def name():", "def name(short=False):")))
    )
    assert edit.verdict is Verdict.MERGED
    assert b"short" in upstream.store.read(edit.tree, "pkg/device.py")


def test_restructured_where_the_patched_lines_themselves_changed(upstream: Upstream) -> None:
    edit, _ = upstream.judge(
        upstream.tree(
            **device(lambda text: text.replace("popen('nvidia-smi')", "popen('nvidia-smi -L')"))
        )
    )
    assert edit.verdict is Verdict.RESTRUCTURED
    assert upstream.store.read(edit.tree, "pkg/device.py").count(b"find_gpus") == 1


def test_a_renamed_file_is_followed(upstream: Upstream) -> None:
    edit, _ = upstream.judge(
        upstream.tree(
            pkg__device_dot_py=None, pkg__gpu__device_dot_py=PIN["pkg/device.py"] + "\n\nMORE = 1\n"
        )
    )
    assert edit.verdict is Verdict.RESTRUCTURED
    assert edit.renamed == {"pkg/device.py": "pkg/gpu/device.py"}
    assert b"find_gpus" in upstream.store.read(edit.tree, "pkg/gpu/device.py")


def test_a_file_that_may_have_become_one_of_two_is_followed_to_none(upstream: Upstream) -> None:
    edit, _ = upstream.judge(
        upstream.tree(
            pkg__device_dot_py=None,
            pkg__gpu__device_dot_py=PIN["pkg/device.py"] + "\n\nMORE = 1\n",
            pkg__npu__device_dot_py=PIN["pkg/device.py"] + "\n\nMORE = 2\n",
        )
    )
    assert edit.verdict is Verdict.CONFLICT
    assert edit.renamed == {}


def test_upstreamed_where_the_effect_is_there_already(upstream: Upstream) -> None:
    done = PIN["pkg/device.py"].replace(
        "return int(os.popen('nvidia-smi').read())", "return len(find_gpus())"
    )
    base = upstream.tree(pkg__device_dot_py=done, pkg__other_dot_py="VALUE = 2\n")
    edit, diff = upstream.judge(base)
    assert (edit.verdict, diff.verdict) == (Verdict.UPSTREAMED, Verdict.UPSTREAMED)
    assert edit.tree == diff.tree == base


def test_obsolete_where_the_file_is_gone(upstream: Upstream) -> None:
    edit, diff = upstream.judge(upstream.tree(pkg__device_dot_py=None, pkg__other_dot_py=None))
    assert (edit.verdict, diff.verdict) == (Verdict.OBSOLETE, Verdict.OBSOLETE)
    assert "pkg/device.py is gone" in edit.cause


def test_conflict_where_the_function_has_another_name(upstream: Upstream) -> None:
    edit, _ = upstream.judge(
        upstream.tree(**device(lambda text: text.replace("def count", "def count_devices")))
    )
    assert edit.verdict is Verdict.CONFLICT
    assert "matched 0 times, expected 1" in edit.cause
    assert "Nearest to it: pkg/device.py:4: def count_devices():" in edit.cause


def test_conflict_where_the_condition_breaks(upstream: Upstream) -> None:
    edit, _ = upstream.judge(upstream.tree(pkg__new_dot_py="run('nvidia-smi')\n"))
    assert edit.verdict is Verdict.CONFLICT
    assert "'nvidia-smi' must be gone from pkg/**, but it is in pkg/new.py" in edit.cause


def test_a_file_that_went_while_its_code_lives_on_is_no_obsolete_patch(upstream: Upstream) -> None:
    edit, _ = upstream.judge(
        upstream.tree(
            pkg__device_dot_py=None, pkg__rewritten_dot_py="import sub\nsub.call('nvidia-smi')\n"
        )
    )
    assert edit.verdict is Verdict.CONFLICT


def test_conflict_where_a_diff_meets_another_change(upstream: Upstream) -> None:
    _, diff = upstream.judge(upstream.tree(pkg__other_dot_py="VALUE = 7\n"))
    assert diff.verdict is Verdict.CONFLICT
    assert "Nothing was applied with fuzz" in diff.cause


def test_a_diff_is_merged_only_with_its_base_at_hand(upstream: Upstream) -> None:
    (upstream.folder / "series").write_text("0002-diff.patch\n", encoding="utf-8")
    (upstream.folder / "0001-edit.edit.yaml").unlink()
    longer = "# one\n# two\n# three\nVALUE = 1\n# four\n# five\n# six\n"
    text = (
        DIFF.replace("@@ -1 +1 @@\n", "@@ -1,7 +1,7 @@\n # one\n # two\n # three\n")
        + " # four\n # five\n # six\n"
    )
    (upstream.folder / "0002-diff.patch").write_text(text, encoding="utf-8")
    plain = Ladder(store=upstream.store, paths={}, pinned={})
    base = upstream.tree(pkg__other_dot_py=longer)
    changed = upstream.tree(pkg__other_dot_py=longer.replace("# one", "# uno"))
    (alone,) = plain.judge_series(changed, upstream.series())
    assert alone.verdict is Verdict.CONFLICT
    (known,) = Ladder(
        store=upstream.store, paths={}, pinned=pin(base, upstream.series(), plain)
    ).judge_series(changed, upstream.series())
    assert known.verdict is Verdict.MERGED
    assert (
        upstream.store.read(known.tree, "pkg/other.py")
        == longer.replace("# one", "# uno").replace("= 1", "= 2").encode()
    )


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
    judged = {
        name: ladder.judge_series(tree, upstream.series())[0].verdict
        for name, tree in trees.items()
    }
    assert judged == {
        "strict": Verdict.CLEAN,
        "loose": Verdict.UPSTREAMED,
        "none": Verdict.OBSOLETE,
    }


def test_what_had_nothing_to_do_is_told_and_with_all_of_it_done_the_edit_is_upstream(
    upstream: Upstream,
) -> None:
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
        return ladder.judge_series(
            upstream.tree(requirements_dot_txt=text, **others), upstream.series()
        )[0]

    whole, partly, done, wrong = (
        judge("ray\ncupy-cuda13x\ntorch\n"),
        judge("ray\ntorch\n"),
        judge("torch\n"),
        judge("cupy-cuda13x\n"),
    )
    assert [each.verdict for each in (whole, partly, done, wrong)] == [
        Verdict.CLEAN,
        Verdict.CLEAN,
        Verdict.UPSTREAMED,
        Verdict.CONFLICT,
    ]
    assert whole.cause == ""
    assert partly.cause.startswith(
        "requirements.txt: operation 2 found nothing to do: {'requirement': {'remove': "
        "'cupy-cuda*'}"
    )
    assert (
        upstream.store.read(whole.tree, "requirements.txt")
        == upstream.store.read(partly.tree, "requirements.txt")
        == b"torch\n"
    )
    # Only what may be missing is passed over; and a condition looks at every file that it names.
    assert "operation 1 matched 0 times" in wrong.cause
    assert "must be gone from *.txt" in judge("ray\n", other_dot_txt="cupy-cuda12x\n").cause


def test_a_loosened_requirement_that_may_be_missing_is_not_taken_for_upstream(
    upstream: Upstream,
) -> None:
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
    (judged,) = ladder.judge_series(
        upstream.tree(pyproject_dot_toml="[project]\ndependencies = [\n"), upstream.series()
    )
    assert judged.verdict is Verdict.CONFLICT
    assert "not TOML" in judged.cause


def only(upstream: Upstream, name: str, text: str) -> None:
    """Let the series be one patch."""
    for path in upstream.folder.iterdir():
        path.unlink()
    (upstream.folder / name).write_text(text, encoding="utf-8")
    (upstream.folder / "series").write_text(f"{name}\n", encoding="utf-8")


GPUS = """def gpus(kind):
    listed = subprocess.run(["vendor-tool", "--list"], capture_output=True)
    names = [line.split(":")[0] for line in listed.stdout.decode().splitlines()]
    return [name for name in names if name.startswith(kind)]
"""
SPEED = """def speed(link):
    started = time.monotonic()
    link.send(bytes(1 << 20))
    return (1 << 20) / (time.monotonic() - started)
"""
FILE = f"import subprocess\nimport time\n\n\n{SPEED}\n\n{GPUS}\n\ndef rest():\n    return None\n"
REPLACE = """edits:
  - path: pkg/gpus.py
    language: python
    operations:
      - replace: {call: subprocess.run, within: {function: gpus}}
        with: our_list()
"""


class TestWhatIsLeft:
    """A target that its file no longer has is gone only when it is nowhere."""

    @pytest.fixture(params=["edit", "diff"])
    def judged(
        self, upstream: Upstream, request: pytest.FixtureRequest
    ) -> Callable[..., Judgement]:
        """Return a function that judges an edit, or the diff that it makes, on files beside or in
        place of those of the pin.
        """
        plain = Ladder(store=upstream.store, paths={}, pinned={})
        only(upstream, "0001-list.edit.yaml", HEADER + REPLACE)
        home = upstream.tree(pkg__gpus_dot_py=FILE, pkg__use_dot_py="import pkg.gpus\n")
        pinned = pin(home, upstream.series(), plain)
        if request.param == "diff":
            (sides,) = pinned.values()
            made = difference(sides.before, sides.after, store=upstream.store)
            only(upstream, "0001-list.patch", f"Subject: List\n\n---\n{made.patch}")
            pinned = pin(home, upstream.series(), plain)

        def judge(**files: str | None) -> Judgement:
            base = upstream.tree(
                **{"pkg__gpus_dot_py": FILE, "pkg__use_dot_py": "import pkg.gpus\n", **files}
            )
            (judgement,) = Ladder(store=upstream.store, paths={}, pinned=pinned).judge_series(
                base, upstream.series()
            )
            return judgement

        return judge

    def test_obsolete_where_the_function_is_gone_from_a_file_that_stays(
        self, judged: Callable[..., Judgement]
    ) -> None:
        judgement = judged(pkg__gpus_dot_py=FILE.replace(GPUS, ""))
        assert judgement.verdict is Verdict.OBSOLETE
        assert (
            judgement.cause == "function gpus of pkg/gpus.py is gone, and nothing like it is there"
        )

    def test_conflict_where_it_moved_to_another_file(
        self, judged: Callable[..., Judgement]
    ) -> None:
        judgement = judged(
            pkg__gpus_dot_py=FILE.replace(GPUS, ""),
            pkg__more_dot_py=f"import subprocess\n\n\n{GPUS}",
        )
        assert judgement.verdict is Verdict.CONFLICT
        assert judgement.cause.endswith("lives on in pkg/more.py")

    def test_conflict_where_it_moved_into_a_file_that_was_there(
        self, judged: Callable[..., Judgement]
    ) -> None:
        judgement = judged(
            pkg__gpus_dot_py=FILE.replace(GPUS, ""), pkg__use_dot_py=f"import pkg.gpus\n\n\n{GPUS}"
        )
        assert judgement.cause.endswith("lives on in pkg/use.py")

    def test_conflict_where_another_file_defines_one_of_its_name(
        self, judged: Callable[..., Judgement]
    ) -> None:
        anew = "def gpus(*, wanted):\n    return ask_somebody_else(wanted)\n"
        judgement = judged(pkg__gpus_dot_py=FILE.replace(GPUS, ""), pkg__more_dot_py=anew)
        assert judgement.verdict is Verdict.CONFLICT

    def test_conflict_where_it_has_another_name(self, judged: Callable[..., Judgement]) -> None:
        judgement = judged(
            pkg__gpus_dot_py=FILE.replace("def gpus(kind)", "def devices(kind)").replace(
                "--list", "--all"
            )
        )
        assert judgement.verdict is Verdict.CONFLICT

    def test_conflict_where_it_was_rewritten_under_its_name(
        self, judged: Callable[..., Judgement]
    ) -> None:
        judgement = judged(
            pkg__gpus_dot_py=FILE.replace(
                GPUS, "def gpus(*, wanted):\n    return ask_somebody_else(wanted)\n"
            )
        )
        assert judgement.verdict is Verdict.CONFLICT

    def test_conflict_where_the_file_went_and_the_function_did_not(
        self, judged: Callable[..., Judgement]
    ) -> None:
        other = "".join(
            f"def other_{number}():\n    return compute({number}, 'of another kind')\n\n\n"
            for number in range(9)
        )
        judgement = judged(pkg__gpus_dot_py=None, pkg__more_dot_py=f"{other}{GPUS}")
        assert judgement.verdict is Verdict.CONFLICT
        assert judgement.cause.endswith("lives on in pkg/more.py")

    def test_what_another_file_had_at_the_pin_did_not_move_there(self, upstream: Upstream) -> None:
        only(upstream, "0001-list.edit.yaml", HEADER + REPLACE)
        twin = f"import subprocess\n\n\n{GPUS}"
        home = upstream.tree(pkg__gpus_dot_py=FILE, pkg__twin_dot_py=twin)
        pinned = pin(home, upstream.series(), Ladder(store=upstream.store, paths={}, pinned={}))
        # Also where that file has another name by now.
        for twin_now in ("pkg__twin_dot_py", "pkg__sister_dot_py"):
            files = {"pkg__gpus_dot_py": FILE.replace(GPUS, ""), twin_now: f"{twin}\n\nMORE = 1\n"}
            ladder = Ladder(store=upstream.store, paths={}, pinned=pinned)
            (judgement,) = ladder.judge_series(upstream.tree(**files), upstream.series())
            assert judgement.verdict is Verdict.OBSOLETE, twin_now

    def test_what_is_known_of_the_file_is_not_taken_for_the_tree(self, upstream: Upstream) -> None:
        only(upstream, "0001-list.edit.yaml", HEADER + REPLACE)
        pinned = pin(
            upstream.tree(pkg__gpus_dot_py=FILE),
            upstream.series(),
            Ladder(store=upstream.store, paths={}, pinned={}),
        )
        ladder = Ladder(store=upstream.store, paths={}, pinned=pinned)
        left = {"pkg__gpus_dot_py": FILE.replace(GPUS, "")}
        trees = [
            upstream.tree(**left),
            upstream.tree(**left, pkg__more_dot_py=GPUS),
            upstream.tree(**left),
        ]
        judged = [ladder.judge_series(tree, upstream.series())[0].verdict for tree in trees]
        assert judged == [Verdict.OBSOLETE, Verdict.CONFLICT, Verdict.OBSOLETE]

    def test_too_little_of_its_own_proves_nothing(self, upstream: Upstream) -> None:
        text = "import os\n\n\ndef a():\n    return os.sep\n\n\ndef b():\n    return os.sep\n"
        edit = REPLACE.replace("gpus.py", "small.py").replace(
            "{call: subprocess.run, within: {function: gpus}}",
            "{pattern: os.sep, within: {function: a}}",
        )
        only(upstream, "0001-list.edit.yaml", HEADER + edit)
        pinned = pin(
            upstream.tree(pkg__small_dot_py=text),
            upstream.series(),
            Ladder(store=upstream.store, paths={}, pinned={}),
        )
        base = upstream.tree(pkg__small_dot_py=text.replace("def a():\n    return os.sep\n", ""))
        (judgement,) = Ladder(store=upstream.store, paths={}, pinned=pinned).judge_series(
            base, upstream.series()
        )
        assert judgement.verdict is Verdict.CONFLICT

    @pytest.mark.parametrize(
        ("path", "other", "edit", "text", "block"),
        [
            pytest.param(
                "meson.build",
                "sub/meson.build",
                (
                    "language: meson\n    operations:\n      - argument: {of: {call: dependency, "
                    "argument: \"'vendor'\"}, replace: \"'vendor'\", with: \"'ours'\"}"
                ),
                "project('demo')\n\nvendor = dependency('vendor', required: true)\nvendor_flags = "
                "['-DVENDOR_RUNTIME', '-DVENDOR_GRAPHS']\n"
                "add_project_arguments(vendor_flags, language: 'cpp')\n\nsubdir('src')\n",
                slice(2, 5),
                id="meson",
            ),
            pytest.param(
                "pkg/settings.toml",
                "pkg/more.toml",
                "language: toml\n    operations:\n      - {set: tool.device.backend, value: ours}",
                (
                    "[tool.other]\nx = 1\n\n[tool.device]\nbackend = "
                    '"vendor-runtime"\nlibrary-path '
                    '= "/opt/vendor/lib64"\ngraph-capture = true\n'
                ),
                slice(3, 7),
                id="toml",
            ),
            pytest.param(
                "pkg/settings.yaml",
                "pkg/more.yaml",
                "language: yaml\n    operations:\n      - {set: device.backend, value: ours}",
                (
                    "other:\n  x: 1\ndevice:\n  backend: vendor-runtime\n  library-path: "
                    "/opt/vendor/lib64\n  graph-capture: true\n"
                ),
                slice(2, 6),
                id="yaml",
            ),
        ],
    )
    def test_code_without_definitions_is_known_by_its_lines_and_words(
        self, upstream: Upstream, path: str, other: str, edit: str, text: str, block: slice
    ) -> None:
        only(upstream, "0001-block.edit.yaml", f"{HEADER}edits:\n  - path: {path}\n    {edit}\n")
        name, other = (each.replace("/", "__").replace(".", "_dot_") for each in (path, other))
        pinned = pin(
            upstream.tree(**{name: text}),
            upstream.series(),
            Ladder(store=upstream.store, paths={}, pinned={}),
        )
        ladder = Ladder(store=upstream.store, paths={}, pinned=pinned)
        lines = text.splitlines(keepends=True)
        removed = "".join(lines[block])
        gone = "".join([*lines[: block.start], *lines[block.stop :]])
        # One of its words is enough for it to live on, and so is its place in another file.
        mentioned = gone + f"# {removed.split()[0].strip('[]:')}\n"
        trees = [
            upstream.tree(**{name: gone}),
            upstream.tree(**{name: mentioned}),
            upstream.tree(**{name: gone, other: removed}),
        ]
        judged = [ladder.judge_series(tree, upstream.series())[0].verdict for tree in trees]
        assert judged == [Verdict.OBSOLETE, Verdict.CONFLICT, Verdict.CONFLICT]

    def test_a_line_that_moved_alone_out_of_a_file_that_went_is_not_gone(
        self, upstream: Upstream
    ) -> None:
        operation = (
            'argument: {of: {call: dependency, argument: "\'vendor\'"}, remove: "required: true"}'
        )
        edit = (
            "edits:\n  - path: meson.build\n    language: meson\n    operations:\n      - "
            f"{operation}\n"
        )
        only(upstream, "0001-argument.edit.yaml", HEADER + edit)
        line = "vendor = dependency('vendor', required: true)\n"
        home = upstream.tree(
            meson_dot_build="".join(
                f"add_test('number {number} of the tests')\n" for number in range(9)
            )
            + line
        )
        pinned = pin(home, upstream.series(), Ladder(store=upstream.store, paths={}, pinned={}))
        ladder = Ladder(store=upstream.store, paths={}, pinned=pinned)
        trees = [
            upstream.tree(sub__meson_dot_build=f"project('sub')\n{text}subdir('src')\n")
            for text in ("", line)
        ]
        assert [ladder.judge_series(tree, upstream.series())[0].verdict for tree in trees] == [
            Verdict.OBSOLETE,
            Verdict.CONFLICT,
        ]


def test_upstreamed_where_the_argument_that_selects_is_the_one_that_changed(
    upstream: Upstream,
) -> None:
    operation = (
        "argument: {of: {call: link, argument: '\"cuda\"'}, replace: '\"cuda\"', with: '\"hip\"'}"
    )
    only(
        upstream,
        "0001-arg.edit.yaml",
        (
            f"{HEADER}edits:\n  - path: a.py\n    language: python\n    operations:\n      - "
            f"{operation}\n"
        ),
    )
    pinned = pin(
        upstream.tree(a_dot_py='link("cuda", 1)\n'),
        upstream.series(),
        Ladder(store=upstream.store, paths={}, pinned={}),
    )
    ladder = Ladder(store=upstream.store, paths={}, pinned=pinned)
    texts = {
        'link(\n    "hip",\n    1,\n)\n': Verdict.UPSTREAMED,
        "link(device())\n": Verdict.CONFLICT,
        'send("hip")\n': Verdict.CONFLICT,
    }
    assert {
        text: ladder.judge_series(upstream.tree(a_dot_py=text), upstream.series())[0].verdict
        for text in texts
    } == texts


def test_what_stood_there_at_the_pin_is_no_sign_of_an_upstreamed_patch(upstream: Upstream) -> None:
    operation = "replace: {call: vendor_devices}\n        with: count_devices(1)\n"
    only(
        upstream,
        "0001-call.edit.yaml",
        (
            f"{HEADER}edits:\n  - path: a.py\n    language: python\n    operations:\n      - "
            f"{operation}"
        ),
    )
    text = "one = count_devices(1)\ntwo = vendor_devices()\n"
    pinned = pin(
        upstream.tree(a_dot_py=text),
        upstream.series(),
        Ladder(store=upstream.store, paths={}, pinned={}),
    )
    ladder = Ladder(store=upstream.store, paths={}, pinned=pinned)
    taken, dropped = (
        upstream.tree(a_dot_py=text.replace("vendor_devices()", new))
        for new in ("count_devices(1)", "None")
    )
    assert ladder.judge_series(taken, upstream.series())[0].verdict is Verdict.UPSTREAMED
    assert ladder.judge_series(dropped, upstream.series())[0].verdict is Verdict.CONFLICT


def test_a_diff_is_seen_upstream_in_a_renamed_file(upstream: Upstream) -> None:
    lines = [f"line {number} of a file\n" for number in range(20)]
    diff = "".join(
        [" " + line for line in lines[7:10]]
        + ["-" + lines[10], "+changed\n"]
        + [" " + line for line in lines[11:14]]
    )
    header = "--- a/pkg/old.txt\n+++ b/pkg/old.txt\n@@ -8,7 +8,7 @@\n"
    only(
        upstream,
        "0001-text.patch",
        f"Subject: s\n\n---\ndiff --git a/pkg/old.txt b/pkg/old.txt\n{header}{diff}",
    )
    home = upstream.tree(pkg__old_dot_txt="".join(lines))
    pinned = pin(home, upstream.series(), Ladder(store=upstream.store, paths={}, pinned={}))
    # Moved within the file besides, so that no merge would find it.
    done = "".join([*lines[6:10], "changed\n", *lines[11:], *lines[:6]])
    (judgement,) = Ladder(store=upstream.store, paths={}, pinned=pinned).judge_series(
        upstream.tree(pkg__new_dot_txt=done), upstream.series()
    )
    assert (judgement.verdict, judgement.cause) == (
        Verdict.UPSTREAMED,
        "every hunk's result is there already; pkg/old.txt is now pkg/new.txt",
    )


def test_a_diff_whose_lines_are_there_twice_is_not_applied_to_the_nearest(
    upstream: Upstream,
) -> None:
    block = (
        "[{}]\nfirst = 1\nsecond = 2\nthird = 3\nbackend = 'vendor'\nfourth = 4\nfifth = 5\nsixth "
        "= 6\n\n"
    )
    hunk = (
        "@@ -2,7 +2,7 @@\n first = 1\n second = 2\n third = 3\n-backend = 'vendor'\n+backend = "
        "'ours'\n fourth = 4\n fifth = 5\n sixth = 6\n"
    )
    diff = f"diff --git a/a.toml b/a.toml\n--- a/a.toml\n+++ b/a.toml\n{hunk}"
    only(upstream, "0001-key.patch", f"Subject: s\n\n---\n{diff}")
    text = block.format("one") + "[end]\n"
    pinned = pin(
        upstream.tree(a_dot_toml=text),
        upstream.series(),
        Ladder(store=upstream.store, paths={}, pinned={}),
    )
    ladder = Ladder(store=upstream.store, paths={}, pinned=pinned)
    (judgement,) = ladder.judge_series(
        upstream.tree(a_dot_toml=block.format("copy") + text), upstream.series()
    )
    assert judgement.verdict is Verdict.CONFLICT
    assert "are there more than once" in judgement.cause
    (moved,) = ladder.judge_series(upstream.tree(a_dot_toml="[new]\n\n" + text), upstream.series())
    assert moved.verdict is Verdict.CLEAN


BODY = "    first = measured_by_nobody_else(beta)\n    return finalise_what_was_measured(first)\n"
MOVED = {
    "a template": ("d__n_dot_j2", "{% if a %}\ndef target({{ alpha }}):\n" + BODY),
    "a notebook": (
        "d__n_dot_ipynb",
        '{"source": [\n' + ",\n".join(f'  "{line}\\\\n"' for line in BODY.splitlines()) + "\n]}\n",
    ),
    "a variable": ("pkg__n_dot_py", "target = lambda alpha: alpha\n"),
}


@pytest.mark.parametrize("where", [*MOVED, "nowhere"])
def test_code_is_not_gone_that_lives_on_in_whatever_file(upstream: Upstream, where: str) -> None:
    operations = (
        "      - replace: {pattern: finalise_what_was_measured($A)}\n        with: "
        "finalise_on_amd($A)\n"
    )
    edit = f"edits:\n  - path: pkg/device.py\n    language: python\n    operations:\n{operations}"
    (upstream.folder / "0001-edit.edit.yaml").write_text(HEADER + edit, encoding="utf-8")
    text_at_pin = "def target(alpha, beta):\n" + BODY
    plain = Ladder(store=upstream.store, paths={}, pinned={})
    base = upstream.tree(pkg__device_dot_py=text_at_pin)
    ladder = Ladder(store=upstream.store, paths={}, pinned=pin(base, upstream.series()[:1], plain))
    path, text = MOVED.get(where, ("d__n_dot_txt", "Nothing of the kind.\n"))
    judged = ladder.judge_series(
        upstream.tree(pkg__device_dot_py=None, **{path: text}), upstream.series()[:1]
    )[0]
    assert judged.verdict is (Verdict.OBSOLETE if where == "nowhere" else Verdict.CONFLICT), (
        judged.cause
    )


def test_a_result_elsewhere_is_not_the_one_that_the_edit_makes(upstream: Upstream) -> None:
    edit = (
        "edits:\n  - path: pkg/device.py\n    language: python\n    operations:\n      - replace: "
        "{call: target}\n        with: other(1)\n"
    )
    (upstream.folder / "0001-edit.edit.yaml").write_text(HEADER + edit, encoding="utf-8")
    plain = Ladder(store=upstream.store, paths={}, pinned={})
    base = upstream.tree(pkg__device_dot_py="def f():\n    x = target(1)\n")
    ladder = Ladder(store=upstream.store, paths={}, pinned=pin(base, upstream.series()[:1], plain))
    verdicts = [
        ladder.judge_series(upstream.tree(pkg__device_dot_py=text), upstream.series()[:1])[
            0
        ].verdict
        for text in (
            "def f():\n    x = target_2(1)\n\n\ndef g():\n    other(1)\n",
            "def f():\n    x = other(1)\n",
        )
    ]
    assert verdicts == [Verdict.CONFLICT, Verdict.UPSTREAMED]


def test_what_was_to_be_removed_and_has_another_name_is_there(upstream: Upstream) -> None:
    lines = "".join(f"-line {number}\\n" for number in range(9)).replace("\\n", "\n")
    diff = (
        "Subject: s\n\n---\ndiff --git a/gone b/gone\ndeleted file mode 100644\n--- a/gone\n+++ "
        f"/dev/null\n@@ -1,9 +0,0 @@\n{lines}"
    )
    (upstream.folder / "0002-diff.patch").write_text(diff, encoding="utf-8")
    content = "".join(f"line {number}\n" for number in range(9))
    plain = Ladder(store=upstream.store, paths={}, pinned={})
    series = upstream.series()[1:]
    ladder = Ladder(
        store=upstream.store, paths={}, pinned=pin(upstream.tree(gone=content), series, plain)
    )
    moved, gone = (
        ladder.judge_series(tree, series)[0]
        for tree in (upstream.tree(moved=content), upstream.tree())
    )
    assert (moved.verdict, gone.verdict) == (Verdict.CONFLICT, Verdict.UPSTREAMED)
    assert "gone is now moved" in moved.cause
