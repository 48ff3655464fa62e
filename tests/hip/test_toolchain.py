from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from forkhouse.binaries.offload import code_objects
from forkhouse.toolchains.places import hip_version

if TYPE_CHECKING:
    from pathlib import Path

    from forkhouse.flow.plant import Plant
    from forkhouse.toolchains.hip import HipToolchain

pytestmark = pytest.mark.hip

KERNEL = """
#include <hip/hip_runtime.h>
static_assert(HIP_VERSION_MAJOR == MAJOR, "the headers of another HIP");
#ifdef __CUDACC__
#error "compiled as CUDA"
#endif
extern "C" __global__ void twice(float* x) { x[threadIdx.x] *= 2; }
"""


def compile_kernel(
    toolchain: HipToolchain, targets: tuple[str, ...], folder: Path, *options: str
) -> Path:
    (folder / "twice.hip").write_text(KERNEL, encoding="utf-8")
    offload = [f"--offload-arch={target}" for target in targets]
    major = f"-DMAJOR={toolchain.version.split('.')[0]}"
    command = [
        str(toolchain.compiler),
        "-x",
        "hip",
        *toolchain.flags,
        *offload,
        major,
        *options,
        "-fPIC",
        "-c",
        "twice.hip",
        "-o",
        "twice.o",
    ]
    subprocess.run(command, cwd=folder, check=True, env={"PATH": "/usr/bin:/bin"})
    return folder / "twice.o"


@pytest.mark.parametrize("options", [(), ("--offload-compress",)])
def test_it_compiles_for_several_targets_and_we_read_what_llvm_reads(
    toolchain: HipToolchain, tmp_path: Path, options: tuple[str, ...]
) -> None:
    made = compile_kernel(toolchain, ("gfx90a", "gfx942"), tmp_path, *options)
    ours = {found.identity: found for found in code_objects(made) if found.size}
    assert {found.target: found.kernels for found in ours.values()} == {
        "gfx90a": ("twice",),
        "gfx942": ("twice",),
    }
    llvm = f"{toolchain.root}/llvm/bin"
    subprocess.run(
        [f"{llvm}/llvm-objcopy", "--dump-section=.hip_fatbin=fatbin", made, "/dev/null"],
        cwd=tmp_path,
        check=True,
    )
    bundler = [f"{llvm}/clang-offload-bundler", "--type=o", "--input=fatbin"]
    listed = subprocess.run(
        [*bundler, "--list"], cwd=tmp_path, check=True, capture_output=True, text=True
    ).stdout.split()
    assert set(ours) == {identity for identity in listed if not identity.startswith("host")}
    for identity, found in ours.items():
        command = [*bundler, "--unbundle", f"--targets={identity}", "--output=code"]
        subprocess.run(command, cwd=tmp_path, check=True)
        assert (tmp_path / "code").read_bytes() == found.content
        reader = [f"{llvm}/llvm-readelf", "--symbols", "--wide", "code"]
        assert (
            " twice.kd\n"
            in subprocess.run(
                reader, cwd=tmp_path, check=True, capture_output=True, text=True
            ).stdout
        )


def test_the_private_toolchain_is_the_one_of_the_lock(
    plant: Plant, toolchain: HipToolchain
) -> None:
    """Where a ROCm is installed, that one is taken, and this test has nothing to say."""
    if toolchain.origin != "private toolchain" or plant.lock.hip_toolchain is None:
        pytest.skip(f"the toolchain is that of {toolchain.origin}")
    version = hip_version(toolchain.root)
    assert version is not None
    assert version.split(".")[:2] == plant.lock.hip_toolchain.version.split(".")[:2]
    for link in toolchain.root.rglob("*"):
        assert not link.is_symlink() or link.resolve().is_relative_to(toolchain.root.parent), link
