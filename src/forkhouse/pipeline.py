"""The whole flow, one way, downhill: lock -> sources -> patches -> builders -> audit -> wheelhouse."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from forkhouse import audit, builders, patches, wheelhouse
from forkhouse.builders import BuiltWheel, Workshop, build_wheel
from forkhouse.builders.environment import BuildEnvironment
from forkhouse.closure import read_closure
from forkhouse.documents import load
from forkhouse.errors import UsageError
from forkhouse.lock import Lock, Profile, describe
from forkhouse.patches import PatchedTree, apply_series
from forkhouse.patches.series import Patch, read_series
from forkhouse.progress import report
from forkhouse.recipes import Recipe, read_recipe
from forkhouse.sources import Access, acquire, candidates
from forkhouse.sources.registry import Registry
from forkhouse.sources.store import ObjectStore
from forkhouse.toolchains import missing_packages, require_packages
from forkhouse.wheelhouse import Wheelhouse, publish
from forkhouse.workspace import Journal, Workspace, digest_folder

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from types import ModuleType

    from forkhouse.lock import Form, Upstream
    from forkhouse.sources import SourceTree


@dataclass(frozen=True, kw_only=True, slots=True)
class Intent:
    """What will be done for one recipe, before anything is done."""

    recipe: str
    distribution: str
    version: str
    sources: tuple[str, ...]
    """The sources that may be used, the preferred one first."""
    passed_over: tuple[str, ...]
    patches: tuple[str, ...]
    missing_packages: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Product:
    """A finished wheelhouse and the wheels of ours that are in it."""

    wheelhouse: Wheelhouse
    built: tuple[BuiltWheel, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Plant:
    """A checkout opened for work: the documents that were read, and the rooms where work happens."""

    workspace: Workspace
    lock: Lock
    access: Access
    registry: Registry
    store: ObjectStore
    journal: Journal
    _series: dict[str, tuple[Patch, ...]] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Series that were read; a run does not expect them to change under it."""

    def profile(self, name: str) -> Profile:
        """Return a profile of the lock. Raises UsageError, naming those that there are."""
        if name not in self.lock.profiles:
            message = f"The lock has no profile '{name}'. It has: {', '.join(self.lock.profiles)}."
            raise UsageError(message)
        return self.lock.profiles[name]

    def recipe(self, name: str) -> Recipe:
        """Return a recipe. Raises DocumentError when it is missing or wrong."""
        return read_recipe(self.workspace.root / "recipes" / name)

    def series(self, upstream: str) -> tuple[Patch, ...]:
        """Return the patch series of an upstream. Raises SeriesError or DocumentError."""
        if upstream not in self._series:
            self._series[upstream] = read_series(self.workspace.root / "patches" / upstream)
        return self._series[upstream]

    def acquire(self, name: str, pinned: Upstream, forms: Collection[Form]) -> SourceTree:
        """Return the source tree of an upstream in the most preferred of some forms that can be had. Raises as `sources.acquire`."""
        return acquire(name, pinned, forms, access=self.access, registry=self.registry, store=self.store, journal=self.journal)

    def apply(self, source: SourceTree) -> PatchedTree:
        """Return a source with the series of its upstream applied. Raises as `patches.apply_series`."""
        return apply_series(source, self.series(source.upstream), store=self.store, journal=self.journal, engine=engine(patches))

    def patched(self, name: str, recipe: Recipe) -> PatchedTree:
        """Return the patched source tree of a recipe's upstream."""
        upstream = recipe.upstream
        if upstream not in self.lock.upstreams:
            message = f"recipes/{name} builds the upstream '{upstream}', which the lock does not have."
            raise UsageError(message)
        return self.apply(self.acquire(upstream, self.lock.upstreams[upstream], recipe.builders))

    def build(self, name: str, recipe: Recipe, workshop: Workshop) -> BuiltWheel:
        """Return the wheel of a recipe, built where its inputs have changed."""
        return build_wheel(self.patched(name, recipe), recipe, self.workspace.root / "recipes" / name, workshop)

    def workshop(self) -> Workshop:
        """Return the place where wheels are built."""
        build = self.workspace.build
        tools = self.workspace.closure_path("build")
        environment = BuildEnvironment(tools=read_closure(tools), registry=self.registry, folder=build / "environments")
        return Workshop(
            store=self.store,
            journal=self.journal,
            environment=environment,
            work=build / "work",
            wheels=build / "wheels",
            logs=build / "logs",
            engine=engine(builders),
        )


@cache
def engine(package: ModuleType) -> str:
    """Return what identifies the code of one of our packages: a change of it makes its old results stale."""
    return digest_folder(Path(str(package.__file__)).parent)


def open_plant(workspace: Workspace, access: Access) -> Plant:
    """Read the lock and open the stores. Raises DocumentError for a lock that is wrong."""
    return Plant(
        workspace=workspace,
        lock=load(Lock, workspace.lock_path),
        access=access,
        registry=Registry(workspace.cache, offline=access.offline),
        store=ObjectStore(workspace.build / "store.git"),
        journal=Journal(workspace.build / "journal"),
    )


def plan(plant: Plant, profile: str) -> list[Intent]:
    """Return what building a profile will do; reads every document it needs, changes and fetches nothing."""
    intents = []
    for name in plant.profile(profile).recipes:
        recipe = plant.recipe(name)
        upstream = plant.lock.upstreams[recipe.upstream]
        chosen, passed = candidates(recipe.upstream, upstream, recipe.builders, plant.access.policy)
        intents.append(
            Intent(
                recipe=name,
                distribution=recipe.distribution,
                version=recipe.version(chosen[0].version or upstream.version),
                sources=tuple(describe(source) for source in chosen),
                passed_over=tuple(passed),
                patches=tuple(patch.name for patch in plant.series(recipe.upstream) if patch.is_for(chosen[0].kind)),
                missing_packages=tuple(missing_packages(recipe.system_packages)),
            )
        )
    return intents


def build_profile(plant: Plant, name: str, *, system_packages: bool) -> Product:
    """Build every wheel of a profile and publish its wheelhouse. Nothing that is up to date is done again.

    `system_packages` allows the installation of missing distribution packages. Raises ForkhouseError; the wheelhouse then
    stays as it was.
    """
    profile = plant.profile(name)
    recipes = {recipe: plant.recipe(recipe) for recipe in profile.recipes}
    require_packages((package for recipe in recipes.values() for package in recipe.system_packages), install=system_packages)
    workshop = plant.workshop()
    built = []
    with report().task(f"profile {name}", total=len(recipes) + 1) as task:
        for recipe_name, recipe in recipes.items():
            built.append(plant.build(recipe_name, recipe, workshop))
            task.advance(1)
        house = _publish(plant, name, built)
    return Product(wheelhouse=house, built=tuple(built))


def _publish(plant: Plant, name: str, built: Sequence[BuiltWheel]) -> Wheelhouse:
    return publish(
        plant.workspace.wheelhouse(name),
        profile_name=name,
        profile=plant.profile(name),
        requires_python=plant.lock.python,
        built=built,
        third_party=read_closure(plant.workspace.closure_path(name)),
        registry=plant.registry,
        journal=plant.journal,
        engine=engine(wheelhouse) + engine(audit),
    )
