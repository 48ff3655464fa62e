from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from forkhouse.core.errors import (
    HashMismatchError,
    ToolchainError,
    UnreachableError,
    UnsafeArchiveError,
)
from forkhouse.documents.lockfile import DebianBinary, HipToolchainPin, Lock
from forkhouse.documents.reading import parse
from forkhouse.sources.index import Registry
from forkhouse.toolchains.hip import ToolchainLook, first, search, toolchain_identity
from forkhouse.toolchains.places import hip_version
from forkhouse.toolchains.private_root import private_place, private_root

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from forkhouse.core.journal import Journal

LOCK = """
format: 1
python: '>=3.11'
rocm: '>=5,<8'
gpu-targets: [gfx90a]
upstreams:
  x: {version: '1', licence: MIT, why: y, sources: [{kind: git, url: 'https://host.invalid/x'}]}
profiles: {rocm: {recipes: [x], install: [x]}}
"""


@pytest.fixture
def lock() -> Lock:
    return parse(Lock, LOCK, name="upstream.lock")


@pytest.fixture
def rocm(tmp_path: Path) -> Callable[..., Path]:
    """Make a ROCm root whose compiler is a shell script."""

    def make(script: str | None, *, version: tuple[int, int, int] = (7, 2, 53211)) -> Path:
        root = tmp_path / "rocm"
        (root / "include/hip").mkdir(parents=True)
        parts = zip(("MAJOR", "MINOR", "PATCH"), version, strict=True)
        text = "".join(f"#define HIP_VERSION_{part} {number}\n" for part, number in parts)
        (root / "include/hip/hip_version.h").write_text(text, encoding="utf-8")
        if script is not None:
            (root / "llvm/bin").mkdir(parents=True)
            (root / "llvm/bin/clang++").write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
            (root / "llvm/bin/clang++").chmod(0o755)
        return root

    return make


@pytest.fixture
def look(
    lock: Lock, registry: Registry, journal: Journal, tmp_path: Path
) -> Callable[[Path], ToolchainLook]:
    def at(root: Path) -> ToolchainLook:
        (found,) = search(
            lock, registry, journal, tmp_path / "toolchains", chosen=root, offline=True, make=True
        )
        assert found.origin == "--rocm"
        return found

    return at


def test_a_root_is_refused_with_its_reason(
    look: Callable[[Path], ToolchainLook], rocm: Callable[..., Path], tmp_path: Path
) -> None:
    assert look(tmp_path / "none").reason == "no such folder"
    assert look(tmp_path).reason == "include/hip/hip_version.h is not in it"
    root = rocm(None)
    assert (
        look(root).reason
        == "it has no compiler: none of llvm/bin/clang++, lib/llvm/bin/clang++, bin/amdclang++"
    )


def test_another_version_than_the_lock_asks_for_is_refused(
    look: Callable[[Path], ToolchainLook], rocm: Callable[..., Path]
) -> None:
    assert (
        look(rocm("exit 1", version=(8, 0, 1))).reason
        == "it is HIP 8.0.1, and the lock asks for <8,>=5"
    )


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (
            "echo 'probe.hip:3: error: no device library' >&2; exit 1",
            "it cannot compile a kernel: probe.hip:3: error: no device library",
        ),
        ("echo 'killed' >&2; exit 9", "it cannot compile a kernel: killed"),
        ("exit 3", "it cannot compile a kernel: exit code 3"),
        (
            "echo 'int x;' | gcc -x c -c - -o probe.o",
            "the object that it makes has no kernel for gfx90a",
        ),
        ("echo text > probe.o", "the object that it makes cannot be read: "),
    ],
)
def test_a_compiler_is_believed_only_by_what_it_makes(
    look: Callable[[Path], ToolchainLook], rocm: Callable[..., Path], script: str, reason: str
) -> None:
    found = look(rocm(script))
    assert found.toolchain is None
    assert found.reason.startswith(reason)


