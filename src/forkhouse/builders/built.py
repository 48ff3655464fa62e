"""What a builder does, and the wheel that comes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from forkhouse.builders.components import ComponentPart
    from forkhouse.documents.recipe import Recipe
    from forkhouse.patches.apply import PatchedTree


class Builder(Protocol):
    """A way to make a wheel."""

    def lay_out(self, patched: PatchedTree, recipe: Recipe, work: Path) -> None:
        """Write what the build starts from below the empty folder `work`.

        Raises BuildError or StorageError.
        """

    def build(self, patched: PatchedTree, recipe: Recipe, work: Path) -> Path:
        """Return the wheel made from what was laid out, somewhere below the folder `work`.

        Raises BuildError.

        `work` is as it was laid out, or as an interrupted build of the same inputs left it.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class BuiltWheel:
    """A wheel of ours, and what it was made from."""

    recipe: str
    distribution: str
    version: str
    path: Path
    sha256: str
    patched: PatchedTree
    tools: dict[str, str]
    omits: dict[str, str]
    """Parts of the upstream that it is without, and what is lost.

    What the ROCm lacks that it was compiled against among it.
    """
    seconds: float
    """Wall time of the build in this run; 0 when nothing had to be done."""
    parts: tuple[ComponentPart, ...] = ()
    """Components that were laid in its tree."""
    siblings: tuple[BuiltWheel, ...] = ()
    """Wheels of ours that it was built against."""
    logs: Mapping[str, str] = field(default_factory=dict)
    """sha256 of what its build printed, by the log's name."""
