"""Judge a textual patch on another base."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from forkhouse.core.errors import PatchConflictError
from forkhouse.patches import merging, obsolescence, removals, textual
from forkhouse.patches.backends import language_of, parses
from forkhouse.patches.diffs import PartKind
from forkhouse.patches.obsolescence import Course
from forkhouse.patches.spellings import MEANINGFUL, weight
from forkhouse.patches.structural import (
    UnclearFileError,
    text_of,
)
from forkhouse.patches.surroundings import other_place_of_lines
from forkhouse.patches.verdicts import Judgement, PatchedAtPin, Verdict, gone_for_good, moved

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from forkhouse.patches.diffs import Diff, Part
    from forkhouse.patches.drift import Drift
    from forkhouse.patches.obsolescence import Stretch
    from forkhouse.patches.series import Patch
    from forkhouse.sources.store import ObjectStore


@dataclass(frozen=True, kw_only=True, slots=True)
class TextJudge:
    """Judges patches that are diffs."""

    drift: Drift

    @property
    def store(self) -> ObjectStore:
        """The store of the upstream's objects."""
        return self.drift.store

    def judge(self, base: str, arrived: str, patch: Patch) -> Judgement:
        """Judge a diff on the tree `base`, which the upstream left as `arrived`."""
        diff = self.drift.diff_of(base, patch)

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
            doubt = (
                self._doubt(base, patch, diff, {})
                or self._astray(base, patch, tree, {})
                or self._broken(base, patch, tree)
            )
            if doubt:
                return judged(Verdict.CONFLICT, doubt)
            if tree != base:
                return judged(Verdict.CLEAN, tree=tree)
            cause = "it applies and changes nothing"
        removed = [part.old for each in diff for part in each.parts if part.kind is PartKind.REMOVE]
        elsewhere = self.drift.renames(
            arrived, [path for path in removed if self.store.entry(base, path) is None]
        )
        if elsewhere:
            return judged(
                Verdict.CONFLICT, f"what was to be removed has another name: {moved(elsewhere)}"
            )
        if textual.is_there(base, diff, store=self.store):
            return there("every hunk's result is there already", {})
        changed, added = textual.touched(diff)
        pinned = self.drift.pinned.get(patch.name)
        missing = [path for path in changed if self.store.entry(base, path) is None]
        # Without the pin, nothing is known about a missing file: it may have been renamed.
        renamed = self.drift.renames(arrived, missing)
        if renamed:
            followed = {old: self.store.entry(base, new) for old, new in renamed.items()}
            if textual.is_there(self.store.with_entries(base, followed), diff, store=self.store):
                return there(f"every hunk's result is there already; {moved(renamed)}", renamed)
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
        told = moved(renamed)
        if merged is not None:
            places = [renamed.get(path, path) for path in (*changed, *added)]
            broken = [
                path
                for path in places
                if self._parsed(base, path) and not self._parsed(merged, path)
            ]
            doubt = self._doubt(base, patch, diff[:1], renamed)
            if doubt:
                return judged(Verdict.CONFLICT, f"{doubt} {told}".strip())
            if not broken:
                doubt = self._astray(base, patch, merged, renamed)
                if doubt:
                    return judged(Verdict.CONFLICT, doubt)
                return judged(Verdict.MERGED, told, tree=merged)
            cause = f"merged, {', '.join(broken)} would not be well formed any more"
        elif pinned and not added:
            gone, lost = self._lost_hunks(base, pinned, renamed)
            if gone:
                return replace(judged(Verdict.OBSOLETE, gone_for_good(gone)), lost=lost)
        return judged(Verdict.CONFLICT, f"{cause} {told}".strip())

    def _left_lines(self, base: str, patch: Patch, renamed: Mapping[str, str]) -> str:
        """Report a line that a patch removes from a file altogether, but that still stands in it.

        The line may stand at another place or with other white space. Returns an empty text if
        there is none.
        """
        pinned = self.drift.pinned.get(patch.name)
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
        pinned = self.drift.pinned.get(patch.name)
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
        pinned = self.drift.pinned.get(patch.name)
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
        pinned = self.drift.pinned.get(patch.name)
        if pinned is None:
            return []
        parts = merging.parts_between(pinned.before, pinned.after, store=self.store).parts
        return [part for part in parts if part.hunks and part.kind is not PartKind.REMOVE]

    def _taken(self, patch: Patch, renamed: Mapping[str, str]) -> tuple[removals.RemovedRun, ...]:
        """Return the lines that a patch takes out and adds nowhere, as they tell something."""
        parts = self._changes_of(patch)
        added = {line.strip() for part in parts for hunk in part.hunks for line in hunk.after}
        taken = [
            run.without(added)
            for part in parts
            for run in removals.runs(part, renamed.get(part.old, part.old))
        ]
        return tuple(run for run in taken if run.telling())

    def _squeezed(self, tree: str, path: str) -> dict[str, str]:
        """Return the lines of a file that have a meaning, by their text without white space."""
        lines = (line.strip() for line in self.drift.text(tree, path).splitlines())
        return {"".join(line.split()): line for line in lines if weight(line) >= MEANINGFUL}

    def _doubt(
        self, base: str, patch: Patch, read: Sequence[Diff], renamed: Mapping[str, str]
    ) -> str:
        """Say which hunk has its lines at several places of a file that differs from the pin.

        The nearest place, or the one that a merge takes, may be a copy of the intended one.
        """
        pinned = self.drift.pinned.get(patch.name)
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

    def _astray(self, base: str, patch: Patch, tree: str, renamed: Mapping[str, str]) -> str:
        """Say where a diff changes another construct, such as a function, than at the pin.

        `tree` is the base with the diff applied. Returns an empty text if there is none.
        """
        pinned = self.drift.pinned.get(patch.name)
        if pinned is None:
            return ""
        made = {part.old: part for part in self._changed_parts(base, tree)}
        for part in self._changed_parts(pinned.before, pinned.after):
            place = renamed.get(part.old, part.old)
            before, now = self.drift.text(pinned.before, part.old), self.drift.text(base, place)
            if place not in made or before == now:
                continue
            other = other_place_of_lines(
                before, _changed_spans(before, part), now, _changed_spans(now, made[place]), place
            )
            if other is not None:
                return (
                    f"{place}: the lines of the patch stood in {other[0]} at the pin and are gone "
                    f"from there; now they stand in {other[1]}, which may be another thing. Look "
                    "at that place, and make the patch again on this base"
                )
        return ""

    def _broken(self, base: str, patch: Patch, tree: str) -> str:
        """Say which files parse no longer where a diff was applied, though they do at the pin.

        The lines around each hunk may be as they were, and what is new elsewhere in the file does
        not go with it. `tree` is the base with the diff applied.
        """
        pinned = self.drift.pinned.get(patch.name)
        if pinned is None:
            return ""
        broken = [
            part.new
            for part in self._changed_parts(base, tree)
            if self.store.entry(base, part.old) != self.store.entry(pinned.before, part.old)
            and self._parsed(base, part.old)
            and self._parsed(pinned.after, part.new)
            and not self._parsed(tree, part.new)
        ]
        return f"applied, {', '.join(broken)} would not be well formed any more" if broken else ""

    def _changed_parts(self, before: str, after: str) -> list[Part]:
        parts = merging.parts_between(before, after, store=self.store).parts
        return [part for part in parts if part.kind is PartKind.CHANGE and part.binary is None]

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
                before=self.drift.text(pinned.before, path),
                origin=self.drift.text(self.drift.origin, path),
                place=place if there else "",
                now=self.drift.text(base, place),
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
