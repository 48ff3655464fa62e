from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

from forkhouse.audit.findings import Rule
from forkhouse.audit.gpu import inventory
from forkhouse.audit.look import audit_wheel
from forkhouse.audit.metadata import wheel_facts
from forkhouse.audit.policy import AuditPolicy
from forkhouse.audit.report import refuse
from forkhouse.binaries.kernels import KernelInventory, LibraryKernels
from forkhouse.core.errors import AuditError
from tests.audit.conftest import LINUX, findings, look, rewritten, terms
from tests.compiled import bundle, compiled, needs_gcc, paged

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Make = Callable[..., Path]
    Compile = Callable[..., bytes]

GFX908 = "hipv4-amdgcn-amd-amdhsa--gfx908"
GFX90A = "hipv4-amdgcn-amd-amdhsa--gfx90a"


@needs_gcc
def test_a_clean_wheel_passes(make_wheel: Make, library: Compile) -> None:
    content = library("libhsa-runtime64.so.1", "-Wl,-rpath,$ORIGIN/../lib:/opt/rocm/lib")
    path = make_wheel(
        "demo",
        "1.0+rocm.1",
        {"demo/ext.so": content},
        metadata=("Requires-Dist: numpy>=1", "Provides-Extra: all"),
        tag=LINUX,
    )
    report = look(path)
    assert report.passed
    assert (report.findings, report.notes, report.kernels) == ((), (), ())
    assert report.facts == wheel_facts(path)
    assert (report.facts.name, report.facts.version) == ("demo", "1.0+rocm.1")
    assert (report.facts.requires, report.facts.provides_extra) == (("numpy>=1",), ("all",))
    refuse([report])


def test_a_refusal_tells_every_finding_of_every_wheel(make_wheel: Make) -> None:
    first = look(
        make_wheel("cuda-python", metadata=("Requires-Dist: nvidia-nccl-cu12",), record="")
    )
    assert [str(finding) for finding in first.findings][:2] == [
        "is the CUDA package cuda-python",
        "requires the CUDA package nvidia-nccl-cu12",
    ]
    assert "cuda_python/__init__.py is in the wheel and not in RECORD" in [
        str(finding) for finding in first.findings
    ]
    with pytest.raises(AuditError) as caught:
        refuse([first, look(make_wheel()), look(make_wheel("pynvml"))])
    lines = str(caught.value).splitlines()
    assert lines[0] == "cuda_python-1.0-py3-none-any.whl was refused:"
    assert lines[1] == "  - is the CUDA package cuda-python"
    assert lines[-3:-1] == [
        "pynvml-1.0-py3-none-any.whl was refused:",
        "  - is the CUDA package pynvml",
    ]
    assert "demo" not in str(caught.value)


# No CUDA


@needs_gcc
@pytest.mark.parametrize("ours", [True, False])
@pytest.mark.parametrize(
    "soname",
    [
        "libcudart.so.12",
        "libcuda.so.1",
        "libcublasLt.so.12",
        "libcudart-1f2e3d.so.12.4.99",
        "libnccl.so.2",
    ],
)
def test_a_library_that_needs_cuda_is_refused(
    make_wheel: Make, library: Compile, soname: str, *, ours: bool
) -> None:
    path = make_wheel(files={"demo/ext.so": library(soname)}, tag=LINUX)
    assert findings(path, ours=ours) == [f"demo/ext.so needs {soname}"]


@needs_gcc
def test_a_package_that_the_lock_excuses_may_need_cuda(make_wheel: Make, library: Compile) -> None:
    path = make_wheel("nixl-cu12", files={"x/ext.so": library("libcudart.so.12")}, tag=LINUX)
    assert findings(path, ours=False) == [
        "is the CUDA package nixl-cu12",
        "x/ext.so needs libcudart.so.12",
    ]
    assert findings(path, terms(excused=["nixl-cu12"]), ours=False) == []


