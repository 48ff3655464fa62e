"""Writing, reading and locking files, so that a crash or a full disk leaves what was."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from forkhouse.core.errors import BusyError, ForkhouseError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from io import BufferedReader


_LET_WRITE = (
    "Let it be written to, or name another folder (FORKHOUSE_CACHE for downloads, --root for the "
    "checkout)"
)
_MAKE_ROOM = "Free some space there"
_MOVE_AWAY = "Look at what lies at that path and move it away"
_FEWER_OPEN = "Raise the limit of open files (ulimit -n)"
_LOOK_AT_DISK = "Look at the disk or the mount (the kernel's log tells more)"
_REMEDIES = {
    errno.ENOSPC: _MAKE_ROOM,
    errno.EDQUOT: _MAKE_ROOM,
    errno.EFBIG: "Raise the limit of a file's size (ulimit -f), or take a file system that has no "
    "such limit",
    errno.EROFS: _LET_WRITE,
    errno.EACCES: _LET_WRITE,
    errno.EPERM: _LET_WRITE,
    errno.ENOTDIR: _MOVE_AWAY,
    errno.EISDIR: _MOVE_AWAY,
    errno.EEXIST: _MOVE_AWAY,
    errno.ENOTEMPTY: _MOVE_AWAY,
    errno.ELOOP: _MOVE_AWAY,
    errno.EBUSY: "Something is mounted there, or used by the system: unmount it, or name another "
    "folder",
    errno.ENAMETOOLONG: "Choose a shorter path for the checkout (--root) or the cache "
    "(FORKHOUSE_CACHE)",
    errno.EMFILE: _FEWER_OPEN,
    errno.ENFILE: _FEWER_OPEN,
    errno.EIO: _LOOK_AT_DISK,
    errno.ENODEV: _LOOK_AT_DISK,
    errno.ESTALE: _LOOK_AT_DISK,
    errno.ENOLCK: _LOOK_AT_DISK,
}
"""What to do next, by the error number with which the system refuses to write."""
# git and libgit2 hand on the text of an error, not its number; the words of the others may mean
# other things there.
_BY_TEXT = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EMFILE, errno.ENFILE)
_LONGEST_SHOWN = 300


def _refusal(error: Exception) -> int | None:
    """Return the error number of a refused write; None for every other error."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno if error.errno in _REMEDIES else None
    if isinstance(
        error, shutil.Error
    ):  # of a copied folder: a list of what failed, each with the text of its reason
        return next((no for no in _REMEDIES if os.strerror(no) in str(error)), None)
    return next((no for no in _BY_TEXT if os.strerror(no) in str(error)), None)


FULL = (errno.ENOSPC, errno.EDQUOT)
"""The error numbers of a full disk."""


def told_refusal(text: str, numbers: Iterable[int]) -> str | None:
    """Return what to do when a program's output tells of one of some refusals of the system.

    None when it tells of none of them.
    """
    told = next((number for number in numbers if os.strerror(number) in text), None)
    return None if told is None else _REMEDIES[told]


@contextlib.contextmanager
def storage_errors(doing: str) -> Iterator[None]:
    """Turn a refusal by the system into a StorageError that says what was being done.

    The error also says what to do. `_REMEDIES` lists the refusals; other errors pass unchanged.
    """
    try:
        yield
    except ForkhouseError:
        raise
    except Exception as error:
        refusal = _refusal(error)
        if refusal is None:
            raise
        message = (
            f"{doing}: {os.strerror(refusal)} ({_named(error)}). "
            f"The wheelhouse is as it was. {_REMEDIES[refusal]} and run the same command again."
        )
        raise StorageError(message) from error


def _named(error: Exception) -> str:
    """Return the path that an error names, shortened where it is too long."""
    name = getattr(error, "filename", None)
    if not name:
        return "no file named"
    text = os.fsdecode(name) if isinstance(name, str | bytes) else str(name)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


