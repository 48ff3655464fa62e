"""The whole flow, one way, downhill.

Lock -> sources -> patches -> builders -> audit -> wheelhouse.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any

from forkhouse import audit, builders, patches, wheelhouse
from forkhouse.audit.policy import read_policy
from forkhouse.builders.build import Workshop, build_wheel
from forkhouse.builders.cargo import cargo_kit
from forkhouse.builders.components import ComponentPart
from forkhouse.builders.environment import BuildEnvironment
from forkhouse.core.errors import (
    DocumentError,
    SeriesError,
    ToolchainError,
    UnreachableError,
    UsageError,
)
from forkhouse.core.identity import engine
from forkhouse.core.progress import Task, report
from forkhouse.core.workspace import Journal, Workspace
from forkhouse.documents.config import read_config
from forkhouse.documents.lockfile import FORMS, ArchiveSource, Lock, Profile, Upstream, describe
from forkhouse.documents.pylock import Missing, read_closure
from forkhouse.documents.reading import load
from forkhouse.documents.recipe import (
    Pep517,
    Recipe,
    Repack,
    SystemPackage,
    UpstreamProject,
    read_recipe,
)
from forkhouse.flow.doctor import compiles_for_gpus
from forkhouse.flow.freshness import Built
from forkhouse.patches.apply import PatchedTree, apply_series
from forkhouse.patches.series import Patch, read_series
from forkhouse.sandbox.bubblewrap import BUBBLEWRAP, Sandbox, find_sandbox
from forkhouse.sources.acquire import Access, acquire, candidates, fetched
from forkhouse.sources.asking import ask, at_hand
from forkhouse.sources.externals import missing
from forkhouse.sources.gitcommand import require_git
from forkhouse.sources.index import Registry
from forkhouse.sources.store import ObjectStore
from forkhouse.sources.wheels import fetch_all
from forkhouse.toolchains.hip import HipToolchain, Look, first, search
from forkhouse.toolchains.packages import found_at, missing_packages, require_packages
from forkhouse.toolchains.private_root import private_place
from forkhouse.toolchains.rocm import Rocm, find_rocm
from forkhouse.toolchains.rust import watched
from forkhouse.wheelhouse.publish import Wheelhouse, publish, refuse_contradictions

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from forkhouse.builders.built import BuiltWheel
    from forkhouse.builders.cargo import CargoKit
    from forkhouse.documents.lockfile import Form, Pinned, Source, Transfer
    from forkhouse.sources.acquire import SourceTree


DPKG = "/var/lib/dpkg/status"
"""A file that changes with every installation of a Debian package."""
SANDBOX = SystemPackage(package="bubblewrap", command=BUBBLEWRAP)
"""The package that every build needs which runs code of an upstream."""
NOT_HERE = (UnreachableError, UsageError)
"""Errors that mean: this source is unavailable, so try the next.

