from __future__ import annotations

import contextlib
import io
import os
from typing import TYPE_CHECKING

import pytest

from forkhouse.core import progress
from forkhouse.core.errors import RefusedRepositoryError, UnreachableError
from forkhouse.documents.lockfile import GitSource
from forkhouse.sources.git import fetch_commit
from forkhouse.sources.gitcommand import GitError, fetch
from forkhouse.sources.gitprogress import FetchProgress
from forkhouse.sources.repositories import lay_out

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from forkhouse.sources.store import ObjectStore

FILES = 400


class Work:
    """One task, and how far it was said to be."""

    def __init__(self, subject: str, total: float, moved: Callable[[], object]) -> None:
        self.subject, self.total, self._moved = subject, total, moved
        self.states: list[float] = []

    def advance(self, amount: float) -> None:
        self.states.append((self.states or [0.0])[-1] + amount)
        self._moved()


class Recorder(progress.Silent):
    """What was told."""

    def __init__(self) -> None:
        self.tasks: list[Work] = []
        self.moved: Callable[[], object] = object

    @contextlib.contextmanager
    def task(self, subject: str, *, total: float) -> Iterator[Work]:
        self.tasks.append(Work(subject, total, self.moved))
        yield self.tasks[-1]


@pytest.fixture
def told() -> Iterator[Recorder]:
    recorder = Recorder()
    token = progress._current.set(recorder)
    yield recorder
    progress._current.reset(token)


@pytest.fixture
def upstream(tmp_path: Path, commit: Callable[..., str]) -> Path:
    """A repository of many files, most of them alike, so that git sends differences."""
    alike = "\n".join(str(number) for number in range(200))
    commit(
        tmp_path / "upstream",
        {f"d{n % 7}/{n}.txt": f"{alike}\n{n}\n" for n in range(FILES)},
    )
    return tmp_path / "upstream"


@pytest.fixture
def pin(upstream: Path, git: Callable[..., str]) -> GitSource:
    return GitSource(
        kind="git", url=upstream.as_uri(), commit=git(upstream, "rev-parse", "HEAD"), tree=None
    )


def test_what_is_told_of_a_fetch_ends_at_its_total(
    pin: GitSource,
    upstream: Path,
    git: Callable[..., str],
    store: ObjectStore,
    tmp_path: Path,
    told: Recorder,
) -> None:
    fetch_commit(pin, store, tmp_path / "cache", mirror=None, offline=False)
    objects = len(git(upstream, "rev-list", "--objects", "HEAD").splitlines())
    assert objects == FILES + 7 + 2  # the folders, the tree above them, the commit
    # From the host to the cache, and from there to the store.
    received = [task for task in told.tasks if task.subject == "git objects"]
    assert [task.total for task in received] == [objects, objects]
    assert [task.subject for task in told.tasks] == ["git objects", "git deltas"] * 2
    for task in told.tasks:
        assert task.states == sorted(task.states)
        assert len(set(task.states)) > 20
        assert task.states[-1] == task.total > 0


def test_where_nothing_comes_nothing_is_told(
    pin: GitSource, tmp_path: Path, store: ObjectStore, told: Recorder
) -> None:
    gone = pin.model_copy(update={"commit": "1" * 40})
    with pytest.raises(UnreachableError, match="not our ref"):
        fetch_commit(gone, store, tmp_path / "cache", mirror=None, offline=False)
    with pytest.raises(UnreachableError, match="did not answer"):
        fetch_commit(
            pin.model_copy(update={"url": (tmp_path / "nobody").as_uri()}),
            store,
            tmp_path / "cache",
            mirror=None,
            offline=False,
        )
    assert told.tasks == []
    fetch_commit(pin, store, tmp_path / "cache", mirror=None, offline=False)
    told.tasks.clear()
    fetch_commit(pin, store, tmp_path / "cache", mirror=None, offline=False)
    assert told.tasks == []


def test_a_fetch_that_fails_in_its_middle_is_explained_without_its_progress(
    pin: GitSource, upstream: Path, git: Callable[..., str], store: ObjectStore, tmp_path: Path
) -> None:
    blob = upstream / ".git/objects"
    name = git(upstream, "rev-parse", "HEAD:d3/3.txt")
    place = blob / name[:2] / name[2:]
    place.chmod(0o644)
    place.write_bytes(place.read_bytes()[:9] + b"xxxx")
    lay_out(tmp_path / "bare.git")
    with (tmp_path / "lock").open("wb") as lock, pytest.raises(GitError) as caught:
        fetch(
            tmp_path / "bare.git",
            "--depth=1",
            str(pin.url),
            f"{pin.commit}:refs/x",
            inherit=[lock.fileno()],
        )
    lines = caught.value.stderr.splitlines()
    assert lines
    assert not [line for line in lines if "%" in line or line.startswith("From ")], lines
    assert any(line.startswith(("fatal:", "error:")) for line in lines)
    with pytest.raises(RefusedRepositoryError, match="Mirror it anew"):
        fetch_commit(pin, store, tmp_path / "cache", mirror=None, offline=False)


SAID = b"""\
remote: Enumerating objects: 999, done.\r
remote: Receiving objects: 100% (999/999), done.
remote: no space left of what a host may say
Receiving objects:  50% (1/2)\rReceiving objects: 100% (2/2)\r\
Receiving objects: 100% (2/2), 2.00 KiB | 2.00 MiB/s, done.
Unpacking objects: 100% (2/2), 9 bytes | 9.00 KiB/s, done.
From https://h/SSL
 * [new ref]         abc -> refs/forkhouse/abc
 ! [rejected]        abc -> refs/forkhouse/abc  (unable to update local ref)
warning: 3 of \xff
fatal: early EOF
"""


def test_only_gits_own_counts_are_progress_and_the_rest_is_kept(told: Recorder) -> None:
    with FetchProgress() as shown:
        said = shown.follow(io.BytesIO(SAID))
    assert said.splitlines() == [
        "remote: no space left of what a host may say",
        " ! [rejected]        abc -> refs/forkhouse/abc  (unable to update local ref)",
        "warning: 3 of \udcff",
        "fatal: early EOF",
    ]
    assert [(task.total, task.states) for task in told.tasks] == [(2.0, [1.0, 2.0, 2.0])]


def test_progress_is_told_while_git_is_at_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: Recorder
) -> None:
    tool = tmp_path / "bin/git"
    tool.parent.mkdir()
    went_on = tmp_path / "went-on"
    tool.write_text(
        "#!/bin/sh\n"
        "printf 'Receiving objects:  50%% (1/2)\\rReceiving objects:  50%% (1/2)\\r' >&2\n"
        f"for _ in $(seq 200); do [ -e {went_on} ] && break; sleep 0.05; done\n"
        f"[ -e {went_on} ] || exit 9\n"
        "printf 'Receiving objects: 100%% (2/2), done.\\n' >&2\n",
        encoding="utf-8",
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}{os.pathsep}{os.environ['PATH']}")
    told.moved = went_on.touch
    fetch(tmp_path, "address", inherit=[])
    assert [task.states for task in told.tasks] == [[1.0, 1.0, 2.0]]
