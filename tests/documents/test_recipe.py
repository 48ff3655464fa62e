from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from forkhouse.core.errors import DocumentError
from forkhouse.documents.recipe import Pep517, Repack, SystemPackage, read_recipe

if TYPE_CHECKING:
    from pathlib import Path

TEXT = """\
upstream: demo
distribution: demo-rocm
local: rocm.1
builders:
  git: {kind: pep517, config-settings: {cmake.define.A: "1"}}
  wheel: {kind: repack}
system-packages:
  - {package: gcc, command: gcc}
"""


def write(tmp_path: Path, text: str) -> Path:
    folder = tmp_path / "recipes/demo"
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(text, encoding="utf-8")
    return folder


def test_reads_a_recipe(tmp_path: Path) -> None:
    recipe = read_recipe(write(tmp_path, TEXT))
    assert recipe.builders == {
        "git": Pep517(kind="pep517", config_settings={"cmake.define.A": "1"}),
        "wheel": Repack(kind="repack"),
    }
    assert recipe.system_packages == (SystemPackage(package="gcc", command="gcc"),)
    assert not recipe.rocm


@pytest.mark.parametrize(
    ("upstream", "ours"),
    [
        ("1.10", "1.10+rocm.1"),
        ("1.0rc1", "1.0rc1+rocm.1"),
        ("2.13.0+cpu", "2.13.0+cpu.rocm.1"),
        ("1!2", "1!2+rocm.1"),
    ],
)
def test_the_label_marks_the_version_as_ours(tmp_path: Path, upstream: str, ours: str) -> None:
    assert read_recipe(write(tmp_path, TEXT)).version(upstream) == ours


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("local: rocm.1", "local: ROCM_1", "recipe.yaml:3: local: String should match pattern"),
        (
            "kind: repack",
            "kind: copy",
            (
                "recipe.yaml:6: builders.wheel: Input tag 'copy' found using 'kind' does not match "
                "any of the expected tags"
            ),
        ),
        ("  wheel: ", "  zip: ", "recipe.yaml:6: builders.zip: Input should be 'git'"),
        (
            "command: gcc",
            "command: gcc, file: /usr/bin/gcc",
            "recipe.yaml:8: system-packages[0]: give exactly one of: command, file",
        ),
        (
            "package: gcc, command: gcc",
            "package: gcc",
            "recipe.yaml:8: system-packages[0]: give exactly one of: command, file",
        ),
        (
            "upstream: demo\n",
            "upstream: demo\nflags: -O3\n",
            "recipe.yaml:2: flags: Extra inputs are not permitted",
        ),
    ],
)
def test_a_bad_recipe_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in TEXT
    with pytest.raises(DocumentError, match=re.escape(message)):
        read_recipe(write(tmp_path, TEXT.replace(old, new)))


def test_a_missing_recipe_names_those_that_exist(tmp_path: Path) -> None:
    folder = write(tmp_path, TEXT)
    with pytest.raises(
        DocumentError, match=r"recipes/other/recipe\.yaml is missing.*Recipes that exist: demo\."
    ):
        read_recipe(folder.parent / "other")


RUST = """\
upstream: demo
distribution: demo
local: rocm.1
builders:
  git:
    {kind: upstream, folder: lib/python, packages: [demo], requires: [maturin],
     cargo: {rustc: ">=1.80"}, system-packages: [{package: protoc, command: protoc}]}
  wheel: {kind: repack}
system-packages:
  - {package: gcc, command: gcc}
"""


def test_each_form_has_the_packages_of_the_recipe_and_its_own(tmp_path: Path) -> None:
    recipe = read_recipe(write(tmp_path, RUST))
    assert [package.package for package in recipe.packages("git")] == ["gcc", "protoc"]
    assert [package.package for package in recipe.packages("wheel")] == ["gcc"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("lib/python", "../python", "folder: String should match pattern"),
        ("lib/python", "/python", "folder: String should match pattern"),
        (">=1.80", "<2", "say the oldest release that will do"),
        (">=1.80", "1.80", "rustc: Invalid specifier"),
    ],
)
def test_a_way_to_compile_rust_is_checked(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(DocumentError, match=re.escape(message)):
        read_recipe(write(tmp_path, RUST.replace(old, new)))
