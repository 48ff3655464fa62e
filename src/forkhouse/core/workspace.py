"""Paths of a checkout, atomic writes, the lock against a second run, and the stages' journal."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from platformdirs import user_cache_path, user_config_path

from forkhouse.core.errors import BusyError, ForkhouseError, StorageError, UsageError
from forkhouse.core.progress import report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from io import BufferedReader

LOCK_FILE = "upstream.lock"
ABANDONED = 24 * 3600.0
"""Seconds without a change after which a temporary file counts as abandoned."""
# As `tempfile` names what is written beside its place: `.NAME.` and eight characters; and folders,
# `.new-` and eight.
_TEMPORARY = re.compile(r"\.(?:.+\.|new-)[a-z0-9_]{8}")
_OF_A_DOCUMENT = re.compile(
    r"\.(?:upstream\.lock|pylock\..+\.toml|series|.+\.patch|.+\.edit\.yaml)\.[a-z0-9_]{8}"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Workspace:
    """Where things are.

    The checkout (inputs, `build/`, `wheels/`) and the user's download cache.
    """

    root: Path
    cache: Path
    shared: Path | None = None
    """The user's chosen cache, where it is read-only.

    What it has is taken from there; what it lacks goes to `cache`.
    """

    @property
    def lock_path(self) -> Path:
        """The pins."""
        return self.root / LOCK_FILE

    @property
    def build(self) -> Path:
        """Work area; everything in it can be made again."""
        return self.root / "build"

    def wheelhouse(self, profile: str) -> Path:
        """Return the folder of a profile's finished wheelhouse."""
        return self.root / "wheels" / profile

    def closure_path(self, name: str) -> Path:
        """Return the PEP 751 file that pins the third-party wheels of a profile.

        The name `build` stands for the build environment.
        """
        return self.root / f"pylock.{name}.toml"


def find_workspace(start: Path) -> Workspace:
    """Return the workspace whose checkout holds `start`.

    The cache is FORKHOUSE_CACHE or the user's cache folder.

    Raises UsageError when no folder above `start` holds an `upstream.lock`.
    """
    for folder in (start, *start.parents):
        if (folder / LOCK_FILE).is_file():
            chosen = os.environ.get("FORKHOUSE_CACHE")
            # Not relative: builds and git work in other folders than this one.
            cache = (Path(chosen) if chosen else user_cache_path("forkhouse")).absolute()
            if _can_be_written(cache):
                return Workspace(root=folder, cache=cache)
            return Workspace(root=folder, cache=folder / "build" / "cache", shared=cache)
    message = (
        f"No {LOCK_FILE} in {start} or above it. Run this inside a Forkhouse checkout, or name one "
        "with --root DIR."
    )
    raise UsageError(message)


def _can_be_written(folder: Path) -> bool:
    """Return whether this process may write to a folder, or make it.

    True for anything that is not a folder: its use will fail with the real reason.
    """
    for place in (folder, *folder.parents):
        try:
            mode = place.lstat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            return error.errno != errno.EACCES
        return not stat.S_ISDIR(mode) or os.access(place, os.W_OK | os.X_OK)
    return False


def config_path() -> Path:
    """Return where the user's configuration is.

    FORKHOUSE_CONFIG, or `forkhouse/config.yaml` in the user's folder of settings.
    """
    chosen = os.environ.get("FORKHOUSE_CONFIG")
    return Path(chosen) if chosen else user_config_path("forkhouse") / "config.yaml"


_LET_WRITE = (
    "Let it be written to, or name another folder (FORKHOUSE_CACHE for downloads, --root for the "
    "checkout)"
)
_MAKE_ROOM = "Free some space (forkhouse keeps all its work in build/)"
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


def read_file(path: Path) -> bytes:
    """Return the content of a file.

    Raises OSError, also for what is not a regular file: reading a FIFO would never end.
    """
    with _opened(path) as stream:
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


def sha256_file(path: Path) -> str:
    """Return the sha256 of a file's content in hex.

    Raises OSError for what is not a regular file: reading a FIFO would never end.
    """
    with _opened(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def state_of(path: Path) -> str:
    """Return what identifies a file: the target of a link, or the content and the execute bit.

    An empty text for anything else.
    """
    if path.is_symlink():
        return f"link to {path.readlink()}"
    if not path.is_file():
        return ""
    return f"{sha256_file(path)} {'x' if os.access(path, os.X_OK) else '-'}"


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BufferedReader]:
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:  # noqa: PTH123  # of a descriptor
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is no file", os.fspath(path))
        yield stream


