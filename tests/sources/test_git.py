from __future__ import annotations

import random
import shutil
import string
import subprocess
from typing import TYPE_CHECKING

import pytest

from forkhouse.core.errors import (
    HashMismatchError,
    MovedTagError,
    RefusedRepositoryError,
    StorageError,
    ToolchainError,
    UnreachableError,
    UnsafeArchiveError,
)
from forkhouse.documents.lockfile import GitSource
from forkhouse.sources.git import fetch_commit, has_commit, mirror_address, remote_tag
from forkhouse.sources.store import ObjectStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def upstream(tmp_path: Path, commit: Callable[..., str], git: Callable[..., str]) -> Path:
    """A repository whose first commit has the annotated tag v1; main has gone on."""
    folder = tmp_path / "upstream/demo"
    commit(folder, {"a.txt": "one\n"})
    git(folder, "tag", "--annotate", "v1", "--message=release")
    commit(folder, {"a.txt": "two\n"})
    return folder


@pytest.fixture
def pin(upstream: Path, git: Callable[..., str]) -> GitSource:
    return GitSource(
        kind="git",
        url=upstream.as_uri(),
        tag="v1",
        commit=git(upstream, "rev-parse", "v1^{commit}"),
        tree=git(upstream, "rev-parse", "v1^{tree}"),
    )


def changed(pin: GitSource, **values: str | None) -> GitSource:
    return pin.model_copy(update=values)


def test_the_pinned_commit_is_fetched_whatever_the_branch_says(
    pin: GitSource, store: ObjectStore, tmp_path: Path
) -> None:
    tree = fetch_commit(pin, store, tmp_path / "cache", mirror=None, offline=False)
    assert tree == pin.tree
    assert store.read(tree, "a.txt") == b"one\n"


def test_a_cached_commit_needs_no_host(
    pin: GitSource, upstream: Path, store: ObjectStore, tmp_path: Path
) -> None:
    fetch_commit(pin, store, tmp_path / "cache", mirror=None, offline=False)
    upstream.rename(tmp_path / "gone")
    assert fetch_commit(pin, store, tmp_path / "cache", mirror=None, offline=True) == pin.tree


def test_offline_and_not_cached_is_unreachable(
    pin: GitSource, store: ObjectStore, tmp_path: Path
) -> None:
    with pytest.raises(
        UnreachableError, match=r"is not in the cache and --offline forbids fetching it"
    ):
        fetch_commit(pin, store, tmp_path / "cache", mirror=None, offline=True)


@pytest.fixture
def shared(pin: GitSource, tmp_path: Path) -> Path:
    """A cache that holds the pinned commit, as an earlier run left it."""
    other = ObjectStore(tmp_path / "other.git")
    fetch_commit(pin, other, tmp_path / "shared", mirror=None, offline=False)
    return tmp_path / "shared"


