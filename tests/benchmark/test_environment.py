from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from forkhouse.benchmark.environment import machine, stack
from forkhouse.core.digests import sha256_file
from forkhouse.core.environments import make_environment
from forkhouse.core.errors import ServingError
from forkhouse.serving.launching import CPU
from forkhouse.serving.stack import WORKER_ARGUMENTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

NODE = "sys/class/kfd/kfd/topology/nodes/1"
AMD = {
    f"{NODE}/properties": "vendor_id 4098\ngfx_target_version 90010\nsimd_count 416\n"
    "drm_render_minor 128\n",
    f"{NODE}/name": "aldebaran\n",
    "sys/module/amdgpu/version": "6.16.6\n",
    "opt/rocm/.info/version": "7.2.4-93\n",
    "etc/os-release": 'NAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 12"\n',
    "proc/cpuinfo": "processor\t: 0\nmodel name\t: AMD EPYC 7763\n",
}
NVIDIA = {
    "proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX x86_64 Kernel Module  575.51.03  Fri "
    "May  2 18:24:05 UTC 2025\nGCC version: 12\n",
    "proc/driver/nvidia/gpus/0000:01:00.0/information": "Model: \t\t NVIDIA A100-SXM4-80GB\n"
    "IRQ:   \t\t 40\n",
}


@pytest.fixture
def laid_out(tmp_path: Path) -> Callable[[Mapping[str, str]], Path]:
    def lay_out(files: Mapping[str, str]) -> Path:
        for name, text in files.items():
            path = tmp_path / "root" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return tmp_path / "root"

    return lay_out


def test_an_amd_machine(
    laid_out: Callable[[Mapping[str, str]], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ROCM_PATH", raising=False)
    found = machine(laid_out(AMD))
    assert [(gpu.vendor, gpu.name, gpu.target) for gpu in found.gpus] == [
        ("AMD", "aldebaran", "gfx90a")
    ]
    assert (found.amdgpu_driver, found.rocm, found.nvidia_driver) == ("6.16.6", "7.2.4-93", None)
    assert (found.processor, found.system) == ("AMD EPYC 7763", "Debian GNU/Linux 12")


def test_rocm_is_that_of_rocm_path(
    laid_out: Callable[[Mapping[str, str]], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = laid_out({**AMD, "elsewhere/.info/version": "6.4.0\n"})
    monkeypatch.setenv("ROCM_PATH", "/elsewhere")
    assert machine(root).rocm == "6.4.0"
    monkeypatch.setenv("ROCM_PATH", "/nowhere")
    assert machine(root).rocm is None


def test_an_nvidia_machine(laid_out: Callable[[Mapping[str, str]], Path]) -> None:
    found = machine(laid_out(NVIDIA))
    assert [(gpu.vendor, gpu.name, gpu.target) for gpu in found.gpus] == [
        ("NVIDIA", "NVIDIA A100-SXM4-80GB", None)
    ]
    assert (found.nvidia_driver, found.amdgpu_driver) == ("575.51.03", None)


def test_what_is_not_there_is_not_guessed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROCM_PATH", raising=False)
    found = machine(tmp_path)
    assert found.gpus == ()
    assert {
        found.processor,
        found.system,
        found.amdgpu_driver,
        found.nvidia_driver,
        found.rocm,
    } == {None}


@pytest.fixture
def make_wheelhouse(tmp_path: Path, make_wheel: Callable[..., Path]) -> Callable[[str], Path]:
    """Make a wheelhouse with one wheel of ours that holds a text."""

    def make(text: str) -> Path:
        wheel = make_wheel(
            "demo-wheel", "1.0+forkhouse.1", {"demo_wheel/__init__.py": text.encode()}
        )
        folder = tmp_path / "wheels"
        folder.mkdir(exist_ok=True)
        target = folder / wheel.name
        target.write_bytes(wheel.read_bytes())
        entry = {
            "name": "demo-wheel",
            "version": "1.0+forkhouse.1",
            "file": wheel.name,
            "sha256": sha256_file(target),
            "origin": "built",
            "upstream": "demo",
            "source": {"kind": "git", "commit": "c" * 40},
            "tree": "a" * 40,
            "patched-tree": "b" * 40,
            "patches": ["0001-mend.edit.yaml"],
        }
        (folder / "manifest.json").write_text(
            json.dumps({"wheels": [entry, {"name": "other", "origin": "index"}]}), encoding="utf-8"
        )
        return folder

    return make


def install(wheelhouse: Path, into: Path) -> Path:
    python = make_environment(into)
    command = [
        sys.executable,
        "-m",
        "pip",
        "--isolated",
        "--python",
        str(python),
        "install",
        "--quiet",
        "--no-index",
        "--no-deps",
    ]
    subprocess.run([*command, *map(str, wheelhouse.glob("*.whl"))], check=True)
    return python


def test_pins_and_patches_are_those_of_what_is_installed(
    tmp_path: Path, make_wheelhouse: Callable[[str], Path]
) -> None:
    wheelhouse = make_wheelhouse("x = 1\n")
    python = install(wheelhouse, tmp_path / "stack")
    found = stack(python, wheelhouse, CPU, ("--seed", "1"))
    assert found.installed["demo-wheel"] == "1.0+forkhouse.1"
    assert found.worker_arguments == (*CPU.arguments, *WORKER_ARGUMENTS, "--seed", "1")
    assert found.worker_environment == {**CPU.small_environment, **CPU.environment}
    assert found.wheels is not None
    (wheel,) = found.wheels
    assert (wheel.source, wheel.patched_tree, wheel.patches) == (
        {"kind": "git", "commit": "c" * 40},
        "b" * 40,
        ("0001-mend.edit.yaml",),
    )
    # Its RECORD is none that an installer writes, so nobody knows what is there.
    (record,) = tmp_path.glob("stack/lib/*/site-packages/demo_wheel-*.dist-info/RECORD")
    true = record.read_text(encoding="utf-8")
    record.write_text(f"{true}more\n", encoding="utf-8")
    assert stack(python, wheelhouse, CPU, ()).wheels is None
    record.write_text(true, encoding="utf-8")
    # Another build of the same version is in the wheelhouse now, or none.
    assert stack(python, make_wheelhouse("x = 2\n"), CPU, ()).wheels is None
    assert stack(python, tmp_path / "nothing", CPU, ()).wheels is None


def test_an_interpreter_that_does_not_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ServingError, match="does not run"):
        stack(tmp_path / "bin/python", tmp_path, CPU, ())
