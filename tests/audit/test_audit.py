from __future__ import annotations

import shutil
import subprocess
import zipfile
from typing import TYPE_CHECKING

import pytest

from forkhouse.audit import audit_wheel
from forkhouse.audit.policy import is_cuda_library, is_cuda_package
from forkhouse.errors import AuditError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not on this machine")


@pytest.fixture
def library(tmp_path: Path) -> Callable[..., bytes]:
    """Compile a shared library that needs another one (made for it, empty) and is linked with the given options."""

    def make(needed: str | None = None, *options: str) -> bytes:
        (tmp_path / "code.c").write_text("int code(void) { return 1; }\n", encoding="utf-8")
        if needed:
            subprocess.run(["gcc", "-shared", f"-Wl,-soname,{needed}", "-o", needed, "code.c"], cwd=tmp_path, check=True)
        linked = ["-Wl,--no-as-needed", "-L.", f"-l:{needed}"] if needed else []
        subprocess.run(["gcc", "-shared", "-o", "ext.so", "code.c", *linked, *options], cwd=tmp_path, check=True)
        return (tmp_path / "ext.so").read_bytes()

    return make


def refused(path: Path, *, ours: bool = True, excused: tuple[str, ...] = ()) -> list[str]:
    """Return the findings for which a wheel is refused."""
    with pytest.raises(AuditError, match=f"{path.name} was refused") as caught:
        audit_wheel(path, ours=ours, excused=excused)
    return [line.removeprefix("  - ") for line in str(caught.value).splitlines() if line.startswith("  - ")]


@needs_gcc
def test_a_clean_wheel_passes(make_wheel: Callable[..., Path], library: Callable[..., bytes]) -> None:
    content = library("libhsa-runtime64.so.1", "-Wl,-rpath,$ORIGIN/../lib:/opt/rocm/lib")
    facts = audit_wheel(
        make_wheel("demo", "1.0+rocm.1", {"demo/ext.so": content}, metadata=("Requires-Dist: numpy>=1", "Provides-Extra: all")),
        ours=True,
        excused=(),
    )
    assert (facts.name, facts.version, facts.requires, facts.provides_extra) == ("demo", "1.0+rocm.1", ("numpy>=1",), ("all",))


@needs_gcc
@pytest.mark.parametrize("soname", ["libcudart.so.12", "libcuda.so.1", "libcublasLt.so.12", "libcudart-1f2e3d.so.12.4.99", "libnccl.so.2"])
def test_a_library_that_needs_cuda_is_refused(make_wheel: Callable[..., Path], library: Callable[..., bytes], soname: str) -> None:
    assert refused(make_wheel(files={"demo/ext.so": library(soname)})) == [f"demo/ext.so needs {soname}"]


@needs_gcc
def test_stripped_section_headers_hide_nothing(make_wheel: Callable[..., Path], library: Callable[..., bytes]) -> None:
    content = bytearray(library("libcudart.so.12"))
    content[0x28:0x30] = bytes(8)  # e_shoff
    content[0x3C:0x40] = bytes(4)  # e_shnum and e_shstrndx
    assert refused(make_wheel(files={"demo/ext.so": bytes(content)})) == ["demo/ext.so needs libcudart.so.12"]


@needs_gcc
@pytest.mark.parametrize("options", [("-Wl,--enable-new-dtags",), ("-Wl,--disable-new-dtags",)], ids=["RUNPATH", "RPATH"])
def test_a_library_that_looks_into_the_build_folder_is_refused(
    make_wheel: Callable[..., Path], library: Callable[..., bytes], options: tuple[str, ...]
) -> None:
    content = library(None, "-Wl,-rpath,$ORIGIN:/home/builder/lib:/opt/rocm/lib", *options)
    assert refused(make_wheel(files={"demo/ext.so": content})) == ["demo/ext.so looks for libraries in /home/builder/lib"]


