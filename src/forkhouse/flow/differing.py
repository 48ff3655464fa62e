"""Say in what two wheels of the same name differ."""

from __future__ import annotations

import shutil
import subprocess
import zipfile
from typing import TYPE_CHECKING

from forkhouse.core.storage import storage_errors

if TYPE_CHECKING:
    from collections.abc import Iterator
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
    """Yield in words what differs between two wheels, member by member.

    Yields at least one text for two files that differ. Raises BadZipFile for what is no archive.
    """
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
