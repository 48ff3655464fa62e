"""Write the difference of two trees as a diff of git."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pygit2
from pygit2.enums import DiffOption

if TYPE_CHECKING:
    from forkhouse.sources.store import ObjectStore


def rendered(before: str, after: str, store: ObjectStore) -> bytes:
    """Return the diff between two trees, with the bytes of each file unchanged.

    Binary files are contained whole.
    """
    diff = store.repository.diff(
        pygit2.Oid(hex=before), pygit2.Oid(hex=after), flags=DiffOption.SHOW_BINARY
    )
    return b"".join(_text(part) for part in diff if part is not None)


def _text(part: pygit2.Patch) -> bytes:
    # Of a binary file that changes its mode alone libgit2 says that it differs, which nobody could
    # apply.
    same = part.delta.is_binary and part.delta.old_file.id == part.delta.new_file.id
    return part.data.rpartition(b"Binary files ")[0] if same else part.data