def state(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return when each file of a folder was written, and what it holds."""
    return {
        str(path.relative_to(folder)): (path.lstat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_commit_in_the_read_only_cache_needs_no_host(
    pin: GitSource, upstream: Path, shared: Path, store: ObjectStore, tmp_path: Path
) -> None:
    upstream.rename(tmp_path / "gone")
    before = state(shared)
    cache = tmp_path / "cache"
    assert (has_commit(pin, cache), has_commit(pin, cache, shared)) == (False, True)
    tree = fetch_commit(pin, store, cache, mirror=None, offline=True, shared=shared)
    assert (tree, store.read(tree, "a.txt")) == (pin.tree, b"one\n")
    assert state(shared) == before
    # The copy stands by itself, and is what git takes for a whole repository.
    shutil.rmtree(shared)
    assert has_commit(pin, cache)
    assert fetch_commit(pin, store, cache, mirror=None, offline=True, shared=shared) == pin.tree
    (bare,) = (cache / "mirrors").iterdir()
    subprocess.run(["git", "fsck", "--strict", "--no-dangling"], cwd=bare, check=True)


def test_the_read_only_cache_has_other_commits_and_the_host_is_asked(
    pin: GitSource,
    upstream: Path,
    shared: Path,
    store: ObjectStore,
    tmp_path: Path,
    git: Callable[..., str],
) -> None:
    newer = changed(
        pin,
        tag=None,
        commit=git(upstream, "rev-parse", "HEAD"),
        tree=git(upstream, "rev-parse", "HEAD^{tree}"),
    )
    cache = tmp_path / "cache"
    assert not has_commit(newer, cache, shared)
    with pytest.raises(UnreachableError, match="is not in the cache"):
        fetch_commit(newer, store, cache, mirror=None, offline=True, shared=shared)
    tree = fetch_commit(newer, store, cache, mirror=None, offline=False, shared=shared)
    assert tree == newer.tree


@pytest.mark.parametrize("lost", ["objects", "a reference without its objects"])
def test_a_read_only_cache_that_is_not_whole_is_passed_over(
    pin: GitSource, upstream: Path, shared: Path, store: ObjectStore, tmp_path: Path, lost: str
) -> None:
    (bare,) = (shared / "mirrors").iterdir()
    shutil.rmtree(bare / "objects")
    if lost != "objects":
        (bare / "objects").mkdir()
    cache = tmp_path / "cache"
    with pytest.raises(UnreachableError, match="is not in the cache"):
        fetch_commit(pin, store, cache, mirror=None, offline=True, shared=shared)
    assert not list(cache.glob("mirrors/*.new"))
    assert fetch_commit(pin, store, cache, mirror=None, offline=False, shared=shared) == pin.tree


def test_a_moved_tag_stops(
    pin: GitSource, upstream: Path, git: Callable[..., str], store: ObjectStore, tmp_path: Path
) -> None:
    git(upstream, "tag", "--force", "v1", "main")
    head = git(upstream, "rev-parse", "main")
    with pytest.raises(
        MovedTagError, match=rf"tag v1 points at {head}, the lock pins {pin.commit}"
    ):
        fetch_commit(pin, store, tmp_path / "cache", mirror=None, offline=False)


def test_a_missing_tag_stops(pin: GitSource, store: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(MovedTagError, match="tag v2 does not exist, the lock pins"):
        fetch_commit(changed(pin, tag="v2"), store, tmp_path / "cache", mirror=None, offline=False)


def test_a_tree_that_differs_from_the_lock_stops(
    pin: GitSource, store: ObjectStore, tmp_path: Path
) -> None:
    with pytest.raises(HashMismatchError, match=rf"has tree {pin.tree}, the lock says {'0' * 40}"):
        fetch_commit(
            changed(pin, tree="0" * 40), store, tmp_path / "cache", mirror=None, offline=False
        )


def test_a_commit_that_the_host_does_not_have_is_unreachable(
    pin: GitSource, store: ObjectStore, tmp_path: Path
) -> None:
    with pytest.raises(UnreachableError, match=r"does not have the commit: .*not our ref"):
        fetch_commit(
            changed(pin, tag=None, commit="1" * 40),
            store,
            tmp_path / "cache",
            mirror=None,
            offline=False,
        )


def test_an_unresolved_source_says_how_to_complete_it(
    pin: GitSource, store: ObjectStore, tmp_path: Path
) -> None:
    with pytest.raises(UnreachableError, match="is unresolved: its commit id is not known"):
        fetch_commit(
            changed(pin, commit=None), store, tmp_path / "cache", mirror=None, offline=False
        )


def test_a_host_where_nobody_listens_is_unreachable(
    pin: GitSource, free_port: int, store: ObjectStore, tmp_path: Path
) -> None:
    url = f"https://127.0.0.1:{free_port}/owner/demo"
    with pytest.raises(
        UnreachableError, match=rf"{url} did not answer: .*127\.0\.0\.1.*give --mirror DIR"
    ):
        fetch_commit(changed(pin, url=url), store, tmp_path / "cache", mirror=None, offline=False)


@pytest.mark.parametrize(
    "place", ["owner/demo.git", "owner/demo", "owner+demo.git", "owner+demo", "demo.git", "demo"]
)
def test_a_mirror_stands_for_the_host(
    pin: GitSource,
    upstream: Path,
    git: Callable[..., str],
    store: ObjectStore,
    tmp_path: Path,
    free_port: int,
    place: str,
) -> None:
    git(tmp_path, "clone", "--quiet", "--mirror", str(upstream), str(tmp_path / "mirror" / place))
    unreachable = changed(pin, url=f"https://127.0.0.1:{free_port}/owner/demo.git")
    assert (
        fetch_commit(
            unreachable, store, tmp_path / "cache", mirror=tmp_path / "mirror", offline=False
        )
        == pin.tree
    )


def test_a_mirror_without_the_repository_is_unreachable(tmp_path: Path) -> None:
    with pytest.raises(
        UnreachableError,
        match=r"holds no repository demo\.git \(nor owner/demo\.git, nor owner\+demo\.git\).*git "
        r"clone --mirror",
    ):
        mirror_address("https://host.invalid/owner/demo", tmp_path)


def test_a_mirror_is_checked_like_the_host(
    pin: GitSource, upstream: Path, git: Callable[..., str], store: ObjectStore, tmp_path: Path
) -> None:
    git(upstream, "tag", "--force", "v1", "main")
    git(tmp_path, "clone", "--quiet", "--mirror", str(upstream), str(tmp_path / "mirror/demo.git"))
    with pytest.raises(MovedTagError, match="tag v1 points at"):
        fetch_commit(pin, store, tmp_path / "cache", mirror=tmp_path / "mirror", offline=False)


def test_tags_of_both_kinds_give_their_commit(
    pin: GitSource, upstream: Path, git: Callable[..., str], tmp_path: Path
) -> None:
    git(upstream, "tag", "light", "main")
    assert remote_tag(pin.url, "v1", tmp_path) == pin.commit
    assert remote_tag(pin.url, "light", tmp_path) == git(upstream, "rev-parse", "main")
    assert remote_tag(pin.url, "none", tmp_path) is None


def test_a_tag_is_its_whole_name(
    pin: GitSource, upstream: Path, git: Callable[..., str], tmp_path: Path
) -> None:
    git(upstream, "tag", "other/refs/tags/v9", "main")
    assert remote_tag(pin.url, "v9", tmp_path) is None
    assert remote_tag(pin.url, "v*", tmp_path) is None


def test_the_callers_own_repository_does_not_matter(
    pin: GitSource, store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inside a git hook these variables are set."""
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "nowhere/index"))
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", str(tmp_path / "nowhere/objects"))
    assert fetch_commit(pin, store, tmp_path / "cache", mirror=None, offline=False) == pin.tree