@needs_gcc
def test_stripped_section_headers_hide_nothing(make_wheel: Make, library: Compile) -> None:
    content = bytearray(
        library(
            "libcudart.so.12",
            code='int cuInit(int);\nconst char *code(void) { cuInit(0); return "libnvrtc.so"; }\n',
        )
    )
    content[0x28:0x30] = bytes(8)  # e_shoff
    content[0x3C:0x40] = bytes(4)  # e_shnum and e_shstrndx
    report = look(make_wheel(files={"demo/ext.so": bytes(content)}, tag=LINUX))
    assert [str(finding) for finding in report.findings] == [
        "demo/ext.so needs libcudart.so.12",
        "demo/ext.so has undefined symbols of CUDA: cuInit",
    ]
    assert [str(note) for note in report.notes] == [
        "demo/ext.so names libraries of CUDA that it can load: libnvrtc.so"
    ]


@needs_gcc
def test_undefined_symbols_of_cuda_are_refused(make_wheel: Make, library: Compile) -> None:
    code = (
        "int cudaMalloc(void), cublasCreate_v2(void), hipMalloc(void);\nint code(void) { return "
        "cudaMalloc() + cublasCreate_v2() + hipMalloc(); }\n"
    )
    path = make_wheel(files={"demo/ext.so": library(code=code)}, tag=LINUX)
    assert findings(path) == [
        "demo/ext.so has undefined symbols of CUDA: cublasCreate_v2, cudaMalloc"
    ]


OPTIONAL = """
__attribute__((weak)) int cuInit(int);
int code(void) { return cuInit ? cuInit(0) : 0; }
const char *first(void) { return "/usr/local/cuda/lib64/libcudart.so.12"; }
const char *second(void) { return "libcuda.so.1"; }
const char *third(void) { return "libamdhip64.so.6"; }
"""


@needs_gcc
def test_what_only_may_be_loaded_is_noted_apart(make_wheel: Make, library: Compile) -> None:
    report = look(make_wheel(files={"demo/ext.so": library(code=OPTIONAL)}, tag=LINUX))
    assert report.passed
    assert [(note.rule, str(note)) for note in report.notes] == [
        (Rule.NO_CUDA, "demo/ext.so can use symbols of CUDA where they are: cuInit"),
        (
            Rule.NO_CUDA,
            "demo/ext.so names libraries of CUDA that it can load: libcuda.so.1, libcudart.so.12",
        ),
    ]


@needs_gcc
def test_what_may_be_loaded_is_refused_where_the_policy_forbids_it(
    make_wheel: Make, library: Compile
) -> None:
    held = terms()
    strict = AuditPolicy(
        common=held.policy.common, own=held.policy.own.model_copy(update={"cuda_dlopen": "refuse"})
    )
    held = type(held)(policy=strict, targets=(), build_paths=())
    assert (
        len(findings(make_wheel(files={"demo/ext.so": library(code=OPTIONAL)}, tag=LINUX), held))
        == 2
    )


@pytest.mark.parametrize("ours", [True, False])
def test_a_requirement_of_cuda_is_refused(make_wheel: Make, *, ours: bool) -> None:
    path = make_wheel(
        metadata=(
            "Requires-Dist: numpy",
            "Requires-Dist: NVIDIA_cublas.cu12>=12 ; platform_system == 'Linux'",
        )
    )
    assert findings(path, ours=ours) == ["requires the CUDA package nvidia-cublas-cu12"]
    assert findings(path, terms(excused=["nvidia-cublas-cu12"]), ours=ours) == []


def test_an_extra_of_ours_may_not_require_cuda_either(make_wheel: Make) -> None:
    path = make_wheel(
        metadata=("Requires-Dist: cupy-cuda12x ; extra == 'gpu'", "Provides-Extra: gpu")
    )
    assert findings(path) == ["requires the CUDA package cupy-cuda12x"]
    assert findings(path, ours=False) == []


def test_a_cuda_extra_of_another_package_is_refused(make_wheel: Make) -> None:
    path = make_wheel(metadata=("Requires-Dist: nixl[cu13,all]==1.4.1",))
    assert findings(path) == ["requires nixl with the extra cu13, which is for CUDA"]


# Nobody else's package


