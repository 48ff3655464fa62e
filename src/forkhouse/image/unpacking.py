"""Unpack the layers of an image into a folder, as a container's file system has them.

Only to install in it: who owns a file, devices and the rights beyond read, write and run are left
out. No path leaves the folder, through no link: a link is followed as it would be in the container.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import tarfile
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING

from forkhouse.core.budgets import DAMAGE, ArchiveLimits
from forkhouse.core.errors import ImageError, UnsafeArchiveError
from forkhouse.core.progress import report
from forkhouse.core.storage import discard, storage_errors
from forkhouse.image.layout import READABLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forkhouse.image.layers import Layer

_GONE = ".wh."
"""Beginning of the name of a file that takes away what a lower layer has of the same name."""
_ALL_GONE = ".wh..wh..opq"
_CHUNK = 2**20
_LIMITS = ArchiveLimits(members=2_000_000, total=256 * 2**30)
"""For all layers together; the ratio is that of each. ROCm's own images have a tenth of it."""
_MOST_LINKS = 40
"""As the kernel follows (path_resolution(7))."""


def unpack_layers(layers: Sequence[Layer], root: Path, *, limits: ArchiveLimits = _LIMITS) -> None:
    """Lay out the layers of an image in a folder, from below.

    Raises ImageError for a damaged layer, UnsafeArchiveError for one that leads out of the folder
    or is beyond a limit, StorageError.
    """
    spent = _Spent(limits)
    with report().task("unpack the base", total=len(layers)) as task:
        for layer in layers:
            try:
                with storage_errors(f"Unpacking {layer.what}"):
                    _unpack(layer, root, spent)
            except DAMAGE as error:
                message = f"{layer.what} is damaged: {error}. Make the base again."
                raise ImageError(message) from error
            task.advance(1)


class _Spent:
    """What the layers of a base have unpacked so far."""

    def __init__(self, limits: ArchiveLimits) -> None:
        self._limits = limits
        self._members = self._bytes = 0

    def member(self) -> None:
        """Count a member. Raises UnsafeArchiveError where there are too many."""
        self._members += 1
        most = self._limits.members
        _refuse(f"it has more than {most:,} members", when=self._members > most)

    def read(self, size: int, of_layer: int, packed: int) -> None:
        """Count bytes, `of_layer` in this layer by now, which is `packed` bytes long.

        Raises UnsafeArchiveError where there are too many.
        """
        self._bytes += size
        limits, ratio = self._limits, self._limits.ratio
        whole = f"it unpacks to more than {limits.total:,} bytes"
        _refuse(whole, when=self._bytes > limits.total)
        most = max(limits.free, ratio * packed)
        _refuse(f"a layer unpacks to more than {ratio} times its size", when=of_layer > most)


def _refuse(why: str, *, when: bool) -> None:
    if when:
        message = f"The base is refused, as {why}."
        raise UnsafeArchiveError(message)


def _unpack(layer: Layer, root: Path, spent: _Spent) -> None:
    packed = READABLE[layer.media_type]
    with contextlib.ExitStack() as held:
        file = held.enter_context(layer.blob.path.open("rb"))
        # tarfile's own reader ends with the first of several members of gzip, checks no sum at
        # their end, and reads nothing behind the end of the archive.
        stream = held.enter_context(gzip.GzipFile(fileobj=file)) if packed else file
        measured = _Measured(stream, layer.blob.size, spent)
        own: set[Path] = set()
        with tarfile.open(fileobj=measured, mode="r|") as archive:  # type: ignore[call-overload]
            for member in archive:
                spent.member()
                _lay_out(archive, member, root, own)
        while measured.read(_CHUNK):
            pass
    if f"sha256:{measured.digest.hexdigest()}" != layer.diff_id:
        message = (
            f"{layer.what} is damaged: unpacked, it has another digest than its image says. Make "
            "the base again."
        )
        raise ImageError(message)