@pytest.mark.parametrize(
    ("deep", "wide", "words"),
    [(7, 10, "would have 1000000"), (150, 1, "folders in one another; more than 100")],
)
def test_a_small_repository_of_a_tree_without_end_is_refused(
    upstream: Path,
    git: Callable[..., str],
    store: ObjectStore,
    tmp_path: Path,
    deep: int,
    wide: int,
    words: str,
) -> None:
    """A folder may be in a tree as often as it likes, and takes the room of one."""
    tree = git(upstream, "rev-parse", "HEAD^{tree}")
    for _ in range(deep):
        entries = "".join(f"040000 tree {tree}\tf{number}\n" for number in range(wide))
        made = subprocess.run(
            ["git", "mktree"],
            cwd=upstream,
            input=entries,
            capture_output=True,
            text=True,
            check=True,
        )
        tree = made.stdout.strip()
    bomb = git(upstream, "commit-tree", tree, "-m", "bomb")
    pin = GitSource(kind="git", url=upstream.as_uri(), commit=bomb)
    git(upstream, "update-ref", "refs/heads/bomb", bomb)
    with pytest.raises(UnsafeArchiveError, match=words):
        fetch_commit(pin, store, tmp_path / "cache", mirror=None, offline=False)


def test_a_full_disk_is_explained(
    upstream: Path, commit: Callable[..., str], store: ObjectStore, tmp_path: Path, small_disk: Path
) -> None:
    head = commit(
        upstream, {"big.txt": "".join(random.Random(1).choices(string.printable, k=500_000))}
    )
    with pytest.raises(StorageError, match="No space left on device"):
        fetch_commit(
            GitSource(kind="git", url=upstream.as_uri(), commit=head),
            store,
            small_disk / "cache",
            mirror=None,
            offline=False,
        )
    assert fetch_commit(
        GitSource(kind="git", url=upstream.as_uri(), commit=head),
        store,
        tmp_path / "cache",
        mirror=None,
        offline=False,
    )


def test_the_mirror_of_an_interrupted_run_is_completed(
    pin: GitSource, store: ObjectStore, tmp_path: Path
) -> None:
    fetch_commit(pin, store, tmp_path / "cache", mirror=None, offline=False)
    (bare,) = (tmp_path / "cache/mirrors").iterdir()
    (bare / "HEAD").unlink()
    assert fetch_commit(pin, store, tmp_path / "cache", mirror=None, offline=False) == pin.tree


@pytest.fixture
def mirrored(
    tmp_path: Path, commit: Callable[..., str], git: Callable[..., str]
) -> tuple[GitSource, Path]:
    """A pin that lies in a mirror alone: its host is not there."""
    upstream = tmp_path / "owner/name"
    commit(upstream, {"a": "first\n"})
    pinned = commit(upstream, {"a": "second\n"})
    git(upstream, "tag", "v1")
    commit(upstream, {"a": "third\n"})
    return GitSource(
        kind="git", url=f"file://{tmp_path}/gone/owner/name", tag="v1", commit=pinned
    ), upstream


def told(
    source: GitSource,
    mirror: Path,
    tmp_path: Path,
    store: ObjectStore,
    error: type[Exception] = UnreachableError,
) -> str:
    with pytest.raises(error) as caught:
        fetch_commit(source, store, tmp_path / "cache", mirror=mirror, offline=False)
    return str(caught.value)


