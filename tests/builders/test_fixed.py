from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from forkhouse.builders.environment import run_isolated
from forkhouse.builders.fixed import FixedPlace
from forkhouse.core.errors import BuildError, ToolchainError
from forkhouse.sandbox.bubblewrap import Sandbox, View, find_sandbox
from forkhouse.sandbox.run import Confined

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
        place = FixedPlace(work=work, shown={"crates": tmp_path / "shown"})
        confined = place.confined(Confined(sandbox=find_sandbox(), view=View(work=work)))
        folder = place.inside(work / "project")
        run_isolated(
            ["sh", "-c", command],
            confined=confined,
            folder=folder,
            variables={"PATH": "/usr/bin:/bin"},
            log=log,
        )
        return log.read_text(encoding="utf-8")

    return there


def test_a_build_sees_its_files_there_and_leaves_them_in_its_folder(
    run: Callable[[str], str], work: Path
) -> None:
    assert run("pwd; cat ../crates/given; echo made > made") == "/forkhouse/project\ngiven\n"
    assert (work / "project/made").read_text(encoding="utf-8") == "made\n"
    assert list((work / "crates").iterdir()) == []
    assert not Path("/forkhouse").exists()


def test_what_is_shown_cannot_be_changed(run: Callable[[str], str], tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="Read-only file system"):
        run("echo spoilt > ../crates/given")
    assert (tmp_path / "shown/given").read_text(encoding="utf-8") == "given\n"


def test_there_is_no_such_place_without_a_sandbox(work: Path) -> None:
    with pytest.raises(ToolchainError, match="--unsafe-no-sandbox lets it have none"):
        FixedPlace(work=work, shown={}).confined(
            Confined(sandbox=Sandbox(kind="none"), view=View(work=work))
        )
