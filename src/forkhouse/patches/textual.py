"""Textual patches: git-format diffs, applied exactly, in reverse, or by a 3-way merge; in memory and without fuzz."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NoReturn

import pygit2
from pygit2.enums import DeltaStatus, DiffFind, FileMode

from forkhouse.errors import PatchConflictError, UnsafeArchiveError
from forkhouse.sources.store import Entry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forkhouse.patches.series import Patch
    from forkhouse.sources.store import ObjectStore


LIKENESS = 50
"""Percent of a file or line that must be as it was for it to be taken for the same; git's own default."""


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
    text = patch.content.decode("utf-8")
    if paths:
        text = _mapped(text, paths)
    named = re.findall(r"^(?:---|\+\+\+|diff --git|rename (?:from|to)|copy (?:from|to)) (?:[ab]/)?(\S+)", text, flags=re.MULTILINE)
    for path in sorted({*named} - {"/dev/null"}):
        refuse_unsafe(path, where)
    if re.search(r"^(?:new file mode|new mode) (?:120000|160000)", text, flags=re.MULTILINE):
        message = f"{where} makes a symbolic link or a submodule, which can point outside the tree. The patch is refused."
        raise UnsafeArchiveError(message)
    try:
        return pygit2.Diff.parse_diff(text)
    except pygit2.GitError as error:
        message = f"{where} is not a diff that git can read: {error}."
        raise PatchConflictError(message) from error


def _mapped(text: str, paths: Mapping[str, str]) -> str:
    """Return a diff with its paths as they are in a form of the upstream."""

    def moved(match: re.Match[str]) -> str:
        return f"{match[1]}{map_path(match[2], paths)}"

    text = re.sub(r"^((?:---|\+\+\+) [ab]/)(\S+)", moved, text, flags=re.MULTILINE)
    text = re.sub(r"^(diff --git a/)(\S+)(?= b/)", moved, text, flags=re.MULTILINE)
    return re.sub(r"^(diff --git a/\S+ b/)(\S+)", moved, text, flags=re.MULTILINE)


def touched(diff: pygit2.Diff) -> tuple[list[str], list[str]]:
    """Return the paths that a diff changes or removes, and those that it adds."""
    changed = [delta.old_file.path for delta in diff.deltas if delta.status != DeltaStatus.ADDED]
    return changed, [delta.new_file.path for delta in diff.deltas if delta.status == DeltaStatus.ADDED]


def apply_exactly(tree: str, diff: pygit2.Diff, *, store: ObjectStore) -> str:
    """Return `tree` with a diff applied, as strict `git apply` would: a hunk may lie at another line, all of its context must be there.

    Raises PatchConflictError.
    """
    changes: dict[str, Entry | None] = {}
    for patch in diff:
        if patch is not None:
            changes.update(_apply_patch(tree, patch, store=store))
    return store.with_entries(tree, changes)


def _apply_patch(tree: str, patch: pygit2.Patch, *, store: ObjectStore) -> dict[str, Entry | None]:
    delta = patch.delta
    old, new = delta.old_file, delta.new_file
    there = store.entry(tree, old.path)
    if delta.is_binary:
        _refuse(f"{new.path} is binary, and a binary file has no lines to find")
    if delta.status == DeltaStatus.ADDED:
        if store.entry(tree, new.path) is not None:
            _refuse(f"{new.path} is to be added, and is there already")
        lines: list[bytes] = []
        mode = FileMode(new.mode)
    elif there is None:
        _refuse(f"{old.path} is not there")
    else:
        lines = _lines(store.content(there))
        # Of a patch that names no mode git2 reads a plain file's; the mode that the file has stays.
        mode = FileMode(new.mode) if new.mode not in {old.mode, 0} else there.mode
    begun = shift = 0
    for number, hunk in enumerate(patch.hunks, start=1):
        before, after, trailing = _sides(hunk)
        place = _place(lines, before, hunk.old_start - 1 + shift, begun, first=hunk.old_start <= 1, last=not trailing)
        if place is None:
            _refuse(f"{old.path}: the lines of hunk {number} (from line {hunk.old_start}) are not there as they were")
        lines[place : place + len(before)] = after
        shift = place + len(after) - len(before) - (hunk.old_start - 1)
        begun = place + len(after)
    if delta.status == DeltaStatus.DELETED:
        if lines:
            _refuse(f"{old.path} is to be removed, and has other lines than those that the patch knows")
        return {old.path: None}
    blob = str(store.repository.create_blob(b"".join(lines)))
    return {old.path: None, new.path: Entry(blob=blob, mode=mode)}


