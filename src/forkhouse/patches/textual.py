"""Apply textual patches in memory and without fuzz: exactly, in reverse, or by a 3-way merge."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NoReturn

import pygit2
from pygit2.enums import FileMode

from forkhouse.core.errors import PatchConflictError, UnsafeArchiveError
from forkhouse.patches import deltas, diffreader, diffs
from forkhouse.patches.diffs import Binary, Diff, Hunk, Part, PartKind
from forkhouse.patches.hunks import TELLING_ID, left_at, lines_of, place_hunks, refuse
from forkhouse.sources.store import TreeEntry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from forkhouse.patches.series import Patch
    from forkhouse.sources.store import ObjectStore


WHOLE_ID = 40
"""The number of digits of an id that is not abbreviated."""


_DEEPEST = 12
"""The number of strip levels that are tried."""


SPECIAL = frozenset({FileMode.LINK, FileMode.COMMIT})


def map_path(path: str, paths: Mapping[str, str]) -> str:
    """Return the path in a form of the upstream; the longest mapped prefix decides."""
    for prefix in sorted(paths, key=len, reverse=True):
        if path.startswith(prefix):
            return paths[prefix] + path.removeprefix(prefix)
    return path


def refuse_unsafe(path: str, where: str) -> None:
    """Raise UnsafeArchiveError for a path that leaves the tree or enters .git.

    Every spelling that a file system folds into .git counts.
    """
    parts = path.casefold().replace("\\", "/").split("/")
    if (
        path.startswith("/")
        or ".." in parts
        or any(re.fullmatch(r"\.git|git~\d+", part.rstrip(". ")) for part in parts)
    ):
        message = (
            f"{where} names the path '{path}', which leaves the tree or enters .git. The patch is "
            "refused."
        )
        raise UnsafeArchiveError(message)


def read_diff(
    patch: Patch, paths: Mapping[str, str], tree: str, *, store: ObjectStore, where: str
) -> tuple[Diff, ...]:
    """Return the diffs of a textual patch, with paths mapped to this form of the upstream.

    The first folder of each name is taken off, or as many as the patch's header says (`Strip: N`).
    If the result names no file of `tree`, the only other number that fits the tree is taken. Raises
    UnsafeArchiveError for a path outside the tree, a symbolic link or a submodule, and
    PatchConflictError for a text that is no diff.
    """
    try:
        read = (
            diffreader.read(patch.content, strip=patch.strip)
            if patch.strip is not None
            else _fitting(patch, paths, tree, store, where)
        )
    except diffs.DiffSyntaxError as error:
        message = f"{where} is not a diff that git can read: {error}."
        raise PatchConflictError(message) from error
    return tuple(
        replace(diff, parts=tuple(_mapped(part, paths, where) for part in diff.parts))
        for diff in read
    )


def _fitting(
    patch: Patch, paths: Mapping[str, str], tree: str, store: ObjectStore, where: str
) -> tuple[Diff, ...]:
    """Return a patch's diffs with as many leading folders taken off as fit a tree.

    This is one folder, unless exactly one other number fits.
    """
    found = {}
    failed: diffs.StripError | None = None
    usual: tuple[Diff, ...] = ()
    for level in (1, 0, *range(2, _DEEPEST)):
        if level > 1 and 1 in found:
            break
        try:
            read = diffreader.read(patch.content, strip=level)
        except diffs.StripError as error:
            failed = error if level == 1 else failed
            continue
        usual = read if level == 1 else usual
        if level == 1 and all(part.is_prefixed for diff in read for part in diff.parts):
            return read
        if _fits(read, paths, tree, store, level=level):
            found[level] = read
    if len(found) > 1:
        names = " or ".join(
            f"{read[0].parts[0].new} (`Strip: {level}`)" for level, read in sorted(found.items())
        )
        message = (
            f"{where} may mean {names}, as each fits this tree. Say which by such a line in the "
            "patch's header."
        )
        raise PatchConflictError(message)
    if failed is not None and not found:
        raise failed
    return next(iter(found.values()), usual)


def _fits(
    read: Sequence[Diff], paths: Mapping[str, str], tree: str, store: ObjectStore, *, level: int
) -> bool:
    """Say whether the files that a patch wants are there.

    A patch that only adds files fits at the usual level. At another level, the top folder of one of
    them has to be there.
    """
    made: set[str] = set()
    wanted = 0
    for part in (part for diff in read for part in diff.parts):
        old, new = map_path(part.old, paths), map_path(part.new, paths)
        if part.kind is not PartKind.ADD and old not in made:
            there = store.entry(tree, old) is not None
            if not there and part.kind is not PartKind.FILL:
                return False
            wanted += there
        made.add(new)
    if wanted or level == 1:
        return True
    tops = [path.partition("/")[0] for path in made if "/" in path]
    return any(store.identity(tree, top) for top in tops)


def _mapped(part: Part, paths: Mapping[str, str], where: str) -> Part:
    """Return a part with its paths mapped to a form of the upstream, and proven to be safe.

    Raises UnsafeArchiveError for a path that is not.
    """
    old, new = map_path(part.old, paths), map_path(part.new, paths)
    for path in (part.old, part.new, old, new):
        refuse_unsafe(path, where)
    if (
        part.mode in SPECIAL
        or (part.old_mode in SPECIAL and part.kind is not PartKind.REMOVE)
        or part.old_mode is FileMode.COMMIT
    ):
        _refuse_special(new, where)
    return replace(part, old=old, new=new)


def _refuse_special(path: str, where: str) -> NoReturn:
    message = (
        f"{where} makes a symbolic link or a submodule of '{path}', or changes one, which can "
        "point outside the tree. The patch is refused."
    )
    raise UnsafeArchiveError(message)


def touched(read: Iterable[Diff]) -> tuple[list[str], list[str]]:
    """Return the paths of a tree that diffs change or remove, and the paths that they add."""
    changed: dict[str, None] = {}
    added: dict[str, None] = {}
    for part in (part for diff in read for part in diff.parts):
        if part.kind in {PartKind.ADD, PartKind.FILL}:
            if part.new not in changed:
                added[part.new] = None
            continue
        if part.old not in added:
            changed[part.old] = None
        if part.new != part.old:
            added[part.new] = None
    return list(changed), list(added)


def sources_of(read: Iterable[Diff]) -> dict[str, str]:
    """Return the files that renames and copies make, each with the file that it comes from.

    Through several diffs, this is the file that was there before the first one.
    """
    sources: dict[str, str] = {}
    added: set[str] = set()
    for diff in read:
        before = dict(sources)
        for part in diff.parts:
            if part.kind is PartKind.ADD or (part.old in added and part.new != part.old):
                added.add(part.new)
            elif part.kind in {PartKind.RENAME, PartKind.COPY}:
                sources[part.new] = before.get(part.old, part.old)
    return sources


def apply_exactly(tree: str, read: Iterable[Diff], *, store: ObjectStore) -> str:
    """Return `tree` with diffs applied one after the other, as strict `git apply` does.

    A hunk may be at another line, but all of its context has to be there. Raises
    PatchConflictError.
    """
    for diff in read:
        work = _Work(
            tree=tree,
            store=store,
            leaving=frozenset(part.old for part in diff.parts if part.kind in _LEAVING),
        )
        for part in diff.parts:
            work.apply(part)
        tree = store.with_entries(tree, {**dict.fromkeys(work.gone), **work.made})
    return tree


_LEAVING = frozenset({PartKind.REMOVE, PartKind.RENAME})


_NAMING = frozenset({PartKind.ADD, PartKind.RENAME, PartKind.COPY})


@dataclass(kw_only=True, slots=True)
class _Work:
    """A diff that is being applied.

    All parts of a diff refer to the tree as it was, so that names can be swapped. But a later part
    for a path that an earlier part has written continues from there. Source: the behaviour of `git
    apply`.
    """

    tree: str
    store: ObjectStore
    leaving: frozenset[str]
    """Paths that some part of the diff removes."""
    made: dict[str, TreeEntry] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)
    """The written files that kept their names."""
    gone: set[str] = field(default_factory=set)

    def apply(self, part: Part) -> None:
        """Apply one part. Raises PatchConflictError."""
        there = self._source(part)
        if part.kind in _NAMING:
            self._refuse_taken(part)
        if there is not None and there.mode in SPECIAL and part.kind is not PartKind.REMOVE:
            refuse(
                f"{part.old} is a symbolic link, which no patch changes, as it can point outside "
                "the tree",
                part,
            )
        if (
            part.old_mode is not None
            and there is not None
            and (part.old_mode in SPECIAL) != (there.mode in SPECIAL)
        ):
            refuse(
                f"{part.old} is not of the kind (file or symbolic link) that the patch knows", part
            )
        if part.binary is not None:
            blob = self._binary(part, part.binary, there)
        elif there is not None and not part.hunks:
            blob = there.blob
        else:
            content = b"" if there is None else self.store.content(there)
            made = place_hunks(content, part, blob="" if there is None else there.blob)
            blob = (
                ""
                if part.kind is PartKind.REMOVE and not made
                else str(self.store.repository.create_blob(made))
            )
        if part.kind is PartKind.REMOVE:
            # An empty file that goes has no hunk.
            if blob and (part.hunks or (there is not None and self.store.content(there))):
                refuse(
                    f"{part.old} is to be removed, and has other lines than those that the patch "
                    "knows",
                    part,
                )
            self.gone.add(part.old)
            return
        if part.kind is PartKind.RENAME:
            self.gone.add(part.old)
        elif part.kind in {PartKind.CHANGE, PartKind.FILL}:
            self.changed.add(part.new)
        self.made[part.new] = TreeEntry(
            blob=blob, mode=part.mode or (FileMode.BLOB if there is None else there.mode)
        )

    def _source(self, part: Part) -> TreeEntry | None:
        """Return the file that a part starts from."""
        if part.kind is PartKind.ADD:
            return None
        if part.kind in {PartKind.RENAME, PartKind.COPY}:
            if part.kind is PartKind.RENAME and part.old in self.changed:
                self._refuse_order(part, "renamed")
            there = self.store.entry(self.tree, part.old)
        elif part.old in self.made:
            if part.kind is PartKind.REMOVE:
                self._refuse_order(part, "removed")
            return self.made[part.old]
        elif part.old in self.gone:
            refuse(f"{part.old} was renamed or removed by an earlier part of the same diff", part)
        else:
            there = self.store.entry(self.tree, part.old)
        if there is None and part.kind is not PartKind.FILL:
            refuse(f"{part.old} is not there", part)
        return there

    def _refuse_order(self, part: Part, what: str) -> NoReturn:
        refuse(
            f"{part.old} is written by one part of the diff and {what} by a later one; these are "
            "two diffs, so make two patches of it",
            part,
        )

    def _refuse_taken(self, part: Part) -> None:
        """Raise PatchConflictError if a part overwrites a file that the diff does not remove."""
        if part.new in self.made or (
            self.store.entry(self.tree, part.new) is not None and part.new not in self.leaving
        ):
            verb = {
                PartKind.ADD: "added",
                PartKind.RENAME: "made by a rename",
                PartKind.COPY: "made by a copy",
            }[part.kind]
            refuse(f"{part.new} is to be {verb}, and is there already", part)

    def _binary(self, part: Part, binary: Binary, there: TreeEntry | None) -> str:
        """Return the blob id of what a binary part makes, once ids prove both of its sides."""
        old, new = part.ids
        if binary.content is None:
            refuse(
                f"{part.new} is binary, and a binary file has no lines to find; make the patch "
                "with `git diff --binary`",
                part,
            )
        if len(old) != WHOLE_ID or len(new) != WHOLE_ID:
            refuse(
                f"{part.new} is binary, and its `index` line does not hold whole ids; make the "
                "patch with `git diff --binary`",
                part,
            )
        nothing = "0" * WHOLE_ID
        if old != (nothing if there is None else there.blob):
            refuse(f"{part.old} is binary, and is not as the patch knows it", part)
        if new == nothing:
            return ""
        content = binary.content
        if binary.is_delta:
            try:
                content = deltas.patched(
                    b"" if there is None else self.store.content(there), content
                )
            except ValueError as error:
                refuse(f"{part.new}: {error}", part)
        if str(pygit2.hash(content)) != new:
            refuse(
                f"{part.new} is binary, and the patch does not make what its `index` line says",
                part,
            )
        return str(self.store.repository.create_blob(content))


def is_there(tree: str, read: Sequence[Diff], *, store: ObjectStore) -> bool:
    """Say whether diffs would apply in reverse, the last one first.

    The result of every hunk has to be in the tree, at any line. What a patch does to a file as a
    whole (its mode, its name, its removal) has to be as the patch leaves it, too.
    """
    files: dict[str, TreeEntry | None] = {}
    unknown: set[str] = set()
    """Files that a later diff removes, so that the effect of an earlier one cannot be seen."""

    def entry(path: str) -> TreeEntry | None:
        return files[path] if path in files else store.entry(tree, path)

    for diff in reversed(read):
        before: dict[str, TreeEntry | None] = {}
        removed: set[str] = set()
        copies: list[tuple[str, str]] = []
        written = {part.new for part in diff.parts if part.kind is not PartKind.REMOVE}
        for part in reversed(diff.parts):
            if part.new in unknown:
                unknown.add(part.old)
                continue
            if part.kind in _LEAVING and part.old not in written and entry(part.old) is not None:
                return False
            if part.kind is PartKind.REMOVE:
                removed.add(part.old)
                continue
            # Of several parts of one path, each is undone in the state where the next one began.
            there = (
                before.get(part.new)
                if part.new in before and part.kind is PartKind.CHANGE
                else entry(part.new)
            )
            undone = None if there is None else _undone(there, part, store=store)
            if undone is None:
                return False
            if part.kind is PartKind.COPY and not part.hunks and part.binary is None:
                copies.append((part.old, undone.blob))
            if part.kind is not PartKind.CHANGE:
                before.setdefault(part.new, None)
            if part.kind in {PartKind.RENAME, PartKind.CHANGE}:
                before[part.old] = undone
        files.update(before)
        # A copy has the old content of its source, whatever the diff made of the source.
        if any(
            (source := entry(path)) is not None and source.blob != blob for path, blob in copies
        ):
            return False
        unknown |= removed
    return True


def _undone(there: TreeEntry, part: Part, *, store: ObjectStore) -> TreeEntry | None:
    """Return a file without the changes of a part, or None if it does not have them."""
    if part.mode is not None and there.mode != part.mode:
        return None
    undone = replace(there, mode=part.old_mode or there.mode)
    if part.binary is not None:
        return replace(undone, blob=part.ids[0]) if there.blob == part.ids[1] else None
    if not part.hunks:
        return undone if part.kind is not PartKind.ADD or not store.content(there) else None
    lines = lines_of(store.content(there))
    if part.kind in {PartKind.ADD, PartKind.FILL}:
        return undone if list(part.hunks[0].after) == lines else None
    known = len(part.ids[1]) >= TELLING_ID and there.blob.startswith(part.ids[1])
    places: dict[int, Hunk] = {}
    for hunk in part.hunks:
        place = left_at(
            lines,
            hunk,
            [(place, place + len(other.after)) for place, other in places.items()],
            known=known,
        )
        if place is None:
            return None
        places[place] = hunk
    for place in sorted(places, reverse=True):
        lines[place : place + len(places[place].after)] = places[place].before
    return replace(undone, blob=str(store.repository.create_blob(b"".join(lines))))
