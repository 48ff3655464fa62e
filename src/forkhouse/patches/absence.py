"""Whether a file that a base does not have is gone for good, or only not to be seen.

`obsolete` needs a proof.
"""

from __future__ import annotations

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

    Nothing when it is plain to see, or not there.

    A link or a submodule is above it, or it is a submodule, or a pointer of Git LFS that it was not
    in `origin`, the tree of the pin.
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
        if (
            found.is_file
            and _is_pointer(tree, path, store)
            and not (origin and _is_pointer(origin, path, store))
        ):
            return lfs.told(path)
    return ""


def _is_pointer(tree: str, path: str, store: ObjectStore) -> bool:
    entry = store.entry(tree, path)
    return entry is not None and lfs.is_pointer(store.content(entry))


def unseen(origin: str, tree: str, paths: Iterable[str], form: Form, *, store: ObjectStore) -> str:
    """Say why it is not proven that what a patch was about is gone from `tree`; nothing when it is.

    `paths` are the files that the patch changes in `origin`, the tree of its pin.
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
    """Return which `.gitignore` of a tree names a path, as git reads them.

    The deepest folder's word counts.
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
