"""Repair the bare repositories that only we use: the cache's mirrors and the object store.

Killed processes and failing disks damage them. git itself repairs nothing: a lock file that a
killed process left stops it for ever, and so does a reference or an object that a power cut
emptied. While a lock of ours is held (see `held`), git's lock files and temporary files have no
living owner. Everything here can be fetched or made again. So damaged objects are removed, and the
references to them as well.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import pygit2
from pygit2.enums import ConfigLevel, FileMode

from forkhouse.core.errors import BusyError
from forkhouse.core.progress import report
from forkhouse.core.storage import discard, locked, storage_errors, write_atomic
from forkhouse.sources.gitcommand import HERE, GitError, run_git

if TYPE_CHECKING:
    from collections.abc import Iterator

WAIT = 1800.0
"""Seconds to wait for another process that fetches into the same repository."""
DAY = 86_400.0
"""Age in seconds above which a temporary file has no living owner."""

_HEAD = b"ref: refs/heads/main\n"
_CONFIG = b"[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n"
_ID = re.compile(rb"[0-9a-f]{40}")
_PACKED = re.compile(rb"#.*|\^[0-9a-f]{40}|[0-9a-f]{40} refs/\S+")
_HASH = 20
"""Bytes of an object's id, with which packs and their indexes end."""
_PIECE = 1 << 20
_DERIVED = ("*.rev", "*.bitmap", "multi-pack-index*", "*.keep", "*.promisor", "*.mtimes")
"""What git writes beside packs and can do without."""


def _do_without_settings_of_others() -> None:
    """Keep libgit2 from settings in a home that this process may not read: it would fail.

    Such a home is that of another user who started this process. git itself passes over it.
    """
    for level in (ConfigLevel.GLOBAL, ConfigLevel.XDG):
        for folder in filter(None, pygit2.settings.search_path[level].split(os.pathsep)):
            try:
                Path(folder, "config").stat()
            except PermissionError:
                pygit2.settings.search_path[level] = ""
            except OSError:
                pass


_do_without_settings_of_others()


@contextlib.contextmanager
def held(folder: Path, lock: Path) -> Iterator[int]:
    """Hold a repository for this process, free of what others left in it.

    Yields the descriptor of the lock, for git to inherit.

    So the lock is held for as long as a git runs that this process began, though this process be
    killed. Raises BusyError.
    """

    def busy(pid: str) -> str:
        return (
            f"Process {pid}, or a git that it began, is working in {folder}. Wait until it has "
            "ended, and run the same command again."
        )

    with contextlib.ExitStack() as stack:
        try:
            descriptor = stack.enter_context(locked(lock, wait=0, busy=busy))
        except BusyError:
            report().line("git", f"waiting for another process that works in {folder.name}")
            descriptor = stack.enter_context(locked(lock, wait=WAIT, busy=busy))
        with storage_errors("Putting a git repository in order"):
            _sweep(folder)
        yield descriptor


def lay_out(folder: Path) -> None:
    """Make a folder a bare repository.

    Adds what every repository has, and corrects the files that differ from what we write.
    """
    with storage_errors("Making a git repository"):
        if folder.exists() and not folder.is_dir():
            folder.unlink()
        for name in ("objects/pack", "objects/info", "refs/heads"):
            place = folder / name
            for each in (place.parent, place):
                if each.is_symlink() or (each.exists() and not each.is_dir()):
                    each.unlink()
            place.mkdir(parents=True, exist_ok=True)
        for name, content in (("HEAD", _HEAD), ("config", _CONFIG)):
            if _content(folder / name) != content:
                discard(folder / name)
                write_atomic(folder / name, content)
        discard(folder / "info/grafts")
        for name, line in (("shallow", _ID), ("packed-refs", _PACKED)):
            # Where a line of them is none, neither git nor libgit2 opens the repository.
            if (
                not all(line.fullmatch(each) for each in _content(folder / name).splitlines())
                or not (folder / name).is_file()
            ):
                discard(folder / name)


def put_right(folder: Path) -> int:
    """Repair a repository, and return how many of its objects were damaged.

    Removes damaged objects, and references to objects that do not exist. Every object file and
    every pack is read. Nothing that is whole is lost.
    """
    with storage_errors("Putting a git repository in order"):
        lay_out(folder)
        damaged = remove_damaged(folder)
        put_references_right(folder)
    return damaged


def whole(repository: pygit2.Repository, commit: str) -> bool:
    """Say whether a repository has a commit, and all that its tree holds.

    What is there is taken for sound: see `put_right`.
    """
    try:
        trees = [repository[commit].peel(pygit2.Commit).tree_id]
        seen = set(trees)
        while trees:
            for entry in repository[trees.pop()].peel(pygit2.Tree):
                if entry.filemode == FileMode.TREE:
                    if entry.id not in seen:
                        seen.add(entry.id)
                        trees.append(entry.id)
                elif entry.filemode != FileMode.COMMIT and entry.id not in repository.odb:
                    return False
    except (KeyError, ValueError, pygit2.GitError):
        return False
    return True


def _content(path: Path) -> bytes:
    """Return the content of a file.

    Empty when there is no file, or none that can be read to its end.
    """
    return path.read_bytes() if path.is_file() and not path.is_symlink() else b""


def _sweep(folder: Path) -> None:
    """Remove the lock files and the temporary files of dead processes."""
    for path in [
        *folder.glob("*.lock"),
        *folder.glob("refs/**/*.lock"),
        *folder.glob("objects/**/*.lock"),
        *_temporary(folder),
    ]:
        discard(path)


