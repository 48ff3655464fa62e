"""Judge a structural edit on another base."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from forkhouse.core.errors import ForkhouseError, PatchConflictError, PostConditionError
from forkhouse.patches import merging, obsolescence, textual
from forkhouse.patches.arrival import came_about
from forkhouse.patches.doubts import lives_on
from forkhouse.patches.edits import AddedFile
from forkhouse.patches.elsewhere import (
    stays,
)
from forkhouse.patches.merging import LIKENESS
from forkhouse.patches.obsolescence import Course
from forkhouse.patches.operations import applied_alone, asks_for_nothing
from forkhouse.patches.sameplace import other_target
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
from forkhouse.patches.surroundings import other_place, other_result
from forkhouse.patches.textual import map_path
from forkhouse.patches.verdicts import UNPROVEN, Judgement, Verdict, gone_for_good, moved

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from forkhouse.patches.drift import Drift
    from forkhouse.patches.edits import FileEdit, Operation, StructuralEdit
    from forkhouse.patches.obsolescence import Stretch
    from forkhouse.patches.series import Patch
    from forkhouse.sources.store import ObjectStore


@dataclass(frozen=True, kw_only=True, slots=True)
class _OperationStep:
    """An operation with its file at the pin and now, as the operations before it leave it."""

    path: str
    """The path of the file in the base."""
    operation: Operation
    language: str
    before: str
    left: str
    """The text at the pin with the operation applied."""
    now: str
    made: str
    """The text of now with the operation applied."""
    same_file: bool
    """Whether the whole file is as it was at the pin."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EditJudge:
    """Judges patches that are structural edits."""

    drift: Drift

    @property
    def store(self) -> ObjectStore:
        """The store of the upstream's objects."""
        return self.drift.store

    def judge(self, base: str, arrived: str, patch: Patch, edit: StructuralEdit) -> Judgement:
        """Judge an edit on the tree `base`, which the upstream left as `arrived`."""
        renamed = self._followed(base, arrived, patch, edit)
        paths = {**self.drift.paths, **renamed}

        def judged(verdict: Verdict, cause: str, tree: str = base) -> Judgement:
            return Judgement(
                patch=patch.name, verdict=verdict, tree=tree, cause=cause, renamed=renamed
            )

        # This comes first, as otherwise an insertion would be made a second time.
        there = is_there(base, edit, paths, store=self.store)
        kept = self._kept(base, patch, edit, paths) if there else ""
        kept = kept or (self._strayed(base, patch, edit, paths, done=True) if there else "")
        if kept:
            return judged(Verdict.CONFLICT, kept)
        if there and self._came_about(base, patch, edit, paths):
            return judged(Verdict.UPSTREAMED, "every edit's result is there already")
        try:
            made = structured(base, edit, paths, store=self.store, where=patch.name)
        except (PatchConflictError, PostConditionError) as error:
            gone, lost = self._gone(base, patch, edit, paths)
            if gone:
                return replace(judged(Verdict.OBSOLETE, gone_for_good(gone)), lost=lost)
            doubts = [
                asked_elsewhere(base, edit, paths, store=self.store),
                UNPROVEN if there else "",
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
        strayed = self._strayed(base, patch, edit, paths, done=False)
        if strayed:
            return judged(Verdict.CONFLICT, strayed)
        found = "; ".join([*([moved(renamed)] if renamed else []), *made.idle])
        distance = self._distance(base, patch, made.tree)
        if distance is Verdict.RESTRUCTURED and (
            other := self._other_target(base, patch, edit, paths)
        ):
            return judged(Verdict.CONFLICT, f"it applies, but to something else: {other}")
        return replace(judged(distance, found, made.tree), idle=bool(made.idle))

    def _came_about(
        self, base: str, patch: Patch, edit: StructuralEdit, paths: Mapping[str, str]
    ) -> bool:
        """Say whether the result of an edit, which the base has, came there after the pin.

        Files whose state at the pin is not known count as if it did.
        """
        return all(
            came_about(each.before, each.now, each.operation, each.language)
            for each in self._steps(base, patch, edit, paths, done=True)
        )

    def _kept(self, base: str, patch: Patch, edit: StructuralEdit, paths: Mapping[str, str]) -> str:
        """Say what an edit takes out that its file only has under another name or elsewhere."""
        kept = (
            (each.path, stays(each.before, each.now, each.operation, each.language))
            for each in self._steps(base, patch, edit, paths, done=True)
        )
        return next((lives_on(path, path, line) for path, line in kept if line), "")

    def _strayed(
        self,
        base: str,
        patch: Patch,
        edit: StructuralEdit,
        paths: Mapping[str, str],
        *,
        done: bool,
    ) -> str:
        """Say which operation applies in another construct than at the pin, such as a function.

        If the upstream has `done` what the edit does, say where that is. An operation that has
        nothing to do must not leave what it takes out under another name. Returns an empty text if
        there is none.
        """
        for each in self._steps(base, patch, edit, paths, done=done):
            if each.same_file:
                continue
            operation, language = each.operation, each.language
            other = (
                other_result(each.left, each.now, operation, language, each.path)
                if done
                else other_place(each.before, each.now, operation, language, each.path)
            )
            if other is not None:
                return _in_another(each.path, other, operation)
            idle = each.made == each.now
            kept = stays(each.before, each.now, operation, language) if idle else ""
            if kept:
                return lives_on(each.path, each.path, kept)
        return ""

    def _other_target(
        self, base: str, patch: Patch, edit: StructuralEdit, paths: Mapping[str, str]
    ) -> str:
        """Say which operation changes something else here than at the pin.

        Returns an empty text if none does, as far as can be told.
        """
        told = (
            other_target(each.before, each.now, each.operation, each.language)
            for each in self._steps(base, patch, edit, paths, done=False)
        )
        return next(filter(None, told), "")

    def _steps(
        self,
        base: str,
        patch: Patch,
        edit: StructuralEdit,
        paths: Mapping[str, str],
        *,
        done: bool,
    ) -> Iterator[_OperationStep]:
        """Yield the operations of the files whose text at the pin is known.

        If the upstream has `done` what the edit does, the text of now is taken as it is.
        """
        for change in edit.edits:
            course = self._course(base, patch, change, paths)
            if course is None or isinstance(change, AddedFile):
                continue
            path, before, now = course
            same, language = before == now, change.language
            for operation in change.operations:
                left = applied_alone(before, operation, language)
                made = now if done else applied_alone(now, operation, language)
                yield _OperationStep(
                    path=path,
                    operation=operation,
                    language=language,
                    before=before,
                    left=left,
                    now=now,
                    made=made,
                    same_file=same,
                )
                before, now = left, made

    def _course(
        self,
        base: str,
        patch: Patch,
        change: FileEdit | AddedFile,
        paths: Mapping[str, str],
    ) -> tuple[str, str, str] | None:
        """Return the path of a file in the base, and its texts at the pin and now.

        Returns None for an added file, and if the text at the pin is not known.
        """
        pinned = self.drift.pinned.get(patch.name)
        if pinned is None or isinstance(change, AddedFile):
            return None
        try:
            old = locate(pinned.before, change, self.drift.paths, store=self.store)
        except (MissingFileError, UnclearFileError):
            return None
        path = locate(base, change, paths, store=self.store)
        return path, self.drift.text(pinned.before, old), self.drift.text(base, path)

    def _distance(self, base: str, patch: Patch, tree: str) -> Verdict:
        """Return the step at which the textual form gives the same tree as the structural form."""
        pinned = self.drift.pinned.get(patch.name)
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

    def _followed(
        self, base: str, arrived: str, patch: Patch, edit: StructuralEdit
    ) -> dict[str, str]:
        """Return the new paths of files that an edit names and the base does not have.

        Renames are found by git's own measure of similarity.
        """
        pinned = self.drift.pinned.get(patch.name)
        if pinned is None:
            return {}
        lost = {}
        for change in edit.edits:
            if isinstance(change, AddedFile):
                continue
            try:
                locate(base, change, self.drift.paths, store=self.store)
            except UnclearFileError:
                continue  # it is not gone, but ambiguous or hidden
            except MissingFileError:
                try:
                    lost[locate(pinned.before, change, self.drift.paths, store=self.store)] = change
                except (MissingFileError, UnclearFileError):
                    continue
        new = self.drift.renames(arrived, lost)
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
        pinned = self.drift.pinned.get(patch.name)
        if pinned is None:
            return None
        try:
            path = locate(pinned.before, change, self.drift.paths, store=self.store)
        except (MissingFileError, UnclearFileError):
            return None
        before, origin = (
            self.drift.text(pinned.before, path),
            self.drift.text(self.drift.origin, path),
        )
        return obsolescence.of_edit(
            change, Course(path=path, before=before, origin=origin, place=place, now=now)
        )

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
        pinned = self.drift.pinned.get(patch.name)
        best = (LIKENESS / 100, "")
        for change in edit.edits:
            if isinstance(change, AddedFile) or not anchor:
                continue
            try:
                path = locate(base, change, paths, store=self.store)
                known = (
                    self._lines(
                        pinned.before,
                        locate(pinned.before, change, self.drift.paths, store=self.store),
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


def _in_another(path: str, other: tuple[str, str], operation: Operation) -> str:
    return (
        f"{path}: what the edit looks for, or its result, stood in {other[0]} at the pin and is "
        f"gone from there; now it stands in {other[1]}, which may be another thing. Look at that "
        "place, and name it by `within:`, or drop the operation: "
        f"{operation.model_dump(by_alias=True, exclude_defaults=True)}."
    )
