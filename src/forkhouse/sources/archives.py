"""Read archives as files of a tree, without writing them to the disk.

What would leave the tree or the limits is refused.
"""

from __future__ import annotations

import bz2
import calendar
import gzip
import lzma
import stat
import time
import zipfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, NoReturn, cast

from pygit2.enums import FileMode

from forkhouse.core.budgets import DAMAGE, ArchiveLimits
from forkhouse.core.errors import UnsafeArchiveError
from forkhouse.core.tars import tarfile
from forkhouse.sources.store import TreeFile, file_mode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# The `data` filter judges a member by the folder it would land in; nothing is ever written there.
_NOWHERE = "/nonexistent/forkhouse"
_CHUNK = 2**16
"""Bytes that are unpacked at once, and of the longest header.

What `tarfile` does with one costs the square of its size.
"""
_MEMORY = 512 * 2**20
"""Bytes that unpacking xz may take; `xz -9` asks for an eighth of it."""
_LAST_YEAR = calendar.timegm((9999, 12, 31, 23, 59, 59))

# All files of a source are held in memory at once.
LIMITS = ArchiveLimits(member=2 * 2**30, total=4 * 2**30, seconds=600)


class _Budget:
    """The part of the limits that is not used up yet while one archive is read.

    Every method raises UnsafeArchiveError when a limit is exceeded.
    """

    def __init__(self, archive: Path, limits: ArchiveLimits) -> None:
        """Begin to measure processor time, with nothing used."""
        self._limits = limits
        self._size = archive.stat().st_size
        self._begun = time.thread_time()
        self._members = self._bytes = self._unpacked = 0

    def member(self, name: str, size: int) -> None:
        """Count a file before any of it is unpacked."""
        limits = self._limits
        self._members += 1
        if self._members > limits.members:
            _refuse(f"it has more than {limits.members} files")
        if (
            name.count("/") > limits.depth
            or len(name.encode("utf-8", "surrogateescape")) > limits.path
        ):
            _refuse(
                f"'{name[:80]}…' has more than {limits.depth} folders in one another, or a path of "
                f"more than {limits.path} bytes"
            )
        if size > limits.member:
            _refuse(
                f"'{name}' would have {size} bytes unpacked; more than {limits.member} are refused"
            )
        self._bytes += size
        self._check_total(self._bytes)

    def unpacked(self, count: int) -> None:
        """Count bytes as they are unpacked, also those between files, and check the time."""
        self._unpacked += count
        self._check_total(self._unpacked)
        if time.thread_time() - self._begun > self._limits.seconds:
            _refuse(f"reading it has taken more than {self._limits.seconds:g} s of processor time")

    def _check_total(self, count: int) -> None:
        limits = self._limits
        if count > limits.total:
            _refuse(f"it would have {count} bytes unpacked; more than {limits.total} are refused")
        if count > limits.free and count > limits.ratio * self._size:
            _refuse(
                f"its {self._size} bytes would be {count} unpacked; more than {limits.ratio} times "
                "as many are refused"
            )


def _refuse(what: str) -> NoReturn:
    message = f"{what}, as no source that is meant to be built has that"
    raise UnsafeArchiveError(message)


class _Metered:
    """An unpacked tar file for `tarfile`, which counts every byte that is read.

    Skipping bytes forward reads them, too. For a hard link `tarfile` goes back; of bytes that are
    read again, only the time counts.
    """

    closed = False

    def __init__(self, stream: IO[bytes], budget: _Budget) -> None:
        """Stand at the first byte of a stream."""
        self._stream = stream
        self._budget = budget
        self._furthest = 0

    def seekable(self) -> bool:
        """Say that the stream can seek."""
        return True

    def tell(self) -> int:
        """Return the position of the next byte."""
        return self._stream.tell()

    def seek(self, place: int) -> int:
        """Go to a position."""
        here = self._stream.tell()
        if place < here:
            self._stream.seek(0)
            here = 0
        while here < place and (step := len(self.read(min(_CHUNK, place - here)))):
            here += step
        return here

    def read(self, size: int) -> bytes:
        """Return the next bytes, at most `size` of them.

        `tarfile` reads files in pieces and headers whole.
        """
        if not 0 <= size <= _CHUNK:
            _refuse(f"a header in it has {size} bytes")
        chunks = []
        while size > 0 and (chunk := self._stream.read(min(size, _CHUNK))):
            here = self._stream.tell()
            self._budget.unpacked(max(0, here - self._furthest))
            self._furthest = max(here, self._furthest)
            chunks.append(chunk)
            size -= len(chunk)
        return b"".join(chunks)


def _unpacking(stream: IO[bytes]) -> IO[bytes]:
    """Return the unpacked content of a file, whose first bytes tell how it is packed."""
    head = stream.read(_CHUNK)
    stream.seek(0)
    if head.startswith(b"\x1f\x8b"):
        return cast("IO[bytes]", gzip.GzipFile(fileobj=stream))
    if head.startswith(b"BZh"):
        return bz2.BZ2File(stream)
    if head.startswith((b"\xfd7zXZ\x00", b"\x5d\x00\x00")):
        lzma.LZMADecompressor(memlimit=_MEMORY).decompress(head, max_length=1)
        return lzma.LZMAFile(stream)
    return stream


@contextmanager
def _explained(archive: Path) -> Iterator[None]:
    """Turn every failure of reading an archive into UnsafeArchiveError."""
    try:
        yield
    except UnsafeArchiveError as error:
        message = (
            str(error)
            if str(error).startswith(f"{archive.name}: ")
            else f"{archive.name}: {error}. The archive is refused."
        )
        raise UnsafeArchiveError(message) from error
    except (*DAMAGE, tarfile.TarError) as error:
        message = (
            f"{archive.name}: {str(error) or type(error).__name__}. The archive is refused; "
            "nothing of it was kept."
        )
        raise UnsafeArchiveError(message) from error


