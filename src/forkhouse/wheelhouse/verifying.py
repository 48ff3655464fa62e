"""Check a wheelhouse against its SHA256SUMS: every file, and that nothing else is there."""

from __future__ import annotations

import os
import stat
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from forkhouse.core.digests import sha256_file
from forkhouse.core.errors import ClosureError, HashMismatchError
from forkhouse.core.progress import report
from forkhouse.provenance.attestation import ENVELOPE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

CHECKSUMS = "SHA256SUMS"
SHOWN = 20
"""Entries of a wheelhouse that an error names."""
FILE, FOLDER = "a file", "a folder"
_KINDS = {
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def verify(folder: Path) -> int:
    """Check every file of a wheelhouse against its SHA256SUMS; return how many there are.

    Raises ClosureError when it is no wheelhouse, when a file is missing, or when anything is there
    that is not listed or no file; HashMismatchError when a file was changed.
    """
    expected = listed(folder)
    there = dict(entries(folder))
    # A signature is there later than what it is of, and has a check of its own.
    beside = {CHECKSUMS, ENVELOPE}
    files = {name for name, kind in there.items() if kind == FILE} - beside
    folders = {name for name, kind in there.items() if kind == FOLDER}
    odd = {name for name, kind in there.items() if kind not in {FILE, FOLDER}} - {CHECKSUMS}
    parents = {str(parent) for name in expected for parent in PurePosixPath(name).parents}
    problems = [f"{name} is {there[name]}" for name in odd | (folders & expected.keys())]
    problems += [
        f"the folder {name} does not belong there" for name in folders - parents - expected.keys()
    ]
    problems += [f"{name} is missing" for name in expected.keys() - there.keys()]
    problems += [f"{name} does not belong there" for name in files - expected.keys()]
    if problems:
        message = (
            f"The wheelhouse {folder.name} is not as {CHECKSUMS} says: "
            f"{_some(sorted(problems), '; ')}. Copy it again from where it was built."
        )
        raise ClosureError(message)
    changed = []
    with report().task("verify", total=len(expected)) as task:
        for name, sha256 in sorted(expected.items()):
            if sha256_file(folder / name) != sha256:
                changed.append(name)
            task.advance(1)
    if changed:
        raise _changed(folder, changed)
    return len(expected)


def verify_file(folder: Path, name: str) -> None:
    """Check one file of a wheelhouse against its SHA256SUMS.

    Raises ClosureError where there is none that lists it or it is missing, HashMismatchError when
    it was changed.
    """
    expected = listed(folder).get(name)
    path = folder / name
    if expected is None or path.is_symlink() or not path.is_file():
        where = "does not list" if expected is None else "lists and is without"
        message = (
            f"The wheelhouse {folder.name} {where} {name}. Copy it again from where it was built."
        )
        raise ClosureError(message)
    if sha256_file(path) != expected:
        raise _changed(folder, [name])


def _changed(folder: Path, names: Sequence[str]) -> HashMismatchError:
    verb = "was" if len(names) == 1 else "were"
    return HashMismatchError(
        f"{_some(names, ', ')} in the wheelhouse {folder.name} {verb} changed or damaged. Copy it "
        "again from where it was built."
    )


def _some(names: Sequence[str], between: str) -> str:
    """Return the first of what there is to say, each on one line, and how many more there are."""
    more = [f"and {len(names) - SHOWN} more"] if len(names) > SHOWN else []
    return between.join([*(name.replace("\n", "\\n") for name in names[:SHOWN]), *more])


def listed(folder: Path) -> dict[str, str]:
    """Return the sha256 of each file that a wheelhouse's SHA256SUMS lists, by path.

    Raises ClosureError when it is no wheelhouse.
    """
    sums = folder / CHECKSUMS
    if sums.is_symlink() or not sums.is_file():
        aside = folder.with_name(f".{folder.name}.old")
        cut = (
            " A run was cut off while it put a new one in its place; the old one is in "
            f"{aside.name}, and"
            if aside.is_dir()
            else ""
        )
        message = (
            f"{folder} is no wheelhouse: it has no {CHECKSUMS}.{cut} `nox -s build-wheels` makes "
            "one."
        )
        raise ClosureError(message)
    lines = sums.read_text(encoding="utf-8", errors="replace").splitlines()
    listed = [(name, sha256) for sha256, _, name in (line.partition("  ") for line in lines)]
    expected = dict(listed)
    if len(expected) != len(listed):
        message = (
            f"The {CHECKSUMS} of the wheelhouse {folder.name} lists a file twice. Copy it again "
            "from where it was built."
        )
        raise ClosureError(message)
    return expected


def entries(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the path and the kind of all that is below a folder, in words, and follow no link."""
    waiting = [""]
    while waiting:
        prefix = waiting.pop()
        with os.scandir(folder / prefix) as found:
            for entry in found:
                mode = stat.S_IFMT(entry.stat(follow_symlinks=False).st_mode)
                name = f"{prefix}{entry.name}"
                if mode == stat.S_IFDIR:
                    waiting.append(f"{name}/")
                    yield name, FOLDER
                else:
                    yield name, FILE if mode == stat.S_IFREG else _KINDS.get(mode, "no file")
