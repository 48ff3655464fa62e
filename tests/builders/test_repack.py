from __future__ import annotations

import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest
from packaging.metadata import Metadata

from forkhouse.audit.look import AuditTerms, audit_wheel
from forkhouse.audit.policy import read_policy
from forkhouse.builders.repack import RepackBuilder
from forkhouse.core.errors import BuildError
from forkhouse.sources.store import ObjectStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from forkhouse.documents.recipe import Recipe
    from forkhouse.patches.apply import PatchedTree

FILES = {"demo/__init__.py": b"X = 1\n", "demo-1.0.data/scripts/demo": b"#!python\n"}


@pytest.fixture
def wheel(make_wheel: Callable[..., Path]) -> Path:
    return make_wheel(
        "demo",
        files=FILES,
        metadata=("Requires-Dist: numpy", "Description-Content-Type: text/plain"),
        tag="cp311-abi3-linux_x86_64",
    )


def test_packs_under_our_name_and_version(
    wheel: Path,
    patched: Callable[..., PatchedTree],
    recipe: Recipe,
    store: ObjectStore,
    tmp_path: Path,
) -> None:
    made = RepackBuilder(store).build(patched(wheel), recipe, tmp_path / "work")
    assert made.name == "demo_rocm-1.0+rocm.1-cp311-abi3-linux_x86_64.whl"
    with zipfile.ZipFile(made) as archive:
        stem = "demo_rocm-1.0+rocm.1"
        assert set(archive.namelist()) == {
            "demo/__init__.py",
            f"{stem}.data/scripts/demo",
            f"{stem}.dist-info/METADATA",
            f"{stem}.dist-info/WHEEL",
            f"{stem}.dist-info/RECORD",
        }
        metadata = Metadata.from_email(archive.read(f"{stem}.dist-info/METADATA"))
        assert (metadata.name, str(metadata.version), metadata.description) == (
            "demo-rocm",
            "1.0+rocm.1",
            "About it.\n",
        )
        assert [str(requirement) for requirement in metadata.requires_dist or ()] == ["numpy"]
        tags = [
            line
            for line in archive.read(f"{stem}.dist-info/WHEEL").decode().splitlines()
            if line.startswith("Tag")
        ]
        assert tags == ["Tag: cp311-abi3-linux_x86_64"]


def test_the_record_is_true(
    wheel: Path,
    patched: Callable[..., PatchedTree],
    recipe: Recipe,
    store: ObjectStore,
    tmp_path: Path,
) -> None:
    made = RepackBuilder(store).build(patched(wheel), recipe, tmp_path / "work")
    terms = AuditTerms(policy=read_policy("cpu"), targets=(), build_paths=(str(tmp_path),))
    assert audit_wheel(made, terms, ours=True).findings == ()


def test_two_runs_give_the_same_bytes(
    wheel: Path, patched: Callable[..., PatchedTree], recipe: Recipe, tmp_path: Path
) -> None:
    made = []
    for name in ("one", "two"):
        store = ObjectStore(tmp_path / name)
        made.append(
            RepackBuilder(store).build(
                patched(wheel, into=store), recipe, tmp_path / f"work-{name}"
            )
        )
    assert made[0].read_bytes() == made[1].read_bytes()


def test_pip_installs_it(
    make_wheel: Callable[..., Path],
    patched: Callable[..., PatchedTree],
    recipe: Recipe,
    store: ObjectStore,
    tmp_path: Path,
) -> None:
    made = RepackBuilder(store).build(
        patched(make_wheel("demo", files=FILES)), recipe, tmp_path / "work"
    )
    target = tmp_path / "target"
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-index",
        "--no-deps",
        "--target",
        str(target),
        str(made),
    ]
    subprocess.run(command, check=True, capture_output=True)
    asked = (
        "import importlib.metadata as m; d = m.distribution('demo-rocm'); print(d.version, "
        "len(d.files))"
    )
    result = subprocess.run(
        [sys.executable, "-c", asked],
        env={"PYTHONPATH": str(target)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.startswith("1.0+rocm.1 ")


def test_a_checkout_cannot_be_repacked(
    patched: Callable[..., PatchedTree], recipe: Recipe, store: ObjectStore, tmp_path: Path
) -> None:
    with pytest.raises(BuildError, match="demo: only a wheel can be repacked; git needs a build"):
        RepackBuilder(store).build(patched(files={"a": b""}), recipe, tmp_path)


def test_a_wheel_without_metadata_of_its_name_is_refused(
    wheel: Path,
    patched: Callable[..., PatchedTree],
    recipe: Recipe,
    store: ObjectStore,
    tmp_path: Path,
) -> None:
    other = wheel.rename(wheel.with_name("demo-2.0-py3-none-any.whl"))
    with pytest.raises(BuildError, match=r"there is no demo-2\.0\.dist-info/METADATA in it"):
        RepackBuilder(store).build(patched(other), recipe, tmp_path)
