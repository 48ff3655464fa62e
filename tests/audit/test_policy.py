from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from forkhouse.audit.policy import Own, read_policy
from forkhouse.core.errors import DocumentError, UsageError
from forkhouse.documents.lockfile import Lock
from forkhouse.documents.reading import load, parse
from tests.audit.conftest import LINUX, findings, terms
from tests.compiled import compiled, needs_gcc

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parent.parent.parent
CUDA = read_policy("rocm").cuda


def test_every_profile_of_the_lock_has_rules() -> None:
    for profile in load(Lock, ROOT / "upstream.lock").profiles:
        read_policy(profile)


@pytest.mark.parametrize("profile", ["other", "common", "../audit/policies/cpu"])
def test_a_profile_without_rules_is_refused(profile: str) -> None:
    with pytest.raises(
        UsageError, match=r"no rules for the profile .* It has rules for: cpu, rocm"
    ):
        read_policy(profile)


def test_a_pattern_that_is_none_is_refused_with_its_line() -> None:
    text = "cuda-dlopen: maybe\ndistributions:\n  demo: {host-only: 3, gpu-cod: []}\n"
    with pytest.raises(
        DocumentError,
        match=r"(?s)x:1: cuda-dlopen: .*x:3: distributions\.demo\.gpu-cod: .*x:3: "
        r"distributions\.demo\.host-only",
    ):
        parse(Own, text, name="x")


@pytest.mark.parametrize(
    ("name", "is_cuda"),
    [
        ("nvidia-cublas-cu12", True),
        ("nvidia", True),
        ("nixl-cu13", True),
        ("cupy-cuda12x", True),
        ("flashinfer-python", True),
        ("cuda-python", True),
        ("pynvml", True),
        ("torch", False),
        ("cucumber", False),
        ("barracuda", False),
        ("numpy", False),
        ("nvidianot", False),
    ],
)
def test_knows_cuda_packages_by_name(name: str, *, is_cuda: bool) -> None:
    assert CUDA.is_package(name) is is_cuda


@pytest.mark.parametrize(
    ("name", "is_cuda"),
    [
        ("cu13", True),
        ("cuda", True),
        ("cuda12", True),
        ("cuda12x", True),
        ("cute", False),
        ("vllm", False),
    ],
)
def test_knows_cuda_extras_by_name(name: str, *, is_cuda: bool) -> None:
    assert CUDA.is_extra(name) is is_cuda


@pytest.mark.parametrize(
    ("name", "is_cuda"),
    [
        ("libcudart.so.12", True),
        ("libcudart-0a1b2c.so.12.1", True),
        ("libcuda.so.1", True),
        ("libcublasLt.so.12", True),
        ("libnvrtc.so.12", True),
        ("libcudnn_ops.so.9", True),
        ("libcusparseLt.so.0", True),
        ("libnvJitLink.so.12", True),
        ("libcupti.so.12", True),
        ("libnvshmem_host.so.3", True),
        ("libnvidia-ml.so.1", True),
        ("libtorch_cuda.so", True),
        ("libc10_cuda.so", True),
        ("libtorch_hip.so", False),
        ("libcaffe2_nvrtc.so", False),
        ("libamdhip64.so.6", False),
        ("libhsa-runtime64.so.1", False),
        ("librccl.so.1", False),
        ("libcurl.so.4", False),
        ("libnvme.so.1", False),
        ("libcudf.so", False),
    ],
)
def test_knows_cuda_libraries_by_name(name: str, *, is_cuda: bool) -> None:
    assert CUDA.is_library(name) is is_cuda


@pytest.mark.parametrize(
    ("name", "is_cuda"),
    [
        ("cudaMalloc", True),
        ("__cudaRegisterFatBinary", True),
        ("cuInit", True),
        ("cuMemAlloc_v2", True),
        ("cublasCreate_v2", True),
        ("cublasLtMatmul", True),
        ("nvmlInit_v2", True),
        ("nvrtcCompileProgram", True),
        ("nvshmem_malloc", True),
        ("nvshmemx_init", True),
        ("cuFileDriverOpen", True),
        ("ncclAllReduce", False),  # RCCL has it, too
        ("hipMalloc", False),
        ("curl_easy_init", False),
        ("cups_init", False),
        ("_ZN3c104cuda9CUDAGuardE", False),
        ("aoti_torch_get_current_cuda_stream", False),
    ],
)
def test_knows_cuda_symbols_by_family(name: str, *, is_cuda: bool) -> None:
    assert CUDA.is_symbol(name) is is_cuda


@pytest.mark.parametrize(
    ("path", "is_cuda"),
    [
        ("/usr/local/cuda/lib64", True),
        ("/usr/local/cuda-13.0/lib64", True),
        ("$ORIGIN/../nvidia/cuda_runtime/lib", True),
        ("$ORIGIN/../torch/lib", False),
        ("/opt/rocm/lib", False),
    ],
)
def test_knows_where_cuda_lies(path: str, *, is_cuda: bool) -> None:
    assert CUDA.is_folder(path) is is_cuda


@needs_gcc
def test_ucx_for_rocm_must_have_been_compiled_with_what_new_releases_have(
    make_wheel: Callable[..., Path], tmp_path: Path
) -> None:
    held = terms("rocm")
    with_it = compiled(
        tmp_path,
        (
            "int hsa_amd_portable_export_dmabuf(void); int code(void) { return "
            "hsa_amd_portable_export_dmabuf(); }"
        ),
    )
    without = compiled(tmp_path, "int code(void) { return 1; }")
    path = "libucx_rocm/lib/ucx/libuct_rocm.so.0"

    def lost(version: str, content: bytes) -> bool:
        found = findings(make_wheel("libucx-rocm", version, {path: content}, tag=LINUX), held)
        return any("does not use hsa_amd_portable_export_dmabuf" in finding for finding in found)

    assert lost("1.22.0+rocm.1", without)
    assert not lost("1.22.0+rocm.1", with_it)
    assert not lost(
        "1.13.1+rocm.1", without
    )  # it has no such code, whatever it is compiled against


@needs_gcc
def test_ucx_for_rocm_must_know_the_hip_of_rocm_7(
    make_wheel: Callable[..., Path], library: Callable[..., bytes]
) -> None:
    held = terms("rocm")
    path = "libucx_rocm/lib/ucx/libucx_perftest_rocm.so.0"

    def old(soname: str) -> bool:
        found = findings(
            make_wheel("libucx-rocm", "1.22.0+rocm.1", {path: library(soname)}, tag=LINUX), held
        )
        return any("compiled against a HIP before 7" in finding for finding in found)

    assert [old(f"libamdhip64.so.{number}") for number in (5, 6, 7, 8)] == [
        True,
        True,
        False,
        False,
    ]
