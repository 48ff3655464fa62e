"""Kernels that a stack's Triton compiled here, seen by other eyes, and interpreted on the CPU."""

from __future__ import annotations

import json
import re
import subprocess
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from forkhouse.core.workspace import find_workspace
from forkhouse.documents.lockfile import Lock
from forkhouse.documents.reading import load
from forkhouse.serving.kernelcache import package_of
from forkhouse.triton.carrying import licence_texts, pack
from forkhouse.triton.cases import read_cases
from forkhouse.triton.figures import SIXTEEN_BITS
from forkhouse.triton.running import PROGRAM, run_cases
from forkhouse.wheelhouse.optional import ask, read_kernels, running, why_not

if TYPE_CHECKING:
    from forkhouse.triton.running import TritonRun

pytestmark = [pytest.mark.triton, pytest.mark.timeout(1200)]

CASE = "llama-3.2-1b-triton"
SCRIPT = Path(__file__).parent / "scripts" / "interpreted.py"
INSIDE = Path(__file__).parents[2] / "src/forkhouse/triton/inside"
EXACT = {"reshape_and_cache_kernel_flash", "_min_p_kernel"}


@dataclass(frozen=True)
class Compiled:
    """A run in a folder of its own, and what ran it."""

    python: Path
    folder: Path
    run: TritonRun

    def again(self, folder: Path) -> TritonRun:
        """Run the same with the same cache, in another process."""
        return _run(self.python, folder, self.folder / "cache")


def _run(python: Path, folder: Path, cache: Path) -> TritonRun:
    cases = read_cases()
    lock = load(Lock, find_workspace(Path(__file__).resolve().parent).lock_path)
    return run_cases(
        python,
        {CASE: cases.cases[CASE]},
        common=cases.engine,
        target=lock.gpu_targets[0],
        processes=1,
        folder=folder,
        cache=cache,
    )


@pytest.fixture(scope="module")
def python(request: pytest.FixtureRequest) -> Path:
    chosen = request.config.getoption("--stack-python")
    if chosen is None:
        pytest.skip("no --stack-python: `nox -s compile-triton` installs a stack and names it")
    return Path(chosen).absolute()


