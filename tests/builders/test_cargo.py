from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from forkhouse.builders.cargo import CargoKit, cargo_kit, check_lock
from forkhouse.builders.crates import Crate, Crates
from forkhouse.builders.fixed import FixedPlace
from forkhouse.core.errors import BuildError, ToolchainError
from forkhouse.documents.recipe import Cargo, UpstreamProject
from forkhouse.toolchains.rust import Rust

if TYPE_CHECKING:
    from collections.abc import Callable

    from forkhouse.patches.apply import PatchedTree
    from forkhouse.sources.store import ObjectStore


def kit(tmp_path: Path, root: Path) -> CargoKit:
    rust = Rust(root=root, version="1.96.1", rustc="rustc 1.96.1", cargo="cargo 1.96.1")
    crates = Crates(
        lock="0" * 64,
        folder=tmp_path / "crates",
        crates=(Crate(name="one", version="1.0.0", sha256="1" * 64),),
    )
    return CargoKit(rust=rust, crates=crates)


def test_cargo_goes_by_settings_of_the_build_alone(tmp_path: Path) -> None:
    work = tmp_path / "work"
    (work / "home").mkdir(parents=True)
    made = kit(tmp_path, tmp_path / "toolchains/1.96.1")
    place = made.prepare(work, work / "home")
    assert place.shown == {"crates": tmp_path / "crates", "rust": tmp_path / "toolchains/1.96.1"}
    assert 'directory = "/forkhouse/crates"' in (work / "home/cargo/config.toml").read_text(
        encoding="utf-8"
    )
    given = {
        "PATH": "/tools:/usr/bin",
        "CMAKE_BUILD_PARALLEL_LEVEL": "3",
        "CFLAGS": f"-ffile-prefix-map={work}=.",
        "HOME": str(work / "home"),
    }
    variables = made.variables(place, given)
    assert variables["PATH"] == "/forkhouse/rust/bin:/tools:/usr/bin"
    assert variables["CFLAGS"] == "-ffile-prefix-map=/forkhouse=."
    assert (variables["CARGO_HOME"], variables["HOME"]) == (
        "/forkhouse/home/cargo",
        "/forkhouse/home",
    )
    assert (variables["CARGO_BUILD_JOBS"], variables["CARGO_NET_OFFLINE"]) == ("3", "true")


def test_a_toolchain_of_the_system_is_used_where_it_lies(tmp_path: Path) -> None:
    made = kit(tmp_path, Path("/usr"))
    place = FixedPlace(work=tmp_path, shown={})
    assert (
        made.variables(place, {"PATH": "/bin", "CMAKE_BUILD_PARALLEL_LEVEL": "1"})["RUSTC"]
        == "/usr/bin/rustc"
    )


def test_tools_and_lock_are_what_it_is_known_by(tmp_path: Path) -> None:
    assert kit(tmp_path, Path("/usr")).identity == {
        "rustc": "rustc 1.96.1",
        "cargo": "cargo 1.96.1",
        "Cargo.lock": f"sha256:{'0' * 64}, 1 crates",
    }


def test_a_build_that_changes_the_lock_is_refused(tmp_path: Path) -> None:
    (tmp_path / "Cargo.lock").write_text("changed\n", encoding="utf-8")
    with pytest.raises(BuildError, match=r"demo: the build has changed Cargo\.lock"):
        check_lock(tmp_path, kit(tmp_path, Path("/usr")).crates, "demo")


def test_a_channel_by_name_says_nothing_and_nonsense_is_an_error(
    store: ObjectStore, patched: Callable[..., PatchedTree], tmp_path: Path
) -> None:
    method = UpstreamProject(
        kind="upstream", requires=("maturin",), packages=("demo",), cargo=Cargo(rustc=">=99.1")
    )

    def ask(text: bytes) -> None:
        cargo_kit(
            patched(files={"rust-toolchain.toml": text}),
            method,
            store=store,
            cache=tmp_path,
            offline=True,
        )

    with pytest.raises(ToolchainError, match=r"No Rust >=99\.1"):
        ask(b'[toolchain]\nchannel = "stable"\n')
    with pytest.raises(BuildError, match=r"demo: its rust-toolchain\.toml cannot be read"):
        ask(b"1.96.1\n")
    with pytest.raises(BuildError, match=r"asks for Rust 1\.96\.1, the recipe for >=99\.1"):
        ask(b'[toolchain]\nchannel = "1.96.1"\n')


def test_a_project_without_rust_wants_none(
    store: ObjectStore, patched: Callable[..., PatchedTree], tmp_path: Path
) -> None:
    method = UpstreamProject(kind="upstream", requires=("meson-python",), packages=("demo",))
    assert (
        cargo_kit(patched(files={"a": b""}), method, store=store, cache=tmp_path, offline=True)
        is None
    )
