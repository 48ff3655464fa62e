"""Where things are in a checkout, and the hold that a run has on it."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from forkhouse.core.errors import UsageError
from forkhouse.core.homes import user_cache, user_settings
from forkhouse.core.storage import discard, locked

if TYPE_CHECKING:
    from collections.abc import Iterator

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

    Raises UsageError when no folder above `start` holds an `upstream.lock`, and for a user without
    a home who names no cache.
    """
    for folder in (start, *start.parents):
        if (folder / LOCK_FILE).is_file():
            chosen = os.environ.get("FORKHOUSE_CACHE")
            # Not relative: builds and git work in other folders than this one.
            place = Path(chosen) if chosen else user_cache("name a cache (FORKHOUSE_CACHE)")
            cache = place.absolute()
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

    FORKHOUSE_CONFIG, or `forkhouse/config.yaml` in the user's folder of settings. Raises UsageError
    for a user without a home.
    """
    chosen = os.environ.get("FORKHOUSE_CONFIG")
    if chosen:
        return Path(chosen)
    return user_settings("name a configuration (FORKHOUSE_CONFIG)") / "config.yaml"


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
        build / "byproducts",
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