@needs_gcc
def test_a_library_that_looks_into_the_current_folder_is_refused(make_wheel: Callable[..., Path], library: Callable[..., bytes]) -> None:
    content = library(None, "-Wl,-rpath,$ORIGIN:")
    assert refused(make_wheel(files={"demo/ext.so": content})) == ["demo/ext.so looks for libraries in the current folder"]


@needs_gcc
def test_a_library_that_cannot_be_read_is_refused(make_wheel: Callable[..., Path], library: Callable[..., bytes]) -> None:
    whole = library("libcudart.so.12", "-Wl,-rpath,/home/builder")
    damaged = [whole[:size] for size in (4, 20, 64, 100, 600)]
    damaged += [whole[:at] + b"\xff" * 16 + whole[at + 16 :] for at in (4, 32)]
    for content in damaged:
        path = make_wheel(files={"demo/ext.so": content})
        with pytest.raises(AuditError, match=rf"{path.name} (cannot be read, so it is refused|was refused)"):
            audit_wheel(path, ours=True, excused=())


@needs_gcc
def test_an_object_file_without_a_dynamic_segment_passes(make_wheel: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "code.c").write_text("int code(void) { return 1; }\n", encoding="utf-8")
    subprocess.run(["gcc", "-c", "-o", "code.o", "code.c"], cwd=tmp_path, check=True)
    audit_wheel(make_wheel(files={"demo/code.o": (tmp_path / "code.o").read_bytes()}), ours=True, excused=())


@pytest.mark.parametrize("ours", [True, False])
def test_a_requirement_of_cuda_is_refused(make_wheel: Callable[..., Path], *, ours: bool) -> None:
    path = make_wheel(metadata=("Requires-Dist: numpy", "Requires-Dist: NVIDIA_cublas.cu12>=12 ; platform_system == 'Linux'"))
    assert refused(path, ours=ours) == ["requires the CUDA package nvidia-cublas-cu12"]
    audit_wheel(path, ours=ours, excused=("nvidia-cublas-cu12",))


def test_an_extra_of_ours_may_not_require_cuda_either(make_wheel: Callable[..., Path]) -> None:
    path = make_wheel(metadata=("Requires-Dist: cupy-cuda12x ; extra == 'gpu'", "Provides-Extra: gpu"))
    assert refused(path) == ["requires the CUDA package cupy-cuda12x"]
    audit_wheel(path, ours=False, excused=())


def test_a_cuda_package_is_refused_unless_the_lock_excuses_it(make_wheel: Callable[..., Path]) -> None:
    path = make_wheel("nixl-cu12")
    assert refused(path, ours=False) == ["is the CUDA package nixl-cu12"]
    audit_wheel(path, ours=False, excused=("nixl-cu12",))


def test_a_record_that_lies_is_refused(make_wheel: Callable[..., Path]) -> None:
    info = "demo-1.0.dist-info"
    true = zipfile.ZipFile(make_wheel()).read(f"{info}/RECORD").decode()
    lie = make_wheel(files={"demo/__init__.py": b"changed"}, record=true)
    assert refused(lie) == ["demo/__init__.py is not as RECORD says"]
    unlisted = make_wheel(files={"demo/__init__.py": b"", "demo/more.py": b""}, record=true)
    assert refused(unlisted) == ["demo/more.py is not as RECORD says"]
    missing = make_wheel(record=f"{true}demo/gone.py,sha256=AA,1\n")
    assert refused(missing) == ["demo/gone.py is in RECORD and not in the wheel"]
    audit_wheel(missing, ours=False, excused=())


def test_every_finding_is_told_at_once(make_wheel: Callable[..., Path]) -> None:
    path = make_wheel("cuda-python", metadata=("Requires-Dist: nvidia-nccl-cu12",), record="")
    findings = refused(path)
    assert findings[:2] == ["is the CUDA package cuda-python", "requires the CUDA package nvidia-nccl-cu12"]
    assert "cuda_python/__init__.py is not as RECORD says" in findings


