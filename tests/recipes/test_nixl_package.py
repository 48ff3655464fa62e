"""Our package `nixl`, in front of whichever build is installed."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.recipes.conftest import Checkout

SOURCE = Path(__file__).parents[2] / "recipes/nixl/src"


def install(folder: Path, *builds: str) -> None:
    """Lay small NIXL builds in a folder of packages."""
    for build in builds:
        (folder / build).mkdir(parents=True)
        (folder / build / "__init__.py").write_text(
            "from ._api import nixl_agent\n", encoding="utf-8"
        )
        (folder / build / "_api.py").write_text(
            f"from . import _bindings\n\n\ndef nixl_agent():\n    return '{build}'\n",
            encoding="utf-8",
        )
        for module in ("_bindings", "_utils", "logging"):
            (folder / build / f"{module}.py").touch()


def run(folder: Path, program: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PYTHONPATH": f"{SOURCE}:{folder}", "PYTHONDONTWRITEBYTECODE": "1", **variables}
    return subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("build", ["nixl_rocm", "rixl", "nixl_cu12"])
def test_the_installed_build_is_found_under_every_name(tmp_path: Path, build: str) -> None:
    install(tmp_path, build)
    program = f"""
import {build}
from nixl._api import nixl_agent
import nixl._bindings, nixl._utils, nixl.logging, nixl
assert nixl_agent is {build}._api.nixl_agent is nixl.nixl_agent is nixl._api.nixl_agent
assert nixl._bindings is {build}._bindings
print(nixl_agent())
"""
    result = run(tmp_path, program)
    assert (result.stdout, result.stderr) == (f"{build}\n", "")


def test_an_explicit_setting_wins(tmp_path: Path) -> None:
    install(tmp_path, "nixl_rocm", "rixl")
    for build in ("nixl_rocm", "rixl"):
        assert (
            run(
                tmp_path, "import nixl; print(nixl.nixl_agent())", FORKHOUSE_NIXL_PACKAGE=build
            ).stdout
            == f"{build}\n"
        )


@pytest.mark.parametrize(
    ("builds", "setting", "message"),
    [
        (
            ("nixl_rocm", "rixl"),
            "",
            "RuntimeError: Several NIXL builds are installed: nixl_rocm, rixl.",
        ),
        (
            ("rixl",),
            "nixl_rocm",
            (
                "RuntimeError: FORKHOUSE_NIXL_PACKAGE=nixl_rocm, but that build is not installed "
                "(installed: rixl)."
            ),
        ),
        (
            ("rixl",),
            "nixl_cu99",
            "RuntimeError: FORKHOUSE_NIXL_PACKAGE=nixl_cu99 is no NIXL build that is known here.",
        ),
        (
            (),
            "",
            (
                "ImportError: No NIXL build is installed. Install one of nixl_rocm, rixl, "
                "nixl_cu12 "
                "from the wheelhouse."
            ),
        ),
    ],
)
def test_what_cannot_be_decided_is_an_error(
    tmp_path: Path, builds: tuple[str, ...], setting: str, message: str
) -> None:
    install(tmp_path, *builds)
    result = run(tmp_path, "import nixl", FORKHOUSE_NIXL_PACKAGE=setting)
    assert message in result.stderr


def test_a_public_package_called_rixl_is_none(tmp_path: Path) -> None:
    (tmp_path / "rixl").mkdir()
    (tmp_path / "rixl/__init__.py").touch()
    said = run(tmp_path, "import nixl").stderr
    assert (
        "ImportError: No NIXL build is installed. The package rixl that is installed is another "
        "project's. Install one of" in said
    )


@pytest.mark.parametrize("build", ["nixl_cu13", "nixl_cu99", "nixl_metal", "rixl_cu12"])
@pytest.mark.parametrize("setting", ["", "rixl"])
def test_a_foreign_build_is_named_and_not_taken(tmp_path: Path, build: str, setting: str) -> None:
    install(tmp_path, build)
    said = run(tmp_path, "import nixl", FORKHOUSE_NIXL_PACKAGE=setting).stderr
    wanted = (
        f"RuntimeError: The NIXL build that is installed, {build}, is none of those that work with "
        "this wheelhouse"
    )
    not_there = (
        "RuntimeError: FORKHOUSE_NIXL_PACKAGE=rixl, but that build is not installed (installed: "
        f"{build}, which is no build of the"
    )
    assert (not_there if setting else wanted) in said


def test_a_foreign_build_beside_a_known_one_changes_nothing(tmp_path: Path) -> None:
    install(tmp_path, "nixl_cu13", "rixl")
    for setting in ("", "rixl"):
        assert (
            run(
                tmp_path, "import nixl; print(nixl.nixl_agent())", FORKHOUSE_NIXL_PACKAGE=setting
            ).stdout
            == "rixl\n"
        )


def test_a_package_that_only_sounds_like_a_build_is_none(tmp_path: Path) -> None:
    (tmp_path / "nixl_tools").mkdir()
    (tmp_path / "nixl_tools/__init__.py").touch()
    assert (
        "ImportError: No NIXL build is installed. Install one of"
        in run(tmp_path, "import nixl").stderr
    )


def test_a_build_that_cannot_be_loaded_says_so_itself(tmp_path: Path) -> None:
    install(tmp_path, "rixl")
    (tmp_path / "rixl/_bindings.py").write_text(
        "import libucx_that_is_not_there\n", encoding="utf-8"
    )
    assert "No module named 'libucx_that_is_not_there'" in run(tmp_path, "import nixl").stderr


def test_the_recipe_makes_a_wheel_without_requirements(template: Checkout) -> None:
    wheel = template.build("nixl")["nixl"]
    assert wheel.path.name == "nixl-1.4.1+forkhouse.1-py3-none-any.whl"
    with zipfile.ZipFile(wheel.path) as archive:
        names = archive.namelist()
        metadata = archive.read("nixl-1.4.1+forkhouse.1.dist-info/METADATA").decode()
    assert "Requires-Dist" not in metadata
    # vLLM's and Dynamo's own chooser takes a package with this file for a build.
    assert "nixl/_api.py" not in names
