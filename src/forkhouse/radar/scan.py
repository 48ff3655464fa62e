"""The drift radar judges a patch series on every candidate pin.

For each patch it finds the first pin that breaks it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from forkhouse.core.digests import digest
from forkhouse.core.journal import Record, Stage
from forkhouse.core.progress import report
from forkhouse.core.signals import ENDING
from forkhouse.patches.failures import INTERNAL
from forkhouse.patches.ladder import Ladder
from forkhouse.patches.verdicts import APPLIED, SETTLED, Verdict
from forkhouse.sources.store import ObjectStore

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from forkhouse.core.journal import Journal
    from forkhouse.documents.lockfile import Form
    from forkhouse.patches.series import Patch
    from forkhouse.patches.verdicts import PatchedAtPin
    from forkhouse.radar.candidates import Candidate
    from forkhouse.radar.taken import TakenPatch

Judged = tuple[tuple[Verdict, str], ...]
"""The verdict on each patch of a series, with its cause."""


class JudgedTree(Record):
    """The verdicts on a series on one tree."""

    cells: Judged


class Scanned(Record):
    """The verdicts on a series on every candidate, by tree."""

    trees: dict[str, Judged]


_JUDGED = Stage("verdicts", JudgedTree)
_SCANNED = Stage("radar", Scanned)


CHUNK = 32
"""Candidates that one process judges in a row.

Neighbours share most of their files, and what was judged is remembered.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """The verdict on one patch on one candidate."""

    verdict: Verdict
    cause: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Matrix:
    """The verdicts of a series (rows) on candidates (columns), the oldest first."""

    upstream: str
    form: str
    pin: str
    candidates: tuple[Candidate, ...]
    patches: tuple[str, ...]
    cells: tuple[tuple[Cell, ...], ...]
    taken: Mapping[str, TakenPatch] = field(default_factory=dict)
    """Patches that a commit brought, by name."""
    beyond: int = 0
    """Number of newer candidates that were not judged."""

    def survival(self) -> tuple[float, ...]:
        """Return for each candidate the share of patches that are settled there.

        Settled is a patch that applies, is upstream already, or has no target any more.
        """
        return tuple(
            sum(row[column].verdict in SETTLED for row in self.cells) / max(len(self.patches), 1)
            for column in range(len(self.candidates))
        )

    def first(self, row: int, verdict: Verdict) -> Candidate | None:
        """Return the first candidate after the pin on which a patch has a verdict, or None."""
        after = [
            column
            for column, candidate in enumerate(self.candidates)
            if candidate.order > self._pin_order()
        ]
        return next(
            (
                self.candidates[column]
                for column in after
                if self.cells[row][column].verdict is verdict
            ),
            None,
        )

    def first_break(self, row: int) -> Candidate | None:
        """Return the candidate that broke a patch."""
        return self.first(row, Verdict.CONFLICT)

    def brought_by(self, row: int) -> str | None:
        """Return which commit or release brought a patch; None when none did."""
        found = self.first(row, Verdict.UPSTREAMED)
        own = self.taken.get(self.patches[row])
        if found is None or own is None or found.commit not in own.holders:
            return found.label if found else None
        return own.commit

    def newest_whole(self) -> Candidate | None:
        """Return the newest candidate on which no patch is in conflict."""
        whole = self.whole()
        return whole[-1] if whole else None

    def whole(self) -> list[Candidate]:
        """Return the candidates on which no patch is in conflict, the oldest first."""
        return [
            candidate
            for column, candidate in enumerate(self.candidates)
            if not candidate.fork
            and all(row[column].verdict in SETTLED for row in self.cells)
            and any(row[column].verdict in APPLIED for row in self.cells)
        ]

    def _pin_order(self) -> int:
        return next(
            (candidate.order for candidate in self.candidates if candidate.label == self.pin), -1
        )

    def as_json(self) -> dict[str, object]:
        """Return the matrix as values that JSON can hold."""
        whole = self.newest_whole()
        return {
            "upstream": self.upstream,
            "form": self.form,
            "pin": self.pin,
            "candidates": [asdict(candidate) for candidate in self.candidates],
            "not-judged": self.beyond,
            "survival": self.survival(),
            "newest-whole": whole.label if whole else None,
            "patches": [
                {
                    "name": name,
                    "first-break": broken.label if (broken := self.first_break(row)) else None,
                    "upstreamed-by": self.brought_by(row),
                    "verdicts": [asdict(cell) for cell in self.cells[row]],
                }
                for row, name in enumerate(self.patches)
            ],
        }