@pytest.mark.parametrize("requirement", ["rixl", "rixl>=1.1", "rixl==1.1.0", "RIXL==1.1.*"])
@pytest.mark.parametrize("ours", [True, False])
def test_a_requirement_that_an_index_fulfils_with_another_project_is_refused(
    make_wheel: Make, requirement: str, *, ours: bool
) -> None:
    [finding] = look(make_wheel(metadata=(f"Requires-Dist: {requirement}",)), ours=ours).findings
    assert finding.rule is Rule.OUR_OWN
    assert (
        "which an index fulfils with another project: the client of a web service" in finding.what
    )


@pytest.mark.parametrize(
    "requirement", ["rixl==1.1.0+rocm.1", "rixl>=1,==1.1.0+rocm.1", "rixl===1.1.0+rocm.1"]
)
def test_a_requirement_of_our_build_passes(make_wheel: Make, requirement: str) -> None:
    assert findings(make_wheel(metadata=(f"Requires-Dist: {requirement}",))) == []


def test_a_package_of_another_project_is_refused_unless_it_is_our_build(make_wheel: Make) -> None:
    assert findings(make_wheel("rixl", "1.1.0+rocm.1")) == []
    for ours in (True, False):
        [finding] = findings(make_wheel("rixl", "1.3.0"), ours=ours)
        assert finding.startswith("is rixl 1.3.0 without a local version label")


# True in what it says of itself


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_file_that_is_there_twice_is_refused(make_wheel: Make) -> None:
    path = make_wheel()
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("demo/__init__.py", b"another")
    assert "demo/__init__.py is in the wheel twice; which one is installed is chance" in findings(
        path
    )


def test_a_wheel_without_a_record_or_metadata_is_refused(make_wheel: Make) -> None:
    assert findings(rewritten(make_wheel(), without="RECORD")) == ["has no RECORD"]
    report = look(rewritten(make_wheel(), without="METADATA"), ours=False)
    assert [str(finding) for finding in report.findings] == [
        "has no demo-1.0.dist-info/METADATA, without which nothing says what it is"
    ]
    assert report.facts is None


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
def test_metadata_that_cannot_be_read_is_refused(make_wheel: Make, metadata: bytes) -> None:
    assert findings(rewritten(make_wheel(), METADATA=metadata), ours=False)


def test_a_record_that_cannot_be_read_is_refused(make_wheel: Make) -> None:
    [finding] = look(rewritten(make_wheel(), RECORD=b"\xff\xfe")).findings
    assert finding.rule is Rule.READABLE
    assert finding.what == "demo-1.0.dist-info/RECORD is no UTF-8: byte 0 is 0xff"


def test_what_is_no_wheel_is_refused(tmp_path: Path, make_wheel: Make) -> None:
    path = tmp_path / "demo-1.0-py3-none-any.whl"
    path.write_bytes(b"no zip")
    assert findings(path, ours=False) == [
        "cannot be read, so it is refused: File is not a zip file"
    ]
    damaged = make_wheel(files={"demo/data": bytes(range(256)) * 40})
    content = damaged.read_bytes()
    damaged.write_bytes(content[:60] + b"\xff" * 30 + content[90:])
    for ours in (True, False):
        assert findings(damaged, ours=ours)[0].startswith(
            "demo/data cannot be read, so it is refused"
        )
    with pytest.raises(FileNotFoundError):
        audit_wheel(tmp_path / "none.whl", terms(), ours=True)


@needs_gcc
@pytest.mark.parametrize("ours", [True, False])
def test_a_library_that_cannot_be_read_is_refused(
    make_wheel: Make, library: Compile, *, ours: bool
) -> None:
    whole = library("libcudart.so.12", "-Wl,-rpath,/home/builder")
    damaged = [whole[:size] for size in (4, 20, 64, 100, 600)]
    damaged += [whole[:at] + b"\xff" * 16 + whole[at + 16 :] for at in (4, 32)]
    for content in damaged:
        assert findings(make_wheel(files={"demo/ext.so": content}, tag=LINUX), ours=ours)[
            0
        ].startswith("demo/ext.so cannot be read: it is damaged")


# Relocatable


