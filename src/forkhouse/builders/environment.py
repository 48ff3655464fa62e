"""What a build may see: pinned build tools, allow-listed variables, and no network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forkhouse.closure import PinnedWheel, fetch_all
from forkhouse.errors import BuildError, ToolchainError
from forkhouse.toolchains import SEARCH_PATH, find_rocm
from forkhouse.workspace import digest, write_atomic

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from forkhouse.recipes import Recipe
    from forkhouse.sources.registry import Registry


def _isolation() -> tuple[str, ...]:
    """Return the command prefix that takes the network away from a build: a network namespace with nothing in it.

    Root makes one directly; others through a user namespace. Raises ToolchainError where the kernel allows neither.
    """
    unshare = shutil.which("unshare", path=SEARCH_PATH)
    for options in (("--net",), ("--map-root-user", "--net")):
        if unshare and subprocess.run([unshare, *options, "true"], capture_output=True, check=False).returncode == 0:
            return (unshare, *options)
    message = (
        "Builds run without a network, in a namespace made by unshare(1), and this machine allows none. "
        "Install util-linux, or let the container make network namespaces (CAP_SYS_ADMIN, or user namespaces)."
    )
    raise ToolchainError(message)


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildEnvironment:
    """A virtual environment of pinned build tools, made when first needed."""

    tools: tuple[PinnedWheel, ...]
    registry: Registry
    folder: Path
    """Where environments are kept, by content."""

    def identity(self, recipe: Recipe) -> dict[str, object]:
        """Return what of the environment decides a build's outcome, for its cache key."""
        return {
            "python": sys.version,
            "tools": [wheel.sha256 for wheel in self.tools],
            "path": SEARCH_PATH,
            "rocm": str(find_rocm()) if recipe.rocm else None,
        }

    def python(self) -> Path:
        """Return the interpreter of the environment, made from the pinned wheels alone when it is not there yet."""
        folder = self.folder / digest(sys.version, [wheel.sha256 for wheel in self.tools])[:16]
        ready = folder / "ready"
        interpreter = folder / "bin/python"
        if ready.is_file():
            return interpreter
        shutil.rmtree(folder, ignore_errors=True)
        paths = fetch_all(self.tools, self.registry)
        venv.create(folder, symlinks=True, with_pip=False)
        if paths:
            command = [sys.executable, "-m", "pip", "--python", str(interpreter), "install", "--no-index", "--no-deps", "--quiet"]
            result = subprocess.run([*command, *map(str, paths)], capture_output=True, text=True, check=False)
            if result.returncode != 0:
                message = f"The build tools could not be installed:\n{result.stderr.strip()}"
                raise BuildError(message)
        write_atomic(ready, b"")
        return interpreter

    def variables(self, *, epoch: int, home: Path, recipe: Recipe) -> dict[str, str]:
        """Return the whole environment of a build command: nothing of the user's passes but what is named here."""
        variables = {
            "PATH": f"{self.python().parent}:{SEARCH_PATH}",
            "HOME": str(home),
            "TMPDIR": str(home),
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            "SOURCE_DATE_EPOCH": str(max(epoch, 315532800)),
            "PYTHONHASHSEED": "0",
            "CMAKE_BUILD_PARALLEL_LEVEL": str(len(os.sched_getaffinity(0))),
        }
        if recipe.rocm:
            variables["ROCM_PATH"] = str(find_rocm())
        return variables


def run_isolated(command: list[str], *, folder: Path, variables: Mapping[str, str], log: Path) -> None:
    """Run a build command without a network, its output in `log`.

    Raises BuildError with the command, its last lines and the log's path when it fails.
    """
    full = [*_isolation(), *command]
    with log.open("ab") as stream:
        result = subprocess.run(full, cwd=folder, env=dict(variables), stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, check=False)
    if result.returncode != 0:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        tail = "\n".join(f"  {line}" for line in lines[-25:])
        message = f"`{' '.join(command)}` ended with exit code {result.returncode}. Its last lines:\n{tail}\nThe whole log: {log}"
        raise BuildError(message)
