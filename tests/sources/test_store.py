from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from pygit2.enums import FileMode

from forkhouse.errors import StorageError, UnsafeArchiveError
from forkhouse.sources.store import ObjectStore, TreeFile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def text(path: str, content: bytes = b"text", mode: FileMode = FileMode.BLOB) -> TreeFile:
    return TreeFile(path=path, content=content, mode=mode)


FILES = (text("a/b.txt", b"one"), text("a/run", b"two", FileMode.BLOB_EXECUTABLE), text("link", b"a/b.txt", FileMode.LINK))


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
    assert store.import_files([text("c", b"two"), text("a/b.txt", b"one")]) == git(tmp_path / "repo", "rev-parse", "HEAD^{tree}")


def test_two_stores_give_the_same_tree_and_commit_ids(tmp_path: Path) -> None:
    stores = [ObjectStore(tmp_path / name) for name in ("one", "two")]
    trees = [store.import_files(files) for store, files in zip(stores, (FILES, FILES[::-1]), strict=True)]
    assert trees[0] == trees[1]
    bases = [store.commit(tree, message="base\n", epoch=1_700_000_000) for store, tree in zip(stores, trees, strict=True)]
    tops = [store.commit(trees[0], message="top\n", epoch=1_700_000_001, parents=(bases[0],)) for store in stores]
    assert bases[0] == bases[1]
    assert tops[0] == tops[1] != bases[0]


@pytest.mark.parametrize("path", ["../out", "a/../../out", "/etc/passwd", ".git/config", "a/.GIT/hooks/x", "", "a//b", "./a"])
def test_a_path_that_git_refuses_is_refused(store: ObjectStore, path: str) -> None:
    with pytest.raises(UnsafeArchiveError, match="is refused"):
        store.import_files([text("good"), text(path)])


@pytest.mark.parametrize("paths", [("a", "a/b"), ("a/b", "a")])
def test_a_path_that_is_file_and_folder_is_refused(store: ObjectStore, paths: tuple[str, str]) -> None:
    with pytest.raises(UnsafeArchiveError, match="a file and a folder at once"):
        store.import_files([text(path) for path in paths])


def test_named_commits_survive_gits_clean_up(store: ObjectStore) -> None:
    kept, lost = (store.commit(store.import_files([text(name)]), message=f"{name}\n", epoch=1) for name in ("kept", "lost"))
    store.name("base/demo/1", kept)
    subprocess.run(["git", "gc", "--quiet", "--prune=now"], cwd=store.folder, check=True, env={"PATH": os.environ["PATH"]})
    fresh = ObjectStore(store.folder)
    assert fresh.has(kept)
    assert not fresh.has(lost)
    assert not fresh.has(None)


def test_check_out_writes_files_with_gits_modes(store: ObjectStore, tmp_path: Path) -> None:
    out = tmp_path / "out"
    store.check_out(store.import_files(FILES), out)
    assert (out / "a/b.txt").read_bytes() == b"one"
    assert (out / "a/b.txt").stat().st_mode & 0o777 == 0o644
    assert (out / "a/run").stat().st_mode & 0o777 == 0o755
    assert (out / "link").readlink().as_posix() == "a/b.txt"


@pytest.mark.parametrize(
    ("path", "target"), [("link", "../out"), ("a/link", "../../out"), ("a/link", "b/../../../out"), ("link", "/etc/passwd"), ("link", "..")]
)
def test_a_link_that_leaves_the_tree_is_not_written(store: ObjectStore, tmp_path: Path, path: str, target: str) -> None:
    tree = store.import_files([text(path, target.encode(), FileMode.LINK)])
    with pytest.raises(UnsafeArchiveError, match=r"points at '.*', outside its tree"):
        store.check_out(tree, tmp_path / "out")
    assert not os.path.lexists(tmp_path / "out" / path)


def test_a_link_to_a_name_that_begins_with_dots_is_written(store: ObjectStore, tmp_path: Path) -> None:
    store.check_out(store.import_files([text("link", b"..data", FileMode.LINK)]), tmp_path / "out")
    assert (tmp_path / "out/link").is_symlink()


def test_a_full_disk_is_explained(store: ObjectStore, small_disk: Path) -> None:
    tree = store.import_files([text("big", os.urandom(300_000))])
    with pytest.raises(StorageError, match="Laying out the source tree: No space left on device"):
        store.check_out(tree, small_disk / "out")
    with pytest.raises(StorageError, match="No space left on device"):
        ObjectStore(small_disk / "store").import_files([text("big", os.urandom(300_000))])
