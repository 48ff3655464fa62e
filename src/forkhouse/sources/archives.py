"""Read archives as files of a tree, without writing them to the disk; anything that would leave the tree is refused."""

from __future__ import annotations

import calendar
import stat
import tarfile
import zipfile
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from pygit2.enums import FileMode

from forkhouse.errors import UnsafeArchiveError
from forkhouse.sources.store import TreeFile, file_mode

if TYPE_CHECKING:
    from pathlib import Path

# The `data` filter judges a member by the folder it would land in; nothing is ever written there.
_NOWHERE = "/nonexistent/forkhouse"


def _inside_top_folder(name: str, archive: Path) -> str:
    top, _, inner = name.partition("/")
    if not top or not inner:
        message = f"{archive.name}: member '{name}' is not inside one top folder, as source archives are."
        raise UnsafeArchiveError(message)
    return inner


def read_tar(path: Path) -> tuple[list[TreeFile], int]:
    """Return the files of a source tarball below its one top folder, and its newest time (seconds since 1970, UTC).

    Members pass Python's `data` filter (PEP 706). Raises UnsafeArchiveError for what the filter refuses.
    """
    files: list[TreeFile] = []
    newest = 0
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                safe = tarfile.data_filter(member, _NOWHERE)
                if member.isdir() or safe is None:
                    continue
                newest = max(newest, int(member.mtime))
                inner = _inside_top_folder(member.name, path)
                if member.issym():
                    files.append(TreeFile(path=inner, content=member.linkname.encode(), mode=FileMode.LINK))
                    continue
                stream = archive.extractfile(member)
                if stream is None:
                    message = f"{path.name}: member '{member.name}' is neither a file nor a link."
                    raise UnsafeArchiveError(message)
                files.append(TreeFile(path=inner, content=stream.read(), mode=file_mode(member.mode)))
    except (tarfile.FilterError, tarfile.TarError) as error:
        message = f"{path.name}: {error}. The archive is refused; nothing of it was kept."
        raise UnsafeArchiveError(message) from error
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
    except zipfile.BadZipFile as error:
        message = f"{path.name}: {error}. The archive is refused; nothing of it was kept."
        raise UnsafeArchiveError(message) from error
    return files, newest