def _below_top_folder(name: str, tops: set[str], archive: Path) -> str:
    """Return a member's name relative to the archive's top folder.

    The top folder is added to `tops`. Raises UnsafeArchiveError when there is more than one, or
    when the member lies outside of it.
    """
    top, _, inner = name.removeprefix("./").partition("/")
    tops.add(top)
    if not top or not inner or len(tops) != 1:
        message = (
            f"{archive.name}: member '{name}' is not inside one top folder, as all of a source "
            "archive is."
        )
        raise UnsafeArchiveError(message)
    return inner


def read_archive(path: Path, limits: ArchiveLimits = LIMITS) -> tuple[list[TreeFile], int]:
    """Return the files of a source archive below its one top folder, and its newest time.

    The archive is a tarball or a zip file; the time is in seconds since 1970, UTC. Raises
    UnsafeArchiveError for what `read_tar` and `read_wheel` refuse, and for a file outside that
    folder.
    """
    if not zipfile.is_zipfile(path):
        return read_tar(path, limits)
    files, newest = read_wheel(path, limits)
    tops: set[str] = set()
    return [replace(file, path=_below_top_folder(file.path, tops, path)) for file in files], newest


def read_tar(path: Path, limits: ArchiveLimits = LIMITS) -> tuple[list[TreeFile], int]:
    """Return the files of a source tarball below its one top folder, and its newest time.

    The time is in seconds since 1970, UTC. Members pass Python's `data` filter (PEP 706). Raises
    UnsafeArchiveError for what the filter refuses, for more than the limits allow, and for damage.
    """
    files: list[TreeFile] = []
    tops: set[str] = set()
    newest = 0
    budget = _Budget(path, limits)
    with _explained(path), path.open("rb") as packed:
        stream = _Metered(_unpacking(packed), budget)
        # It takes whatever reads and seeks.
        with tarfile.open(fileobj=stream, mode="r:") as archive:  # type: ignore[call-overload]
            for member in archive:
                if member.isdir():
                    budget.member(member.name, 0)
                    continue
                inside = member.replace(name=_below_top_folder(member.name, tops, path), deep=False)
                tarfile.data_filter(inside, _NOWHERE)
                newest = max(newest, _moment(member))
                if member.issym():
                    budget.member(inside.name, 0)
                    files.append(
                        TreeFile(
                            path=inside.name, content=member.linkname.encode(), mode=FileMode.LINK
                        )
                    )
                    continue
                files.append(
                    TreeFile(
                        path=inside.name,
                        content=_content(archive, member, budget, path),
                        mode=file_mode(member.mode),
                    )
                )
    return files, newest


def _moment(member: tarfile.TarInfo) -> int:
    moment = int(member.mtime)
    if moment > _LAST_YEAR:
        _refuse(f"'{member.name}' is of a time after the year 9999")
    return moment


def _content(
    archive: tarfile.TarFile, member: tarfile.TarInfo, budget: _Budget, path: Path
) -> bytes:
    """Return the content of a file, or of the one to which a hard link leads."""
    stream = archive.extractfile(member)
    if stream is None:
        message = f"{path.name}: member '{member.name}' is neither a file nor a link."
        raise UnsafeArchiveError(message)
    # Of a hard link the size is that of the file that it leads to, and a sparse file has more than
    # lies in the archive.
    size = stream.seek(0, 2)
    stream.seek(0)
    budget.member(member.name, size)
    content = b"".join(iter(lambda: stream.read(_CHUNK), b""))
    if len(content) != size:
        _refuse(f"'{member.name}' ends early")
    return content


def read_wheel(path: Path, limits: ArchiveLimits = LIMITS) -> tuple[list[TreeFile], int]:
    """Return the files of a wheel (a zip archive, PEP 427), and its newest time.

    The time is in seconds since 1970, UTC. Raises UnsafeArchiveError for absolute paths, `..`,
    links, names given twice, for more than the limits allow, and for damage.
    """
    seen: set[str] = set()
    newest = 0
    budget = _Budget(path, limits)
    with _explained(path), zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            budget.member(info.filename, info.file_size)
            if info.is_dir():
                continue
            parts = PurePosixPath(info.filename)
            permissions = info.external_attr >> 16
            if (
                parts.is_absolute()
                or ".." in parts.parts
                or "\\" in info.filename
                or stat.S_ISLNK(permissions)
                or info.filename in seen
            ):
                message = (
                    f"{path.name}: member '{info.filename}' leaves the tree, is a link, or is "
                    "there twice."
                )
                raise UnsafeArchiveError(message)
            seen.add(info.filename)
            newest = max(newest, calendar.timegm((*info.date_time, 0, 0, 0)))
        files = [
            TreeFile(
                path=info.filename,
                content=_member(archive, info, budget),
                mode=file_mode(info.external_attr >> 16),
            )
            for info in archive.infolist()
            if info.filename in seen
        ]
    return files, newest


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, budget: _Budget) -> bytes:
    """Return the content of a file, at most as long as its entry in the list of files says."""
    chunks = []
    with archive.open(info) as stream:
        while chunk := stream.read(_CHUNK):
            budget.unpacked(len(chunk))
            chunks.append(chunk)
    content = b"".join(chunks)
    if len(content) != info.file_size:
        _refuse(f"'{info.filename}' ends early")
    return content
