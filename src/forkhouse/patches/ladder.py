"""The ladder: what becomes of a patch on another base, decided without a guess.

A patch has a textual form, the difference it makes at the pin, and an edit has a structural one besides. On a new base the
textual form is tried exactly, then by a 3-way merge in memory, and the structural form decides: what it gives is the result, and
the textual form only says how far the upstream has moved. What cannot be applied is upstream already, or without an object, or in
conflict, and then the cause is named.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from forkhouse.errors import ForkhouseError, PatchConflictError, PostConditionError
from forkhouse.patches import textual
from forkhouse.patches.edits import AddedFile
from forkhouse.patches.languages import language_of, parses
from forkhouse.patches.operations import asks_for_nothing
from forkhouse.patches.structural import MissingFileError, apply_structural, holders, is_there, locate
from forkhouse.patches.textual import LIKENESS, map_path

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    import pygit2

    from forkhouse.patches.edits import StructuralEdit
    from forkhouse.patches.series import Patch
    from forkhouse.sources.store import Entry, ObjectStore


class Verdict(StrEnum):
    """What becomes of a patch on a base."""

    CLEAN = "clean"
    """The textual form applies exactly."""
    MERGED = "merged"
    """The textual form applies by a 3-way merge in memory."""
    RESTRUCTURED = "restructured"
    """The textual form fails, the structural one applies."""
    UPSTREAMED = "upstreamed"
    """Its effect is already there."""
    OBSOLETE = "obsolete"
    """The code that it patched is gone."""
    CONFLICT = "conflict"
    """It needs a person."""


APPLIED = frozenset({Verdict.CLEAN, Verdict.MERGED, Verdict.RESTRUCTURED})
SETTLED = APPLIED | {Verdict.UPSTREAMED, Verdict.OBSOLETE}


@dataclass(frozen=True, kw_only=True, slots=True)
class Pinned:
    """The trees before and after a patch at the pin: between them lies its textual form."""

    before: str
    after: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """A verdict with its evidence."""

    patch: str
    verdict: Verdict
    tree: str
    """The tree with the patch applied; the base where it was not."""
    cause: str = ""
    """Why not, or what was found on the way."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """Files that the patch names and that have moved: old path to new path, both as in this form of the upstream."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ladder:
    """Judges patches of one upstream in one of its forms."""

    store: ObjectStore
    paths: Mapping[str, str]
    """How the upstream's own paths appear in this form."""
    pinned: Mapping[str, Pinned]
    """The textual forms that are known, by patch name."""
    _known: dict[tuple[object, ...], tuple[Judgement, dict[str, Entry | None]]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """Judgements with the files that they changed, by all that they depend on. Neighbours in a history share nearly all of it."""
    _moves: dict[tuple[tuple[str, str, str], ...], dict[str, str]] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Renames since the pin, by the files that came and went."""
    _changes: dict[str, tuple[tuple[str, str, str], ...]] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Files that came and went since the pin, by tree."""
    _diffs: dict[str, pygit2.Diff] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Diffs of textual patches, by the hash of their file."""

    def judge_series(self, base: str, patches: Sequence[Patch]) -> list[Judgement]:
        """Judge a whole series: each patch on the result of those before it that applied."""
        judgements = []
        arrived = base
        for patch in patches:
            judgements.append(self.judge(base, patch, arrived=arrived))
            base = judgements[-1].tree
        return judgements

    def judge(self, base: str, patch: Patch, *, arrived: str = "") -> Judgement:
        """Judge one patch on the tree `base`, where `arrived` is that tree as the upstream left it, without earlier patches of ours.

        Raises UnsafeArchiveError for a patch that names a path outside the tree.
        """
        arrived = arrived or base
        key = (patch.name, patch.sha256, *self._dependencies(base, arrived, patch))
        if key not in self._known:
            judgement = (
                self._judge_textual(base, arrived, patch) if patch.edit is None else self._judge_edit(base, arrived, patch, patch.edit)
            )
            changes: dict[str, Entry | None] = {}
            if judgement.tree != base:
                for delta in textual.difference(base, judgement.tree, store=self.store).deltas:
                    changes[delta.new_file.path] = self.store.entry(judgement.tree, delta.new_file.path)
            self._known[key] = judgement, changes
        judgement, changes = self._known[key]
        return replace(judgement, tree=self.store.with_entries(base, changes) if changes else base)

    def _diff(self, patch: Patch) -> pygit2.Diff:
        """Return the diff of a textual patch, read once."""
        if patch.sha256 not in self._diffs:
            self._diffs[patch.sha256] = textual.read_diff(patch, self.paths, where=patch.name)
        return self._diffs[patch.sha256]

    def _dependencies(self, base: str, arrived: str, patch: Patch) -> Iterator[object]:
        """Yield all of a tree that a verdict depends on: the files that a patch names, and what its conditions look at."""
        if patch.edit is None:
            changed, added = textual.touched(self._diff(patch))
            files = [self.store.entry(base, path) for path in (*changed, *added)]
            lost = None in files[: len(changed)]
        else:
            named = [path for change in patch.edit.edits for path in ((change.add,) if isinstance(change, AddedFile) else change.paths)]
            found = [(path, self.store.glob(base, map_path(path, self.paths))) for path in named]
            files = [self.store.entry(base, each) for _, paths in found for each in paths]
            yield tuple(each for _, paths in found for each in paths)
            looked_for = [condition.absent or condition.present for condition in patch.edit.after]
            for pattern in [map_path(each.in_, self.paths) for each in looked_for if each is not None]:
                yield self.store.identity(base, pattern)
            lost = not all(paths for _, paths in found)
        yield tuple(files)
        if lost and self.pinned:
            # Where a file went is known from what came and went in the whole tree.
            yield self._came_and_went(arrived)

    @property
    def _origin(self) -> str:
        """The tree of the pin, before the first patch."""
        return next(iter(self.pinned.values())).before

    def _came_and_went(self, tree: str) -> tuple[tuple[str, str, str], ...]:
        """Return the files that came and went between the pin and a tree."""
        if tree not in self._changes:
            deltas = textual.difference(self._origin, tree, store=self.store).deltas
            files = [(delta.status_char(), delta.new_file if delta.status_char() == "A" else delta.old_file) for delta in deltas]
            self._changes[tree] = tuple((status, file.path, str(file.id)) for status, file in files if status in "AD")
        return self._changes[tree]

    def _renames(self, tree: str, lost: Collection[str]) -> dict[str, str]:
        """Return where files of the pin lie in a tree."""
        if not lost or not self.pinned:
            return {}
        key = self._came_and_went(tree)
        if key not in self._moves:
            self._moves[key] = textual.renames(self._origin, tree, store=self.store)
        return {path: self._moves[key][path] for path in lost if path in self._moves[key]}

    def _judge_edit(self, base: str, arrived: str, patch: Patch, edit: StructuralEdit) -> Judgement:
        renamed = self._followed(base, arrived, patch, edit)
        paths = {**self.paths, **renamed}

        def judged(verdict: Verdict, cause: str, tree: str = base) -> Judgement:
            return Judgement(patch=patch.name, verdict=verdict, tree=tree, cause=cause, renamed=renamed)

        # Asked first, as an insertion would be made a second time.
        if is_there(base, edit, paths, store=self.store):
            return judged(Verdict.UPSTREAMED, "every edit's result is there already")
        try:
            tree = apply_structural(base, edit, paths, store=self.store, where=patch.name)
        except (PatchConflictError, PostConditionError) as error:
            gone = self._gone(base, edit, paths)
            if gone:
                return judged(Verdict.OBSOLETE, gone)
            return judged(Verdict.CONFLICT, f"{error}{self._nearest(base, patch, edit, paths, error)}")
        if tree == base:
            return judged(Verdict.CONFLICT, "it applies and changes nothing")
        return judged(self._distance(base, patch, tree), "; ".join(f"{old} is now {new}" for old, new in renamed.items()), tree)

    def _distance(self, base: str, patch: Patch, tree: str) -> Verdict:
        """Say by which step the textual form would have given the same tree."""
        pinned = self.pinned.get(patch.name)
        if pinned is None or pinned.before == base:
            return Verdict.CLEAN
        try:
            if textual.apply_exactly(base, textual.difference(pinned.before, pinned.after, store=self.store), store=self.store) == tree:
                return Verdict.CLEAN
        except PatchConflictError:
            if textual.merge(base, pinned.before, pinned.after, {}, store=self.store) == tree:
                return Verdict.MERGED
        return Verdict.RESTRUCTURED

    def _judge_textual(self, base: str, arrived: str, patch: Patch) -> Judgement:
        diff = self._diff(patch)

        def judged(verdict: Verdict, cause: str = "", tree: str = base) -> Judgement:
            return Judgement(patch=patch.name, verdict=verdict, tree=tree, cause=cause)

        try:
            tree = textual.apply_exactly(base, diff, store=self.store)
        except PatchConflictError as error:
            cause = str(error)
        else:
            if tree != base:
                return judged(Verdict.CLEAN, tree=tree)
            cause = "it applies and changes nothing"
        if textual.is_there(base, diff, store=self.store):
            return judged(Verdict.UPSTREAMED, "every hunk's result is there already")
        changed, added = textual.touched(diff)
        pinned = self.pinned.get(patch.name)
        missing = [path for path in changed if self.store.entry(base, path) is None]
        # Without the pin at hand nothing is known of a file that is missing: it may have moved.
        renamed = self._renames(arrived, missing)
        if pinned and missing and len(missing) == len(changed) and not added and not renamed:
            return judged(Verdict.OBSOLETE, f"{', '.join(missing)} is gone, and nothing like it is there")
        merged = textual.merge(base, pinned.before, pinned.after, renamed, store=self.store) if pinned else None
        if merged == base:
            return judged(Verdict.UPSTREAMED, "merged, it changes nothing")
        moved = "; ".join(f"{old} is now {new}" for old, new in renamed.items())
        if merged is not None:
            places = [renamed.get(path, path) for path in (*changed, *added)]
            broken = [path for path in places if self._parsed(base, path) and not self._parsed(merged, path)]
            if not broken:
                return judged(Verdict.MERGED, moved, tree=merged)
            cause = f"merged, {', '.join(broken)} no longer parses"
        return judged(Verdict.CONFLICT, f"{cause} {moved}".strip())

    def _parsed(self, tree: str, path: str) -> bool:
        entry = self.store.entry(tree, path)
        if entry is None:
            return True
        try:
            return parses(self.store.read(tree, path).decode("utf-8"), language_of(path))
        except UnicodeDecodeError:
            return True

    def _followed(self, base: str, arrived: str, patch: Patch, edit: StructuralEdit) -> dict[str, str]:
        """Find where the files went that an edit names and the base does not have, by git's own measure of likeness."""
        pinned = self.pinned.get(patch.name)
        if pinned is None:
            return {}
        lost = {}
        for change in edit.edits:
            if isinstance(change, AddedFile):
                continue
            try:
                locate(base, change, self.paths, store=self.store)
            except MissingFileError:
                try:
                    lost[locate(pinned.before, change, self.paths, store=self.store)] = change
                except MissingFileError:
                    continue
        new = self._renames(arrived, lost)
        # An edit names the upstream's own path, or a pattern: what it names is led to the new place.
        return {path: new[old] for old, change in lost.items() if old in new for path in change.paths if not set(path) & set("*?[")}

    def _gone(self, base: str, edit: StructuralEdit, paths: Mapping[str, str]) -> str:
        """Say what an edit was about and is no more, or nothing when some of it is still there."""
        lost = []
        for change in edit.edits:
            if isinstance(change, AddedFile):
                return ""
            try:
                path = locate(base, change, paths, store=self.store)
            except MissingFileError:
                lost.append(" or ".join(map_path(path, paths) for path in change.paths))
                continue
            if not asks_for_nothing(self.store.read(base, path).decode("utf-8", errors="replace"), change):
                return ""
            lost.append(f"each requirement in {path} that it loosens")
        # A condition that something must be gone, and is not, says that the code went on living elsewhere.
        if any(each.absent is not None and holders(base, each.absent, paths, store=self.store)[1] for each in edit.after):
            return ""
        return f"{', '.join(lost)} is gone, and nothing like it is there"

    def _nearest(self, base: str, patch: Patch, edit: StructuralEdit, paths: Mapping[str, str], error: ForkhouseError) -> str:
        """Return the line that looks most like the one at the pin that was not found, to show where to look."""
        anchor = getattr(error, "anchor", "").strip().partition("\n")[0].strip()
        pinned = self.pinned.get(patch.name)
        best = (LIKENESS / 100, "")
        for change in edit.edits:
            if isinstance(change, AddedFile) or not anchor:
                continue
            try:
                path = locate(base, change, paths, store=self.store)
                known = self._lines(pinned.before, locate(pinned.before, change, self.paths, store=self.store)) if pinned else []
            except MissingFileError:
                continue
            wanted = next((line.strip() for line in known if anchor in line), anchor)
            matcher = difflib.SequenceMatcher(b=wanted)
            for number, line in enumerate(self._lines(base, path), start=1):
                matcher.set_seq1(line.strip())
                # Both are upper bounds of the ratio, and cheap.
                if matcher.real_quick_ratio() > best[0] and matcher.quick_ratio() > best[0]:
                    best = max(best, (matcher.ratio(), f" Nearest to it: {path}:{number}: {line.strip()[:120]}"))
        return best[1]

    def _lines(self, tree: str, path: str) -> list[str]:
        return self.store.read(tree, path).decode("utf-8", errors="replace").splitlines()


def pin(base: str, patches: Sequence[Patch], ladder: Ladder) -> dict[str, Pinned]:
    """Apply a series where it is known to apply, and return the textual form of each patch.

    Raises PatchConflictError for a patch that does not apply there.
    """
    pinned = {}
    for patch in patches:
        judgement = ladder.judge(base, patch)
        if judgement.verdict not in APPLIED:
            message = f"{patch.name} does not apply at the pin itself: {judgement.cause}"
            raise PatchConflictError(message)
        pinned[patch.name] = Pinned(before=base, after=judgement.tree)
        base = judgement.tree
    return pinned
