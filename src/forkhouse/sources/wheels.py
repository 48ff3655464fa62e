"""Fetch pinned wheels, side by side."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from forkhouse.core.progress import report

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from forkhouse.documents.pins import PinnedWheel
    from forkhouse.sources.index import Registry


def fetch_all(wheels: Iterable[PinnedWheel], registry: Registry) -> list[Path]:
    """Return local copies of wheels, in order, fetched side by side.

    Raises UnreachableError or HashMismatchError.
    """
    wheels = list(wheels)

    def fetch(wheel: PinnedWheel) -> Path:
        path = registry.fetch(wheel.name, wheel.file, wheel.sha256)
        task.advance(1)
        return path

    pool = ThreadPoolExecutor(max_workers=8)
    try:
        with report().task("third-party wheels", total=len(wheels)) as task:
            return list(pool.map(fetch, wheels))
    finally:
        # Not waited for: after a failure, or when this process is asked to end, a slow server would
        # hold it.
        pool.shutdown(wait=False, cancel_futures=True)
