"""Compiled Triton kernels are installed where the Triton is that made them, and nowhere else."""

from __future__ import annotations

import hashlib
import json
import platform
import zipfile
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import pytest

from forkhouse.core.environments import install_wheels, make_environment
from forkhouse.core.errors import AuditError, ClosureError, HashMismatchError, InstallError
from forkhouse.core.progress import showing
from forkhouse.flow.tools import carried_kernels
from forkhouse.wheelhouse.install import install_onto
from forkhouse.wheelhouse.optional import FOLDER
from tests.compiled import needs_gcc

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.wheelhouse.conftest import Draft

FILE = "vllm_triton_cache_gfx90a-0.31.0-py3-none-any.whl"
PACKAGE = "vllm_triton_cache_gfx90a"
COMPILER = "3.9.0-what-it-was-built-of"


@pytest.fixture
def kernels(make_wheel: Callable[..., Path]) -> Callable[..., Path]:
    """Make a wheel of kernels that a compiler made."""

    def make(compiler: str = COMPILER, **instead: object) -> Path:
        manifest = {
            "format": 1,
            "target": "gfx90a",
            "vllm": "0.31.0+cpu.1",
            "triton": "3.9.0",
            "triton-key": hashlib.sha256(compiler.encode()).hexdigest(),
            "kernels": {"ABC": "attend", "DEF": "sample"},
            **instead,
        }
        files = {
            f"{PACKAGE}/__init__.py": b"",
            f"{PACKAGE}/manifest.json": json.dumps(manifest).encode(),
        }
        return make_wheel(PACKAGE, "0.31.0", files, metadata=("Requires-Dist: triton==3.9.0",))

    return make


