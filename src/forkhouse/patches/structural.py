"""Apply structural patches to a tree: find the files, apply the edits, check the conditions."""

from __future__ import annotations

import json
import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pygit2.enums import FileMode

from forkhouse.core.errors import PatchConflictError, PostConditionError
from forkhouse.patches.asked import asked
from forkhouse.patches.edits import AddedFile
from forkhouse.patches.encodings import UNKNOWN, WIDE, decoded, for_new, readable
from forkhouse.patches.operations import edited, effect_present, lost_requirements
from forkhouse.patches.textual import map_path, refuse_unsafe
from forkhouse.sources import lfs
from forkhouse.sources.store import TreeEntry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from forkhouse.patches.edits import Condition, FileEdit, Sought, StructuralEdit
    from forkhouse.patches.encodings import Text
    from forkhouse.sources.store import MatchedEntry, ObjectStore


_NAMED = 5
"""So many files are named where there are too many; the others are counted."""


class MissingFileError(PatchConflictError):
    """No file is where an edit names one, and nothing there could hide it."""


class UnclearFileError(PatchConflictError):
    """The path of an edit does not name exactly one file.

    There are several files, or a link or a submodule is in its place.
    """


def locate(tree: str, edit: FileEdit, paths: Mapping[str, str], *, store: ObjectStore) -> str:
    """Return the one file that an edit is about.

    This is the file at its path, or at the first of its alternatives that exists. Raises
    MissingFileError if there is none, and UnclearFileError if that is not known. Both are
    PatchConflictErrors.
    """
    wanted = [map_path(path, paths) for path in edit.paths]
    hidden: list[str] = []
    for pattern in wanted:
        found = store.found(tree, pattern)
        files = [each.path for each in found if each.is_file]
        exact = not set(pattern) & set("*?[")
        links = [
            each
            for each in found
            if each.is_link and _counts(tree, each, files, exact=exact, store=store)
        ]
        names = sorted({*files, *(each.path for each in links)})
        if len(names) > 1:
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            message = (
                f"'{pattern}' matches {len(names)} files, expected 1: "
                f"{', '.join(names[:_NAMED])}{more}. Name the one that is meant."
            )
            raise UnclearFileError(message)
        if links:
            raise UnclearFileError(_linked(pattern, tree, links[0], store))
        if files:
            return files[0]
        behind = [each for each in found if each.is_submodule]
        hidden += [_behind(pattern, each) for each in behind]
        if behind and exact:
            break  # what is named first may be there
    if hidden:
        raise UnclearFileError(hidden[0])
    message = (
        f"'{' or '.join(wanted)}' matches 0 files, expected 1. The upstream moved or removed the "
        "file."
    )
    raise MissingFileError(message)


def _counts(
    tree: str, link: MatchedEntry, files: Sequence[str], *, exact: bool, store: ObjectStore
) -> bool:
    """Say whether a link prevents a pattern from naming one file.

    Of a file and a link to that file, the file is meant.
    """
    there = reached(tree, link, store=store)
    if files:
        return not there <= set(files)
    return bool(there) or exact or not link.rest


def reached(tree: str, link: MatchedEntry, *, store: ObjectStore) -> set[str]:
    """Return the files of a tree that a pattern names through a symbolic link.

    If the pattern ends at a link to a folder, these are all files in that folder.
    """
    meant = follow(tree, link.path, store=store)
    if meant is None:
        return set()
    if meant and not link.rest and store.entry(tree, meant) is not None:
        return {meant}
    return set(store.glob(tree, f"{meant}/{link.rest or '**'}".lstrip("/")))


def _linked(pattern: str, tree: str, link: MatchedEntry, store: ObjectStore) -> str:
    """Return why a link is not edited."""
    aim = store.read(tree, link.path).decode("utf-8", errors="backslashreplace")
    meant = sorted(reached(tree, link, store=store))
    what = f"'{pattern}' would be in {link.path}, and " if link.rest else ""
    there = (
        f"it leads to {meant[0]}: name that, which is what has to be changed"
        if meant
        else "no file of this tree is there"
    )
    return f"{what}{link.path} is a symbolic link to '{aim}'; {there}."


def _behind(pattern: str, submodule: MatchedEntry) -> str:
    """Return why the content of a submodule is not known."""
    return (
        f"'{pattern}' may be in the submodule {submodule.path} (commit {submodule.object}), whose "
        "files are not in this source. "
        "Let the lock's git source say `submodules: true`, or edit where that project itself is "
        "taken from."
    )


def follow(tree: str, path: str, *, store: ObjectStore) -> str | None:
    """Return the file or folder that a path leads to when all symbolic links are followed.

    Returns None if the path leads out of the tree or to nothing.
    """
    todo, done = path.split("/"), ""
    for _ in range(1000):  # links may lead to themselves
        if not todo:
            return done
        name, *todo = todo
        if name in {"", "."}:
            continue
        if name == "..":
            if not done:
                return None
            done = posixpath.dirname(done)
            continue
        place = posixpath.join(done, name)
        entry = store.entry(tree, place)
        if entry is not None and entry.mode == FileMode.LINK:
            aim = store.content(entry).decode("utf-8", errors="surrogateescape")
            if aim.startswith("/"):
                return None
            todo = [*aim.split("/"), *todo]
        elif store.is_there(tree, place):
            done = place
        else:
            return None
    return None


