"""Decide without a guess what becomes of a patch on another base.

A patch has a textual form, the difference that it makes at the pin. A structural edit has a
structural form as well. On a new base, the textual form is tried exactly, and then by a 3-way merge
in memory. For an edit, the structural form decides: its result is the result, and the textual form
only says how far the upstream has moved. A patch that cannot be applied is in the upstream already,
or has lost its target, or is in conflict. The cause is then named.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from forkhouse.core.errors import ForkhouseError, PatchConflictError
from forkhouse.core.signals import Stopped
from forkhouse.patches import merging, textual
from forkhouse.patches.doubts import Doubts
from forkhouse.patches.drift import Drift
from forkhouse.patches.editjudge import EditJudge
from forkhouse.patches.edits import AddedFile
from forkhouse.patches.encodings import readable
from forkhouse.patches.failures import internal_error
from forkhouse.patches.languages.requirements import refers
from forkhouse.patches.textjudge import TextJudge
from forkhouse.patches.textual import map_path
from forkhouse.patches.verdicts import APPLIED, Judgement, PatchedAtPin, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from forkhouse.documents.lockfile import Form
    from forkhouse.patches.series import Patch
    from forkhouse.sources.store import MatchedEntry, ObjectStore, TreeEntry


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
    _drift: Drift = field(init=False, repr=False, compare=False)
    _doubts: Doubts = field(init=False, repr=False, compare=False)
    _texts: TextJudge = field(init=False, repr=False, compare=False)
    _edits: EditJudge = field(init=False, repr=False, compare=False)
    _known: dict[tuple[object, ...], tuple[Judgement, dict[str, TreeEntry | None]]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """Judgements with the files that they changed, by all that they depend on.

    Neighbouring commits share nearly all of them.
    """
    _linked: dict[tuple[str, str], bool] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """Whether a pattern meets symbolic links, by the identity of what it names."""
    _referring: dict[str, bool] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Whether a file of requirements refers to others, by its content's id."""

    def __post_init__(self) -> None:
        """Let all parts share what is known of the upstream."""
        drift = Drift(store=self.store, paths=self.paths, pinned=self.pinned)
        object.__setattr__(self, "_drift", drift)
        object.__setattr__(self, "_doubts", Doubts(drift=drift, form=self.form))
        object.__setattr__(self, "_texts", TextJudge(drift=drift))
        object.__setattr__(self, "_edits", EditJudge(drift=drift))

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
                self._texts.judge(base, arrived, patch)
                if patch.edit is None
                else self._edits.judge(base, arrived, patch, patch.edit)
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
        doubt = self._doubts.living(arrived, judgement.lost) if judgement.lost else ""
        if judgement.taken:
            doubt = doubt or self._doubts.came_elsewhere(arrived, judgement.taken)
        doubt = doubt or self._doubts.unproven(base, arrived, patch, judgement)
        if (judgement.verdict is Verdict.UPSTREAMED or judgement.idle) and not doubt:
            doubt = self._doubts.remaining(judgement.tree, arrived, patch)
        if judgement.verdict in {Verdict.UPSTREAMED, Verdict.OBSOLETE} and not doubt:
            doubt = self._doubts.unread(base, arrived, patch)
        if judgement.verdict in APPLIED:
            doubt = doubt or self._doubts.dead_end(arrived, patch)
            judgement = replace(judgement, tree=base) if doubt else judgement
        return replace(judgement, verdict=Verdict.CONFLICT, cause=doubt) if doubt else judgement

    def _dependencies(self, base: str, arrived: str, patch: Patch) -> Iterator[object]:
        """Yield everything in a tree that a verdict depends on.

        These are the files that a patch names, and the places that its conditions look at.
        """
        if patch.edit is None:
            changed, added = textual.touched(self._drift.diff_of(base, patch))
            files: list[TreeEntry | MatchedEntry | None] = [
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
            yield self._drift.came_and_went(arrived)

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
