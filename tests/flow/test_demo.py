"""`forkhouse demo` up to what only the real stack can show: where it gets its Python from."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.flow.conftest import Checkout


def test_without_a_wheelhouse_it_says_how_to_get_one(checkout: Checkout) -> None:
    result = checkout.run("demo", code=2)
    assert "There is no wheelhouse" in result.stderr
    assert "nox -s build-wheels" in result.stderr


def test_it_installs_the_wheelhouse_once(checkout: Checkout) -> None:
    checkout.run("build")
    first = checkout.run("demo", code=41)
    # The small wheelhouse has no PyTorch: what is missing is said in the stack's own words.
    assert "The tiny model could not be written" in first.stderr
    assert "ModuleNotFoundError" in first.stderr
    assert "installing cpu into" in first.stderr
    installed = checkout.root / "build/demo/stack"
    assert list(installed.glob("lib/*/site-packages/small_engine/__init__.py"))
    before = installed.stat().st_ctime_ns
    second = checkout.run("demo", code=41)
    assert "the wheelhouse is installed already" in second.stderr
    assert installed.stat().st_ctime_ns == before
    # What lies there may be anything, and what a link leads to is left alone.
    installed.rename(checkout.root / "mine")
    installed.symlink_to(checkout.root / "mine")
    (checkout.root / "build/demo/installed").write_bytes(b"\xff")
    anew = checkout.run("demo", code=41)
    assert "installing cpu into" in anew.stderr
    assert not installed.is_symlink()
    assert (checkout.root / "mine/generations/1").is_dir()
    # Another wheelhouse is another environment.
    manifest = checkout.root / "wheels/cpu/manifest.json"
    manifest.write_bytes(manifest.read_bytes() + b"\n")
    third = checkout.tried("demo")
    assert third.returncode == 12  # it is held against its hashes
    assert "the wheelhouse is installed already" not in third.stderr


def test_a_checkout_whose_path_has_a_blank_is_refused_before_anything_is_installed(
    checkout: Checkout, tmp_path: Path
) -> None:
    moved = replace(checkout, root=checkout.root.rename(tmp_path / "a blank"))
    (moved.root / "wheels/cpu").mkdir(parents=True)
    (moved.root / "wheels/cpu/manifest.json").write_text("{}", encoding="utf-8")
    result = moved.run("demo", code=2)
    assert "LD_PRELOAD" in result.stderr
    assert "ln -s" in result.stderr
    assert not (moved.root / "build/demo").exists()


def test_a_python_without_the_stack_is_told(tmp_path: Path, checkout: Checkout) -> None:
    result = checkout.run("demo", "--python", sys.executable, code=41)
    assert "The tiny model could not be written with" in result.stderr