def rewritten(path: Path, *, without: str = "", **members: bytes) -> Path:
    """Write a wheel anew without one member, or with others in its place."""
    with zipfile.ZipFile(path) as archive:
        kept = {name: archive.read(name) for name in archive.namelist() if name.rpartition("/")[2] not in {without, *members}}
        info = next(name for name in archive.namelist() if ".dist-info/" in name).partition("/")[0]
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**kept, **{f"{info}/{name}": content for name, content in members.items()}}.items():
            archive.writestr(name, content)
    return path


def test_a_wheel_without_a_record_or_metadata_is_refused(make_wheel: Callable[..., Path]) -> None:
    assert refused(rewritten(make_wheel(), without="RECORD")) == ["has no RECORD"]
    with pytest.raises(AuditError, match=r"has 0 \.dist-info/METADATA files, a wheel has one"):
        audit_wheel(rewritten(make_wheel(), without="METADATA"), ours=False, excused=())


@pytest.mark.parametrize(
    "metadata",
    [
        b"",
        b"Metadata-Version: 2.1\nVersion: 1.0\n",
        b"Metadata-Version: 2.1\nName: demo\n",
        b"Metadata-Version: 2.1\nName: demo\nVersion: one\n",
        b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\nRequires-Dist: nvidia-nccl-cu12 >> 1\n",
        b"Metadata-Version: 2.1\nName: \xff\nVersion: 1.0\n",
    ],
)
def test_metadata_that_cannot_be_read_is_refused(make_wheel: Callable[..., Path], metadata: bytes) -> None:
    path = rewritten(make_wheel(), METADATA=metadata)
    with pytest.raises(AuditError, match=rf"{path.name}"):
        audit_wheel(path, ours=False, excused=())


def test_a_record_that_cannot_be_read_is_refused(make_wheel: Callable[..., Path]) -> None:
    path = rewritten(make_wheel(), RECORD=b"\xff\xfe")
    with pytest.raises(AuditError, match="cannot be read, so it is refused"):
        audit_wheel(path, ours=True, excused=())


def test_what_is_no_wheel_is_refused(tmp_path: Path, make_wheel: Callable[..., Path]) -> None:
    path = tmp_path / "demo-1.0-py3-none-any.whl"
    path.write_bytes(b"no zip")
    with pytest.raises(AuditError, match="cannot be read, so it is refused"):
        audit_wheel(path, ours=False, excused=())
    damaged = make_wheel(files={"demo/data": bytes(range(256)) * 40})
    content = damaged.read_bytes()
    damaged.write_bytes(content[:60] + b"\xff" * 30 + content[90:])
    with pytest.raises(AuditError, match="cannot be read, so it is refused"):
        audit_wheel(damaged, ours=True, excused=())


@pytest.mark.parametrize(
    ("name", "is_cuda"),
    [
        ("nvidia-cublas-cu12", True),
        ("nixl-cu13", True),
        ("cupy-cuda12x", True),
        ("flashinfer-python", True),
        ("cuda-python", True),
        ("pynvml", True),
        ("torch", False),
        ("cucumber", False),
        ("barracuda", False),
        ("numpy", False),
    ],
)
def test_knows_cuda_packages_by_name(name: str, *, is_cuda: bool) -> None:
    assert is_cuda_package(name) is is_cuda


@pytest.mark.parametrize(
    ("name", "is_cuda"),
    [
        ("libcudart.so.12", True),
        ("libcudart-0a1b2c.so.12.1", True),
        ("libnvrtc.so.12", True),
        ("libcudnn_ops.so.9", True),
        ("libcusparseLt.so.0", True),
        ("libnvJitLink.so.12", True),
        ("libcupti.so.12", True),
        ("libnvshmem_host.so.3", True),
        ("libamdhip64.so.6", False),
        ("libhsa-runtime64.so.1", False),
        ("librccl.so.1", False),
        ("libcurl.so.4", False),
        ("libnvme.so.1", False),
        ("libcudf.so", False),
    ],
)
def test_knows_cuda_libraries_by_name(name: str, *, is_cuda: bool) -> None:
    assert is_cuda_library(name) is is_cuda
