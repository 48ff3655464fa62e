"""Find the releases that an index offers by its file names, and the best file of each.

The best file is the one that serves this machine best.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.tags import sys_tags
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

from forkhouse.documents.lockfile import SdistSource

if TYPE_CHECKING:
    from collections.abc import Iterable

    from packaging.tags import Tag

    from forkhouse.documents.lockfile import RegistrySource


@dataclass(frozen=True, kw_only=True, slots=True)
class Release:
    """A file of a registry that holds one release."""

    version: Version
    file: str


def offered(files: Iterable[str], source: RegistrySource) -> list[Release]:
    """Return the releases among `files` in the form of `source`, the oldest version first.

    Of several wheels the one with the most specific tag for this interpreter is taken (PEP 425).
    Names that are no such file, or a wheel for another machine, are left out.
    """
    ranks = {tag: rank for rank, tag in enumerate(sys_tags())}
    best: dict[Version, tuple[int, str]] = {}
    for file in files:
        parsed = _parse(file, source, ranks)
        if parsed is not None and parsed[1] < best.get(parsed[0], (len(ranks),))[0]:
            best[parsed[0]] = (parsed[1], file)
    return [Release(version=version, file=file) for version, (_, file) in sorted(best.items())]


def _parse(file: str, source: RegistrySource, ranks: dict[Tag, int]) -> tuple[Version, int] | None:
    try:
        if isinstance(source, SdistSource):
            return (parse_sdist_filename(file)[1], 0) if file.endswith(".tar.gz") else None
        _, version, _, tags = parse_wheel_filename(file)
    except (InvalidSdistFilename, InvalidWheelFilename, InvalidVersion):
        return None
    rank = min((ranks[tag] for tag in tags if tag in ranks), default=None)
    return None if rank is None else (version, rank)
