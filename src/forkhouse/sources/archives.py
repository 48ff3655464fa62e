"""Read archives as files of a tree, without writing them to the disk; anything that would leave the tree is refused."""

from __future__ import annotations

import calendar
import gzip
import lzma
import stat
import tarfile
import zipfile
import zlib
from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from pygit2.enums import FileMode

from forkhouse.errors import UnsafeArchiveError
from forkhouse.sources.store import TreeFile, file_mode

if TYPE_CHECKING:
    from pathlib import Path

# The `data` filter judges a member by the folder it would land in; nothing is ever written there.
_NOWHERE = "/nonexistent/forkhouse"


# What the standard library raises for archives that are cut off, damaged, encrypted or packed in an unknown way.
_DAMAGE = (tarfile.TarError, gzip.BadGzipFile, lzma.LZMAError, zlib.error, zipfile.BadZipFile, EOFError, KeyError, RuntimeError)


def _refused(archive: Path, error: Exception) -> UnsafeArchiveError:
    return UnsafeArchiveError(f"{archive.name}: {error}. The archive is refused; nothing of it was kept.")


def _below_top_folder(name: str, tops: set[str], archive: Path) -> str:
    """Return a member's name as it lies below the archive's top folder, which is collected in `tops` and must stay the only one."""
    top, _, inner = name.removeprefix("./").partition("/")
    tops.add(top)
    if not top or not inner or len(tops) != 1:
        message = f"{archive.name}: member '{name}' is not inside one top folder, as all of a source archive is."
        raise UnsafeArchiveError(message)
    return inner


def read_archive(path: Path) -> tuple[list[TreeFile], int]:
    """Return the files of a source archive (tarball or zip file) below its one top folder, and its newest time (seconds since 1970, UTC).

    Raises UnsafeArchiveError for what `read_tar` and `read_wheel` refuse, and for a file outside that folder.
    """
    if not zipfile.is_zipfile(path):
        return read_tar(path)
    files, newest = read_wheel(path)
    tops: set[str] = set()
    return [replace(file, path=_below_top_folder(file.path, tops, path)) for file in files], newest


def read_tar(path: Path) -> tuple[list[TreeFile], int]:
    """Return the files of a source tarball below its one top folder, and its newest time (seconds since 1970, UTC).

    Members pass Python's `data` filter (PEP 706). Raises UnsafeArchiveError for what the filter refuses.
    """
    files: list[TreeFile] = []
    tops: set[str] = set()
    newest = 0
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                if member.isdir():
                    continue
                inside = member.replace(name=_below_top_folder(member.name, tops, path), deep=False)
                tarfile.data_filter(inside, _NOWHERE)
                newest = max(newest, int(member.mtime))
                if member.issym():
                    files.append(TreeFile(path=inside.name, content=member.linkname.encode(), mode=FileMode.LINK))
                    continue
                stream = archive.extractfile(member)
                if stream is None:
                    message = f"{path.name}: member '{member.name}' is neither a file nor a link."
                    raise UnsafeArchiveError(message)
                files.append(TreeFile(path=inside.name, content=stream.read(), mode=file_mode(member.mode)))
    except _DAMAGE as error:
        raise _refused(path, error) from error
    return files, newest


def read_wheel(path: Path) -> tuple[list[TreeFile], int]:
    """Return the files of a wheel (a zip archive, PEP 427) and its newest time (seconds since 1970, UTC).

    Raises UnsafeArchiveError for absolute paths, `..`, links, and names given twice.
    """
    files: list[TreeFile] = []
    seen: set[str] = set()
    newest = 0
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
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
                    message = f"{path.name}: member '{info.filename}' leaves the tree, is a link, or is there twice."
                    raise UnsafeArchiveError(message)
                seen.add(info.filename)
                newest = max(newest, calendar.timegm((*info.date_time, 0, 0, 0)))
                files.append(TreeFile(path=info.filename, content=archive.read(info), mode=file_mode(permissions)))
    except _DAMAGE as error:
        raise _refused(path, error) from error
    return files, newest
