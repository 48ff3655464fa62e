"""Find a HIP toolchain, and believe in it only after it has compiled a kernel for every target."""

from __future__ import annotations

import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.specifiers import SpecifierSet

from forkhouse.binaries.offload import code_objects
from forkhouse.core.digests import digest, sha256_file
from forkhouse.core.errors import AuditError, ToolchainError
from forkhouse.core.journal import Record, Stage
from forkhouse.core.progress import report
from forkhouse.core.wording import bullets
from forkhouse.toolchains.packages import SEARCH_PATH
from forkhouse.toolchains.places import customary, hip_version
from forkhouse.toolchains.private_root import private_place, private_root

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from forkhouse.core.journal import Journal
    from forkhouse.documents.lockfile import Lock
    from forkhouse.sources.index import Registry


class Probed(Record):
    """A HIP toolchain that compiled for every target."""

    targets: tuple[str, ...]


_PROBED = Stage("hip", Probed)


_COMPILERS = ("llvm/bin/clang++", "lib/llvm/bin/clang++", "bin/amdclang++")
# The headers of every library that the upstreams' HIP sources use, none of them a part of HIP
# itself, and device functions of the compiler's own, which it leaves out where it does not believe
# that there is a HIP.
_PROBE = """
#include <hip/hip_runtime.h>
#include <hip/hip_bf16.h>
#include <hipcub/hipcub.hpp>
#include <thrust/complex.h>
#include <hipblas/hipblas.h>
#include <hipblaslt/hipblaslt.h>
#include <hipsparse/hipsparse.h>
#include <hipsolver/hipsolver.h>
extern "C" __global__ void forkhouse_probe(float factor, const float* in, float* out) {
  const int place = blockIdx.x * blockDim.x + threadIdx.x;
  out[place] = rintf(factor * in[min(place, 63)]);
}
"""
_KERNEL = "forkhouse_probe"


@dataclass(frozen=True, kw_only=True, slots=True)
class HipToolchain:
    """A ROCm root with a compiler in it that makes code for the targets."""

    origin: str
    """The reason why it was looked for there.

    An option, a variable, a customary folder, or the private root.
    """
    root: Path
    compiler: Path
    version: str
    """Version of HIP's headers; its last part is a build number."""
    identity: str
    """Changes whenever the compiler, its device libraries or HIP do: part of a build's cache key.

    It holds no path.
    """

    @property
    def flags(self) -> tuple[str, ...]:
        """Compiler options that lead to this root and to no other.

        Its headers are named as the system's own, as the system may have HIP of another version in
        /usr/include.
        """
        libraries = self.root / "amdgcn/bitcode"
        libraries_flag = [f"--rocm-device-lib-path={libraries}"] if libraries.is_dir() else []
        return (f"--rocm-path={self.root}", *libraries_flag, "-isystem", f"{self.root}/include")


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolchainLook:
    """One place where a toolchain was looked for, and what was found."""

    origin: str
    root: Path | None
    toolchain: HipToolchain | None
    reason: str
    """Why it was not taken; what it is, where it was."""


def search(
    lock: Lock,
    registry: Registry,
    journal: Journal,
    folder: Path,
    *,
    chosen: Path | None,
    offline: bool,
    make: bool,
) -> Iterator[ToolchainLook]:
    """Yield what is found at each place, in order of preference, until one will do.

    A ROCm that the user chose (`chosen`, else ROCM_PATH) is the only place. `folder` is where the
    private toolchain lies; it is made when all else failed, unless `make` is False. Raises as
    `private_root`.
    """
    for origin, root in customary(chosen):
        found = look(origin, root, lock, journal)
        yield found
        if found.toolchain is not None:
            return
    if chosen is not None or os.environ.get("ROCM_PATH") or lock.hip_toolchain is None:
        return
    origin = "private toolchain"
    if not make and not private_place(lock.hip_toolchain, folder).is_dir():
        count = len(lock.hip_toolchain.packages)
        yield ToolchainLook(
            origin=origin,
            root=None,
            toolchain=None,
            reason=f"not made yet; {count} Debian packages pinned in the lock make it",
        )
        return
    yield look(
        origin, private_root(lock.hip_toolchain, registry, folder, offline=offline), lock, journal
    )


def first(looks: Iterable[ToolchainLook], targets: Sequence[str]) -> HipToolchain:
    """Return the first toolchain that was found.

    Where none was, raises ToolchainError that names each place.
    """
    refused = []
    for found in looks:
        if found.toolchain is not None:
            report().line("hip", f"HIP {found.toolchain.version} from {found.origin}")
            return found.toolchain
        refused.append(f"{found.origin}: {found.reason}")
    message = (
        f"No HIP toolchain that compiles for {', '.join(targets)}:\n{bullets(refused)}\n"
        "Install ROCm, or give --rocm DIR."
    )
    raise ToolchainError(message)


