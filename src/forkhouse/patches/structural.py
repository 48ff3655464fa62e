"""Structural patches on a tree: find the files, apply the edits, check the conditions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pygit2.enums import FileMode

from forkhouse.errors import PatchConflictError, PostConditionError
from forkhouse.patches.edits import AddedFile
from forkhouse.patches.operations import apply_edit, effect_present
from forkhouse.patches.textual import map_path, refuse_unsafe
from forkhouse.sources.store import Entry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forkhouse.patches.edits import Condition, FileEdit, StructuralEdit, TextIn
    from forkhouse.sources.store import ObjectStore


class MissingFileError(PatchConflictError):
    """The file that an edit names is not there, or there are several."""


def locate(tree: str, edit: FileEdit, paths: Mapping[str, str], *, store: ObjectStore) -> str:
    """Return the one file that an edit is about: its path, or the first of its alternatives that exists.

    Raises MissingFileError, which is a PatchConflictError.
    """
    wanted = [map_path(path, paths) for path in edit.paths]
    for pattern in wanted:
        found = store.glob(tree, pattern)
        if len(found) == 1:
            return found[0]
        if found:
            message = f"'{pattern}' matches {len(found)} files, expected 1: {', '.join(found[:5])}."
            raise MissingFileError(message)
    message = f"'{' or '.join(wanted)}' matches 0 files, expected 1. The upstream moved or removed the file."
    raise MissingFileError(message)


def apply_structural(tree: str, patch: StructuralEdit, paths: Mapping[str, str], *, store: ObjectStore, where: str) -> str:
    """Return `tree` with every edit of a patch applied and its conditions checked.

    Raises PatchConflictError (MissingFileError for a file that is not there) or PostConditionError.
    """
    for edit in patch.edits:
        try:
            if isinstance(edit, AddedFile):
                tree = _add(tree, edit, paths, store=store, where=where)
                continue
            path = locate(tree, edit, paths, store=store)
            old = store.entry(tree, path)
            changed = apply_edit(store.read(tree, path).decode("utf-8"), edit)
        except PatchConflictError as error:
            error.args = (f"{where}: {error}",)
            raise
        except UnicodeDecodeError as error:
            message = f"{where}: {path} is not UTF-8 text: {error}."
            raise PatchConflictError(message) from error
        assert old is not None  # noqa: S101  # it was just located
        blob = str(store.repository.create_blob(changed.encode("utf-8")))
        tree = store.with_entries(tree, {path: Entry(blob=blob, mode=old.mode)})
    check_conditions(tree, patch, paths, store=store, where=where)
    return tree


def _add(tree: str, edit: AddedFile, paths: Mapping[str, str], *, store: ObjectStore, where: str) -> str:
    path = map_path(edit.add, paths)
    refuse_unsafe(path, where)
    new = Entry(blob=str(store.repository.create_blob(edit.content.encode("utf-8"))), mode=FileMode.BLOB)
    if store.entry(tree, path) not in {None, new}:
        message = f"{path} is to be added, and the upstream has another file of that name."
        raise PatchConflictError(message)
    return store.with_entries(tree, {path: new})


def is_there(tree: str, patch: StructuralEdit, paths: Mapping[str, str], *, store: ObjectStore) -> bool:
    """Say whether the tree is already as the patch would leave it: every edit's result present, every condition true."""
    for edit in patch.edits:
        if isinstance(edit, AddedFile):
            entry = store.entry(tree, map_path(edit.add, paths))
            if entry is None or store.repository[entry.blob].read_raw() != edit.content.encode("utf-8"):
                return False
            continue
        try:
            text = store.read(tree, locate(tree, edit, paths, store=store)).decode("utf-8")
        except (MissingFileError, UnicodeDecodeError):
            return False
        if not effect_present(text, edit):
            return False
    try:
        check_conditions(tree, patch, paths, store=store, where="")
    except PostConditionError:
        return False
    return True


def check_conditions(tree: str, patch: StructuralEdit, paths: Mapping[str, str], *, store: ObjectStore, where: str) -> None:
    """Raise PostConditionError when the tree breaks a condition of the patch."""
    for condition in patch.after:
        _check(tree, condition, paths, store=store, where=where)


def holders(tree: str, looked_for: TextIn, paths: Mapping[str, str], *, store: ObjectStore) -> tuple[list[str], list[str]]:
    """Return the files that a condition looks at, and those of them that hold its text."""
    files = store.glob(tree, map_path(looked_for.in_, paths))
    return files, [path for path in files if looked_for.text.encode() in store.read(tree, path)]


def _check(tree: str, condition: Condition, paths: Mapping[str, str], *, store: ObjectStore, where: str) -> None:
    looked_for = condition.absent or condition.present
    assert looked_for is not None  # noqa: S101  # the model demands one of the two
    wanted = map_path(looked_for.in_, paths)
    files, hits = holders(tree, looked_for, paths, store=store)
    if condition.absent is not None and hits:
        message = f"{where}: '{looked_for.text}' must be gone from {wanted}, but it is in {', '.join(hits[:5])}."
        raise PostConditionError(message)
    if not files or (condition.present is not None and not hits):
        message = f"{where}: no file of {wanted} ({len(files)} files) was found to hold '{looked_for.text}' as the condition expects."
        raise PostConditionError(message)
