from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from pygit2.enums import FileMode

from forkhouse.core.errors import PatchConflictError, StorageError, UnsafeArchiveError
from forkhouse.sources.store import ObjectStore, TreeEntry, TreeFile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def text(path: str, content: bytes = b"text", mode: FileMode = FileMode.BLOB) -> TreeFile:
    return TreeFile(path=path, content=content, mode=mode)


FILES = (
    text("a/b.txt", b"one"),
    text("a/run", b"two", FileMode.BLOB_EXECUTABLE),
    text("link", b"a/b.txt", FileMode.LINK),
)


def test_files_come_back_in_path_order(store: ObjectStore) -> None:
    tree = store.import_files(reversed(FILES))
    assert tuple(store.files(tree)) == FILES
    assert store.paths(tree) == ["a/b.txt", "a/run", "link"]
    assert store.read(tree, "a/b.txt") == b"one"
    for missing in ("a", "nothing"):
        with pytest.raises(KeyError):
            store.read(tree, missing)


def test_a_tree_has_the_id_that_git_gives_it(
    store: ObjectStore, commit: Callable[..., str], git: Callable[..., str], tmp_path: Path
) -> None:
    commit(tmp_path / "repo", {"a/b.txt": "one", "c": "two"})
    assert store.import_files([text("c", b"two"), text("a/b.txt", b"one")]) == git(
        tmp_path / "repo", "rev-parse", "HEAD^{tree}"
    )


def test_two_stores_give_the_same_tree_and_commit_ids(tmp_path: Path) -> None:
    stores = [ObjectStore(tmp_path / name) for name in ("one", "two")]
    trees = [
        store.import_files(files) for store, files in zip(stores, (FILES, FILES[::-1]), strict=True)
    ]
    assert trees[0] == trees[1]
    bases = [
        store.commit(tree, message="base\n", epoch=1_700_000_000)
        for store, tree in zip(stores, trees, strict=True)
    ]
    tops = [
        store.commit(trees[0], message="top\n", epoch=1_700_000_001, parents=(bases[0],))
        for store in stores
    ]
    assert bases[0] == bases[1]
    assert tops[0] == tops[1] != bases[0]


@pytest.mark.parametrize(
    "path",
    ["../out", "a/../../out", "/etc/passwd", ".git/config", "a/.GIT/hooks/x", "", "a//b", "./a"],
)
def test_a_path_that_git_refuses_is_refused(store: ObjectStore, path: str) -> None:
    with pytest.raises(UnsafeArchiveError, match="is refused"):
        store.import_files([text("good"), text(path)])


@pytest.mark.parametrize(
    "file",
    [
        TreeFile(path="a/" + "n" * 256, content=b"", mode=FileMode.BLOB),
        TreeFile(path="link", content=b"", mode=FileMode.LINK),
        TreeFile(path="link", content=b"a\0b", mode=FileMode.LINK),
        TreeFile(path="link", content=b"a" * 4096, mode=FileMode.LINK),
    ],
)
def test_what_no_folder_can_have_is_refused(store: ObjectStore, file: TreeFile) -> None:
    with pytest.raises(
        UnsafeArchiveError,
        match=r"is refused: (a part of it has more than 255 bytes|it is a link to a name of)",
    ):
        store.import_files([file])


@pytest.mark.parametrize("paths", [("a", "a/b"), ("a/b", "a")])
def test_a_path_that_is_file_and_folder_is_refused(
    store: ObjectStore, paths: tuple[str, str]
) -> None:
    with pytest.raises(UnsafeArchiveError, match="a file and a folder at once"):
        store.import_files([text(path) for path in paths])


def test_files_are_put_and_taken_out_of_a_tree(store: ObjectStore) -> None:
    tree = store.import_files(FILES)
    new = store.entry(tree, "a/run")
    assert new is not None
    assert store.entry(tree, "a") is None
    assert store.entry(tree, "nothing") is None
    changed = store.with_entries(tree, {"a/b.txt": None, "b/c/run": new, "nothing": None})
    assert store.paths(changed) == ["a/run", "b/c/run", "link"]
    # git knows no empty folders, so the tree is as if they had never been.
    assert store.with_entries(changed, {"b/c/run": None}) == store.with_entries(
        tree, {"a/b.txt": None}
    )
    assert (
        store.with_entries(tree, dict.fromkeys(store.paths(tree)))
        == store.import_files([])
        == store.with_entries(None, {})
    )