@needs_gcc
@pytest.mark.parametrize(
    "options", [("-Wl,--enable-new-dtags",), ("-Wl,--disable-new-dtags",)], ids=["RUNPATH", "RPATH"]
)
def test_a_library_that_looks_into_the_build_folder_is_refused(
    make_wheel: Make, library: Compile, options: tuple[str, ...]
) -> None:
    content = library(None, "-Wl,-rpath,$ORIGIN:/opt/builder/lib:/opt/rocm/lib", *options)
    assert findings(make_wheel(files={"demo/ext.so": content}, tag=LINUX)) == [
        "demo/ext.so looks for libraries in /opt/builder/lib"
    ]


@needs_gcc
@pytest.mark.parametrize(
    ("run_path", "said"),
    [
        ("$ORIGIN:", "looks for libraries in the current folder"),
        ("lib", "looks for libraries in lib"),
        ("$ORIGINAL/lib", "looks for libraries in $ORIGINAL/lib"),
        ("$ORIGIN/$LIB", "looks for libraries in $ORIGIN/$LIB"),
        ("$ORIGIN/../..", "looks for libraries outside of site-packages: $ORIGIN/../.."),
        (
            "$ORIGIN/x/../../../lib",
            "looks for libraries outside of site-packages: $ORIGIN/x/../../../lib",
        ),
        ("/opt/rocm/lib/", "looks for libraries in /opt/rocm/lib/"),
        (
            "$ORIGIN/../nvidia/nccl/lib",
            "looks for libraries where CUDA is: $ORIGIN/../nvidia/nccl/lib",
        ),
        ("$ORIGIN:$ORIGIN/../other/lib:${ORIGIN}/x/../..:/opt/rocm/core/lib", None),
    ],
)
def test_run_paths_stay_in_site_packages(
    make_wheel: Make, library: Compile, run_path: str, said: str | None
) -> None:
    path = make_wheel(files={"demo/ext.so": library(None, f"-Wl,-rpath,{run_path}")}, tag=LINUX)
    assert findings(path) == ([f"demo/ext.so {said}"] if said else [])


@needs_gcc
def test_a_data_scheme_is_no_part_of_the_path(make_wheel: Make, library: Compile) -> None:
    content = library(None, "-Wl,-rpath,$ORIGIN/../..")
    [finding] = findings(
        make_wheel(files={"demo-1.0.data/purelib/demo/ext.so": content}, tag=LINUX)
    )
    assert "outside of site-packages" in finding


@pytest.mark.parametrize("name", ["demo/config.py", "demo/lib/demo.pc", "demo-1.0.dist-info/NOTES"])
def test_a_build_path_is_found_in_any_file(make_wheel: Make, name: str) -> None:
    path = make_wheel(files={name: b"prefix=/srv/checkout/build/work/demo\n"})
    assert findings(path, terms(build_paths=["/nowhere", "/srv/checkout/build"])) == [
        f"{name} has a path of the build in it: /srv/checkout/build/work/demo"
    ]
    assert findings(path, terms(build_paths=["/srv/checkout/buil", "/srv/checkout/build-2"])) == []


@needs_gcc
@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("/home/somebody/src/code.c", True),
        ("/tmp/pip-build-env-1/overlay/include", True),  # found, not used
        ("/root/code.c", True),
        ("/__w/repository/code.c", True),
        ("/tmp/socket", False),  # found, not used
        ("/usr/lib/x/home/somebody/", False),
        ("/opt/rocm/lib", False),
    ],
)
def test_what_looks_like_a_build_path_is_found_in_compiled_files(
    make_wheel: Make, library: Compile, text: str, *, found: bool
) -> None:
    content = library(code=f'const char *code(void) {{ return "{text}"; }}\n')
    path = make_wheel(files={"demo/ext.so": content, "demo/text.py": text.encode()}, tag=LINUX)
    assert findings(path) == (
        [f"demo/ext.so has a path that looks like a build folder's in it: {text}"] if found else []
    )


@needs_gcc
def test_a_build_path_is_found_in_a_recorded_option(make_wheel: Make, library: Compile) -> None:
    content = library(code='const char *code(void) { return "-I/root/include"; }\n')
    [finding] = findings(make_wheel(files={"demo/ext.so": content}, tag=LINUX))
    assert finding.endswith("in it: /root/include")


