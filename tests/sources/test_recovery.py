"""Whatever a killed run, a power cut or a broken disk left in a repository of ours.

The next run gives the same tree, or says why not.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from forkhouse.core.errors import (
    BusyError,
    RefusedRepositoryError,
    StorageError,
    ToolchainError,
    UnreachableError,
)
from forkhouse.core.journal import Journal
from forkhouse.core.progress import showing
from forkhouse.documents.lockfile import GitSource, SdistSource, Upstream
from forkhouse.sources import repositories
from forkhouse.sources.acquire import Access, acquire
from forkhouse.sources.git import fetch_commit
from forkhouse.sources.gitcommand import GitError, run_git
from forkhouse.sources.index import Registry
from forkhouse.sources.repositories import held, put_right
from forkhouse.sources.store import ObjectStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KILLS = 30
DAY = 24 * 60 * 60.0
TEMPORARY = ("shallow_", ".config.", "tmp_", "incoming-", ".tmp-", "pack_git2_")


@pytest.fixture
def upstream(tmp_path: Path, commit: Callable[..., str], git: Callable[..., str]) -> Path:
    """A repository of two releases, in each so many files that git sends a pack."""
    folder = tmp_path / "upstream/demo"
    numbers = random.Random(1)
    for release in ("v1", "v2"):
        commit(
            folder,
            {
                f"d{number % 7}/{number}.txt": f"{release} {numbers.random()}\n" * 20
                for number in range(150)
            },
        )
        git(folder, "tag", release)
    return folder


def pinned(upstream: Path, git: Callable[..., str], tag: str = "v2") -> GitSource:
    commit, tree = (git(upstream, "rev-parse", f"{tag}^{{{kind}}}") for kind in ("commit", "tree"))
    return GitSource(kind="git", url=upstream.as_uri(), tag=tag, commit=commit, tree=tree)


@pytest.fixture
def pin(upstream: Path, git: Callable[..., str]) -> GitSource:
    return pinned(upstream, git)


class Place:
    """A cache and a store."""

    def __init__(self, folder: Path) -> None:
        self.cache = folder / "cache"
        self.folder = folder / "store.git"

    def fetch(self, pin: GitSource, *, offline: bool = False) -> str:
        """Fetch, and let git say that what came is whole, in both places."""
        tree = fetch_commit(pin, ObjectStore(self.folder), self.cache, mirror=None, offline=offline)
        for folder in (self.mirror, self.folder):
            listed = subprocess.run(
                ["git", "fsck", "--strict", "--no-dangling", "--no-progress"],
                cwd=folder,
                capture_output=True,
                text=True,
                check=False,
            )
            assert (listed.returncode, listed.stdout) == (0, ""), listed.stderr
            subprocess.run(["git", "archive", "--output=/dev/null", tree], cwd=folder, check=True)
            assert not [
                path
                for path in folder.rglob("*")
                if path.name.endswith(".lock") or "tmp_" in path.name
            ]
        assert not list((self.cache / "mirrors").glob("*.new"))
        return tree

    @property
    def mirror(self) -> Path:
        (bare,) = (self.cache / "mirrors").glob("*.git")
        return bare


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "place")


LEFT = (
    "shallow.lock",
    "HEAD.lock",
    "config.lock",
    "index.lock",
    "packed-refs.lock",
    "refs/forkhouse/COMMIT.lock",
    "refs/heads/main.lock",
    "objects/pack/tmp_pack_aBcDeF",
    "objects/pack/tmp_idx_aBcDeF",
    "objects/pack/.tmp-1-pack-0.pack",
    "objects/00/tmp_obj_aBcDeF",
    "objects/tmp_objdir-incoming-aBcDeF/pack/tmp_pack_x",
    "shallow_aBcDeF",
)


@pytest.mark.parametrize("where", ["mirror", "folder"])
@pytest.mark.parametrize("name", LEFT)
def test_what_a_killed_git_left_is_nobodys(
    place: Place, upstream: Path, git: Callable[..., str], where: str, name: str
) -> None:
    place.fetch(pinned(upstream, git, "v1"))
    pin = pinned(upstream, git)
    left = getattr(place, where) / name.replace("COMMIT", str(pin.commit))
    left.parent.mkdir(parents=True, exist_ok=True)
    left.write_bytes(b"half")
    assert place.fetch(pin) == pin.tree


@pytest.mark.parametrize("name", ["shallow.lock", "config.lock", "refs/forkhouse/x.lock"])
def test_locks_in_a_mirror_that_was_only_begun_are_nobodys(
    place: Place, pin: GitSource, name: str
) -> None:
    place.fetch(pin)
    bare = place.mirror
    subprocess.run(["rm", "-r", bare], check=True)
    subprocess.run(["git", "init", "--quiet", "--bare", bare], check=True)
    (bare / name).parent.mkdir(parents=True, exist_ok=True)
    (bare / name).touch()
    assert place.fetch(pin) == pin.tree


def spoil(path: Path, how: str) -> None:
    """Empty, cut, flip or delete a file, or put a folder or a dead link in its place."""
    content = path.read_bytes()
    path.unlink()
    match how:
        case "emptied":
            path.write_bytes(b"")
        case "cut":
            path.write_bytes(content[: len(content) // 2])
        case "cut at the end":
            path.write_bytes(content[:-1])
        case "flipped":
            middle = len(content) // 2
            path.write_bytes(
                content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]
            )
        case "folder":
            path.mkdir()
        case "link":
            path.symlink_to("nowhere")
        case _:
            assert how == "deleted"


HOW = ("emptied", "cut", "cut at the end", "flipped", "deleted", "folder", "link")


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("where", ["mirror", "folder"])
@pytest.mark.parametrize(
    "pattern",
    ["HEAD", "config", "shallow", "refs/forkhouse/*", "objects/pack/*.pack", "objects/pack/*.idx"],
)
def test_damage_is_repaired_or_fetched_anew(
    place: Place, pin: GitSource, where: str, pattern: str, how: str
) -> None:
    place.fetch(pin)
    (path,) = getattr(place, where).glob(pattern)
    spoil(path, how)
    assert place.fetch(pin) == pin.tree


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("where", ["mirror", "folder"])
@pytest.mark.parametrize("what", ["v2", "v2^{tree}", "v2:d1", "v2:d1/1.txt"])
def test_a_damaged_object_is_fetched_anew(
    place: Place,
    pin: GitSource,
    upstream: Path,
    git: Callable[..., str],
    where: str,
    what: str,
    how: str,
) -> None:
    place.fetch(pin)
    folder = getattr(place, where)
    (pack,) = (folder / "objects/pack").glob("*.pack")
    content = pack.read_bytes()
    for each in (folder / "objects/pack").iterdir():
        each.unlink()
    subprocess.run(["git", "unpack-objects", "-q"], cwd=folder, input=content, check=True)
    name = git(upstream, "rev-parse", what)
    spoil(folder / "objects" / name[:2] / name[2:], how)
    assert place.fetch(pin) == pin.tree


def test_one_damaged_commit_takes_no_other_with_it(
    place: Place, upstream: Path, git: Callable[..., str]
) -> None:
    first, second = (pinned(upstream, git, tag) for tag in ("v1", "v2"))
    for each in (first, second):
        place.fetch(each)
    reference = place.mirror / "refs/forkhouse" / str(second.commit)
    spoil(reference, "emptied")
    upstream.rename(upstream.with_name("gone"))
    assert place.fetch(first, offline=True) == first.tree
    with pytest.raises(UnreachableError, match="is not in the cache and --offline forbids"):
        place.fetch(second, offline=True)


def test_an_index_that_was_lost_is_made_again_without_the_host(
    place: Place, pin: GitSource, upstream: Path
) -> None:
    place.fetch(pin)
    (index,) = (place.mirror / "objects/pack").glob("*.idx")
    spoil(index, "cut")
    upstream.rename(upstream.with_name("gone"))
    other = Place(place.folder.parent / "other")
    other.cache = place.cache
    assert other.fetch(pin, offline=True) == pin.tree


def test_damage_is_said_once(
    place: Place, pin: GitSource, capfd: pytest.CaptureFixture[str]
) -> None:
    place.fetch(pin)
    (pack,) = (place.mirror / "objects/pack").glob("*.pack")
    spoil(pack, "flipped")
    capfd.readouterr()
    with showing():
        place.fetch(pin)
        place.fetch(pin)
    assert capfd.readouterr().err.count("damaged objects were removed") == 1


def test_a_mirror_that_git_refuses_for_another_reason_is_made_anew(
    place: Place, upstream: Path, git: Callable[..., str], capfd: pytest.CaptureFixture[str]
) -> None:
    place.fetch(pinned(upstream, git, "v1"))
    (place.mirror / "refs/forkhouse" / "a..b").mkdir()
    (place.mirror / "info").mkdir(exist_ok=True)
    (place.mirror / "info/grafts").write_text("nonsense\n", encoding="utf-8")
    pin = pinned(upstream, git)
    with showing():
        assert place.fetch(pin) == pin.tree
    assert "fetching" in capfd.readouterr().err


def test_a_store_that_lost_an_object_makes_the_same_tree_again(
    place: Place, pin: GitSource, tmp_path: Path
) -> None:
    """Through `acquire`, which believes a record only as far as the store bears it out."""
    registry, journal = Registry(place.cache, offline=False), Journal(tmp_path / "journal")
    access = Access(policy="git", mirror=None, offline=False, cache=place.cache)
    one = Upstream(version="1.0", licence="MIT", why="An example.", sources=(pin,))

    def get() -> str:
        return acquire(
            "demo",
            one,
            ["git"],
            access=access,
            registry=registry,
            store=ObjectStore(place.folder),
            journal=journal,
        ).tree

    first = get()
    for how in HOW:
        for path in sorted((place.folder / "objects/pack").glob("*.pack")):
            spoil(path, how)
        assert get() == first, how


def _fetch_in_a_group(pin: GitSource, place: Place) -> None:
    os.setsid()
    fetch_commit(pin, ObjectStore(place.folder), place.cache, mirror=None, offline=False)


@pytest.mark.parametrize("alone", [False, True], ids=["with git", "without git"])
def test_killed_at_any_moment_the_next_run_gives_the_same_tree(
    tmp_path: Path, pin: GitSource, alone: bool
) -> None:  # parametrized
    """The whole group, as by the kernel for want of memory and of a container.

    And this process alone, whose git goes on.
    """
    fork = multiprocessing.get_context("fork")
    started = time.monotonic()
    Place(tmp_path / "whole").fetch(pin)
    lasts = time.monotonic() - started
    seed = random.randrange(2**32)
    numbers = random.Random(seed)
    killed = 0
    for number in range(KILLS // 2):
        place = Place(
            tmp_path / str(number % 4)
        )  # what an earlier round made is fetched into again
        process = fork.Process(target=_fetch_in_a_group, args=(pin, place))
        process.start()
        assert process.pid is not None
        time.sleep(lasts * (number + numbers.random()) / (KILLS // 2))
        if process.is_alive():
            killed += 1
            try:
                (os.kill if alone else os.killpg)(process.pid, signal.SIGKILL)
            except ProcessLookupError:  # it has not made its group
                os.kill(process.pid, signal.SIGKILL)
        process.join(60)
        assert place.fetch(pin) == pin.tree, f"seed {seed}"
        subprocess.run(["rm", "-r", place.folder], check=True)
        if number >= 8:
            subprocess.run(["rm", "-r", place.mirror], check=True)
    assert killed > 0


def test_two_checkouts_with_one_cache_wait_for_each_other(tmp_path: Path, pin: GitSource) -> None:
    fork = multiprocessing.get_context("fork")
    places = [Place(tmp_path / name) for name in ("one", "two", "three", "four")]
    for each in places:
        each.cache = tmp_path / "cache"
    runs = [fork.Process(target=_fetch_in_a_group, args=(pin, each)) for each in places]
    for run in runs:
        run.start()
    for run in runs:
        run.join(60)
    assert [run.exitcode for run in runs] == [0] * len(runs)
    assert {each.fetch(pin) for each in places} == {pin.tree}


def test_a_git_that_outlives_its_run_still_holds_the_repository(
    place: Place, pin: GitSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.fetch(pin)
    lock = tmp_path / "lock"
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        with held(place.mirror, lock) as descriptor:
            sleeper = subprocess.Popen(["sleep", "60"], pass_fds=[descriptor])
            os.write(tell, str(sleeper.pid).encode())
            os.kill(os.getpid(), signal.SIGKILL)
    lives = int(os.read(told, 20))
    os.waitpid(child, 0)
    monkeypatch.setattr(repositories, "WAIT", 0.2)
    with pytest.raises(BusyError, match="or a git that it began"), held(place.mirror, lock):
        pass
    os.kill(lives, signal.SIGKILL)
    monkeypatch.setattr(repositories, "WAIT", 20.0)
    with held(place.mirror, lock):
        pass


def refused(upstream: Path, git: Callable[..., str]) -> GitSource:
    """Return a commit whose tree has a file twice, which git's checks refuse."""
    blob = git(upstream, "rev-parse", "HEAD:d0/0.txt")
    entry = b"100644 a\0" + bytes.fromhex(blob)
    written = subprocess.run(
        ["git", "hash-object", "-w", "--stdin", "-t", "tree", "--literally"],
        cwd=upstream,
        input=entry * 2,
        capture_output=True,
        check=True,
    )
    commit = git(upstream, "commit-tree", written.stdout.decode().strip(), "-m", "twice")
    git(upstream, "branch", "twice", commit)
    return GitSource(kind="git", url=upstream.as_uri(), commit=commit)


