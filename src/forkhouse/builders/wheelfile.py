"""Write wheels deterministically.

Sorted members, one time stamp, fixed modes, RECORD made from what was written.
"""

from __future__ import annotations

import base64
import csv
import errno
import hashlib
import io
import time
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forkhouse.core.budgets import DAMAGE, ArchiveLimits
from forkhouse.core.errors import BuildError
from forkhouse.core.progress import report
from forkhouse.core.storage import storage_errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

_OF_A_NAME = frozenset({errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST})
"""What the system says of a name that is too long, or of a file that is a folder as well."""
_ZIP_EPOCH = 315532800
_ZIP_END = 4354819198  # the last time that a zip archive can say, in 2107
"""The first moment that a zip archive can name: 1980-01-01, in seconds since 1970 UTC."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One file of a wheel."""

    path: str
    content: bytes
    executable: bool


def unpack(wheel: Path, folder: Path, limits: ArchiveLimits | None = None) -> None:
    """Lay the files of a wheel that a build made below a folder.

    Raises BuildError for one that is damaged or has more than the limits allow, StorageError.
    """
    limits = limits or ArchiveLimits()
    try:
        with storage_errors(f"Unpacking {wheel.name}"), zipfile.ZipFile(wheel) as archive:
            # No more of a file is unpacked than its entry says.
            found = archive.infolist()
            size = sum(info.file_size for info in found)
            most = min(limits.total, max(limits.free, limits.ratio * wheel.stat().st_size))
            if len(found) > limits.members or size > most:
                message = (
                    f"{wheel.name} would have {len(found)} files of {size} bytes unpacked; more "
                    f"than {limits.members} files, or {most} bytes, are refused."
                )
                raise BuildError(message)
            try:
                archive.extractall(folder)
            except OSError as error:
                if error.errno not in _OF_A_NAME:
                    raise
                message = f"{wheel.name} was built, and cannot be laid out: {error.strerror}."
                raise BuildError(message) from error
    except DAMAGE as error:
        message = (
            f"{wheel.name} was built, and cannot be unpacked: {str(error) or type(error).__name__}."
        )
        raise BuildError(message) from error


def record_line(path: str, content: bytes) -> tuple[str, str, str]:
    """Return the line of a file in RECORD: its path, hash and size in bytes.

    The hash is the sha256 in urlsafe base64, without padding (PEP 376, PEP 427).
    """
    from installer.records import Hash, RecordEntry

    value = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
    return RecordEntry(path, Hash("sha256", value), len(content)).to_row()


def retagged(wheel: bytes, tags: Iterable[str]) -> bytes:
    """Let the WHEEL file say the tags of the file name.

    Installers trust the one, people read the other.
    """
    kept = [
        line
        for line in wheel.decode("utf-8").splitlines()
        if line and not line.startswith(("Tag:", "Generator:", "Build:"))
    ]
    return (
        "\n".join(
            [*kept, "Generator: forkhouse", *(f"Tag: {tag}" for tag in sorted(tags))]
        ).encode()
        + b"\n"
    )


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def zip_entry(path: str, stamp: tuple[int, ...], *, mode: int = 0o644) -> zipfile.ZipInfo:
    """Return the entry of a file in an archive whose bytes follow from its content alone.

    `stamp` is year, month, day, hour, minute and second.
    """
    year, month, day, hour, minute, second = stamp
    info = zipfile.ZipInfo(path, (year, month, day, hour, minute, second))
    info.compress_type = zipfile.ZIP_DEFLATED
    info.create_system = 3  # Unix, so that the mode counts
    info.external_attr = (0o100000 | mode) << 16
    return info


def write_wheel(path: Path, members: Sequence[Member], *, dist_info: str, epoch: int) -> Path:
    """Write a wheel with the given members and a fresh RECORD.

    All files are stamped with `epoch` (seconds since 1970 UTC). Members of .dist-info come last, as
    PEP 427 recommends. Raises StorageError when the disk is full, and BuildError for a name that is
    not UTF-8.
    """
    stamp = time.gmtime(min(max(epoch, _ZIP_EPOCH), _ZIP_END))[:6]
    unnamed = [member.path for member in members if not _is_text(member.path)]
    if unnamed:
        message = (
            f"{path.name}: {unnamed[0]!r} is no name that a wheel can have: it is no UTF-8. A "
            "patch of the upstream has to rename it."
        )
        raise BuildError(message)
    ordered = sorted(
        members, key=lambda member: (member.path.startswith(f"{dist_info}/"), member.path)
    )
    rows = [record_line(member.path, member.content) for member in ordered]
    rows.append((f"{dist_info}/RECORD", "", ""))
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    record = Member(path=f"{dist_info}/RECORD", content=text.getvalue().encode(), executable=False)
    total = sum(len(member.content) for member in ordered)
    with (
        storage_errors(f"Packing {path.name}"),
        report().task(f"pack {path.name}", total=total) as task,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for member in (*ordered, record):
            archive.writestr(
                zip_entry(member.path, stamp, mode=0o755 if member.executable else 0o644),
                member.content,
            )
            task.advance(len(member.content))
    return path
