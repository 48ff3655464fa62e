"""A place where a build finds its files under the same paths on every machine, wherever they lie.

Some compilers (cargo is one) make names out of the paths of what they compile, so that no mapping of paths in their output makes
two builds equal; others write paths where no option cuts them.
"""

from __future__ import annotations

import shlex
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from forkhouse.errors import ToolchainError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ROOTS = (Path("/mnt"), Path("/srv"), Path("/media"))
"""Folders that every system has, and that few use. Only the build itself sees what is mounted there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FixedPlace:
    """The work folder of a build, shown at `root`, and other folders shown within it."""

    root: Path
    work: Path
    shown: Mapping[str, Path]
    """By the name under which each is shown, to be read alone."""

    def inside(self, path: Path) -> str:
        """Return the path under which the build sees a file or folder of its work folder. Raises ValueError for any other."""
        return str(self.root / path.relative_to(self.work))

    def command(self, command: Sequence[str], folder: Path) -> list[str]:
        """Return the command that runs `command` there, in `folder` of the work folder; it has to have mounts of its own."""
        steps = [["mount", "-o", "bind,ro", str(path), str(self.work / name)] for name, path in self.shown.items()]
        steps += [["mount", "--rbind", str(self.work), str(self.root)], ["cd", self.inside(folder)], ["exec", *command]]
        return ["sh", "-c", " && ".join(shlex.join(step) for step in steps)]


def fixed_place(work: Path, shown: Mapping[str, Path]) -> FixedPlace:
    """Return the place of a build. Raises ToolchainError when each folder that could be one holds something that the build needs."""
    needed = [work, *shown.values(), Path(sys.base_prefix), Path(tempfile.gettempdir())]
    for root in _ROOTS:
        if root.is_dir() and not any(path.resolve().is_relative_to(root) for path in needed):
            for name in shown:
                (work / name).mkdir(exist_ok=True)
            return FixedPlace(root=root, work=work, shown=shown)
    message = f"The build shows its files in one of {', '.join(map(str, _ROOTS))}, and each is missing or holds what it needs: {needed}."
    raise ToolchainError(message)
