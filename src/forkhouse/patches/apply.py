"""Apply a patch series to a source tree in memory.

Patches apply strictly, each patch becomes a commit, and each effect is checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from forkhouse.core.digests import digest
from forkhouse.core.errors import HashMismatchError, NoEffectError, PatchConflictError
from forkhouse.core.journal import Record, Stage
from forkhouse.core.progress import report
from forkhouse.patches.absence import in_the_way
from forkhouse.patches.structural import apply_structural
from forkhouse.patches.textual import apply_exactly, read_diff, touched

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from forkhouse.core.journal import Journal
    from forkhouse.patches.series import Patch
    from forkhouse.sources.acquire import SourceTree
    from forkhouse.sources.store import ObjectStore


class PatchedTo(Record):
    """A source with its series applied."""

    tree: str
    commit: str


_PATCHED = Stage("patch", PatchedTo)


@dataclass(frozen=True, kw_only=True, slots=True)
class PatchedTree:
    """A source with its series applied."""

    source: SourceTree
    tree: str
    commit: str
    applied: tuple[str, ...]
    """Names of the patches that were applied, in order."""
    not_for_form: tuple[str, ...]
    """Names of the patches that are meant for other forms of the upstream."""


def apply_series(
    source: SourceTree,
    patches: Sequence[Patch],
    *,
    store: ObjectStore,
    journal: Journal,
    engine: str,
) -> PatchedTree:
    """Apply `patches` to `source`.

    `engine` identifies the code that applies them. Raises PatchConflictError, NoEffectError,
    PostConditionError, and HashMismatchError when the result is not the tree that the lock records.
    """
    form = source.source.kind
    meant = [patch for patch in patches if patch.is_for(form)]
    others = tuple(patch.name for patch in patches if not patch.is_for(form))
    key = digest(source.commit, [patch.sha256 for patch in meant], source.source.paths, engine)
    record = journal.get(_PATCHED, key)
    if record is None or not store.holds(record.commit, record.tree):
        tree, commit = source.tree, source.commit
        with store.gathering() as gathered:
            for number, patch in enumerate(meant, start=1):
                where = f"{source.upstream}/{patch.name}"
                changed = apply_patch(tree, patch, source.source.paths, store=gathered, where=where)
                if changed == tree:
                    message = (
                        f"{where} applied and changed nothing. If the upstream took it over, drop "
                        "it from the series "
                        "(and say so in the commit); if not, it no longer does what it says."
                    )
                    raise NoEffectError(message)
                tree = changed
                text = f"{patch.subject}\n\n{patch.header}\n"
                commit = gathered.commit(
                    tree, message=text, epoch=source.epoch + number, parents=(commit,)
                )
        store.name(f"patched/{source.upstream}/{key[:16]}", commit)
        record = PatchedTo(tree=tree, commit=commit)
        journal.put(_PATCHED, key, record)
    tree, commit = record.tree, record.commit
    expected = source.source.patched_tree
    if expected is None:
        report().line(
            source.upstream,
            (
                f"patched tree {tree} is NOT recorded in the lock; `forkhouse lock --update` "
                "records "
                "it"
            ),
        )
    elif tree != expected:
        message = (
            f"{source.upstream}: the patched tree is {tree}, the lock says {expected}. A patch was "
            "changed without recording its "
            f"effect: look at it, then `forkhouse lock --update {source.upstream}`."
        )
        raise HashMismatchError(message)
    return PatchedTree(
        source=source,
        tree=tree,
        commit=commit,
        applied=tuple(patch.name for patch in meant),
        not_for_form=others,
    )


def apply_patch(
    tree: str, patch: Patch, paths: Mapping[str, str], *, store: ObjectStore, where: str
) -> str:
    """Return the id of `tree` with one patch applied.

    Raises PatchConflictError, PostConditionError or UnsafeArchiveError.
    """
    if patch.edit is not None:
        return apply_structural(tree, patch.edit, paths, store=store, where=where)
    diff = read_diff(patch, paths, tree, store=store, where=where)
    try:
        return apply_exactly(tree, diff, store=store)
    except PatchConflictError as error:
        hidden = (in_the_way(None, tree, path, store=store) for path in touched(diff)[0])
        reason = next((f" {each}" for each in hidden if each), "")
        message = f"{where} does not apply: {error}{reason}"
        raise PatchConflictError(message) from error