def _lines(content: bytes) -> list[bytes]:
    """Return lines as git counts them: ended by a line feed, and by nothing else."""
    lines = [line + b"\n" for line in content.split(b"\n")]
    lines[-1] = lines[-1][:-1]
    return lines if lines[-1] else lines[:-1]


def _refuse(what: str) -> NoReturn:
    message = f"{what}. Nothing was applied with fuzz; make the patch again on this base, or write it as an edit."
    raise PatchConflictError(message)


def _sides(hunk: pygit2.DiffHunk) -> tuple[list[bytes], list[bytes], int]:
    """Return the lines that a hunk wants and those that it leaves, and how many lines of context it ends with."""
    before: list[bytes] = []
    after: list[bytes] = []
    trailing = 0
    for line in hunk.lines:
        match line.origin:
            case " ":
                before.append(line.raw_content)
                after.append(line.raw_content)
                trailing += 1
            case "-":
                before.append(line.raw_content)
                trailing = 0
            case "+":
                after.append(line.raw_content)
                trailing = 0
            case _:  # the file ends there without a newline: said of one side or of both
                for side in {">": [before], "<": [after]}.get(line.origin, [before, after]):
                    if side:
                        side[-1] = side[-1].removesuffix(b"\n")
    return before, after, trailing


def _place(lines: list[bytes], wanted: list[bytes], expected: int, begun: int, *, first: bool, last: bool) -> int | None:
    """Return where `wanted` stands, nearest to where it is expected.

    As in git, a hunk that began at the first line has to be found there, and one that ends without context at the end.
    """
    if first:
        places = [0]
    elif last:
        places = [len(lines) - len(wanted)]
    elif begun <= expected and lines[expected : expected + len(wanted)] == wanted:
        return expected
    else:
        places = sorted(range(begun, len(lines) - len(wanted) + 1), key=lambda place: abs(place - expected))
    return next((place for place in places if begun <= place and lines[place : place + len(wanted)] == wanted), None)


def merge(tree: str, before: str, after: str, renamed: Mapping[str, str], *, store: ObjectStore) -> str | None:
    """Return `tree` with the difference between two other trees merged into it file by file, None when a file conflicts.

    `renamed` says where files of those trees lie in `tree`.
    """
    changes: dict[str, Entry | None] = {}
    for delta in difference(before, after, store=store).deltas:
        path = delta.new_file.path
        place = renamed.get(path, path)
        old, ours, theirs = store.entry(before, path), store.entry(tree, place), store.entry(after, path)
        if ours == theirs:
            continue
        if ours == old:
            changes[place] = theirs
            continue
        if old is None or ours is None or theirs is None:
            return None
        base, left, right = (pygit2.IndexEntry(path, pygit2.Oid(hex=entry.blob), entry.mode) for entry in (old, ours, theirs))
        merged = store.repository.merge_file_from_index(base, left, right, use_deprecated=False)
        if not merged.automergeable:
            return None
        changes[place] = Entry(blob=str(store.repository.create_blob(merged.contents.encode("utf-8"))), mode=ours.mode)
    try:
        return store.with_entries(tree, changes)
    except PatchConflictError:  # one side has a file where the other has a folder
        return None


def difference(before: str, after: str, *, store: ObjectStore) -> pygit2.Diff:
    """Return the diff between two trees."""
    return store.repository.diff(pygit2.Oid(hex=before), pygit2.Oid(hex=after))


def renames(before: str, tree: str, *, store: ObjectStore) -> dict[str, str]:
    """Return where files of the tree `before` that `tree` has not lie in it, by git's own measure of likeness."""
    diff = difference(before, tree, store=store)
    diff.find_similar(flags=DiffFind.FIND_RENAMES, rename_threshold=LIKENESS, rename_limit=2000)
    return {delta.old_file.path: delta.new_file.path for delta in diff.deltas if delta.status == DeltaStatus.RENAMED}


def is_there(tree: str, diff: pygit2.Diff, *, store: ObjectStore) -> bool:
    """Say whether a diff would apply in reverse: every hunk stands in the tree as it leaves it."""
    return all(patch is not None and _patch_is_there(tree, patch, store=store) for patch in diff)


def _patch_is_there(tree: str, patch: pygit2.Patch, *, store: ObjectStore) -> bool:
    entry = store.entry(tree, patch.delta.new_file.path)
    if patch.delta.status == DeltaStatus.DELETED or entry is None:
        return patch.delta.status == DeltaStatus.DELETED and entry is None
    lines = _lines(store.content(entry))
    for hunk in patch.hunks:
        _, wanted, _ = _sides(hunk)
        if patch.delta.status == DeltaStatus.ADDED and wanted != lines:
            return False
        if not any(lines[start : start + len(wanted)] == wanted for start in range(len(lines) - len(wanted) + 1)):
            return False
    return True
