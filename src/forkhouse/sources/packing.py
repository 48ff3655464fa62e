"""Objects that are kept in memory while many of them are made, and then written as one pack."""

from __future__ import annotations

import io
import zlib
from typing import TYPE_CHECKING

import pygit2

from forkhouse.core.storage import write_atomic

if TYPE_CHECKING:
    from pathlib import Path

FIRST = 100
"""Priority above that of the backends of a folder: what is written goes to the highest."""

_KINDS = {1: b"commit", 2: b"tree", 3: b"blob", 4: b"tag"}


class Pending(pygit2.OdbBackend):
    """Holds the objects that are written to a repository.

    An object that is not here raises KeyError, as libgit2 expects it.
    """

    def __init__(self) -> None:
        """Begin empty."""
        super().__init__()
        self.objects: dict[pygit2.Oid, tuple[int, bytes]] = {}

    def write_cb(self, oid: pygit2.Oid, data: bytes, kind: int) -> None:
        """Keep an object."""
        self.objects[oid] = (kind, data)

    def read_cb(self, oid: pygit2.Oid) -> tuple[int, bytes]:
        """Return an object's kind and content."""
        return self.objects[oid]

    def read_prefix_cb(self, oid: pygit2.Oid) -> tuple[int, bytes, pygit2.Oid]:
        """Return the object with an id.

        Only whole ids are looked for: libgit2 asks so for what a tree holds.
        """
        return *self.objects[oid], oid

    def read_header_cb(self, oid: pygit2.Oid) -> tuple[int, int]:
        """Return an object's kind and size."""
        kind, data = self.objects[oid]
        return kind, len(data)

    def exists_cb(self, oid: pygit2.Oid) -> bool:
        """Say whether an object is here."""
        return oid in self.objects

    def exists_prefix_cb(self, oid: pygit2.Oid) -> pygit2.Oid:
        """Return the id itself where its object is here."""
        if oid not in self.objects:
            raise KeyError(oid)
        return oid

    def refresh_cb(self) -> None:
        """Do nothing: nobody else writes here."""


def write_pack(pending: Pending, folder: Path) -> None:
    """Write what is pending as a pack with its index into the `objects` folder of a repository.

    Without objects, nothing.
    """
    if not pending.objects:
        return
    # They cost start-up time, and most runs write nothing.
    from gitdb.base import OStream
    from gitdb.pack import PackEntity

    pack, index = io.BytesIO(), io.BytesIO()
    streams = (
        OStream(oid.raw, _KINDS[kind], len(data), io.BytesIO(data))
        for oid, (kind, data) in pending.objects.items()
    )
    # Unpacked: packing would take a third of the time of a long series, to save a megabyte of what
    # can be made again.
    checksum, _ = PackEntity.write_pack(
        streams,
        pack.write,
        index.write,
        object_count=len(pending.objects),
        zlib_compression=zlib.Z_NO_COMPRESSION,
    )
    # A pack is looked for by its index, so that comes last.
    for suffix, written in (("pack", pack), ("idx", index)):
        write_atomic(folder / "pack" / f"pack-{checksum.hex()}.{suffix}", written.getvalue())