Its host does not answer, or --sources excludes it.
"""


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
    archives: tuple[str, ...]
    """Source archives of components that are neither in the cache nor in the mirror.

    They are fetched from their addresses.
    """


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """All inputs of a recipe's build, fetched."""

    patched: PatchedTree
    cargo: CargoKit | None
    parts: tuple[ComponentPart, ...]
    """Components that are laid in its tree."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Product:
    """A finished wheelhouse and the wheels of ours that are in it."""

    wheelhouse: Wheelhouse
    built: tuple[BuiltWheel, ...]
    missing: tuple[Missing, ...]
    """Wheels that the profile installs and that could not be had here."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plant:
    """A checkout opened for work.

    The documents that were read, and the rooms where work happens.
    """

    workspace: Workspace
    lock: Lock
    access: Access
    registry: Registry
    store: ObjectStore
    journal: Journal
    rocm: Path | None = None
    """The ROCm that the user chose; None to look for one."""
    transfer: Transfer | None = None
    """The transfer library that the user chose; None for each profile's own."""
    unsafe: bool = False
    """Whether builds may run without a sandbox, where this machine allows none."""
    _series: dict[str, tuple[Patch, ...]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """Series that were read; a run does not expect them to change under it."""
    _hip: list[HipToolchain] = field(default_factory=list, init=False, repr=False, compare=False)
    """The HIP toolchain, once it was found."""

    def profile(self, name: str) -> Profile:
        """Return a profile of the lock.

        Its transfer library is added to what is built and installed. Raises UsageError for an
        unknown profile, and where a transfer library was chosen for a profile that offers no
        choice.
        """
        if name not in self.lock.profiles:
            message = f"The lock has no profile '{name}'. It has: {', '.join(self.lock.profiles)}."
            raise UsageError(message)
        profile = self.lock.profiles[name]
        if profile.transfer is None:
            if self.transfer is not None:
                message = (
                    f"The profile {name} has no transfer library to choose: what moves KV blocks "
                    "in it is pinned among its externals."
                )
                raise UsageError(message)
            return profile
        chosen = self.transfer or profile.transfer
        recipe = self.recipe(chosen)
        version = recipe.version(self.upstream(recipe.upstream).version)
        return profile.model_copy(
            update={
                "recipes": (*profile.recipes, chosen),
                "where_reachable": (*profile.where_reachable, chosen),
                "install": (*profile.install, f"{recipe.distribution}=={version}"),
            }
        )

    def upstream(self, name: str) -> Upstream:
        """Return an upstream of the lock. Raises UsageError, naming those that there are."""
        if name not in self.lock.upstreams:
            message = (
                f"The lock has no upstream '{name}'. It has: {', '.join(self.lock.upstreams)}."
            )
            raise UsageError(message)
        return self.lock.upstreams[name]

    def recipe(self, name: str) -> Recipe:
        """Return a recipe. Raises DocumentError when it is missing or wrong."""
        return read_recipe(self.workspace.root / "recipes" / name)

    def recipes(self, profile: str) -> dict[str, Recipe]:
        """Return the recipes of a profile, each after those that it needs.

        Raises DocumentError when one is missing or wrong, needs one that the profile does not
        build, or needs itself in the end.
        """
        recipes = {name: self.recipe(name) for name in self.profile(profile).recipes}
        problems = [
            f"recipes/{name} needs '{needed}', which the profile {profile} does not build"
            for name, recipe in recipes.items()
            for needed in recipe.needs
            if needed not in recipes
        ]
        if problems:
            message = "\n".join(problems) + f"\nThe profile builds: {', '.join(recipes)}."
            raise DocumentError(message)
        try:
            order = TopologicalSorter(
                {name: recipe.needs for name, recipe in recipes.items()}
            ).static_order()
            return {name: recipes[name] for name in order}
        except CycleError as error:
            message = (
                f"Recipes of the profile {profile} need each other in a circle: "
                f"{' -> '.join(reversed(error.args[1]))}."
            )
            raise DocumentError(message) from error

    def forms(self, upstream: str) -> frozenset[Form]:
        """Return the forms of an upstream that the profiles of the lock build from.

        Every form where none builds it. Raises DocumentError.
        """
        names = dict.fromkeys(
            recipe for profile in self.lock.profiles for recipe in self.profile(profile).recipes
        )
        if not all(
            (self.workspace.root / "recipes" / name / "recipe.yaml").is_file() for name in names
        ):
            return frozenset(
                FORMS
            )  # a build will say what is missing; patches are judged without it, in every form
        recipes = [recipe for recipe in map(self.recipe, names) if recipe.upstream == upstream]
        return frozenset(form for recipe in recipes for form in recipe.builders) or frozenset(FORMS)

    def series(self, upstream: str) -> tuple[Patch, ...]:
        """Return the patch series of an upstream. Raises SeriesError or DocumentError."""
        if upstream not in self._series:
            self._refuse_strays()
            self._series[upstream] = read_series(self.workspace.root / "patches" / upstream)
        return self._series[upstream]

    def _refuse_strays(self) -> None:
        """Raise SeriesError for what lies in `patches` and is the series of no upstream.

        It would silently not apply.
        """
        folder = self.workspace.root / "patches"
        there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        strays = [
            name
            for name in there
            if name not in self.lock.upstreams and not name.startswith((".", "README"))
        ]
        if strays:
            known = ", ".join(sorted(self.lock.upstreams))
            message = (
                f"patches/{strays[0]} is no upstream of the lock, so it would silently not apply. "
                f"The lock has: {known}. "
                "Give the folder an upstream's name, or take it out of patches."
            )
            raise SeriesError(message)

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
            self.series(source.upstream),
            store=self.store,
            journal=self.journal,
            engine=engine(patches),
        )

    def patched(self, name: str, recipe: Recipe) -> PatchedTree:
        """Return the patched source tree of a recipe's upstream."""
        return self.apply(self.acquire(recipe.upstream, self.pinned(name, recipe), recipe.builders))

    def pinned(self, name: str, recipe: Recipe) -> Upstream:
        """Return what a recipe builds from. Raises UsageError when the lock does not have it."""
        if recipe.upstream not in self.lock.upstreams:
            message = (
                f"recipes/{name} builds the upstream '{recipe.upstream}', which the lock does not "
                "have."
            )
            raise UsageError(message)
        return self.lock.upstreams[recipe.upstream]

    def ready(
        self, name: str, recipe: Recipe, *, system_packages: bool
    ) -> tuple[PatchedTree, CargoKit | None]:
        """Return a recipe's patched source, and what its Rust is built with.

        The source has the most preferred form that can be built here. When a toolchain or crates
        that only this form needs are missing, the next form is taken and reported, as for a source
        that cannot be fetched. `system_packages` allows the installation of distribution packages.
        Raises as `patched` and `cargo_kit`, and ToolchainError when a package is missing.
        """
        pinned, passed = self.pinned(name, recipe), tuple[str, ...]()
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
            (name, self.lock.components[name]) for name in self.lock.upstreams[upstream].components
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
        prepared = prepared or self.prepare(name, recipe, system_packages=system_packages)
        return build_wheel(
            prepared.patched,
            recipe,
            self.workspace.root / "recipes" / name,
            workshop,
            parts=prepared.parts,
            siblings=[built[needed] for needed in recipe.needs],
            cargo=prepared.cargo,
        )

    @property
    def toolchain(self) -> HipToolchain | None:
        """The HIP toolchain, where this run has needed it."""
        return self._hip[0] if self._hip else None

    def looks(self, *, make: bool) -> Iterator[Look]:
        """Yield where a HIP toolchain is looked for and what is found.

        See `toolchains.hip.search`.
        """
        folder = self.workspace.build / "toolchains"
        return search(
            self.lock,
            self.registry,
            self.journal,
            folder,
            chosen=self.rocm,
            offline=self.access.offline,
            make=make,
        )

    def hip(self) -> HipToolchain:
        """Return the HIP toolchain, looked for once.

        Raises ToolchainError that names each place, or as `toolchains.hip.search`.
        """
        if not self._hip:
            self._hip.append(first(self.looks(make=True), self.lock.gpu_targets))
        return self._hip[0]

    def find_rocm(self) -> Rocm:
        """Return the ROCm that this run compiles against.

        The private toolchain's ROCm is taken where it is the newest. Raises ToolchainError.
        """
        pinned = self.lock.hip_toolchain
        place = (
            private_place(pinned, self.workspace.build / "toolchains") / "usr" if pinned else None
        )
        return find_rocm(self.rocm, place if place is not None and place.is_dir() else None)

    def sandbox(self) -> Sandbox:
        """Return the sandbox that builds run in.

        Raises ToolchainError where this machine allows none, and that is not what the user allowed.
        """
        return find_sandbox(unsafe=self.unsafe)

    def packages(self, recipes: Iterable[Recipe]) -> list[SystemPackage]:
        """Return the distribution packages that every build of some recipes needs."""
        return [
            *([] if self.unsafe else [SANDBOX]),
            *(package for recipe in recipes for package in recipe.system_packages),
        ]

    def workshop(self) -> Workshop:
        """Return the place where wheels are built."""
        build = self.workspace.build
        tools = self.workspace.closure_path("build")
        environment = BuildEnvironment(
            tools=read_closure(tools),
            registry=self.registry,
            folder=build / "environments",
            hip=self.hip,
            targets=self.lock.gpu_targets,
            rocm=self.find_rocm,
            caches=self.workspace.cache / "ccache",
            sandbox=self.sandbox(),
        )
        return Workshop(
            store=self.store,
            journal=self.journal,
            environment=environment,
            closure=lambda name: read_closure(self.workspace.closure_path(name)),
            work=build / "work",
            wheels=build / "wheels",
            logs=build / "logs",
            engine=engine(builders),
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
    return Plant(
        workspace=workspace,
        lock=load(Lock, workspace.lock_path),
        access=access,
        registry=Registry(workspace.cache, offline=access.offline, shared=access.shared),
        store=ObjectStore(workspace.build / "store.git"),
        journal=Journal(workspace.build / "journal"),
        rocm=rocm,
        transfer=transfer,
        unsafe=unsafe,
    )


def strict(plant: Plant, profile: str) -> Plant:
    """Return a plant whose lock has no source of another version than its upstream's pin.

    Nothing can be built from one then.

    Whether the pinned version can be had is asked now, of the cache and then of its host, where
    another one would have been taken without it. Raises UnreachableError that names each upstream
    whose pinned version cannot be had, and what `asking.ask` raises of a moved tag.
    """
    refused: list[str] = []
    upstreams = dict(plant.lock.upstreams)
    for name, recipe in plant.recipes(profile).items():
        pinned = plant.pinned(name, recipe)
        true = tuple(source for source in pinned.sources if _as_pinned(source, pinned))
        upstreams[recipe.upstream] = pinned.model_copy(update={"sources": true})
        if reasons := _only_others(plant, recipe, pinned):
            refused.append(f"\n  - {recipe.upstream} {pinned.version}: {'; '.join(reasons)}")
    if refused:
        message = (
            "--strict-sources refuses another version than the pinned one, and that cannot be "
            f"had:{''.join(refused)}\n"
            "Reach its host, or give --mirror DIR."
        )
        raise UnreachableError(message)
    return replace(plant, lock=plant.lock.model_copy(update={"upstreams": upstreams}))


def _as_pinned(source: Source, pinned: Pinned) -> bool:
    return source.version in (None, pinned.version)


def _only_others(plant: Plant, recipe: Recipe, pinned: Upstream) -> list[str]:
    """Return why the pinned version cannot be fetched although a source has another one.

    Empty where it can be fetched, or where no source has another version.
    """
    chosen, reasons = candidates(recipe.upstream, pinned, recipe.builders, plant.access.policy)
    true = [source for source in chosen if _as_pinned(source, pinned)]
    if len(true) == len(chosen):
        return []
    for source in true:
        if fetched(recipe.upstream, pinned, source, plant.journal, plant.store):
            return []
        if at_hand(source, access=plant.access, registry=plant.registry):
            return []
        try:
            ask(source, access=plant.access, registry=plant.registry)
        except UnreachableError as error:
            reasons.append(f"{describe(source)}: {error}")
        else:
            return []
    return [
        *reasons,
        *(f"{describe(source)}: another version" for source in chosen if source not in true),
    ]


def plan(plant: Plant, profile: str) -> list[Intent]:
    """Return what building a profile will do.

    Reads every document it needs, changes and fetches nothing.

    Raises now what would else be found at the end: rules that the audit lacks, pins that contradict
    each other, a machine without git or one that allows no sandbox, archives that --offline forbids
    to fetch.
    """
    _check_documents(plant, profile)
    require_git()
    if not missing_packages(plant.packages(())):
        plant.sandbox()
    intents = []
    for name, recipe in plant.recipes(profile).items():
        upstream = plant.pinned(name, recipe)
        chosen, passed = candidates(recipe.upstream, upstream, recipe.builders, plant.access.policy)
        intents.append(
            Intent(
                recipe=name,
                distribution=recipe.distribution,
                version=recipe.version(chosen[0].version or upstream.version),
                sources=tuple(describe(source) for source in chosen),
                passed_over=tuple(passed),
                patches=tuple(
                    patch.name
                    for patch in plant.series(recipe.upstream)
                    if patch.is_for(chosen[0].kind)
                ),
                missing_packages=tuple(
                    missing_packages([*plant.packages(()), *recipe.packages(chosen[0].kind)])
                ),
                archives=()
                if isinstance(recipe.builders[chosen[0].kind], Repack)
                else tuple(_archives(plant, upstream)),
            )
        )
    away = sorted(
        {
            archive
            for intent in intents
            for archive in intent.archives
            if intent.recipe not in plant.profile(profile).where_reachable
        }
    )
    if away and plant.access.offline:
        message = (
            "Neither in the cache nor in a mirror, and --offline forbids fetching: "
            f"{', '.join(away)}. Run once without --offline."
        )
        raise UnreachableError(message)
    if not any(intent.missing_packages for intent in intents) and any(
        recipe.rocm for recipe in plant.recipes(profile).values()
    ):
        plant.find_rocm()
    return intents


def _archives(plant: Plant, upstream: Pinned) -> Iterator[str]:
    """Yield the addresses from which archives of components have to be fetched."""
    mirror = plant.access.mirror
    for name in upstream.components if isinstance(upstream, Upstream) else ():
        for source in plant.lock.components[name].sources:
            if not isinstance(source, ArchiveSource) or plant.registry.holds(
                source.file, source.sha256
            ):
                continue
            if mirror is None or not (mirror / "archives" / source.file).is_file():
                yield source.url


def _check_documents(plant: Plant, name: str) -> None:
    """Read every document that the end of a build needs, and check them against each other."""
    recipes, profile = plant.recipes(name), plant.profile(name)
    read_policy(name)
    read_closure(plant.workspace.closure_path("build"))
    for recipe_name, recipe in recipes.items():
        if any(
            isinstance(method, Pep517) and method.native and method.native.requires
            for method in recipe.builders.values()
        ):
            read_closure(plant.workspace.closure_path(recipe_name))
    third_party = read_closure(plant.workspace.closure_path(name))
    absent = {external.package for external in profile.externals if external.pinned is None}
    refuse_contradictions(
        profile, third_party, [recipe.distribution for recipe in recipes.values()], absent
    )


def build_profile(plant: Plant, name: str, *, system_packages: bool) -> Product:
    """Build every wheel of a profile and publish its wheelhouse.

    Nothing that is up to date is done again.

    `system_packages` allows the installation of missing distribution packages. Raises
    ForkhouseError; the wheelhouse then stays as it was.
    """
    recipes = plant.recipes(name)
    require_packages(plant.packages(recipes.values()), install=system_packages)
    if any(compiles_for_gpus(recipe) for recipe in recipes.values()):
        # Found or made before anything is compiled: what links ROCm is compiled against the newest
        # at hand, and this may be it.
        plant.hip()
    with report().task(f"profile {name}", total=whole_weight(plant, recipes)) as task:
        lacking = list(
            missing(plant.profile(name).externals, plant.registry, read_config().indexes)
        )
        away = {each.name for each in lacking} | {
            recipes[each].distribution for each in plant.profile(name).where_reachable
        }
        pins = read_closure(plant.workspace.closure_path(name))
        fetch_all(
            [
                pin
                for pin in pins
                if pin.name not in away and not plant.registry.holds(pin.file, pin.sha256)
            ],
            plant.registry,
        )
        built, left_out = build_recipes(plant, name, recipes, task, system_packages=system_packages)
        left_out += lacking
        house = _publish(plant, name, built, left_out)
    return Product(wheelhouse=house, built=tuple(built), missing=tuple(left_out))


def weights(plant: Plant, recipes: Mapping[str, Recipe]) -> dict[str, float]:
    """Return the weight of each recipe in the work of a build.

    It is the time in seconds that the recipe took last time. A recipe without such a time gets the
    mean of the others.
    """
    records = {name: plant.journal.get("seconds", name) for name in recipes}
    known = {
        name: max(float(str(record["seconds"])), 1.0)
        for name, record in records.items()
        if record is not None
    }
    other = sum(known.values()) / len(known) if known else 1.0
    return {name: known.get(name, other) for name in recipes}


def whole_weight(plant: Plant, recipes: Mapping[str, Recipe]) -> float:
    """Return how much work all recipes are.

    Infinite where one was never built here, as nothing tells how long it takes.
    """
    never = any(plant.journal.get("seconds", name) is None for name in recipes)
    return math.inf if never else sum(weights(plant, recipes).values())


def build_recipes(
    plant: Plant,
    name: str,
    recipes: Mapping[str, Recipe],
    task: Task,
    *,
    system_packages: bool = False,
) -> tuple[list[BuiltWheel], list[Missing]]:
    """Build the wheels of a profile's recipes, given in their order.

    `task` advances by the weight of each.

    Returns them, and what was left out: recipes without which the profile is still of use, whose
    source cannot be had here. Raises as `Plant.build`.
    """
    workshop = plant.workshop()
    heavy = weights(plant, recipes)
    prepared: dict[str, Prepared] = {}
    left_out: list[Missing] = []
    # Whatever cannot be had shows before the first compiler runs, which may take an hour.
    for recipe_name, recipe in recipes.items():
        try:
            if lost := [needed for needed in recipe.needs if needed not in prepared]:
                message = f"it is built against {', '.join(lost)}, which could not be had"
                raise UnreachableError(message)
            prepared[recipe_name] = plant.prepare(
                recipe_name, recipe, system_packages=system_packages
            )
        except NOT_HERE as error:
            if recipe_name not in plant.profile(name).where_reachable:
                raise
            report().line(recipe_name, f"LEFT OUT: {error}")
            left_out.append(_left_out(plant, recipe, error))
            task.advance(heavy[recipe_name])
            if plant.journal.get("seconds", recipe_name) is None:
                plant.journal.put(
                    "seconds", recipe_name, {"seconds": 0.0}
                )  # without it a build is all that is known
    built: dict[str, BuiltWheel] = {}
    for recipe_name, ready in prepared.items():
        built[recipe_name] = plant.build(
            recipe_name, recipes[recipe_name], workshop, built, prepared=ready
        )
        if built[recipe_name].seconds:
            plant.journal.put("seconds", recipe_name, {"seconds": built[recipe_name].seconds})
        task.advance(heavy[recipe_name])
    return list(built.values()), left_out


def built_state(plant: Plant, product: Product, answer: dict[str, Any]) -> Built:
    """Return what tells a later run that there is nothing to do."""
    recipes = [plant.recipe(wheel.recipe) for wheel in product.built]
    tools = [
        found_at(package)
        for recipe in recipes
        for form in recipe.builders
        for package in recipe.packages(form)
    ]
    # What was missing for a source may be there the next time.
    tools += [DPKG] if None in tools else []
    methods = [
        method
        for recipe in recipes
        for method in recipe.builders.values()
        if isinstance(method, UpstreamProject)
    ]
    tools += [watched(method.cargo.rustc) for method in methods if method.cargo is not None]
    if any(recipe.rocm for recipe in recipes):
        tools.append(str(plant.find_rocm().root / "include/hsa/hsa.h"))
    if plant.toolchain is not None:
        tools += [
            str(plant.toolchain.compiler),
            str(plant.toolchain.root / "include/hip/hip_version.h"),
        ]
    away = any(wheel.patched.source.passed_over for wheel in product.built)
    return Built(
        tools=tuple(sorted({tool for tool in tools if tool})), hosts_away=away, answer=answer
    )


def lacking(wheel: BuiltWheel) -> list[str]:
    """Return what was not there of the sources of a wheel, in words."""
    sources = (wheel.patched.source, *(part.source for part in wheel.parts))
    return [f"{source.upstream} {each}" for source in sources for each in source.lacks]


def fallback(plant: Plant, source: SourceTree) -> str:
    """Say that a source is another version than its upstream's pin, and why it was taken.

    Nothing where it is the pinned one.
    """
    pinned = plant.lock.upstreams[source.upstream].version
    if source.version == pinned:
        return ""
    why = f" ({'; '.join(source.passed_over)})" if source.passed_over else ""
    return f"{source.upstream}: pinned at {pinned}, built from {source.version}{why}"


def _left_out(plant: Plant, recipe: Recipe, error: Exception) -> Missing:
    wanted = recipe.version(plant.lock.upstreams[recipe.upstream].version)
    return Missing(
        name=recipe.distribution,
        wanted=wanted,
        reason=str(error),
        remedy="run the build again with --mirror DIR, or where the host answers",
    )


def _publish(
    plant: Plant, name: str, built: Sequence[BuiltWheel], left_out: Sequence[Missing]
) -> Wheelhouse:
    absent = {each.name for each in left_out}
    return publish(
        plant.workspace.wheelhouse(name),
        profile_name=name,
        profile=plant.profile(name),
        requires_python=plant.lock.python,
        targets=plant.lock.gpu_targets,
        build_paths=(str(plant.workspace.build),),
        built=built,
        recorded=plant.lock.kernels,
        third_party=[
            pin
            for pin in read_closure(plant.workspace.closure_path(name))
            if pin.name not in absent
        ],
        missing=left_out,
        registry=plant.registry,
        journal=plant.journal,
        engine=engine(wheelhouse) + engine(audit),
    )
