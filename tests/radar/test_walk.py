"""Which commits the radar walks, with git itself as the oracle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from forkhouse.core.errors import UnreachableError, UsageError
from forkhouse.documents.lockfile import GitSource, Upstream
from forkhouse.flow.survey import settled_releases
from forkhouse.patches.verdicts import Verdict
from forkhouse.radar.candidates import Walk, commit_candidates
from forkhouse.radar.scan import Cell, Matrix

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from forkhouse.sources.store import ObjectStore

    Git = Callable[..., str]


@pytest.fixture
def upstream(tmp_path: Path, git: Git, commit: Callable[..., str]) -> Path:
    """A history with a release branch.

    Main goes on for six commits, and one side branch is merged into it.
    """
    folder = tmp_path / "upstream"
    commit(folder, {"a": "0"})
    commit(folder, {"a": "1"})
    git(folder, "tag", "fork")
    git(folder, "checkout", "--quiet", "-b", "release")
    commit(folder, {"fix": "1"})
    git(folder, "tag", "v1.0")
    git(folder, "checkout", "--quiet", "main")
    for number in range(2, 5):
        commit(folder, {"a": str(number)})
    git(folder, "checkout", "--quiet", "-b", "side", "fork")
    commit(folder, {"b": "1"})
    commit(folder, {"b": "2"})
    git(folder, "checkout", "--quiet", "main")
    git(folder, "merge", "--quiet", "--no-ff", "--message=merge", "side")
    git(folder, "tag", "v2.0")
    commit(folder, {"a": "5"})
    git(folder, "tag", "v2.1rc1")
    git(folder, "tag", "nightly-7")
    commit(folder, {"a": "6"})
    return folder


def walked(walk: Walk) -> list[str]:
    return [candidate.commit for candidate in walk.candidates if not candidate.fork]


@pytest.mark.parametrize("pin", ["v1.0", "fork", "main~4", "side~1", "main"])
def test_the_way_is_that_of_git_and_the_nearest_come_first(
    upstream: Path, store: ObjectStore, git: Git, pin: str
) -> None:
    base = git(upstream, "merge-base", pin, "main")
    after = git(upstream, "rev-list", "--first-parent", "--reverse", f"{base}..main").splitlines()
    pinned = git(upstream, "rev-parse", f"{pin}^{{commit}}")
    for limit in (0, 1, 3, 100):
        walk = commit_candidates(upstream, pinned, "main", store, limit=limit)
        assert walked(walk) == [pinned, *after[:limit]]
        assert walk.beyond == max(0, len(after) - limit)
        assert [candidate.commit for candidate in walk.candidates if candidate.fork] == (
            [] if base == pinned else [base]
        )


@pytest.mark.parametrize("until", ["fork", "fork~1"])
def test_what_is_older_than_the_pin_is_refused(
    upstream: Path, store: ObjectStore, git: Git, until: str
) -> None:
    pinned = git(upstream, "rev-parse", "v1.0")
    with pytest.raises(UsageError, match=rf"{until} is older than the pin {pinned[:12]}"):
        commit_candidates(upstream, pinned, until, store, limit=9)


def test_what_is_no_commit_is_explained(
    upstream: Path, store: ObjectStore, git: Git, commit: Callable[..., str], tmp_path: Path
) -> None:
    pinned = git(upstream, "rev-parse", "v1.0")
    git(upstream, "tag", "blob", git(upstream, "rev-parse", "main:a"))
    for name in ("no-such-thing", "0" * 40, "main:a", "blob", "main..fork", ""):
        with pytest.raises(UsageError, match="has no commit"):
            commit_candidates(upstream, pinned, name, store, limit=9)
    with pytest.raises(UnreachableError, match="is no git repository"):
        commit_candidates(tmp_path / "nowhere", pinned, "main", store, limit=9)
    stranger = commit(tmp_path / "stranger", {"a": "other"})
    git(upstream, "fetch", "--quiet", str(tmp_path / "stranger"), f"{stranger}:refs/heads/stranger")
    with pytest.raises(UsageError, match="have no commit in common"):
        commit_candidates(upstream, pinned, "stranger", store, limit=9)


def test_a_shallow_mirror_is_named_as_such(
    upstream: Path, store: ObjectStore, git: Git, tmp_path: Path
) -> None:
    git(
        tmp_path,
        "clone",
        "--quiet",
        "--mirror",
        "--depth=1",
        "--no-single-branch",
        upstream.as_uri(),
        "mirror.git",
    )
    with pytest.raises(
        UnreachableError, match="It is a shallow clone: `git fetch --unshallow` there"
    ):
        commit_candidates(
            tmp_path / "mirror.git", git(upstream, "rev-parse", "v1.0"), "main", store, limit=9
        )


def matrix(walk: Walk, settled: int) -> Matrix:
    """A matrix of one patch, applied on the first `settled` candidates and in conflict on the
    rest.
    """
    verdicts = [
        Verdict.CLEAN if number < settled else Verdict.CONFLICT
        for number in range(len(walk.candidates))
    ]
    cells = (tuple(Cell(verdict=verdict, cause="") for verdict in verdicts),)
    return Matrix(
        upstream="u",
        form="git",
        pin="v1.0",
        candidates=walk.candidates,
        patches=("p",),
        cells=cells,
    )


def test_only_a_release_is_pinned_by_its_version(
    upstream: Path, store: ObjectStore, git: Git
) -> None:
    pinned = git(upstream, "rev-parse", "v1.0")
    walk = commit_candidates(upstream, pinned, "main", store, limit=100)
    source = GitSource(kind="git", url="https://host.invalid/owner/name", tag="v1.0", commit=pinned)
    lock = Upstream(version="1.0", licence="MIT", why="A test.", sources=(source,))
    found = {version: each.commit for each, version in settled_releases(matrix(walk, 100), lock)}
    assert found == {"1.0": pinned, "2.0": git(upstream, "rev-parse", "v2.0")}
    assert [version for _, version in settled_releases(matrix(walk, 3), lock)] == ["1.0"]
    assert not list(settled_releases(matrix(walk, 0), lock))


def test_what_the_fork_lacks_no_later_commit_has_broken(
    upstream: Path, store: ObjectStore, git: Git
) -> None:
    walk = commit_candidates(upstream, git(upstream, "rev-parse", "v1.0"), "main", store, limit=100)
    broken = matrix(walk, 1).first_break(0)
    assert broken is not None
    assert broken.fork


def test_a_series_without_patches_divides_by_nothing(
    upstream: Path, store: ObjectStore, git: Git
) -> None:
    walk = commit_candidates(upstream, git(upstream, "rev-parse", "v1.0"), "main", store, limit=1)
    empty = Matrix(
        upstream="u", form="git", pin="v1.0", candidates=walk.candidates, patches=(), cells=()
    )
    assert set(empty.survival()) == {0.0}
    assert empty.newest_whole() is None
