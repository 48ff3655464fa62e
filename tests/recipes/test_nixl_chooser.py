"""The chooser that our patches put into vLLM and Dynamo: as git writes it, run by itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PATCHES = Path(__file__).parents[2] / "patches"
ADDED = {
    "vllm/0003-add-nixl-package-chooser.patch": "vllm/distributed/nixl_package.py",
    "dynamo-runtime/0001-add-nixl-package-chooser.patch": (
        "lib/bindings/python/src/dynamo/nixl_package.py"
    ),
}


def written(folder: Path, patch: str) -> Path:
    folder.mkdir()
    subprocess.run(
        ["git", "apply", "--unsafe-paths", f"--directory={folder}", PATCHES / patch],
        cwd="/",
        check=True,
    )
    return folder / ADDED[patch]


@pytest.fixture
def chooser(tmp_path: Path) -> Path:
    """A folder of packages with the chooser in it."""
    packages = tmp_path / "packages"
    packages.mkdir()
    written(tmp_path / "tree", next(iter(ADDED))).rename(packages / "nixl_package.py")
    return packages


def install(folder: Path, *builds: str, is_nixl: bool = True) -> None:
    for build in builds:
        (folder / build).mkdir()
        (folder / build / "__init__.py").touch()
        if is_nixl:
            (folder / build / "_api.py").touch()


def choose(folder: Path, setting: str = "", default: str = "nixl") -> str:
    """Return what the chooser names, or what it raises."""
    program = (
        f"from nixl_package import *\ntry:\n    print(nixl_package_name({default!r}))\nexcept "
        "NixlPackageError as error:\n    print(error)"
    )
    environment = {
        "PYTHONPATH": str(folder),
        "PYTHONDONTWRITEBYTECODE": "1",
        "FORKHOUSE_NIXL_PACKAGE": setting,
    }
    return subprocess.run(
        [sys.executable, "-S", "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


def test_both_halves_have_the_same_chooser(tmp_path: Path) -> None:
    first, second = (
        written(tmp_path / patch.partition("/")[0], patch).read_text(encoding="utf-8")
        for patch in ADDED
    )
    assert first == second


@pytest.mark.parametrize("build", ["nixl_rocm", "rixl", "nixl"])
def test_the_build_that_is_installed_is_chosen(chooser: Path, build: str) -> None:
    assert choose(chooser) == "nixl"
    assert choose(chooser, default="nixl_rocm") == "nixl_rocm"
    install(chooser, build)
    assert choose(chooser, default="another") == build


def test_what_cannot_be_decided_is_an_error(chooser: Path) -> None:
    assert (
        "FORKHOUSE_NIXL_PACKAGE=rixl, but that package is not installed (installed: none)"
        in choose(chooser, "rixl")
    )
    install(chooser, "nixl_rocm", "rixl")
    assert choose(chooser).startswith("Several NIXL builds are installed: nixl_rocm, rixl.")
    assert choose(chooser, "rixl") == "rixl"
    assert choose(chooser, "nixl_cu13").startswith(
        "FORKHOUSE_NIXL_PACKAGE=nixl_cu13 is not a NIXL build known here."
    )


@pytest.mark.parametrize("build", ["nixl_cu13", "nixl_metal", "rixl_cu12"])
def test_a_foreign_build_is_named(chooser: Path, build: str) -> None:
    install(chooser, build)
    assert choose(chooser).startswith(
        f"The NIXL build that is installed, {build}, is none of those known here"
    )
    assert f"(installed: {build}, which is not known here)" in choose(chooser, "rixl")


@pytest.mark.parametrize("is_nixl", [True, False])
def test_where_a_package_nixl_is_there_it_chooses_among_the_others(
    chooser: Path, *, is_nixl: bool
) -> None:
    install(chooser, "nixl_cu12")
    install(chooser, "nixl", is_nixl=is_nixl)
    assert choose(chooser) == "nixl"


def test_a_package_that_only_sounds_like_a_build_is_none(chooser: Path) -> None:
    install(chooser, "nixl_tools", is_nixl=False)
    assert choose(chooser) == "nixl"
