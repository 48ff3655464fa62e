from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from forkhouse.binaries.elf import Elf
from forkhouse.binaries.offload import code_objects

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from forkhouse.flow.plant import Plant

pytestmark = [pytest.mark.hip, pytest.mark.timeout(1200)]

# The quickest source with a kernel in it of each extension library that has one.
SOURCES = {
    "_C": "csrc/custom_quickreduce.hip.o",
    "_C_stable_libtorch": "csrc/libtorch_stable/pos_encoding_kernels.hip.o",
    "_moe_C_stable_libtorch": "csrc/libtorch_stable/moe/moe_align_sum_kernels.hip.o",
    "_rocm_C_skinny": "csrc/rocm/skinny_gemms_int4.hip.o",
}
WITHOUT_KERNELS = ("cumem_allocator", "spinloop", "fs_io_C")


def test_a_source_of_each_extension_library_compiles_for_every_target(
    build: Callable[..., Path], plant: Plant
) -> None:
    objects = {library: f"CMakeFiles/{library}.dir/{source}" for library, source in SOURCES.items()}
    folder = build(*objects.values())
    for library, name in objects.items():
        found = {each.target: each.kernels for each in code_objects(folder / name) if each.size}
        assert set(found) == set(plant.lock.gpu_targets), library
        assert all(found.values()), library


def test_the_libraries_without_kernels_link_against_hip_alone(build: Callable[..., Path]) -> None:
    folder = build(*WITHOUT_KERNELS)
    libraries = {name: Elf((folder / f"{name}.abi3.so").read_bytes()) for name in WITHOUT_KERNELS}
    needed = {name: library.tags("NEEDED") for name, library in libraries.items()}
    assert any(library.startswith("libamdhip64.so.") for library in needed["cumem_allocator"])
    assert not [library for names in needed.values() for library in names if "cuda" in library]
    # A run path would leave room in the library that is as long as the build's folder.
    for name, library in libraries.items():
        assert not library.tags("RPATH") + library.tags("RUNPATH"), name