def digest(*parts: object) -> str:
    """Return one sha256 (hex) over values that JSON can hold.

    The cache key of a stage from its inputs.
    """
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def digest_folder(folder: Path) -> str:
    """Return one sha256 (hex) over the names and contents of all files below `folder`.

    Byte-code is left out.
    """
    files = sorted(
        path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    )
    return digest([[path.relative_to(folder).as_posix(), sha256_file(path)] for path in files])


@contextlib.contextmanager
def exclusive(workspace: Workspace, *, wait: float) -> Iterator[None]:
    """Hold the checkout for one run.

    Waits `wait` seconds for another run to end, then raises BusyError.
    """

    def busy(pid: str) -> str:
        return (
            f"Process {pid} is working in this checkout, and it did not end within {wait:g} s. "
            "Wait for it, "
            "or give --wait SECONDS to wait longer. Nothing was changed."
        )

    with locked(workspace.build / "lock", wait=wait, busy=busy):
        collect(workspace)
        yield


def collect(workspace: Workspace) -> None:
    """Remove half-written files of killed runs from the cache and from `build/`.

    Only those are removed that no living run can own: a file that is being written changes all the
    time, and no download may take half as long as `ABANDONED`.
    """
    now = time.time()
    cache, build = workspace.cache, workspace.build
    ours = [
        cache,
        cache / "files",
        cache / "crates",
        cache / "mirrors",
        build,
        build / "fresh",
        build / "store.git/objects/pack",
    ]
    ours += _entries(build / "journal")
    # Beside what people write only that goes which is surely a copy of something of ours.
    theirs = [workspace.root, *_entries(workspace.root / "patches")]
    for folders, pattern in ((ours, _TEMPORARY), (theirs, _OF_A_DOCUMENT)):
        for path in (path for folder in folders for path in _entries(folder)):
            if pattern.fullmatch(path.name):
                _take_away(path, now)


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:  # not there yet, or not ours: whoever needs it will say so
        return []


def _take_away(path: Path, now: float) -> None:
    with contextlib.suppress(OSError):  # another run may do the same at this moment
        # A time that is still to come is of a clock that was wrong.
        if abs(now - path.lstat().st_mtime) > ABANDONED:
            discard(path)


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


SEAL = "seal"
"""Key under which a record holds the digest of its other keys."""


def sealed(record: Mapping[str, object], *place: str) -> bytes:
    """Return a record as it is written, with the digest of all that it claims.

    `place` is what it is a record of: the same record in another place is not sealed.
    """
    whole = {**record, SEAL: digest(*place, record)}
    return json.dumps(whole, indent=1, sort_keys=True).encode() + b"\n"


def is_sealed(record: Mapping[str, object], *place: str) -> bool:
    """Return whether a record that was read is as it was written, and in its place."""
    claims = {key: value for key, value in record.items() if key != SEAL}
    return record.get(SEAL) == digest(*place, claims)


class Journal:
    """What each finished stage gave, by the stage's key.

    An entry is written after its outputs are whole.
    """

    def __init__(self, folder: Path) -> None:
        """Keep entries below `folder`."""
        self._folder = folder

    def _path(self, stage: str, key: str) -> Path:
        return self._folder / stage / f"{key}.json"

    def get(self, stage: str, key: str) -> Mapping[str, object] | None:
        """Return the recorded result of a stage, or None when it has not finished with this key.

        An entry that is not as it was written, by a broken disk or by somebody's hand, is none: the
        stage is done anew, which is said.
        """
        path = self._path(stage, key)
        try:
            record: object = json.loads(read_file(path))
        except FileNotFoundError:
            return None
        except PermissionError:
            with storage_errors("Reading the journal"):
                raise
        except (OSError, ValueError, RecursionError):
            record = None
        if isinstance(record, dict):
            if SEAL not in record:
                return None  # of a version that sealed nothing
            if is_sealed(record, stage, key):
                del record[SEAL]
                return record
        report().line(
            "journal",
            f"the entry {stage}/{path.name} is damaged, so what it stands for is done anew",
        )
        with storage_errors("Removing a damaged entry of the journal"):
            discard(path)
        return None

    def when(self, stage: str, key: str) -> float | None:
        """Return when a stage finished with this key, in seconds since 1970 UTC.

        None when it has not.
        """
        try:
            return self._path(stage, key).stat().st_mtime
        except OSError:
            return None

    def put(self, stage: str, key: str, record: Mapping[str, object]) -> None:
        """Record that a stage finished, with the digest of what is recorded."""
        write_atomic(self._path(stage, key), sealed(record, stage, key))