def scan(
    upstream: str,
    form: str,
    pin: str,
    candidates: Sequence[Candidate],
    patches: Sequence[Patch],
    ladder: Ladder,
    *,
    journal: Journal,
    engine: str,
    taken: Mapping[str, TakenPatch] | None = None,
    beyond: int = 0,
) -> Matrix:
    """Judge a series on every candidate, in parallel processes.

    What was judged before is not judged again. A patch that a commit brought unchanged (`taken`) is
    upstreamed even where the tree alone does not show it, because the upstream changed it later.
    """
    pinned = [asdict(each) for each in ladder.pinned.values()]
    series = digest(
        [patch.sha256 for patch in patches], dict(ladder.paths), pinned, ladder.form, engine
    )
    keys = {candidate.tree: digest(series, candidate.tree) for candidate in candidates}
    whole = digest(series, list(keys))
    record = journal.get(_SCANNED, whole)
    known: dict[str, Judged] = (
        dict(record.trees)
        if record
        else {
            tree: entry.cells for tree, key in keys.items() if (entry := journal.get(_JUDGED, key))
        }
    )
    missing = [tree for tree in keys if tree not in known]
    with report().task(f"radar {upstream}", total=len(missing)) as task:
        chunks = [missing[start : start + CHUNK] for start in range(0, len(missing), CHUNK)]
        for chunk, judged in zip(chunks, _judge_all(chunks, patches, ladder), strict=True):
            for tree, cells in zip(chunk, judged, strict=True):
                if not _failed(cells):
                    journal.put(_JUDGED, keys[tree], JudgedTree(cells=cells))
                known[tree] = cells
            task.advance(len(chunk))
    if record is None and not any(_failed(cells) for cells in known.values()):
        journal.put(_SCANNED, whole, Scanned(trees=known))
    own = taken or {}
    columns = [
        [
            _with_history(Cell(verdict=verdict, cause=cause), own.get(patch.name), candidate)
            for patch, (verdict, cause) in zip(patches, known[candidate.tree], strict=True)
        ]
        for candidate in candidates
    ]
    return Matrix(
        upstream=upstream,
        form=form,
        pin=pin,
        candidates=tuple(candidates),
        patches=tuple(patch.name for patch in patches),
        cells=tuple(zip(*columns, strict=True)) if columns else (),
        taken=own,
        beyond=beyond,
    )


def _failed(cells: Judged) -> bool:
    """Return whether a verdict on a tree comes from a fault of ours.

    Such a verdict is computed again.
    """
    return any(cause.startswith(INTERNAL) for _, cause in cells)


def _with_history(cell: Cell, taken: TakenPatch | None, candidate: Candidate) -> Cell:
    """Return the cell of a patch with the commit in the candidate's history that brought it."""
    if taken is None or candidate.commit not in taken.holders:
        return cell
    if cell.verdict is Verdict.UPSTREAMED:
        return Cell(
            verdict=cell.verdict, cause=f"{cell.cause}; commit {taken.commit} has the same patch id"
        )
    if cell.verdict is Verdict.CONFLICT and not cell.cause.startswith(INTERNAL):
        return Cell(
            verdict=Verdict.UPSTREAMED,
            cause=f"commit {taken.commit} has the same patch id, and the upstream has changed it "
            "since",
        )
    return cell


def _judge_all(
    chunks: Sequence[Sequence[str]], patches: Sequence[Patch], ladder: Ladder
) -> Sequence[list[Judged]]:
    if len(chunks) < 2:  # one chunk needs no second process
        return [_judge(chunk, patches, ladder) for chunk in chunks]
    shared = (
        patches,
        ladder.store.folder,
        tuple(ladder.store.borrowed),
        dict(ladder.paths),
        dict(ladder.pinned),
        ladder.form,
    )
    # A repository handle does not cross over to another process: each opens its own.
    pool = ProcessPoolExecutor(
        max_workers=len(os.sched_getaffinity(0)), initializer=_open, initargs=shared
    )
    try:
        return list(pool.map(_judge_here, chunks))
    except BaseException:
        # Whoever asks this process to end does not wait for verdicts that nobody will see.
        for process in multiprocessing.active_children():
            process.kill()
        raise
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


_here: list[tuple[Sequence[Patch], Ladder]] = []
"""What a process of the pool works with."""


def _open(
    patches: Sequence[Patch],
    folder: Path,
    borrowed: Sequence[Path],
    paths: Mapping[str, str],
    pinned: Mapping[str, PatchedAtPin],
    form: Form,
) -> None:
    for each in ENDING:
        signal.signal(
            each, signal.SIG_DFL
        )  # what our parent does when it is asked to end is not for us to do
    store = ObjectStore(folder)
    for repository in borrowed:
        store.borrow(repository)
    _here.append((patches, Ladder(store=store, paths=paths, pinned=pinned, form=form)))


def _judge_here(trees: Sequence[str]) -> list[Judged]:
    return _judge(trees, *_here[0])


def _judge(trees: Sequence[str], patches: Sequence[Patch], own: Ladder) -> list[Judged]:
    return [
        tuple((each.verdict, each.cause) for each in own.judge_series(tree, patches))
        for tree in trees
    ]
