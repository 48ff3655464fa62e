"""Read the documents of a checkout: its lock, its recipes and its series of patches."""

from __future__ import annotations

from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

from forkhouse.core.errors import (
    DocumentError,
    SeriesError,
    UsageError,
)
from forkhouse.documents.lockfile import FORMS, SLIM, Lock, Profile, Upstream
from forkhouse.documents.pylock import read_closure
from forkhouse.documents.recipe import (
    Recipe,
    read_recipe,
)
from forkhouse.patches.series import Patch, read_series

if TYPE_CHECKING:
    from forkhouse.core.workspace import Workspace
    from forkhouse.documents.lockfile import Form, Transfer
    from forkhouse.documents.pins import PinnedWheel


@dataclass(frozen=True, kw_only=True, slots=True)
class DocumentsRead:
    """Documents that were read, by name; a run does not expect them to change under it."""

    series: dict[str, tuple[Patch, ...]] = field(default_factory=dict)
    recipes: dict[str, Recipe] = field(default_factory=dict)
    closures: dict[str, tuple[PinnedWheel, ...]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkout:
    """The documents of a checkout: the lock, the recipes and the series of patches."""

    workspace: Workspace
    lock: Lock
    transfer: Transfer | None = None
    """The transfer library that the user chose; None for each profile's own."""
    read: DocumentsRead = field(default_factory=DocumentsRead, repr=False, compare=False)

    def profile(self, name: str) -> Profile:
        """Return a profile of the lock.

        Its transfer library is added to what is built and installed. `NAME-slim` is the same one.
        Raises UsageError for an unknown profile, and where a transfer library was chosen for a
        profile that offers no choice.
        """
        profile = self.lock.profiles.get(name) or self.lock.profiles.get(name.removesuffix(SLIM))
        if profile is None or (name.endswith(SLIM) and not profile.slim):
            slim = [f"{each}{SLIM}" for each, held in self.lock.profiles.items() if held.slim]
            there = ", ".join([*self.lock.profiles, *slim])
            message = f"The lock has no profile '{name}'. It has: {there}."
            raise UsageError(message)
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

    def omitted(self, name: str) -> dict[str, str]:
        """Return what a profile leaves out of its closure, with the reason; nothing unless slim."""
        slim = self.profile(name).slim if name.endswith(SLIM) else ()
        return {each.package: each.why for each in slim}

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
        known = self.read.recipes
        if name not in known:
            known[name] = read_recipe(self.workspace.root / "recipes" / name)
        return known[name]

    def closure(self, name: str) -> tuple[PinnedWheel, ...]:
        """Return the wheels that a pylock file pins. Raises as `read_closure`.

        Those of a slim profile are the whole one's, without what it leaves out. Raises
        DocumentError for something that is left out and is not there.
        """
        known = self.read.closures
        whole = name.removesuffix(SLIM)
        if whole not in known:
            known[whole] = read_closure(self.workspace.closure_path(whole))
        omitted = self.omitted(name) if whole != name else {}
        if lost := omitted.keys() - {pin.name for pin in known[whole]}:
            message = (
                f"upstream.lock leaves out {', '.join(sorted(lost))} of the profile {name}, and "
                f"pylock.{whole}.toml has no such wheel. Take it out of `slim`."
            )
            raise DocumentError(message)
        return tuple(pin for pin in known[whole] if pin.name not in omitted)

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
        known = self.read.series
        if upstream not in known:
            self._refuse_strays()
            known[upstream] = read_series(self.workspace.root / "patches" / upstream)
        return known[upstream]

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

    def pinned(self, name: str, recipe: Recipe) -> Upstream:
        """Return what a recipe builds from. Raises UsageError when the lock does not have it."""
        if recipe.upstream not in self.lock.upstreams:
            message = (
                f"recipes/{name} builds the upstream '{recipe.upstream}', which the lock does not "
                "have."
            )
            raise UsageError(message)
        return self.lock.upstreams[recipe.upstream]
