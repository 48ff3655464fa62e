"""Say in what two files of the same name differ: wheels, bundles and images."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tarfile
import zipfile
from typing import IO, TYPE_CHECKING, cast

from forkhouse.core.storage import storage_errors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import BufferedReader
    from pathlib import Path

_LONGEST = 600
"""Seconds that an explanation may take."""
_MEMBER = {
    "date_time": "time",
    "external_attr": "mode",
    "compress_type": "compression",
    "create_system": "system",
    "extra": "extra field",
    "comment": "comment",
    "flag_bits": "flags",
}
"""What a zip archive says of a member, and what it is called here."""


def differences(first: Path, second: Path) -> Iterator[str]:
    """Yield in words what differs between two archives, member by member.

    Yields at least one text for two files that differ. A `.tar` is one of tar; anything else is
    taken for a wheel. Raises BadZipFile or TarError for what is no archive.
    """
    yield from (_of_tar if first.suffix == ".tar" else _of_wheels)(first, second)


def _of_tar(first: Path, second: Path) -> Iterator[str]:
    one, two = (_members(each) for each in (first, second))
    yield from (f"{name}: in the first alone" for name in one if name not in two)
    yield from (f"{name}: in the second alone" for name in two if name not in one)
    differing = [name for name in one if name in two and one[name] != two[name]]
    yield from (f"{name}: content or what the archive says of it" for name in differing)
    if one == two:
        yield "the archive itself: its members are equal, how they are packed is not"


def _members(path: Path) -> dict[str, tuple[object, ...]]:
    """Return what the members of an archive of tar hold, by name."""
    found: dict[str, tuple[object, ...]] = {}
    with tarfile.open(path) as archive:
        for each in archive:
            content = archive.extractfile(each)
            digest = _sha256(content) if content else ""
            about = (each.mode, each.mtime, each.uid, each.gid, each.type, each.linkname)
            found[each.name] = (digest, *about)
    return found


def _sha256(content: IO[bytes]) -> str:
    return hashlib.file_digest(cast("BufferedReader", content), "sha256").hexdigest()


def _of_wheels(first: Path, second: Path) -> Iterator[str]:
    with zipfile.ZipFile(first) as one, zipfile.ZipFile(second) as two:
        names = [each.namelist() for each in (one, two)]
        only = [sorted(set(names[0]) - set(names[1])), sorted(set(names[1]) - set(names[0]))]
        yield from (f"{name}: in the first alone" for name in only[0])
        yield from (f"{name}: in the second alone" for name in only[1])
        said = bool(only[0] or only[1])
        for name in sorted(set(names[0]) & set(names[1])):
            if found := _member(one, two, name):
                said = True
                yield f"{name}: {', '.join(found)}"
        if not said and names[0] != names[1]:
            yield "the members have another order"
        elif not said:
            yield "the archive itself: its members are equal, how they are packed is not"


def _member(one: zipfile.ZipFile, two: zipfile.ZipFile, name: str) -> list[str]:
    """Return what differs between the members of a name."""
    infos = one.getinfo(name), two.getinfo(name)
    found = []
    if infos[0].CRC != infos[1].CRC or one.read(name) != two.read(name):
        found.append("content")
    return found + [
        word for key, word in _MEMBER.items() if getattr(infos[0], key) != getattr(infos[1], key)
    ]


def explained(first: Path, second: Path, report: Path) -> Path | None:
    """Write what `diffoscope` says of two files, and return where.

    None where it is not installed, or gave nothing in its time.
    """
    program = shutil.which("diffoscope")
    if program is None:
        return None
    command = [program, "--no-progress", "--max-report-size", str(2**20), "--text", str(report)]
    try:
        with storage_errors("Explaining what differs"):
            subprocess.run(
                [*command, "--", str(first), str(second)],
                capture_output=True,
                check=False,
                timeout=_LONGEST,
                stdin=subprocess.DEVNULL,
            )
    except subprocess.TimeoutExpired:
        return None
    return report if report.is_file() else None
