"""Textual patches: git-format diffs, applied exactly, in reverse, or by a 3-way merge; in memory and without fuzz."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pygit2
from pygit2.enums import ApplyLocation, DeltaStatus

from forkhouse.errors import PatchConflictError, UnsafeArchiveError
from forkhouse.sources.store import Entry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forkhouse.patches.series import Patch
    from forkhouse.sources.store import ObjectStore


def map_path(path: str, paths: Mapping[str, str]) -> str:
    """Return where an upstream path lies in a form of it; the longest mapped prefix wins."""
    for prefix in sorted(paths, key=len, reverse=True):
        if path.startswith(prefix):
            return paths[prefix] + path.removeprefix(prefix)
    return path


def refuse_unsafe(path: str, where: str) -> None:
    """Raise UnsafeArchiveError for a path that leaves the tree or enters .git, in any spelling that a file system folds."""
    parts = path.casefold().replace("\\", "/").split("/")
    if path.startswith("/") or ".." in parts or any(re.fullmatch(r"\.git|git~\d+", part.rstrip(". ")) for part in parts):
        message = f"{where} names the path '{path}', which leaves the tree or enters .git. The patch is refused."
        raise UnsafeArchiveError(message)


def read_diff(patch: Patch, paths: Mapping[str, str], *, where: str) -> pygit2.Diff:
    """Return the diff of a textual patch, its paths mapped to this form of the upstream.

    Raises UnsafeArchiveError for a path outside the tree, a symbolic link or a submodule, PatchConflictError for what is no diff.
    """

    def moved(match: re.Match[str]) -> str:
        return f"{match[1]}{map_path(match[2], paths)}"

    text = patch.content.decode("utf-8")
    text = re.sub(r"^((?:---|\+\+\+) [ab]/)(\S+)", moved, text, flags=re.MULTILINE)
    text = re.sub(r"^(diff --git a/)(\S+)(?= b/)", moved, text, flags=re.MULTILINE)
    text = re.sub(r"^(diff --git a/\S+ b/)(\S+)", moved, text, flags=re.MULTILINE)
    for path in re.findall(r"^(?:---|\+\+\+|diff --git|rename (?:from|to)|copy (?:from|to)) (?:[ab]/)?(\S+)", text, flags=re.MULTILINE):
        if path != "/dev/null":
            refuse_unsafe(path, where)
    if re.search(r"^(?:new file mode|new mode) (?:120000|160000)", text, flags=re.MULTILINE):
        message = f"{where} makes a symbolic link or a submodule, which can point outside the tree. The patch is refused."
        raise UnsafeArchiveError(message)
    try:
        return pygit2.Diff.parse_diff(text)
    except pygit2.GitError as error:
        message = f"{where} is not a diff that git can read: {error}."
        raise PatchConflictError(message) from error


def touched(diff: pygit2.Diff) -> tuple[list[str], list[str]]:
    """Return the paths that a diff changes or removes, and those that it adds."""
    changed = [delta.old_file.path for delta in diff.deltas if delta.status != DeltaStatus.ADDED]
    return changed, [delta.new_file.path for delta in diff.deltas if delta.status == DeltaStatus.ADDED]


def apply_exactly(tree: str, diff: pygit2.Diff, *, store: ObjectStore) -> str:
    """Return `tree` with a diff applied. A hunk may lie at another line, but every line of its context must be there.

    Raises PatchConflictError.
    """
    paths = {file.path for delta in diff.deltas for file in (delta.old_file, delta.new_file)}
    # libgit2 works on an index: one of the touched files alone is small, whatever the size of the tree.
    present = {path: entry for path in paths if (entry := store.entry(tree, path)) is not None}
    repository = store.repository
    try:
        repository.index.read_tree(repository[store.with_entries(None, present)])
        repository.apply(diff, ApplyLocation.INDEX)
    except (pygit2.GitError, KeyError) as error:
        message = f"{error}. Nothing was applied with fuzz; make the patch again on this base, or write it as an edit."
        raise PatchConflictError(message) from error
    changed: dict[str, Entry | None] = dict.fromkeys(paths)
    # Of a patch that names no mode, libgit2 makes a plain file; the mode that the file has stays.
    kept = {delta.new_file.path: present[delta.old_file.path].mode for delta in diff.deltas if _keeps_mode(delta, present)}
    changed.update({entry.path: Entry(blob=str(entry.id), mode=kept.get(entry.path, entry.mode)) for entry in repository.index})
    return store.with_entries(tree, changed)


def _keeps_mode(delta: pygit2.DiffDelta, present: Mapping[str, Entry]) -> bool:
    return delta.old_file.path in present and delta.new_file.mode == delta.old_file.mode


def merge(tree: str, before: str, after: str, *, store: ObjectStore) -> str | None:
    """Return `tree` with the difference between two other trees merged into it file by file, None when a file conflicts."""
    changes: dict[str, Entry | None] = {}
    for delta in difference(before, after, store=store).deltas:
        path = delta.new_file.path
        trees = [store.entry(each, path) for each in (before, tree, after)]
        old, ours, theirs = trees
        if ours == theirs:
            continue
        if ours == old:
            changes[path] = theirs
            continue
        if old is None or ours is None or theirs is None:
            return None
        base, left, right = (pygit2.IndexEntry(path, pygit2.Oid(hex=entry.blob), entry.mode) for entry in (old, ours, theirs))
        merged = store.repository.merge_file_from_index(base, left, right, use_deprecated=False)
        if not merged.automergeable:
            return None
        changes[path] = Entry(blob=str(store.repository.create_blob(merged.contents.encode("utf-8"))), mode=ours.mode)
    return store.with_entries(tree, changes)


def difference(before: str, after: str, *, store: ObjectStore) -> pygit2.Diff:
    """Return the diff between two trees."""
    return store.repository.diff(pygit2.Oid(hex=before), pygit2.Oid(hex=after))


def is_there(tree: str, diff: pygit2.Diff, *, store: ObjectStore) -> bool:
    """Say whether a diff would apply in reverse: every hunk stands in the tree as it leaves it."""
    return all(patch is not None and _patch_is_there(tree, patch, store=store) for patch in diff)


def _patch_is_there(tree: str, patch: pygit2.Patch, *, store: ObjectStore) -> bool:
    entry = store.entry(tree, patch.delta.new_file.path)
    if patch.delta.status == DeltaStatus.DELETED or entry is None:
        return patch.delta.status == DeltaStatus.DELETED and entry is None
    lines = store.read(tree, patch.delta.new_file.path).splitlines(keepends=True)
    for hunk in patch.hunks:
        wanted = [line.raw_content for line in hunk.lines if line.origin in " +"]
        if patch.delta.status == DeltaStatus.ADDED and wanted != lines:
            return False
        if not any(lines[start : start + len(wanted)] == wanted for start in range(len(lines) - len(wanted) + 1)):
            return False
    return True
