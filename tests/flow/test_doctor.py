from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from forkhouse.documents.reading import parse
from forkhouse.documents.recipe import Recipe
from forkhouse.flow import doctor
from forkhouse.flow.doctor import Need, examine
from forkhouse.toolchains.hip import HipToolchain, ToolchainLook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from forkhouse.flow.plant import Plant

RECIPE = """
upstream: demo
distribution: demo
local: rocm.1
rocm: true
builders:
  git:
    kind: pep517
    native: {paths: ['csrc/**'], hip: true}
system-packages:
  - {package: dash, command: sh}
  - {package: no-tool, command: no-such-tool-at-all}
"""


@pytest.fixture
def needs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., dict[str, Need]]:
    """What a recipe with a compiled half needs, by name."""
    monkeypatch.setenv("ROCM_PATH", str(tmp_path))

    def ask(
        looks: Iterable[ToolchainLook] = (),
        *,
        python: str = ">=3.11",
        apt: bool = True,
        text: str = RECIPE,
    ) -> dict[str, Need]:
        recipes = {"demo": parse(Recipe, text, name="recipe.yaml")}
        return {
            need.need: need
            for need in examine("rocm", recipes, python=python, looks=looks, apt=apt)
        }

    return ask


def test_what_is_there_is_said_with_its_place_and_version(
    needs: Callable[..., dict[str, Need]],
) -> None:
    found = needs()
    assert (found["dash"].state, found["dash"].where) == ("ok", "/usr/bin/sh")
    assert found["python >=3.11"].where == sys.executable
    assert found["a sandbox for builds"].where == "bubblewrap"


def test_each_gap_has_the_command_that_closes_it(needs: Callable[..., dict[str, Need]]) -> None:
    found = needs(python=">=4")
    assert found["python >=4"].state == "missing"
    assert found["no-tool"].state == "missing"
    assert found["no-tool"].remedy == "apt-get install --yes --no-install-recommends no-tool"
    assert needs(apt=False)["no-tool"].remedy == "install what Debian calls no-tool"
    assert found["ROCm headers"].state == "missing"
    assert (
        "Debian's libhsa-runtime-dev, or give --rocm DIR or ROCM_PATH"
        in found["ROCm headers"].remedy
    )


def test_a_toolchain_that_was_found_is_named_with_its_origin(
    needs: Callable[..., dict[str, Need]],
) -> None:
    toolchain = HipToolchain(
        origin="/opt/rocm",
        root=Path("/opt/rocm"),
        compiler=Path("/opt/rocm/clang"),
        version="7.2.1",
        identity="x",
    )
    refused = ToolchainLook(
        origin="--rocm", root=Path("/x"), toolchain=None, reason="no such folder"
    )
    found = needs(
        [
            refused,
            ToolchainLook(origin="/opt/rocm", root=toolchain.root, toolchain=toolchain, reason=""),
        ]
    )["HIP toolchain"]
    assert (found.state, found.where, found.version) == ("ok", "/opt/rocm: /opt/rocm", "7.2.1")


def test_a_toolchain_that_a_build_would_make_is_no_gap(
    needs: Callable[..., dict[str, Need]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    looks = [
        ToolchainLook(
            origin="/opt/rocm", root=Path("/opt/rocm"), toolchain=None, reason="no such folder"
        ),
        ToolchainLook(origin="private toolchain", root=None, toolchain=None, reason="not made yet"),
    ]
    monkeypatch.setenv("PATH", str(tmp_path))
    gap = needs(looks)["HIP toolchain"]
    assert gap.state == "missing"
    assert "/opt/rocm: no such folder; private toolchain: not made yet" in gap.remedy
    for tool in ("apt-get", "dpkg-deb"):
        (tmp_path / tool).touch(0o755)
    assert needs(looks)["HIP toolchain"].state == "made"


def test_a_profile_that_compiles_for_no_gpu_needs_no_toolchain(
    needs: Callable[..., dict[str, Need]],
) -> None:
    assert "HIP toolchain" not in needs(text=RECIPE.replace(", hip: true", ""))


RUST = """
upstream: demo
distribution: demo
local: rocm.1
builders:
  git:
    kind: upstream
    packages: [demo]
    requires: [maturin]
    cargo: {rustc: ">=99.1"}
    system-packages:
      - {package: no-tool, command: no-such-tool-at-all}
      - {package: dash, command: sh}
  wheel: {kind: repack}
"""


def test_what_one_source_alone_wants_is_no_gap_where_there_is_another(
    needs: Callable[..., dict[str, Need]],
) -> None:
    found = needs(text=RUST)
    assert (found["no-tool"].state, found["dash"].state) == ("optional", "ok")
    assert found["no-tool"].remedy == "apt-get install --yes --no-install-recommends no-tool"
    assert found["Rust >=99.1"].state == "optional"
    assert (
        found["Rust >=99.1"].remedy
        == "rustup toolchain install 99.1 --profile minimal --no-self-update"
    )
    alone = needs(text=RUST.replace("  wheel: {kind: repack}\n", ""))
    assert {alone[name].state for name in ("no-tool", "Rust >=99.1")} == {"missing"}


def test_a_package_that_the_recipe_needs_anyway_is_a_gap(
    needs: Callable[..., dict[str, Need]],
) -> None:
    found = needs(
        text=f"{RUST}system-packages: [{{package: no-tool, command: no-such-tool-at-all}}]\n"
    )
    assert found["no-tool"].state == "missing"


def test_a_rust_that_is_there_is_named_with_its_release(
    needs: Callable[..., dict[str, Need]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tools = tmp_path / "toolchains/99.2-somewhere/bin"
    tools.mkdir(parents=True)
    for tool in ("rustc", "cargo"):
        (tools / tool).write_text("#!/bin/sh\necho 'release: 99.2.0'\n", encoding="utf-8")
        (tools / tool).chmod(0o755)
    monkeypatch.setenv("RUSTUP_HOME", str(tmp_path))
    found = needs(text=RUST)["Rust >=99.1"]
    assert (found.state, found.where, found.version) == ("ok", str(tools.parent), "99.2.0")


def test_what_the_cpu_profile_needs_of_a_processor_is_said(
    plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One with AVX2 alone, as some servers have, will do; an older one will not."""
    for flags, states in (
        ("fpu avx2", ["ok", "optional"]),
        ("fpu avx2 avx512f", ["ok", "ok"]),
        ("fpu sse4_2", ["missing", "optional"]),
    ):
        (tmp_path / "cpuinfo").write_text(
            f"processor\t: 0\nmodel name\t: Small 1\nflags\t\t: {flags}\n\nprocessor\t: 1\n",
            encoding="utf-8",
        )
        seen = doctor.processor(tmp_path / "cpuinfo")
        monkeypatch.setattr(doctor, "processor", lambda seen=seen: seen)
        needs = doctor.examine(
            "cpu", plant.checkout.recipes("cpu"), python=">=3.11", looks=(), apt=True
        )
        found = {need.need: need for need in needs if need.need.startswith("processor")}
        assert [found[f"processor with {flag}"].state for flag in ("avx2", "avx512f")] == states
        assert found["processor with avx2"].where == "Small 1"
        monkeypatch.undo()
    assert not [
        need
        for need in doctor.examine("rocm", {}, python=">=3.11", looks=(), apt=True)
        if need.need.startswith("processor")
    ]
