from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING

import pytest
from pygit2.enums import FileMode

from forkhouse.core.errors import (
    HashMismatchError,
    NoEffectError,
    PatchConflictError,
    PostConditionError,
    UnsafeArchiveError,
)
from forkhouse.core.journal import Journal
from forkhouse.documents.lockfile import WheelSource
from forkhouse.patches.apply import PatchedTree, apply_series
from forkhouse.patches.series import read_series
from forkhouse.patches.textual import map_path
from forkhouse.sources.acquire import SourceTree
from forkhouse.sources.store import ObjectStore, TreeFile

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FILES = {
    "pkg/a.py": "import os\nX = 1\n",
    "pkg/b.py": "X = 1\n",
    "run.sh": "echo one\necho two\necho three\n",
    "data.bin": "\udcff\x00",
}
HEADER = "Description: d\nOrigin: o\nForwarded: no\nRetire-When: never\n"
EDIT = f"Subject: Say two\n{HEADER}" + dedent(
    """\
    edits:
      - path: pkg/a.py
        language: python
        operations:
          - replace: {pattern: X = 1}
            with: X = 2
    after:
      - present: {text: X = 2, in: pkg/a.py}
      - absent: {text: X = 1, in: pkg/a.py}
    """
)


def diff(path: str, *hunk: str, old: str | None = None) -> str:
    name = path if old is None else old
    return "\n".join(
        [
            "From: T <t@localhost>",
            "Subject: [PATCH] Change",
            "",
            "---",
            f"diff --git a/{name} b/{path}",
            f"--- a/{name}",
            f"+++ b/{path}",
            *hunk,
            "",
        ]
    )


def added(path: str) -> str:
    return "\n".join(
        [
            "From: T <t@localhost>",
            "Subject: Add",
            "",
            f"diff --git a/{path} b/{path}",
            "new file mode 100644",
            "--- /dev/null",
            f"+++ b/{path}",
            "@@ -0,0 +1 @@",
            "+new",
            "",
        ]
    )


GOOD = diff("run.sh", "@@ -1,3 +1,3 @@", " echo one", "-echo two", "+echo 2", " echo three")


