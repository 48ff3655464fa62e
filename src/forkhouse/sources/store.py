"""The object store: a bare git repository in which every source, however it came, is a tree with a deterministic commit."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pygit2
from pygit2.enums import FileMode

from forkhouse.errors import UnsafeArchiveError
from forkhouse.workspace import storage_errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

AUTHOR = ("Forkhouse", "forkhouse@localhost")


@dataclass(frozen=True, kw_only=True, slots=True)
class TreeFile:
    """One file of a tree. A symbolic link's content is its target."""

    path: str
    content: bytes
    mode: FileMode


class ObjectStore:
    """Trees, blobs and commits, by id."""

    def __init__(self, folder: Path) -> None:
        """Open the store at `folder`, or make it."""
        with storage_errors("Making the object store"):
            self.repository = pygit2.init_repository(folder, bare=True)
        self.folder = folder

    def has(self, object_id: str | None) -> bool:
        """Return whether an object is stored."""
        return object_id is not None and object_id in self.repository

    def import_files(self, files: Iterable[TreeFile]) -> str:
        """Store files as a tree and return its id. Raises UnsafeArchiveError for a path that git itself would refuse."""
        index = pygit2.Index()
        with storage_errors("Writing to the object store"):
            for file in files:
                blob = self.repository.create_blob(file.content)
                try:
                    if file.path.startswith("/"):
                        raise ValueError("it is absolute")  # noqa: EM101, TRY003, TRY301  # joins git's own refusals below
                    index.add(pygit2.IndexEntry(file.path, blob, file.mode))
                except (pygit2.GitError, ValueError) as error:
                    message = f"The path '{file.path}' is refused: {error}. Such a name is never in an honest source."
                    raise UnsafeArchiveError(message) from None
            return str(index.write_tree(self.repository))

    def _tree(self, tree_id: str) -> pygit2.Tree:
        return self.repository[tree_id].peel(pygit2.Tree)

    def files(self, tree_id: str) -> Iterator[TreeFile]:
        """Yield every file of a tree in path order."""
        yield from self._walk(self._tree(tree_id), "")

    def _walk(self, tree: pygit2.Tree, prefix: str) -> Iterator[TreeFile]:
        for entry in tree:
            path = f"{prefix}{entry.name}"
            if isinstance(entry, pygit2.Tree):
                yield from self._walk(entry, f"{path}/")
            elif isinstance(entry, pygit2.Blob):
                yield TreeFile(path=path, content=entry.data, mode=FileMode(entry.filemode))

    def paths(self, tree_id: str) -> list[str]:
        """Return every path of a tree without reading contents."""
        index = pygit2.Index()
        index.read_tree(self._tree(tree_id))
        return [entry.path for entry in index]

    def read(self, tree_id: str, path: str) -> bytes:
        """Return the content of one file. Raises KeyError when the tree has no such file."""
        blob = self._tree(tree_id)[path]
        if not isinstance(blob, pygit2.Blob):
            raise KeyError(path)
        return blob.data

    def commit(self, tree_id: str, *, message: str, epoch: int, parents: tuple[str, ...] = ()) -> str:
        """Store a commit whose id depends on its arguments alone, and return that id."""
        signature = pygit2.Signature(*AUTHOR, epoch, 0)
        with storage_errors("Writing to the object store"):
            return str(
                self.repository.create_commit(
                    None, signature, signature, message, pygit2.Oid(hex=tree_id), [pygit2.Oid(hex=parent) for parent in parents]
                )
            )

    def name(self, reference: str, commit: str) -> None:
        """Let `refs/forkhouse/<reference>` point at a commit, which keeps it and its tree."""
        with storage_errors("Writing to the object store"):
            self.repository.create_reference(f"refs/forkhouse/{reference}", pygit2.Oid(hex=commit), force=True)

    def check_out(self, tree_id: str, folder: Path) -> None:
        """Write a tree's files below `folder`, with git's own modes.

        Raises UnsafeArchiveError for a symbolic link whose target is outside the tree.
        """
        with storage_errors("Laying out the source tree"):
            for file in self.files(tree_id):
                target = folder / file.path
                target.parent.mkdir(parents=True, exist_ok=True)
                if file.mode == FileMode.LINK:
                    inside = os.path.normpath(os.path.join(os.path.dirname(file.path), file.content.decode()))  # noqa: PTH118, PTH120
                    if inside.startswith(("/", "..")):
                        message = f"The link '{file.path}' points at '{file.content.decode()}', outside its tree. The source is refused."
                        raise UnsafeArchiveError(message)
                    target.symlink_to(file.content.decode())
                    continue
                target.write_bytes(file.content)
                target.chmod(0o755 if file.mode == FileMode.BLOB_EXECUTABLE else 0o644)


def file_mode(permissions: int) -> FileMode:
    """Return git's mode for a regular file with these permission bits."""
    return FileMode.BLOB_EXECUTABLE if permissions & stat.S_IXUSR else FileMode.BLOB
