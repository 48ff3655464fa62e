"""Where a user's own folders are, for users who have a home and for those who have none."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from platformdirs import user_cache_path, user_config_path, user_state_path

from forkhouse.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable


def user_cache(instead: str) -> Path:
    """Return the user's folder of caches. `instead` says what spares it. Raises UsageError."""
    return _found(lambda: user_cache_path("forkhouse"), instead)


def user_settings(instead: str) -> Path:
    """Return the user's folder of settings. `instead` says what spares it. Raises UsageError."""
    return _found(lambda: user_config_path("forkhouse"), instead)


def user_state(instead: str) -> Path:
    """Return the user's folder of states. `instead` says what spares it. Raises UsageError."""
    return _found(lambda: user_state_path("forkhouse"), instead)


def in_home(path: str, instead: str) -> Path:
    """Return a path below the user's home. `instead` says what spares it. Raises UsageError."""
    return _found(lambda: Path("~", path).expanduser(), instead)


def _found(find: Callable[[], Path], instead: str) -> Path:
    try:
        return find()
    except RuntimeError as error:
        # As in a container that runs as any number: neither Python nor platformdirs can tell.
        message = (
            f"The user {os.geteuid()} has no home: HOME is not set, and the system has no entry of "
            f"such a user. Set HOME to a folder that may be written, or {instead}."
        )
        raise UsageError(message) from error
