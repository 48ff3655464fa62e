"""Textual patches against git itself.

The trees that `git apply` and `git am` give, or a refusal that is listed here.
"""

from __future__ import annotations

import base64
import itertools
import os
import quopri
import random
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pygit2.enums import FileMode

from forkhouse.core.errors import ForkhouseError, PatchConflictError, SeriesError
from forkhouse.flow.authoring import format_patch
from forkhouse.patches.merging import difference, parts_between
from forkhouse.patches.rendered import rendered
from forkhouse.patches.series import read_patch
from forkhouse.patches.textual import apply_exactly, is_there, read_diff
from forkhouse.sources.store import ObjectStore, TreeFile
from tests.somebody import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forkhouse.patches.diffs import Diff

Files = dict[str, tuple[bytes, int]]
"""Content and permissions by path."""
NAMES = [
    "a.txt",
    "b.txt",
    "d/c.py",
    "d/e e.txt",
    "café.txt",
    "t\tab.txt",
    'q"uote.txt',
    "back\\slash",
    "d/x/y/z",
    "-- lead",
    "b b/c b/d",
    "A.TXT",
]
LINES = [
    *(
        b"alpha",
        b"beta",
        b"gamma",
        b"}",
        b"",
        b"-- /etc/x",
        b"++ b/x",
        b"--- a/x",
        b"diff --git a/x b/x",
        b"@@ -1 +1 @@",
    ),
    *(
        b"\x0c",
        b"caf\xe9",
        b"  x = 1",
        b"\\ No newline at end of file",
        b"From abc Mon Sep 17 00:00:00 2001",
        b"---",
    ),
]
PERSON = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "T"), ("EMAIL", "t@localhost"))
}


