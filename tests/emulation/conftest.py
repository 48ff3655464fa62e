"""Compilers for gfx90a, and the table of what the emulator was proven by."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# The unit tests are run without what the emulator needs, and leave these out by their mark; but
# that is seen only once a file was imported.
if not all(map(find_spec, ("numpy", "tinygrad"))):
    collect_ignore_glob = ["test_[!m]*.py", "test_matrix*.py", "test_memory.py"]

RESULTS = Path(__file__).parents[2] / "build/emulate"


def tool(*names: str) -> str:
    """Return the path of the first program that is there; without one, the test is skipped."""
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"none of {', '.join(names)} is on the PATH; nox -s emulate installs it")
    return found


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile our kernels by Debian's hipcc; each process of a test session does it once."""
    output = tmp_path_factory.mktemp("hip") / "kernels.co"
    command = [tool("hipcc"), "--offload-arch=gfx90a", "--genco", "-O3", "-o", str(output)]
    subprocess.run(
        [*command, str(Path(__file__).with_name("kernels.hip"))],
        check=True,
        env={**os.environ, "HIP_PLATFORM": "amd"},
        timeout=120,
    )
    return output


@pytest.fixture(scope="session")
def disassembler() -> str:
    return tool("llvm-objdump", "llvm-objdump-15")


@pytest.fixture(scope="session")
def _rows() -> Iterator[list[dict[str, Any]]]:
    rows: list[dict[str, Any]] = []
    yield rows
    if rows:
        RESULTS.mkdir(parents=True, exist_ok=True)
        worker = os.environ.get("PYTEST_XDIST_WORKER", "all")
        (RESULTS / f"results-{worker}.json").write_text(
            json.dumps(rows, indent=1), encoding="utf-8"
        )


@pytest.fixture
def proven(_rows: list[dict[str, Any]]) -> Callable[..., None]:
    """Note what a kernel did and how far it was from the reference, and check that it is near."""

    def note(
        origin: str, shape: str, reports: Any, error: float, allowed: float, *, name: str = ""
    ) -> None:
        reports = reports if isinstance(reports, list) else [reports]
        operations = set().union(*(each.operations for each in reports))
        _rows.append(
            {
                "kernel": name or " + ".join(dict.fromkeys(each.kernel for each in reports)),
                "origin": origin,
                "shape": shape,
                "instructions": sum(each.instructions for each in reports),
                "operations": sorted(operations),
                "seconds": sum(each.seconds for each in reports),
                "error": error,
                "allowed": allowed,
            }
        )
        assert error <= allowed

    return note