def look(origin: str, root: Path | None, lock: Lock, journal: Journal) -> ToolchainLook:
    """Return what was found at one place.

    It is a toolchain that compiles for every target of the lock, or the reason why there is none.
    """

    def refused(reason: str) -> ToolchainLook:
        return ToolchainLook(origin=origin, root=root, toolchain=None, reason=reason)

    if root is None:
        return refused("not installed")
    if not root.is_dir():
        return refused("no such folder")
    version = hip_version(root)
    if version is None:
        return refused("include/hip/hip_version.h is not in it")
    if not SpecifierSet(lock.rocm).contains(version):
        return refused(f"it is HIP {version}, and the lock asks for {lock.rocm}")
    compiler = next((root / name for name in _COMPILERS if (root / name).exists()), None)
    if compiler is None:
        return refused(f"it has no compiler: none of {', '.join(_COMPILERS)}")
    identity = toolchain_identity(root, compiler)
    toolchain = HipToolchain(
        origin=origin, root=root, compiler=compiler, version=version, identity=identity
    )
    key = digest(identity, str(root), lock.gpu_targets, _PROBE)
    if journal.get(_PROBED, key) is None:
        problem = probe(toolchain, lock.gpu_targets)
        if problem:
            return refused(problem)
        journal.put(_PROBED, key, Probed(targets=lock.gpu_targets))
    return ToolchainLook(
        origin=origin,
        root=root,
        toolchain=toolchain,
        reason=f"HIP {version}; compiles for {', '.join(lock.gpu_targets)}",
    )


def toolchain_identity(root: Path, compiler: Path) -> str:
    """Return a digest of everything that decides the output of a toolchain.

    Compiler, code generator, device libraries and header libraries are separate packages, and may
    change independently.
    """
    driver = compiler.resolve()
    llvm = driver.parents[1]
    compilers = ("lib/libLLVM*.so*", "lib/libclang-cpp*.so*", "lib/clang/*/lib/amdgcn/bitcode/*.bc")
    pieces = {driver, *(found.resolve() for name in compilers for found in llvm.glob(name))}
    # The headers say their versions in one header each.
    parts = (
        "amdgcn/bitcode/*.bc",
        "include/hip*/hip*[-_]version.h*",
        "include/rocprim/*version.h*",
        "include/thrust/*version.h*",
    )
    pieces.update(found.resolve() for name in parts for found in root.glob(name))
    return digest(sorted((piece.name, sha256_file(piece)) for piece in pieces))


def probe(toolchain: HipToolchain, targets: Sequence[str]) -> str:
    """Compile a kernel for the targets and check the object.

    Returns what is wrong with it; empty when nothing is.
    """
    with tempfile.TemporaryDirectory(prefix="forkhouse-hip-") as scratch:
        folder = Path(scratch)
        (folder / "probe.hip").write_text(_PROBE, encoding="utf-8")
        command = [
            str(toolchain.compiler),
            "-x",
            "hip",
            *toolchain.flags,
            *(f"--offload-arch={target}" for target in targets),
        ]
        command += ["-std=c++20", "-O1", "-fPIC", "-c", "probe.hip", "-o", "probe.o"]
        environment = {
            "PATH": SEARCH_PATH,
            "HIP_PLATFORM": "amd",
            "TMPDIR": scratch,
            "LC_ALL": "C.UTF-8",
        }
        result = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        runtime = [str(toolchain.compiler), "--rtlib=compiler-rt", "-print-libgcc-file-name"]
        builtins = subprocess.run(
            runtime, cwd=folder, env=environment, capture_output=True, text=True, check=False
        ).stdout.strip()
        if result.returncode != 0:
            errors = [
                line for line in result.stderr.splitlines() if "error:" in line
            ] or result.stderr.splitlines()[-1:]
            return (
                "it cannot compile a kernel: "
                f"{errors[0] if errors else f'exit code {result.returncode}'}"
            )
        try:
            objects = code_objects(folder / "probe.o")
        except AuditError as error:
            return f"the object that it makes cannot be read: {error}"
    made = {found.target for found in objects if _KERNEL in found.kernels}
    lost = [target for target in targets if target not in made]
    if lost:
        return f"the object that it makes has no kernel for {', '.join(lost)}"
    # CMake's HIP language links every library with it.
    return (
        ""
        if Path(builtins).is_file()
        else f"its compiler's own run-time library is not there: {builtins}"
    )
