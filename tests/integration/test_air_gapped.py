"""A bundle on a machine that has Python and nothing else: no network, no pip, no compiler.

The machine is a root that mmdebstrap makes of Debian's packages.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.integration, pytest.mark.extended, pytest.mark.timeout(1800)]

BUNDLE = "/mnt/stack.tar"
QUICK = "test_transfer or test_arrangement or test_kernels"


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The root, and the bundle that was carried to it."""

    root: Path
    bundle: Path

    def run(self, *command: str, code: int = 0) -> str:
        """Run a command there; return what it printed."""
        result = subprocess.run(
            [
                *("bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--clearenv"),
                *("--bind", str(self.root), "/", "--proc", "/proc", "--dev", "/dev"),
                *("--ro-bind", "/sys", "/sys"),
                *("--ro-bind", str(self.bundle), BUNDLE, "--chdir", "/root"),
                *("--setenv", "PATH", "/usr/bin:/bin", "--setenv", "HOME", "/root", "--"),
                *command,
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == code, result.stdout + result.stderr
        assert BUNDLE not in command or "Traceback" not in result.stderr
        return result.stdout + result.stderr


@pytest.fixture(scope="module")
def machine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machine]:
    bundle = request.config.getoption("--bundle")
    if bundle is None:
        pytest.skip("no --bundle: `nox -s air-gapped` writes one and names it")
    root = tmp_path_factory.mktemp("air-gapped") / "root"
    packages = "--include=python3,libnuma1"
    subprocess.run(
        ["mmdebstrap", "--variant=minbase", "--quiet", packages, "bookworm", str(root)], check=True
    )
    yield Machine(root=root, bundle=bundle.resolve())
    shutil.rmtree(root)


def test_there_is_no_compiler_no_pip_and_no_network(machine: Machine) -> None:
    for name in ("gcc", "cc", "g++", "clang", "pip", "pip3", "git", "curl"):
        machine.run("sh", "-c", f"! command -v {name}")
    machine.run("python3", "-c", "import pip", code=1)
    program = "import socket; socket.create_connection(('192.0.2.1', 80), 1)"
    machine.run("python3", "-c", program, code=1)


def test_the_bundle_is_verified_installed_and_tested_there(machine: Machine) -> None:
    assert "files are as they were built" in machine.run("python3", BUNDLE, "verify")
    machine.run("python3", BUNDLE, "install", "--into", "/opt/stack")
    program = "import dynamo.frontend, torch, vllm; print(torch.__version__)"
    assert "cpu" in machine.run("/opt/stack/bin/python", "-c", program)
    machine.run(
        *("python3", BUNDLE, "selftest", "--python", "/opt/stack/bin/python"),
        *("--only", QUICK, "--report", "/root/report.zip"),
    )
    with zipfile.ZipFile(machine.root / "root/report.zip") as archive:
        told = json.loads(archive.read("report.json"))
    assert told["passed"] is True
    assert told["tests"]["passed"] >= 8
    assert told["installed-otherwise"] == []
    assert told["machine"]["distribution"] == "Debian GNU/Linux 12 (bookworm)"
