"""Apply a series as the pipeline does, from a process of its own.

What the start of Python adds is measured with it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from forkhouse.core.journal import Journal
from forkhouse.documents.lockfile import GitSource
from forkhouse.patches.apply import apply_series
from forkhouse.patches.series import read_series
from forkhouse.sources.acquire import SourceTree
from forkhouse.sources.store import ObjectStore

START = 1_700_000_000
"""Time of the first commit of every generated history: the same inputs give the same ids."""


def apply(store: Path, base: str, commit: str, series: Path, journal: Path) -> str:
    """Apply the series in a folder to a commit of a store, one commit per patch.

    Returns the id of the resulting tree.
    """
    source = SourceTree(
        upstream="speed",
        version="1",
        source=GitSource(kind="git", url="file:///speed"),
        tree=base,
        commit=commit,
        epoch=START,
        passed_over=(),
    )
    return apply_series(
        source,
        read_series(series),
        store=ObjectStore(store),
        journal=Journal(journal),
        engine="bench",
    ).tree


if __name__ == "__main__":
    folder, base, commit, series, journal = sys.argv[1:]
    sys.stdout.write(apply(Path(folder), base, commit, Path(series), Path(journal)) + "\n")
