"""Fetch, verify and patch what a build is made from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from forkhouse import patches
from forkhouse.builders.cargo import cargo_kit
from forkhouse.builders.components import ComponentPart
from forkhouse.core.errors import (
    ToolchainError,
    UnreachableError,
    UsageError,
)
from forkhouse.core.identity import engine
from forkhouse.core.progress import report
from forkhouse.documents.lockfile import FORMS, describe
from forkhouse.documents.recipe import (
    Recipe,
    Repack,
    UpstreamProject,
)
from forkhouse.patches.apply import PatchedTree, apply_series
from forkhouse.sources.acquire import Access, acquire, candidates
from forkhouse.toolchains.packages import require_packages

if TYPE_CHECKING:
    from collections.abc import Collection

    from forkhouse.builders.cargo import CargoKit
    from forkhouse.core.journal import Journal
    from forkhouse.documents.lockfile import Form, Pinned
    from forkhouse.flow.checkout import Checkout
    from forkhouse.sources.acquire import SourcePolicy, SourceTree
    from forkhouse.sources.index import Registry
    from forkhouse.sources.store import ObjectStore


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """All inputs of a recipe's build, fetched."""

    patched: PatchedTree
    cargo: CargoKit | None
    parts: tuple[ComponentPart, ...]
    """Components that are laid in its tree."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Supplies:
    """What builds are made from: source trees, fetched, verified and patched."""

    checkout: Checkout
    access: Access
    registry: Registry
    store: ObjectStore
    journal: Journal

    def only(self, policy: SourcePolicy) -> Supplies:
        """Return these supplies with other sources allowed."""
        return replace(self, access=replace(self.access, policy=policy))

    def acquire(self, name: str, pinned: Pinned, forms: Collection[Form]) -> SourceTree:
        """Return the source tree of an upstream in the most preferred form that can be fetched.

        Raises as `sources.acquire`.
        """
        return acquire(
            name,
            pinned,
            forms,
            access=self.access,
            registry=self.registry,
            store=self.store,
            journal=self.journal,
        )

    def apply(self, source: SourceTree) -> PatchedTree:
        """Return a source with the series of its upstream applied.

        Raises as `patches.apply_series`.
        """
        return apply_series(
            source,
            self.checkout.series(source.upstream),
            store=self.store,
            journal=self.journal,
            engine=engine(patches),
        )

    def patched(self, name: str, recipe: Recipe) -> PatchedTree:
        """Return the patched source tree of a recipe's upstream."""
        return self.apply(
            self.acquire(recipe.upstream, self.checkout.pinned(name, recipe), recipe.builders)
        )

    def ready(
        self, name: str, recipe: Recipe, *, system_packages: bool
    ) -> tuple[PatchedTree, CargoKit | None]:
        """Return a recipe's patched source, and what its Rust is built with.

        The source has the most preferred form that can be built here. When a toolchain or crates
        that only this form needs are missing, the next form is taken and reported, as for a source
        that cannot be fetched. `system_packages` allows the installation of distribution packages.
        Raises as `patched` and `cargo_kit`, and ToolchainError when a package is missing.
        """
        pinned, passed = self.checkout.pinned(name, recipe), tuple[str, ...]()
        while True:
            source = self.acquire(recipe.upstream, pinned, recipe.builders)
            source = replace(source, passed_over=(*passed, *source.passed_over))
            patched, method = self.apply(source), recipe.builders[source.source.kind]
            if not isinstance(method, UpstreamProject):
                return patched, None
            try:
                kit = cargo_kit(
                    patched,
                    method,
                    store=self.store,
                    cache=self.access.cache,
                    offline=self.access.offline,
                    shared=self.access.shared,
                )
                require_packages(method.system_packages, install=system_packages)
            except (UnreachableError, ToolchainError) as error:
                rest = pinned.sources[pinned.sources.index(source.source) + 1 :]
                pinned = pinned.model_copy(update={"sources": rest})
                try:
                    candidates(recipe.upstream, pinned, recipe.builders, self.access.policy)
                except UsageError:
                    raise error from None
                reason = " ".join(f"{describe(source.source)}: {error}".split())
                report().line(
                    recipe.upstream, f"NOT from {reason} Going on with the next source of the lock."
                )
                passed = (*source.passed_over, reason)
            else:
                return patched, kit

    def parts(self, upstream: str) -> list[ComponentPart]:
        """Return the components that are laid in an upstream's tree, fetched.

        Raises as `acquire`.
        """
        components = [
            (name, self.checkout.lock.components[name])
            for name in self.checkout.lock.upstreams[upstream].components
        ]
        return [
            ComponentPart(path=pinned.path, source=self.acquire(name, pinned, FORMS))
            for name, pinned in components
        ]

    def prepare(self, name: str, recipe: Recipe, *, system_packages: bool) -> Prepared:
        """Fetch and patch all that a recipe is built from.

        Raises as `ready`, and as `acquire` for a component.
        """
        patched, kit = self.ready(name, recipe, system_packages=system_packages)
        # What is only packed again is whole already.
        packed = isinstance(recipe.builders[patched.source.source.kind], Repack)
        return Prepared(
            patched=patched, cargo=kit, parts=() if packed else tuple(self.parts(recipe.upstream))
        )