def text_of(tree: str, path: str, language: str = "", *, store: ObjectStore) -> Text:
    """Return the text of a file that an edit changes.

    Raises UnclearFileError if the file is a pointer to its content, or cannot be decoded.
    """
    content = store.read(tree, path)
    if lfs.is_pointer(content):
        raise UnclearFileError(lfs.told(path))
    try:
        return decoded(content, path=path, language=language)
    except PatchConflictError as error:
        raise UnclearFileError(str(error)) from error


@dataclass(frozen=True, kw_only=True, slots=True)
class Structured:
    """A tree with a structural patch applied."""

    tree: str
    idle: tuple[str, ...]
    """Operations that had nothing to do, which their count allows."""


def apply_structural(
    tree: str, patch: StructuralEdit, paths: Mapping[str, str], *, store: ObjectStore, where: str
) -> str:
    """Return `tree` with every edit of a patch applied and its conditions checked.

    Raises the errors of `structured`.
    """
    return structured(tree, patch, paths, store=store, where=where).tree


def structured(
    tree: str, patch: StructuralEdit, paths: Mapping[str, str], *, store: ObjectStore, where: str
) -> Structured:
    """Apply every edit of a patch to `tree` and check its conditions.

    Raises PatchConflictError or PostConditionError. The first is a MissingFileError for a file that
    does not exist, and an UnclearFileError for a path that names no single file with a text of its
    own.
    """
    idle: list[str] = []
    for edit in patch.edits:
        try:
            if isinstance(edit, AddedFile):
                tree = _add(tree, edit, paths, store=store, where=where)
                continue
            path = locate(tree, edit, paths, store=store)
            old = store.entry(tree, path)
            file = text_of(tree, path, edit.language, store=store)
            if file.encoding == UNKNOWN:
                file.take(_words(edit))
            changed = edited(file.text, edit)
            content = file.encoded(changed.text)
        except PatchConflictError as error:
            error.args = (f"{where}: {error}",)
            raise
        assert old is not None  # it was just located
        idle += changed.idle
        blob = str(store.repository.create_blob(content))
        tree = store.with_entries(tree, {path: TreeEntry(blob=blob, mode=old.mode)})
    check_conditions(tree, patch, paths, store=store, where=where)
    return Structured(tree=tree, idle=tuple(idle))


def _words(edit: FileEdit) -> str:
    """Return all texts of an edit: those that it looks for and those that it inserts."""
    return json.dumps(
        [operation.model_dump(mode="json") for operation in edit.operations], ensure_ascii=False
    )


def _add(
    tree: str, edit: AddedFile, paths: Mapping[str, str], *, store: ObjectStore, where: str
) -> str:
    path = map_path(edit.add, paths)
    refuse_unsafe(path, where)
    new = TreeEntry(
        blob=str(store.repository.create_blob(for_new(edit.content, path=path))), mode=FileMode.BLOB
    )
    if store.entry(tree, path) not in {None, new}:
        message = f"{path} is to be added, and the upstream has another file of that name."
        raise PatchConflictError(message)
    return store.with_entries(tree, {path: new})


def is_there(
    tree: str, patch: StructuralEdit, paths: Mapping[str, str], *, store: ObjectStore
) -> bool:
    """Say whether the tree is already as the patch would leave it.

    The result of every edit has to be there, and every condition has to be true.
    """
    for edit in patch.edits:
        if isinstance(edit, AddedFile):
            path = map_path(edit.add, paths)
            entry = store.entry(tree, path)
            if (
                entry is None
                or entry.mode == FileMode.LINK
                or store.content(entry) != for_new(edit.content, path=path)
            ):
                return False
            continue
        try:
            file = text_of(tree, locate(tree, edit, paths, store=store), edit.language, store=store)
        except (MissingFileError, UnclearFileError):
            return False
        if (file.encoding == UNKNOWN and not _words(edit).isascii()) or not effect_present(
            file.text, edit
        ):
            return False
    if asked_elsewhere(tree, patch, paths, store=store):
        return False
    try:
        check_conditions(tree, patch, paths, store=store, where="")
    except PostConditionError:
        return False
    return True


