"""A wheelhouse carries tests; a bare Python installs it, runs them, and writes one report."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from forkhouse.documents.pins import pinned_wheel
from forkhouse.documents.pylock import pylock_text
from tests.flow.conftest import Checkout, make_template
from tests.flow.test_carried import hashed, packed

ROOT = Path(__file__).parents[2]
CARRIED = (
    *("click", "iniconfig", "packaging", "pip", "pluggy", "pygments", "pytest", "pytest-timeout"),
)
PROJECT = """
[tool.pytest]
markers = ["integration: on a stack", "extended: not carried"]
"""
TESTS = """
import subprocess
import pytest

pytestmark = pytest.mark.integration


def test_the_engine_is_there(request):
    python = request.config.getoption("--stack-python")
    said = subprocess.run([python, "-c", "import small_engine as e; print(e.NAME)"],
                          capture_output=True, text=True)
    assert said.stdout == "engine\\n"


def test_the_stack_can_be_imported_beside_the_tools():
    import helper


def test_of_another_machine():
    pytest.skip("it is not here")


def test_that_fails(tmp_path):
    (tmp_path / "server.log").write_text("why it failed")
    assert False
"""
EXTENDED = "import no_such_module\nimport pytest\n\npytestmark = pytest.mark.extended\n"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheelhouse that carries tests, one of which fails."""
    checkout = make_template(tmp_path_factory.mktemp("carrying"))
    _let_it_carry(checkout)
    checkout.build()
    return checkout.root / "wheels/cpu"


def _let_it_carry(checkout: Checkout) -> None:
    folder = checkout.root / "tests/integration"
    folder.mkdir(parents=True)
    (checkout.root / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
    shutil.copy(ROOT / "tests/integration/options.py", folder)
    (folder / "test_small.py").write_text(TESTS, encoding="utf-8")
    (folder / "test_index.py").write_text(EXTENDED, encoding="utf-8")
    pins = []
    for name in CARRIED:
        wheel = packed(checkout.index, name)
        pins.append(pinned_wheel(wheel.name, hashed(wheel)))
    text = pylock_text(pins, folder="build/tools", requires_python=">=3.11")
    (checkout.root / "pylock.tools.toml").write_text(text, encoding="utf-8")


def sent(house: Path, folder: Path, *arguments: str, code: int = 0) -> tuple[str, Any, set[str]]:
    """Run the carried program without a network; return its output, the report and its files."""
    target = folder / "report.zip"
    result = subprocess.run(
        [
            *("unshare", "--map-root-user", "--net", sys.executable, "-I", "-S"),
            *(str(house / "forkhouse.pyz"), "selftest", "--report", str(target), *arguments),
        ],
        env={"PATH": os.environ["PATH"], "PYTEST_ADDOPTS": "--no-such-option"},
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    said = result.stdout + result.stderr
    assert result.returncode == code, said
    assert "Traceback" not in result.stderr
    if not target.exists():
        return said, None, set()
    with zipfile.ZipFile(io.BytesIO(target.read_bytes())) as archive:
        return said, json.loads(archive.read("report.json")), set(archive.namelist())


def test_a_report_says_what_was_tested_where(house: Path, tmp_path: Path) -> None:
    said, told, files = sent(house, tmp_path, "--only", "not fails")
    assert "2 tests passed, 0 failed, 1 skipped, in" in said
    assert "skipped: test_small.py::test_of_another_machine: Skipped: it is not here" in said
    assert told["passed"] is True
    assert told["emulated"] is False
    assert told["tests"] == {"passed": 2, "failed": 0, "skipped": 1}
    assert told["installed-otherwise"] == []
    assert told["wheelhouse"]["profile"] == "cpu"
    assert told["wheelhouse"]["signed-by"] == []
    assert told["machine"]["processors"] == os.cpu_count()
    assert told["machine"]["memory"] > 2**28
    assert files == {"report.json", "junit.xml", "pytest.log"}
    assert [path.name for path in tmp_path.iterdir()] == ["report.zip"]


def test_a_test_that_fails_is_named_and_its_logs_are_sent(house: Path, tmp_path: Path) -> None:
    stack = tmp_path / "stack"
    said, told, files = sent(house, tmp_path, "--into", str(stack), code=42)
    assert "1 of 4 tests failed:\n  - test_small.py::test_that_fails" in said
    assert told["tests"] == {"passed": 2, "failed": 1, "skipped": 1}
    assert any(name.startswith("logs/") and name.endswith("server.log") for name in files)
    # What is installed is tested again, and a file that was changed since is named.
    (changed,) = stack.glob("generations/1/lib/python3*/site-packages/small_engine/__init__.py")
    changed.write_text("NAME = 'engine'  # as somebody mended it\n", encoding="utf-8")
    python = str(stack / "bin/python")
    only = ("--only", "not fails", "--json")
    said, told, _ = sent(house, tmp_path, "--python", python, *only)
    assert told["passed"] is True
    (otherwise,) = told["installed-otherwise"]
    assert otherwise["wheel"].startswith("small_engine-1.0")
    assert otherwise["files"] == ["small_engine/__init__.py"]


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (("--only", "no_such_test"), 42, "--only may fit no test"),
        (("--device", "mi210"), 40, "No gfx90a GPU was found"),
        (("--launcher", "emulator"), 2, "give --device mi210 with it"),
        (("--device", "mi210", "--launcher", "no-such-emulator"), 40, "cannot be started"),
        (("--device", "mi210", "--launcher", "echo"), 40, "started something else"),
        (("--device", "mi210", "--launcher", "'"), 2, "is no command"),
        (("--report", "no/such/folder.zip"), 2, "is no folder"),
        (("--python", "/bin/true"), 24, "/bin/true is no Python"),
        (("--into", "a", "--onto", "b"), 2, "Give one of --into, --onto and --python"),
    ],
)
def test_what_cannot_be_tested_is_said(
    house: Path, tmp_path: Path, arguments: tuple[str, ...], code: int, why: str
) -> None:
    said, _, _ = sent(house, tmp_path, *arguments, code=code)
    assert why in said


def test_a_wheelhouse_without_tests_says_so(house: Path, tmp_path: Path) -> None:
    other = tmp_path / "cpu"
    shutil.copytree(house, other)
    (other / "tools/forkhouse_selftest-0.1.0-py3-none-any.whl").unlink()
    said, _, _ = sent(other, tmp_path, code=23)
    assert "forkhouse_selftest" in said