@needs_gcc
def test_build_paths_of_what_others_compiled_are_noted(make_wheel: Make, library: Compile) -> None:
    content = library(code='const char *code(void) { return "/tmp/vllm/csrc/code.c"; }\n')
    path = make_wheel("vllm", "1.0+cpu.1", files={"vllm/_C.abi3.so": content}, tag=LINUX)
    report = look(path, terms("cpu"))
    assert report.passed
    assert len(report.notes) == 1
    assert not look(path, terms("cpu", build_paths=["/tmp/vllm"])).passed  # found, not used


# Complete


@needs_gcc
def test_ucx_must_have_its_rocm_modules(make_wheel: Make, library: Compile) -> None:
    rocm, plain = library("libhsa-runtime64.so.1"), library()
    lib = "libucx_rocm/lib/ucx"
    whole = {f"{lib}/libuct_rocm.so.0": rocm, f"{lib}/libucm_rocm.so.0": rocm}
    assert findings(make_wheel("libucx-rocm", files=whole, tag=LINUX)) == []
    lost = "is not in the wheel; the build left it out and reported success"
    assert findings(
        make_wheel("libucx-rocm", files={f"{lib}/libuct_rocm.so.0": rocm}, tag=LINUX)
    ) == [f"{lib}/libucm_rocm.so.* {lost}"]
    hollow = whole | {f"{lib}/libucm_rocm.so.0": plain}
    assert findings(make_wheel("libucx-rocm", files=hollow, tag=LINUX)) == [
        (
            f"{lib}/libucm_rocm.so.0 does not link libhsa-runtime64.so.*, so it is not what its "
            "name "
            "says"
        )
    ]
    text = whole | {f"{lib}/libucm_rocm.so.0": b"INPUT(libucm)"}
    assert findings(make_wheel("libucx-rocm", files=text, tag=LINUX)) == [
        f"{lib}/libucm_rocm.so.* {lost}"
    ]


def test_a_wheel_of_the_cpu_engine_must_have_it(make_wheel: Make) -> None:
    [finding] = findings(make_wheel("vllm", "1.0+cpu.1"), terms("cpu"))
    assert finding.startswith("vllm/_C.abi3.so is not in the wheel")


# GPU code is there


@needs_gcc
def test_a_library_with_code_for_every_target_passes(
    make_wheel: Make, hip_library: Compile, code_object: Compile
) -> None:
    both = bundle(
        {GFX908: code_object("one", target=GFX908.partition("-")[2]), GFX90A: code_object("one")}
    )
    path = make_wheel(
        files={"demo/ext.so": hip_library(paged(both, both), registered=2)}, tag=LINUX
    )
    report = look(path, terms(targets=["gfx90a", "gfx908"]))
    assert report.passed
    assert report.kernels == inventory(path)
    assert [(each.target, each.kernels) for each in report.kernels] == [
        ("gfx908", ("one",)),
        ("gfx90a", ("one",)),
    ]


@needs_gcc
def test_a_bundle_without_a_target_is_refused(
    make_wheel: Make, hip_library: Compile, code_object: Compile
) -> None:
    right, wrong = (
        bundle({GFX90A: code_object("one")}),
        bundle({GFX908: code_object("two", target=GFX908.partition("-")[2])}),
    )
    path = make_wheel(
        files={
            "demo/ext.so": hip_library(paged(right, wrong, bundle({GFX90A: b""})), registered=3)
        },
        tag=LINUX,
    )
    second, third = len(paged(right, b"")), len(paged(right, wrong, b""))
    assert findings(path) == [
        (
            f"demo/ext.so has no code for gfx90a in its bundle at byte {second} of .hip_fatbin, "
            "but "
            "for gfx908"
        ),
        (
            f"demo/ext.so has no code for gfx90a in its bundle at byte {third} of .hip_fatbin, but "
            "for no GPU"
        ),
    ]


