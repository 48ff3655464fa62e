"""Open the checkout that a command works in."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from forkhouse.core.progress import showing
from forkhouse.core.workspace import exclusive, find_workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

    import click

    from forkhouse.core.workspace import Workspace
    from forkhouse.documents.lockfile import Transfer
    from forkhouse.flow.plant import Plant
    from forkhouse.sources.acquire import SourcePolicy


def workspace_of(context: click.Context) -> Workspace:
    """Return the checkout that a command works in. Raises UsageError where there is none."""
    return find_workspace((context.obj or Path.cwd()).resolve())


def opened(
    workspace: Workspace,
    sources: SourcePolicy,
    mirror: Path | None,
    *,
    offline: bool,
    rocm: Path | None = None,
    transfer: Transfer | None = None,
    unsafe: bool = False,
) -> Plant:
    """Open a checkout for work, with what the options say of sources and tools.

    Raises DocumentError for a lock that is wrong.
    """
    from forkhouse.flow.plant import open_plant  # start-up time
    from forkhouse.sources.acquire import Access  # start-up time

    access = Access(
        policy=sources,
        mirror=mirror and mirror.resolve(),
        offline=offline,
        cache=workspace.cache,
        shared=workspace.shared,
    )
    return open_plant(workspace, access, rocm and rocm.resolve(), transfer, unsafe=unsafe)


@contextlib.contextmanager
def working(workspace: Workspace, wait: float) -> Iterator[None]:
    """Show progress, and hold the checkout.

    No other run writes to it, and no build reads what is half written.
    """
    with showing(), exclusive(workspace, wait=wait):
        yield
