"""Install a profile from a wheelhouse alone: verified, hashes required, no index, no network needed."""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from typing import TYPE_CHECKING

from forkhouse.errors import InstallError, UsageError
from forkhouse.progress import report
from forkhouse.wheelhouse import verify
from forkhouse.workspace import storage_errors

if TYPE_CHECKING:
    from pathlib import Path


def install_wheelhouse(wheelhouse: Path, into: Path) -> Path:
    """Make a virtual environment at `into` that holds the profile; return its interpreter.

    Raises UsageError when `into` exists, ClosureError or HashMismatchError when the wheelhouse is not whole, InstallError with
    pip's own words when pip refuses. After a failure nothing is left at `into`.
    """
    if into.exists():
        message = f"{into} exists. Name a folder that does not: an installation is made whole or not at all."
        raise UsageError(message)
    verify(wheelhouse)
    report().line("install", f"making {into.name} from {wheelhouse.name}")
    try:
        with storage_errors("Making the virtual environment"):
            venv.create(into, symlinks=True, with_pip=False)
        _install(wheelhouse, into / "bin/python")
    except BaseException:
        shutil.rmtree(into, ignore_errors=True)
        raise
    return into / "bin/python"


def _install(wheelhouse: Path, interpreter: Path) -> None:
    command = [sys.executable, "-m", "pip", "--isolated", "--python", str(interpreter), "install", "--no-index"]
    command += ["--find-links", str(wheelhouse), "--require-hashes", "--no-compile", "--quiet"]
    command += ["--requirement", str(wheelhouse / "requirements.txt")]
    # The user's pip settings (indexes, constraints) have no say here: the wheelhouse alone decides.
    environment = {"PATH": "/usr/bin:/bin", "PIP_CONFIG_FILE": "/dev/null", "LC_ALL": "C.UTF-8"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        message = f"pip could not install from the wheelhouse {wheelhouse.name}:\n{result.stderr.strip()[-3000:]}"
        raise InstallError(message)
