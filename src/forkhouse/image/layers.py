"""Layers of an image: tar archives whose bytes follow from what is in them.

All files are root's, so whoever runs in the image can change none of them.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import stat
import tarfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING

from forkhouse.core.progress import report
from forkhouse.core.storage import storage_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
_LEVEL = 6
"""Of gzip. 1 takes a third of the time, and makes PyTorch's libraries 15 % larger."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Blob:
    """Content of an image that lies in a file, under the digest of its bytes."""

    path: Path
    sha256: str
    size: int
    """Bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """A layer: a tar archive, compressed or not."""

    what: str
    """What is in it, for the image's history."""
    blob: Blob
    diff_id: str
    """The digest of the archive before it was compressed, as `sha256:…`."""
    media_type: str = GZIP


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerEntry:
    """A file, link or folder of a layer."""

    content: bytes | Path | None = None
    """Of a file: its bytes, or where they lie. None for a link and a folder."""
    link: str | None = None
    mode: int = 0o644
    owner: int = 0
    """User and group id."""


def entry_of(path: Path) -> LayerEntry:
    """Return the entry of a file or link that lies somewhere: everybody may read it."""
    if path.is_symlink():
        return LayerEntry(link=str(path.readlink()), mode=0o777)
    runs = path.stat().st_mode & stat.S_IXUSR
    return LayerEntry(content=path, mode=0o755 if runs else 0o644)


def write_layer(what: str, entries: Mapping[str, LayerEntry], folder: Path, *, time: int) -> Layer:
    """Write a layer into a folder of blobs, and return it.

    `entries` are by their path without a leading slash; folders above them come of themselves.
    Every entry has the time `time`, in seconds since 1970. Raises StorageError.
    """
    whole = {**_folders(entries), **entries}

    def fill(stream: IO[bytes]) -> None:
        with (
            report().task(f"layer of {what}", total=len(whole)) as task,
            tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as archive,
        ):
            for name in sorted(whole):
                _add(archive, name, whole[name], time)
                task.advance(1)

    return compressed(what, fill, folder)


def compressed(what: str, fill: Callable[[IO[bytes]], object], folder: Path) -> Layer:
    """Return a layer of the archive that `fill` writes, compressed into a folder of blobs.

    The compressed bytes follow from those of the archive and the release of zlib. Raises
    StorageError.
    """
    unfinished = folder / "unfinished"
    with storage_errors(f"Writing the layer of {what}"), unfinished.open("wb") as target:
        outer = _Measured(target)
        # Without a name and a time in its header.
        with gzip.GzipFile("", "wb", _LEVEL, outer, mtime=0) as packed:
            inner = _Measured(packed)
            fill(inner)  # type: ignore[arg-type]
    sha256 = outer.digest.hexdigest()
    blob = Blob(path=unfinished.replace(folder / sha256), sha256=sha256, size=outer.size)
    return Layer(what=what, blob=blob, diff_id=f"sha256:{inner.digest.hexdigest()}")


class _Measured:
    """A stream that counts and digests what goes through it."""

    def __init__(self, target: IO[bytes] | gzip.GzipFile) -> None:
        self._target = target
        self.digest = hashlib.sha256()
        self.size = 0

    def write(self, piece: bytes) -> int:
        """Pass a piece on."""
        self.digest.update(piece)
        self.size += len(piece)
        return self._target.write(piece)

    def flush(self) -> None:
        """Pass on what is buffered."""
        self._target.flush()


def _folders(paths: Iterable[str]) -> dict[str, LayerEntry]:
    """Return the folders above some paths."""
    parents = {str(parent) for path in paths for parent in PurePosixPath(path).parents}
    return {parent: LayerEntry(mode=0o755) for parent in parents - {"."}}


def _add(archive: tarfile.TarFile, name: str, entry: LayerEntry, time: int) -> None:
    info = tarfile.TarInfo(name)
    info.mode, info.mtime = entry.mode, time
    info.uid = info.gid = entry.owner
    if entry.link is not None:
        info.type, info.linkname = tarfile.SYMTYPE, entry.link
        archive.addfile(info)
    elif entry.content is None:
        info.type = tarfile.DIRTYPE
        archive.addfile(info)
    elif isinstance(entry.content, Path):
        info.size = entry.content.stat().st_size
        with entry.content.open("rb") as stream:
            archive.addfile(info, stream)
    else:
        info.size = len(entry.content)
        archive.addfile(info, io.BytesIO(entry.content))
