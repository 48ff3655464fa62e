"""The object store.

A bare git repository in which every source, however it came, is a tree with a deterministic commit.
"""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import os
import posixpath
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pygit2
from pygit2.enums import FileMode

from forkhouse.core.errors import PatchConflictError, UnsafeArchiveError
from forkhouse.core.progress import report
from forkhouse.core.storage import storage_errors, write_atomic
from forkhouse.sources.packing import FIRST, Pending, write_pack
from forkhouse.sources.repositories import drop_old_leftovers, lay_out, remove_damaged, whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

AUTHOR = ("Forkhouse", "forkhouse@localhost")


@dataclass(frozen=True, kw_only=True, slots=True)
class TreeFile:
    """One file of a tree. A symbolic link's content is its target."""

    path: str
    content: bytes
    mode: FileMode


@dataclass(frozen=True, kw_only=True, slots=True)
class TreeEntry:
    """A stored file: its content by id, and its mode."""

    blob: str
    mode: FileMode


_NO_NAME = frozenset({errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL})
_LONGEST = 300
"""Characters of a name that a message shows."""
REGULAR = frozenset({FileMode.BLOB, FileMode.BLOB_EXECUTABLE})
"""Modes of files, which links and submodules are not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MatchedEntry:
    """An entry of a tree that a pattern meets.

    It is a file or a link that the pattern names, or a link or a submodule in which the named file
    would lie.
    """

    path: str
    mode: FileMode
    object: str
    """Id of the content; of a submodule, the commit that the tree pins."""
    rest: str
    """The rest of the pattern below this path; empty when the pattern names this very path."""

    @property
    def is_file(self) -> bool:
        """Whether this is a file, and one that was asked for."""
        return self.mode in REGULAR

    @property
    def is_link(self) -> bool:
        """Whether this is a symbolic link."""
        return self.mode == FileMode.LINK

    @property
    def is_submodule(self) -> bool:
        """Whether this is a submodule."""
        return self.mode == FileMode.COMMIT


@dataclass(frozen=True, kw_only=True, slots=True)
class Measures:
    """What a tree would have, laid out."""

    files: int
    size: int
    """Bytes of all files."""
    largest: int
    """Bytes of its largest file."""
    depth: int
    """Folders that are in one another."""


LONGEST_NAME, LONGEST_LINK = 255, 4095
"""Bytes of a file's name and of a link's target, on the file systems of Linux."""


def _check_name(file: TreeFile) -> None:
    """Raise ValueError for a file that git could keep but no folder could hold."""
    parts = file.path.split("/")
    if not all(parts):
        message = "a part of it is empty"
        raise ValueError(message)
    if max(len(os.fsencode(part)) for part in parts) > LONGEST_NAME:
        message = f"a part of it has more than {LONGEST_NAME} bytes"
        raise ValueError(message)
    if file.mode == FileMode.LINK and not (
        0 < len(file.content) <= LONGEST_LINK and b"\0" not in file.content
    ):
        message = f"it is a link to a name of {len(file.content)} bytes, to which none can lead"
        raise ValueError(message)


class ObjectStore:
    """Trees, blobs and commits, by id."""

    def __init__(self, folder: Path) -> None:
        """Open the store at `folder`, or make it."""
        lay_out(folder)
        self.repository = pygit2.Repository(str(folder))
        self.folder = folder
        self._settled = False
        self.borrowed: list[Path] = []
        """Repositories whose objects are read as well."""

    def settle(self) -> None:
        """Remove damaged objects from the store, once, before it is trusted.

        What is missing then is made or fetched again.
        """
        if self._settled:
            return
        self._settled = True
        with storage_errors("Putting the object store in order"):
            drop_old_leftovers(self.folder)
            damaged = remove_damaged(self.folder)
        if damaged:
            report().line(
                "store",
                (
                    f"{damaged} damaged objects were removed from {self.folder.name}; what lacks "
                    "is "
                    "made anew"
                ),
            )
            self.repository = pygit2.Repository(
                str(self.folder)
            )  # the old handle may remember them
            for repository in self.borrowed:
                self.repository.odb.add_disk_alternate(
                    pygit2.Repository(str(repository)).path + "objects"
                )

    def borrow(self, repository: Path) -> None:
        """Read the objects of another repository as if they were stored here.

        That ends with this store object.
        """
        objects = pygit2.Repository(str(repository)).path + "objects"
        self.repository.odb.add_disk_alternate(objects)
        self.borrowed.append(repository)

    @contextlib.contextmanager
    def gathering(self) -> Iterator[ObjectStore]:
        """Yield this store, and write all that the block stores as one pack at the end.

        Nothing is written when the block raises. For many small objects this is several times as
        fast as one file for each.
        """
        inside = ObjectStore(self.folder)
        for repository in self.borrowed:
            inside.borrow(repository)
        pending = Pending()
        inside.repository.odb.add_backend(pending, FIRST)
        yield inside
        with storage_errors("Writing to the object store"):
            write_pack(pending, self.folder / "objects")

    def has(self, object_id: str | None) -> bool:
        """Return whether an object is stored."""
        return object_id is not None and object_id in self.repository

    def holds(self, commit: str, tree: str, epoch: int | None = None) -> bool:
        """Return whether a commit of this tree is stored with everything that the tree holds.

        With `epoch`, the commit must also have that time (seconds since 1970 UTC).
        """
        self.settle()
        try:
            found = self.repository[commit].peel(pygit2.Commit)
        except (KeyError, ValueError, pygit2.GitError):
            return False
        return (
            str(found.tree_id) == tree
            and epoch in {None, found.commit_time}
            and whole(self.repository, commit)
        )

    def import_files(self, files: Iterable[TreeFile]) -> str:
        """Store files as a tree and return its id.

        Raises UnsafeArchiveError for a path that git itself would refuse.
        """
        index = pygit2.Index()
        paths: set[str] = set()
        with storage_errors("Writing to the object store"):
            for file in files:
                blob = self.repository.create_blob(file.content)
                try:
                    _check_name(file)
                    index.add(pygit2.IndexEntry(file.path, blob, file.mode))
                except (pygit2.GitError, ValueError) as error:
                    message = (
                        f"The path '{file.path}' is refused: {error}. Such a name is never in an "
                        "honest source."
                    )
                    raise UnsafeArchiveError(message) from None
                paths.add(file.path)
            if len(index) != len(paths):  # the index keeps the later one
                message = (
                    "A path is a file and a folder at once. Such a name is never in an honest "
                    "source."
                )
                raise UnsafeArchiveError(message)
            return str(index.write_tree(self.repository))

    def _tree(self, tree_id: str) -> pygit2.Tree:
        return self.repository[tree_id].peel(pygit2.Tree)

    def measure(self, tree_id: str) -> Measures:
        """Return what a tree would have, laid out. Each folder of it is read once.

        A tree may hold the same folder many times, and be many times as large as its repository.
        """
        known: dict[pygit2.Oid, Measures] = {}
        waiting = [self._tree(tree_id).id]
        while waiting:
            tree = self.repository[waiting[-1]].peel(pygit2.Tree)
            inner = [entry.id for entry in tree if entry.filemode == FileMode.TREE]
            unknown = [each for each in inner if each not in known]
            if unknown:
                waiting += unknown
                continue
            known[waiting.pop()] = self._measured(tree, known)
        return known[self._tree(tree_id).id]

    def _measured(self, tree: pygit2.Tree, known: Mapping[pygit2.Oid, Measures]) -> Measures:
        folders = [known[entry.id] for entry in tree if entry.filemode == FileMode.TREE]
        sizes = [
            self.repository.odb.read_header(entry.id)[1]
            for entry in tree
            if entry.filemode not in {FileMode.TREE, FileMode.COMMIT}
        ]
        return Measures(
            files=len(sizes) + sum(each.files for each in folders),
            size=sum(sizes) + sum(each.size for each in folders),
            largest=max([0, *sizes, *(each.largest for each in folders)]),
            depth=max((each.depth + 1 for each in folders), default=0),
        )

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

    def small_files(self, tree_id: str, *, below: int) -> Iterator[tuple[str, bytes]]:
        """Yield path and content of each file that has fewer bytes than `below`, in path order."""
        index = pygit2.Index()
        index.read_tree(self._tree(tree_id))
        for entry in index:
            blob = self.repository[entry.id] if entry.mode in REGULAR else None
            if isinstance(blob, pygit2.Blob) and blob.size < below:
                yield entry.path, blob.data

    def glob(self, tree_id: str, pattern: str) -> list[str]:
        """Return the files of a tree that a pattern matches, in order.

        `*` within one name, `**` over any number of folders.

        A symbolic link is none, and what a submodule holds is not in the tree: `found` tells of
        both.
        """
        return [found.path for found in self.found(tree_id, pattern) if found.is_file]

    def found(self, tree_id: str, pattern: str) -> list[MatchedEntry]:
        """Return all that a pattern (see `glob`) meets in a tree, in order.

        Files and links, and what may hide a file of that name.

        The latter are a link in the place of a folder, and a submodule at the place, above it, or
        where a `**` leads.
        """
        return sorted(
            set(_meet(self._tree(tree_id), pattern.split("/"), "")),
            key=lambda found: (found.path, found.rest),
        )

    def submodules(self, tree_id: str) -> dict[str, str]:
        """Return the submodules of a tree, whose content is not in it.

        Path to the commit that the tree pins.
        """
        index = pygit2.Index()
        index.read_tree(self._tree(tree_id))
        return {entry.path: str(entry.id) for entry in index if entry.mode == FileMode.COMMIT}

    def with_folders(self, tree_id: str, folders: Mapping[str, str]) -> str:
        """Return a tree with other trees laid in it, each in the place of what is at its path.

        A submodule, or nothing.

        Raises PatchConflictError where a file or a folder is there.
        """
        with storage_errors("Writing to the object store"):
            for path, folder in folders.items():
                tree_id = str(
                    self._with_folder(
                        self._tree(tree_id), path.split("/"), pygit2.Oid(hex=folder), path
                    )
                )
        return tree_id

    def _with_folder(
        self, tree: pygit2.Tree | None, parts: Sequence[str], folder: pygit2.Oid, path: str
    ) -> pygit2.Oid:
        builder = (
            self.repository.TreeBuilder() if tree is None else self.repository.TreeBuilder(tree)
        )
        name, *rest = parts
        there = tree[name] if tree is not None and name in tree else None
        if not (
            there is None or (isinstance(there, pygit2.Tree) if rest else _is_submodule(there))
        ):
            raise _clash(path)
        inner = (
            self._with_folder(there if isinstance(there, pygit2.Tree) else None, rest, folder, path)
            if rest
            else folder
        )
        _insert(builder, name, inner, FileMode.TREE)
        return builder.write()

    def subtree(self, tree_id: str, patterns: Iterable[str]) -> str:
        """Return a tree of those files alone that one of the patterns matches (see `glob`)."""
        paths = sorted(
            {
                found.path
                for pattern in patterns
                for found in self.found(tree_id, pattern)
                if not found.rest
            }
        )
        return self.with_entries(None, {path: self.entry(tree_id, path) for path in paths})

    def identity(self, tree_id: str, pattern: str) -> str:
        """Return an id that changes whenever a file that `pattern` can match does.

        That of the deepest folder that is sure to hold them.
        """
        fixed: list[str] = []
        for part in pattern.split("/"):
            if set(part) & set("*?["):
                break
            fixed.append(part)
        try:
            return str(self._tree(tree_id)["/".join(fixed)].id) if fixed else tree_id
        except KeyError:
            return ""

    def entry(self, tree_id: str, path: str) -> TreeEntry | None:
        """Return the file or the symbolic link at `path`, None when there is none."""
        try:
            found = self._tree(tree_id)[path]
        except KeyError:
            return None
        return (
            TreeEntry(blob=str(found.id), mode=FileMode(found.filemode))
            if isinstance(found, pygit2.Blob)
            else None
        )

    def is_there(self, tree_id: str, path: str) -> bool:
        """Say whether a file, a link, a folder or a submodule is at `path`."""
        return path in self._tree(tree_id)

    def with_entries(self, tree_id: str | None, entries: Mapping[str, TreeEntry | None]) -> str:
        """Return a tree with some files put in place, and those given as None removed.

        `tree_id` None stands for the empty tree. Only the folders on the way are written. Raises
        UnsafeArchiveError for a path that git itself would refuse, and PatchConflictError where a
        file would replace a folder, or a folder a file, that no entry removes.
        """
        changes = {tuple(path.split("/")): entry for path, entry in entries.items()}
        with storage_errors("Writing to the object store"):
            changed = self._with(None if tree_id is None else self._tree(tree_id), changes, "")
            return str(changed or self.repository.TreeBuilder().write())

    def _with(
        self,
        tree: pygit2.Tree | None,
        changes: Mapping[tuple[str, ...], TreeEntry | None],
        prefix: str,
    ) -> pygit2.Oid | None:
        builder = (
            self.repository.TreeBuilder() if tree is None else self.repository.TreeBuilder(tree)
        )
        files = {name: entry for (name, *rest), entry in changes.items() if not rest}
        folders: dict[str, dict[tuple[str, ...], TreeEntry | None]] = {}
        for (name, *rest), entry in changes.items():
            if rest:
                folders.setdefault(name, {})[tuple(rest)] = entry
        for name, inner in folders.items():
            old = tree[name] if tree is not None and name in tree else None
            folder = self._with(
                old if isinstance(old, pygit2.Tree) else None, inner, f"{prefix}{name}/"
            )
            if folder is not None:
                if _is_submodule(old):
                    raise _in_submodule(prefix + name)
                if isinstance(files.pop(name, old), TreeEntry | pygit2.Blob):
                    raise _clash(prefix + name)
                _insert(builder, name, folder, FileMode.TREE)
            elif isinstance(old, pygit2.Tree):
                builder.remove(name)
        for name, entry in files.items():
            there = builder.get(name)
            if entry is None:
                if isinstance(there, pygit2.Blob):
                    builder.remove(name)
            elif isinstance(there, pygit2.Tree):
                raise _clash(prefix + name)
            elif _is_submodule(there) and entry.mode != FileMode.COMMIT:
                raise _in_submodule(prefix + name)
            else:
                _insert(builder, name, pygit2.Oid(hex=entry.blob), entry.mode)
        return builder.write() if len(builder) else None

    def content(self, entry: TreeEntry) -> bytes:
        """Return the content of a stored file."""
        return self.raw(entry.blob)

    def raw(self, blob: str) -> bytes:
        """Return the content of an object by its id.

        Raises KeyError when it is not stored.
        """
        return bytes(self.repository.odb.read(blob)[1])

    def read(self, tree_id: str, path: str) -> bytes:
        """Return the content of one file. Raises KeyError when the tree has no such file."""
        blob = self._tree(tree_id)[path]
        if not isinstance(blob, pygit2.Blob):
            raise KeyError(path)
        return blob.data

    def commit(
        self, tree_id: str, *, message: str, epoch: int, parents: tuple[str, ...] = ()
    ) -> str:
        """Store a commit whose id depends on its arguments alone, and return that id.

        Bytes that are not UTF-8 may be in the message as Python's surrogates; they are written as
        they are.
        """
        signature = pygit2.Signature(*AUTHOR, epoch, 0)
        text = message.encode("utf-8", "surrogateescape")
        with storage_errors("Writing to the object store"):
            return str(
                self.repository.create_commit(
                    None,
                    signature,
                    signature,
                    text,
                    pygit2.Oid(hex=tree_id),
                    [pygit2.Oid(hex=parent) for parent in parents],
                )
            )

    def name(self, reference: str, commit: str) -> None:
        """Let `refs/forkhouse/<reference>` point at a commit, which keeps it and its tree."""
        with storage_errors("Writing to the object store"):
            # As a file, whole or not at all: a lock that a killed process left would stop git for
            # ever, and this run has the checkout.
            write_atomic(self.folder / "refs/forkhouse" / reference, f"{commit}\n".encode())

    def check_out(self, tree_id: str, folder: Path) -> None:
        """Write a tree's files below `folder`, with git's own modes.

        A submodule whose files are not in the tree is an empty folder, as git leaves it.

        Raises UnsafeArchiveError for a symbolic link that leads out of the tree, also by way of
        other links, and for a name or a link that no file system takes.
        """
        try:
            self._check_out(tree_id, folder)
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno not in _NO_NAME:
                raise
            why = error.strerror if isinstance(error, OSError) else error
            where = os.fsdecode(
                getattr(error, "filename2", None) or getattr(error, "filename", None) or "a link"
            )
            message = (
                f"A name or a link of the tree cannot be laid out: {why} ({where[:_LONGEST]}). The "
                "source is refused."
            )
            raise UnsafeArchiveError(message) from error

    def _check_out(self, tree_id: str, folder: Path) -> None:
        links: list[Path] = []
        with storage_errors("Laying out the source tree"):
            for file in self.files(tree_id):
                target = folder / file.path
                target.parent.mkdir(parents=True, exist_ok=True)
                if file.mode == FileMode.LINK:
                    aim = os.fsdecode(file.content)
                    if not aim:
                        message = "a link that leads nowhere"  # as the system refuses others
                        raise ValueError(message)
                    above = posixpath.dirname(file.path)
                    inside = posixpath.normpath(posixpath.join(above, aim))
                    if inside == ".." or inside.startswith(("/", "../")):
                        raise _leaves(file.path, aim)
                    target.symlink_to(aim)
                    links.append(target)
                    continue
                target.write_bytes(file.content)
                target.chmod(0o755 if file.mode == FileMode.BLOB_EXECUTABLE else 0o644)
            for path in self.submodules(tree_id):
                (folder / path).mkdir(parents=True, exist_ok=True)
        # What a link reaches by way of others is known once all are there. Nothing was written
        # through one: no path has a link inside.
        root = Path(os.path.realpath(folder))
        for link in links:
            if not Path(os.path.realpath(link)).is_relative_to(root):
                aim = str(link.readlink())
                link.unlink()
                raise _leaves(link.relative_to(folder).as_posix(), aim)


def _leaves(link: str, aim: str) -> UnsafeArchiveError:
    return UnsafeArchiveError(
        f"The link '{link}' points at '{aim}', outside its tree. The source is refused."
    )


def _clash(path: str) -> PatchConflictError:
    return PatchConflictError(
        f"'{path}' would be a file and a folder at once; nothing was written over."
    )


def _insert(builder: pygit2.TreeBuilder, name: str, object_id: pygit2.Oid, mode: FileMode) -> None:
    try:
        builder.insert(name, object_id, mode)
    except (pygit2.GitError, ValueError) as error:
        message = (
            f"The path component '{name}' is refused: {error}. Such a name is never in an honest "
            "source."
        )
        raise UnsafeArchiveError(message) from None


def _is_submodule(there: pygit2.Object | None) -> bool:
    return there is not None and there.filemode == FileMode.COMMIT


def _in_submodule(path: str) -> PatchConflictError:
    return PatchConflictError(
        f"'{path}' is a submodule, and what it holds is not in the tree; nothing was put in its "
        "place. Where the lock's git source says "
        "`submodules: true`, it is a folder like any other."
    )


def _meet(tree: pygit2.Tree, parts: Sequence[str], prefix: str) -> Iterator[MatchedEntry]:
    first, *rest = parts
    if first == "**":
        yield from _meet(tree, rest or ["*"], prefix)
        for entry in tree:
            if isinstance(entry, pygit2.Tree):
                yield from _meet(entry, parts, f"{prefix}{entry.name}/")
            elif _is_submodule(entry):
                yield _found(entry, prefix, parts)
        return
    if not set(first) & set("*?["):
        matching: list[pygit2.Object] = [tree[first]] if first in tree else []
    else:
        matching = [entry for entry in tree if fnmatch.fnmatchcase(str(entry.name), first)]
    for entry in matching:
        if isinstance(entry, pygit2.Tree):
            yield from _meet(entry, rest, f"{prefix}{entry.name}/") if rest else ()
        elif not rest or entry.filemode in {FileMode.LINK, FileMode.COMMIT}:
            yield _found(entry, prefix, rest)


def _found(entry: pygit2.Object, prefix: str, rest: Sequence[str]) -> MatchedEntry:
    return MatchedEntry(
        path=f"{prefix}{entry.name}",
        mode=FileMode(entry.filemode),
        object=str(entry.id),
        rest="/".join(rest),
    )


def file_mode(permissions: int) -> FileMode:
    """Return git's mode for a regular file with these permission bits."""
    return FileMode.BLOB_EXECUTABLE if permissions & stat.S_IXUSR else FileMode.BLOB
