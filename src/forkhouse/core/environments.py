"""The one way to make a Python environment from wheels.

With nothing of the user's pip or Python settings in it.

`PIP_TARGET`, `PIP_PREFIX`, `PIP_USER` or a `pip.conf` would put the wheels elsewhere and leave the
environment empty, which pip calls a success; so it is also looked at whether what was to be
installed is there.
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import venv
from importlib.metadata import distributions
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name, canonicalize_version, parse_wheel_filename

from forkhouse.core.asking import ask
from forkhouse.core.errors import InstallError, StorageError, UsageError
from forkhouse.core.storage import FULL, storage_errors, told_refusal
from forkhouse.core.wording import end_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

PIP = (sys.executable, "-P", "-m", "pip")
"""How pip is run; -P keeps the current folder from lending it a module."""
BARE = {
    "PATH": "/usr/bin:/bin",
    "PIP_CONFIG_FILE": os.devnull,
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "LC_ALL": "C.UTF-8",
}
"""The whole environment in which pip installs."""


def without_settings(variables: Mapping[str, str]) -> dict[str, str]:
    """Return variables without those that pip and Python obey, and without a pip configuration."""
    kept = {
        name: value
        for name, value in variables.items()
        if not name.upper().startswith(("PIP_", "PYTHON"))
    }
    return {**kept, "PIP_CONFIG_FILE": os.devnull}


def make_environment(folder: Path) -> Path:
    """Make an empty virtual environment at `folder` and return its interpreter.

    Raises StorageError, and UsageError for a path in which no environment works.
    """
    try:
        os.fspath(folder).encode()
    except UnicodeEncodeError as error:
        message = (
            f"{folder} has bytes in its path that are no UTF-8, or this process has a locale "
            "without UTF-8 (LC_ALL): Python cannot write down where the environment is. Choose "
            "another folder, or set LC_ALL=C.UTF-8."
        )
        raise UsageError(message) from error
    if os.pathsep in os.fspath(folder):
        message = (
            f"{folder} has a '{os.pathsep}' in its path, which parts folders in PATH: no "
            "environment works there. Choose another folder."
        )
        raise UsageError(message)
    with storage_errors(f"Making the environment {folder.name}"):
        venv.create(folder, symlinks=True, with_pip=False)
    return folder / "bin/python"


def pip_command(interpreter: Path, *options: str, pip: Path | None) -> list[str]:
    """Return the command that installs into an environment without any index.

    `pip` is a wheel of pip to run; None for the one of this Python.
    """
    # pip runs from its wheel as it is: a package in an archive, which Python can start.
    program = (
        [*PIP, "--isolated", "--python", str(interpreter)]
        if pip is None
        else [str(interpreter), "-I", str(pip / "pip"), "--isolated"]
    )
    return [*program, "install", "--no-index", "--quiet", *options]


def install_wheels(
    interpreter: Path, *options: str, wheels: Collection[str], pip: Path | None = None
) -> None:
    """Run `pip install` for an environment, without any index.

    `wheels` are the file names of all that has to be there afterwards. `pip` is a wheel of pip to
    run; by default the one of this Python is.

    Raises InstallError with pip's own words when it refuses, and when it reports success and a
    wheel is not there; StorageError where the disk is full or read-only.
    """
    if not wheels:
        return
    result = subprocess.run(
        pip_command(interpreter, *options, pip=pip),
        env=BARE,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if result.returncode != 0:
        message = end_of(result.stderr) or f"pip ended with exit code {result.returncode}"
        remedy = told_refusal(result.stderr, (*FULL, errno.EROFS))
        if remedy is not None:
            full = (
                f"pip could not write to {interpreter.parents[1]}:\n{message}\n{remedy} and run "
                "the same command again."
            )
            raise StorageError(full)
        raise InstallError(message)
    wanted = {parse_wheel_filename(wheel)[:2] for wheel in wheels}
    there = {
        canonicalize_name(found.name): found.version
        for found in distributions(path=site_packages(interpreter))
    }
    lost = sorted(
        f"{name} {version}"
        for name, version in wanted
        if canonicalize_version(there.get(name, "")) != canonicalize_version(version)
    )
    if lost:
        message = f"pip reported success, and these are not in the environment: {', '.join(lost)}"
        raise InstallError(message)


def site_packages(interpreter: Path) -> list[str]:
    """Return where an interpreter finds what is installed for it.

    Asked of itself, as it may be of another release or layout. Raises InstallError where it does
    not answer.
    """
    program = (
        "import sysconfig; answer([sysconfig.get_path(name) for name in ('purelib', 'platlib')])"
    )
    found = ask(interpreter, "where its packages lie", program, environment=BARE)
    return list(dict.fromkeys(map(str, found)))