@contextlib.contextmanager
def open_file(path: Path) -> Iterator[BufferedReader]:
    """Open a file to read its bytes.

    Raises OSError, also for what is not a regular file: reading a FIFO would never end.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as stream:  # noqa: PTH123  # pathlib opens no descriptors
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is no file", os.fspath(path))
        yield stream


def read_file(path: Path) -> bytes:
    """Return the content of a file.

    Raises OSError, also for what is not a regular file: reading a FIFO would never end.
    """
    with open_file(path) as stream:
        return stream.read()


def discard(path: Path) -> None:
    """Remove what is at `path`, whatever it is; a link alone, not what it leads to.

    Raises OSError where it cannot be removed.
    """
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return
    try:
        shutil.rmtree(path)
    except (OSError, RecursionError):
        # A build leaves what it likes: folders that nobody may change, or thousands of them in one
        # another.
        _discard_flat(path)


def _discard_flat(top: Path) -> None:
    """Remove a folder, first of all the walls in it: modes, and a depth that no path reaches.

    Each folder is moved up to `top` before it is looked into, so no path is long. Nobody else may
    be writing there.
    """
    top.chmod(stat.S_IRWXU)
    aside = secrets.token_hex(8)
    waiting = [top]
    count = 0
    while waiting:
        folder = waiting.pop()
        with os.scandir(folder) as found:
            entries = list(found)
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                Path(entry.path).unlink()
                continue
            inner = Path(entry.path)
            inner.chmod(stat.S_IRWXU)
            count += 1
            waiting.append(inner.rename(top / f"{aside}-{count}"))
        if folder != top:
            folder.rmdir()
    top.rmdir()


def write_atomic(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically: a reader sees the old file or the whole new one.

    That holds after a crash, too.
    """
    with storage_errors(f"Writing {path.name}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.chmod(0o644)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked(path: Path, *, wait: float, busy: Callable[[str], str]) -> Iterator[int]:
    """Hold the lock file at `path`, and yield its descriptor.

    The number of this process is written beside it. A child that inherits the descriptor holds the
    lock as long as the child lives, even when this process is killed.

    Waits `wait` seconds for another process to release the lock, then raises BusyError with what
    `busy` says of that process's number.
    """
    from filelock import FileLock, Timeout  # start-up time

    with storage_errors(f"Making {path.parent.name}/"):
        path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=wait)
    holder = path.with_suffix(".pid")
    try:
        with storage_errors("Taking the lock"):
            lock.acquire()
    except Timeout:
        pid = "unknown"
        with contextlib.suppress(OSError, UnicodeDecodeError):
            pid = read_file(holder).decode().strip()
        raise BusyError(busy(pid)) from None
    try:
        with storage_errors("Taking the lock"):
            discard(holder)  # a FIFO would be waited for
            holder.write_text(f"{os.getpid()}\n", encoding="utf-8")
        descriptor = lock._context.lock_file_fd  # noqa: SLF001  # filelock has no other name for it
        assert descriptor is not None  # it is held
        yield descriptor
    finally:
        lock.release()


@contextlib.contextmanager
def locked_scratch(folder: Path) -> Iterator[Path]:
    """Give an empty folder that no other run uses meanwhile, and remove it when the block ends.

    What a killed run left there is removed first. Raises BusyError, StorageError.
    """
    with storage_errors(f"Making {folder.name}"):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            message = f"Another run works in {folder}. Wait until it has ended, and run this again."
            raise BusyError(message) from error
        with storage_errors(f"Emptying {folder.name}"):
            for path in folder.iterdir():
                discard(path)
        try:
            yield folder
        finally:
            with storage_errors(f"Removing {folder.name}"):
                discard(folder)
    finally:
        os.close(held)


@contextlib.contextmanager
def fresh_folder(folder: Path) -> Iterator[Path]:
    """Give an empty work folder at `folder`, removed again when the block ends well.

    After a failure it is kept to look at.
    """
    with storage_errors(f"Making {folder.name}"):
        discard(folder)
        folder.mkdir(parents=True)
    yield folder
    with storage_errors(f"Removing {folder.name}"):
        discard(folder)
