from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from forkhouse.builders.environment import Needs
from forkhouse.core.errors import ToolchainError
from forkhouse.core.workspace import find_workspace
from forkhouse.flow.building import open_workshop
from forkhouse.flow.plant import open_plant
from forkhouse.sources.acquire import Access
from forkhouse.toolchains import rocm as rocm_module
from forkhouse.toolchains.rocm import find_rocm


def make(root: Path, version: str, *, dmabuf: bool = False) -> Path:
    """Lay out the headers of a ROCm."""
    (root / "include/hsa").mkdir(parents=True)
    (root / "include/hip").mkdir()
    (root / "include/hsa/hsa.h").touch()
    (root / "include/hsa/hsa_ext_amd.h").write_text(
        "int hsa_amd_portable_export_dmabuf(void);\n" if dmabuf else "", encoding="utf-8"
    )
    numbers = zip(("MAJOR", "MINOR", "PATCH"), version.split("."), strict=True)
    text = "".join(f"#define HIP_VERSION_{name} {number}\n" for name, number in numbers)
    (root / "include/hip/hip_version.h").write_text(text, encoding="utf-8")
    return root


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose system has a ROCm of long ago, and none in the customary folders."""
    monkeypatch.delenv("ROCM_PATH", raising=False)
    monkeypatch.setattr(
        rocm_module, "customary", lambda chosen: iter([("--rocm", chosen)] if chosen else [])
    )
    monkeypatch.setattr(rocm_module, "_SYSTEM", make(tmp_path / "system", "5.2.3"))


def test_the_newest_at_hand_is_compiled_against(tmp_path: Path) -> None:
    assert find_rocm().root == tmp_path / "system"
    private = make(tmp_path / "private", "7.2.4", dmabuf=True)
    found = find_rocm(private=private)
    assert (found.root, found.version, found.lacks(), found.foreign) == (private, "7.2.4", {}, True)


def test_the_one_that_the_user_chose_is_the_only_one(tmp_path: Path) -> None:
    private, chosen = (
        make(tmp_path / "private", "7.2.4"),
        make(tmp_path / "chosen", "6.1.0", dmabuf=True),
    )
    found = find_rocm(chosen, private)
    assert (found.root, found.foreign) == (chosen, False)
    assert list(found.lacks()) == ["rocm-managed-memory"]
    with pytest.raises(
        ToolchainError, match=r"No ROCm found; looked for \S+/empty/include/hsa/hsa\.h\."
    ):
        find_rocm(tmp_path / "empty", private)


def test_what_an_old_one_lacks_is_said() -> None:
    assert list(find_rocm().lacks()) == ["rocm-dmabuf", "rocm-managed-memory"]
    assert (
        "ROCm 5.2.3 from the system has no hsa_amd_portable_export_dmabuf"
        in find_rocm().lacks()["rocm-dmabuf"]
    )


def test_a_key_holds_what_is_compiled_against_and_not_where_it_lies(tmp_path: Path) -> None:
    one, two = make(tmp_path / "one", "7.2.4"), make(tmp_path / "two", "7.2.4")
    assert find_rocm(one).identity == find_rocm(two).identity
    (two / "include/hsa/hsa_ext_amd.h").write_text("int more(void);\n", encoding="utf-8")
    assert find_rocm(one).identity != find_rocm(two).identity


def test_the_chosen_root_reaches_every_build_and_its_key(tmp_path: Path) -> None:
    workspace = replace(find_workspace(Path(__file__)), cache=tmp_path)
    plant = open_plant(
        workspace,
        Access(policy="auto", mirror=None, offline=True, cache=tmp_path),
        make(tmp_path / "chosen", "7.0.0"),
    )
    environment = replace(
        open_workshop(plant).environment, tools=(), folder=tmp_path / "environments"
    )
    assert environment.variables(epoch=0, work=tmp_path, needs=Needs(rocm=True))[
        "ROCM_PATH"
    ] == str(tmp_path / "chosen")
    assert environment.identity(Needs(rocm=True))["rocm"] == find_rocm(tmp_path / "chosen").identity
    assert environment.identity(Needs())["rocm"] is None
