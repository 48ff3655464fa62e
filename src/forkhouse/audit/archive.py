"""Read a wheel within limits.

No member, ratio or total may cost more than in wheels that people publish.
"""

from __future__ import annotations

import struct
import time
import zipfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, NoReturn, Self

from forkhouse.core.budgets import DAMAGE, ArchiveLimits
from forkhouse.core.errors import AuditError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CHUNK = 2**20
_LOCAL = struct.Struct("<4s5H3L2H")
"""The local header before a file.

Magic, version, flags, method, time, date, checksum, size packed, size, and the sizes of the name
and the extra field.
"""
_END = struct.Struct("<4s4H2LH")
"""The end record.

Magic, number of this disk and of the disk with the list of files, files on this disk and in all,
size and place of the list, and the size of a comment.
"""
_END_MAGIC = b"PK\x05\x06"
_LONGEST_COMMENT = 2**16
_IN_EXTRA_SHORT = 0xFFFF
_LOCAL_MAGIC = b"PK\x03\x04"
_SIZES_FOLLOW = 8
"""The flag that says that checksum and sizes follow the file."""
_IN_EXTRA = 0xFFFFFFFF
"""Stands for a size that is in the extra field."""

LIMITS = ArchiveLimits()


class WheelArchive:
    """The files of a wheel.

    Every method raises AuditError where the archive is damaged or asks for more than the limits.
    """

    def __init__(self, path: Path, limits: ArchiveLimits = LIMITS) -> None:
        """Read the list of files. Raises FileNotFoundError when there is no such file."""
        self._limits = limits
        self._started = time.thread_time()
        self._stream = _open(path)
        try:
            with _explained():
                self._zip = zipfile.ZipFile(self._stream)
            self.members = tuple(self._zip.infolist())
            self._check_budget(path.stat().st_size)
            self._check_places()
            self._check_end(path.stat().st_size)
        except BaseException:
            self._stream.close()
            raise

    def __enter__(self) -> Self:
        """Return the archive itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: object
    ) -> None:
        """Close the file.

        Raises AuditError where looking at its files took more memory than there is.
        """
        self._zip.close()
        self._stream.close()
        if kind is MemoryError:
            message = (
                "has a file that takes more memory than this process may have, so it is refused"
            )
            raise AuditError(message) from error

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all members, folders (they end in `/`) and repeated names included."""
        return tuple(member.filename for member in self.members)

    @property
    def files(self) -> tuple[zipfile.ZipInfo, ...]:
        """The members that are no folders, in order."""
        return tuple(member for member in self.members if not member.filename.endswith("/"))

    def _check_budget(self, size: int) -> None:
        limits = self._limits
        total = sum(member.file_size for member in self.members)
        if len(self.members) > limits.members:
            _refuse(f"it has {len(self.members)} files", limits.members)
        for member in self.members:
            if member.file_size > limits.member:
                _refuse(
                    f"{member.filename} would have {member.file_size} bytes unpacked", limits.member
                )
        if total > limits.total:
            _refuse(f"it would have {total} bytes unpacked", limits.total)
        if total > limits.free and total > limits.ratio * size:
            _refuse(
                f"it has {size} bytes and would have {total} unpacked",
                limits.ratio,
                "times as many",
            )

    def _check_places(self) -> None:
        """Compare the central directory of the archive with the header before each file.

        Some installers read the one, some the other.
        """
        end = 0
        for member in sorted(self.members, key=lambda member: member.header_offset):
            start = member.header_offset
            if start < end or (end == 0 and start > 0):
                message = (
                    f"has bytes before its first file, or files over each other: {member.filename} "
                    f"is at byte {start}, not {end}"
                )
                raise AuditError(message)
            self._stream.seek(start)
            header = self._stream.read(_LOCAL.size)
            if len(header) < _LOCAL.size or not header.startswith(_LOCAL_MAGIC):
                message = (
                    f"is damaged: nothing begins at byte {start}, where {member.filename} should"
                )
                raise AuditError(message)
            _, _, flags, method, _, _, checksum, packed, size, name_size, extra_size = (
                _LOCAL.unpack(header)
            )
            told = [method] if flags & _SIZES_FOLLOW else [method, checksum, packed, size]
            true = [member.compress_type, member.CRC, member.compress_size, member.file_size][
                : len(told)
            ]
            if (
                any(one not in {other, _IN_EXTRA} for one, other in zip(told, true, strict=True))
                or flags != member.flag_bits
            ):
                message = f"is damaged: the two headers of {member.filename} differ"
                raise AuditError(message)
            end = start + _LOCAL.size + name_size + extra_size + member.compress_size

    def _check_end(self, size: int) -> None:
        """Check that the end record points at the list of files, and that nothing follows it.

        Raises AuditError where it does not.
        """
        self._stream.seek(max(0, size - _END.size - _LONGEST_COMMENT))
        last = self._stream.read()
        start = last.rfind(_END_MAGIC)
        if not 0 <= start <= len(last) - _END.size:
            message = "is damaged: its last record is cut off"
            raise AuditError(message)
        _, *disks, here, count, length, place, comment = _END.unpack_from(last, start)
        true = [0, 0, len(self.members), len(self.members)]
        fits = all(
            told in {other, _IN_EXTRA_SHORT}
            for told, other in zip([*disks, here, count], true, strict=True)
        )
        # What does not fit into the record is in another one just before it (zip64), which
        # `zipfile` has read.
        if fits and _IN_EXTRA not in {length, place} and _IN_EXTRA_SHORT not in {here, count}:
            fits = place + length == size - len(last) + start
        if not fits:
            message = (
                "is damaged: its last record does not tell how many files it has, and where their "
                "list is"
            )
            raise AuditError(message)
        if start + _END.size + comment != len(last):
            message = (
                f"has {len(last) - start - _END.size - comment} bytes behind its end, which are no "
                "part of a wheel"
            )
            raise AuditError(message)

    def read(self, member: zipfile.ZipInfo) -> bytes:
        """Return the content of a file."""
        return b"".join(self.chunks(member))

    def chunks(self, member: zipfile.ZipInfo) -> Iterator[bytes]:
        """Return the content of a file in pieces, for a single pass over it.

        The checksum is checked at the end.
        """
        with _explained(f"{member.filename} "), self._zip.open(member) as stream:
            while chunk := stream.read(_CHUNK):
                yield chunk
        if time.thread_time() - self._started > self._limits.seconds:
            _refuse(
                f"looking at it has taken {self._limits.seconds:.0f} s of processor time",
                int(self._limits.seconds),
                "seconds",
            )

    def text(self, name: str) -> str | None:
        """Return the content of a file that describes the wheel; None when there is no such file.

        Where several have the name, the last one counts. Raises AuditError when it is not UTF-8 or
        too large.
        """
        members = [member for member in self.files if member.filename == name]
        if not members:
            return None
        if members[-1].file_size > self._limits.text:
            _refuse(f"{name} would have {members[-1].file_size} bytes unpacked", self._limits.text)
        try:
            return self.read(members[-1]).decode("utf-8")
        except UnicodeDecodeError as error:
            message = f"{name} is no UTF-8: byte {error.start} is {error.object[error.start]:#04x}"
            raise AuditError(message) from error


def _open(path: Path) -> BinaryIO:
    try:
        # Opening a pipe would wait for whoever writes to it.
        if path.exists() and not path.is_file():
            message = "is no file, so it is refused"
            raise AuditError(message)
        return path.open("rb")
    except FileNotFoundError:
        raise
    except OSError as error:
        message = f"cannot be opened, so it is refused: {error.strerror}"
        raise AuditError(message) from error


@contextmanager
def _explained(what: str = "") -> Iterator[None]:
    try:
        yield
    except DAMAGE as error:
        message = f"{what}cannot be read, so it is refused: {str(error) or type(error).__name__}"
        raise AuditError(message) from error


def _refuse(what: str, limit: int, unit: str = "") -> NoReturn:
    message = (
        f"{what}; more than {limit}{' ' + unit if unit else ''} are refused, as no wheel that is "
        "meant to be installed has that"
    )
    raise AuditError(message)
