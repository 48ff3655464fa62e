from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from forkhouse.core.errors import ToolchainError
from forkhouse.toolchains import rust
from forkhouse.toolchains.rust import find_rust, watched

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RUSTC = "#!/bin/sh\necho 'rustc {0} (0 2026-01-01)'\necho 'binary: rustc'\necho 'release: {0}'\n"
CARGO = "#!/bin/sh\necho 'cargo {0} (0 2026-01-01)'\n"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Make toolchains by their releases, on a machine that has no other.

    Of rustup, or in a folder.
    """
    monkeypatch.setenv("RUSTUP_HOME", str(tmp_path / "rustup"))
    monkeypatch.setenv("PATH", str(tmp_path / "user/bin"))
    monkeypatch.setattr(rust, "SEARCH_PATH", str(tmp_path / "system/bin"))

    def make(release: str, folder: str | None = None) -> Path:
        root = tmp_path / (folder or f"rustup/toolchains/{release}-x86_64-unknown-linux-gnu")
        (root / "bin").mkdir(parents=True)
        for name, text in (("rustc", RUSTC), ("cargo", CARGO)):
            (root / "bin" / name).write_text(text.format(release), encoding="utf-8")
            (root / "bin" / name).chmod(0o755)
        return root

    return make


def test_the_oldest_release_in_the_range_is_taken(install: Callable[..., Path]) -> None:
    for release in ("1.80.1", "1.101.0", "1.97.0-nightly", "1.98.0-beta.2"):
        install(release)
    wanted = install("1.96.2")
    found = find_rust(">=1.96.1")
    assert (found.root, found.version) == (wanted, "1.96.2")
    assert found.identity == {
        "rustc": "rustc 1.96.2 (0 2026-01-01); binary: rustc; release: 1.96.2",
        "cargo": "cargo 1.96.2 (0 2026-01-01)",
    }


@pytest.mark.parametrize("folder", ["user", "system"])
def test_one_on_a_path_is_found(install: Callable[..., Path], folder: str) -> None:
    root = install("1.96.1", folder)
    assert find_rust("==1.96.*").root == root


@pytest.mark.parametrize("link", ["symlink_to", "hardlink_to"])
def test_the_stand_ins_of_rustup_are_never_run(
    install: Callable[..., Path], tmp_path: Path, link: str
) -> None:
    (tmp_path / "user/bin").mkdir(parents=True)
    rustup = tmp_path / "user/bin/rustup"
    rustup.write_text(
        f"#!/bin/sh\ntouch {tmp_path}/was-run\necho 'release: 1.96.1'\n", encoding="utf-8"
    )
    rustup.chmod(0o755)
    for name in ("rustc", "cargo"):
        getattr(tmp_path / "user/bin" / name, link)(rustup)
    install("1.80.1")
    with pytest.raises(ToolchainError):
        find_rust(">=1.96.1")
    assert not (tmp_path / "was-run").exists()


def test_a_gap_names_what_was_looked_at_and_the_command(install: Callable[..., Path]) -> None:
    with pytest.raises(
        ToolchainError,
        match=r"No Rust >=1\.96\.1 on this machine \(looked at the toolchains of rustup, and "
        r"PATH\)",
    ):
        find_rust(">=1.96.1")
    old, broken = install("1.80.1"), install("unknown")
    with pytest.raises(ToolchainError) as caught:
        find_rust("<2,>=1.96.1")
    said = str(caught.value)
    assert f"{old}: 1.80.1" in said
    assert f"{broken}: no release of Rust" in said
    assert said.endswith(
        "builds never download one. Run:\n  rustup toolchain install 1.96.1 --profile minimal "
        "--no-self-update"
    )


def test_the_compiler_is_watched_before_and_after_it_is_there(
    install: Callable[..., Path], tmp_path: Path
) -> None:
    before = watched(">=1.96.1")
    assert before == str(tmp_path / "rustup/toolchains/1.96.1-x86_64-unknown-linux-gnu/bin/rustc")
    install("1.96.1")
    assert watched(">=1.96.1") == before