def test_a_file_and_a_folder_never_replace_each_other_unasked(store: ObjectStore) -> None:
    tree = store.import_files([text("a/b"), text("c")])
    new = store.entry(tree, "c")
    for clash, changes in {
        "a": {"a": new},
        "c": {"c/d": new},
        "x": {"x": new, "x/y": new},
        "a/b": {"a/b/c": new},
    }.items():
        with pytest.raises(
            PatchConflictError, match=f"'{clash}' would be a file and a folder at once"
        ):
            store.with_entries(tree, changes)
    assert store.with_entries(tree, {"a": None}) == tree  # it is no file
    assert store.paths(store.with_entries(tree, {"a/b": None, "a": new})) == ["a", "c"]
    assert store.paths(store.with_entries(tree, {"c": None, "c/d": new})) == ["a/b", "c/d"]


@pytest.mark.parametrize("path", ["../out", ".git/config", "a/.GIT/hooks/x", "a//b", "./a"])
def test_a_path_that_git_refuses_is_not_put_into_a_tree(store: ObjectStore, path: str) -> None:
    tree = store.import_files(FILES)
    with pytest.raises(UnsafeArchiveError, match="is refused"):
        store.with_entries(tree, {path: store.entry(tree, "a/run")})


def test_files_are_found_by_pattern(store: ObjectStore) -> None:
    tree = store.import_files([text("a/b/c.py"), text("a/d.py"), text("e.py"), text("f.txt")])
    for pattern, found in {
        "*.py": ["e.py"],
        "**/*.py": ["a/b/c.py", "a/d.py", "e.py"],
        "a/**": ["a/b/c.py", "a/d.py"],
        "a/*/c.py": ["a/b/c.py"],
        "a/[cd].py": ["a/d.py"],
        "a": [],
        "gone/*": [],
        "e.py/*": [],
    }.items():
        assert store.glob(tree, pattern) == found, pattern


def test_objects_of_another_repository_are_read_while_borrowed(
    store: ObjectStore, commit: Callable[..., str], git: Callable[..., str], tmp_path: Path
) -> None:
    commit(tmp_path / "repo", {"a": "one"})
    tree = git(tmp_path / "repo", "rev-parse", "HEAD^{tree}")
    assert not store.has(tree)
    store.borrow(tmp_path / "repo")
    assert store.read(tree, "a") == b"one"
    assert not ObjectStore(store.folder).has(tree)


def test_named_commits_survive_gits_clean_up(store: ObjectStore) -> None:
    kept, lost = (
        store.commit(store.import_files([text(name)]), message=f"{name}\n", epoch=1)
        for name in ("kept", "lost")
    )
    store.name("base/demo/1", kept)
    subprocess.run(
        ["git", "gc", "--quiet", "--prune=now"],
        cwd=store.folder,
        check=True,
        env={"PATH": os.environ["PATH"]},
    )
    fresh = ObjectStore(store.folder)
    assert fresh.has(kept)
    assert not fresh.has(lost)
    assert not fresh.has(None)


def test_a_link_that_leaves_the_tree_by_way_of_another_is_refused(
    store: ObjectStore, tmp_path: Path
) -> None:
    # As text, a/b/up/../x lies in the tree; the way there goes through its top.
    links = [text("a/b/up", b"../..", FileMode.LINK), text("evil", b"a/b/up/../x", FileMode.LINK)]
    with pytest.raises(
        UnsafeArchiveError, match=r"The link 'evil' points at 'a/b/up/\.\./x', outside its tree"
    ):
        store.check_out(store.import_files(links), tmp_path / "out")


