from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from forkhouse.core.errors import (
    ClosureError,
    HashMismatchError,
    InstallError,
    StorageError,
    UsageError,
)
from forkhouse.documents.pins import pinned_wheel
from forkhouse.wheelhouse.install import install_wheelhouse

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
        match=r"(?s)pip could not install from the wheelhouse cpu:\n.*No matching distribution found for helper",
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