@needs_gcc
@pytest.mark.parametrize("needs_runtime", [True, False])
def test_a_library_whose_code_was_stripped_is_refused(
    make_wheel: Make,
    hip_library: Compile,
    code_object: Compile,
    tmp_path: Path,
    *,
    needs_runtime: bool,
) -> None:
    (tmp_path / "whole.so").write_bytes(
        hip_library(bundle({GFX90A: code_object("one")}), needs_runtime=needs_runtime)
    )
    subprocess.run(
        ["objcopy", "--remove-section=.hip_fatbin", "whole.so", "stripped.so"],
        cwd=tmp_path,
        check=True,
    )
    path = make_wheel(files={"demo/ext.so": (tmp_path / "stripped.so").read_bytes()}, tag=LINUX)
    why = "needs libamdhip64.so.7" if needs_runtime else "registers GPU code"
    assert findings(path) == [f"demo/ext.so {why} and has no GPU code in it"]


@needs_gcc
def test_a_section_of_padding_and_a_library_without_one_are_refused(
    make_wheel: Make, hip_library: Compile
) -> None:
    empty = make_wheel(files={"demo/ext.so": hip_library(bytes(4096))}, tag=LINUX)
    assert findings(empty) == ["demo/ext.so needs libamdhip64.so.7 and has no GPU code in it"]
    empty = make_wheel(files={"demo/ext.so": hip_library(bytes(4096), registered=0)}, tag=LINUX)
    assert findings(empty) == ["demo/ext.so needs libamdhip64.so.7 and has no GPU code in it"]
    empty = make_wheel(
        files={"demo/ext.so": hip_library(bytes(4096), registered=0, needs_runtime=False)},
        tag=LINUX,
    )
    assert findings(empty) == ["demo/ext.so has a section for GPU code and has no GPU code in it"]
    none = make_wheel(files={"demo/ext.so": hip_library(None, registered=0)}, tag=LINUX)
    assert findings(none) == ["demo/ext.so needs libamdhip64.so.7 and has no GPU code in it"]


@needs_gcc
def test_a_lost_bundle_is_refused(
    make_wheel: Make, hip_library: Compile, code_object: Compile
) -> None:
    path = make_wheel(
        files={"demo/ext.so": hip_library(bundle({GFX90A: code_object("one")}), registered=3)},
        tag=LINUX,
    )
    assert findings(path) == ["demo/ext.so registers 3 bundles of GPU code and has 1"]


@needs_gcc
def test_code_that_cannot_be_read_is_refused(make_wheel: Make, hip_library: Compile) -> None:
    path = make_wheel(files={"demo/ext.so": hip_library(b"CCOB")}, tag=LINUX)
    assert findings(path) == [
        "demo/ext.so cannot be read: The offload bundle at byte 0 is cut off."
    ]


@needs_gcc
def test_a_host_only_library_must_be_declared(
    make_wheel: Make, hip_library: Compile, code_object: Compile
) -> None:
    engine = hip_library(bundle({GFX90A: code_object("one")}))
    names = ("_C", "_C_stable_libtorch", "_moe_C_stable_libtorch", "_rocm_C")
    whole = {f"vllm/{name}.abi3.so": engine for name in names}
    host = hip_library(None, registered=0)
    assert (
        findings(
            make_wheel(
                "vllm",
                "1.0+rocm.1",
                files={**whole, "vllm/cumem_allocator.abi3.so": host},
                tag=LINUX,
            )
        )
        == []
    )
    assert findings(
        make_wheel("vllm", "1.0+rocm.1", files={**whole, "vllm/other.abi3.so": host}, tag=LINUX)
    ) == ["vllm/other.abi3.so needs libamdhip64.so.7 and has no GPU code in it"]


@needs_gcc
def test_libraries_that_must_have_kernels_are_known(
    make_wheel: Make, hip_library: Compile, code_object: Compile
) -> None:
    engine, hollow = (
        hip_library(bundle({GFX90A: code_object("one")})),
        hip_library(bundle({GFX90A: code_object()})),
    )
    files = {
        "vllm/_C.abi3.so": engine,
        "vllm/_rocm_C.abi3.so": hollow,
        "vllm/_moe_C_stable_libtorch.abi3.so": engine,
    }
    assert findings(make_wheel("vllm", "1.0+rocm.1", files=files, tag=LINUX)) == [
        (
            "vllm/_C_stable_libtorch.abi3.so is not in the wheel; the build left it out and "
            "reported "
            "success"
        ),
        "vllm/_rocm_C.abi3.so has no kernel for gfx90a",
    ]


