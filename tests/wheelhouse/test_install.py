from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from forkhouse.core.environments import make_environment
from forkhouse.core.errors import (
    ClosureError,
    HashMismatchError,
    InstallError,
    StorageError,
    UsageError,
)
from forkhouse.documents.lockfile import Profile
from forkhouse.documents.pins import Missing, pinned_wheel
from forkhouse.wheelhouse.install import install_onto, install_wheelhouse
from tests.wheelhouse.conftest import built_wheel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.wheelhouse.conftest import Draft


def test_installs_the_profile_and_nothing_else(
    draft: Draft, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draft.publish()
    # What the user tells pip elsewhere has no say here.
    (tmp_path / "constraints").write_text("helper==2\n", encoding="utf-8")
    monkeypatch.setenv("PIP_CONSTRAINT", str(tmp_path / "constraints"))
    monkeypatch.setenv("PIP_NO_BINARY", ":all:")
    python = install_wheelhouse(draft.folder, tmp_path / "new/stack")
    assert python == tmp_path / "new/stack/bin/python"
    asked = (
        "import demo, importlib.metadata as m; print(demo.helper.ANSWER, sorted(f'{d.name} "
        "{d.version}' for d in m.distributions()))"
    )
    said = subprocess.run(
        [python, "-I", "-c", asked], capture_output=True, text=True, check=True
    ).stdout
    assert said == "42 ['demo-rocm 1.0+rocm.1', 'helper 3.0']\n"


@pytest.mark.parametrize("there", ["folder", "file"])
def test_an_installation_is_never_made_over_another(
    draft: Draft, tmp_path: Path, there: str
) -> None:
    draft.publish()
    into = tmp_path / "stack"
    (into / "kept").mkdir(parents=True) if there == "folder" else into.touch()
    with pytest.raises(UsageError, match=r"stack exists\. Name a folder that does not"):
        install_wheelhouse(draft.folder, into)
    assert into.exists()


def test_a_damaged_wheelhouse_is_not_installed(draft: Draft, tmp_path: Path) -> None:
    with pytest.raises(ClosureError, match="is no wheelhouse"):
        install_wheelhouse(draft.folder, tmp_path / "stack")
    draft.publish()
    (draft.folder / "requirements.txt").write_text("demo-rocm\n", encoding="utf-8")
    with pytest.raises(
        HashMismatchError, match=r"requirements\.txt in the wheelhouse cpu was changed or damaged"
    ):
        install_wheelhouse(draft.folder, tmp_path / "stack")
    assert not (tmp_path / "stack").exists()


def test_what_pip_refuses_is_told_in_its_words_and_leaves_nothing(
    draft: Draft, make_wheel: Callable[..., Path], publish: Callable[..., str], tmp_path: Path
) -> None:
    foreign = make_wheel("helper", "3.0", tag="cp27-cp27m-win32")
    draft.third_party = [pinned_wheel(foreign.name, publish(foreign))]
    draft.publish()
    with pytest.raises(
        InstallError,
        match=r"(?s)pip could not install from the wheelhouse cpu:\n"
        r".*No matching distribution found for helper",
    ):
        install_wheelhouse(draft.folder, tmp_path / "stack")
    assert not (tmp_path / "stack").exists()


def test_a_full_disk_leaves_nothing(
    draft: Draft, make_wheel: Callable[..., Path], publish: Callable[..., str], small_disk: Path
) -> None:
    big = make_wheel("helper", "3.0", {"helper.bin": os.urandom(400_000)})
    draft.third_party = [pinned_wheel(big.name, publish(big))]
    draft.publish()
    with pytest.raises(StorageError, match=r"(?s)No space left on device.*Free some space"):
        install_wheelhouse(draft.folder, small_disk / "stack")
    assert list(small_disk.iterdir()) == []


def test_another_build_of_the_same_version_is_replaced(
    draft: Draft, make_wheel: Callable[..., Path], publish: Callable[..., str], tmp_path: Path
) -> None:
    """A patch changes what is in a wheel of ours, and not its version."""
    make_environment(tmp_path / "environment")
    draft.publish()
    install_onto(draft.folder, tmp_path / "environment")
    ours = make_wheel(
        "demo-rocm",
        "1.0+rocm.1",
        {"demo.py": b"NEW = 1\n"},
        metadata=("Requires-Dist: helper>=2",),
    )
    helper = make_wheel("helper", "3.0", {"helper.py": b"ANSWER = 43\n"})
    draft.built = [built_wheel(ours)]
    draft.third_party = [pinned_wheel(helper.name, publish(helper))]
    draft.publish()
    python = install_onto(draft.folder, tmp_path / "environment")
    asked = "import demo, helper; print(demo.NEW, helper.ANSWER)"
    said = subprocess.run([python, "-I", "-c", asked], capture_output=True, text=True, check=True)
    assert said.stdout == "1 43\n"


def test_an_environment_may_print_what_it_likes(draft: Draft, tmp_path: Path) -> None:
    python = make_environment(tmp_path / "environment")
    (packages,) = (tmp_path / "environment").glob("lib/python*/site-packages")
    loud = "import atexit, os; os.write(1, b'\\xff hello'); atexit.register(print, 'bye')\n"
    (packages / "loud.pth").write_text(loud, encoding="utf-8")
    (packages / "torch/lib").mkdir(parents=True)
    (packages / "torch/__init__.py").write_text("print('a warning')\n", encoding="utf-8")
    packed = packages / "torch/.kpack/torch_gfx90a:xnack+.kpack"
    packed.parent.mkdir()
    packed.touch()
    draft.missing = [Missing(name="wanted", wanted="1.0", reason="not here", remedy="get it")]
    draft.profile = Profile(recipes=("demo",), install=("demo-rocm", "wanted"))
    draft.publish()
    with pytest.raises(InstallError, match=r"wanted 1\.0 is not installed; get it"):
        install_onto(draft.folder, tmp_path / "environment")
    for version, fits in ((None, False), ("what it is", False), ("1.0", True)):
        about = packages / "wanted-1.0.dist-info/METADATA"
        about.parent.mkdir(exist_ok=True)
        told = [] if version is None else [f"Version: {version}"]
        about.write_text("\n".join(["Name: wanted", *told, ""]), encoding="utf-8")
        if fits:
            assert install_onto(draft.folder, tmp_path / "environment") == python
        else:
            with pytest.raises(InstallError, match="This environment does not fit"):
                install_onto(draft.folder, tmp_path / "environment")
    assert [path.name for path in packed.parent.iterdir()] == [f"{packed.name}.disabled"]


def test_a_python_that_does_not_answer_is_told(draft: Draft, tmp_path: Path) -> None:
    python = make_environment(tmp_path / "environment")
    (packages,) = (tmp_path / "environment").glob("lib/python*/site-packages")
    (packages / "stop.pth").write_text("import os; os._exit(0)\n", encoding="utf-8")
    draft.publish()
    with pytest.raises(InstallError, match="could not be asked what it has installed"):
        install_onto(draft.folder, python.parents[1])
