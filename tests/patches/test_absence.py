"""What may be called gone.

Real repositories in which an upstream hides, doubles, moves or really removes what a patch is
about.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from forkhouse.core.errors import PatchConflictError, PostConditionError
from forkhouse.documents.lockfile import GitSource
from forkhouse.flow.authoring import Bench, refresh
from forkhouse.patches.apply import apply_patch
from forkhouse.patches.ladder import Ladder, pin
from forkhouse.patches.series import read_series
from forkhouse.patches.verdicts import APPLIED, Verdict
from forkhouse.radar.candidates import commit_candidates
from forkhouse.radar.scan import scan
from forkhouse.sources.acquire import SourceTree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from forkhouse.core.journal import Journal
    from forkhouse.documents.lockfile import Form
    from forkhouse.patches.verdicts import Judgement
    from forkhouse.sources.store import ObjectStore

HEADER = "Subject: s\nDescription: d\nOrigin: o\nForwarded: no\nRetire-When: never\n"
FILE = (
    "import os\n\n\ndef vendor_devices():\n    found = os.listdir('/dev')\n    return len(found) - "
    "41\n"
)
OTHER = "def unrelated_helper(argument):\n    answer = argument * 3\n    return answer\n"
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a1' * 32}\nsize 1234\n"
COMMIT = "1" * 40


class Upstream:
    """A repository with one file that a series is about."""

    def __init__(self, folder: Path, git: Callable[..., str], store: ObjectStore) -> None:
        self.folder, self._git, self.store = folder / "up", git, store
        self.series = folder / "series"
        self.series.mkdir()
        self.git("init", "--quiet", "--initial-branch=main")
        self.write("gpu/attn_one.py", FILE)
        self.write("keep.txt", "kept\n")
        self.pin = self.commit()
        self.git("tag", "pin")
        store.borrow(self.folder)

    def git(self, *arguments: str) -> str:
        return self._git(self.folder, *arguments)

    def write(self, path: str, text: str) -> None:
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_text(text, encoding="utf-8")

    def gitlink(self, path: str, commit: str = COMMIT) -> None:
        self.git("update-index", "--add", "--cacheinfo", f"160000,{commit},{path}")

    def commit(self) -> str:
        """Commit what is in the work tree, gitlinks of the index kept, and return the tree."""
        links = [
            line.split()[1:]
            for line in self.git("ls-files", "--stage").splitlines()
            if line.startswith("160000")
        ]
        paths = [
            line.partition("\t")[2]
            for line in self.git("ls-files", "--stage").splitlines()
            if line.startswith("160000")
        ]
        self.git("add", "--all")
        for (commit, _, _), path in zip(links, paths, strict=True):
            self.gitlink(path, commit)
        self.git("commit", "--quiet", "--allow-empty", "--message=change")
        return self.git("rev-parse", "HEAD^{tree}")

    def edit(self, path: str = "gpu/attn_one.py", after: str = "", operation: str = "") -> None:
        operation = (
            operation
            or "replace: {function: vendor_devices}\n        with: |\n"
            "          def vendor_devices():\n              return 7"
        )
        (self.series / "series").write_text("0001-e.edit.yaml\n", encoding="utf-8")
        text = (
            f'{HEADER}edits:\n  - path: "{path}"\n    language: python\n    operations:\n      - '
            f"{operation}\n{after}"
        )
        (self.series / "0001-e.edit.yaml").write_text(text, encoding="utf-8")

    def patch(self, change: Callable[[], None]) -> None:
        """Make a `.patch` of a change with git itself, and take the change back."""
        change()
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message=ours")
        text = self.git("format-patch", "--stdout", "-1")
        (self.series / "series").write_text("0001-e.patch\n", encoding="utf-8")
        (self.series / "0001-e.patch").write_text(text + "\n", encoding="utf-8")
        self.git("reset", "--quiet", "--hard", "HEAD~1")

    def ladder(self, form: Form = "git") -> Ladder:
        patches = read_series(self.series)
        pinned = pin(self.pin, patches, Ladder(store=self.store, paths={}, pinned={}, form=form))
        return Ladder(store=self.store, paths={}, pinned=pinned, form=form)

    def judge(self, tree: str, form: Form = "git") -> Judgement:
        (judgement,) = self.ladder(form).judge_series(tree, read_series(self.series))
        return judgement


@pytest.fixture
def upstream(tmp_path: Path, git: Callable[..., str], store: ObjectStore) -> Upstream:
    return Upstream(tmp_path, git, store)


def _second(up: Upstream) -> None:
    up.write("gpu/attn_two.py", OTHER)


def _linked(up: Upstream) -> None:
    up.git("mv", "gpu/attn_one.py", "gpu/real_name.py")
    (up.folder / "gpu/attn_one.py").symlink_to("real_name.py")


def _linked_outside(up: Upstream) -> None:
    up.git("rm", "--quiet", "gpu/attn_one.py")
    (up.folder / "gpu").mkdir(exist_ok=True)
    (up.folder / "gpu/attn_one.py").symlink_to("nowhere.py")


def _folder_linked(up: Upstream) -> None:
    up.git("mv", "gpu", "accelerator")
    (up.folder / "gpu").symlink_to("accelerator")


def _submodule(up: Upstream) -> None:
    up.git("rm", "-r", "--quiet", "gpu")
    up.gitlink("gpu")


def _submodule_in_its_place(up: Upstream) -> None:
    up.git("rm", "--quiet", "gpu/attn_one.py")
    up.gitlink("gpu/attn_one.py")


def _submodule_elsewhere(up: Upstream) -> None:
    up.git("rm", "-r", "--quiet", "gpu")
    up.gitlink("third_party/gpu")


def _ignored(up: Upstream) -> None:
    up.git("rm", "-r", "--quiet", "gpu")
    up.write(".gitignore", "# made by the build\ngpu/*.py\n")


def _pointer(up: Upstream) -> None:
    up.write("gpu/attn_one.py", POINTER)


def _binary(up: Upstream) -> None:
    (up.folder / "gpu/attn_one.py").write_bytes(b"\0\xff\xfe\1" * 300)


HIDDEN = {
    "a link": (_linked, "is a symbolic link to 'real_name.py'"),
    "a link to nothing": (_linked_outside, "is a symbolic link to 'nowhere.py'"),
    "a folder that is a link": (_folder_linked, "is a symbolic link to 'accelerator'"),
    "a submodule above": (_submodule, f"{COMMIT}), whose files are not in this source"),
    "a submodule at the path": (
        _submodule_in_its_place,
        f"{COMMIT}), whose files are not in this source",
    ),
    "a submodule elsewhere": (
        _submodule_elsewhere,
        "a submodule that came or changed since the pin: third_party/gpu",
    ),
    "git ignores it": (_ignored, ".gitignore has git ignore it"),
    "a pointer": (_pointer, "is a pointer of Git LFS"),
    "binary": (_binary, ""),
}


@pytest.mark.parametrize("case", HIDDEN)
def test_what_is_hidden_is_no_obsolete_edit(upstream: Upstream, case: str) -> None:
    change, cause = HIDDEN[case]
    change(upstream)
    tree = upstream.commit()
    # There is one file that the pattern names, by whatever way one comes to it.
    one = {("a folder that is a link", "**/attn_one.py"), ("a link", "gpu/**")}
    for pattern in ("gpu/attn_one.py", "gpu/attn_*.py", "**/attn_one.py", "gpu/**"):
        upstream.edit(pattern)
        judgement = upstream.judge(tree)
        assert judgement.verdict is (
            Verdict.RESTRUCTURED if (case, pattern) in one else Verdict.CONFLICT
        ), judgement.cause
        if pattern == "gpu/attn_one.py":
            assert cause in judgement.cause


@pytest.mark.parametrize("case", HIDDEN)
def test_what_is_hidden_is_no_obsolete_diff(upstream: Upstream, case: str) -> None:
    change, _ = HIDDEN[case]
    upstream.patch(lambda: upstream.write("gpu/attn_one.py", FILE.replace("- 41", "- 42")))
    change(upstream)
    assert upstream.judge(upstream.commit()).verdict in {Verdict.CONFLICT, Verdict.MERGED}


@pytest.mark.parametrize(
    "case", ["a submodule above", "a submodule at the path", "a folder that is a link"]
)
def test_a_diff_that_removes_a_file_is_not_upstream_where_the_file_is_hidden(
    upstream: Upstream, case: str
) -> None:
    upstream.patch((upstream.folder / "gpu/attn_one.py").unlink)
    change, cause = HIDDEN[case]
    change(upstream)
    judgement = upstream.judge(upstream.commit())
    assert judgement.verdict is Verdict.CONFLICT
    assert cause in judgement.cause


@pytest.mark.parametrize("pattern", ["gpu/attn_*.py", "gpu/*.py", "**/attn_*.py", "gpu/**"])
def test_several_files_are_named_and_none_is_chosen(upstream: Upstream, pattern: str) -> None:
    upstream.edit(pattern)
    _second(upstream)
    judgement = upstream.judge(upstream.commit())
    assert judgement.verdict is Verdict.CONFLICT
    assert (
        f"'{pattern}' matches 2 files, expected 1: gpu/attn_one.py, gpu/attn_two.py."
        in judgement.cause
    )


@pytest.mark.parametrize(("count", "more"), [(5, ""), (6, " and 1 more"), (9, " and 4 more")])
def test_the_first_five_of_many_files_are_named(upstream: Upstream, count: int, more: str) -> None:
    upstream.edit("gpu/*.py")
    for number in range(2, count + 1):
        upstream.write(f"gpu/attn_{number}.py", OTHER)
    cause = upstream.judge(upstream.commit()).cause
    names = ", ".join(f"gpu/attn_{name}.py" for name in range(2, min(count, 6) + 1))
    named = f"{names}, gpu/attn_one.py" if count == 5 else names
    assert f"'gpu/*.py' matches {count} files, expected 1: {named}{more}. Name" in cause


def test_a_link_to_the_one_file_makes_no_second(upstream: Upstream) -> None:
    upstream.edit("gpu/attn_*.py")
    (upstream.folder / "gpu/attn_newest.py").symlink_to("attn_one.py")
    assert upstream.judge(upstream.commit()).verdict is Verdict.CLEAN
    (upstream.folder / "gpu/attn_newest.py").unlink()
    upstream.write("elsewhere/other.py", OTHER)
    (upstream.folder / "gpu/attn_newest.py").symlink_to("../elsewhere/other.py")
    judgement = upstream.judge(upstream.commit())
    assert judgement.verdict is Verdict.CONFLICT
    assert "matches 2 files, expected 1: gpu/attn_newest.py, gpu/attn_one.py" in judgement.cause


def test_what_is_gone_is_still_obsolete(upstream: Upstream) -> None:
    upstream.gitlink("third_party/theirs")
    upstream.pin = upstream.commit()
    upstream.edit()
    upstream.git("rm", "--quiet", "-r", "gpu")
    upstream.write(".gitignore", "*.o\nbuild/\n")
    assert upstream.judge(upstream.commit()).verdict is Verdict.OBSOLETE
    # The submodule that was there all the time says nothing, until it changes.
    upstream.gitlink("third_party/theirs", "2" * 40)
    assert upstream.judge(upstream.commit()).verdict is Verdict.CONFLICT


def test_a_submodule_that_becomes_a_folder_again_is_edited_as_before(upstream: Upstream) -> None:
    upstream.edit()
    _submodule(upstream)
    assert upstream.judge(upstream.commit()).verdict is Verdict.CONFLICT
    upstream.git("rm", "--quiet", "--cached", "gpu")
    upstream.write("gpu/attn_one.py", FILE + "\n\nMORE = 1\n")
    assert upstream.judge(upstream.commit()).verdict in APPLIED


@pytest.mark.parametrize("form", ["sdist", "wheel", "archive", "debian-source"])
def test_only_git_proves_that_a_file_is_gone(upstream: Upstream, form: Form) -> None:
    upstream.edit()
    upstream.git("rm", "--quiet", "-r", "gpu")
    judgement = upstream.judge(upstream.commit(), form)
    assert judgement.verdict is Verdict.CONFLICT
    assert f"gpu/attn_one.py is not in this {form}" in judgement.cause
    upstream.write("gpu/attn_one.py", OTHER)
    assert upstream.judge(upstream.commit(), form).verdict is Verdict.OBSOLETE


@pytest.mark.parametrize(
    ("folder", "rules"),
    [
        ("", "/gpu/\n"),
        ("", "gpu/*\n!gpu/attn_one.py\n"),
        ("", "attn_*\n"),
        ("gpu", "/attn_one.py\n"),
        ("gpu", "!attn_one.py\n"),
        ("", "*.pyc\n/attn_one.py\n"),
        ("", "**/attn_?ne.py\n"),
        ("", "# attn_one.py\n\\!attn_one.py\n"),
    ],
)
def test_a_path_is_ignored_where_git_says_so(upstream: Upstream, folder: str, rules: str) -> None:
    upstream.edit()
    upstream.git("rm", "--quiet", "gpu/attn_one.py")
    upstream.write(f"{folder}/.gitignore".lstrip("/"), rules)
    upstream.git("add", "--force", f"{folder}/.gitignore".lstrip("/"))
    tree = upstream.commit()
    command = ["git", "-C", str(upstream.folder), "check-ignore", "--quiet", "gpu/attn_one.py"]
    ignored = subprocess.run(command, check=False).returncode == 0
    judgement = upstream.judge(tree)
    assert judgement.verdict is (Verdict.CONFLICT if ignored else Verdict.OBSOLETE)
    assert (".gitignore has git ignore it" in judgement.cause) is ignored


class TestKeeping:
    """`--retire` and `--bump` act on what is proven alone."""

    @pytest.mark.parametrize("case", ["a link", "a submodule above", "git ignores it", "a pointer"])
    def test_a_patch_whose_object_is_hidden_is_not_retired(
        self, upstream: Upstream, tmp_path: Path, case: str
    ) -> None:
        upstream.edit()
        HIDDEN[case][0](upstream)
        before = {path.name: path.read_bytes() for path in upstream.series.iterdir()}
        (change,) = self.retire(upstream, upstream.commit(), tmp_path)
        assert change.startswith("needs a person")
        assert {path.name: path.read_bytes() for path in upstream.series.iterdir()} == before

    def test_a_patch_whose_file_is_doubled_is_not_retired(
        self, upstream: Upstream, tmp_path: Path
    ) -> None:
        upstream.edit("gpu/attn_*.py")
        _second(upstream)
        (change,) = self.retire(upstream, upstream.commit(), tmp_path)
        assert change.startswith("needs a person")

    def test_a_patch_whose_object_is_gone_is_retired(
        self, upstream: Upstream, tmp_path: Path
    ) -> None:
        upstream.edit()
        upstream.git("rm", "--quiet", "-r", "gpu")
        (change,) = self.retire(upstream, upstream.commit(), tmp_path)
        assert change.startswith("retired")
        assert [path.name for path in upstream.series.iterdir()] == ["series"]

    def retire(self, upstream: Upstream, base: str, tmp_path: Path) -> list[str]:
        source = GitSource(kind="git", url="https://localhost/up")
        tree = SourceTree(
            upstream="up",
            version="1",
            source=source,
            tree=upstream.pin,
            commit=upstream.git("rev-parse", "pin"),
            epoch=1,
            passed_over=(),
        )
        bench = Bench(
            upstream="up",
            source=tree,
            patches=read_series(upstream.series),
            ladder=upstream.ladder(),
        )
        changes = refresh(
            [bench],
            [base],
            series=upstream.series,
            conflicts=tmp_path / "conflicts",
            retire=True,
            dry_run=False,
        )
        return [change.action for change in changes]

    @pytest.mark.parametrize(
        "case", ["a link", "a submodule elsewhere", "git ignores it", "a pointer"]
    )
    def test_no_bump_goes_to_where_a_patch_is_hidden(
        self, upstream: Upstream, journal: Journal, case: str
    ) -> None:
        upstream.edit("gpu/attn_*.py")
        upstream.write("keep.txt", "more\n")
        upstream.commit()
        whole = upstream.git("rev-parse", "HEAD")
        HIDDEN[case][0](upstream)
        upstream.commit()
        candidates = commit_candidates(
            upstream.folder, "pin", "main", upstream.store, limit=10
        ).candidates
        patches = read_series(upstream.series)
        matrix = scan(
            "up",
            "git",
            "pin",
            candidates,
            patches,
            upstream.ladder(),
            journal=journal,
            engine="test",
        )
        newest = matrix.newest_whole()
        assert newest is not None
        assert newest.commit == whole
        assert matrix.cells[0][-1].verdict is Verdict.CONFLICT


class TestConditions:
    """A condition sees what one sees who reads the files of the tree."""

    def apply(self, upstream: Upstream, after: str) -> str:
        operation = "replace: {call: os.listdir}\n        with: list_of_gpus()"
        upstream.edit(after=f"after:\n{after}", operation=operation)
        (patch,) = read_series(upstream.series)
        return apply_patch(upstream.commit(), patch, {}, store=upstream.store, where="up")

    def test_a_link_is_read_where_it_leads(self, upstream: Upstream) -> None:
        upstream.write("hidden/tool.py", "nvidia_smi()\n")
        (upstream.folder / "gpu/tool.py").symlink_to("../hidden/tool.py")
        with pytest.raises(
            PostConditionError, match=r"must be gone from gpu/\*\*, but it is in hidden/tool\.py"
        ):
            self.apply(upstream, '  - absent: {text: nvidia_smi, in: "gpu/**"}\n')

    def test_a_link_to_a_folder_is_read_where_it_leads(self, upstream: Upstream) -> None:
        upstream.write("hidden/tool.py", "nvidia_smi()\n")
        (upstream.folder / "gpu/tools").symlink_to("../hidden")
        for pattern in ("gpu/**", "gpu/tools/*.py", "gpu/tools/tool.py"):
            with pytest.raises(PostConditionError, match=r"but it is in hidden/tool\.py"):
                self.apply(upstream, f'  - absent: {{text: nvidia_smi, in: "{pattern}"}}\n')

    def test_what_a_link_leads_to_is_looked_at_on_every_tree(self, upstream: Upstream) -> None:
        upstream.write("hidden/tool.py", "fine()\n")
        (upstream.folder / "gpu/tool.py").symlink_to("../hidden/tool.py")
        upstream.pin = upstream.commit()
        upstream.edit(after='after:\n  - absent: {text: nvidia_smi, in: "gpu/**"}\n')
        upstream.write("hidden/tool.py", "nvidia_smi()\n")
        trees = [upstream.pin, upstream.commit()]
        ladder, patches = upstream.ladder(), read_series(upstream.series)
        assert [ladder.judge_series(tree, patches)[0].verdict for tree in trees] == [
            Verdict.CLEAN,
            Verdict.CONFLICT,
        ]

    def test_the_name_in_a_link_is_no_content(self, upstream: Upstream) -> None:
        upstream.write("hidden/nvidia_smi.py", "pass\n")
        (upstream.folder / "gpu/tool.py").symlink_to("../hidden/nvidia_smi.py")
        assert self.apply(upstream, '  - absent: {text: nvidia_smi, in: "gpu/**"}\n')

    def test_a_submodule_is_not_known_to_lack_anything(self, upstream: Upstream) -> None:
        upstream.gitlink("gpu/theirs")
        with pytest.raises(
            PostConditionError,
            match="nobody can say so: the submodule gpu/theirs is not in this source",
        ):
            self.apply(upstream, '  - absent: {text: nvidia_smi, in: "gpu/**"}\n')
        assert self.apply(upstream, '  - absent: {text: nvidia_smi, in: "gpu/*.py"}\n')

    def test_a_pointer_is_not_known_to_lack_anything(self, upstream: Upstream) -> None:
        upstream.write("gpu/data.py", POINTER)
        with pytest.raises(
            PostConditionError, match=r"nobody can say so: gpu/data\.py is a pointer of Git LFS"
        ):
            self.apply(upstream, '  - absent: {text: nvidia_smi, in: "gpu/**"}\n')

    def test_line_ends_are_the_files_own(self, upstream: Upstream) -> None:
        (upstream.folder / "gpu/dos.py").write_bytes(b"one\r\ntwo\r\n")
        with pytest.raises(PostConditionError, match=r"but it is in gpu/dos\.py"):
            self.apply(upstream, '  - absent: {text: "one\\ntwo", in: "gpu/**"}\n')

    @pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "utf-8"])
    def test_text_is_found_in_whatever_unicode_a_file_has(
        self, upstream: Upstream, encoding: str
    ) -> None:
        (upstream.folder / "gpu/wide.txt").write_bytes(
            "needs nvidia_smi, für alle\n".encode(encoding)
        )
        for text in ("nvidia_smi", "für"):
            with pytest.raises(PostConditionError, match=r"but it is in gpu/wide\.txt"):
                self.apply(upstream, f'  - absent: {{text: "{text}", in: "gpu/**"}}\n')

    def test_what_is_not_ascii_cannot_be_missed_in_bytes_of_no_known_meaning(
        self, upstream: Upstream
    ) -> None:
        (upstream.folder / "gpu/old.txt").write_bytes(b"f\xfcr alle\n")
        with pytest.raises(
            PostConditionError, match=r"gpu/old\.txt is not UTF-8 and does not say what it is"
        ):
            self.apply(upstream, '  - absent: {text: "für", in: "gpu/**"}\n')


def test_code_that_may_have_gone_into_a_pointer_is_not_gone(upstream: Upstream) -> None:
    upstream.edit()
    upstream.git("rm", "--quiet", "-r", "gpu")
    upstream.write("accelerator/attn.txt", POINTER)
    assert (
        upstream.judge(upstream.commit()).verdict is Verdict.OBSOLETE
    )  # no code of this language is in a text
    upstream.write("accelerator/attn.py", POINTER)
    judgement = upstream.judge(upstream.commit())
    assert judgement.verdict is Verdict.CONFLICT
    assert (
        "may be in accelerator/attn.py: accelerator/attn.py is a pointer of Git LFS"
        in judgement.cause
    )


def test_nothing_is_put_in_the_place_of_a_submodule(upstream: Upstream) -> None:
    upstream.gitlink("theirs")
    tree = upstream.commit()
    for path in ("theirs/new.py", "theirs"):
        (upstream.series / "series").write_text("0001-e.edit.yaml\n", encoding="utf-8")
        text = f"{HEADER}edits:\n  - add: {path}\n    content: |\n      x = 1\n"
        (upstream.series / "0001-e.edit.yaml").write_text(text, encoding="utf-8")
        (patch,) = read_series(upstream.series)
        with pytest.raises(PatchConflictError, match="'theirs' is a submodule"):
            apply_patch(tree, patch, {}, store=upstream.store, where="up")


def test_an_edit_that_names_a_link_says_what_it_leads_to(upstream: Upstream) -> None:
    _linked(upstream)
    upstream.edit()
    (patch,) = read_series(upstream.series)
    with pytest.raises(
        PatchConflictError,
        match=r"is a symbolic link to 'real_name\.py'; it leads to gpu/real_name\.py: name that",
    ):
        apply_patch(upstream.commit(), patch, {}, store=upstream.store, where="up")


@pytest.mark.parametrize("aim", ["attn_one.py", "loop_two.py", "../../out.py", "/etc/passwd"])
def test_links_that_lead_nowhere_are_refused_and_end(upstream: Upstream, aim: str) -> None:
    upstream.git("rm", "--quiet", "gpu/attn_one.py")
    (upstream.folder / "gpu").mkdir(exist_ok=True)
    (upstream.folder / "gpu/attn_one.py").symlink_to(aim)
    (upstream.folder / "gpu/loop_two.py").symlink_to("attn_one.py")
    upstream.edit()
    (patch,) = read_series(upstream.series)
    with pytest.raises(PatchConflictError, match="no file of this tree is there"):
        apply_patch(upstream.commit(), patch, {}, store=upstream.store, where="up")


def test_a_diff_of_a_file_that_is_a_pointer_says_so(upstream: Upstream) -> None:
    upstream.patch(lambda: upstream.write("gpu/attn_one.py", FILE.replace("- 41", "- 42")))
    _pointer(upstream)
    (patch,) = read_series(upstream.series)
    with pytest.raises(PatchConflictError, match=r"gpu/attn_one\.py is a pointer of Git LFS"):
        apply_patch(upstream.commit(), patch, {}, store=upstream.store, where="up")