class Git:
    """The real git, on the same objects."""

    def __init__(self, folder: Path) -> None:
        self.store = ObjectStore(folder / "store")
        self.folder = folder
        self.indexes: dict[str, bytes] = {}
        """What git's index holds of a tree: to read the tree again takes as long as a patch."""

    def run(self, *arguments: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        environment = {
            **os.environ,
            **SETTINGS,
            **PERSON,
            "GIT_INDEX_FILE": str(self.folder / "index"),
        }
        command = ["git", "-C", str(self.store.folder), *arguments]
        return subprocess.run(
            command, input=data, env=environment, capture_output=True, check=False
        )

    def tree(self, files: Files) -> str:
        modes = {0o644: FileMode.BLOB, 0o755: FileMode.BLOB_EXECUTABLE, 0o120000: FileMode.LINK}
        return self.store.import_files(
            TreeFile(path=path, content=content, mode=modes[mode])
            for path, (content, mode) in files.items()
        )

    def diff(self, before: str, after: str, *options: str) -> bytes:
        return self.run(
            "-c",
            f"core.quotePath={'true' if len(options) % 2 else 'false'}",
            "diff-tree",
            "-p",
            *options,
            before,
            after,
        ).stdout

    def applied(self, tree: str, patch: bytes, *options: str) -> str:
        """Return the tree that git makes, nothing when it refuses."""
        index = self.folder / "index"
        if tree not in self.indexes:
            assert not self.run("read-tree", tree).returncode
            self.indexes[tree] = index.read_bytes()
        index.write_bytes(self.indexes[tree])
        return (
            ""
            if self.run("apply", "--cached", *options, "-", data=patch).returncode
            else self.run("write-tree").stdout.decode().strip()
        )

    def mailed(self, commit: str, mail: bytes) -> str:
        """Return the tree that `git am` makes of a commit, nothing when it refuses."""
        work = Path(tempfile.mkdtemp(dir=self.folder))

        def run(*arguments: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
            return subprocess.run(
                ["git", "-C", str(work), *arguments],
                input=data,
                env={**os.environ, **SETTINGS, **PERSON},
                capture_output=True,
                check=False,
            )

        for command in (
            ["init", "-q"],
            ["fetch", "-q", str(self.store.folder), commit],
            ["reset", "-q", "--hard", commit],
        ):
            assert not run(*command).returncode
        done = run("am", "-q", data=mail)
        return "" if done.returncode else run("rev-parse", "HEAD^{tree}").stdout.decode().strip()

    def ours(self, tree: str, patch: bytes) -> tuple[str, str]:
        """Return the tree that we make, or nothing and why."""
        try:
            return apply_exactly(tree, self.read(tree, patch), store=self.store), ""
        except ForkhouseError as error:
            return "", str(error)

    def read(self, tree: str, patch: bytes) -> tuple[Diff, ...]:
        headed = patch if patch.startswith((b"From ", b"Subject: ")) else b"Subject: T\n\n" + patch
        return read_diff(
            read_patch("up/0001-t.patch", headed),
            {},
            tree,
            store=self.store,
            where="up/0001-t.patch",
        )


@pytest.fixture
def git(tmp_path: Path) -> Git:
    return Git(tmp_path)


def content(chance: random.Random) -> bytes:
    if chance.random() < 0.15:
        return chance.choice([b"", b"\0" + chance.randbytes(90)])
    end = chance.choice([b"\n"] * 9 + [b"\r\n"])
    unique = chance.random() < 0.5
    text = b"".join(
        chance.choice(LINES) + (b" %d" % number if unique else b"") + end
        for number in range(chance.choice([1, 2, 3, 8, 20, 40]))
    )
    return text.removesuffix(end) if chance.random() < 0.2 else text


def changed(chance: random.Random, text: bytes) -> bytes:
    lines = text.split(b"\n")
    for _ in range(chance.choice([1, 1, 2, 3])):
        place = chance.randrange(len(lines))
        match chance.randrange(3):
            case 0:
                lines.insert(place, chance.choice(LINES) + b"!")
            case 1 if len(lines) > 1:
                del lines[place]
            case _:
                lines[place] = chance.choice(LINES) + b"?"
    return b"\n".join(lines)


def step(chance: random.Random, files: Files) -> Files:
    """Return another state of a tree.

    Files that changed, came, went, got other names or modes, were copied or changed places.
    """
    files = dict(files)
    for _ in range(chance.choice([1, 1, 2, 3, 4])):
        path, other = chance.choice(sorted(files)), chance.choice(sorted(files))
        free = [
            name
            for name in NAMES
            if not any(
                f"{name}/".startswith(f"{each}/") or each.startswith(f"{name}/") for each in files
            )
        ]
        name = chance.choice(free)
        was, mode = files[path]
        match chance.randrange(8):
            case 0 | 1:
                files[path] = changed(chance, was), mode
            case 2:
                files[name] = content(chance), chance.choice([0o644, 0o755])
            case 3 if len(files) > 1:
                del files[path]
            case 4:
                del files[path]
                files[name] = chance.choice([was, changed(chance, was)]), mode
            case 5:
                files[name] = chance.choice([was, changed(chance, was)]), mode
            case 6:
                files[path] = was, mode ^ 0o111
            case _:
                files[path], files[other] = files[other], files[path]
    return files


def begun(chance: random.Random) -> Files:
    return {
        name: (content(chance), chance.choice([0o644, 0o755]))
        for name in chance.sample([name for name in NAMES if "/" not in name], 4)
    }


OPTIONS = [
    "-M",
    "-C",
    "-B",
    "--find-copies-harder",
    "--full-index",
    "--no-prefix",
    "--patience",
    "-W",
    "--inter-hunk-context=2",
    "-D",
    "-U0",
    "-U1",
    "-U5",
]
"""Of git's options for making diffs, those that change how they look."""


@pytest.mark.parametrize("start", range(0, 30, 15))
def test_git_gives_the_same_trees_on_exact_and_on_drifted_bases(git: Git, start: int) -> None:
    same = 0
    for seed in range(start, start + 15):
        chance = random.Random(seed)
        files = begun(chance)
        made = step(chance, files)
        before, after = git.tree(files), git.tree(made)
        options = [
            *(option for option in OPTIONS if chance.random() < 0.25),
            *chance.choice([["--binary"], ["--binary"], []]),
        ]
        patch = git.diff(before, after, *options)
        if not patch:
            continue
        flags = [
            *(["-p0"] if "--no-prefix" in options else []),
            *(["--unidiff-zero"] if "-U0" in options else []),
        ]
        drifted = dict(files)
        path = chance.choice(sorted(files))
        drifted[path] = (
            chance.choice(
                [
                    changed(chance, files[path][0]),
                    b"first\n" + files[path][0],
                    files[path][0] + b"last\n",
                ]
            ),
            files[path][1],
        )
        headed = b"Subject: T\nStrip: 0\n\n" + patch if "--no-prefix" in options else patch
        for base in (before, git.tree(drifted), after):
            theirs, (ours, why) = git.applied(base, patch, *flags), git.ours(base, headed)
            if theirs != ours:
                # What we refuse beyond git: a place that is a guess, and a binary file of which the
                # patch does not hold the content.
                listed = [
                    "have no context",
                    "want an empty file",
                    "hold whole ids",
                    "git diff --binary",
                ]
                assert not ours, (seed, options)
                assert any(each in why for each in listed) or "-U0" in options, (seed, options, why)
            same += theirs == ours != ""
            if base == before and ours:
                assert ours == after, (seed, options)
                assert is_there(after, git.read(base, headed), store=git.store), (seed, options)
        assert (
            apply_exactly(before, [parts_between(before, after, store=git.store)], store=git.store)
            == after
        ), seed
        assert git.applied(before, rendered(before, after, git.store)) == after, seed
    assert same > 15  # most of them apply


def test_a_mailbox_gives_the_tree_of_its_last_commit(git: Git) -> None:
    right = 0
    for seed in range(10):
        chance = random.Random(seed)
        states = [begun(chance)]
        for _ in range(3):
            states.append(step(chance, states[-1]))
        trees = [git.tree(state) for state in states]
        commit = ""
        commits = []
        for tree in trees:
            text = chance.choice(
                [
                    "Words",
                    "Words\n\nfrom a/x\n--- a/x\n",
                    "Words\n\ndiff --git a/x b/x was run",
                    "Words\n\nrename from ../x",
                ]
            )
            commit = (
                git.run("commit-tree", tree, *(["-p", commit] if commit else []), "-m", f"{text}\n")
                .stdout.decode()
                .strip()
            )
            commits.append(commit)
        options = [
            option
            for option in ("-M", "-C", "--full-index", "--cover-letter", "--no-signature")
            if chance.random() < 0.4
        ]
        mails = git.run(
            "format-patch", "--stdout", "--binary", *options, f"{commits[0]}..{commits[-1]}"
        ).stdout
        if mails:
            assert git.ours(trees[0], mails) == (trees[-1], ""), seed
            assert is_there(trees[-1], git.read(trees[0], mails), store=git.store), seed
            right += 1
    assert right > 6


TEN = b"".join(b"line %d\n" % number for number in range(10))


def shape(head: str, *lines: str) -> bytes:
    return "\n".join([head, *lines, ""]).encode()


def change(name: str, *lines: str) -> bytes:
    return shape(f"diff --git a/{name} b/{name}\n--- a/{name}\n+++ b/{name}", *lines)


def moved(verb: str, old: str, new: str, *lines: str) -> bytes:
    return shape(f"diff --git a/{old} b/{new}\n{verb} from {old}\n{verb} to {new}", *lines)


APPEND = ("@@ -8,3 +8,4 @@", " line 7", " line 8", " line 9", "+more")


def new(name: str) -> bytes:
    return shape(
        f"diff --git a/{name} b/{name}\nnew file mode 100644\n--- /dev/null\n+++ b/{name}\n@@ -0,0 "
        "+1 @@\n+new"
    )


NEW = new("n")
GONE = shape(
    "diff --git a/two b/two\ndeleted file mode 100644\n--- a/two\n+++ /dev/null\n@@ -1,2 +0,0 "
    "@@\n-1\n-2"
)
TAKEN = "to be made by a {}, and is there already"


@pytest.mark.parametrize(
    ("patch", "why"),
    [
        pytest.param(change("f", *APPEND) + change("f", "@@ -1,2 +1,2 @@", "-line 0", "+zero",
            " line 1"), "", id="a later part goes on"),
        pytest.param(change("f", *APPEND) + change("f", "@@ -8,4 +8,4 @@", " line 7", " line 8",
            " line 9", "-more", "+less"), "", id="on its line"),
        pytest.param(moved("copy", "f", "g") + change("f", *APPEND), "",
                     id="a copy is of the file as it was"),
        pytest.param(change("f", *APPEND) + moved("copy", "f", "g"), "",
                     id="a copy after the change, too"),
        pytest.param(moved("rename", "f", "g") + change("g", *APPEND), "",
                     id="what a rename made is changed"),
        pytest.param(moved("rename", "f", "two") + moved("rename", "two", "f"), "", id="swapped"),
        pytest.param(moved("rename", "two", "n") + moved("rename", "f", "two"), "",
                     id="a name is passed on"),
        pytest.param(moved("rename", "f", "two") + moved("rename", "two", "n"), "",
                     id="in the other order"),
        pytest.param(GONE + moved("rename", "f", "two"), "",
                     id="a removed name is taken by a rename"),
        pytest.param(GONE + moved("copy", "f", "two"), "", id="or by a copy"),
        pytest.param(moved("rename", "f", "two/f") + GONE, "", id="or by a folder"),
        pytest.param(NEW + change("n", "@@ -1 +1,2 @@", " new", "+er"), "",
                     id="what was added is changed"),
        pytest.param(moved("rename", "f", "two"), TAKEN.format("rename"),
                     id="a rename onto a file"),
        pytest.param(moved("copy", "f", "two"), TAKEN.format("copy"), id="a copy onto a file"),
        pytest.param(new("two"), "to be added, and is there already", id="a new file onto a file"),
        pytest.param(new("two/n"), "'two' would be a file and a folder",
                     id="a new file below a file"),
        pytest.param(new("d"), "'d' would be a file and a folder", id="a new file onto a folder"),
        pytest.param(new("link/n"), "'link' would be a file and a folder",
                     id="a new file beyond a link"),
        pytest.param(moved("rename", "f", "g") + change("f", *APPEND),
                     "f was renamed or removed by an earlier part", id="a change of what went"),
        pytest.param(GONE + GONE, "two was renamed or removed by an earlier part",
                     id="removed twice"),
        pytest.param(change("gone", *APPEND), "gone is not there", id="not there"),
        pytest.param(GONE.replace(b"-1,2", b"-1").replace(b"-2\n", b""),
                     "hunk 1 .* not there as they were", id="a file that has more"),
        pytest.param(shape("diff --git a/two b/two\ndeleted file mode 100644"),
                     "has other lines than those", id="removed without its lines"),
        pytest.param(shape("diff --git a/link b/link\ndeleted file mode 120000\n--- a/link\n"
                           "+++ /dev/null\n@@ -1 +0,0 @@\n-f\n"
                           "\\ No newline at end of file") + new("link"), "",
                           id="a link becomes a file"),
        pytest.param(shape("diff --git a/f b/f\nold mode 100664\nnew mode 100775"), "",
                     id="modes of others"),
        pytest.param(shape("diff --git a/x.sh b/x.sh\nindex 1111111..2222222 100644\n--- a/x.sh\n"
                           "+++ b/x.sh\n@@ -1 +1,2 @@\n x\n+y"), "", id="the mode stays"),
        pytest.param(shape("--- a/f\t2020-01-01\n+++ b/f\t2020-01-01", *APPEND) + NEW, "",
                     id="two forms in one file"),
        pytest.param(shape("--- a/empty\n+++ b/empty\n@@ -0,0 +1 @@\n+x"), "",
                     id="an empty file is filled"),
        pytest.param(shape("--- a/none\n+++ b/none\n@@ -0,0 +1 @@\n+x"), "", id="or made"),
        pytest.param(shape("--- a/two\n+++ b/two\n@@ -0,0 +1 @@\n+x"), "want an empty file",
                     id="not one that has lines"),
        pytest.param(shape("--- a/two\n+++ b/two\n@@ -1,2 +0,0 @@\n-1\n-2"), "",
                     id="a file becomes empty"),
        pytest.param(change("two", "@@ -1,2 +1,3 @@", " 1", " 2", "+3"), "",
                     id="the end of a file"),
        pytest.param(change("f", "@@ -1,2 +1,3 @@", " line 0", " line 1", "+more"),
                     "not there as they were", id="not the end"),
        pytest.param(change("f", "@@ -1,2 +1,3 @@", "+more", " line 1", " line 2"),
                     "not there as they were", id="not the start"),
        pytest.param(change("f", "@@ -2,2 +2,3 @@", "+more", " line 2", " line 3"), "",
                     id="one line off"),
        pytest.param(change("f", "@@ -7,2 +7,3 @@", " line 8", " line 9", "+more"), "",
                     id="at the end, one line off"),
        pytest.param(change("same", "@@ -4,3 +4,4 @@", " a", "+x", " b", " c"), "",
                     id="the later of two places"),
        pytest.param(change("same", "@@ -5,3 +5,4 @@", " a", "+x", " b", " c", "@@ -7,3 +8,4 @@",
                            " a", "+x", " b", " c"), "", id="not twice in one place"),
        pytest.param(change("latin", "@@ -1,2 +1,2 @@", " é", "-two", "+2").replace("é".encode(),
            b"\xe9"), "", id="bytes"),
    ],
)  # fmt: skip
def test_what_becomes_of_the_parts_of_one_diff(git: Git, patch: bytes, why: str) -> None:
    base = git.tree({
        "f": (TEN, 0o644),
        "two": (b"1\n2\n", 0o644),
        "d/e": (b"e\n", 0o644),
        "x.sh": (b"x\n", 0o755),
        "link": (b"f", 0o120000),
        "empty": (b"", 0o644),
        "same": (b"a\nb\nc\n" * 4, 0o644),
        "latin": (b"\xe9\ntwo\n", 0o644),
    })  # fmt: skip
    theirs = git.applied(base, patch)
    if not why:
        assert theirs
        assert git.ours(base, patch) == (theirs, "")
        return
    assert not theirs
    with pytest.raises(PatchConflictError, match=why):
        apply_exactly(base, git.read(base, patch), store=git.store)


@pytest.mark.parametrize(
    ("patch", "why"),
    [
        pytest.param(NEW + NEW.replace(b"new file",
                                       b"deleted file").replace(
                                           b"--- /dev/null\n+++ b/n\n@@ -0,0 +1 @@\n+new",
                                           b"--- a/n\n+++ /dev/null\n@@ -1 +0,0 @@\n-new"),
                                           "written by one part of the diff and removed by a later "
                                           "one", id="made and removed: git leaves it"),
        pytest.param(change("f", *APPEND) + moved("rename", "f", "g"),
                     "written by one part of the diff and renamed by a later one",
                     id="changed and renamed: git loses the change"),
        pytest.param(moved("rename", "f", "n") + NEW, "to be added, and is there already",
                     id="made twice: git takes the later one"),
        pytest.param(change("f", "@@ -2,0 +3 @@", "+more"), "no context",
                     id="no context: git appends it"),
        pytest.param(change("f", "@@ -6,3 +6,4 @@", " line 5", " line 6", "+x", " line 7",
                            "@@ -1,3 +2,4 @@", " line 1", "+y", " line 2",
                            " line 3").replace(b"-1,3", b"-2,3"),
                            "would stand before the hunk above it", id="out of order"),
        pytest.param(change("f", *APPEND, "+and more"), "longer than its `@@` line says",
                     id="a line too many: git drops it"),
        pytest.param(shape("--- a/link\n+++ b/link\n@@ -1 +1 @@\n-f\n\\ No newline at end of file\n"
                           "+../x\n\\ No newline at end of file"), "link is a symbolic link",
                           id="a link's target"),
        pytest.param(moved("rename", "link", "n"), "link is a symbolic link", id="a link's name"),
    ],
)  # fmt: skip
def test_what_git_takes_and_we_do_not(git: Git, patch: bytes, why: str) -> None:
    base = git.tree({"f": (TEN, 0o644), "link": (b"f", 0o120000)})
    assert git.applied(base, patch)
    ours, reason = git.ours(base, patch)
    assert not ours
    assert why in reason
    assert "line" in reason


def test_a_hunk_without_context_is_taken_where_the_file_is_known(git: Git) -> None:
    before, after = (
        git.tree({"f": (TEN, 0o644)}),
        git.tree({"f": (TEN.replace(b"line 5\n", b"line 5\nmore\n"), 0o644)}),
    )
    patch = git.diff(before, after, "-U0")
    assert git.ours(before, patch) == (after, "")
    grown = git.tree({"f": (b"first\n" + TEN, 0o644)})
    assert "up to this line" not in git.ours(grown, patch)[1]
    assert "have no context" in git.ours(grown, patch)[1]
    assert not is_there(grown, git.read(before, patch), store=git.store)


def test_a_removed_end_is_not_there_because_its_neighbours_are(git: Git) -> None:
    before, after = (
        git.tree({"f": (TEN, 0o644)}),
        git.tree({"f": (TEN.removesuffix(b"line 9\n"), 0o644)}),
    )
    read = git.read(before, git.diff(before, after))
    assert is_there(after, read, store=git.store)
    for other in (before, git.tree({"f": (TEN.replace(b"line 9", b"line nine"), 0o644)})):
        assert not is_there(other, read, store=git.store)


@pytest.mark.parametrize(
    ("patch", "there"),
    [
        (shape("diff --git a/f b/f\nold mode 100644\nnew mode 100755"), {"f": (TEN, 0o755)}),
        (moved("rename", "f", "g"), {"g": (TEN, 0o644)}),
        (moved("copy", "f", "g"), {"f": (TEN, 0o644), "g": (TEN, 0o644)}),
        (shape("diff --git a/f b/f\nindex 1..2\nBinary files a/f and b/f differ"), None),
    ],
)
def test_a_change_of_the_file_as_a_whole_is_there_or_not(
    git: Git, patch: bytes, there: Mapping[str, tuple[bytes, int]] | None
) -> None:
    base = git.tree({"f": (TEN, 0o644)})
    assert not is_there(base, git.read(base, patch), store=git.store)
    if there is not None:
        assert is_there(git.tree(dict(there)), git.read(base, patch), store=git.store)


def test_binary_files_are_taken_when_both_sides_are_proven(git: Git) -> None:
    one, two = bytes(range(256)) * 9, bytes(range(256)) * 8 + b"\0changed"
    before, after = (
        git.tree({"f": (one, 0o644)}),
        git.tree({"f": (two, 0o644), "g": (one[:40] + b"\0", 0o644)}),
    )
    patch = git.diff(before, after, "--binary")
    assert b"delta " in patch
    assert b"literal " in patch
    assert git.ours(before, patch) == (after, "")
    assert (
        "is not as the patch knows it" in git.ours(git.tree({"f": (one + b"x", 0o644)}), patch)[1]
    )
    start, _, end = patch.partition(b"..")
    wrong = start + b".." + (b"1" if end[:1] != b"1" else b"2") + end[1:]
    assert "does not make what its `index` line says" in git.ours(before, wrong)[1]
    assert "hold whole ids" in git.ours(before, start[:-30] + b".." + end)[1]
    assert "git diff --binary" in git.ours(before, git.diff(before, after))[1]


@pytest.mark.parametrize("name", ["d/e e.txt", "t\t\tab.txt"])
@pytest.mark.parametrize(
    "time",
    [
        "2020-01-01 10:00:00.000000000 +0100",
        "2020-01-01 10:00:00 -05:30",
        "20-01-01",
        "2020-01-01 10:00",
        "now",
    ],
)
def test_a_name_ends_where_git_sees_its_time_begin(git: Git, name: str, time: str) -> None:
    for between in ("\t", "     ", "\t\t", " \t"):
        patch = (
            f"--- a/{name}{between}{time}\n+++ b/{name}{between}{time}\n@@ -1,3 +1,3 @@\n a\n-b\n"
            f"+B\n c\n"
        ).encode()
        cuts = [
            name,
            name.partition("\t")[0],
            f"{name}{between}{time}",
            f"{name}{between}".rstrip("\t"),
            f"{name}{between}",
        ]
        tree = git.tree(dict.fromkeys(cuts, (b"a\nb\nc\n", 0o644)))
        ours, why = git.ours(tree, patch)
        assert ours == git.applied(tree, patch), (between, why)


@pytest.mark.skipif(shutil.which("diff") is None, reason="GNU diff is not there")
def test_diffs_of_folders_by_gnu_diff(git: Git, tmp_path: Path) -> None:
    right = 0
    for seed in range(8):
        chance = random.Random(seed)
        states = [
            {path: each for path, each in begun(chance).items() if b"\0" not in each[0] and each[0]}
            or {"f": (TEN, 0o644)}
        ]
        states.append(
            {
                path: (each, 0o644)
                for path, (each, _) in step(chance, states[0]).items()
                if b"\0" not in each and each
            }
        )
        states[0] = {path: (each, 0o644) for path, (each, _) in states[0].items()}
        names = chance.choice([("a", "b"), ("demo.orig", "demo"), ("demo-1.0", "demo-1.1")])
        for name, files in zip(names, states, strict=True):
            for path, (each, _) in files.items():
                target = tmp_path / str(seed) / name / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(each)
            (tmp_path / str(seed) / name).mkdir(parents=True, exist_ok=True)
        found = subprocess.run(
            ["diff", "-ruN", "--text", *names],
            cwd=tmp_path / str(seed),
            capture_output=True,
            check=False,
        ).stdout
        before, after = (git.tree(files) for files in states)
        if found:
            assert git.ours(before, found) == (after, ""), seed
            assert git.applied(before, found) == after, seed
            right += 1
    assert right > 4


class TestStrip:
    """How many folders are taken off a name."""

    PATCH = b"--- src/f\n+++ src/f\n@@ -1,2 +1,3 @@\n 1\n 2\n+3\n"
    MORE = (b"1\n2\n3\n", 0o644)
    TWO = (b"1\n2\n", 0o644)

    def test_one_unless_another_number_fits_alone(self, git: Git) -> None:
        for base, name in (("f", "f"), ("src/f", "src/f")):
            assert git.ours(git.tree({base: self.TWO}), self.PATCH) == (
                git.tree({name: self.MORE}),
                "",
            )
        deep = self.PATCH.replace(b"src/", b"home/me/src/")
        assert git.ours(git.tree({"src/f": self.TWO}), deep) == (git.tree({"src/f": self.MORE}), "")

    def test_two_that_fit_are_refused_and_the_header_decides(self, git: Git) -> None:
        both = git.tree({"f": self.TWO, "src/f": self.TWO})
        assert "may mean src/f (`Strip: 0`) or f (`Strip: 1`)" in git.ours(both, self.PATCH)[1]
        for strip, name, other in (("0", "src/f", "f"), ("1", "f", "src/f")):
            assert git.ours(both, f"Subject: T\nStrip: {strip}\n\n".encode() + self.PATCH)[
                0
            ] == git.tree({name: self.MORE, other: self.TWO})
        # `a/` and `b/` say it themselves.
        assert git.ours(both, b"--- a/f\n+++ b/f\n" + self.PATCH.partition(b"+++ src/f\n")[2])[
            0
        ] == git.tree({"f": self.MORE, "src/f": self.TWO})

    def test_a_new_file_is_not_put_into_another_folder_than_was_meant(self, git: Git) -> None:
        new = b"--- /dev/null\n+++ src/n\n@@ -0,0 +1 @@\n+x\n"
        assert (
            "may mean src/n (`Strip: 0`) or n (`Strip: 1`)"
            in git.ours(git.tree({"src/f": self.TWO}), new)[1]
        )
        assert git.ours(git.tree({"f": self.TWO}), new)[0] == git.tree(
            {"f": self.TWO, "n": (b"x\n", 0o644)}
        )

    def test_where_nothing_fits_the_usual_name_is_told(self, git: Git) -> None:
        assert (
            "f is not there (line 3 of the patch)"
            in git.ours(git.tree({"g": self.TWO}), self.PATCH)[1]
        )


def test_paths_are_mapped_once_they_are_read(git: Git) -> None:
    base, after = (
        git.tree({"pkg/a b": (TEN, 0o644)}),
        git.tree({"pkg/c d": (TEN + b"more\n", 0o644)}),
    )
    patch = moved(
        "rename",
        "src/pkg/a b",
        "src/pkg/c d",
        "--- a/src/pkg/a b\t",
        "+++ b/src/pkg/c d\t",
        *APPEND,
    )
    read = read_diff(
        read_patch("up/1.patch", b"Subject: T\n\n" + patch),
        {"src/": ""},
        base,
        store=git.store,
        where="up/1.patch",
    )
    assert apply_exactly(base, read, store=git.store) == after


def test_what_is_written_for_git_am_gives_the_same_tree(git: Git) -> None:
    files = {"latin": (b"\xe9\ntwo\n", 0o644), "a b": (TEN, 0o644), "z": (b"z\n", 0o755)}
    made = {
        "latin": (b"\xe9\n2\n", 0o644),
        "a b": (b"\xff" + TEN, 0o755),
        "n": (b"", 0o644),
        "bin": (b"\0\1", 0o644),
    }
    before, after = git.tree(files), git.tree(made)
    patch = read_patch(
        "up/0001-t.patch",
        b"Subject: caf\xe9\n Strip\nStrip: 0\n\n"
        + git.diff(before, after, "--binary", "--no-prefix"),
    )
    assert patch.subject == "caf\N{REPLACEMENT CHARACTER} Strip"
    commit = git.store.commit(
        before, message=f"{patch.subject}\n\n{patch.header}\n", epoch=1_700_000_000
    )
    assert b"Subject: caf\xe9" in git.run("cat-file", "commit", commit).stdout
    mail = format_patch(patch, rendered(before, after, git.store), 1_700_000_000)
    assert b"Strip: 0" not in mail
    # The very file that is exported is read by us and by git.
    assert git.ours(before, mail) == (after, "")
    assert git.mailed(commit, mail) == after
    assert len(list(difference(before, after, store=git.store).deltas)) == 5


MODES = ["100644", "100755", "100600", "100664", "120000", "160000", "040000", "100", "777777", ""]


@pytest.mark.parametrize("new", MODES)
def test_modes_are_taken_where_git_takes_them(git: Git, new: str) -> None:
    base = git.tree({"f": (TEN, 0o644), "x": (TEN, 0o755)})
    lines = ["@@ -1,3 +1,3 @@\n-line 0\n+zero\n line 1\n line 2"]
    taken = 0
    for name, old, hunk in itertools.product("fx", MODES, [[], lines]):
        head = f"diff --git a/{name} b/{name}"
        said = [f"old mode {old}"] * bool(old) + [f"new mode {new}"] * bool(new)
        names = [f"--- a/{name}", f"+++ b/{name}"] if hunk else []
        indexed = f"index 1..2 {old}".rstrip()
        for middle in (said, [*said, indexed], [said[-1] if said else "", indexed]):
            patch = shape(head, *filter(None, middle), *names, *hunk)
            theirs, (ours, why) = git.applied(base, patch), git.ours(base, patch)
            assert ours in {theirs, ""}, (patch, why)
            assert ours or "line" in why or "symbolic link" in why, (patch, why)
            taken += bool(ours)
    assert bool(taken) == (new in {"100644", "100755", "100600", "100664", ""})


@pytest.mark.parametrize("verb", ["new file", "deleted file"])
def test_modes_of_files_that_come_or_go_are_taken_where_git_takes_them(git: Git, verb: str) -> None:
    base = git.tree({"f": (b"one\n", 0o644)})
    for mode, name in itertools.product([*MODES, "644", "755", "100654", "0100755"], "fn"):
        side = ["--- /dev/null", f"+++ b/{name}", "@@ -0,0 +1 @@", "+one"]
        if verb == "deleted file":
            side = [f"--- a/{name}", "+++ /dev/null", "@@ -1 +0,0 @@", "-one"]
        patch = shape(f"diff --git a/{name} b/{name}", f"{verb} mode {mode}", *side)
        ours, why = git.ours(base, patch)
        assert ours in {git.applied(base, patch), ""}, (patch, why)
        assert bool(ours) == (
            name == ("n" if verb == "new file" else "f")
            and mode
            in {
                *MODES[:4],
                "100654",
                "0100755",
                *(("644", "755", "100") if verb == "new file" else ()),
            }
        ), (patch, why)


HEAD = (
    b"From 0123456789012345678901234567890123456789 Mon Sep 17 00:00:00 2001\n"
    b"From: T <t@localhost>\nDate: Mon, 17 Sep 2001 00:00:00 +0000\nSubject: [PATCH] Words\n"
    b"MIME-Version: 1.0\nContent-Type: text/plain;\n charset=UTF-8\n"
)
SAID = "Wörds = words\n\n---\n f | 1 +\n\n".encode()


def encoded(name: str, body: bytes, head: bytes = HEAD) -> bytes:
    """Return a mail in one of the encodings for transport."""
    make = base64.encodebytes if name == "base64" else quopri.encodestring
    return head + b"Content-Transfer-Encoding: " + name.encode() + b"\n\n" + make(body)


def test_mails_that_are_encoded_for_transport(git: Git) -> None:
    text = TEN + "é=20 blanks  \n\ttab\n".encode()
    before = git.tree({"f": (text, 0o644)})
    after = git.tree({"f": (text.replace(b"line 9", b"line=3D9  ") + b"no end", 0o644)})
    commit = git.store.commit(before, message="before\n", epoch=1_700_000_000)
    later = git.store.commit(after, message="Wörds\n\nmore\n", epoch=1, parents=(commit,))
    made = [
        git.run("format-patch", "--stdout", option, f"{commit}..{later}").stdout
        for option in ("--attach", "--inline", "--no-attach")
    ]
    assert b"multipart/mixed" in made[0]
    body = SAID + git.diff(before, after)
    for name in ("base64", "quoted-printable", "BASE64", "Quoted-Printable "):
        made += [encoded(name.strip().lower(), each) for each in (body, body + b"-- \n2.39\n\n")]
        made[-1] = made[-1].replace(name.strip().lower().encode(), name.encode())
    for mail in made:
        assert git.mailed(commit, mail) == after, mail
        assert git.ours(before, mail) == (after, ""), mail
        assert read_patch("up/0001-t.patch", mail).subject in {"Words", "Wörds"}


def test_a_nul_byte_in_a_message_is_refused_as_by_git(git: Git) -> None:
    before = git.tree({"f": (TEN, 0o644)})
    commit = git.store.commit(before, message="before\n", epoch=1_700_000_000)
    for mail in (
        HEAD + b"\none\0two\n---\n" + new("one"),
        encoded("base64", b"one\0two\n---\n" + new("one")),
        HEAD.replace(b"Words", b"=?UTF-8?Q?Wo=00rds?=") + b"\nwords\n---\n" + new("one"),
    ):
        assert not git.mailed(commit, mail)
        with pytest.raises(SeriesError, match="NUL byte"):
            read_patch("up/0001-t.patch", mail)


def test_a_mailbox_has_mails_of_each_encoding(git: Git) -> None:
    before = git.tree({"f": (TEN, 0o644)})
    commit = git.store.commit(before, message="before\n", epoch=1_700_000_000)
    mails = [
        encoded("base64", b"one\n---\n" + new("one")),
        HEAD + b"\ntwo\n---\n" + new("two"),
        encoded("quoted-printable", b"three\n---\n" + new("three")),
    ]
    theirs = git.mailed(commit, b"".join(mails))
    assert theirs
    assert git.ours(before, b"".join(mails)) == (theirs, "")


def test_what_a_patch_adds_may_look_like_an_encoded_mail(git: Git) -> None:
    """Only the header of a mail says how it is encoded."""
    lines = ["Subject: x", "Content-Transfer-Encoding: base64", "", "words"]
    added = "".join(f"+{line}\n" for line in lines)
    head = (
        f"diff --git a/n b/n\nnew file mode 100644\n--- /dev/null\n+++ b/n\n"
        f"@@ -0,0 +1,{len(lines)} @@\n"
    )
    before = git.tree({"f": (TEN, 0o644)})
    after = git.tree({"f": (TEN, 0o644), "n": ("\n".join([*lines, ""]).encode(), 0o644)})
    said = b"Subject: s\n\nContent-Transfer-Encoding: base64\n\n"
    for patch in ((head + added).encode(), said + (head + added).encode()):
        assert git.ours(before, patch) == (after, "")
