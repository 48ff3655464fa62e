"""Open a checkout for work."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from forkhouse import builders
from forkhouse.builders.build import Workshop, build_wheel
from forkhouse.builders.environment import BuildEnvironment
from forkhouse.core.errors import (
    UsageError,
)
from forkhouse.core.identity import engine
from forkhouse.core.journal import Journal
from forkhouse.core.progress import report
from forkhouse.documents.lockfile import Lock
from forkhouse.documents.reading import load
from forkhouse.sources.index import Registry
from forkhouse.sources.store import ObjectStore

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from forkhouse.builders.built import BuiltWheel
    from forkhouse.core.workspace import Workspace
    from forkhouse.documents.lockfile import Transfer
    from forkhouse.documents.recipe import (
        Recipe,
    )
    from forkhouse.sources.acquire import Access

from forkhouse.flow.checkout import Checkout
from forkhouse.flow.supplies import Prepared, Supplies
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

    def workshop(self) -> Workshop:
        """Return the place where wheels are built."""
        build = self.workspace.build
        environment = BuildEnvironment(
            tools=self.checkout.closure("build"),
            registry=self.registry,
            folder=build / "environments",
            hip=self.tools.hip,
            targets=self.lock.gpu_targets,
            rocm=self.tools.find_rocm,
            caches=self.workspace.cache / "ccache",
            sandbox=self.tools.sandbox(),
        )
        return Workshop(
            store=self.store,
            journal=self.journal,
            environment=environment,
            closure=self.checkout.closure,
            work=build / "work",
            wheels=build / "wheels",
            logs=build / "logs",
            engine=engine(builders),
        )

    def build(
        self,
        name: str,
        recipe: Recipe,
        workshop: Workshop,
        built: Mapping[str, BuiltWheel],
        *,
        system_packages: bool = False,
        prepared: Prepared | None = None,
    ) -> BuiltWheel:
        """Return the wheel of a recipe, built where its inputs have changed.

        `built` has the wheels of the recipes that it needs.

        What it is built from is fetched now, unless it was `prepared`. Raises as `prepare` and
        `build_wheel`.
        """
        prepared = prepared or self.supplies.prepare(name, recipe, system_packages=system_packages)
        return build_wheel(
            prepared.patched,
            recipe,
            self.workspace.root / "recipes" / name,
            workshop,
            parts=prepared.parts,
            siblings=[built[needed] for needed in recipe.needs],
            cargo=prepared.cargo,
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