class Bench:
    """One checkout's series and source."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = ObjectStore(folder / "store")
        self.journal = Journal(folder / "journal")

    def apply(
        self,
        patches: Mapping[str, str],
        *,
        paths: Mapping[str, str] | None = None,
        files: Mapping[str, str] | None = None,
        patched_tree: str | None = None,
    ) -> PatchedTree:
        """Apply patches (name to text) to a source that is a wheel."""
        series = self.folder / "demo"
        series.mkdir(exist_ok=True)
        for path in series.iterdir():
            path.unlink()
        for name, text in patches.items():
            (series / name).write_text(text, encoding="utf-8")
        (series / "series").write_text("\n".join(patches), encoding="utf-8")
        tree = self.store.import_files(
            TreeFile(
                path=path,
                content=text.encode("utf-8", "surrogateescape"),
                mode=FileMode.BLOB_EXECUTABLE if path.endswith(".sh") else FileMode.BLOB,
            )
            for path, text in (files or FILES).items()
        )
        source = SourceTree(
            upstream="demo",
            version="1.0",
            source=WheelSource(
                kind="wheel",
                package="demo",
                file="demo-1.0-py3-none-any.whl",
                sha256="0" * 64,
                paths=dict(paths or {}),
                patched_tree=patched_tree,
            ),
            tree=tree,
            commit=self.store.commit(tree, message="base\n", epoch=1_700_000_000),
            epoch=1_700_000_000,
            passed_over=(),
        )
        return apply_series(
            source, read_series(series), store=self.store, journal=self.journal, engine="test"
        )

    def text(self, tree: str, path: str) -> str:
        return self.store.read(tree, path).decode()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_series_is_applied_in_order_and_each_patch_is_a_commit(bench: Bench) -> None:
    patched = bench.apply(
        {"0001-a.patch": GOOD, "0002-b.edit.yaml": EDIT, "0003-c.patch": added("pkg/new.txt")}
    )
    assert patched.applied == ("0001-a.patch", "0002-b.edit.yaml", "0003-c.patch")
    assert bench.text(patched.tree, "run.sh") == "echo one\necho 2\necho three\n"
    assert bench.text(patched.tree, "pkg/a.py") == "import os\nX = 2\n"
    assert bench.text(patched.tree, "pkg/new.txt") == "new\n"
    modes = {file.path: file.mode for file in bench.store.files(patched.tree)}
    assert modes["run.sh"] == FileMode.BLOB_EXECUTABLE
    subjects = [
        commit.message.splitlines()[0] for commit in bench.store.repository.walk(patched.commit)
    ]
    assert subjects == ["Add", "Say two", "Change", "base"]
    assert "Retire-When: never" in next(
        c.message
        for c in bench.store.repository.walk(patched.commit)
        if c.message.startswith("Say")
    )


def test_two_checkouts_give_the_same_tree_and_commit_ids(tmp_path: Path) -> None:
    patched = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        patched.append(
            Bench(tmp_path / name).apply({"0001-a.patch": GOOD, "0002-b.edit.yaml": EDIT})
        )
    assert (patched[0].tree, patched[0].commit) == (patched[1].tree, patched[1].commit)


def test_no_patches_leave_the_tree_as_it_is(bench: Bench) -> None:
    patched = bench.apply({})
    assert (patched.tree, patched.commit) == (patched.source.tree, patched.source.commit)


def test_a_patch_for_other_forms_is_left_out_and_named(bench: Bench) -> None:
    patched = bench.apply(
        {
            "0001-a.edit.yaml": EDIT.replace("edits:", "Forms: [git]\nedits:", 1),
            "0002-b.patch": GOOD,
        }
    )
    assert patched.applied == ("0002-b.patch",)
    assert patched.not_for_form == ("0001-a.edit.yaml",)


def test_the_same_inputs_are_taken_from_the_journal(bench: Bench) -> None:
    first = bench.apply({"0001-a.patch": GOOD})
    entry = next((bench.folder / "journal").rglob("*.json"))
    before = entry.stat().st_mtime_ns
    assert bench.apply({"0001-a.patch": GOOD}) == first
    assert entry.stat().st_mtime_ns == before
    bench.store = ObjectStore(bench.folder / "lost")
    assert bench.apply({"0001-a.patch": GOOD}) == first


def test_a_tree_that_differs_from_the_lock_is_refused(bench: Bench) -> None:
    right = bench.apply({"0001-a.patch": GOOD}).tree
    assert bench.apply({"0001-a.patch": GOOD}, patched_tree=right).tree == right
    with pytest.raises(
        HashMismatchError, match=rf"demo: the patched tree is {right}, the lock says {'1' * 40}"
    ):
        bench.apply({"0001-a.patch": GOOD}, patched_tree="1" * 40)


@pytest.mark.parametrize(
    "files",
    [{"pkg/a.py": "X = 3\n"}, {"pkg/a.py": "X = 1\nX = 1\n"}, {"pkg/other.py": "X = 1\n"}],
    ids=["no match", "two matches", "no file"],
)
def test_an_edit_that_does_not_match_once_is_refused(bench: Bench, files: dict[str, str]) -> None:
    with pytest.raises(
        PatchConflictError, match=r"demo/0001-a\.edit\.yaml: .*matche[sd] [02] .*expected 1"
    ):
        bench.apply({"0001-a.edit.yaml": EDIT}, files=files)


def test_a_pattern_of_files_must_match_one(bench: Bench) -> None:
    one = EDIT.replace("path: pkg/a.py", "path: '*/a.py'")
    assert bench.apply({"0001-a.edit.yaml": one}).applied
    with pytest.raises(PatchConflictError, match=r"'\*/\?\.py' matches 2 files, expected 1"):
        bench.apply({"0001-a.edit.yaml": EDIT.replace("path: pkg/a.py", "path: '*/?.py'")})


def test_an_edit_of_a_file_that_is_no_text_is_refused(bench: Bench) -> None:
    edit = (
        EDIT.replace("path: pkg/a.py", "path: data.bin")
        .replace("language: python", "language: text")
        .replace("pattern", "anchor")
    )
    with pytest.raises(PatchConflictError, match=r"demo/0001-a\.edit\.yaml: data\.bin is binary"):
        bench.apply({"0001-a.edit.yaml": edit})


@pytest.mark.parametrize(
    "hunk",
    [
        ("@@ -1,3 +1,3 @@", " echo one", "-echo 2", "+echo zwei", " echo three"),
        ("@@ -1,3 +1,3 @@", " echo uno", "-echo two", "+echo zwei", " echo three"),
        ("@@ -1,3 +1,3 @@", " echo one", "-echo two", "+echo zwei", " echo four"),
    ],
    ids=["removed line", "line before", "line after"],
)
def test_a_hunk_whose_context_differs_is_never_applied_with_fuzz(
    bench: Bench, hunk: tuple[str, ...]
) -> None:
    with pytest.raises(PatchConflictError, match=r"demo/0001-a\.patch does not apply: .*fuzz"):
        bench.apply({"0001-a.patch": diff("run.sh", *hunk)})


def test_a_diff_of_a_file_that_is_gone_is_refused(bench: Bench) -> None:
    with pytest.raises(PatchConflictError, match=r"demo/0001-a\.patch does not apply"):
        bench.apply({"0001-a.patch": diff("gone.sh", "@@ -1 +1 @@", "-a", "+b")})


def test_a_patch_that_was_applied_already_is_not_applied_in_reverse(bench: Bench) -> None:
    with pytest.raises(PatchConflictError, match=r"demo/0001-a\.patch does not apply"):
        bench.apply(
            {"0001-a.patch": GOOD}, files={**FILES, "run.sh": "echo one\necho 2\necho three\n"}
        )


def test_a_patch_that_changes_nothing_is_refused(bench: Bench) -> None:
    same = EDIT.replace("with: X = 2", "with: X = 1").split("after:")[0]
    with pytest.raises(NoEffectError, match=r"demo/0001-a\.edit\.yaml applied and changed nothing"):
        bench.apply({"0001-a.edit.yaml": same})


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (
            "absent: {text: X = 1, in: 'pkg/**'}",
            r"'X = 1' must be gone from pkg/\*\*, but it is in pkg/b\.py",
        ),
        (
            "present: {text: X = 3, in: 'pkg/**'}",
            r"no file of pkg/\*\* \(2 files\) was found to hold 'X = 3'",
        ),
        ("present: {text: X = 2, in: gone.py}", r"no file of gone\.py \(0 files\)"),
        ("absent: {text: X = 2, in: gone.py}", r"no file of gone\.py \(0 files\)"),
    ],
)
def test_a_broken_condition_is_refused(bench: Bench, condition: str, message: str) -> None:
    edit = f"{EDIT.split('after:', maxsplit=1)[0]}after:\n  - {condition}\n"
    with pytest.raises(PostConditionError, match=rf"demo/0001-a\.edit\.yaml: {message}"):
        bench.apply({"0001-a.edit.yaml": edit})


METADATA = (
    "Metadata-Version: 2.1\nRequires-Dist: torch\nProvides-Extra: gpu\nRequires-Dist: "
    "cupy-cuda13x; extra == 'gpu'\n\nabout nixl\n"
)
PYPROJECT = (
    "[project]\n# not nixl\ndependencies = ['torch']\n[project.optional-dependencies]\ngpu = "
    "['CuPy-CUDA12x>=13']\n"
)


@pytest.mark.parametrize(
    "file",
    [{"demo.dist-info/METADATA": METADATA}, {"pyproject.toml": PYPROJECT}],
    ids=["wheel", "checkout"],
)
def test_a_condition_on_a_requirement_reads_declarations_in_every_form(
    bench: Bench, file: dict[str, str]
) -> None:
    def apply(condition: str) -> PatchedTree:
        edit = f"{EDIT.split('after:', maxsplit=1)[0]}after:\n  - {condition}\n"
        return bench.apply({"0001-a.edit.yaml": edit}, files={**FILES, **file})

    where = 'in: [pyproject.toml, "*.dist-info/METADATA"]'
    # The text is in both: in the description, and in a comment.
    assert apply(f"absent: {{requirement: nixl, {where}}}").applied
    assert apply(f"present: {{requirement: Torch, {where}}}").applied
    (path,) = file
    with pytest.raises(
        PostConditionError,
        match=rf"the requirement 'cupy-cuda\*' must be gone from .*, but it is in {path}",
    ):
        apply(f"absent: {{requirement: 'cupy-cuda*', {where}}}")
    with pytest.raises(
        PostConditionError, match=r"\(1 files\) was found to hold the requirement 'cupy'"
    ):
        apply(f"present: {{requirement: cupy, {where}}}")


def test_a_project_that_cannot_be_read_passes_for_one_that_asks(bench: Bench) -> None:
    edit = (
        f"{EDIT.split('after:', maxsplit=1)[0]}after:\n  - absent: {{requirement: 'cupy-cuda*', "
        "in: pyproject.toml}\n"
    )
    with pytest.raises(PostConditionError, match="must be gone"):
        bench.apply(
            {"0001-a.edit.yaml": edit},
            files={**FILES, "pyproject.toml": "[project]\ndependencies = [\n'cupy-cuda12x'\n"},
        )


def test_what_has_no_name_breaks_a_condition_that_something_is_gone(bench: Bench) -> None:
    def apply(condition: str) -> PatchedTree:
        edit = f"{EDIT.split('after:', maxsplit=1)[0]}after:\n  - {condition}\n"
        return bench.apply(
            {"0001-a.edit.yaml": edit},
            files={**FILES, "r/a.txt": "-r b.txt\n", "r/b.txt": "torch\n-e .\n"},
        )

    with pytest.raises(
        PostConditionError,
        match=r"must be gone from r/a\.txt, and nobody can say so: r/a\.txt, line 2 of r/b\.txt: "
        r"'\.' is",
    ):
        apply("absent: {requirement: nixl, in: r/a.txt}")
    with pytest.raises(PostConditionError, match=r"but it is in r/a\.txt \(line 1 of r/b\.txt\)"):
        apply("absent: {requirement: torch, in: r/a.txt}")
    with pytest.raises(
        PostConditionError,
        match=r"\(1 files\) was found to hold .* as the condition expects\. r/a\.txt, line 2",
    ):
        apply("present: {requirement: nixl, in: r/a.txt}")
    assert apply("present: {requirement: torch, in: r/a.txt}").applied


def test_a_failed_series_leaves_no_record(bench: Bench) -> None:
    with pytest.raises(PatchConflictError):
        bench.apply({"0001-a.patch": GOOD, "0002-b.patch": GOOD})
    assert not list((bench.folder / "journal").rglob("*.json"))


HOSTILE = [
    "../evil",
    "pkg/../../evil",
    "/etc/passwd",
    ".git/hooks/post-checkout",
    "pkg/.GIT/config",
    "pkg/git~1/config",
    ".git./config",
]


@pytest.mark.parametrize("path", HOSTILE)
def test_a_patch_that_leaves_the_tree_is_refused(bench: Bench, path: str) -> None:
    with pytest.raises(
        UnsafeArchiveError,
        match=r"demo/0001-a\.patch names the path '.*', which leaves the tree or enters \.git",
    ):
        bench.apply({"0001-a.patch": added(path)})


def test_a_rename_out_of_the_tree_is_refused(bench: Bench) -> None:
    text = (
        "Subject: Move\n\ndiff --git a/run.sh b/../evil\nsimilarity index 100%\nrename from "
        "run.sh\nrename to ../evil\n"
    )
    with pytest.raises(UnsafeArchiveError, match=r"names the path '\.\./evil'"):
        bench.apply({"0001-a.patch": text})


@pytest.mark.parametrize("mode", ["120000", "160000"], ids=["link", "submodule"])
def test_a_patch_that_makes_a_link_or_a_submodule_is_refused(bench: Bench, mode: str) -> None:
    for text in (
        added("pkg/new").replace("100644", mode),
        GOOD.replace("--- a/", f"old mode 100644\nnew mode {mode}\n--- a/", 1),
    ):
        with pytest.raises(
            UnsafeArchiveError, match=r"demo/0001-a\.patch makes a symbolic link or a submodule"
        ):
            bench.apply({"0001-a.patch": text})


def test_what_git_cannot_read_as_a_diff_is_refused(bench: Bench) -> None:
    with pytest.raises(
        PatchConflictError, match=r"demo/0001-a\.patch is not a diff that git can read"
    ):
        bench.apply({"0001-a.patch": diff("run.sh", "@@ one @@", "-echo one")})


ADD = f"Subject: Add\n{HEADER}edits:\n  - add: src/pkg/new.py\n    content: |\n      NEW = 1\n"


def test_an_edit_adds_a_file_of_ours(bench: Bench) -> None:
    patched = bench.apply({"0001-a.edit.yaml": ADD}, paths={"src/": ""})
    assert bench.text(patched.tree, "pkg/new.py") == "NEW = 1\n"


def test_an_edit_never_overwrites_a_file_of_the_upstream(bench: Bench) -> None:
    with pytest.raises(
        PatchConflictError,
        match=r"demo/0001-a\.edit\.yaml: pkg/new\.py is to be added, and the upstream has another "
        r"file",
    ):
        bench.apply(
            {"0001-a.edit.yaml": ADD},
            paths={"src/": ""},
            files={**FILES, "pkg/new.py": "NEW = 2\n"},
        )
    with pytest.raises(NoEffectError, match="applied and changed nothing"):
        bench.apply(
            {"0001-a.edit.yaml": ADD},
            paths={"src/": ""},
            files={**FILES, "pkg/new.py": "NEW = 1\n"},
        )


@pytest.mark.parametrize("path", [*HOSTILE, "pkg/./new", "pkg//new"])
def test_an_edit_adds_no_file_outside_the_tree(bench: Bench, path: str) -> None:
    with pytest.raises(UnsafeArchiveError, match=r"leaves the tree|is refused"):
        bench.apply({"0001-a.edit.yaml": ADD.replace("src/pkg/new.py", path)})


@pytest.mark.parametrize(("path", "clash"), [("pkg/a.py/new", r"pkg/a\.py"), ("pkg", "pkg")])
def test_neither_a_file_nor_a_folder_is_replaced_by_the_other(
    bench: Bench, path: str, clash: str
) -> None:
    with pytest.raises(
        PatchConflictError,
        match=rf"demo/0001-a\.edit\.yaml: '{clash}' would be a file and a folder at once",
    ):
        bench.apply({"0001-a.edit.yaml": ADD.replace("src/pkg/new.py", path)})
    with pytest.raises(
        PatchConflictError,
        match=rf"demo/0001-a\.patch does not apply: '{clash}' would be a file and a folder at once",
    ):
        bench.apply({"0001-a.patch": added(path)})


def test_a_file_that_becomes_a_folder_does_so(bench: Bench) -> None:
    gone = (
        diff("pkg/b.py", "@@ -1 +0,0 @@", "-X = 1")
        .replace("+++ b/pkg/b.py", "+++ /dev/null")
        .replace("--- a/", "deleted file mode 100644\n--- a/")
    )
    patched = bench.apply({"0001-a.patch": gone + added("pkg/b.py/new").partition("\n\n")[2]})
    assert bench.text(patched.tree, "pkg/b.py/new") == "new\n"
    back = {
        "pkg/b.py/new": "new\n",
        **{path: text for path, text in FILES.items() if path != "pkg/b.py"},
    }
    gone = gone.replace("pkg/b.py", "pkg/b.py/new").replace("-X = 1", "-new")
    patched = bench.apply(
        {"0001-a.patch": gone + added("pkg/b.py").partition("\n\n")[2]}, files=back
    )
    assert bench.text(patched.tree, "pkg/b.py") == "new\n"


def test_a_spelled_out_path_does_not_leave_the_tree_either(bench: Bench) -> None:
    text = added("x").replace("b/x", r'"b/\056\056/evil"')
    with pytest.raises((UnsafeArchiveError, PatchConflictError)):
        bench.apply({"0001-a.patch": text})


def test_the_upstreams_paths_are_mapped_to_the_form(bench: Bench) -> None:
    edit = EDIT.replace("path: pkg/", "path: src/pkg/").replace("in: pkg/", "in: src/pkg/")
    patches = {"0001-a.edit.yaml": edit, "0002-b.patch": added("src/pkg/new.txt")}
    patched = bench.apply(patches, paths={"src/": ""})
    assert bench.text(patched.tree, "pkg/a.py") == "import os\nX = 2\n"
    assert bench.text(patched.tree, "pkg/new.txt") == "new\n"
    # A path that leaves the tree only after it was mapped leaves it all the same.
    with pytest.raises(UnsafeArchiveError, match="leaves the tree"):
        bench.apply({"0001-a.patch": added("src/pkg/new.txt")}, paths={"src/": "../"})


def test_the_longest_prefix_decides() -> None:
    paths = {"a/": "x/", "a/b/": ""}
    assert [map_path(path, paths) for path in ("a/c", "a/b/c", "ab/c", "c")] == [
        "x/c",
        "c",
        "ab/c",
        "c",
    ]
