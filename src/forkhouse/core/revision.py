"""From which commit this code is.

Read from the files of git, without git: `--version` answers before git would have started. And by
the hook of the build, which has nothing but Python: so this module imports nothing else.
"""

from __future__ import annotations

import re
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
NAME = "COMMIT"
"""A file of the package in what was built from a checkout."""
_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_LINKS = 5
"""References that lead to one another; git follows as many."""
_SHOWN = 12


def revision() -> str | None:
    """Return the commit of this code, abbreviated; None where nobody knows it.

    Of a checkout it is the one that is checked out, whatever was changed since.
    """
    root = PACKAGE.parents[1]
    found = checked_out(root) if root / "src/forkhouse" == PACKAGE else None
    return found[:_SHOWN] if found else _text(PACKAGE / NAME)


def checked_out(root: Path) -> str | None:
    """Return the id of the commit that is checked out at `root`; None where that is no checkout."""
    folder = root / ".git"
    link = _text(folder)
    if link is not None:  # a work tree beside others, or a submodule
        folder = root / link.removeprefix("gitdir: ")
    shared = folder / (_text(folder / "commondir") or ".")
    said = _text(folder / "HEAD")
    for _ in range(_LINKS):
        if said is None or _ID.fullmatch(said):
            return said
        if not said.startswith("ref: refs/"):
            return None
        name = said.removeprefix("ref: ")
        said = _text(folder / name) or _text(shared / name) or _packed(shared, name)
    return None


def _packed(folder: Path, name: str) -> str | None:
    for line in (_text(folder / "packed-refs") or "").splitlines():
        commit, _, reference = line.partition(" ")
        if reference == name:
            return commit
    return None


def _text(path: Path) -> str | None:
    """Return what a small file says; None where there is none."""
    try:
        return path.read_text(encoding="utf-8").strip() if path.is_file() else None
    except (OSError, ValueError):
        return None