def test_the_compiler_sees_nothing_of_the_users_environment(
    look: Callable[[Path], ToolchainLook],
    rocm: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CPLUS_INCLUDE_PATH", "/usr/local/cuda/include")
    monkeypatch.setenv("HIP_PLATFORM", "nvidia")
    assert look(
        rocm('echo "error: [$CPLUS_INCLUDE_PATH] [$HIP_PLATFORM]" >&2; exit 1')
    ).reason.endswith("error: [] [amd]")


@pytest.mark.parametrize(
    "changed",
    [
        "llvm/bin/clang++",
        "llvm/lib/libLLVM.so.22.1",
        "llvm/lib/libclang-cpp.so.22.1",
        "amdgcn/bitcode/ockl.bc",
        "llvm/lib/clang/22/lib/amdgcn/bitcode/ocml.bc",
        "include/hip/hip_version.h",
        "include/hipcub/hipcub_version.hpp",
        "include/hipblaslt/hipblaslt-version.h",
        "include/rocprim/rocprim_version.hpp",
        "include/thrust/version.h",
    ],
)
def test_a_change_of_any_part_makes_another_toolchain(
    rocm: Callable[..., Path], tmp_path: Path, changed: str
) -> None:
    root = rocm("exit 0")
    before = toolchain_identity(root, root / "llvm/bin/clang++")
    (root / changed).parent.mkdir(parents=True, exist_ok=True)
    (root / changed).write_text("another", encoding="utf-8")
    after = toolchain_identity(root, root / "llvm/bin/clang++")
    assert after != before
    moved = root.rename(tmp_path / "elsewhere")
    assert toolchain_identity(moved, moved / "llvm/bin/clang++") == after


def test_places_are_looked_at_in_order(
    lock: Lock,
    registry: Registry,
    journal: Journal,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("ROCM_PATH", raising=False)
    package = DebianBinary(
        package="clang", version="1", suite="main", file="clang_1_amd64.deb", sha256="0" * 64
    )
    lock = lock.model_copy(
        update={"hip_toolchain": HipToolchainPin(version="7.2", why="test", packages=(package,))}
    )
    looks = list(search(lock, registry, journal, tmp_path, chosen=None, offline=True, make=False))
    origins = [found.origin for found in looks]
    assert origins == ["/opt/rocm", "/opt/rocm/core", "AMD's ROCm wheels", "private toolchain"]
    assert looks[-1].reason == "not made yet; 1 Debian packages pinned in the lock make it"
    with pytest.raises(
        ToolchainError,
        match=r"(?s)No HIP toolchain that compiles for gfx90a:\n"
        r".*/opt/rocm: .*Install ROCm, or give --rocm DIR",
    ):
        first(looks, lock.gpu_targets)


def test_a_rocm_that_the_user_names_is_the_only_one(
    lock: Lock,
    registry: Registry,
    journal: Journal,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ROCM_PATH", str(tmp_path / "mine"))
    looks = list(search(lock, registry, journal, tmp_path, chosen=None, offline=True, make=True))
    assert [(found.origin, found.reason) for found in looks] == [("ROCM_PATH", "no such folder")]


def test_amds_wheels_are_found_where_they_are_installed(
    lock: Lock,
    registry: Registry,
    journal: Journal,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("ROCM_PATH", raising=False)
    module = tmp_path / "_rocm_sdk_devel"
    module.mkdir()
    (module / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    looks = {
        found.origin: found
        for found in search(
            lock, registry, journal, tmp_path, chosen=None, offline=True, make=False
        )
    }
    assert looks["AMD's ROCm wheels"].root == module


def test_the_version_is_read_from_the_headers(rocm: Callable[..., Path], tmp_path: Path) -> None:
    assert hip_version(rocm(None)) == "7.2.53211"
    assert hip_version(tmp_path) is None


def deb(folder: Path, files: dict[str, str], links: dict[str, str] | None = None) -> Path:
    """Make a real Debian package."""
    if shutil.which("dpkg-deb") is None:
        pytest.skip("dpkg is not on this machine")
    tree = folder / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(
        "Package: demo\nVersion: 1\nArchitecture: all\nMaintainer: T\nDescription: d\n",
        encoding="utf-8",
    )
    for path, text in files.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(text, encoding="utf-8")
    for path, aim in (links or {}).items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).symlink_to(aim)
    made = folder / "demo_1_all.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "--build", tree, made], check=True, capture_output=True
    )
    return made


FILES = {
    "usr/lib/llvm-22/bin/clang++": "compiler",
    "usr/lib/llvm-22/lib/clang/22/amdgcn/bitcode/ocml.bc": "code",
    "usr/lib/x86_64-linux-gnu/libamdhip64.so.7": "hip",
    "usr/lib/x86_64-linux-gnu/libLLVM.so.22.1": "llvm",
    "usr/include/hip/hip_version.h": "",
    "usr/share/hip/version": "7",
    "usr/share/doc/demo/copyright": "words",
}


@pytest.fixture
def pinned(registry: Registry) -> Callable[[Path], HipToolchainPin]:
    """Put a package into the cache, as if it had been fetched, and pin it."""

    def pin(package: Path) -> HipToolchainPin:
        sha256 = hashlib.sha256(package.read_bytes()).hexdigest()
        registry.adopt(package, package.name, sha256)
        binary = DebianBinary(
            package="demo", version="1", suite="main", file=package.name, sha256=sha256
        )
        return HipToolchainPin(version="7.2", why="test", packages=(binary,))

    return pin


def test_the_private_root_is_made_of_the_packages_alone(
    pinned: Callable[[Path], HipToolchainPin],
    registry: Registry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    toolchain = pinned(deb(tmp_path, FILES))
    root = private_root(toolchain, registry, tmp_path / "toolchains", offline=True)
    assert (root / "llvm/bin/clang++").read_text(encoding="utf-8") == "compiler"
    assert (root / "amdgcn/bitcode/ocml.bc").read_text(encoding="utf-8") == "code"
    assert (root / "lib/libamdhip64.so.7").read_text(encoding="utf-8") == "hip"
    assert (root / "llvm/lib/libLLVM.so.22.1").read_text(encoding="utf-8") == "llvm"
    assert (root / "share/hip/version").is_file()
    assert not (root / "share/doc").exists()
    for link in root.rglob("*"):
        assert not link.is_symlink() or not link.readlink().is_absolute()
    # Made once; then nothing is needed for it.
    monkeypatch.setenv("PATH", "")
    assert (
        private_root(
            toolchain,
            Registry(tmp_path / "empty", offline=True),
            tmp_path / "toolchains",
            offline=True,
        )
        == root
    )


def test_a_package_that_reaches_out_of_the_root_is_refused(
    pinned: Callable[[Path], HipToolchainPin], registry: Registry, tmp_path: Path
) -> None:
    toolchain = pinned(deb(tmp_path, FILES, {"usr/lib/evil": "/etc/passwd"}))
    with pytest.raises(
        UnsafeArchiveError, match=r"demo_1_all\.deb: .*evil.* is a link to an absolute path"
    ):
        private_root(toolchain, registry, tmp_path / "toolchains", offline=True)
    assert not private_place(toolchain, tmp_path / "toolchains").exists()


def test_a_package_that_is_not_cached_needs_a_network(registry: Registry, tmp_path: Path) -> None:
    binary = DebianBinary(
        package="clang", version="1:1", suite="sid", file="clang_1_amd64.deb", sha256="0" * 64
    )
    toolchain = HipToolchainPin(version="7.2", why="test", packages=(binary,))
    with pytest.raises(
        UnreachableError,
        match=r"Not in the cache, and --offline forbids fetching: clang 1:1 \(sid\)",
    ):
        private_root(toolchain, registry, tmp_path / "toolchains", offline=True)


def test_without_dpkg_the_user_is_told(
    pinned: Callable[[Path], HipToolchainPin],
    registry: Registry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    toolchain = pinned(deb(tmp_path, FILES))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(
        ToolchainError,
        match=r"unpacked with dpkg-deb, which is not on this machine. Install dpkg, or give --rocm "
        r"DIR",
    ):
        private_root(toolchain, registry, tmp_path / "toolchains", offline=True)


def test_a_package_with_another_hash_makes_nothing(registry: Registry, tmp_path: Path) -> None:
    package = deb(tmp_path, FILES)
    with pytest.raises(HashMismatchError):
        registry.adopt(package, package.name, "0" * 64)


def test_it_can_be_seen_and_made_from_the_command_line(
    rocm: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "upstream.lock").write_text(LOCK, encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "forkhouse",
        "--root",
        str(tmp_path),
        "toolchain",
        "--json",
        "--rocm",
        str(rocm("exit 1")),
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == ToolchainError.exit_code
    (row,) = json.loads(result.stdout)
    assert (row["origin"], row["usable"], row["reason"]) == (
        "--rocm",
        "no",
        "it cannot compile a kernel: exit code 1",
    )
    assert "None of these compiles for the GPU targets of the lock" in result.stderr