def asked_elsewhere(
    tree: str, patch: StructuralEdit, paths: Mapping[str, str], *, store: ObjectStore
) -> str:
    """Say what still requires a distribution that a file itself no longer requires.

    This is a file that it refers to, or a declaration that cannot be read. The result is empty if
    there is neither.
    """
    for edit in patch.edits:
        if isinstance(edit, AddedFile) or edit.language != "requirements":
            continue
        try:
            path = locate(tree, edit, paths, store=store)
            text = text_of(tree, path, edit.language, store=store).text
        except (MissingFileError, UnclearFileError):
            continue
        for change in lost_requirements(text, edit):
            name = change.gone or ""
            known = asked(path, name, lambda file: _plain(tree, file, store=store))
            # For a change of one extra or group, other declarations of the file do not count.
            everywhere = change.extra is None and change.group is None
            where = [
                *(each for each in known.where if everywhere or " of " in each),
                *known.unclear,
            ]
            if where:
                return (
                    f"{path} has no {name} of its own any more, but may ask for it all the same: "
                    f"{'; '.join(where[:3])}."
                )
    return ""


def check_conditions(
    tree: str, patch: StructuralEdit, paths: Mapping[str, str], *, store: ObjectStore, where: str
) -> None:
    """Raise PostConditionError if the tree violates a condition of the patch."""
    for condition in patch.after:
        _check(tree, condition, paths, store=store, where=where)


@dataclass(frozen=True, kw_only=True, slots=True)
class ExaminedFiles:
    """The files that a condition looked at."""

    files: tuple[str, ...]
    hits: tuple[str, ...]
    """The files that hold what the condition looks for."""
    unread: tuple[str, ...]
    """Why some places that its patterns name cannot be read."""


def held(
    tree: str, sought: Sought, paths: Mapping[str, str], *, store: ObjectStore
) -> ExaminedFiles:
    """Look for what a condition names, as a reader of the tree's files would.

    Symbolic links are followed.
    """
    found = {
        each for pattern in sought.paths for each in store.found(tree, map_path(pattern, paths))
    }
    unread = [
        f"the submodule {path} is not in this source"
        for path in sorted({each.path for each in found if each.is_submodule})
    ]
    files = {each.path: each.object for each in found if each.is_file}
    for path in {
        path for each in found if each.is_link for path in reached(tree, each, store=store)
    }:
        entry = store.entry(tree, path)
        files |= {path: entry.blob} if entry is not None else {}
    hits = []
    for path in sorted(files):
        content = store.raw(files[path])
        if lfs.is_pointer(content):
            unread.append(lfs.told(path).partition(":")[0])
        elif sought.requirement is not None:
            known = asked(path, sought.requirement, lambda file: _plain(tree, file, store=store))
            hits += [f"{path} ({known.where[0]})"] if known.where else []
            unread += [f"{path}, {why}" for why in known.unclear[:1]]
        elif _holds(content, path, sought):
            hits.append(path)
        elif sought.text is not None and not sought.text.isascii() and _is_unknown(content, path):
            unread.append(f"{path} is not UTF-8 and does not say what it is")
    return ExaminedFiles(files=tuple(sorted(files)), hits=tuple(hits), unread=tuple(unread))


def _is_unknown(content: bytes, path: str) -> bool:
    try:
        return decoded(content, path=path).encoding == UNKNOWN
    except PatchConflictError:
        return False  # binary, where bytes are looked for


def _holds(content: bytes, path: str, sought: Sought) -> bool:
    wanted = sought.text or ""
    if wanted.encode() in content:
        return True
    if wanted.isascii() and "\n" not in wanted and not content.startswith(WIDE):
        return False  # the text has the same bytes in all other encodings
    # The text may have other line ends than the file.
    return wanted.replace("\r\n", "\n") in readable(content, path=path).replace("\r\n", "\n")


def _plain(tree: str, path: str, *, store: ObjectStore) -> bytes | None:
    """Return the content of a plain file, or None.

    None stands for a path with nothing, for a link, and for a pointer to a content elsewhere.
    """
    entry = store.entry(tree, path)
    if entry is None or entry.mode not in {FileMode.BLOB, FileMode.BLOB_EXECUTABLE}:
        return None
    content = store.raw(entry.blob)
    return None if lfs.is_pointer(content) else content


def _check(
    tree: str, condition: Condition, paths: Mapping[str, str], *, store: ObjectStore, where: str
) -> None:
    sought = condition.absent or condition.present
    assert sought is not None  # the model demands one of the two
    wanted = " or ".join(map_path(path, paths) for path in sought.paths)
    looked = held(tree, sought, paths, store=store)
    if condition.absent is not None and looked.hits:
        message = (
            f"{where}: {sought.said()} must be gone from {wanted}, but it is in "
            f"{', '.join(looked.hits[:5])}."
        )
        raise PostConditionError(message)
    if condition.absent is not None and looked.unread:
        message = (
            f"{where}: {sought.said()} must be gone from {wanted}, and nobody can say so: "
            f"{'; '.join(looked.unread[:5])}. "
            "Let the condition name only what can be read."
        )
        raise PostConditionError(message)
    if not looked.files or (condition.present is not None and not looked.hits):
        unread = f" {'; '.join(looked.unread[:5])}." if looked.unread else ""
        message = (
            f"{where}: no file of {wanted} ({len(looked.files)} files) was found to hold "
            f"{sought.said()} as the condition expects.{unread}"
        )
        raise PostConditionError(message)
