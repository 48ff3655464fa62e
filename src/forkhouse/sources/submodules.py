"""Submodules of a git source.

Found, told where they are missing, and laid in the tree where the lock asks for it.

A tree pins the commit of a submodule; its address stands in `.gitmodules`. What is laid in is
ordinary files, so the tree id covers them.
"""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ValidationError

from forkhouse.core.errors import UnreachableError, UnsafeArchiveError
from forkhouse.core.secrecy import without_user
from forkhouse.documents.lockfile import GitSource
from forkhouse.sources.git import fetch_commit
from forkhouse.sources.gitcommand import GitError, run_git

if TYPE_CHECKING:
    from pathlib import Path

    from forkhouse.sources.store import ObjectStore

DEEPEST = 8
"""Submodules within submodules after which a source is refused.

One that holds itself would have no end.
"""
_SCP = re.compile(r"[\w.-]+@([\w.-]+):/?([^:\s-][^\s]*)")
_OTHER = re.compile(r"(?:ssh|git|http)://(?:[^/@]+@)?([^/:]+)(?::\d+)?/(.+)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Submodule:
    """A folder of a source that another repository fills."""

    path: str
    commit: str
    """What the tree pins; nothing where the source is no git tree."""
    url: str
    """As `.gitmodules` has it; nothing where it names none."""

    def told(self) -> str:
        """Return how it is told to a person."""
        commit = f" (commit {self.commit})" if self.commit else ""
        return f"{self.path}{commit} from {self.url or 'an address that .gitmodules does not name'}"


def missing(tree: str, store: ObjectStore, *, archive: bool = False) -> list[Submodule]:
    """Return the submodules whose files a tree does not have.

    Those that it pins, and of an archive those that `.gitmodules` names.
    """
    pinned = store.submodules(tree)
    urls = _urls(tree, store) if pinned or archive else {}
    # A git tree may keep the address of a submodule that it no longer has; an archive has no pins,
    # and no file in place of one.
    named = {path: "" for path in urls if not store.is_there(tree, path)} if archive else {}
    return [
        Submodule(path=path, commit=commit, url=urls.get(path, ""))
        for path, commit in sorted({**pinned, **named}.items())
    ]


def _urls(tree: str, store: ObjectStore) -> dict[str, str]:
    """Return the addresses of `.gitmodules` by path, read by git itself."""
    entry = store.entry(tree, ".gitmodules")
    if entry is None:
        return {}
    try:
        # A file of its own, as the content may lie in a repository that the store only borrows
        # from.
        with tempfile.NamedTemporaryFile(prefix="forkhouse-gitmodules-") as file:
            file.write(store.content(entry))
            file.flush()
            text = run_git(store.folder, "config", "--file", file.name, "--null", "--list")
    except GitError as error:
        reason = error.stderr
        message = (
            f".gitmodules cannot be read: {reason}. The source is refused, as nobody can say what "
            "belongs to it."
        )
        raise UnsafeArchiveError(message) from error
    values: dict[str, dict[str, str]] = {}
    for item in text.split("\0"):
        key, _, value = item.partition("\n")
        section, _, name = key.rpartition(".")
        if section.startswith("submodule."):
            values.setdefault(section, {})[name] = value
    # Nobody's password is recorded or printed; what needs one is fetched with the user's own.
    return {
        each["path"].strip("/"): without_user(each["url"])
        for each in values.values()
        if "path" in each and "url" in each
    }


def resolved(url: str, base: str) -> str:
    """Return the address of a submodule as it is fetched.

    Relative ones against that of its superproject, as `git submodule` does.

    Addresses of ssh, git and http are led to https of the same host: the commit's id proves what
    comes. Raises UnsafeArchiveError for a relative address that leaves the host, for a local one of
    a source that is not local itself, and for whatever else it cannot be.
    """
    if url.startswith(("./", "../")):
        parts = base.rstrip("/").split("/")
        rest = url
        while rest.startswith(("./", "../")):
            if rest.startswith("../"):
                parts.pop()
            rest = rest.partition("/")[2]
        if len(parts) < 3:  # the scheme, nothing, and the host
            message = (
                f"The submodule's address '{url}' leaves the host of {base}. The source is refused."
            )
            raise UnsafeArchiveError(message)
        return "/".join([*parts, rest.rstrip("/")])
    if url.startswith("file://") and base.startswith("file://"):
        return url
    if url.startswith("/") and base.startswith("file://"):
        return f"file://{url}"
    if re.fullmatch(r"https://[^\s]+", url):
        return url
    other = _OTHER.fullmatch(url) or (_SCP.fullmatch(url) if "://" not in url else None)
    if other is None:
        message = (
            f"The submodule's address '{url}' is none that can be fetched from: only https is, and "
            "file beside a local source."
        )
        raise UnsafeArchiveError(message)
    return f"https://{other[1]}/{other[2]}"


def _source(submodule: Submodule, source: GitSource) -> GitSource:
    try:
        return GitSource(
            kind="git", url=resolved(submodule.url, source.url), commit=submodule.commit
        )
    except ValidationError as error:
        message = (
            f"{source.url}: the submodule {submodule.told()} cannot be laid in: its address is "
            "none that can be fetched from."
        )
        raise UnsafeArchiveError(message) from error


def filled(
    tree: str,
    source: GitSource,
    store: ObjectStore,
    cache: Path,
    *,
    mirror: Path | None,
    offline: bool,
    shared: Path | None = None,
    depth: int = 0,
) -> str:
    """Return a tree with the files of its submodules in their places, and those of theirs.

    Raises UnreachableError for one that cannot be had, UnsafeArchiveError for one that cannot be
    named.
    """
    folders = {}
    for submodule in missing(tree, store):
        if not submodule.url or depth == DEEPEST:
            why = (
                f"more than {DEEPEST} are in one another"
                if submodule.url
                else ".gitmodules does not say where it is fetched from"
            )
            message = (
                f"{source.url}: the submodule {submodule.path} (commit {submodule.commit}) cannot "
                f"be laid in: {why}."
            )
            raise UnsafeArchiveError(message)
        inner = _source(submodule, source)
        try:
            found = fetch_commit(inner, store, cache, mirror=mirror, offline=offline, shared=shared)
        except UnreachableError as error:
            message = f"The submodule {submodule.told()} cannot be had: {error}"
            raise UnreachableError(message) from error
        folders[submodule.path] = filled(
            found,
            inner,
            store,
            cache,
            mirror=mirror,
            offline=offline,
            shared=shared,
            depth=depth + 1,
        )
    return store.with_folders(tree, folders)
