"""Unpack the layers of an image into a folder, as a container's file system has them.

Only to install in it: who owns a file, devices and the rights beyond read, write and run are left
out. No path leaves the folder, through no link: a link is followed as it would be in the container.
"""

from __future__ import annotations

import os
import tarfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from forkhouse.core.budgets import DAMAGE
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
_MOST_LINKS = 40
"""As the kernel follows (path_resolution(7))."""


def unpack_layers(layers: Sequence[Layer], root: Path) -> None:
    """Lay out the layers of an image in a folder, from below.

    Raises ImageError for a damaged layer, UnsafeArchiveError for one that leads out of the folder,
    StorageError.
    """
    with report().task("unpack the base", total=len(layers)) as task:
        for layer in layers:
            try:
                with (
                    storage_errors(f"Unpacking {layer.what}"),
                    layer.blob.path.open("rb") as stream,
                    tarfile.open(fileobj=stream, mode=READABLE[layer.media_type]) as archive,  # type: ignore[call-overload]
                ):
                    for member in archive:
                        _lay_out(archive, member, root)
            except DAMAGE as error:
                message = f"{layer.what} is damaged: {error}. Make the base again."
                raise ImageError(message) from error
            task.advance(1)


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


def _lay_out(archive: tarfile.TarFile, member: tarfile.TarInfo, root: Path) -> None:
    path = PurePosixPath(member.name)
    leads_out = path.is_absolute() or ".." in path.parts
    if leads_out or path.name.removeprefix(_GONE) in {"", ".", ".."} - {path.name}:
        message = f"{member.name!r} leads out of the image. The layer is refused."
        raise UnsafeArchiveError(message)
    if not path.parts:
        return
    folder = inside(root, str(path.parent))
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / path.name
    if path.name == _ALL_GONE:
        for each in folder.iterdir():
            discard(each)
    elif path.name.startswith(_GONE):
        discard(folder / path.name.removeprefix(_GONE))
    elif member.isdir():
        if place.is_symlink() or not place.is_dir():
            discard(place)
            place.mkdir()
    elif member.issym():
        discard(place)
        place.symlink_to(member.linkname)
    elif member.islnk():
        target = inside(root, member.linkname)
        discard(place)
        os.link(target, place)
    elif member.isreg():
        discard(place)
        _copy(archive, member, place)


def _copy(archive: tarfile.TarFile, member: tarfile.TarInfo, place: Path) -> None:
    stream = archive.extractfile(member)
    assert stream is not None  # it is a file
    with place.open("xb") as target:
        while piece := stream.read(2**20):
            target.write(piece)
    place.chmod(0o755 if member.mode & 0o100 else 0o644)
