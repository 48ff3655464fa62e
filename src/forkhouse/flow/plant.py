"""Open a checkout for work."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from forkhouse.core.errors import (
    UsageError,
)
from forkhouse.core.journal import Journal
from forkhouse.core.progress import report
from forkhouse.documents.lockfile import Lock
from forkhouse.documents.reading import load
from forkhouse.sources.index import Registry
from forkhouse.sources.store import ObjectStore

if TYPE_CHECKING:
    from pathlib import Path

    from forkhouse.core.workspace import Workspace
    from forkhouse.documents.lockfile import Transfer
    from forkhouse.sources.acquire import Access

from forkhouse.flow.checkout import Checkout
from forkhouse.flow.supplies import Supplies
from forkhouse.flow.toolbox import Toolbox


@dataclass(frozen=True, kw_only=True, slots=True)
class Plant:
    """A checkout opened for work: its documents, its sources, and the tools of this machine."""

    checkout: Checkout
    supplies: Supplies
    tools: Toolbox

    @property
    def workspace(self) -> Workspace:
        """The folders of the checkout."""
        return self.checkout.workspace

    @property
    def lock(self) -> Lock:
        """The lock of the checkout."""
        return self.checkout.lock

    @property
    def access(self) -> Access:
        """Which sources may be used, and where they are."""
        return self.supplies.access

    @property
    def registry(self) -> Registry:
        """The package indexes."""
        return self.supplies.registry

    @property
    def store(self) -> ObjectStore:
        """The git objects of all sources."""
        return self.supplies.store

    @property
    def journal(self) -> Journal:
        """The records of what was done."""
        return self.supplies.journal

    def with_lock(self, lock: Lock) -> Plant:
        """Return the same plant with another lock."""
        checkout = replace(self.checkout, lock=lock)
        return replace(
            self,
            checkout=checkout,
            supplies=replace(self.supplies, checkout=checkout),
            tools=replace(self.tools, lock=lock),
        )


def open_plant(
    workspace: Workspace,
    access: Access,
    rocm: Path | None = None,
    transfer: Transfer | None = None,
    *,
    unsafe: bool = False,
) -> Plant:
    """Read the lock and open the stores.

    Raises DocumentError for a lock that is wrong, UsageError where build/ is no folder.
    """
    if workspace.build.exists() and not workspace.build.is_dir():
        message = (
            f"{workspace.build} is a file, and all work is kept in a folder of that name. Move it "
            "away."
        )
        raise UsageError(message)
    if workspace.shared is not None:
        report().line(
            "cache",
            (
                f"{workspace.shared} cannot be written to: what it lacks goes to build/cache, of "
                "this checkout alone"
            ),
        )
    lock = load(Lock, workspace.lock_path)
    checkout = Checkout(workspace=workspace, lock=lock, transfer=transfer)
    registry = Registry(workspace.cache, offline=access.offline, shared=access.shared)
    journal = Journal(workspace.build / "journal")
    return Plant(
        checkout=checkout,
        supplies=Supplies(
            checkout=checkout,
            access=access,
            registry=registry,
            store=ObjectStore(workspace.build / "store.git"),
            journal=journal,
        ),
        tools=Toolbox(
            lock=lock,
            registry=registry,
            journal=journal,
            folder=workspace.build / "toolchains",
            offline=access.offline,
            rocm=rocm,
            unsafe=unsafe,
        ),
    )
