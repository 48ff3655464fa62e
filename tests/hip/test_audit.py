"""GPU code that the toolchain makes there and then, read by us and by LLVM's own tools.

Wheels with it, and wheels spoilt on purpose.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from forkhouse.audit.gpu import inventory
from forkhouse.binaries.elf import Elf
from forkhouse.binaries.kernels import KernelInventory
from forkhouse.binaries.offload import OffloadBundle, code_objects, read_bundles
from forkhouse.binaries.resources import read_resources
from forkhouse.core.errors import AuditError
from tests.audit.conftest import LINUX, findings, look, terms
from tests.compiled import compiled

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from forkhouse.toolchains.hip import HipToolchain

pytestmark = pytest.mark.hip

FIRST = """
#include <hip/hip_runtime.h>
extern "C" __global__ void scale(float *x, float a) { x[threadIdx.x] *= a; }
__global__ void shift(float *x, float a) { x[threadIdx.x] += a; }
extern "C" void first(float *x) { shift<<<1, 64>>>(x, 1.0f); scale<<<1, 64>>>(x, 2.0f); }
"""
SECOND = """
#include <hip/hip_runtime.h>
template <typename T> __global__ void fill(T *x, T a) { x[threadIdx.x] = a; }
extern "C" void second(float *x) { fill<float><<<1, 64>>>(x, 1.0f); }
"""
PATH = """
#include <hip/hip_runtime.h>
__global__ void name(const char **to) { *to = __FILE__; }
extern "C" void path(const char **to) { name<<<1, 1>>>(to); }
"""
KERNELS = {"scale", "_Z5shiftPff", "_Z4fillIfEvPT_S0_"}


COMPRESSES = 18
"""Major version of the first LLVM that writes compressed bundles into objects."""


@dataclass(frozen=True, kw_only=True)
class Hip:
    """The compiler and the tools of its LLVM."""

    toolchain: HipToolchain
    version: int
    """Major version of LLVM."""

    def run(self, tool: str, *arguments: str | Path) -> str:
        return subprocess.run(
            [self.toolchain.compiler.parent / tool, *arguments],
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    def compile(self, folder: Path, name: str, code: str, *options: str) -> Path:
        (folder / f"{name}.hip").write_text(code, encoding="utf-8")
        files = ("-c", folder / f"{name}.hip", "-o", folder / f"{name}.o")
        self.run(
            self.toolchain.compiler.name,
            "-x",
            "hip",
            *self.toolchain.flags,
            "-fPIC",
            "-O1",
            *options,
            *files,
        )
        return folder / f"{name}.o"


@pytest.fixture(scope="session")
def hip(toolchain: HipToolchain) -> Hip:
    said = subprocess.run(
        [toolchain.compiler, "--version"], capture_output=True, text=True, check=True
    ).stdout
    version = re.search(r"clang version (\d+)", said)
    assert version, said
    return Hip(toolchain=toolchain, version=int(version[1]))


def link(folder: Path, *objects: Path) -> bytes:
    """Link objects to a library that needs the HIP runtime, as any library of that name does for
    the linker.
    """
    compiled(folder, "", "-Wl,-soname,libamdhip64.so.7", name="libamdhip64.so.7")
    command = [
        "gcc",
        "-shared",
        "-o",
        "hip.so",
        "-Wl,--no-as-needed",
        *map(str, objects),
        "-L.",
        "-l:libamdhip64.so.7",
    ]
    subprocess.run(command, cwd=folder, check=True)
    return (folder / "hip.so").read_bytes()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hip")


@pytest.fixture(scope="session", params=["plain", "compressed"])
def made(request: pytest.FixtureRequest, hip: Hip, folder: Path) -> bytes:
    """A library of two sources with code for two GPUs."""
    options = ["--offload-arch=gfx90a", "--offload-arch=gfx908"]
    if request.param == "compressed":
        if hip.version < COMPRESSES:
            pytest.skip(f"clang {hip.version} writes no compressed bundles")
        options.append("--offload-compress")
    return link(
        folder,
        hip.compile(folder, "first", FIRST, *options),
        hip.compile(folder, "second", SECOND, *options),
    )


def bundles(library: bytes) -> list[tuple[bytes, OffloadBundle]]:
    """Return the bundles of a library as they are in the file, each with our reading of it."""
    section = Elf(library).section(".hip_fatbin") or b""
    return [(section[bundle.offset : bundle.end], bundle) for bundle in read_bundles(section)]


def test_we_list_what_the_bundler_lists(hip: Hip, made: bytes, tmp_path: Path) -> None:
    assert len(bundles(made)) == 2
    for raw, bundle in bundles(made):
        (tmp_path / "bundle").write_bytes(raw)
        listed = hip.run(
            "clang-offload-bundler", "--list", "--type=o", f"--input={tmp_path / 'bundle'}"
        ).split()
        assert sorted(each.identity for each in bundle.objects) == sorted(listed)
        assert bundle.targets == {"gfx90a", "gfx908"}


def test_we_unpack_what_the_bundler_unpacks(hip: Hip, made: bytes, tmp_path: Path) -> None:
    for raw, bundle in bundles(made):
        (tmp_path / "bundle").write_bytes(raw)
        for each in bundle.objects:
            if each.target:
                arguments = [
                    f"--targets={each.identity}",
                    f"--input={tmp_path / 'bundle'}",
                    f"--output={tmp_path / 'object'}",
                ]
                hip.run("clang-offload-bundler", "--unbundle", "--type=o", *arguments)
                assert (tmp_path / "object").read_bytes() == each.content


def test_we_find_the_kernels_that_readelf_finds(hip: Hip, made: bytes, tmp_path: Path) -> None:
    found = set()
    for _, bundle in bundles(made):
        for each in bundle.objects:
            if each.target:
                (tmp_path / "object").write_bytes(each.content)
                lines = hip.run(
                    "llvm-readelf", "--dyn-syms", "--wide", tmp_path / "object"
                ).splitlines()
                descriptors = {
                    row[7]
                    for row in map(str.split, lines)
                    if len(row) == 8 and row[7].endswith(".kd") and row[6] != "UND"
                }
                assert {f"{kernel}.kd" for kernel in each.kernels} == descriptors
                assert f"amdhsa.target:   {each.identity.partition('-')[2]}" in hip.run(
                    "llvm-readelf", "--notes", tmp_path / "object"
                )
                found |= set(each.kernels)
    assert found == KERNELS


HEAVY = """
#include <hip/hip_runtime.h>
extern "C" __global__ void shared(float *x) {
    __shared__ float kept[1000];
    kept[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    x[threadIdx.x] = kept[999 - threadIdx.x];
}
extern "C" __global__ __launch_bounds__(1024, 8) void spilling(double *x, int n) {
    double kept[200];
    for (int i = 0; i < 200; i++) kept[i] = x[i * n + threadIdx.x] * n;
    for (int j = 0; j < 200; j++)
        for (int i = 0; i < 200; i++) kept[i] += kept[(i * 7 + j) % 200] * kept[j];
    for (int i = 0; i < 200; i++) x[i * n + threadIdx.x] = kept[i];
}
"""


def test_what_kernels_take_is_what_readelf_says(hip: Hip, tmp_path: Path) -> None:
    path = hip.compile(tmp_path, "heavy", HEAVY, "--offload-arch=gfx90a", "-O3")
    (code,) = (each for each in code_objects(path) if each.target)
    (tmp_path / "object").write_bytes(code.content)
    notes = hip.run("llvm-readelf", "--notes", tmp_path / "object")
    metadata = yaml.safe_load(notes[notes.index("---") : notes.index("...\n")])
    told = {each[".name"]: each for each in metadata["amdhsa.kernels"]}
    found = {
        each.kernel: each
        for each in read_resources(code.content, library="ext.so", target="gfx90a")
    }
    assert found.keys() == told.keys() == {"shared", "spilling"}
    for name, each in found.items():
        for ours, key in (
            (each.lds, ".group_segment_fixed_size"),
            (each.scratch, ".private_segment_fixed_size"),
            (each.vgprs, ".vgpr_count"),
            (each.agprs, ".agpr_count"),
            (each.sgprs, ".sgpr_count"),
            (each.vgpr_spills, ".vgpr_spill_count"),
            (each.sgpr_spills, ".sgpr_spill_count"),
            (each.wavefront, ".wavefront_size"),
            (each.workgroup, ".max_flat_workgroup_size"),
            (each.kernarg, ".kernarg_segment_size"),
        ):
            assert ours == told[name][key], (name, key)
        assert each.arguments == tuple(
            f"{part['.offset']}:{part['.size']} {part['.value_kind']}"
            for part in told[name][".args"]
        )
    assert found["shared"].lds == 4000
    assert found["spilling"].scratch > 0
    assert (found["shared"].xnack, found["shared"].sramecc) == ("any", "any")
    assert found["shared"].wavefront == 64


def test_an_object_file_is_read_as_well(hip: Hip, tmp_path: Path) -> None:
    path = hip.compile(tmp_path, "first", FIRST, "--offload-arch=gfx90a:xnack-")
    assert [(each.target, set(each.kernels)) for each in code_objects(path) if each.target] == [
        ("gfx90a:xnack-", KERNELS & {"scale", "_Z5shiftPff"})
    ]


def test_a_wheel_with_the_code_passes(made: bytes, make_wheel: Callable[..., Path]) -> None:
    path = make_wheel(files={"demo/ext.so": made}, tag=LINUX)
    report = look(
        path,
        terms(targets=["gfx90a", "gfx908"]),
        recorded=KernelInventory(libraries=inventory(path)),
    )
    assert report.findings == ()
    assert [(each.target, set(each.kernels)) for each in report.kernels] == [
        ("gfx908", KERNELS),
        ("gfx90a", KERNELS),
    ]
    assert findings(path, terms(targets=["gfx942"]))


def test_a_library_of_which_one_source_is_for_another_gpu_is_refused(
    hip: Hip, tmp_path: Path, make_wheel: Callable[..., Path]
) -> None:
    first = hip.compile(tmp_path, "first", FIRST, "--offload-arch=gfx90a")
    second = hip.compile(tmp_path, "second", SECOND, "--offload-arch=gfx908")
    [finding] = findings(
        make_wheel(files={"demo/ext.so": link(tmp_path, first, second)}, tag=LINUX)
    )
    assert re.fullmatch(
        r"demo/ext\.so has no code for gfx90a in its bundle at byte \d+ of \.hip_fatbin, but for "
        r"gfx908",
        finding,
    )


def test_a_library_whose_code_was_stripped_is_refused(
    made: bytes, tmp_path: Path, make_wheel: Callable[..., Path]
) -> None:
    (tmp_path / "whole.so").write_bytes(made)
    subprocess.run(
        ["objcopy", "--remove-section=.hip_fatbin", "whole.so", "stripped.so"],
        cwd=tmp_path,
        check=True,
    )
    path = make_wheel(files={"demo/ext.so": (tmp_path / "stripped.so").read_bytes()}, tag=LINUX)
    assert findings(path) == ["demo/ext.so needs libamdhip64.so.7 and has no GPU code in it"]


def test_the_path_of_the_source_is_found_in_the_gpu_code(
    hip: Hip, tmp_path: Path, make_wheel: Callable[..., Path]
) -> None:
    packed = ["--offload-compress"] if hip.version >= COMPRESSES else []
    path = make_wheel(
        files={
            "demo/ext.so": link(
                tmp_path, hip.compile(tmp_path, "path", PATH, "--offload-arch=gfx90a", *packed)
            )
        },
        tag=LINUX,
    )
    found = findings(path, terms(build_paths=[str(tmp_path)]))
    assert (
        "demo/ext.so (hipv4-amdgcn-amd-amdhsa--gfx90a) has a path of the build in it: "
        f"{tmp_path}/path.hip" in found
    )


def test_a_hip_library_linked_to_a_false_cuda_is_refused(
    hip: Hip, tmp_path: Path, make_wheel: Callable[..., Path]
) -> None:
    compiled(tmp_path, "", "-Wl,-soname,libcudart.so.12", name="libcudart.so.12")
    content = link(
        tmp_path,
        hip.compile(tmp_path, "first", FIRST, "--offload-arch=gfx90a"),
        tmp_path / "libcudart.so.12",
    )
    assert findings(make_wheel(files={"demo/ext.so": content}, tag=LINUX)) == [
        "demo/ext.so needs libcudart.so.12"
    ]


def test_nothing_but_an_audit_error_comes_of_mutations(made: bytes) -> None:
    section = Elf(made).section(".hip_fatbin") or b""
    heads = [bundle.offset + place for _, bundle in bundles(made) for place in range(200)]
    heads += [
        match.start() + place
        for match in re.finditer(rb"\x7fELF", section)
        for place in range(0, 700, 4)
    ]

    @settings(max_examples=200, deadline=None)
    @given(
        edits=st.lists(
            st.tuples(st.sampled_from(heads), st.binary(min_size=1, max_size=9)), max_size=4
        ),
        cut=st.integers(0, len(section)),
    )
    def mutate(edits: list[tuple[int, bytes]], cut: int) -> None:
        changed = bytearray(section)
        for place, new in edits:
            changed[place : place + len(new)] = new
        with contextlib.suppress(AuditError):
            list(read_bundles(bytes(changed[:cut])))

    mutate()
