from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from forkhouse import __version__
from forkhouse.core.revision import checked_out
from forkhouse.core.tars import tarfile
from tests.somebody import git

ROOT = Path(__file__).parents[2]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Make a repository with one commit on a branch with a slash in its name."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=a/branch")
    (folder / "file").touch()
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=first")
    return folder


def head(folder: Path) -> str:
    return git(folder, "rev-parse", "HEAD")


def test_the_commit_is_read_as_git_reads_it(repository: Path) -> None:
    assert checked_out(repository) == head(repository)
    git(repository, "pack-refs", "--all")
    assert not (repository / ".git/refs/heads/a/branch").exists()
    assert checked_out(repository) == head(repository)
    # A loose reference is newer than a packed one.
    git(repository, "commit", "--quiet", "--allow-empty", "--message=second")
    assert checked_out(repository) == head(repository)
    git(repository, "checkout", "--quiet", "--detach", "HEAD~1")
    assert checked_out(repository) == head(repository)


def test_the_commit_of_a_work_tree_beside_others_is_its_own(repository: Path) -> None:
    beside = repository.with_name("beside")
    git(repository, "worktree", "add", "--quiet", "-b", "other", str(beside))
    git(beside, "commit", "--quiet", "--allow-empty", "--message=beside")
    assert checked_out(beside) == head(beside) != head(repository)
    git(beside, "pack-refs", "--all")
    assert checked_out(beside) == head(beside)


@pytest.mark.parametrize(
    "said",
    [
        "",
        "ref: refs/heads/none",
        "ref: ../../file",
        "ref: refs/heads/loop",
        "g" * 40,
        "a" * 39,
        "\0",
    ],
)
def test_what_names_no_commit_is_not_known(repository: Path, said: str) -> None:
    (repository / ".git/refs/heads/loop").write_text("ref: refs/heads/loop\n", encoding="utf-8")
    (repository / ".git/HEAD").write_text(f"{said}\n", encoding="utf-8")
    assert checked_out(repository) is None


def test_what_is_no_repository_has_no_commit(tmp_path: Path) -> None:
    assert checked_out(tmp_path) is None
    (tmp_path / ".git").write_text("gitdir: elsewhere\n", encoding="utf-8")
    assert checked_out(tmp_path) is None
    (tmp_path / ".git").unlink()
    os.mkfifo(tmp_path / ".git")
    assert checked_out(tmp_path) is None


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy what our wheel is made of to a repository of its own."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, folder)
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=all")
    return folder


def version(source: Path) -> str:
    """Return what --version says of the code in a folder, to somebody who has no git."""
    return subprocess.run(
        [sys.executable, "-m", "forkhouse", "--version"],
        env={"PYTHONPATH": str(source), "PATH": ""},
        cwd=source,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


def build(folder: Path, target: str, into: Path) -> Path:
    """Build our wheel or sdist."""
    command = [
        sys.executable,
        "-m",
        "hatchling",
        "build",
        "--target",
        target,
        "--directory",
        str(into),
    ]
    subprocess.run(command, cwd=folder, capture_output=True, check=True)
    (made,) = into.glob("*.whl" if target == "wheel" else "*.tar.gz")
    return made


def unpacked(wheel: Path, into: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(into)
    return into


def test_a_checkout_says_which_commit_is_checked_out(checkout: Path) -> None:
    assert (
        version(checkout / "src")
        == f"forkhouse, version {__version__} (commit {head(checkout)[:12]})"
    )


def test_a_wheel_says_from_which_commit_it_was_built(checkout: Path, tmp_path: Path) -> None:
    said = f"forkhouse, version {__version__} (commit {head(checkout)[:12]})"
    site = unpacked(build(checkout, "wheel", tmp_path / "wheel"), tmp_path / "site")
    assert version(site) == said
    assert git(checkout, "status", "--porcelain") == ""
    # By way of an sdist, as `python -m build` does.
    with tarfile.open(build(checkout, "sdist", tmp_path / "sdist")) as archive:
        archive.extractall(tmp_path / "source", filter="data")
    (source,) = (tmp_path / "source").iterdir()
    assert not (source / ".git").exists()
    again = unpacked(build(source, "wheel", tmp_path / "again"), tmp_path / "other")
    assert version(again) == said


def test_a_wheel_of_a_changed_checkout_says_so(checkout: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    shutil.copytree(checkout, own)
    with (own / "README.md").open("a", encoding="utf-8") as readme:
        readme.write("More.\n")
    site = unpacked(build(own, "wheel", tmp_path / "wheel"), tmp_path / "site")
    assert version(site).endswith(f"(commit {head(own)[:12]} with changes)")


def test_where_nobody_knows_the_commit_the_version_stands_alone(
    checkout: Path, tmp_path: Path
) -> None:
    shutil.copytree(checkout / "src/forkhouse", tmp_path / "site/forkhouse")
    assert version(tmp_path / "site") == f"forkhouse, version {__version__}"


def test_a_wheel_has_every_file_of_the_package(checkout: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(build(checkout, "wheel", tmp_path)) as archive:
        held = {
            name for name in archive.namelist() if not name.partition("/")[0].endswith(".dist-info")
        }
    ours = {
        path.relative_to(checkout / "src").as_posix()
        for path in (checkout / "src").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert held == {*ours, "forkhouse/COMMIT"}
    assert {
        "forkhouse/pages/templates/radar.html",
        "forkhouse/audit/policies/cpu.yaml",
        "forkhouse/py.typed",
    } <= held
