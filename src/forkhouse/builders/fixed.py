"""A place where a build finds its files under the same paths on every machine, wherever they lie.

Some compilers (cargo is one) make names out of the paths of what they compile, so that no mapping
of paths in their output makes two builds equal; others write paths where no option cuts them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from forkhouse.core.errors import ToolchainError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forkhouse.sandbox.run import Confined

ROOT = Path("/forkhouse")
"""The root of a sandbox is its own, so there is room for it on every machine."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FixedPlace:
    """The work folder of a build, shown at ROOT, and other folders shown within it."""

    work: Path
    shown: Mapping[str, Path]
    """By the name under which each is shown, to be read alone."""

    def inside(self, path: Path) -> Path:
        """Return the path under which the build sees a file or folder of its work folder.

        Raises ValueError for any other.
        """
        return ROOT / path.relative_to(self.work)

    def confined(self, confined: Confined) -> Confined:
        """Return a build's sandbox with the place in it.

        Raises ToolchainError where builds run without one.
        """
        if confined.sandbox.kind == "none":
            message = (
                "This build shows its files in a place that a sandbox makes, and "
                "--unsafe-no-sandbox lets it have none."
            )
            raise ToolchainError(message)
        places = {
            str(ROOT): self.work,
            **{str(ROOT / name): path for name, path in self.shown.items()},
        }
        return replace(
            confined, view=replace(confined.view, places={**confined.view.places, **places})
        )
