"""The command `forkhouse emulate`: what it lists, runs, writes, and refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.emulation.conftest import tool

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.emulation


def emulate(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "forkhouse", "emulate", *map(str, arguments)],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


@pytest.fixture
def arguments(tmp_path: Path) -> Callable[..., Path]:
    def write(listed: Any, **buffers: Any) -> Path:
        for name, array in buffers.items():
            np.save(tmp_path / f"{name}.npy", array)
        document = tmp_path / "args.json"
        document.write_text(
            listed if isinstance(listed, str) else json.dumps(listed), encoding="utf-8"
        )
        return document

    return write


TWICE: list[Any] = [{"buffer": "x.npy"}, {"i32": 300}]


def test_a_kernel_is_run_and_its_buffer_written(
    compiled: Path, arguments: Callable[..., Path], tmp_path: Path
) -> None:
    document = arguments(TWICE, x=np.arange(300, dtype=np.float32))
    done = emulate(
        compiled, "--kernel", "twice", "--grid", "2", "--block", "256", "--args", document, "--json"
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["kernel"], told["waves"], told["written"]) == ("twice", 8, ["x.npy"])
    assert told["operations"]["global_store_dword"] == 5
    assert np.load(tmp_path / "x.npy").tolist() == (2 * np.arange(300.0)).tolist()


def test_kernels_are_listed_of_a_bundle_an_object_and_a_wheel(
    compiled: Path, tmp_path: Path
) -> None:
    wheel = tmp_path / "some-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(compiled, "some/kernels.co")
    for path in (compiled, wheel):
        done = emulate(path, "--list", "--json")
        assert done.returncode == 0, done.stderr
        listed = {each["kernel"]: each for each in json.loads(done.stdout)}
        assert listed["rms_norm"]["lds"] == 64
        assert listed["scattered"]["scratch"] > 0
        assert [each["size"] for each in listed["twice"]["arguments"]] == [8, 4]
    assert "rms_norm" in emulate(compiled, "--list").stdout


REFUSED: list[tuple[list[str], Any, str]] = [
    (["--kernel", "twic"], TWICE, "There is no kernel twic. Did you mean twice?"),
    ([], TWICE, "Give --kernel NAME, or --list"),
    (["--kernel", "twice", "--grid", "0"], TWICE, "has a number below 1"),
    (["--kernel", "twice", "--grid", "1,2,3,4"], TWICE, "is no X,Y,Z"),
    (["--kernel", "twice", "--block", "1025"], TWICE,
     "A workgroup of 1025 work items is too large"),
    (["--kernel", "twice", "--dynamic-lds", "65537"], TWICE, "not in the range"),
    (["--kernel", "twice"], [{"buffer": "x.npy"}], "takes 2 arguments, and 1 are given"),
    (["--kernel", "twice"], [{"buffer": "x.npy"}, {"i64": 3}], "wants 4 bytes, and a int64 has 8"),
    (["--kernel", "twice"], [{"i32": 1}, {"i32": 3}],
     "wants a buffer or null, and a int32 is given"),
    (["--kernel", "twice"], [{"buffer": "y.npy"}, {"i32": 3}], "there is no file y.npy"),
    (["--kernel", "twice"], [{"buffer": "../x.npy"}, {"i32": 3}],
     "lies outside of the document's folder"),
    (["--kernel", "twice"], [{"buffer": "x.npy", "dtype": "float16"}, {"i32": 3}], "holds float32"),
    (["--kernel", "twice"], [{"buffer": "x.npy"}, {"i32": 2**31}], "is no whole number from"),
    (["--kernel", "twice"], [{"buffer": "x.npy"}, {"i32": 1.5}], "is no whole number from"),
    (["--kernel", "twice"], [{"buffer": "x.npy"}, {"int": 3}], "does not name one kind of"),
    (["--kernel", "twice"], [{"buffer": "x.npy"}, 3], "3 is no argument"),
    (["--kernel", "twice"], [{"buffer": "x.npy"}, {"bytes": "zz"}], "is no hexadecimal text"),
    (["--kernel", "twice"], {"a": 1}, "is no list of arguments"),
    (["--kernel", "twice"], "[", "is no JSON"),
    (["--kernel", "twice", "--block", "64", "--grid", "1"], [{"null": True}, {"i32": 9}],
     "lane 0 reads 4 bytes at address 0x0, where nothing is"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "listed", "message"), REFUSED)
def test_what_is_wrong_is_explained_and_nothing_is_written(
    compiled: Path,
    arguments: Callable[..., Path],
    tmp_path: Path,
    options: list[str],
    listed: Any,
    message: str,
) -> None:
    document = arguments(listed, x=np.ones(300, dtype=np.float32))
    before = (tmp_path / "x.npy").read_bytes()
    done = emulate(compiled, *options, "--args", document)
    assert done.returncode in {2, 34}
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert (tmp_path / "x.npy").read_bytes() == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no ELF file"),
        (b"#!/bin/sh\n", "is no ELF file"),
        (b"\x7fELF\x02\x01\x01" + bytes(9), "cannot be read"),
        (b"__CLANG_OFFLOAD_BUNDLE__" + b"\xff" * 40, "cannot be read"),
        (b"PK\x03\x04" + bytes(40), "cannot be read"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "code").write_bytes(content)
    done = emulate(tmp_path / "code", "--list")
    assert (done.returncode, "Traceback" in done.stderr) == (34, False)
    assert message in done.stderr


def test_code_of_another_processor_is_refused(tmp_path: Path) -> None:
    done = emulate(sys.executable, "--list")
    assert done.returncode == 34
    assert "has no GPU code for gfx90a" in done.stderr


def test_code_for_another_gpu_is_refused(tmp_path: Path) -> None:
    source = Path(__file__).with_name("kernels.hip")
    output = tmp_path / "other.co"
    subprocess.run(
        [tool("hipcc"), "--offload-arch=gfx908", "--genco", "-o", str(output), str(source)],
        check=True,
        env={**os.environ, "HIP_PLATFORM": "amd"},
        timeout=120,
    )
    done = emulate(output, "--list")
    assert done.returncode == 34
    assert "other.co has no GPU code for gfx90a; it has some for gfx908" in done.stderr


def test_an_array_that_is_damaged_is_refused(
    compiled: Path, arguments: Callable[..., Path], tmp_path: Path
) -> None:
    document = arguments(TWICE)
    (tmp_path / "x.npy").write_bytes(b"\x93NUMPY\x01\x00garbage")
    done = emulate(compiled, "--kernel", "twice", "--args", document)
    assert done.returncode == 34
    assert "x.npy is no array that can be read" in done.stderr


def test_a_damaged_code_object_is_run_or_explained(compiled: Path, tmp_path: Path) -> None:
    """Whatever a file says, there is a result or a message, and no endless loop."""
    from forkhouse.core.errors import ForkhouseError
    from forkhouse.emulation.finding import code_in
    from forkhouse.emulation.launching import launch

    whole, random = compiled.read_bytes(), np.random.default_rng(6)
    path, explained = tmp_path / "code", 0
    for _ in range(60):
        content = bytearray(whole)
        for place in random.integers(4096, len(content), 40).tolist():
            content[place] ^= int(random.integers(1, 256))
        path.write_bytes(content)
        try:
            for found in code_in(path, "gfx90a"):
                for name in list(found.image.kernels)[:4]:
                    launch(
                        found.image, name, grid=(1, 1, 1), block=(64, 1, 1), most_instructions=2000,
                        arguments=[np.zeros(300, dtype=np.float32), np.int32(300)],
                    )  # fmt: skip
        except ForkhouseError:
            explained += 1
    assert explained > 0
