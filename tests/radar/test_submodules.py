"""The radar over a history whose files come and go by way of a submodule, from the lock on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from forkhouse.core.progress import showing
from forkhouse.core.workspace import find_workspace
from forkhouse.flow.authoring import bench_on, lay_out
from forkhouse.flow.plant import open_plant
from forkhouse.flow.survey import survey
from forkhouse.patches.verdicts import Verdict
from forkhouse.sources.acquire import Access

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from forkhouse.flow.plant import Plant

KERNEL = "def launch():\n    grid = 1\n    return grid + 41\n"
EDIT = """Subject: s
Description: d
Origin: o
Forwarded: no
Retire-When: never
edits:
  - path: kernels/launch.py
    language: python
    operations:
      - replace: {pattern: grid = 1}
        with: grid = 2
"""


class Checkout:
    """A checkout of ours over `app`, whose folder `kernels` is the repository `kernels`.

    As a folder, as a submodule, and as a newer one.
    """

    def __init__(self, folder: Path, git: Callable[..., str], commit: Callable[..., str]) -> None:
        self.folder, self.git = folder, git
        self.mirror = folder / "mirror"
        app, kernels = self.mirror / "app", self.mirror / "kernels"
        first = commit(kernels, {"launch.py": KERNEL})
        second = commit(kernels, {"launch.py": f"import os\n\n{KERNEL}"})
        third = commit(kernels, {"launch.py": "pass\n"})
        commit(app, {"app.py": "import kernels\n", "kernels/launch.py": KERNEL})
        self.as_folder = git(app, "rev-parse", "HEAD")
        git(app, "rm", "--quiet", "-r", "kernels")
        (app / ".gitmodules").write_text(
            '[submodule "kernels"]\n\tpath = kernels\n\turl = ../kernels\n', encoding="utf-8"
        )
        git(app, "add", ".gitmodules")
        self.commits = []
        for inner in (first, second, third):
            git(app, "update-index", "--add", "--cacheinfo", f"160000,{inner},kernels")
            git(app, "commit", "--quiet", "--message=kernels")
            self.commits.append(git(app, "rev-parse", "HEAD"))

    def plant(self, pin: str, extra: str = "", name: str = "root") -> Plant:
        root = self.folder / name
        (root / "patches/app").mkdir(parents=True)
        (root / "recipes").mkdir()
        (root / "patches/app/series").write_text("0001-grid.edit.yaml\n", encoding="utf-8")
        (root / "patches/app/0001-grid.edit.yaml").write_text(EDIT, encoding="utf-8")
        (root / "upstream.lock").write_text(
            "format: 1\npython: '>=3.11'\nrocm: '>=5'\ngpu-targets: [gfx90a]\nprofiles: "
            "{}\nupstreams:\n  app:\n    version: '1'\n"
            "    licence: MIT\n    why: w\n    sources:\n      - {kind: git, url: "
            f"'https://localhost/owner/app', commit: {pin}{extra}}}\n",
            encoding="utf-8",
        )
        return open_plant(
            find_workspace(root),
            Access(policy="git", mirror=self.mirror, offline=False, cache=self.folder / "cache"),
        )


@pytest.fixture
def checkout(tmp_path: Path, git: Callable[..., str], commit: Callable[..., str]) -> Checkout:
    return Checkout(tmp_path, git, commit)


def verdicts(plant: Plant) -> list[Verdict]:
    with showing():
        (matrix,), _ = survey(plant, "app", before=0, after=10, until="HEAD")
    (row,) = matrix.cells
    return [cell.verdict for cell in row]


def test_what_went_into_a_submodule_is_in_conflict(checkout: Checkout) -> None:
    assert verdicts(checkout.plant(checkout.as_folder)) == [Verdict.CLEAN, *[Verdict.CONFLICT] * 3]


def test_what_is_in_a_submodule_that_the_lock_lays_in_is_judged_as_any_file(
    checkout: Checkout,
) -> None:
    plant = checkout.plant(checkout.commits[0], ", submodules: true")
    assert verdicts(plant) == [Verdict.CLEAN, Verdict.MERGED, Verdict.CONFLICT]
    # Where the folder became a submodule with the same files, nothing has happened to them.
    plant = checkout.plant(checkout.as_folder, ", submodules: true", "again")
    assert verdicts(plant) == [Verdict.CLEAN, Verdict.CLEAN, Verdict.MERGED, Verdict.CONFLICT]


def test_a_candidate_whose_submodule_cannot_be_had_is_said_to_lack_it(
    checkout: Checkout, capfd: pytest.CaptureFixture[str]
) -> None:
    plant = checkout.plant(checkout.as_folder, ", submodules: true")
    (checkout.mirror / "kernels").rename(checkout.folder / "gone")
    assert verdicts(plant) == [Verdict.CLEAN, *[Verdict.CONFLICT] * 3]
    said = capfd.readouterr().err
    assert said.count("is judged WITHOUT its submodules") == 3
    assert "holds no repository kernels.git" in said


def test_a_patched_tree_is_laid_out_with_its_submodules(checkout: Checkout, tmp_path: Path) -> None:
    bench = bench_on(
        checkout.plant(checkout.commits[1], ", submodules: true"), "app", forms=["git"]
    )
    lay_out(bench, tmp_path / "out")
    assert (tmp_path / "out/kernels/launch.py").read_text(
        encoding="utf-8"
    ) == f"import os\n\n{KERNEL}".replace("grid = 1", "grid = 2")
    assert not (tmp_path / "out/.git").exists()


def test_a_diff_keeps_the_bytes_of_a_file_that_is_not_utf_8(
    checkout: Checkout, tmp_path: Path
) -> None:
    """Exported and renewed patches are diffs of bytes: git takes them back."""
    from forkhouse.flow.authoring import export  # used here alone

    app = checkout.mirror / "app"
    checkout.git(app, "checkout", "--quiet", "--force", checkout.as_folder)
    (app / "kernels/launch.py").write_bytes(b"# by Zo\xeb\xa0\x85\r\n" + KERNEL.encode())
    checkout.git(app, "commit", "--quiet", "--all", "--message=latin")
    checkout.git(app, "branch", "--quiet", "latin")
    plant = checkout.plant(checkout.git(app, "rev-parse", "HEAD"))
    bench = bench_on(plant, "app", forms=["git"])
    (path,) = export(bench, tmp_path / "export")
    assert b"# by Zo\xeb\xa0\x85\r\n" in path.read_bytes()
    checkout.git(app, "am", "--quiet", "--keep-cr", str(path))
    assert checkout.git(app, "rev-parse", "HEAD^{tree}") == bench.patched
