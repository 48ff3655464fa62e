"""Let one folder take the place of another, so that at every moment one of them is there."""

from __future__ import annotations

import ctypes
import errno
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_HERE = -100
"""AT_FDCWD of fcntl.h: paths that do not begin at the root begin at the current folder."""
_EXCHANGE = 2
"""RENAME_EXCHANGE of linux/fs.h."""
_NOT_POSSIBLE = frozenset({errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM})
"""How a kernel, a file system or a container says that it cannot exchange."""


def exchange(one: Path, other: Path) -> bool:
    """Exchange two folders in one step of the kernel.

    False where this kernel or file system cannot. Raises OSError.
    """
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    if rename(_HERE, os.fsencode(one), _HERE, os.fsencode(other), ctypes.c_uint(_EXCHANGE)) == 0:
        return True
    number = ctypes.get_errno()
    if number in _NOT_POSSIBLE:
        return False
    raise OSError(number, os.strerror(number), os.fspath(other))
