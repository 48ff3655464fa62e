"""Tell of every wheel of a wheelhouse on which terms it may be passed on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from forkhouse.provenance.contents import read_wheel

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """The terms of a wheel, as it says them itself."""

    name: str
    version: str
    file: str
    """Path in the wheelhouse."""
    built: bool
    """Whether it was built here; else it is one of others."""
    expression: str | None
    """SPDX expression (PEP 639, or an older field that is one)."""
    said: str | None
    """What it says where that is no SPDX expression."""
    texts: tuple[str, ...]
    """Paths of its licences' texts in it."""

    @property
    def known(self) -> bool:
        """Whether it says anything of its licence."""
        return self.expression is not None or self.said is not None


def terms_of(folder: Path, files: Mapping[str, bool]) -> list[Terms]:
    """Return the terms of wheels in `folder`, by name.

    `files` says of each whether it was built here. Raises AuditError for one that cannot be read.
    """
    found = []
    for file, built in files.items():
        contents = read_wheel(folder / file)
        found.append(
            Terms(
                name=contents.name,
                version=contents.version,
                file=file,
                built=built,
                expression=contents.expression,
                said=None if contents.expression else contents.terms,
                texts=contents.texts,
            )
        )
    return sorted(found, key=lambda each: (each.name, each.file))