@pytest.fixture(scope="module")
def compiled(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    folder = tmp_path_factory.mktemp("compiled")
    return Compiled(python, folder, _run(python, folder, folder / "cache"))


def texts(compiled: Compiled, ending: str) -> dict[str, str]:
    """Return what Triton wrote of each kernel, by folder of its cache."""
    return {
        path.parent.name: path.read_text(encoding="utf-8")
        for path in (compiled.folder / "cache").glob(f"*/*.{ending}")
        if not path.name.startswith("__grp__")
    }


def test_vllm_launched_its_attention_its_cache_and_its_sampler(compiled: Compiled) -> None:
    names = {kernel.name for kernel in compiled.run.kernels}
    assert {
        "kernel_unified_attention",
        "reduce_segments",
        "reshape_and_cache_kernel_flash",
    } <= names
    assert {"_topk_topp_kernel", "_gumbel_sample_kernel"} <= names
    assert all(kernel.figures for kernel in compiled.run.kernels)


def test_the_notes_say_what_the_compilers_text_says(compiled: Compiled) -> None:
    # The text ends with the same metadata as YAML, read here by PyYAML.
    assembly = texts(compiled, "amdgcn")
    keys = {
        "vgpr": ".vgpr_count",
        "agpr": ".agpr_count",
        "sgpr": ".sgpr_count",
        "vgpr_spills": ".vgpr_spill_count",
        "sgpr_spills": ".sgpr_spill_count",
        "scratch": ".private_segment_fixed_size",
    }
    for kernel in compiled.run.kernels:
        text = assembly[str(kernel.folder)]
        document = re.search(r"\.amdgpu_metadata\n(.*?)\s*\.end_amdgpu_metadata", text, re.DOTALL)
        assert document is not None
        [stated] = yaml.safe_load(document[1])["amdhsa.kernels"]
        for ours, theirs in keys.items():
            assert getattr(kernel.figures, ours) == stated[theirs], (kernel.name, ours)


def test_the_registers_allow_as_many_waves_as_the_compiler_says(compiled: Compiled) -> None:
    for kernel in compiled.run.kernels:
        figures = kernel.figures
        assert figures is not None
        assert figures.register_occupancy == figures.stated_occupancy, kernel.name


def test_local_memory_is_what_triton_says(compiled: Compiled) -> None:
    said = texts(compiled, "json")
    for kernel in compiled.run.kernels:
        assert kernel.figures is not None
        assert kernel.figures.lds == json.loads(said[str(kernel.folder)])["shared"], kernel.name


def test_attention_multiplies_by_matrix_instructions(compiled: Compiled) -> None:
    [*attention] = [
        kernel.figures
        for kernel in compiled.run.kernels
        if kernel.name == "kernel_unified_attention"
    ]
    assert len(attention) >= 4  # prefill and decode, each with a small and a large cache
    for figures in attention:
        assert figures is not None
        assert figures.mfma > 0
        assert SIXTEEN_BITS & set(figures.dots)


def test_another_process_in_another_folder_compiles_nothing(
    compiled: Compiled, tmp_path: Path
) -> None:
    before = {path: path.stat().st_mtime_ns for path in (compiled.folder / "cache").glob("*/*")}
    again = compiled.again(tmp_path)
    assert [(kernel.kernel, kernel.folder) for kernel in again.kernels] == [
        (kernel.kernel, kernel.folder) for kernel in compiled.run.kernels
    ]
    after = {path: path.stat().st_mtime_ns for path in (compiled.folder / "cache").glob("*/*")}
    assert after == before


def test_a_wheel_of_compiled_kernels_leaves_nothing_to_compile(
    compiled: Compiled, tmp_path: Path
) -> None:
    cache = compiled.folder / "cache"
    texts = licence_texts(compiled.python)
    assert list(texts) == ["LICENSE"]
    wheel = pack(compiled.run, target="gfx90a", cache=cache, folder=tmp_path, licences=texts)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    package = tmp_path / "site" / package_of("gfx90a")
    for path in package.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    environment = {
        "PATH": "/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
        "HOME": str(tmp_path),
        "PYTHONPATH": str(tmp_path / "site"),
        "PYTHONWARNINGS": "ignore",
        "TRITON_CACHE_DIR": str(tmp_path / "cache"),
        "TRITON_CACHE_MANAGER": f"{package.name}:CarriedCache",
    }
    answer = tmp_path / "answer.json"
    command = [compiled.python, "-P", PROGRAM, compiled.folder / "request.json", answer]
    result = subprocess.run(
        list(map(str, command)), env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr[-3000:]
    [case] = json.loads(answer.read_text(encoding="utf-8"))["cases"]
    assert [tuple(kernel["folders"]) for kernel in case["kernels"]] == [
        kernel.folders for kernel in compiled.run.kernels
    ]
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def test_a_wheel_of_another_compiler_says_that_it_is_of_no_use(
    compiled: Compiled, tmp_path: Path
) -> None:
    for key, said in (("0" * 64, True), (compiled.run.triton_key, False)):
        run = replace(compiled.run, triton_key=key)
        cache = compiled.folder / "cache"
        wheel = pack(run, target="gfx90a", cache=cache, folder=tmp_path, licences={"LICENSE": "L"})
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(tmp_path / key)
        result = subprocess.run(
            [str(compiled.python), "-c", f"import {package_of('gfx90a')}"],
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(tmp_path / key)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ("every kernel is compiled anew" in result.stderr) is said, result.stderr
        # `install` says the same, before anything is loaded.
        assert bool(why_not(read_kernels(wheel), ask(running(compiled.python)))) is said


def interpret(python: Path, *options: str) -> tuple[int, dict[str, float]]:
    """Return the exit code, and the largest error of each kernel in parts of what is allowed."""
    result = subprocess.run(
        [str(python), "-P", str(SCRIPT), str(INSIDE), *options],
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    lines: list[dict[str, Any]] = [
        json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")
    ]
    assert lines, result.stderr[-3000:]
    worst: dict[str, float] = {}
    for line in lines:
        worst[line["kernel"]] = max(worst.get(line["kernel"], 0.0), line["error"])
    return result.returncode, worst


def test_interpreted_kernels_give_what_pytorch_gives(python: Path) -> None:
    code, worst = interpret(python)
    assert {name: error for name, error in worst.items() if error > 1} == {}
    assert code == 0
    assert {name: worst[name] for name in EXACT} == dict.fromkeys(EXACT, 0.0)
    assert {"kernel_unified_attention", "reduce_segments", "fused_moe_kernel"} <= worst.keys()


def test_a_wrong_result_is_found(python: Path) -> None:
    code, worst = interpret(python, "--spoil", "merge_attn_states_kernel")
    assert code == 1
    assert [name for name, error in worst.items() if error > 1] == ["merge_attn_states_kernel"]
