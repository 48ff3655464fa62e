"""Compare trees, and merge them in memory."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

import pygit2
from pygit2.enums import DeltaStatus, DiffFind, FileMode

from forkhouse.core.errors import PatchConflictError
from forkhouse.patches.diffs import Binary, Diff, Hunk, Part, PartKind
from forkhouse.sources.store import TreeEntry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forkhouse.sources.store import ObjectStore


LIKENESS = 50
"""The least percentage of unchanged content by which a file or line counts as the same.

This is git's own default.
"""


def merge(
    tree: str,
    before: str,
    after: str,
    renamed: Mapping[str, str],
    *,
    sources: Mapping[str, str] | None = None,
    store: ObjectStore,
) -> str | None:
    """Merge the difference between two other trees into `tree`, file by file.

    Returns the merged tree, or None if a file conflicts. `renamed` says where files of those trees
    lie in `tree`. `sources` says which of the files in `after` were made of which others: what the
    upstream changed in those belongs into them as well.
    """
    changes: dict[str, TreeEntry | None] = {}
    sources = sources or {}
    # What the upstream changed in these is not lost if they go, as it is in what is made of them.
    carried = {old for new, old in sources.items() if store.entry(tree, new) is None}
    contested: dict[str, tuple[TreeEntry, TreeEntry, TreeEntry]] = {}
    for delta in difference(before, after, store=store).deltas:
        path = delta.new_file.path
        place = renamed.get(path, path)
        old, ours, theirs = (
            store.entry(before, path),
            store.entry(tree, place),
            store.entry(after, path),
        )
        source = sources.get(path)
        if source is not None and old is None and ours is None:
            old, ours = store.entry(before, source), store.entry(tree, source)
        elif ours == theirs:
            continue
        elif theirs is None and path in carried:
            changes[place] = None
            continue
        if ours == old:
            changes[place] = theirs
        elif old is None or ours is None or theirs is None:
            return None
        else:
            contested[place] = old, ours, theirs
    merged = _merged(contested, store=store)
    if merged is None:
        return None
    try:
        return store.with_entries(tree, {**changes, **merged})
    except PatchConflictError:  # one side has a file where the other has a folder
        return None


def _merged(
    contested: Mapping[str, tuple[TreeEntry, TreeEntry, TreeEntry]], *, store: ObjectStore
) -> dict[str, TreeEntry] | None:
    """Merge files, each from its old content and the contents of both sides.

    Returns None if a file conflicts. This works on bytes; a binary file conflicts.
    """
    if not contested:
        return {}
    # Whole trees are merged, as the functions for a single file decode its content.
    names = {f"{number:06}": place for number, place in enumerate(contested)}
    base, ours, theirs = (
        pygit2.Oid(
            hex=store.with_entries(
                None, {name: contested[place][side] for name, place in names.items()}
            )
        )
        for side in range(3)
    )
    index = store.repository.merge_trees(base, ours, theirs)
    if index.conflicts is not None:
        return None
    return {
        names[entry.path]: TreeEntry(blob=str(entry.id), mode=FileMode(entry.mode))
        for entry in index
    }


def difference(before: str, after: str, *, store: ObjectStore) -> pygit2.Diff:
    """Return the diff between two trees in the form of libgit2.

    `parts_between` returns one that can be applied.
    """
    return store.repository.diff(pygit2.Oid(hex=before), pygit2.Oid(hex=after))


def parts_between(before: str, after: str, *, store: ObjectStore) -> Diff:
    """Return the diff that turns one tree into another; a rename is a removal and an addition."""
    return Diff(
        line=0,
        parts=tuple(
            _part(patch, store)
            for patch in difference(before, after, store=store)
            if patch is not None
        ),
    )


_KINDS = {DeltaStatus.ADDED: PartKind.ADD, DeltaStatus.DELETED: PartKind.REMOVE}


def _part(patch: pygit2.Patch, store: ObjectStore) -> Part:
    delta = patch.delta
    old, new = delta.old_file, delta.new_file
    kind = _KINDS.get(delta.status, PartKind.CHANGE)
    binary = None
    if delta.is_binary:
        binary = Binary(
            content=b"" if kind is PartKind.REMOVE else store.repository[new.id].read_raw()
        )
    return Part(
        line=0,
        kind=kind,
        old=old.path,
        new=new.path,
        mode=FileMode(new.mode) if new.mode not in {old.mode, 0} else None,
        ids=(str(old.id), str(new.id)),
        hunks=() if delta.is_binary else tuple(_hunk(hunk) for hunk in patch.hunks),
        binary=binary,
    )


def _hunk(hunk: pygit2.DiffHunk) -> Hunk:
    before: list[bytes] = []
    after: list[bytes] = []
    sides = {" ": (before, after), "-": (before,), "+": (after,)}
    marks = ""
    for line in hunk.lines:
        if line.origin in sides:
            marks += line.origin
            for side in sides[line.origin]:
                side.append(line.raw_content)
        else:  # the file ends there without a newline: said of one side or of both
            for side in {">": (before,), "<": (after,)}.get(line.origin, (before, after)):
                if side:
                    side[-1] = side[-1].removesuffix(b"\n")
    return Hunk(
        line=0,
        old_start=hunk.old_start,
        new_start=hunk.new_start,
        before=tuple(before),
        after=tuple(after),
        marks=marks.encode(),
    )


def renames(before: str, tree: str, *, store: ObjectStore) -> dict[str, str]:
    """Return where the files that `tree` lacks from `before` lie in it.

    Renames are found by git's own measure of similarity.
    """
    diff = difference(before, tree, store=store)
    diff.find_similar(flags=DiffFind.FIND_RENAMES, rename_threshold=LIKENESS, rename_limit=2000)
    moved = {
        delta.old_file.path: delta.new_file.path
        for delta in diff.deltas
        if delta.status == DeltaStatus.RENAMED
    }
    came = {
        *(delta.new_file.path for delta in diff.deltas if delta.status == DeltaStatus.ADDED),
        *moved.values(),
    }
    lines = {path: _said(store.read(tree, path)) for path in came} if moved else {}
    return {
        old: new
        for old, new in moved.items()
        if not _others_like(_said(store.read(before, old)), lines, new)
    }


def alike(one: bytes, other: bytes) -> bool:
    """Say whether a content may be a later state of another one, by the lines that both have."""
    lines, others = _said(one), _said(other)
    return 100 * len(lines & others) >= LIKENESS * max(len(lines), len(others))


def _said(content: bytes) -> frozenset[bytes]:
    return frozenset(line for line in content.split(b"\n") if line.strip())


def _others_like(old: frozenset[bytes], lines: Mapping[str, frozenset[bytes]], new: str) -> bool:
    """Say whether another new file has most of the lines of a file that moved.

    Then it is not known which of the two the file became.
    """
    suffix = posixpath.splitext(new)[1]
    return bool(old) and any(
        100 * len(old & said) >= LIKENESS * len(old)
        for path, said in lines.items()
        if path != new and posixpath.splitext(path)[1] == suffix
    )
