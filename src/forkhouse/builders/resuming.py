"""Resume the work folder of an interrupted build where that is proven safe, else begin anew.

Proven means: no process of the earlier build is alive; the build's inputs are the same; this
machine has not been restarted since; every file that was laid out is unchanged; and the build
system itself knows of each object whether it is whole. A restart matters because a file that was
not made durable may be empty after a power cut, and its time and size do not show it.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING

from forkhouse.core.digests import state_of
from forkhouse.core.storage import discard, read_file, storage_errors, write_atomic
from forkhouse.sandbox.lives import boot, end_earlier

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def _note(work: Path) -> Path:
    """Return the path of the note on what was laid out in a work folder.

    It lies beside the folder, where no build can write.
    """
    return work.with_name(f"{work.name}.laid")


@contextlib.contextmanager
def work_folder(folder: Path, key: str, *, resumes: bool) -> Iterator[Path]:
    """Yield the work folder at `folder`: resumed where that is proven safe, else empty.

    An interrupted build can be resumed by one with the same `key`. `resumes` says that the build
    system proves its objects. The folder is removed when the block succeeds. Raises StorageError,
    and BuildError when an earlier build in the folder does not end.
    """
    end_earlier(folder)
    with storage_errors(f"Making {folder.name}"):
        if not (resumes and _as_laid_out(folder, key)):
            _note(folder).unlink(missing_ok=True)
            discard(folder)
        folder.mkdir(parents=True, exist_ok=True)
    yield folder
    with storage_errors(f"Removing {folder.name}"):
        _note(folder).unlink(missing_ok=True)
        discard(folder)


def is_laid_out(work: Path) -> bool:
    """Return whether a note says that all inputs of a build lie in its work folder."""
    return _note(work).is_file()


def note_laid_out(work: Path, key: str) -> None:
    """Note that all inputs of a build lie in its work folder, and what they are.

    Raises StorageError.
    """
    content = {"key": key, "boot": boot(), "files": dict(_files(work))}
    write_atomic(_note(work), json.dumps(content).encode())


def _as_laid_out(work: Path, key: str) -> bool:
    try:
        noted = json.loads(read_file(_note(work)))
        if (noted["key"], noted["boot"]) != (key, boot()):
            return False
        return all(state_of(work / path) == state for path, state in noted["files"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _files(work: Path) -> Iterator[tuple[str, str]]:
    for folder, folders, files in os.walk(work):
        for name in (*folders, *files):
            path = os.path.join(folder, name)
            if os.path.islink(path) or name in files:
                yield os.path.relpath(path, work), state_of(work / os.path.relpath(path, work))
