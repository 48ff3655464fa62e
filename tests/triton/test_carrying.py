"""Compiled kernels are packed as a wheel whose bytes follow from the kernels alone."""

from __future__ import annotations

import json
import platform
import zipfile
from email.parser import BytesParser
from typing import TYPE_CHECKING

import pytest

from forkhouse.core.environments import install_wheels, make_environment
from forkhouse.triton import KernelError
from forkhouse.triton.carrying import licence_texts, pack
from forkhouse.triton.running import TritonRun
from forkhouse.wheelhouse.optional import read_kernels
from tests.compiled import needs_gcc

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from forkhouse.triton.figures import KernelFigures

pytestmark = needs_gcc
LICENCES = {"LICENSE": "Do what you like.\n"}


@pytest.fixture
def cached(
    tmp_path: Path, code_object: Callable[..., bytes], kernel: Callable[..., KernelFigures]
) -> Callable[[str], tuple[TritonRun, Path]]:
    """Lay a kernel into a cache as Triton does, in a folder of some name."""

    def make(name: str) -> tuple[TritonRun, Path]:
        cache = tmp_path / name
        folder = cache / "ABC"
        folder.mkdir(parents=True)
        metadata = {
            "name": "attend",
            "extern_libs": [["ocml", f"{cache}/lib/ocml.bc"]],
            "shared": 4,
        }
        (folder / "attend.json").write_text(json.dumps(metadata), encoding="utf-8")
        (folder / "attend.hsaco").write_bytes(code_object("attend"))
        (folder / "attend.ttir").write_text("not carried", encoding="utf-8")
        (folder / "__grp__attend.json").write_text(f'{{"child_paths": "{folder}"}}', "utf-8")
        run = TritonRun(
            triton="3.9.0",
            triton_key="0" * 64,
            vllm="0.31.0+cpu.1",
            kernels=(kernel(), kernel(case="phi")),
            launches={"llama": 3},
            seconds={"llama": (1.0, 1.0)},
        )
        return run, cache

    return make


def test_a_wheel_has_what_triton_reads_and_no_folder_of_this_machine(
    cached: Callable[[str], tuple[TritonRun, Path]], tmp_path: Path
) -> None:
    run, cache = cached("cache")
    wheel = pack(run, target="gfx90a", cache=cache, folder=tmp_path, licences=LICENCES)
    assert wheel.name == f"vllm_triton_cache_gfx90a-0.31.0-py3-none-linux_{platform.machine()}.whl"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        everything = b"".join(archive.read(name) for name in names)
        metadata = BytesParser().parsebytes(
            archive.read("vllm_triton_cache_gfx90a-0.31.0.dist-info/METADATA")
        )
        manifest = json.loads(archive.read("vllm_triton_cache_gfx90a/manifest.json"))
    place = "vllm_triton_cache_gfx90a/kernels/ABC"
    assert {name for name in names if name.startswith(place)} == {
        f"{place}/attend.json",
        f"{place}/attend.hsaco",
    }
    assert str(tmp_path).encode() not in everything
    assert (metadata["Name"], metadata["Requires-Dist"]) == (
        "vllm-triton-cache-gfx90a",
        "triton==3.9.0",
    )
    assert metadata.get_all("License-File") == ["LICENSE"]
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read("vllm_triton_cache_gfx90a-0.31.0.dist-info/licenses/LICENSE")
    assert text.decode() == LICENCES["LICENSE"]
    assert manifest["kernels"] == {"ABC": "kernel_unified_attention"}
    assert manifest["triton-key"] == "0" * 64
    kernels = read_kernels(wheel)
    assert (kernels.vllm, kernels.triton, kernels.key) == ("0.31.0", "3.9.0", "0" * 64)
    assert kernels.count == 1


def test_the_same_kernels_in_another_folder_make_the_same_wheel(
    cached: Callable[[str], tuple[TritonRun, Path]], tmp_path: Path
) -> None:
    wheels = []
    for name in ("a", "of-another-length"):
        run, cache = cached(name)
        out = tmp_path / f"out-{name}"
        out.mkdir()
        wheels.append(
            pack(run, target="gfx90a", cache=cache, folder=out, licences=LICENCES).read_bytes()
        )
    assert wheels[0] == wheels[1]


def test_a_kernel_that_is_not_in_the_cache_is_said(
    cached: Callable[[str], tuple[TritonRun, Path]], tmp_path: Path
) -> None:
    run, cache = cached("cache")
    (cache / "ABC" / "attend.hsaco").unlink()
    with pytest.raises(KernelError, match=r"kernel_unified_attention \(ABC\) cannot be packed"):
        pack(run, target="gfx90a", cache=cache, folder=tmp_path, licences=LICENCES)


def test_the_licence_is_that_of_the_vllm_whose_kernels_they_are(
    make_wheel: Callable[..., Path], tmp_path: Path
) -> None:
    python = make_environment(tmp_path / "stack")
    with pytest.raises(KernelError, match="comes without the text of its licence"):
        licence_texts(python)
    info = "vllm-0.31.0.dist-info"
    for version, place in (
        ("0.31.0", f"{info}/licenses/more/LICENSE"),
        ("0.31.0", f"{info}/more/LICENSE"),
    ):
        wheel = make_wheel(
            "vllm", version, {place: b"Theirs."}, metadata=("License-File: more/LICENSE",)
        )
        install_wheels(python, "--no-deps", "--force-reinstall", str(wheel), wheels=[wheel.name])
        assert licence_texts(python) == {"LICENSE": "Theirs."}
