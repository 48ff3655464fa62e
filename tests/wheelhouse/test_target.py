"""Installing onto an environment that has what the wheelhouse lacks."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from forkhouse.audit.framework import torch_symbols
from forkhouse.core.environments import make_environment
from forkhouse.core.errors import AuditError, ClosureError, InstallError, UsageError
from forkhouse.documents.lockfile import KernelPin, Profile
from forkhouse.documents.pins import Missing
from forkhouse.wheelhouse.install import install_onto, install_wheelhouse
from tests.wheelhouse.conftest import built_wheel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.wheelhouse.conftest import Draft

CURRENT_STREAM = "aoti_torch_get_current_cuda_stream"
CHECK = "_ZN3c103hip29c10_hip_check_implementationEiPKcS2_ib"


def library(folder: Path, name: str, source: str) -> Path:
    """Compile a shared library; what it leaves open stays open."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.c").write_text(source, encoding="utf-8")
    made = folder / f"{name}.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-g0", "-o", made, folder / f"{name}.c"], check=True)
    return made


@pytest.fixture
def partial(draft: Draft, make_wheel: Callable[..., Path], tmp_path: Path) -> Draft:
    """A wheelhouse without the PyTorch that its wheel requires, whose extension asks for two
    symbols of it.
    """
    source = (
        f"void {CURRENT_STREAM}(void); void {CHECK}(void); void own(void) {{ {CURRENT_STREAM}(); "
        f"{CHECK}(); }}"
    )
    extension = library(tmp_path / "extension", "_C", source).read_bytes()
    wheel = make_wheel(
        "demo-rocm",
        "1.0+rocm.1",
        {"demo.py": b"import helper\n", "_C.so": extension},
        metadata=("Requires-Dist: helper>=2", "Requires-Dist: torch==2.13.*"),
        tag="py3-none-linux_x86_64",
    )
    draft.built = [built_wheel(wheel)]
    draft.missing = [
        Missing(
            name="torch",
            wanted="==2.13.*",
            reason="its index was not reached",
            remedy="install it from there",
        )
    ]
    draft.publish()
    return draft


@pytest.fixture
def environment(tmp_path: Path) -> Callable[..., Path]:
    """Make an environment that has a small PyTorch.

    Its version, and the symbols that its library has.
    """

    def make(
        version: str = "2.13.0+rocm7", symbols: tuple[str, ...] = (CURRENT_STREAM, CHECK)
    ) -> Path:
        folder = tmp_path / "environment"
        make_environment(folder)
        packages = next((folder / "lib").glob("python*")) / "site-packages"
        (packages / f"torch-{version}.dist-info").mkdir()
        metadata = f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n"
        (packages / f"torch-{version}.dist-info/METADATA").write_text(metadata, encoding="utf-8")
        library(
            packages / "torch/lib",
            "libtorch_cpu",
            "".join(f"void {name}(void) {{}}\n" for name in symbols),
        )
        (packages / "torch/__init__.py").touch()
        return folder

    return make


def installed(environment: Path) -> list[str]:
    code = "import importlib.metadata as m; print(*sorted(d.name for d in m.distributions()))"
    return subprocess.run(
        [environment / "bin/python", "-I", "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()


def test_the_symbols_that_a_wheel_asks_of_pytorch_are_read(partial: Draft) -> None:
    assert torch_symbols(partial.built[0].path) == (CHECK, CURRENT_STREAM)


def test_it_is_installed_onto_an_environment_that_fits(
    partial: Draft, environment: Callable[..., Path]
) -> None:
    target = environment()
    assert install_onto(partial.folder, target) == target / "bin/python"
    assert installed(target) == ["demo-rocm", "helper", "torch"]


@pytest.mark.parametrize(
    ("version", "symbols", "problem"),
    [
        ("2.12.0", (CURRENT_STREAM, CHECK), r"torch is 2\.12\.0, wanted is ==2\.13\.\*"),
        (
            "2.13.0",
            (CURRENT_STREAM,),
            rf"demo-rocm asks PyTorch for symbols that it does not have: {CHECK}",
        ),
    ],
)
def test_an_environment_that_does_not_fit_is_left_as_it_is(
    partial: Draft,
    environment: Callable[..., Path],
    version: str,
    symbols: tuple[str, ...],
    problem: str,
) -> None:
    target = environment(version, symbols)
    with pytest.raises(
        InstallError,
        match=rf"(?s)does not fit the wheelhouse, and nothing was changed in it.*{problem}",
    ):
        install_onto(partial.folder, target)
    assert installed(target) == ["torch"]


def test_an_environment_without_what_is_missing_is_told(partial: Draft, tmp_path: Path) -> None:
    make_environment(tmp_path / "empty")
    with pytest.raises(
        InstallError,
        match=r"(?s)torch ==2\.13\.\* is not installed; install it from there.*PyTorch cannot be "
        r"imported there",
    ):
        install_onto(partial.folder, tmp_path / "empty")


def test_a_wheelhouse_with_its_own_pytorch_needs_none_there(
    partial: Draft, make_wheel: Callable[..., Path], tmp_path: Path
) -> None:
    torch = make_wheel("torch", "2.13.0", {"torch/__init__.py": b""})
    partial.built = [*partial.built, built_wheel(torch)]
    partial.missing = []
    partial.publish()
    make_environment(tmp_path / "whole")
    python = install_onto(partial.folder, tmp_path / "whole")
    program = "import demo, torch; print(torch.__file__)"
    said = subprocess.run([python, "-c", program], capture_output=True, text=True, check=True)
    assert said.stdout.startswith(str(tmp_path / "whole"))


def test_a_new_environment_cannot_be_made_of_it(partial: Draft, tmp_path: Path) -> None:
    with pytest.raises(
        ClosureError,
        match=r"is without torch ==2\.13\.\*\. Install it onto an environment that has them: "
        r"--onto",
    ):
        install_wheelhouse(partial.folder, tmp_path / "new")
    with pytest.raises(UsageError, match="is no Python environment"):
        install_onto(partial.folder, tmp_path / "nothing")


def test_kernels_that_pytorch_cannot_load_on_the_targets_are_put_aside(
    partial: Draft, environment: Callable[..., Path]
) -> None:
    target = environment()
    packs = next(target.glob("lib/python*/site-packages/torch")) / ".kpack"
    packs.mkdir()
    for name in ("torch_gfx90a:xnack+.kpack", "torch_gfx90a:xnack-.kpack", "torch_gfx942.kpack"):
        (packs / name).touch()
    install_onto(partial.folder, target)
    names = sorted(path.name for path in packs.iterdir())
    assert names == [
        "torch_gfx90a:xnack+.kpack.disabled",
        "torch_gfx90a:xnack-.kpack.disabled",
        "torch_gfx942.kpack",
    ]


def test_a_wheel_that_has_lost_kernels_of_the_lock_is_refused(draft: Draft) -> None:
    draft.recorded = {
        "demo": [KernelPin(library="demo/_C.so", target="gfx90a", count=3, sha256="0" * 64)]
    }
    with pytest.raises(
        AuditError,
        match=r"has lost GPU code:\n  - demo/_C\.so has 0 kernels for gfx90a, the lock recorded 3",
    ):
        draft.publish()
    assert not draft.folder.exists()
    draft.profile = Profile(recipes=("demo",), install=("demo-rocm",))
    draft.recorded = {"other": draft.recorded["demo"]}
    draft.publish()