def test_what_git_refuses_is_no_silence_of_the_host(
    place: Place,
    upstream: Path,
    git: Callable[..., str],
    make_sdist: Callable[..., Path],
    publish: Callable[..., str],
    tmp_path: Path,
) -> None:
    """And the next source of the lock is not taken."""
    path = make_sdist("demo")
    sdist = SdistSource(kind="sdist", package="demo", file=path.name, sha256=publish(path))
    access = Access(policy="auto", mirror=None, offline=False, cache=place.cache)
    registry, journal = Registry(place.cache, offline=False), Journal(tmp_path / "journal")
    both = Upstream(
        version="1.0", licence="MIT", why="An example.", sources=(refused(upstream, git), sdist)
    )
    with pytest.raises(
        RefusedRepositoryError, match=r"is there, and git refuses it.*[Dd]uplicate"
    ) as caught:
        acquire(
            "demo",
            both,
            ["git", "sdist"],
            access=access,
            registry=registry,
            store=ObjectStore(place.folder),
            journal=journal,
        )
    assert caught.value.exit_code == 19
    assert not list((place.cache / "mirrors").iterdir())


@pytest.mark.parametrize("kilobytes", [4, 16, 40, 64, 96, 160])
@pytest.mark.parametrize("where", ["cache", "folder"])
def test_a_disk_that_fills_up_anywhere_is_a_full_disk(
    upstream: Path, commit: Callable[..., str], tmp_path: Path, kilobytes: int, where: str
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    head = commit(upstream, {"big.bin": "".join(random.Random(2).choices("abcdefgh", k=600_000))})
    pin = GitSource(kind="git", url=upstream.as_uri(), commit=head)
    small = tmp_path / "small"
    small.mkdir()
    own = Place(tmp_path / "own")
    setattr(own, where, small / where)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine allows no mounts")
    try:
        with pytest.raises(StorageError) as caught:
            own.fetch(pin)
    finally:
        subprocess.run(
            ["umount", "--lazy", small], check=True
        )  # what caught the error may still hold a file
    assert caught.value.exit_code == 31
    assert own.fetch(pin)


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (
            (
                "fatal: write error: No space left on device\n"
                "fatal: fetch-pack: invalid index-pack "
                "output"
            ),
            StorageError,
        ),
        (
            (
                "error: unable to write file ./objects/ab/cd\nfatal: failed to write object\n"
                "fatal: "
                "unpack-objects failed"
            ),
            StorageError,
        ),
        ("fatal: Unable to create '/x/shallow.lock': Permission denied", StorageError),
        (
            "error: insufficient permission for adding an object to repository database ./objects",
            StorageError,
        ),
        ("fatal: unable to access 'https://h/x/': Could not resolve host: h", UnreachableError),
        (
            "fatal: unable to access 'https://h/x/': The requested URL returned error: 503",
            UnreachableError,
        ),
        (
            "fatal: could not read Username for 'https://h': terminal prompts disabled",
            UnreachableError,
        ),
        (
            (
                "error: RPC failed; curl 18 transfer closed\nfatal: early EOF\nfatal: fetch-pack: "
                "invalid index-pack output"
            ),
            UnreachableError,
        ),
        (
            "error: git-upload-pack '/x/a.git' died of signal 9\nfatal: Could not read from remote",
            ToolchainError,
        ),
        ("error: cannot update ref 'refs/a': couldn't write '/x/refs/a.lock'", StorageError),
        (
            (
                "error: cannot lock ref 'refs/a': Unable to create '/x/refs/a.lock': No space left "
                "on device"
            ),
            StorageError,
        ),
        ("error: cannot update ref 'refs/a': could not close '/x/refs/a.lock'", StorageError),
        ("fatal: could not write config file /x/config", StorageError),
        (
            "remote: No space left on device\nfatal: the remote end hung up unexpectedly",
            UnreachableError,
        ),
        ("remote: No space left on device", RefusedRepositoryError),
        ("remote: fatal: unable to access the index", RefusedRepositoryError),
        (
            (
                "error: object 1234567890123456789012345678901234567890: zeroPaddedFilemode\n"
                "fatal: "
                "fsck error in packed object"
            ),
            RefusedRepositoryError,
        ),
        (
            (
                "fatal: pack is corrupted (SHA1 mismatch)\nfatal: fetch-pack: invalid index-pack "
                "output"
            ),
            RefusedRepositoryError,
        ),
        ("fatal: transport 'http' not allowed", RefusedRepositoryError),
        ("fatal: something that nobody has ever seen", RefusedRepositoryError),
    ],
)
def test_what_git_says_decides_the_class(
    place: Place, pin: GitSource, monkeypatch: pytest.MonkeyPatch, said: str, error: type[Exception]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise GitError(said, said)

    monkeypatch.setattr("forkhouse.sources.git.fetch", fail)
    with pytest.raises(error):
        place.fetch(pin.model_copy(update={"url": "https://h/x", "tag": None}))


def test_git_says_it_in_english(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGUAGE", "de")
    with pytest.raises(GitError, match="fatal: not a git repository"):
        run_git(tmp_path, "--git-dir=.", "rev-parse")


def test_putting_right_what_is_right_changes_nothing(place: Place, pin: GitSource) -> None:
    place.fetch(pin)
    before = {path: path.lstat().st_mtime_ns for path in place.mirror.rglob("*")}
    assert put_right(place.mirror) == 0
    assert {path: path.lstat().st_mtime_ns for path in place.mirror.rglob("*")} == before


@pytest.mark.parametrize(
    "name",
    [
        "shallow_aBcDeF",
        ".config.aBcDeF12",
        "objects/tmp_objdir-incoming-aBcDeF/pack/tmp_pack_x",
        "objects/incoming-1/x",
        "objects/pack/tmp_pack_aBcDeF",
        "objects/pack/.tmp-1-pack-0.pack",
        "objects/pack/pack_git2_aBcDeF",
        "objects/00/tmp_obj_aBcDeF",
    ],
)
def test_the_store_drops_leftovers_by_their_age(tmp_path: Path, name: str) -> None:
    store = ObjectStore(tmp_path / "store.git")
    left = store.folder / name
    left.parent.mkdir(parents=True, exist_ok=True)
    left.write_bytes(b"half")
    *_, top = (
        each
        for each in (left, *left.relative_to(store.folder).parents)
        if each.name.startswith(TEMPORARY)
    )
    top = store.folder / top
    # A living process may still write to what is less than a day old.
    for age, stays in ((0, True), (DAY - 60, True), (60 - DAY, True), (DAY + 60, False)):
        os.utime(top, (time.time() - age,) * 2)
        repositories.drop_old_leftovers(store.folder)
        assert left.exists() is stays, age
    left.parent.mkdir(parents=True, exist_ok=True)
    left.write_bytes(b"half")
    os.utime(top, (time.time() + DAY + 60,) * 2)
    ObjectStore(store.folder).settle()
    assert not left.exists()


def test_a_word_that_no_command_takes_is_a_refusal(place: Place, pin: GitSource) -> None:
    with pytest.raises(RefusedRepositoryError, match="null byte"):
        place.fetch(pin.model_copy(update={"tag": "v2\0"}))
