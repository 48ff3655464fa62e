"""Decide whether a file that a base does not have is gone for good, or only hidden.

The verdict `obsolete` needs that proof.
"""

from __future__ import annotations

import re
from glob import escape
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from pygit2.enums import FileMode

from forkhouse.sources import lfs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from forkhouse.documents.lockfile import Form
    from forkhouse.sources.store import ObjectStore


def in_the_way(origin: str | None, tree: str, path: str, *, store: ObjectStore) -> str:
    """Say why nobody can see in `tree` what is at a path that a patch changes.

    Returns an empty text if the path is plain to see, or does not exist. A path is hidden if a link
    or a submodule is above it, or if it is a submodule, or what it was not in `origin`, the tree of
    the pin: a pointer of Git LFS, a binary file, or one with the marks of a merge conflict.
    """
    for found in store.found(tree, escape(path)):
        if found.is_submodule:
            what = "is" if not found.rest else "is in"
            return (
                f"{path} {what} the submodule {found.path} now (commit {found.object}), whose "
                "files are not in this source"
            )
        if found.is_link and found.rest:
            aim = store.read(tree, found.path).decode("utf-8", errors="backslashreplace")
            return f"{path} is in {found.path}, which is a symbolic link to '{aim}' now"
        if not found.is_file:
            continue
        before = store.entry(origin, path) if origin else None
        was, now = b"" if before is None else store.content(before), store.raw(found.object)
        if lfs.is_pointer(now) and not lfs.is_pointer(was):
            return lfs.told(path)
        if b"\0" in now and b"\0" not in was:
            return f"{path} is a binary file now, so nobody can say what is in it"
        if _is_contested(now) and not _is_contested(was):
            return (
                f"{path} has the marks of a merge conflict (`<<<<<<<`), so nobody can say what it "
                "will hold"
            )
    return ""


def _is_contested(content: bytes) -> bool:
    """Say whether a file has what git writes where a merge failed."""
    return all(re.search(rb"(?m)^" + mark + rb"(?: |\r?$)", content) for mark in _MARKS)


_MARKS = (b"<{7}", b"={7}", b">{7}")


def unseen(origin: str, tree: str, paths: Iterable[str], form: Form, *, store: ObjectStore) -> str:
    """Say why it is not proven that what a patch was about is gone from `tree`.

    Returns an empty text if it is proven. `paths` are the files that the patch changes in `origin`,
    the tree of its pin.
    """
    for path in paths:
        hidden = in_the_way(origin, tree, path, store=store)
        if hidden:
            return hidden
        before, now = store.entry(origin, path), store.entry(tree, path)
        if (
            now is not None
            and now.mode == FileMode.LINK
            and not (before is not None and before.mode == FileMode.LINK)
        ):
            return (
                f"{path} is a symbolic link to "
                f"'{store.content(now).decode('utf-8', errors='backslashreplace')}' now"
            )
        if now is not None:
            continue
        ignored = _ignored(tree, path, store)
        if ignored:
            return f"{path} is not there, and {ignored}: the build may make it"
        if form != "git":
            return (
                f"{path} is not in this {form}, which says nothing of the upstream: a packager may "
                "have left it out. "
                "Look at the upstream's git history, as with `forkhouse radar --mirror DIR`"
            )
    return ""


def _ignored(tree: str, path: str, store: ObjectStore) -> str:
    """Return which `.gitignore` of a tree ignores a path, by the rules of git.

    The file in the deepest folder decides.
    """
    from pathspec import GitIgnoreSpec  # start-up time

    said = ""
    for folder in [*PurePosixPath(path).parents][::-1]:
        name = (folder / ".gitignore").as_posix()
        entry = store.entry(tree, name)
        if entry is None or entry.mode == FileMode.LINK:
            continue
        spec = GitIgnoreSpec.from_lines(
            store.content(entry).decode("utf-8", errors="surrogateescape").splitlines()
        )
        include = spec.check_file(PurePosixPath(path).relative_to(folder).as_posix()).include
        if include is not None:
            said = f"{name} has git ignore it" if include else ""
    return said
