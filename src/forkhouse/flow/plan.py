"""Say what a build will do, and find now what would else be found at its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from forkhouse.audit.policy import read_policy
from forkhouse.core.errors import (
    UnreachableError,
)
from forkhouse.core.wording import bullets
from forkhouse.documents.lockfile import ArchiveSource, Upstream, describe
from forkhouse.documents.recipe import (
    Pep517,
    Recipe,
    Repack,
)
from forkhouse.sources.acquire import candidates, fetched
from forkhouse.sources.asking import ask, at_hand
from forkhouse.sources.gitcommand import require_git
from forkhouse.toolchains.packages import missing_packages
from forkhouse.wheelhouse.contradictions import refuse_contradictions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkhouse.documents.lockfile import Pinned, Source
    from forkhouse.flow.plant import Plant


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


def plan(plant: Plant, profile: str) -> list[Intent]:
    """Return what building a profile will do.

    Reads every document it needs, changes and fetches nothing.

    Raises now what would else be found at the end: rules that the audit lacks, pins that contradict
    each other, a machine without git or one that allows no sandbox, archives that --offline forbids
    to fetch.
    """
    _check_documents(plant, profile)
    require_git()
    if not missing_packages(plant.tools.packages(())):
        plant.tools.sandbox()
    intents = []
    for name, recipe in plant.checkout.recipes(profile).items():
        upstream = plant.checkout.pinned(name, recipe)
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
                    for patch in plant.checkout.series(recipe.upstream)
                    if patch.is_for(chosen[0].kind)
                ),
                missing_packages=tuple(
                    missing_packages([*plant.tools.packages(()), *recipe.packages(chosen[0].kind)])
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
            if intent.recipe not in plant.checkout.profile(profile).where_reachable
        }
    )
    if away and plant.access.offline:
        message = (
            "Neither in the cache nor in a mirror, and --offline forbids fetching: "
            f"{', '.join(away)}. Run once without --offline."
        )
        raise UnreachableError(message)
    if not any(intent.missing_packages for intent in intents) and any(
        recipe.rocm for recipe in plant.checkout.recipes(profile).values()
    ):
        plant.tools.find_rocm()
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
    recipes, profile = plant.checkout.recipes(name), plant.checkout.profile(name)
    read_policy(name)
    plant.checkout.closure("build")
    for recipe_name, recipe in recipes.items():
        if any(
            isinstance(method, Pep517) and method.native and method.native.requires
            for method in recipe.builders.values()
        ):
            plant.checkout.closure(recipe_name)
    third_party = plant.checkout.closure(name)
    absent = {external.package for external in profile.externals if external.pinned is None}
    absent |= plant.checkout.omitted(name).keys()
    refuse_contradictions(
        profile, third_party, [recipe.distribution for recipe in recipes.values()], absent
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
    for name, recipe in plant.checkout.recipes(profile).items():
        pinned = plant.checkout.pinned(name, recipe)
        true = tuple(source for source in pinned.sources if _as_pinned(source, pinned))
        upstreams[recipe.upstream] = pinned.model_copy(update={"sources": true})
        if reasons := _only_others(plant, recipe, pinned):
            refused.append(f"{recipe.upstream} {pinned.version}: {'; '.join(reasons)}")
    if refused:
        message = (
            "--strict-sources refuses another version than the pinned one, and that cannot be "
            f"had:\n{bullets(refused)}\n"
            "Reach its host, or give --mirror DIR."
        )
        raise UnreachableError(message)
    lock = plant.lock.model_copy(update={"upstreams": upstreams})
    return plant.with_lock(lock)


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
