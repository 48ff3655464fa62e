"""Apply a patch series to a source tree: in memory, strictly, each patch a commit, each effect checked."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pygit2
from pygit2.enums import ApplyLocation

from forkhouse.errors import HashMismatchError, NoEffectError, PatchConflictError, PostConditionError, UnsafeArchiveError
from forkhouse.patches.operations import apply_edit
from forkhouse.progress import report
from forkhouse.workspace import digest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from forkhouse.patches.series import Condition, Patch, StructuralEdit
    from forkhouse.sources import SourceTree
    from forkhouse.sources.store import ObjectStore
    from forkhouse.workspace import Journal


@dataclass(frozen=True, kw_only=True, slots=True)
class PatchedTree:
    """A source with its series applied."""

    source: SourceTree
    tree: str
    commit: str
    applied: tuple[str, ...]
    """Names of the patches that were applied, in order."""
    not_for_form: tuple[str, ...]
    """Names of the patches that are meant for other forms of the upstream."""


def map_path(path: str, paths: Mapping[str, str]) -> str:
    """Return where an upstream path lies in a form of it; the longest mapped prefix wins."""
    for prefix in sorted(paths, key=len, reverse=True):
        if path.startswith(prefix):
            return paths[prefix] + path.removeprefix(prefix)
    return path


def apply_series(source: SourceTree, patches: Sequence[Patch], *, store: ObjectStore, journal: Journal, engine: str) -> PatchedTree:
    """Apply `patches` to `source`.

    `engine` identifies the code that applies them. Raises PatchConflictError, NoEffectError, PostConditionError, and
    HashMismatchError when the result is not the tree that the lock records.
    """
    form = source.source.kind
    meant = [patch for patch in patches if patch.is_for(form)]
    others = tuple(patch.name for patch in patches if not patch.is_for(form))
    key = digest(source.commit, [patch.sha256 for patch in meant], source.source.paths, engine)
    record = journal.get("patch", key)
    if record is None or not store.has(str(record["commit"])):
        tree, commit = source.tree, source.commit
        for number, patch in enumerate(meant, start=1):
            where = f"{source.upstream}/{patch.name}"
            changed = apply_patch(tree, patch, source.source.paths, store=store, where=where)
            if changed == tree:
                message = (
                    f"{where} applied and changed nothing. If the upstream took it over, drop it from the series "
                    "(and say so in the commit); if not, it no longer does what it says."
                )
                raise NoEffectError(message)
            tree = changed
            text = f"{patch.subject}\n\n{patch.header}\n"
            commit = store.commit(tree, message=text, epoch=source.epoch + number, parents=(commit,))
        store.name(f"patched/{source.upstream}/{key[:16]}", commit)
        record = {"tree": tree, "commit": commit}
        journal.put("patch", key, record)
    tree, commit = str(record["tree"]), str(record["commit"])
    expected = source.source.patched_tree
    if expected is None:
        report().line(source.upstream, f"patched tree {tree} is NOT recorded in the lock; `forkhouse lock --update` records it")
    elif tree != expected:
        message = (
            f"{source.upstream}: the patched tree is {tree}, the lock says {expected}. A patch was changed without recording its "
            f"effect: look at it, then `forkhouse lock --update {source.upstream}`."
        )
        raise HashMismatchError(message)
    return PatchedTree(source=source, tree=tree, commit=commit, applied=tuple(patch.name for patch in meant), not_for_form=others)


def apply_patch(tree: str, patch: Patch, paths: Mapping[str, str], *, store: ObjectStore, where: str) -> str:
    """Return the id of `tree` with one patch applied. Raises PatchConflictError or PostConditionError."""
    if patch.edit is None:
        return _apply_textual(tree, patch, paths, store=store, where=where)
    changed = _apply_structural(tree, patch.edit, paths, store=store, where=where)
    for condition in patch.edit.after:
        _check(changed, condition, paths, store=store, where=where)
    return changed


def _apply_textual(tree: str, patch: Patch, paths: Mapping[str, str], *, store: ObjectStore, where: str) -> str:
    def moved(match: re.Match[str]) -> str:
        return f"{match[1]}{map_path(match[2], paths)}"

    text = patch.content.decode("utf-8")
    named = re.findall(r"^(?:---|\+\+\+) (?:[ab]/)?(\S+)", text, flags=re.MULTILINE)
    for path in named:
        parts = path.casefold().split("/")
        if path != "/dev/null" and (path.startswith("/") or ".." in parts or any(part.rstrip(". ") in {".git", "git~1"} for part in parts)):
            message = f"{where} names the path '{path}', which leaves the tree or enters .git. The patch is refused."
            raise UnsafeArchiveError(message)
    text = re.sub(r"^((?:---|\+\+\+) [ab]/)(\S+)", moved, text, flags=re.MULTILINE)
    text = re.sub(r"^(diff --git a/)(\S+)(?= b/)", moved, text, flags=re.MULTILINE)
    text = re.sub(r"^(diff --git a/\S+ b/)(\S+)", moved, text, flags=re.MULTILINE)
    repository = store.repository
    try:
        # libgit2 looks for a hunk's context at other lines, but all of it must be there: there is no fuzz.
        repository.index.read_tree(repository[tree])
        repository.apply(pygit2.Diff.parse_diff(text), ApplyLocation.INDEX)
        return str(repository.index.write_tree())
    except (pygit2.GitError, KeyError) as error:
        message = (
            f"{where} does not apply: {error}. Nothing was applied with fuzz; make the patch again on this base, or write it as an edit."
        )
        raise PatchConflictError(message) from error


def _apply_structural(tree: str, edit: StructuralEdit, paths: Mapping[str, str], *, store: ObjectStore, where: str) -> str:
    index = pygit2.Index()
    index.read_tree(store.repository[tree].peel(pygit2.Tree))
    for change in edit.edits:
        wanted = map_path(change.path, paths)
        found = [entry.path for entry in index if fnmatch.fnmatchcase(entry.path, wanted)]
        if len(found) != 1:
            message = f"{where}: '{wanted}' matches {len(found)} files, expected 1. The upstream moved or removed the file."
            raise PatchConflictError(message)
        entry = index[found[0]]
        content = store.repository[entry.id].read_raw()
        try:
            changed = apply_edit(content.decode("utf-8"), change)
        except PatchConflictError as error:
            message = f"{where}: {error}"
            raise PatchConflictError(message) from error
        index.add(pygit2.IndexEntry(entry.path, store.repository.create_blob(changed.encode("utf-8")), entry.mode))
    return str(index.write_tree(store.repository))


def _check(tree: str, condition: Condition, paths: Mapping[str, str], *, store: ObjectStore, where: str) -> None:
    looked_for = condition.absent or condition.present
    assert looked_for is not None  # noqa: S101  # the model demands one of the two
    wanted = map_path(looked_for.in_, paths)
    files = [path for path in store.paths(tree) if fnmatch.fnmatchcase(path, wanted)]
    hits = [path for path in files if looked_for.text.encode() in store.read(tree, path)]
    if condition.absent is not None and hits:
        message = f"{where}: '{looked_for.text}' must be gone from {wanted}, but it is in {', '.join(hits[:5])}."
        raise PostConditionError(message)
    if not files or (condition.present is not None and not hits):
        message = f"{where}: no file of {wanted} ({len(files)} files) was found to hold '{looked_for.text}' as the condition expects."
        raise PostConditionError(message)
