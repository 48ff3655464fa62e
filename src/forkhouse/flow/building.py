"""Build a profile, one way, downhill: lock, sources, patches, builders, audit, wheelhouse."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from packaging.version import Version

from forkhouse import audit, builders, wheelhouse
from forkhouse.builders.build import Workshop, build_wheel
from forkhouse.builders.environment import BuildEnvironment
from forkhouse.core.digests import sha256_file
from forkhouse.core.errors import (
    UnreachableError,
    UsageError,
)
from forkhouse.core.identity import engine
from forkhouse.core.journal import Record, Stage
from forkhouse.core.progress import Task, report
from forkhouse.core.storage import fresh_folder
from forkhouse.documents.config import read_config
from forkhouse.documents.lockfile import SLIM
from forkhouse.documents.pins import Missing
from forkhouse.documents.recipe import (
    Recipe,
    UpstreamProject,
)
from forkhouse.flow.doctor import compiles_for_gpus
from forkhouse.flow.freshness import Built, packed_kernels
from forkhouse.flow.tools import carried_kernels, carried_tools
from forkhouse.sources.externals import missing
from forkhouse.sources.wheels import fetch_all
from forkhouse.toolchains.packages import found_at, require_packages
from forkhouse.toolchains.rust import watched
from forkhouse.wheelhouse.byproducts import keep_byproducts
from forkhouse.wheelhouse.publish import Wheelhouse, publish

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from forkhouse.builders.built import BuiltWheel
    from forkhouse.flow.plant import Plant
    from forkhouse.flow.supplies import Prepared
    from forkhouse.provenance.origins import Origin
    from forkhouse.provenance.statement import Definition
    from forkhouse.sources.acquire import SourceTree


class Took(Record):
    """The time that a recipe took when it was built last."""

    seconds: float


_SECONDS = Stage("seconds", Took)


DPKG = "/var/lib/dpkg/status"
"""A file that changes with every installation of a Debian package."""
NOT_HERE = (UnreachableError, UsageError)
"""Errors that mean: this source is unavailable, so try the next.

Its host does not answer, or --sources excludes it.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Product:
    """A finished wheelhouse and the wheels of ours that are in it."""

    wheelhouse: Wheelhouse
    built: tuple[BuiltWheel, ...]
    missing: tuple[Missing, ...]
    """Wheels that the profile installs and that could not be had here."""


def open_workshop(plant: Plant) -> Workshop:
    """Return the place where wheels are built."""
    build = plant.workspace.build
    environment = BuildEnvironment(
        tools=plant.checkout.closure("build"),
        registry=plant.registry,
        folder=build / "environments",
        hip=plant.tools.hip,
        targets=plant.lock.gpu_targets,
        rocm=plant.tools.find_rocm,
        caches=plant.workspace.cache / "ccache",
        sandbox=plant.tools.sandbox(),
    )
    return Workshop(
        store=plant.store,
        journal=plant.journal,
        environment=environment,
        closure=plant.checkout.closure,
        work=build / "work",
        wheels=build / "wheels",
        logs=build / "logs",
        engine=engine(builders),
    )