def test_a_shallow_mirror_is_no_attack(
    mirrored: tuple[GitSource, Path], tmp_path: Path, store: ObjectStore, git: Callable[..., str]
) -> None:
    source, upstream = mirrored
    git(
        tmp_path,
        "clone",
        "--quiet",
        "--bare",
        "--depth=1",
        "--no-tags",
        upstream.as_uri(),
        "mirror/name.git",
    )
    said = told(source, tmp_path / "mirror", tmp_path, store)
    assert "has no tag v1" in said
    assert "cloned in part" in said
    assert "attack" not in said


def test_a_mirror_without_the_commit_or_some_of_its_objects_is_named_so(
    mirrored: tuple[GitSource, Path], tmp_path: Path, store: ObjectStore, git: Callable[..., str]
) -> None:
    source, upstream = mirrored
    git(tmp_path, "clone", "--quiet", "--mirror", upstream.as_uri(), "mirror/name.git")
    bare = tmp_path / "mirror/name.git"
    git(bare, "config", "uploadpack.allowAnySHA1InWant", "true")
    unknown = source.model_copy(update={"tag": None, "commit": "1" * 40})
    assert "does not have the commit" in told(unknown, tmp_path / "mirror", tmp_path, store)
    blob = git(bare, "rev-parse", "v1:a")
    for pack in list((bare / "objects/pack").iterdir()):
        pack.rename(tmp_path / pack.name)
    for pack in tmp_path.glob("*.pack"):
        subprocess.run(
            ["git", "unpack-objects", "-q"], cwd=bare, input=pack.read_bytes(), check=True
        )
    (bare / "objects" / blob[:2] / blob[2:]).unlink()
    said = told(source, tmp_path / "mirror", tmp_path, store, RefusedRepositoryError)
    assert "is there, and git refuses it as not whole" in said
    assert "network" not in said


def test_a_mirror_of_another_owner_says_what_git_wants(
    mirrored: tuple[GitSource, Path],
    tmp_path: Path,
    store: ObjectStore,
    git: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source, upstream = mirrored
    git(tmp_path, "clone", "--quiet", "--mirror", upstream.as_uri(), "mirror/name.git")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own switch for its own tests
    said = told(source, tmp_path / "mirror", tmp_path, store, RefusedRepositoryError)
    assert "belongs to another user" in said
    assert "safe.directory" in said


def damaged(cache: Path) -> Path:
    return next((cache / "mirrors").iterdir())


def test_a_cached_repository_that_lost_its_head_is_put_right(
    pin: GitSource, store: ObjectStore, tmp_path: Path
) -> None:
    fetch_commit(pin, store, tmp_path / "cache", mirror=None, offline=False)
    (damaged(tmp_path / "cache") / "HEAD").write_text("", encoding="utf-8")
    shutil.rmtree(damaged(tmp_path / "cache") / "objects")
    assert fetch_commit(pin, store, tmp_path / "cache", mirror=None, offline=False) == pin.tree


def emptied(cache: Path, pattern: str = "*") -> None:
    """Leave nothing in the objects of the cached repository whose names fit."""
    for each in [each for each in (damaged(cache) / "objects").rglob(pattern) if each.is_file()]:
        each.chmod(0o644)
        each.write_bytes(b"")


def test_damaged_objects_of_the_cache_are_fetched_anew(
    pin: GitSource, store: ObjectStore, tmp_path: Path
) -> None:
    fetch_commit(pin, store, tmp_path / "cache", mirror=None, offline=False)
    emptied(tmp_path / "cache")
    assert (
        fetch_commit(
            pin, ObjectStore(tmp_path / "other.git"), tmp_path / "cache", mirror=None, offline=False
        )
        == pin.tree
    )


def test_a_broken_cache_inside_a_users_repository_leaves_that_alone(
    pin: GitSource,
    git: Callable[..., str],
    commit: Callable[..., str],
    store: ObjectStore,
    tmp_path: Path,
) -> None:
    own = tmp_path / "own"
    commit(own, {"mine.txt": "1\n"})
    before = git(own, "for-each-ref")
    fetch_commit(pin, store, own / "cache", mirror=None, offline=False)
    (damaged(own / "cache") / "config").write_text("[core\n", encoding="utf-8")
    assert fetch_commit(pin, store, own / "cache", mirror=None, offline=False) == pin.tree
    assert git(damaged(own / "cache"), "for-each-ref") != ""
    assert git(own, "for-each-ref") == before


def test_without_git_the_command_to_install_it_is_said(
    pin: GitSource, store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        ToolchainError, match=r"There is no git on the PATH.*\n.*apt-get install --yes git"
    ):
        fetch_commit(pin, store, tmp_path / "cache", mirror=None, offline=False)
