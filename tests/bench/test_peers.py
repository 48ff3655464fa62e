from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from bench.peers import PEERS, Case, Replay, git_apply, git_apply_3way, gnu_patch, missing, quilt

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"not installed: {', '.join(missing())}")

LINES = [f"line {number}" for number in range(30)]


def text(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def changed(number: int, new: str, lines: list[str] = LINES) -> list[str]:
    return [*lines[:number], new, *lines[number + 1 :]]


@pytest.fixture
def case(
    tmp_path: Path, git: Callable[..., str], commit: Callable[..., str]
) -> Callable[[list[str]], Case]:
    """Make a case: a patch that changes line 15 of LINES, on a file of these lines."""
    home = tmp_path / "home"
    commit(home, {"a.txt": text(LINES).decode()})
    commit(home, {"a.txt": text(changed(15, "ours")).decode()})
    patch = git(home, "diff", "--full-index", "HEAD~", "HEAD") + "\n"
    return lambda lines: Case(
        files={"a.txt": text(lines)}, patch=patch.encode(), objects=home / ".git/objects"
    )


@pytest.mark.parametrize("tool", PEERS.values(), ids=list(PEERS))
def test_every_tool_applies_to_the_file_that_the_patch_was_made_for(
    tool: Callable[[Case], Replay], case: Callable[..., Case]
) -> None:
    replay = tool(case(LINES))
    assert replay.claimed
    assert not replay.fuzzy
    assert replay.files == {"a.txt": text(changed(15, "ours"))}


@pytest.mark.parametrize("tool", PEERS.values(), ids=list(PEERS))
def test_every_tool_refuses_when_the_line_is_another(
    tool: Callable[[Case], Replay], case: Callable[..., Case]
) -> None:
    assert not tool(case(changed(15, "theirs"))).claimed


@pytest.mark.parametrize("tool", PEERS.values(), ids=list(PEERS))
def test_every_tool_refuses_when_the_file_is_gone(
    tool: Callable[[Case], Replay], case: Callable[..., Case]
) -> None:
    made = case(LINES)
    replay = tool(Case(files={"other.txt": b""}, patch=made.patch, objects=made.objects))
    assert not replay.claimed
    assert "a.txt" not in replay.files


def test_a_changed_line_of_context_is_fuzz_to_patch_and_quilt_and_a_stop_to_git(
    case: Callable[..., Case],
) -> None:
    near = changed(12, "theirs")
    assert not git_apply(case(near)).claimed
    for tool in (gnu_patch, quilt):
        replay = tool(case(near))
        assert replay.claimed
        assert replay.fuzzy
        assert replay.files["a.txt"] == text(changed(15, "ours", near))


def test_a_3_way_merge_takes_what_strict_application_refuses(case: Callable[..., Case]) -> None:
    near = changed(12, "theirs")
    replay = git_apply_3way(case(near))
    assert replay.claimed
    assert replay.files["a.txt"] == text(changed(15, "ours", near))


def test_fuzz_can_land_in_the_wrong_place_and_the_tool_says_it_applied(
    case: Callable[..., Case],
) -> None:
    # The block was rewritten, and a look-alike of it stands elsewhere: the removed line and its
    # nearest context are there, once.
    moved = ["nothing"] * 3 + ["line 14", "line 15", "line 16"] + ["nothing"] * 24
    replay = gnu_patch(case(moved))
    assert replay.claimed
    assert replay.fuzzy
    assert b"ours" in replay.files["a.txt"]


def test_git_apply_inside_another_checkout_does_nothing_and_says_nothing(
    tmp_path: Path, case: Callable[..., Case], commit: Callable[..., str]
) -> None:
    # Why the peers get a repository of their own.
    commit(tmp_path / "checkout", {"readme": "x"})
    inner = tmp_path / "checkout" / "build"
    inner.mkdir()
    (inner / "a.txt").write_bytes(text(LINES))
    result = subprocess.run(
        ["git", "apply", "-"], cwd=inner, input=case(LINES).patch, check=False, capture_output=True
    )
    assert result.returncode == 0
    assert (inner / "a.txt").read_bytes() == text(LINES)