def test_check_out_writes_files_with_gits_modes(store: ObjectStore, tmp_path: Path) -> None:
    out = tmp_path / "out"
    store.check_out(store.import_files(FILES), out)
    assert (out / "a/b.txt").read_bytes() == b"one"
    assert (out / "a/b.txt").stat().st_mode & 0o777 == 0o644
    assert (out / "a/run").stat().st_mode & 0o777 == 0o755
    assert (out / "link").readlink().as_posix() == "a/b.txt"


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("link", "../out"),
        ("a/link", "../../out"),
        ("a/link", "b/../../../out"),
        ("link", "/etc/passwd"),
        ("link", ".."),
    ],
)
def test_a_link_that_leaves_the_tree_is_not_written(
    store: ObjectStore, tmp_path: Path, path: str, target: str
) -> None:
    tree = store.import_files([text(path, target.encode(), FileMode.LINK)])
    with pytest.raises(UnsafeArchiveError, match=r"points at '.*', outside its tree"):
        store.check_out(tree, tmp_path / "out")
    assert not os.path.lexists(tmp_path / "out" / path)


def test_a_link_to_a_name_that_begins_with_dots_is_written(
    store: ObjectStore, tmp_path: Path
) -> None:
    store.check_out(store.import_files([text("link", b"..data", FileMode.LINK)]), tmp_path / "out")
    assert (tmp_path / "out/link").is_symlink()


def test_a_full_disk_is_explained(store: ObjectStore, small_disk: Path) -> None:
    tree = store.import_files([text("big", os.urandom(300_000))])
    with pytest.raises(StorageError, match="Laying out the source tree: No space left on device"):
        store.check_out(tree, small_disk / "out")
    with pytest.raises(StorageError, match="No space left on device"):
        ObjectStore(small_disk / "store").import_files([text("big", os.urandom(300_000))])


def test_what_is_gathered_is_one_pack_that_git_reads(
    store: ObjectStore, git: Callable[..., str]
) -> None:
    base = store.import_files([text("a/b.txt", b"one")])
    with store.gathering() as gathered:
        tree, commit = base, gathered.commit(base, message="base\n", epoch=1)
        for number in range(3):
            blob = str(gathered.repository.create_blob(b"line %d\n" % number))
            tree = gathered.with_entries(
                tree, {f"a/{number}.txt": TreeEntry(blob=blob, mode=FileMode.BLOB)}
            )
            commit = gathered.commit(
                tree, message=f"{number}\n", epoch=2 + number, parents=(commit,)
            )
        assert gathered.read(tree, "a/2.txt") == b"line 2\n"
        assert gathered.read(tree, "a/b.txt") == b"one"
        assert not store.has(commit)
    assert len(list((store.folder / "objects/pack").glob("*.pack"))) == 1
    assert store.read(tree, "a/0.txt") == b"line 0\n"
    store.name("gathered", commit)
    assert git(store.folder, "fsck", "--strict", "--no-dangling") == ""
    assert git(store.folder, "show", f"{commit}:a/1.txt") == "line 1"
    assert git(store.folder, "rev-list", "--count", commit) == "4"


def test_nothing_is_kept_of_a_gathering_that_fails(store: ObjectStore) -> None:
    blobs: list[str] = []

    def add_outside() -> None:
        with store.gathering() as gathered:
            blobs.append(str(gathered.repository.create_blob(b"lost")))
            gathered.with_entries(None, {"../out": TreeEntry(blob=blobs[0], mode=FileMode.BLOB)})

    with pytest.raises(UnsafeArchiveError):
        add_outside()
    assert not store.has(blobs[0])
    with store.gathering():
        pass
    assert not list((store.folder / "objects/pack").iterdir())


def test_gathering_reads_what_the_store_borrows(store: ObjectStore, tmp_path: Path) -> None:
    other = ObjectStore(tmp_path / "other")
    tree = other.import_files(FILES)
    store.borrow(other.folder)
    with store.gathering() as gathered:
        assert gathered.read(tree, "a/b.txt") == b"one"


@pytest.mark.parametrize(
    ("path", "content", "mode"),
    [
        ("x" * 300, b"", FileMode.BLOB),
        ("link", b"", FileMode.LINK),
        ("link", b"a\0b", FileMode.LINK),
        ("link", b"x" * 5000, FileMode.LINK),
    ],
)
def test_a_name_or_a_link_that_no_file_system_takes_is_refused(
    store: ObjectStore, tmp_path: Path, path: str, content: bytes, mode: FileMode
) -> None:
    with pytest.raises(
        UnsafeArchiveError, match=r"is refused: .* Such a name is never in an honest source"
    ):
        store.check_out(
            store.import_files([TreeFile(path=path, content=content, mode=mode)]), tmp_path / "out"
        )
