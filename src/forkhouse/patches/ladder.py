"""Decide without a guess what becomes of a patch on another base.

A patch has a textual form, the difference that it makes at the pin. A structural edit has a
structural form as well. On a new base, the textual form is tried exactly, and then by a 3-way merge
in memory. For an edit, the structural form decides: its result is the result, and the textual form
only says how far the upstream has moved. A patch that cannot be applied is in the upstream already,
or has lost its target, or is in conflict. The cause is then named.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from pygit2.enums import FileMode

from forkhouse.core.errors import ForkhouseError, PatchConflictError, PostConditionError
from forkhouse.core.signals import Stopped
from forkhouse.patches import absence, merging, obsolescence, removals, textual
from forkhouse.patches.arrival import came_about
from forkhouse.patches.diffs import PartKind
from forkhouse.patches.edits import AddedFile
from forkhouse.patches.encodings import readable
from forkhouse.patches.failures import internal_error
from forkhouse.patches.languages.base import language_of, parses
from forkhouse.patches.languages.requirements import refers
from forkhouse.patches.merging import LIKENESS
from forkhouse.patches.obsolescence import Course
from forkhouse.patches.operations import applied_alone, asks_for_nothing
from forkhouse.patches.spellings import MEANINGFUL
from forkhouse.patches.structural import (
    MissingFileError,
    UnclearFileError,
    asked_elsewhere,
    held,
    is_there,
    locate,
    structured,
    text_of,
)
from forkhouse.patches.textual import map_path
from forkhouse.sources import lfs

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from forkhouse.documents.lockfile import Form
    from forkhouse.patches.diffs import Diff, Part
    from forkhouse.patches.edits import FileEdit, StructuralEdit
    from forkhouse.patches.obsolescence import Stretch
    from forkhouse.patches.series import Patch
    from forkhouse.sources.store import Found, ObjectStore, TreeEntry


class Verdict(StrEnum):
    """What becomes of a patch on a base."""

    CLEAN = "clean"
    """The textual form applies exactly."""
    MERGED = "merged"
    """The textual form applies by a 3-way merge in memory."""
    RESTRUCTURED = "restructured"
    """The textual form fails, the structural one applies."""
    UPSTREAMED = "upstreamed"
    """The effect of the patch is there already."""
    OBSOLETE = "obsolete"
    """The code that the patch changed is gone."""
    CONFLICT = "conflict"
    """The patch needs a person."""


_UNPROVEN = (
    "That the upstream has it is not proven: what looks like its result stood there at the pin, or "
    "stands under another condition or in another "
    "function now, or what it takes out may stand elsewhere in the file, as in another command or "
    "behind a variable."
)
APPLIED = frozenset({Verdict.CLEAN, Verdict.MERGED, Verdict.RESTRUCTURED})
SETTLED = APPLIED | {Verdict.UPSTREAMED, Verdict.OBSOLETE}


@dataclass(frozen=True, kw_only=True, slots=True)
class PatchedAtPin:
    """The trees before and after a patch at the pin; their difference is its textual form."""

    before: str
    after: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """A verdict on a patch with the evidence for it."""

    patch: str
    verdict: Verdict
    tree: str
    """The tree with the patch applied, or the base if the patch was not applied."""
    cause: str = ""
    """Why the patch was not applied, or what was found on the way."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """Files that the patch names and that have moved.

    Old path to new path, both as in this form of the upstream.
    """
    lost: tuple[Stretch, ...] = field(default=(), repr=False)
    """The code that the patch was about and that its files no longer have.

    The patch is obsolete if that code is nowhere else in the tree.
    """
    taken: tuple[removals.Run, ...] = field(default=(), repr=False)
    """The lines that the patch takes out, and that are gone from its files.

    The patch is upstream only if they came to no other file.
    """


@dataclass(frozen=True, kw_only=True, slots=True)
class Ladder:
    """Judges patches of one upstream in one of its forms."""

    store: ObjectStore
    paths: Mapping[str, str]
    """How the upstream's own paths appear in this form."""
    pinned: Mapping[str, PatchedAtPin]
    """The known textual forms, by the name of the patch."""
    form: Form = "git"
    """Form of the upstream; only `git` has all of its files."""
    _known: dict[tuple[object, ...], tuple[Judgement, dict[str, TreeEntry | None]]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """Judgements with the files that they changed, by all that they depend on.

    Neighbouring commits share nearly all of them.
    """
    _moves: dict[tuple[tuple[str, str, str], ...], dict[str, str]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """Renames since the pin, by the files that were added and removed."""
    _changes: dict[str, tuple[tuple[str, str, str], ...]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """Files that were added or removed since the pin, by tree."""
    _places: dict[tuple[Stretch | removals.Run, str, str], bool] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """Whether lost code, or lines that were taken out, came to another file.

    The key has the contents of that file at the pin and now.
    """
    _arrived: dict[str, list[tuple[str, str, str]]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """Files of the newest tree that differ from the pin."""
    _linked: dict[tuple[str, str], bool] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """Whether a pattern meets symbolic links, by the identity of what it names."""
    _referring: dict[str, bool] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Whether a file of requirements refers to others, by its content's id."""
    _changed: dict[str, tuple[str, ...]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """The files that a patch changes, by the name of the patch."""
    _pointers: dict[str, bool] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Whether a file's content is a pointer of Git LFS, by the content's id."""
    _gitlinks: dict[str, str] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Submodules of the newest tree that differ from the pin."""
    _diffs: dict[tuple[str, str], tuple[Diff, ...]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """Diffs of textual patches.

    The key is the hash of the patch file and the tree that decides what the names in it mean.
    """

    def judge_series(self, base: str, patches: Sequence[Patch]) -> list[Judgement]:
        """Judge a whole series: each patch on the result of those before it that applied."""
        judgements = []
        arrived = base
        for patch in patches:
            judgements.append(self.judge(base, patch, arrived=arrived))
            base = judgements[-1].tree
        return judgements

    def judge(self, base: str, patch: Patch, *, arrived: str = "") -> Judgement:
        """Judge one patch on the tree `base`.

        `arrived` is that tree as the upstream left it, without our earlier patches. Without it,
        `base` is taken.

        An internal failure of any kind becomes a conflict whose cause says so and names a report.
        Raises UnsafeArchiveError for a patch that names a path outside the tree, StorageError, and
        MemoryError.
        """
        try:
            return self._judge(base, patch, arrived or base)
        except PatchConflictError as error:
            return Judgement(
                patch=patch.name, verdict=Verdict.CONFLICT, tree=base, cause=str(error)
            )
        except (ForkhouseError, MemoryError, KeyboardInterrupt, SystemExit, Stopped):
            raise
        # One patch must not end the run of all others, and a grammar's panic is no Exception.
        except BaseException as error:  # noqa: BLE001
            cause = internal_error(error, patch, base, self.store.folder.parent / "reports")
            return Judgement(patch=patch.name, verdict=Verdict.CONFLICT, tree=base, cause=cause)

    def _judge(self, base: str, patch: Patch, arrived: str) -> Judgement:
        key = (patch.name, patch.sha256, *self._dependencies(base, arrived, patch))
        if key not in self._known:
            judgement = (
                self._judge_textual(base, arrived, patch)
                if patch.edit is None
                else self._judge_edit(base, arrived, patch, patch.edit)
            )
            changes: dict[str, TreeEntry | None] = {}
            if judgement.tree != base:
                for delta in merging.difference(base, judgement.tree, store=self.store).deltas:
                    changes[delta.new_file.path] = self.store.entry(
                        judgement.tree, delta.new_file.path
                    )
            self._known[key] = judgement, changes
        judgement, changes = self._known[key]
        judgement = replace(
            judgement, tree=self.store.with_entries(base, changes) if changes else base
        )
        doubt = self._living(arrived, judgement.lost) if judgement.lost else ""
        if judgement.taken:
            doubt = doubt or self._came_elsewhere(arrived, judgement.taken)
        doubt = doubt or self._unproven(base, arrived, patch, judgement)
        return replace(judgement, verdict=Verdict.CONFLICT, cause=doubt) if doubt else judgement

    def _unproven(self, base: str, arrived: str, patch: Patch, judgement: Judgement) -> str:
        """Say why the base does not prove a verdict that takes a patch out of the series.

        For a conflict, say what else is known. Returns an empty text if there is nothing to say.
        """
        pinned = self.pinned.get(patch.name)
        if judgement.verdict in APPLIED or (pinned is None and patch.edit is not None):
            return ""
        if patch.name not in self._changed:
            deltas = (
                merging.difference(pinned.before, pinned.after, store=self.store).deltas
                if pinned
                else ()
            )
            paths = [delta.old_file.path for delta in deltas if delta.status_char() != "A"]
            self._changed[patch.name] = tuple(
                sorted({*paths} if pinned else {*textual.touched(self._diff(base, patch))[0]})
            )
        places = [judgement.renamed.get(path, path) for path in self._changed[patch.name]]
        if judgement.verdict is Verdict.OBSOLETE and pinned is not None:
            unseen = absence.unseen(pinned.before, base, places, self.form, store=self.store)
            came = self._submodules(arrived)
            return unseen or (
                "it is not there, and may be in a submodule that came or changed since the pin: "
                f"{came}"
                if came
                else ""
            )
        hidden = (
            absence.in_the_way(pinned.before if pinned else None, base, path, store=self.store)
            for path in places
        )
        reason = next((each for each in hidden if each), "")
        if judgement.verdict is Verdict.UPSTREAMED or not reason:
            return reason
        return f"{judgement.cause} {reason}" if patch.edit is None else ""

    def _submodules(self, tree: str) -> str:
        """Name the submodules of a tree that differ from the pin."""
        if tree not in self._gitlinks:
            deltas = merging.difference(self._origin, tree, store=self.store).deltas
            self._gitlinks.clear()  # a series is judged on one tree after the other
            came = [
                delta.new_file.path
                for delta in deltas
                if delta.status_char() != "D" and delta.new_file.mode == FileMode.COMMIT
            ]
            self._gitlinks[tree] = ", ".join(came)
        return self._gitlinks[tree]

    def _diff(self, base: str, patch: Patch) -> tuple[Diff, ...]:
        """Return the diffs of a textual patch, which is read only once.

        The tree of the pin decides what the names in it mean.
        """
        pinned = self.pinned.get(patch.name)
        tree = base if pinned is None else pinned.before
        key = patch.sha256, tree
        if key not in self._diffs:
            self._diffs[key] = textual.read_diff(
                patch, self.paths, tree, store=self.store, where=patch.name
            )
        return self._diffs[key]

    def _dependencies(self, base: str, arrived: str, patch: Patch) -> Iterator[object]:
        """Yield everything in a tree that a verdict depends on.

        These are the files that a patch names, and the places that its conditions look at.
        """
        if patch.edit is None:
            changed, added = textual.touched(self._diff(base, patch))
            files: list[TreeEntry | Found | None] = [
                self.store.entry(base, path) for path in (*changed, *added)
            ]
            lost = None in files[: len(changed)]
        else:
            named = [
                path
                for change in patch.edit.edits
                for path in ((change.add,) if isinstance(change, AddedFile) else change.paths)
            ]
            found = [(path, self.store.found(base, map_path(path, self.paths))) for path in named]
            files = [each for _, there in found for each in there]
            # A symbolic link counts with what it leads to, which may be anywhere.
            yield base if any(each.is_link for _, there in found for each in there) else ""
            sought = [condition.absent or condition.present for condition in patch.edit.after]
            # What is asked for is read in the files that those refer to as well, which may be
            # anywhere, too.
            asking = [
                change.paths
                for change in patch.edit.edits
                if not isinstance(change, AddedFile) and change.language == "requirements"
            ]
            asking += [
                each.paths for each in sought if each is not None and each.requirement is not None
            ]
            yield (
                base
                if any(
                    self._refers(base, map_path(path, self.paths))
                    for paths in asking
                    for path in paths
                )
                else ""
            )
            for path in [path for each in sought if each is not None for path in each.paths]:
                yield self._identity(base, map_path(path, self.paths))
            lost = not all(any(each.is_file for each in there) for _, there in found)
        yield tuple(files)
        if lost and self.pinned:
            # All added and removed files of the tree decide where a file was renamed to.
            yield self._came_and_went(arrived)

    def _refers(self, base: str, pattern: str) -> bool:
        """Say whether a file that a pattern names refers to other files for its requirements."""
        for found in self.store.found(base, pattern):
            if not found.is_file:
                continue
            if found.object not in self._referring:
                self._referring[found.object] = refers(
                    readable(self.store.raw(found.object), path=found.path)
                )
            if self._referring[found.object]:
                return True
        return False

    def _identity(self, base: str, pattern: str) -> str:
        """Return an id that changes whenever the files change that a condition reads by a pattern.

        If symbolic links are met, this is the id of the whole tree.
        """
        own = self.store.identity(base, pattern)
        key = (own, pattern)
        if not own or key not in self._linked:
            self._linked[key] = any(found.is_link for found in self.store.found(base, pattern))
        return base if self._linked[key] else own

    @property
    def _origin(self) -> str:
        """The tree of the pin, before the first patch."""
        return next(iter(self.pinned.values())).before

    def _came_and_went(self, tree: str) -> tuple[tuple[str, str, str], ...]:
        """Return the files that were removed and added between the pin and a tree."""
        if tree not in self._changes:
            deltas = merging.difference(self._origin, tree, store=self.store).deltas
            files = [
                (
                    delta.status_char(),
                    delta.new_file if delta.status_char() == "A" else delta.old_file,
                )
                for delta in deltas
            ]
            self._changes[tree] = tuple(
                (status, file.path, str(file.id)) for status, file in files if status in "AD"
            )
        return self._changes[tree]

    def _renames(self, tree: str, lost: Collection[str]) -> dict[str, str]:
        """Return where files of the pin are in a tree."""
        if not lost or not self.pinned:
            return {}
        key = self._came_and_went(tree)
        if key not in self._moves:
            self._moves[key] = merging.renames(self._origin, tree, store=self.store)
        return {path: self._moves[key][path] for path in lost if path in self._moves[key]}

    def _judge_edit(self, base: str, arrived: str, patch: Patch, edit: StructuralEdit) -> Judgement:
        renamed = self._followed(base, arrived, patch, edit)
        paths = {**self.paths, **renamed}

        def judged(verdict: Verdict, cause: str, tree: str = base) -> Judgement:
            return Judgement(
                patch=patch.name, verdict=verdict, tree=tree, cause=cause, renamed=renamed
            )

        # This comes first, as otherwise an insertion would be made a second time.
        there = is_there(base, edit, paths, store=self.store)
        if there and self._came_about(base, patch, edit, paths):
            return judged(Verdict.UPSTREAMED, "every edit's result is there already")
        try:
            made = structured(base, edit, paths, store=self.store, where=patch.name)
        except (PatchConflictError, PostConditionError) as error:
            gone, lost = self._gone(base, patch, edit, paths)
            if gone:
                return replace(judged(Verdict.OBSOLETE, _gone_for_good(gone)), lost=lost)
            doubts = [
                asked_elsewhere(base, edit, paths, store=self.store),
                _UNPROVEN if there else "",
            ]
            return judged(
                Verdict.CONFLICT,
                " ".join(
                    [
                        f"{error}{self._nearest(base, patch, edit, paths, error)}",
                        *filter(None, doubts),
                    ]
                ),
            )
        if made.tree == base:
            return judged(Verdict.CONFLICT, "it applies and changes nothing")
        found = "; ".join([*([_moved(renamed)] if renamed else []), *made.idle])
        return judged(self._distance(base, patch, made.tree), found, made.tree)

    def _came_about(
        self, base: str, patch: Patch, edit: StructuralEdit, paths: Mapping[str, str]
    ) -> bool:
        """Say whether the result of an edit, which the base has, came there after the pin.

        Files whose state at the pin is not known count as if it did.
        """
        pinned = self.pinned.get(patch.name)
        for change in edit.edits:
            if pinned is None or isinstance(change, AddedFile):
                continue
            try:
                before = self._text(
                    pinned.before, locate(pinned.before, change, self.paths, store=self.store)
                )
            except (MissingFileError, UnclearFileError):
                continue
            now = self._text(base, locate(base, change, paths, store=self.store))
            for operation in change.operations:
                if not came_about(before, now, operation, change.language):
                    return False
                before = applied_alone(before, operation, change.language)
        return True

    def _distance(self, base: str, patch: Patch, tree: str) -> Verdict:
        """Return the step at which the textual form gives the same tree as the structural form."""
        pinned = self.pinned.get(patch.name)
        if pinned is None or pinned.before == base:
            return Verdict.CLEAN
        try:
            made = merging.parts_between(pinned.before, pinned.after, store=self.store)
            if textual.apply_exactly(base, [made], store=self.store) == tree:
                return Verdict.CLEAN
        except PatchConflictError:
            if merging.merge(base, pinned.before, pinned.after, {}, store=self.store) == tree:
                return Verdict.MERGED
        return Verdict.RESTRUCTURED

    def _judge_textual(self, base: str, arrived: str, patch: Patch) -> Judgement:
        diff = self._diff(base, patch)

        def judged(verdict: Verdict, cause: str = "", tree: str = base) -> Judgement:
            return Judgement(patch=patch.name, verdict=verdict, tree=tree, cause=cause)

        def there(cause: str, renamed: Mapping[str, str]) -> Judgement:
            left = (
                self._left_lines(base, patch, renamed)
                or self._strange(base, patch, diff)
                or self._moved_within(base, patch, diff, renamed)
            )
            if left:
                return judged(Verdict.CONFLICT, left)
            return replace(judged(Verdict.UPSTREAMED, cause), taken=self._taken(patch, renamed))

        try:
            tree = textual.apply_exactly(base, diff, store=self.store)
        except PatchConflictError as error:
            cause = str(error)
        else:
            doubt = self._doubt(base, patch, diff, {})
            if doubt:
                return judged(Verdict.CONFLICT, doubt)
            if tree != base:
                return judged(Verdict.CLEAN, tree=tree)
            cause = "it applies and changes nothing"
        removed = [part.old for each in diff for part in each.parts if part.kind is PartKind.REMOVE]
        elsewhere = self._renames(
            arrived, [path for path in removed if self.store.entry(base, path) is None]
        )
        if elsewhere:
            return judged(
                Verdict.CONFLICT, f"what was to be removed has another name: {_moved(elsewhere)}"
            )
        if textual.is_there(base, diff, store=self.store):
            return there("every hunk's result is there already", {})
        changed, added = textual.touched(diff)
        pinned = self.pinned.get(patch.name)
        missing = [path for path in changed if self.store.entry(base, path) is None]
        # Without the pin, nothing is known about a missing file: it may have been renamed.
        renamed = self._renames(arrived, missing)
        if renamed:
            followed = {old: self.store.entry(base, new) for old, new in renamed.items()}
            if textual.is_there(self.store.with_entries(base, followed), diff, store=self.store):
                return there(f"every hunk's result is there already; {_moved(renamed)}", renamed)
        sources = textual.sources_of(diff)
        for new, old in sources.items():
            if pinned and self.store.entry(base, old) is None:
                place = f"now {renamed[old]}" if old in renamed else "gone"
                return judged(
                    Verdict.CONFLICT, f"{old}, of which the patch makes {new}, is {place}"
                )
        merged = (
            merging.merge(
                base, pinned.before, pinned.after, renamed, sources=sources, store=self.store
            )
            if pinned
            else None
        )
        if merged == base:
            return there("merged, it changes nothing", renamed)
        moved = _moved(renamed)
        if merged is not None:
            places = [renamed.get(path, path) for path in (*changed, *added)]
            broken = [
                path
                for path in places
                if self._parsed(base, path) and not self._parsed(merged, path)
            ]
            doubt = self._doubt(base, patch, diff[:1], renamed)
            if doubt:
                return judged(Verdict.CONFLICT, f"{doubt} {moved}".strip())
            if not broken:
                return judged(Verdict.MERGED, moved, tree=merged)
            cause = f"merged, {', '.join(broken)} no longer parses"
        elif pinned and not added:
            gone, lost = self._lost_hunks(base, pinned, renamed)
            if gone:
                return replace(judged(Verdict.OBSOLETE, _gone_for_good(gone)), lost=lost)
        return judged(Verdict.CONFLICT, f"{cause} {moved}".strip())

    def _left_lines(self, base: str, patch: Patch, renamed: Mapping[str, str]) -> str:
        """Report a line that a patch removes from a file altogether, but that still stands in it.

        The line may stand at another place or with other white space. Returns an empty text if
        there is none.
        """
        pinned = self.pinned.get(patch.name)
        if pinned is None:
            return ""
        deltas = merging.difference(pinned.before, pinned.after, store=self.store).deltas
        for path in [delta.old_file.path for delta in deltas if delta.status_char() == "M"]:
            place = renamed.get(path, path)
            before, after = (self._squeezed(tree, path) for tree in (pinned.before, pinned.after))
            now = self._squeezed(base, place)
            left = next(
                (
                    line
                    for squeezed, line in now.items()
                    if squeezed in before and squeezed not in after
                ),
                "",
            )
            if left:
                return (
                    f"every hunk's result is there, but {place} still has the line '{left}', which "
                    "the patch takes out"
                )
        return ""

    def _strange(self, base: str, patch: Patch, read: Sequence[Diff]) -> str:
        """Report a file that bears the name of one that the patch renames or copies, by chance."""
        pinned = self.pinned.get(patch.name)
        for new in textual.sources_of(read) if pinned else ():
            made, now = (
                self.store.entry(tree, new) for tree in (pinned.after if pinned else "", base)
            )
            if made is None or now is None or made.blob == now.blob:
                continue
            if not merging.alike(*(self.store.content(each) for each in (made, now))):
                return f"{new} is there, and is not the file that the patch makes by that name"
        return ""

    def _moved_within(
        self, base: str, patch: Patch, read: Sequence[Diff], renamed: Mapping[str, str]
    ) -> str:
        """Report lines that a patch takes out, and that stand elsewhere in their file.

        Returns an empty text if there are none.
        """
        pinned = self.pinned.get(patch.name)
        hunks = [(part.old, hunk) for each in read for part in each.parts for hunk in part.hunks]
        for part in self._changes_of(patch):
            place = renamed.get(part.old, part.old)
            after, now = (
                b"" if entry is None else self.store.content(entry)
                for entry in (
                    self.store.entry(pinned.after if pinned else base, part.old),
                    self.store.entry(base, place),
                )
            )
            for run in removals.runs(part):
                line = removals.moved_within(run, after, now).decode("utf-8", "replace")
                if line:
                    return (
                        f"every hunk's result is there, but {place} has the line '{line}', which "
                        "the patch takes out, at another place"
                    )
            for path, hunk in hunks:
                if path == part.old and removals.is_beside(hunk, after, now):
                    return (
                        f"{place}: what looks like the result of a hunk (line {hunk.line} of the "
                        "patch) stood there at the pin, too"
                    )
        return ""

    def _changes_of(self, patch: Patch) -> list[Part]:
        """Return what a patch changes in files that stay, as it did at the pin."""
        pinned = self.pinned.get(patch.name)
        if pinned is None:
            return []
        parts = merging.parts_between(pinned.before, pinned.after, store=self.store).parts
        return [part for part in parts if part.hunks and part.kind is not PartKind.REMOVE]

    def _taken(self, patch: Patch, renamed: Mapping[str, str]) -> tuple[removals.Run, ...]:
        """Return the lines that a patch takes out and adds nowhere, as they tell something."""
        parts = self._changes_of(patch)
        added = {line.strip() for part in parts for hunk in part.hunks for line in hunk.after}
        taken = [
            run.without(added)
            for part in parts
            for run in removals.runs(part, renamed.get(part.old, part.old))
        ]
        return tuple(run for run in taken if run.telling())

    def _came_elsewhere(self, arrived: str, taken: Sequence[removals.Run]) -> str:
        """Name a file to which lines came that a patch takes out of another one."""
        for path, old, new in self._changed_files(arrived):
            for run in taken:
                if path in {run.path, run.place}:
                    continue
                key = (run, old, new)
                if key not in self._places:
                    before, now = (self.store.raw(each) if each else b"" for each in (old, new))
                    self._places[key] = run.came(before, now)
                if self._places[key] and self._told_by(arrived, path, new, run):
                    line = run.lines[0].decode("utf-8", "replace")
                    return (
                        f"every hunk's result is there, but '{line}', which the patch takes out of "
                        f"{run.path}, came to {path}"
                    )
        return ""

    def _told_by(self, arrived: str, path: str, new: str, run: removals.Run) -> bool:
        """Say whether lines that came to a file tell something.

        They do not if they stood in other files at the pin, or in that one under another name.
        """
        former = self._former(arrived, path)
        others = (
            self.store.raw(old)
            for each, old, _ in self._changed_files(arrived)
            if old and each not in {run.path, run.place}
        )
        told = run.without(removals.common_among(run.telling(), others))
        return told.came(self.store.raw(former) if former else b"", self.store.raw(new))

    def _squeezed(self, tree: str, path: str) -> dict[str, str]:
        """Return the lines of a file that have a meaning, by their text without white space."""
        lines = (line.strip() for line in self._text(tree, path).splitlines())
        return {
            "".join(line.split()): line
            for line in lines
            if len(re.sub(r"\W", "", line)) >= MEANINGFUL
        }

    def _doubt(
        self, base: str, patch: Patch, read: Sequence[Diff], renamed: Mapping[str, str]
    ) -> str:
        """Say which hunk has its lines at several places of a file that differs from the pin.

        The nearest place, or the one that a merge takes, may be a copy of the intended one.
        """
        pinned = self.pinned.get(patch.name)
        if pinned is None:
            return ""
        now = base
        for number, diff in enumerate(read):
            for part in diff.parts:
                place = renamed.get(part.old, part.old)
                entry = self.store.entry(now, place)
                if entry is None or self.store.entry(base, place) == self.store.entry(
                    pinned.before, part.old
                ):
                    continue
                content = b"\n" + self.store.content(entry)
                for count, hunk in enumerate(part.hunks, start=1):
                    wanted = b"\n" + b"".join(hunk.before)
                    first = content.find(wanted)
                    if first >= 0 and content.find(wanted, first + 1) >= 0:
                        lines = f"the lines of hunk {count} (from line {hunk.old_start})"
                        return f"{part.old}: {lines} are there more than once; give it more context"
            if number < len(read) - 1:  # the next diff applies to the result of this one
                now = textual.apply_exactly(now, [diff], store=self.store)
        return ""

    def _lost_hunks(
        self, base: str, pinned: PatchedAtPin, renamed: Mapping[str, str]
    ) -> tuple[list[str], tuple[Stretch, ...]]:
        """Return the code that a textual patch was about and that its files no longer have.

        The result is empty if some of it is still there, or may be.
        """
        gone: dict[str, None] = {}
        lost: list[Stretch] = []
        for part in merging.parts_between(pinned.before, pinned.after, store=self.store).parts:
            if part.binary is not None:
                return [], ()
            path = part.old
            place = renamed.get(path, path)
            now = self.store.entry(base, place)
            there = now is not None
            if part.kind is not PartKind.CHANGE:
                if there:
                    return [], ()
                continue  # the patch removes it, and it is gone
            if now is not None and (
                now.mode in textual.SPECIAL or b"\0" in self.store.content(now)
            ):
                return [], ()  # the lines may be in it, though it has no lines to compare
            file = Course(
                path=path,
                before=self._text(pinned.before, path),
                origin=self._text(self._origin, path),
                place=place if there else "",
                now=self._text(base, place),
            )
            stretches = obsolescence.of_places(
                [(span, None) for span in _changed_spans(file.before, part)], file
            )
            if stretches is None:
                return [], ()
            gone.update(dict.fromkeys([stretch.what for stretch in stretches] if there else [path]))
            lost += stretches
        return list(gone), tuple(lost)

    def _parsed(self, tree: str, path: str) -> bool:
        entry = self.store.entry(tree, path)
        if entry is None:
            return True
        try:
            return parses(text_of(tree, path, store=self.store).text, language_of(path))
        except UnclearFileError:
            return True  # binary, where there is nothing to read

    def _followed(
        self, base: str, arrived: str, patch: Patch, edit: StructuralEdit
    ) -> dict[str, str]:
        """Return the new paths of files that an edit names and the base does not have.

        Renames are found by git's own measure of similarity.
        """
        pinned = self.pinned.get(patch.name)
        if pinned is None:
            return {}
        lost = {}
        for change in edit.edits:
            if isinstance(change, AddedFile):
                continue
            try:
                locate(base, change, self.paths, store=self.store)
            except UnclearFileError:
                continue  # it is not gone, but ambiguous or hidden
            except MissingFileError:
                try:
                    lost[locate(pinned.before, change, self.paths, store=self.store)] = change
                except (MissingFileError, UnclearFileError):
                    continue
        new = self._renames(arrived, lost)
        # The upstream's own path, as an edit names it, leads to the new one; patterns are left out.
        return {
            path: new[old]
            for old, change in lost.items()
            if old in new
            for path in change.paths
            if not set(path) & set("*?[")
        }

    def _gone(
        self, base: str, patch: Patch, edit: StructuralEdit, paths: Mapping[str, str]
    ) -> tuple[list[str], tuple[Stretch, ...]]:
        """Return the code that an edit was about and that its files no longer have.

        The result is empty if some of it is still there, or may be.
        """
        gone: dict[str, None] = {}
        lost: list[Stretch] = []
        for change in edit.edits:
            if isinstance(change, AddedFile):
                return [], ()
            try:
                path = locate(base, change, paths, store=self.store)
                text = text_of(base, path, change.language, store=self.store).text
            except UnclearFileError:
                return [], ()
            except MissingFileError:
                gone[" or ".join(map_path(path, paths) for path in change.paths)] = None
                lost += self._stretches(patch, change, "", "") or []
                continue
            if asks_for_nothing(text, change):
                gone[f"each requirement in {path} that it loosens"] = None
                continue
            stretches = self._stretches(patch, change, path, text)
            if stretches is None:
                return [], ()
            gone.update(dict.fromkeys(stretch.what for stretch in stretches))
            lost += stretches
        if asked_elsewhere(base, edit, paths, store=self.store):
            return [], ()
        # If a condition demands that code is absent, and it is there or may be there, then that
        # code lives on elsewhere.
        for looked in (
            held(base, each.absent, paths, store=self.store)
            for each in edit.after
            if each.absent is not None
        ):
            if looked.hits or looked.unread:
                return [], ()
        return list(gone), tuple(lost)

    def _stretches(
        self, patch: Patch, change: FileEdit, place: str, now: str
    ) -> list[Stretch] | None:
        """Return the stretches of a file that an edit was about, or None.

        None means that the file still has some of them, or that this cannot be told.
        """
        pinned = self.pinned.get(patch.name)
        if pinned is None:
            return None
        try:
            path = locate(pinned.before, change, self.paths, store=self.store)
        except (MissingFileError, UnclearFileError):
            return None
        before, origin = self._text(pinned.before, path), self._text(self._origin, path)
        return obsolescence.of_edit(
            change, Course(path=path, before=before, origin=origin, place=place, now=now)
        )

    def _text(self, tree: str, path: str) -> str:
        """Return the text of a file, or an empty text if there is no such file."""
        entry = self.store.entry(tree, path)
        return "" if entry is None else readable(self.store.content(entry), path=path)

    def _living(self, arrived: str, lost: Sequence[Stretch]) -> str:
        """Say where in the tree code lives on that its files lost, or return an empty text.

        Only a file that differs from the pin can have got that code.
        """
        for path, old, new in self._changed_files(arrived):
            for stretch in lost:
                if not stretch.fits(path):
                    continue
                if new not in self._pointers:
                    self._pointers[new] = lfs.is_pointer(self.store.raw(new))
                if self._pointers[new] and stretch.is_of_kind(path):
                    return (
                        f"{stretch.what} is not there any more, and may be in {path}: "
                        f"{lfs.told(path)}"
                    )
                if not self._came(stretch, path, old, new):
                    continue
                # A file that was renamed may have had such code before.
                if old or self._came(stretch, path, self._former(arrived, path), new):
                    return f"{stretch.what} is not there any more, and lives on in {path}"
        return ""

    def _changed_files(self, tree: str) -> list[tuple[str, str, str]]:
        """Return the files of a tree that differ from the pin.

        Each has its path, and the ids of its content at the pin (if any) and now.
        """
        if tree not in self._arrived:
            self._arrived.clear()  # a series is judged on one tree after the other
            files = (FileMode.BLOB, FileMode.BLOB_EXECUTABLE)
            self._arrived[tree] = [
                (
                    delta.new_file.path,
                    "" if delta.status_char() == "A" else str(delta.old_file.id),
                    str(delta.new_file.id),
                )
                for delta in merging.difference(self._origin, tree, store=self.store).deltas
                if delta.status_char() != "D" and delta.new_file.mode in files
            ]
        return self._arrived[tree]

    def _former(self, tree: str, path: str) -> str:
        """Return the id of the content at the pin of a file that was renamed since.

        The result is empty for a new file.
        """
        gone = [old for status, old, _ in self._came_and_went(tree) if status == "D"]
        names = [old for old, new in self._renames(tree, gone).items() if new == path]
        entry = self.store.entry(self._origin, names[0]) if names else None
        return "" if entry is None else entry.blob

    def _came(self, stretch: Stretch, path: str, old: str, new: str) -> bool:
        key = (stretch, old, new)
        if key not in self._places:
            # The contents are compared as text, as their encodings may differ.
            raw = (self.store.raw(each) if each else b"" for each in (old, new))
            before, now = (
                readable(content, path=path).encode("utf-8", errors="replace") for content in raw
            )
            self._places[key] = stretch.came_to(before, now)
        return self._places[key]

    def _nearest(
        self,
        base: str,
        patch: Patch,
        edit: StructuralEdit,
        paths: Mapping[str, str],
        error: ForkhouseError,
    ) -> str:
        """Return the line most similar to the one that was not found, to show where to look.

        The line to compare with is taken from the file at the pin where that has it.
        """
        anchor = getattr(error, "anchor", "").strip().partition("\n")[0].strip()
        pinned = self.pinned.get(patch.name)
        best = (LIKENESS / 100, "")
        for change in edit.edits:
            if isinstance(change, AddedFile) or not anchor:
                continue
            try:
                path = locate(base, change, paths, store=self.store)
                known = (
                    self._lines(
                        pinned.before, locate(pinned.before, change, self.paths, store=self.store)
                    )
                    if pinned
                    else []
                )
            except (MissingFileError, UnclearFileError):
                continue
            wanted = next((line.strip() for line in known if anchor in line), anchor)
            matcher = difflib.SequenceMatcher(b=wanted)
            for number, line in enumerate(self._lines(base, path), start=1):
                matcher.set_seq1(line.strip())
                # Both are upper bounds of the ratio, and cheap.
                if matcher.real_quick_ratio() > best[0] and matcher.quick_ratio() > best[0]:
                    best = max(
                        best,
                        (matcher.ratio(), f" Nearest to it: {path}:{number}: {line.strip()[:120]}"),
                    )
        return best[1]

    def _lines(self, tree: str, path: str) -> list[str]:
        """Return the lines of a file in the form in which they are shown to a person."""
        return self.store.read(tree, path).decode("utf-8", errors="backslashreplace").splitlines()


def _moved(renamed: Mapping[str, str]) -> str:
    return "; ".join(f"{old} is now {new}" for old, new in renamed.items())


def _gone_for_good(gone: Sequence[str]) -> str:
    return f"{', '.join(gone)} is gone, and nothing like it is there"


def _changed_spans(text: str, part: Part) -> list[tuple[int, int]]:
    """Return the spans of a text from which a diff removes lines.

    If the diff only adds lines, this is the line above them.
    """
    runs: list[list[int]] = []
    for hunk in part.hunks:
        # A hunk without old lines stands behind the line that it names.
        line = hunk.old_start if hunk.before else hunk.old_start + 1
        above, last = 0, " "
        for mark in hunk.marks.decode("ascii"):
            if mark == "-" and last == "-":
                runs[-1].append(line)
            elif mark == "-" or (mark == "+" and last == " "):
                runs.append([line if mark == "-" else max(1, above)])
            above, last = (line if mark == " " else above), mark
            line += mark != "+"
    starts = [0, *(match.end() for match in re.finditer("\n", text)), len(text) + 1]
    return [(starts[run[0] - 1], starts[run[-1]] - 1) for run in runs]


def pin(base: str, patches: Sequence[Patch], ladder: Ladder) -> dict[str, PatchedAtPin]:
    """Apply a series where it is known to apply, and return the textual form of each patch.

    Raises PatchConflictError for a patch that does not apply there.
    """
    pinned = {}
    for patch in patches:
        judgement = ladder.judge(base, patch)
        if judgement.verdict not in APPLIED:
            message = f"{patch.name} does not apply at the pin itself: {judgement.cause}"
            raise PatchConflictError(message)
        pinned[patch.name] = PatchedAtPin(before=base, after=judgement.tree)
        base = judgement.tree
    return pinned
