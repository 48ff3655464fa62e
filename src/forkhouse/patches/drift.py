"""Say what an upstream changed between the pin and another tree."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pygit2.enums import FileMode

from forkhouse.patches import merging, textual
from forkhouse.patches.encodings import readable

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from forkhouse.patches.diffs import Diff
    from forkhouse.patches.series import Patch
    from forkhouse.patches.verdicts import PatchedAtPin
    from forkhouse.sources.store import ObjectStore


@dataclass(frozen=True, kw_only=True, slots=True)
class _Difference:
    """A path at which a tree differs from that of the pin."""

    status: str
    """The letter that git gives the change."""
    path: str
    old: str
    """The id of the object at the pin."""
    new: str
    """The id of the object now."""
    mode: int
    """The mode of the object now."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Drift:
    """What one upstream changed since the pin, in one of its forms.

    What is known of a tree is kept: neighbouring commits share nearly all of it.
    """

    store: ObjectStore
    paths: Mapping[str, str]
    """How the upstream's own paths appear in this form."""
    pinned: Mapping[str, PatchedAtPin]
    """The known textual forms, by the name of the patch."""
    _moves: dict[tuple[tuple[str, str, str], ...], dict[str, str]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """Renames since the pin, by the files that were added and removed."""
    _changes: dict[str, tuple[tuple[str, str, str], ...]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """Files that were added or removed since the pin, by tree."""
    _arrived: dict[str, list[tuple[str, str, str]]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """Files of the newest tree that differ from the pin."""
    _differing: dict[str, tuple[_Difference, ...]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """What of the newest tree differs from the pin."""
    _changed: dict[str, tuple[str, ...]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """The files that a patch changes, by the name of the patch."""
    _new: dict[str, tuple[str, ...]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """The files that a patch adds, by the name of the patch."""
    _diffs: dict[tuple[str, str], tuple[Diff, ...]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """Diffs of textual patches.

    The key is the hash of the patch file and the tree that decides what the names in it mean.
    """

    @property
    def origin(self) -> str:
        """The tree of the pin, before the first patch."""
        return next(iter(self.pinned.values())).before

    def came_and_went(self, tree: str) -> tuple[tuple[str, str, str], ...]:
        """Return the files that were removed and added between the pin and a tree."""
        if tree not in self._changes:
            self._changes[tree] = tuple(
                (each.status, each.path, each.new if each.status == "A" else each.old)
                for each in self._differences(tree)
                if each.status in "AD"
            )
        return self._changes[tree]

    def renames(self, tree: str, lost: Collection[str]) -> dict[str, str]:
        """Return where files of the pin are in a tree."""
        if not lost or not self.pinned:
            return {}
        key = self.came_and_went(tree)
        if key not in self._moves:
            self._moves[key] = merging.renames(self.origin, tree, store=self.store)
        return {path: self._moves[key][path] for path in lost if path in self._moves[key]}

    def changed_files(self, tree: str) -> list[tuple[str, str, str]]:
        """Return the files of a tree that differ from the pin.

        Each has its path, and the ids of its content at the pin (if any) and now.
        """
        if tree not in self._arrived:
            self._arrived.clear()  # a series is judged on one tree after the other
            files = (FileMode.BLOB, FileMode.BLOB_EXECUTABLE)
            self._arrived[tree] = [
                (each.path, "" if each.status == "A" else each.old, each.new)
                for each in self._differences(tree)
                if each.status != "D" and each.mode in files
            ]
        return self._arrived[tree]

    def _differences(self, tree: str) -> tuple[_Difference, ...]:
        if tree not in self._differing:
            self._differing.clear()  # a series is judged on one tree after the other
            self._differing[tree] = tuple(
                _Difference(
                    status=delta.status_char(),
                    path=delta.new_file.path,
                    old=str(delta.old_file.id),
                    new=str(delta.new_file.id),
                    mode=delta.new_file.mode,
                )
                for delta in merging.difference(self.origin, tree, store=self.store).deltas
            )
        return self._differing[tree]

    def former(self, tree: str, path: str) -> str:
        """Return the id of the content at the pin of a file that was renamed since.

        The result is empty for a new file.
        """
        gone = [old for status, old, _ in self.came_and_went(tree) if status == "D"]
        names = [old for old, new in self.renames(tree, gone).items() if new == path]
        entry = self.store.entry(self.origin, names[0]) if names else None
        return "" if entry is None else entry.blob

    def submodules(self, tree: str) -> str:
        """Name the submodules of a tree that differ from the pin."""
        return ", ".join(
            each.path
            for each in self._differences(tree)
            if each.status != "D" and each.mode == FileMode.COMMIT
        )

    def diff_of(self, base: str, patch: Patch) -> tuple[Diff, ...]:
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

    def text(self, tree: str, path: str) -> str:
        """Return the text of a file, or an empty text if there is no such file."""
        entry = self.store.entry(tree, path)
        return "" if entry is None else readable(self.store.content(entry), path=path)

    def added(self, name: str, pinned: PatchedAtPin) -> tuple[str, ...]:
        """Return the files that a patch adds."""
        if name not in self._new:
            deltas = merging.difference(pinned.before, pinned.after, store=self.store).deltas
            self._new[name] = tuple(
                delta.new_file.path for delta in deltas if delta.status_char() == "A"
            )
        return self._new[name]

    def changed_by(self, base: str, patch: Patch) -> tuple[str, ...]:
        """Return the files that a patch changes or removes, at the pin where that is known."""
        if patch.name not in self._changed:
            pinned = self.pinned.get(patch.name)
            deltas = (
                merging.difference(pinned.before, pinned.after, store=self.store).deltas
                if pinned
                else ()
            )
            paths = [delta.old_file.path for delta in deltas if delta.status_char() != "A"]
            self._changed[patch.name] = tuple(
                sorted({*paths} if pinned else {*textual.touched(self.diff_of(base, patch))[0]})
            )
        return self._changed[patch.name]