@pytest.fixture
def target(make_wheel: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """Make an environment with a vLLM and a Triton, which says of itself what is given."""

    def make(vllm: str = "0.31.0+rocm.1", version: str = "3.9.0", compiler: str = COMPILER) -> Path:
        python = make_environment(tmp_path / "target")
        files = {
            "triton/__init__.py": f"__version__ = {version!r}\nprint('hello')\n".encode(),
            "triton/runtime/__init__.py": b"",
            "triton/runtime/cache.py": f"def triton_key(): return {compiler!r}\n".encode(),
        }
        wheels = [make_wheel("triton", version, files), make_wheel("vllm", vllm)]
        names = [wheel.name for wheel in wheels]
        install_wheels(python, "--no-deps", *map(str, wheels), wheels=names)
        return tmp_path / "target"

    return make


def carrying(draft: Draft, wheel: Path) -> Draft:
    draft.tools = {**draft.tools, f"{FOLDER}/{wheel.name}": wheel}
    draft.publish()
    return draft


def there(environment: Path) -> bool:
    return bool(list(environment.glob(f"lib/python*/site-packages/{PACKAGE}/manifest.json")))


def test_they_are_installed_where_their_triton_is(
    draft: Draft,
    kernels: Callable[..., Path],
    target: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    environment = target()
    with showing():
        install_onto(carrying(draft, kernels()).folder, environment)
    assert there(environment)
    said = f"server with TRITON_CACHE_MANAGER={PACKAGE}:CarriedCache"
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("instead", "reason"),
    [
        ({"compiler": "another"}, "another build of Triton 3.9.0 is there"),
        ({"version": "3.10.0", "compiler": "another"}, "Triton 3.10.0 is there"),
        ({"vllm": "0.32.0"}, "its kernels are those of vLLM 0.31.0, and vLLM there is 0.32.0"),
    ],
)
def test_elsewhere_they_are_left_out_and_the_reason_is_said(
    draft: Draft,
    kernels: Callable[..., Path],
    target: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    instead: dict[str, str],
    reason: str,
) -> None:
    environment = target(**instead)
    with showing():
        install_onto(carrying(draft, kernels()).folder, environment)
    assert not there(environment)
    said = capsys.readouterr().err
    assert f"NOT INSTALLED, {FILE}" in said
    assert reason in said
    # The profile itself is installed all the same.
    assert list(environment.glob("lib/python*/site-packages/demo.py"))


def test_where_there_is_no_triton_that_is_the_reason(
    draft: Draft,
    kernels: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_environment(tmp_path / "bare")
    with showing():
        install_onto(carrying(draft, kernels()).folder, tmp_path / "bare")
    assert not there(tmp_path / "bare")
    assert "cannot be told (PackageNotFoundError" in capsys.readouterr().err


@needs_gcc
def test_one_whose_tag_does_not_tell_of_its_code_is_not_carried(
    draft: Draft,
    make_wheel: Callable[..., Path],
    kernels: Callable[..., Path],
    code_object: Callable[..., bytes],
) -> None:
    carrying(draft, kernels())
    with zipfile.ZipFile(kernels()) as archive:
        files = {name: archive.read(name) for name in archive.namelist() if PACKAGE + "/" in name}
    for target, tag, said in (
        ("gfx90a", "py3-none-any", "has GPU code; the tag any does not say so"),
        ("gfx942", f"py3-none-linux_{platform.machine()}", "gfx90a"),
    ):
        code = code_object("attend", target=f"amdgcn-amd-amdhsa--{target}")
        wheel = make_wheel(
            PACKAGE, "0.31.0", {**files, f"{PACKAGE}/kernels/ABC/attend.hsaco": code}, tag=tag
        )
        before = draft.content()
        draft.tools = {f"{FOLDER}/{wheel.name}": wheel}
        with pytest.raises(AuditError, match=said):
            draft.publish()
        assert draft.content() == before


def test_a_wheelhouse_lists_them_beside_its_index(
    draft: Draft, kernels: Callable[..., Path]
) -> None:
    content = carrying(draft, kernels()).content()
    assert f"{FOLDER}/{FILE}" in content
    assert FILE.encode() in content["SHA256SUMS"]
    for file, text in content.items():
        if PurePosixPath(file).name in {"requirements.txt", "index.html", "pylock.toml"}:
            assert PACKAGE.encode() not in text, file


def test_changed_kernels_are_refused(
    draft: Draft, kernels: Callable[..., Path], target: Callable[..., Path]
) -> None:
    wheelhouse, environment = carrying(draft, kernels()).folder, target()
    path = wheelhouse / FOLDER / FILE
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content + b"\0")
    with pytest.raises(HashMismatchError, match=FILE):
        install_onto(wheelhouse, environment)
    assert not there(environment)


@pytest.mark.parametrize("manifest", [None, b"[]", b"{", b'{"vllm": "x"}', b"[" * 100_000])
def test_a_wheel_that_tells_nothing_of_kernels_is_refused_before_anything_is_changed(
    draft: Draft,
    make_wheel: Callable[..., Path],
    target: Callable[..., Path],
    manifest: bytes | None,
) -> None:
    files = {f"{PACKAGE}/__init__.py": b""}
    files |= {} if manifest is None else {f"{PACKAGE}/manifest.json": manifest}
    wheel, environment = make_wheel(PACKAGE, "0.31.0", files), target()
    with pytest.raises(ClosureError, match=rf"{FILE} is no wheel of Triton kernels"):
        install_onto(carrying(draft, wheel).folder, environment)
    assert not list(environment.glob("lib/python*/site-packages/demo.py"))


def test_kernels_that_were_compiled_anew_take_the_place_of_those_of_the_same_version(
    draft: Draft, kernels: Callable[..., Path], target: Callable[..., Path]
) -> None:
    environment = target()
    install_onto(carrying(draft, kernels()).folder, environment)
    install_onto(carrying(draft, kernels(kernels={"NEW": "attend"})).folder, environment)
    (manifest,) = environment.glob(f"lib/python*/site-packages/{PACKAGE}/manifest.json")
    assert json.loads(manifest.read_bytes())["kernels"] == {"NEW": "attend"}


@pytest.mark.parametrize(
    "ends", ["import os; os._exit(0)", "import sys; sys.exit(0)", "raise SystemExit"]
)
def test_a_triton_that_ends_its_process_is_no_reason_for_a_traceback(
    draft: Draft, kernels: Callable[..., Path], target: Callable[..., Path], ends: str
) -> None:
    environment = target()
    (module,) = environment.glob("lib/python*/site-packages/triton/__init__.py")
    module.write_text(ends, encoding="utf-8")
    try:
        install_onto(carrying(draft, kernels()).folder, environment)
    except InstallError as error:
        assert "could not be asked for its Triton" in str(error)  # noqa: PT017
    assert not there(environment)


def test_a_build_carries_those_of_its_own_vllm_and_targets(
    kernels: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    wheel = kernels()
    folder = wheel.parent
    assert carried_kernels(folder, ("gfx90a",), {"0.31.0"}) == {f"{FOLDER}/{FILE}": wheel}
    assert carried_kernels(folder, ("gfx942",), {"0.31.0"}) == {}
    assert carried_kernels(folder, ("gfx90a",), ()) == {}
    with showing():
        assert carried_kernels(folder, ("gfx90a",), {"0.32.0"}) == {}
    assert f"NOT CARRIED: {FILE} has kernels of vLLM 0.31.0, and built is 0.32.0" in (
        capsys.readouterr().err
    )