def _temporary(folder: Path) -> Iterator[Path]:
    yield from folder.glob("shallow_*")
    yield from folder.glob(".*.????????")  # of `write_atomic`
    for pattern in (
        "tmp_*",
        "incoming-*",
        "pack/tmp_*",
        "pack/.tmp-*",
        "pack/.pack-*",
        "pack/pack_git2_*",
        "??/tmp_obj_*",
    ):
        yield from (folder / "objects").glob(pattern)


def drop_old_leftovers(folder: Path) -> None:
    """Remove temporary files that are a day old, or whose time lies a day in the future.

    No living process writes to them.
    """
    for path in _temporary(folder):
        with contextlib.suppress(FileNotFoundError):
            if abs(time.time() - path.lstat().st_mtime) > DAY:
                discard(path)


def remove_damaged(folder: Path) -> int:
    """Remove the damaged objects and packs of a repository, and return their number.

    Damaged is what does not match its name or its checksum.
    """
    objects = folder / "objects"
    damaged = [
        path
        for folder in objects.glob("[0-9a-f][0-9a-f]")
        for path in folder.iterdir()
        if not _is_object(path)
    ]
    for index in (objects / "pack").glob("pack-*.idx"):
        pack = index.with_suffix(".pack")
        if not _is_summed(pack):
            damaged += [index, pack]
        elif (
            not _is_summed(index)
            or index.read_bytes()[-2 * _HASH : -_HASH] != pack.read_bytes()[-_HASH:]
        ):
            damaged.append(index)
            _index_anew(pack, index)
    found = 0
    for path in damaged:
        if path.suffix == ".idx" and _is_summed(path) and _is_summed(path.with_suffix(".pack")):
            found += 1  # it was made anew
        elif path.exists() or path.is_symlink():
            found += 1
            discard(path)
    _remove_derived(objects, everything=found > 0)
    return found


def _remove_derived(objects: Path, *, everything: bool) -> None:
    """Remove the file that names other object folders, of which we use none.

    With `everything`, as after damage, remove also all that git can derive anew.
    """
    discard(objects / "info/alternates")
    if not everything:
        return
    for pattern in _DERIVED:
        for path in (objects / "pack").glob(pattern):
            discard(path)
    for path in (objects / "info").glob("commit-graph*"):
        discard(path)


def _is_object(path: Path) -> bool:
    """Return whether a file contains the object that its name says.

    libgit2 is not asked, because it never returns from a truncated file.
    """
    if path.name.startswith("tmp_obj_"):
        return True  # somebody may be writing it
    if path.is_symlink() or not path.is_file():
        return False
    inflater, seen = zlib.decompressobj(), hashlib.sha1(usedforsecurity=False)
    try:
        with path.open("rb") as stream:
            while piece := stream.read(_PIECE):
                while piece:
                    seen.update(inflater.decompress(piece, _PIECE))
                    piece = inflater.unconsumed_tail
            seen.update(inflater.flush())
    except FileNotFoundError:
        return True  # removed beside us
    except zlib.error:
        return False
    return (
        inflater.eof
        and not inflater.unused_data
        and seen.hexdigest() == path.parent.name + path.name
    )


def _is_summed(path: Path) -> bool:
    """Return whether a file ends with the checksum of what precedes it."""
    if path.is_symlink() or not path.is_file():
        return False
    left = path.stat().st_size - _HASH
    seen = hashlib.sha1(usedforsecurity=False)
    with path.open("rb") as stream:
        while left > 0 and (piece := stream.read(min(left, _PIECE))):
            seen.update(piece)
            left -= len(piece)
        return left == 0 and stream.read() == seen.digest()


def _index_anew(pack: Path, index: Path) -> None:
    """Make the index of a pack that is whole.

    Where that fails the pack is useless, and is removed.
    """
    discard(index)
    for derived in pack.parent.glob(f"{pack.stem}.*"):
        if derived != pack:
            discard(derived)
    try:
        run_git(pack.parents[2], *HERE, "index-pack", str(pack.resolve()))
    except GitError:
        discard(pack)


def put_references_right(folder: Path) -> None:
    """Remove references to what is not whole, and note which commits came without their parents."""
    for path in sorted((folder / "refs").rglob("*")):
        if (path.is_symlink() or not path.is_dir()) and not _ID.fullmatch(
            _content(path).removesuffix(b"\n")
        ):
            discard(path)
    repository = pygit2.Repository(str(folder))
    without_parents = set()
    for name in list(repository.references):
        target = str(repository.references[name].target)
        if not whole(repository, target):
            repository.references.delete(name)
            continue
        without_parents |= _cut(repository, target)
    text = "".join(f"{commit}\n" for commit in sorted(without_parents)).encode()
    if _content(folder / "shallow") != text:
        discard(folder / "shallow")
        if text:
            write_atomic(folder / "shallow", text)


def _cut(repository: pygit2.Repository, commit: str) -> set[str]:
    """Return the commits at or before one whose parents are not there."""
    first = repository[commit].peel(pygit2.Commit).id
    found, waiting, seen = set(), [first], {first}
    while waiting:
        each = waiting.pop()
        # As it is written: libgit2 hides the parents of what is noted as without them.
        header = bytes(repository.odb.read(each)[1]).partition(b"\n\n")[0]
        for parent in (
            pygit2.Oid(hex=line[7:].decode())
            for line in header.split(b"\n")
            if line.startswith(b"parent ")
        ):
            if parent not in repository.odb:
                found.add(str(each))
            elif parent not in seen:
                seen.add(parent)
                waiting.append(parent)
    return found
