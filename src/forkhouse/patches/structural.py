"""Structural patches on a tree: find the files, apply the edits, check the conditions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pygit2.enums import FileMode

from forkhouse.errors import PatchConflictError, PostConditionError
from forkhouse.patches.edits import AddedFile
from forkhouse.patches.languages.requirements import requires
from forkhouse.patches.operations import edited, effect_present
from forkhouse.patches.textual import map_path, refuse_unsafe
from forkhouse.sources.store import Entry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forkhouse.patches.edits import Condition, FileEdit, Sought, StructuralEdit
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Structured:
    """A tree with a structural patch applied."""

    tree: str
    idle: tuple[str, ...]
    """Operations that had nothing to do, and may."""


def apply_structural(tree: str, patch: StructuralEdit, paths: Mapping[str, str], *, store: ObjectStore, where: str) -> str:
    """Return `tree` with every edit of a patch applied and its conditions checked; raises as `structured` does."""
    return structured(tree, patch, paths, store=store, where=where).tree


def structured(tree: str, patch: StructuralEdit, paths: Mapping[str, str], *, store: ObjectStore, where: str) -> Structured:
    """Apply every edit of a patch to `tree` and check its conditions.

    Raises PatchConflictError (MissingFileError for a file that is not there) or PostConditionError.
    """
    idle: list[str] = []
    for edit in patch.edits:
        try:
            if isinstance(edit, AddedFile):
                tree = _add(tree, edit, paths, store=store, where=where)
                continue
            path = locate(tree, edit, paths, store=store)
            old = store.entry(tree, path)
            changed = edited(store.read(tree, path).decode("utf-8"), edit)
        except PatchConflictError as error:
            error.args = (f"{where}: {error}",)
            raise
        except UnicodeDecodeError as error:
            message = f"{where}: {path} is not UTF-8 text: {error}."
            raise PatchConflictError(message) from error
        assert old is not None  # noqa: S101  # it was just located
        idle += changed.idle
        blob = str(store.repository.create_blob(changed.text.encode("utf-8")))
        tree = store.with_entries(tree, {path: Entry(blob=blob, mode=old.mode)})
    check_conditions(tree, patch, paths, store=store, where=where)
    return Structured(tree=tree, idle=tuple(idle))


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


def holders(tree: str, sought: Sought, paths: Mapping[str, str], *, store: ObjectStore) -> tuple[list[str], list[str]]:
    """Return the files that a condition looks at, and those of them that hold what it looks for."""
    files = sorted({path for pattern in sought.paths for path in store.glob(tree, map_path(pattern, paths))})
    return files, [path for path in files if _holds(store.read(tree, path), sought)]


def _holds(content: bytes, sought: Sought) -> bool:
    if sought.text is not None:
        return sought.text.encode() in content
    wanted = sought.requirement or ""
    try:
        return requires(content.decode("utf-8", errors="replace"), wanted)
    except PatchConflictError:
        # What cannot be read is searched as text: it must not pass for a file that asks for nothing.
        return wanted.strip("*").encode() in content


def _check(tree: str, condition: Condition, paths: Mapping[str, str], *, store: ObjectStore, where: str) -> None:
    sought = condition.absent or condition.present
    assert sought is not None  # noqa: S101  # the model demands one of the two
    wanted = " or ".join(map_path(path, paths) for path in sought.paths)
    files, hits = holders(tree, sought, paths, store=store)
    if condition.absent is not None and hits:
        message = f"{where}: {sought.said()} must be gone from {wanted}, but it is in {', '.join(hits[:5])}."
        raise PostConditionError(message)
    if not files or (condition.present is not None and not hits):
        message = f"{where}: no file of {wanted} ({len(files)} files) was found to hold {sought.said()} as the condition expects."
        raise PostConditionError(message)
