"""Doubt a verdict that takes a patch out of the series, or that applies it to nothing."""

from __future__ import annotations

import posixpath
from collections import Counter
from dataclasses import dataclass, field
from glob import escape
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from forkhouse.patches import absence, removals
from forkhouse.patches.backends import language_of
from forkhouse.patches.edits import AddedFile
from forkhouse.patches.elsewhere import (
    declared_names,
    is_everywhere,
    may_require,
    taken_part,
)
from forkhouse.patches.encodings import readable
from forkhouse.patches.remains import Remains
from forkhouse.patches.structural import (
    MissingFileError,
    UnclearFileError,
    locate,
)
from forkhouse.patches.verdicts import APPLIED, Judgement, Verdict
from forkhouse.sources import lfs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forkhouse.documents.lockfile import Form
    from forkhouse.patches.drift import Drift
    from forkhouse.patches.obsolescence import Stretch
    from forkhouse.patches.series import Patch
    from forkhouse.patches.verdicts import PatchedAtPin
    from forkhouse.sources.store import ObjectStore


@dataclass(frozen=True, kw_only=True, slots=True)
class Doubts:
    """Looks for what a verdict would have overlooked."""

    drift: Drift
    form: Form
    """Form of the upstream; only `git` has all of its files."""
    remains: Remains = field(init=False, repr=False, compare=False)
    """Finds what patches take out and the upstream has elsewhere."""
    _places: dict[tuple[Stretch | removals.RemovedRun, str, str], bool] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """Whether lost code, or lines that were taken out, came to another file.

    The key has the contents of that file at the pin and now.
    """
    _pointers: dict[str, bool] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Whether a file's content is a pointer of Git LFS, by the content's id."""

    @property
    def store(self) -> ObjectStore:
        """The store of the upstream's objects."""
        return self.drift.store

    def __post_init__(self) -> None:
        """Look for remains in the store of the upstream."""
        object.__setattr__(self, "remains", Remains(store=self.store))

    def unproven(self, base: str, arrived: str, patch: Patch, judgement: Judgement) -> str:
        """Say why the base does not prove a verdict that takes a patch out of the series.

        For a conflict, say what else is known. Returns an empty text if there is nothing to say.
        """
        pinned = self.drift.pinned.get(patch.name)
        if judgement.verdict in APPLIED or (pinned is None and patch.edit is not None):
            return ""
        places = [judgement.renamed.get(path, path) for path in self.drift.changed_by(base, patch)]
        if judgement.verdict is Verdict.OBSOLETE and pinned is not None:
            unseen = absence.unseen(pinned.before, base, places, self.form, store=self.store)
            came = self.drift.submodules(arrived)
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

    def remaining(self, base: str, arrived: str, patch: Patch) -> str:
        """Say where code is now that a patch takes out and the upstream only moved or renamed.

        Returns an empty text if it is nowhere.
        """
        pinned = self.drift.pinned.get(patch.name)
        if pinned is None:
            return ""
        for taken in self.remains.taken(pinned.before, pinned.after):
            place = self._place(base, arrived, taken.path)
            line = self.remains.rest_in(taken, base, place, self.drift.origin)
            if line:
                return lives_on(taken.path, place, line)
            for path, old, new in self.drift.changed_files(arrived):
                if path in {taken.path, place}:
                    continue
                line = self.remains.came_to(taken, path, (old, new), self.drift.origin)
                if line and not old:  # a file that was renamed may have had that code before
                    former = self.drift.former(arrived, path)
                    line = self.remains.came_to(taken, path, (former, new), self.drift.origin)
                if line:
                    return lives_on(taken.path, path, line)
        return self._required_elsewhere(base, arrived, patch) or self._got(base, arrived, patch)

    def _required_elsewhere(self, base: str, arrived: str, patch: Patch) -> str:
        """Say which other file came to require a distribution that a patch takes out of its own.

        Returns an empty text if there is none.
        """
        edits = patch.edit.edits if patch.edit is not None else ()
        wanted = {
            canonicalize_name(operation.requirement.remove)
            for change in edits
            if not isinstance(change, AddedFile) and change.language == "requirements"
            for operation in change.operations
            if operation.requirement.remove is not None and is_everywhere(operation.requirement)
        }
        for path, old, new in self.drift.changed_files(arrived) if wanted else ():
            if path in self.drift.changed_by(base, patch) or not may_require(path):
                continue
            was, now = (
                Counter(
                    name for name, _ in declared_names(readable(self.store.raw(each), path=path))
                )
                if each
                else Counter[str]()
                for each in (old or self.drift.former(arrived, path), new)
            )
            came = [name for name in wanted if now[name] > was[name]]
            if came:
                return lives_on(", ".join(self.drift.changed_by(base, patch)), path, came[0])
        return ""

    def _got(self, base: str, arrived: str, patch: Patch) -> str:
        """Say which other file got an argument or item that a patch takes out of its own.

        Returns an empty text if there is none.
        """
        edits = patch.edit.edits if patch.edit is not None else ()
        parts = [
            part
            for change in edits
            if not isinstance(change, AddedFile)
            for operation in change.operations
            for part in [taken_part(operation, change.language)]
            if part is not None
        ]
        for path, old, new in self.drift.changed_files(arrived) if parts else ():
            if path in self.drift.changed_by(base, patch):
                continue
            fitting = [each for each in parts if each.language == language_of(path)]
            former = old or (self.drift.former(arrived, path) if fitting else "")
            for part in fitting:
                if self.remains.got(part, path, (former, new), self.drift.origin):
                    return lives_on(", ".join(self.drift.changed_by(base, patch)), path, part.said)
        return ""

    def _place(self, base: str, arrived: str, path: str) -> str:
        """Return where a file of the pin is in a tree, or its own path if it is nowhere."""
        if self.store.entry(base, path) is not None:
            return path
        return self.drift.renames(arrived, [path]).get(path, path)

    def unread(self, base: str, arrived: str, patch: Patch) -> str:
        """Say which file of a patch is no longer well formed where the patch takes something out.

        Returns an empty text if there is none.
        """
        pinned = self.drift.pinned.get(patch.name)
        if pinned is None:
            return ""
        taken = self.remains.taken(pinned.before, pinned.after)
        for path in self.drift.changed_by(base, patch):
            place = self._place(base, arrived, path)
            language = self._language(pinned, patch, path)
            if self.remains.is_ill_formed(
                (pinned.before, path),
                (base, place),
                language,
                tuple(each for each in taken if each.path == path),
            ):
                return (
                    f"{place} is not well-formed {language} any more, so nobody can say what is in "
                    "it and what is not"
                )
        return ""

    def _language(self, pinned: PatchedAtPin, patch: Patch, path: str) -> str:
        """Return the language in which a patch reads a file."""
        for change in patch.edit.edits if patch.edit is not None else ():
            try:
                if (
                    not isinstance(change, AddedFile)
                    and locate(pinned.before, change, self.drift.paths, store=self.store) == path
                ):
                    return change.language
            except (MissingFileError, UnclearFileError):
                continue
        return language_of(path)

    def dead_end(self, arrived: str, patch: Patch) -> str:
        """Say which file a patch adds to a folder whose files the upstream moved or removed.

        Nothing would read it there. Returns an empty text if there is none.
        """
        pinned = self.drift.pinned.get(patch.name)
        added = self.drift.added(patch.name, pinned) if pinned is not None else ()
        went = (
            [path for status, path, _ in self.drift.came_and_went(arrived) if status == "D"]
            if added
            else []
        )
        for path in added if went else ():
            folder = next(
                (
                    each.as_posix()
                    for each in PurePosixPath(path).parents
                    if self.store.is_there(self.drift.origin, each.as_posix())
                ),
                "",
            )
            lost = [each for each in went if folder and each.startswith(f"{folder}/")]
            if not lost:
                continue
            moved = self.drift.renames(arrived, lost)
            places = {posixpath.dirname(new) for new in moved.values()}
            left = len(self.store.glob(self.drift.origin, f"{escape(folder)}/**")) - len(lost)
            if len(moved) <= left and self.store.is_there(arrived, folder):
                continue
            where = (
                f"has its files in {', '.join(sorted(places))} now"
                if places
                else "is not there any more"
            )
            return (
                f"{path} would be added to {folder}, which {where}, so nothing may read it. Let "
                "the patch add it where it is read."
            )
        return ""

    def living(self, arrived: str, lost: Sequence[Stretch]) -> str:
        """Say where in the tree code lives on that its files lost, or return an empty text.

        Only a file that differs from the pin can have got that code.
        """
        for path, old, new in self.drift.changed_files(arrived):
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
                if old or self._came(stretch, path, self.drift.former(arrived, path), new):
                    return f"{stretch.what} is not there any more, and lives on in {path}"
        return ""

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

    def came_elsewhere(self, arrived: str, taken: Sequence[removals.RemovedRun]) -> str:
        """Name a file to which lines came that a patch takes out of another one."""
        for path, old, new in self.drift.changed_files(arrived):
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

    def _told_by(self, arrived: str, path: str, new: str, run: removals.RemovedRun) -> bool:
        """Say whether lines that came to a file tell something.

        They do not if they stood in other files at the pin, or in that one under another name.
        """
        former = self.drift.former(arrived, path)
        others = (
            self.store.raw(old)
            for each, old, _ in self.drift.changed_files(arrived)
            if old and each not in {run.path, run.place}
        )
        told = run.without(removals.common_among(run.telling(), others))
        return told.came(self.store.raw(former) if former else b"", self.store.raw(new))


def lives_on(path: str, place: str, line: str) -> str:
    """Say that what a patch takes out of a file stands in a place now."""
    where = "it" if place == path else place
    return (
        f"what the patch takes out of {path} is not gone: {where} has '{line}' now, so that code "
        "was moved or renamed. Let the patch follow it, or drop the patch if that code is right "
        "there."
    )
