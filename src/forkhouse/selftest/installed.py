"""Hold what is installed in an environment against the wheels of a wheelhouse.

Every file that a wheel's RECORD names has to be there with its hash (PEP 376, PEP 427), so that a
report is about the wheels that it names.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.utils import parse_wheel_filename

from forkhouse.core.errors import InstallError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_MOST_NAMED = 20
"""Files of a wheel that are named; more are counted."""
_CHUNK = 2**20
_WRITTEN_ANEW = ("RECORD", "INSTALLER", "direct_url.json", "REQUESTED")
"""Files of .dist-info that an installer writes itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Differing:
    """A wheel that is not installed as it was built."""

    wheel: str
    files: tuple[str, ...]
    """Those that are missing or changed, the first of them."""
    count: int


def differing(wheelhouse: Path, folders: Sequence[Path]) -> Iterator[Differing]:
    """Yield the wheels of a wheelhouse that are not as they were built below site folders.

    Scripts and data, which installers put elsewhere and may rewrite, are not looked at. Raises
    InstallError for a wheel that cannot be read.
    """
    for wheel in sorted(wheelhouse.glob("*.whl")):
        wrong = [path for path, digest in _recorded(wheel) if not _is(path, digest, folders)]
        if wrong:
            yield Differing(wheel=wheel.name, files=tuple(wrong[:_MOST_NAMED]), count=len(wrong))


def _recorded(wheel: Path) -> Iterator[tuple[str, str]]:
    """Yield path and hash of every file that comes to a site folder as it is."""
    name, version, _, _ = parse_wheel_filename(wheel.name)
    try:
        with zipfile.ZipFile(wheel) as archive:
            (record,) = (
                each
                for each in archive.namelist()
                if each.endswith(".dist-info/RECORD") and each.count("/") == 1
            )
            rows = list(csv.reader(io.StringIO(archive.read(record).decode())))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        message = f"{wheel.name} of {name} {version} cannot be read: {error}"
        raise InstallError(message) from error
    info = record.removesuffix("RECORD")
    for path, digest, *_ in (row for row in rows if row):
        top = path.partition("/")[0]
        if top.endswith(".data") or path in {f"{info}{each}" for each in _WRITTEN_ANEW}:
            continue
        yield path, digest


def _is(path: str, digest: str, folders: Sequence[Path]) -> bool:
    algorithm, _, value = digest.partition("=")
    if algorithm not in hashlib.algorithms_guaranteed:
        return False
    for folder in folders:
        try:
            with (folder / path).open("rb") as stream:
                found = hashlib.new(algorithm)
                while chunk := stream.read(_CHUNK):
                    found.update(chunk)
        except OSError:
            continue
        return base64.urlsafe_b64encode(found.digest()).decode().rstrip("=") == value
    return False