class _Measured:
    """A stream that digests and counts what is read of it."""

    def __init__(self, source: IO[bytes] | gzip.GzipFile, packed: int, spent: _Spent) -> None:
        self._source, self._packed, self._spent = source, packed, spent
        self._size = 0
        self.digest = hashlib.sha256()

    def read(self, size: int) -> bytes:
        """Return a piece."""
        piece = self._source.read(size)
        self.digest.update(piece)
        self._size += len(piece)
        self._spent.read(len(piece), self._size, self._packed)
        return piece


def inside(root: Path, name: str) -> Path:
    """Return where a path of the container lies below `root`, each link of it followed.

    Raises UnsafeArchiveError where it names a folder above the root.
    """
    waiting = [*reversed(PurePosixPath(name).parts)]
    found, followed = root, 0
    while waiting:
        part = waiting.pop()
        if part in {"/", "."}:
            found = root if part == "/" else found
        elif part == "..":
            # In a container nothing is above its root.
            found = found if found == root else found.parent
        elif (found / part).is_symlink():
            followed += 1
            if followed > _MOST_LINKS:
                message = f"{name!r} follows links without end. The layer is refused."
                raise UnsafeArchiveError(message)
            waiting += [*reversed(PurePosixPath((found / part).readlink()).parts)]
        else:
            found /= part
    return found


def _lay_out(archive: tarfile.TarFile, member: tarfile.TarInfo, root: Path, own: set[Path]) -> None:
    """Lay out a member. `own` is what this layer has laid out, with the folders above."""
    path = PurePosixPath(member.name)
    leads_out = path.is_absolute() or ".." in path.parts
    if leads_out or path.name.removeprefix(_GONE) in {"", ".", ".."} - {path.name}:
        message = f"{member.name!r} leads out of the image. The layer is refused."
        raise UnsafeArchiveError(message)
    if not path.parts:
        return
    folder = inside(root, str(path.parent))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        message = f"{member.name!r} lies below what is no folder. The layer is refused."
        raise ImageError(message) from error
    place = folder / path.name
    # What takes away is of the layers below, wherever it stands in its own.
    if path.name == _ALL_GONE:
        _clear(folder, own)
        return
    if path.name.startswith(_GONE):
        gone = folder / path.name.removeprefix(_GONE)
        if gone not in own:
            discard(gone)
        elif gone.is_dir() and not gone.is_symlink():
            _clear(gone, own)
        return
    own.update([place, *(each for each in place.parents if each.is_relative_to(root))])
    if member.isdir():
        if place.is_symlink() or not place.is_dir():
            discard(place)
            place.mkdir()
    elif member.issym():
        discard(place)
        place.symlink_to(member.linkname)
    elif member.islnk():
        named = PurePosixPath(member.linkname)
        # Of a link itself there may be two, so it is not followed.
        target = inside(root, str(named.parent)) / (named.name or ".")
        there = target.is_symlink() or target.is_file()
        if named.name in {"", ".."} or target == place or not there:
            message = (
                f"{member.name!r} is a hard link to {member.linkname!r}, and there is no file. The "
                "layer is refused."
            )
            raise ImageError(message)
        discard(place)
        os.link(target, place, follow_symlinks=False)
    elif member.isreg():
        discard(place)
        _copy(archive, member, place)


def _clear(folder: Path, own: set[Path]) -> None:
    """Remove what lower layers have in a folder."""
    for each in folder.iterdir():
        if each not in own:
            discard(each)
        elif each.is_dir() and not each.is_symlink():
            _clear(each, own)


def _copy(archive: tarfile.TarFile, member: tarfile.TarInfo, place: Path) -> None:
    stream = archive.extractfile(member)
    assert stream is not None  # it is a file
    with place.open("xb") as target:
        while piece := stream.read(_CHUNK):
            target.write(piece)
    place.chmod(0o755 if member.mode & 0o100 else 0o644)