@needs_gcc
def test_kernels_are_compared_with_those_recorded(
    make_wheel: Make, hip_library: Compile, code_object: Compile
) -> None:
    path = make_wheel(
        files={"demo/ext.so": hip_library(bundle({GFX90A: code_object("one", "new")}))}, tag=LINUX
    )
    recorded = KernelInventory(
        libraries=(LibraryKernels(library="demo/ext.so", target="gfx90a", kernels=("lost", "one")),)
    )
    report = look(path, recorded=recorded)
    assert [str(finding) for finding in report.findings] == [
        "demo/ext.so has lost 1 kernels for gfx90a that the recorded inventory has: lost"
    ]
    assert [str(note) for note in report.notes] == [
        "demo/ext.so has 1 kernels for gfx90a that the recorded inventory has not: new"
    ]
    assert look(path, recorded=KernelInventory(libraries=inventory(path))).passed


@needs_gcc
def test_a_build_path_is_found_in_compressed_gpu_code(
    make_wheel: Make, hip_library: Compile, code_object: Compile
) -> None:
    content = code_object("one") + b"/srv/checkout/build/kernel.hip\0"
    path = make_wheel(files={"demo/ext.so": hip_library(bundle({GFX90A: content}))}, tag=LINUX)
    assert (
        f"demo/ext.so ({GFX90A}) has a path of the build in it: /srv/checkout/build/kernel.hip"
        in findings(path, terms(build_paths=["/srv/checkout/build"]))
    )


@needs_gcc
def test_a_code_object_by_itself_is_not_judged_as_the_hosts(
    make_wheel: Make, code_object: Compile
) -> None:
    report = look(make_wheel(files={"demo/kernels.hsaco": code_object("one")}, tag=LINUX))
    assert (report.findings, report.glibc) == ((), None)
    assert [each.library for each in report.kernels] == ["demo/kernels.hsaco"]


@needs_gcc
def test_an_object_file_without_a_dynamic_segment_passes(make_wheel: Make, tmp_path: Path) -> None:
    content = compiled(tmp_path, "int code(void) { return 1; }\n", "-c")
    assert findings(make_wheel(files={"demo/code.o": content}, tag=LINUX)) == []


# The command


def forkhouse(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "forkhouse", "audit", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


@needs_gcc
def test_the_command_reports_each_wheel_and_refuses(
    make_wheel: Make, hip_library: Compile, code_object: Compile, tmp_path: Path
) -> None:
    good = make_wheel(
        "good", files={"good/ext.so": hip_library(bundle({GFX90A: code_object("one")}))}, tag=LINUX
    )
    bad = make_wheel("bad", metadata=("Requires-Dist: nvidia-nccl-cu12",))
    assert forkhouse(good).returncode == 0
    done = forkhouse(good, bad, "--profile", "cpu", "--json")
    assert done.returncode == AuditError.exit_code
    assert (
        "bad-1.0-py3-none-any.whl was refused:\n  - requires the CUDA package nvidia-nccl-cu12\n"
        in done.stderr
    )
    first, second = json.loads(done.stdout)
    assert (first["passed"], second["passed"]) == (True, False)
    assert first["kernels"] == [{"library": "good/ext.so", "target": "gfx90a", "kernels": ["one"]}]
    assert second["findings"] == [
        {"rule": "no-cuda", "where": "", "what": "requires the CUDA package nvidia-nccl-cu12"}
    ]
    (tmp_path / "kernels.json").write_text(
        json.dumps({"libraries": first["kernels"]}), encoding="utf-8"
    )
    assert forkhouse(good, "--inventory", tmp_path / "kernels.json").returncode == 0
    done = forkhouse(good, "--target", "gfx942")
    assert done.returncode == AuditError.exit_code
    assert "good/ext.so has no code for gfx942" in done.stderr
    assert "refused" in done.stdout


def test_the_command_knows_what_the_lock_would_excuse(make_wheel: Make) -> None:
    path = make_wheel(metadata=("Requires-Dist: nixl-cu12",))
    assert forkhouse(path).returncode == AuditError.exit_code
    assert forkhouse(path, "--excuse", "nixl-cu12").returncode == 0
    assert forkhouse(path, "--profile", "other").returncode == 2
