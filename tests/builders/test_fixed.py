from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from forkhouse.builders import fixed
from forkhouse.builders.environment import run_isolated
from forkhouse.builders.fixed import fixed_place
from forkhouse.errors import BuildError, ToolchainError

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def work(tmp_path: Path) -> Path:
    for name in ("work/project", "shown"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "shown/given").write_text("given\n", encoding="utf-8")
    return tmp_path / "work"


@pytest.fixture
def run(work: Path, tmp_path: Path) -> Callable[[str], str]:
    """Run a shell command in the place and return its output."""

    def there(command: str) -> str:
        log = tmp_path / "log"
        log.unlink(missing_ok=True)
        place = fixed_place(work, {"crates": tmp_path / "shown"})
        run_isolated(["sh", "-c", command], folder=work / "project", variables={"PATH": "/usr/bin:/bin"}, log=log, place=place)
        return log.read_text(encoding="utf-8")

    return there


def test_a_build_sees_its_files_there_and_leaves_them_in_its_folder(run: Callable[[str], str], work: Path) -> None:
    assert run("pwd; cat ../crates/given; echo made > made") == "/mnt/project\ngiven\n"
    assert (work / "project/made").read_text(encoding="utf-8") == "made\n"
    assert list((work / "crates").iterdir()) == []
    assert not Path("/mnt/project").exists()


def test_what_is_shown_cannot_be_changed(run: Callable[[str], str], tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="Read-only file system"):
        run("echo spoilt > ../crates/given")
    assert (tmp_path / "shown/given").read_text(encoding="utf-8") == "given\n"


def test_there_is_no_network(run: Callable[[str], str]) -> None:
    assert run("cat /proc/net/dev | grep -c :") == "1\n"  # the loopback, which is down


def test_a_folder_that_holds_what_the_build_needs_is_no_place(work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = tmp_path / "free"
    free.mkdir()
    monkeypatch.setattr(fixed, "_ROOTS", (tmp_path / "missing", work.parent, free))
    place = fixed_place(work, {})
    assert place.root == free
    assert place.inside(work / "project") == str(free / "project")
    monkeypatch.setattr(fixed, "_ROOTS", (work.parent,))
    with pytest.raises(ToolchainError, match="each is missing or holds what it needs"):
        fixed_place(work, {})