def build_recipe(
    plant: Plant,
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
    prepared = prepared or plant.supplies.prepare(name, recipe, system_packages=system_packages)
    return build_wheel(
        prepared.patched,
        recipe,
        plant.workspace.root / "recipes" / name,
        workshop,
        parts=prepared.parts,
        siblings=[built[needed] for needed in recipe.needs],
        cargo=prepared.cargo,
    )


def build_profile(plant: Plant, name: str, *, system_packages: bool) -> Product:
    """Build every wheel of a profile and publish its wheelhouse.

    Nothing that is up to date is done again.

    `system_packages` allows the installation of missing distribution packages. Raises
    ForkhouseError; the wheelhouse then stays as it was.
    """
    recipes = plant.checkout.recipes(name)
    require_packages(plant.tools.packages(recipes.values()), install=system_packages)
    if any(compiles_for_gpus(recipe) for recipe in recipes.values()):
        # Found or made before anything is compiled: what links ROCm is compiled against the newest
        # at hand, and this may be it.
        plant.tools.hip()
    with report().task(f"profile {name}", total=whole_weight(plant, recipes)) as task:
        lacking = list(
            missing(plant.checkout.profile(name).externals, plant.registry, read_config().indexes)
        )
        away = {each.name for each in lacking} | {
            recipes[each].distribution for each in plant.checkout.profile(name).where_reachable
        }
        pins = plant.checkout.closure(name)
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
        built, origins = _described(plant, built)
        house = _publish(plant, name, built, left_out, origins)
        logs = {log: sha256 for wheel in built for log, sha256 in wheel.logs.items()}
        keep_byproducts(plant.workspace, name, logs)
    return Product(wheelhouse=house, built=tuple(built), missing=tuple(left_out))


def weights(plant: Plant, recipes: Mapping[str, Recipe]) -> dict[str, float]:
    """Return the weight of each recipe in the work of a build.

    It is the time in seconds that the recipe took last time. A recipe without such a time gets the
    mean of the others.
    """
    records = {name: plant.journal.get(_SECONDS, name) for name in recipes}
    known = {
        name: max(record.seconds, 1.0) for name, record in records.items() if record is not None
    }
    other = sum(known.values()) / len(known) if known else 1.0
    return {name: known.get(name, other) for name in recipes}


def whole_weight(plant: Plant, recipes: Mapping[str, Recipe]) -> float:
    """Return how much work all recipes are.

    Infinite where one was never built here, as nothing tells how long it takes.
    """
    never = any(plant.journal.get(_SECONDS, name) is None for name in recipes)
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
    source cannot be had here. Raises as `build_recipe`.
    """
    workshop = open_workshop(plant)
    heavy = weights(plant, recipes)
    prepared: dict[str, Prepared] = {}
    left_out: list[Missing] = []
    # Whatever cannot be had shows before the first compiler runs, which may take an hour.
    for recipe_name, recipe in recipes.items():
        try:
            if lost := [needed for needed in recipe.needs if needed not in prepared]:
                message = f"it is built against {', '.join(lost)}, which could not be had"
                raise UnreachableError(message)
            prepared[recipe_name] = plant.supplies.prepare(
                recipe_name, recipe, system_packages=system_packages
            )
        except NOT_HERE as error:
            if recipe_name not in plant.checkout.profile(name).where_reachable:
                raise
            report().line(recipe_name, f"LEFT OUT: {error}")
            left_out.append(_left_out(plant, recipe, error))
            task.advance(heavy[recipe_name])
            if plant.journal.get(_SECONDS, recipe_name) is None:
                # Without it a build is all that is known.
                plant.journal.put(_SECONDS, recipe_name, Took(seconds=0.0))
    built: dict[str, BuiltWheel] = {}
    for recipe_name, ready in prepared.items():
        built[recipe_name] = build_recipe(
            plant, recipe_name, recipes[recipe_name], workshop, built, prepared=ready
        )
        if built[recipe_name].seconds:
            took = Took(seconds=built[recipe_name].seconds)
            plant.journal.put(_SECONDS, recipe_name, took)
        task.advance(heavy[recipe_name])
    return list(built.values()), left_out


def _left_out(plant: Plant, recipe: Recipe, error: Exception) -> Missing:
    wanted = recipe.version(plant.lock.upstreams[recipe.upstream].version)
    return Missing(
        name=recipe.distribution,
        wanted=wanted,
        reason=str(error),
        remedy="run the build again with --mirror DIR, or where the host answers",
    )


def _described(
    plant: Plant, built: Sequence[BuiltWheel]
) -> tuple[list[BuiltWheel], dict[str, Origin]]:
    """Return the wheels with their bills of materials in them, and where each is from, by recipe.

    Each comes after those that it was built against.
    """
    from forkhouse.provenance.embedding import described  # start-up time
    from forkhouse.provenance.origins import origin_of

    done: dict[str, BuiltWheel] = {}
    origins: dict[str, Origin] = {}
    for bare in built:
        wheel = replace(bare, siblings=tuple(done[each.recipe] for each in bare.siblings))
        upstream = wheel.patched.source.upstream
        origin = origin_of(wheel, plant.lock, plant.checkout.series(upstream), plant.store)
        origins[wheel.recipe] = origin
        done[wheel.recipe] = described(
            wheel,
            origin,
            store=plant.store,
            journal=plant.journal,
            wheels=plant.workspace.build / "wheels",
        )
    return list(done.values()), origins


def _definition(plant: Plant, name: str) -> Definition:
    from forkhouse.provenance.statement import Definition  # start-up time

    workspace = plant.workspace
    # A slim profile has the closure of the whole one.
    closure = workspace.closure_path(name.removesuffix(SLIM))
    return Definition(
        profile=name,
        install=plant.checkout.profile(name).install,
        lock=sha256_file(workspace.lock_path),
        closure=closure.name,
        closure_sha256=sha256_file(closure),
        omitted=tuple(sorted(plant.checkout.omitted(name))),
        policy=plant.access.policy,
        targets=plant.lock.gpu_targets,
        transfer=plant.checkout.transfer,
        build_tools=plant.checkout.closure("build"),
    )


def _publish(
    plant: Plant,
    name: str,
    built: Sequence[BuiltWheel],
    left_out: Sequence[Missing],
    origins: Mapping[str, Origin],
) -> Wheelhouse:
    from forkhouse.provenance.statement import Provenance  # start-up time

    absent = {each.name for each in left_out}
    kernels = carried_kernels(
        packed_kernels(plant.workspace),
        plant.lock.gpu_targets,
        {
            Version(wheel.version).public
            for wheel in built
            # One with code for GPUs, of which the lock has a record.
            if wheel.distribution == "vllm" and wheel.recipe in plant.lock.kernels
        },
    )
    with fresh_folder(plant.workspace.build / "carried") as folder:
        return publish(
            plant.workspace.wheelhouse(name),
            profile_name=name,
            profile=plant.checkout.profile(name),
            requires_python=plant.lock.python,
            targets=plant.lock.gpu_targets,
            build_paths=(str(plant.workspace.build),),
            built=built,
            recorded=plant.lock.kernels,
            third_party=[pin for pin in plant.checkout.closure(name) if pin.name not in absent],
            tools={**carried_tools(plant, folder), **kernels},
            omitted=plant.checkout.omitted(name),
            missing=left_out,
            provenance=Provenance(definition=_definition(plant, name), origins=origins),
            registry=plant.registry,
            journal=plant.journal,
            engine=engine(wheelhouse) + engine(audit),
        )


def built_state(plant: Plant, product: Product, answer: dict[str, Any]) -> Built:
    """Return what tells a later run that there is nothing to do."""
    recipes = [plant.checkout.recipe(wheel.recipe) for wheel in product.built]
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
        tools.append(str(plant.tools.find_rocm().root / "include/hsa/hsa.h"))
    if plant.tools.toolchain is not None:
        tools += [
            str(plant.tools.toolchain.compiler),
            str(plant.tools.toolchain.root / "include/hip/hip_version.h"),
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
