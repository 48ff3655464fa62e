"""Find what a build needs on this machine, name what is missing, and identify what was found."""

from __future__ import annotations

import glob
import os
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from forkhouse.core.digests import sha256_file
from forkhouse.core.errors import ToolchainError
from forkhouse.core.progress import report
from forkhouse.core.wording import end_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from forkhouse.documents.recipe import SystemPackage

SEARCH_PATH = "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Folders of system tools. /usr/local/bin is left out on purpose.

Tools put there by hand (nvcc is often one) stay out of builds.
"""


def found_at(package: SystemPackage) -> str | None:
    """Return where the proof of a package is, None when it is nowhere."""
    if package.command is not None:
        return shutil.which(package.command, path=SEARCH_PATH)
    # An absolute pattern.
    return next(iter(sorted(glob.glob(package.file or ""))), None)  # noqa: PTH207


def missing_packages(packages: Iterable[SystemPackage]) -> list[str]:
    """Return the names of the Debian packages whose proof was not found, sorted, each once."""
    return sorted({package.package for package in packages if found_at(package) is None})


def install_line(names: Iterable[str]) -> list[str]:
    """Return the command that installs Debian packages."""
    return ["apt-get", "install", "--yes", "--no-install-recommends", *names]


def require_packages(packages: Iterable[SystemPackage], *, install: bool) -> None:
    """Make sure that the system packages are there; install them when allowed and root.

    Raises ToolchainError with the exact install command, or with apt's output when installing
    failed.
    """
    packages = list(packages)
    missing = missing_packages(packages)
    if not missing:
        return
    line = shlex.join(install_line(missing))
    if not install or os.geteuid() != 0:
        why = "--system-packages was not given" if not install else "only root can install them"
        message = (
            f"Missing system packages: {', '.join(missing)}. They were not installed, as {why}. "
            f"Run:\n  apt-get update && {line}"
        )
        raise ToolchainError(message)
    report().line("system", f"installing {', '.join(missing)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update"], install_line(missing)):
        result = subprocess.run(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            message = (
                f"`{shlex.join(command)}` failed:\n{end_of(result.stdout)}\nRepair apt and run the "
                "same command again."
            )
            raise ToolchainError(message)
    still = missing_packages(packages)
    if still:
        message = (
            f"Installed {', '.join(still)}, yet what the recipe looks for is not there. The "
            "recipe's proof is wrong for this system."
        )
        raise ToolchainError(message)


def identify(packages: Iterable[SystemPackage]) -> dict[str, str]:
    """Return what identifies each found tool.

    The first line of its `--version`, or the hash of its file.
    """
    identity: dict[str, str] = {}
    for package in packages:
        found = found_at(package)
        if found is None:
            identity[package.package] = "missing"
        elif package.command is not None:
            result = subprocess.run(
                [found, "--version"],
                capture_output=True,
                text=True,
                check=False,
                stdin=subprocess.DEVNULL,
            )
            lines = (result.stdout + result.stderr).splitlines()
            identity[package.package] = lines[0] if lines else f"exit {result.returncode}"
        else:
            identity[package.package] = f"sha256:{sha256_file(Path(found))}"
    return identity
