"""Resolve the closures of profiles and of build tools, as the texts of pylock files."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from forkhouse.builders.metadata import Outline, outline
from forkhouse.builders.wheelfile import Member, write_wheel
from forkhouse.core.errors import (
    DocumentError,
    UnreachableError,
)
from forkhouse.core.progress import report
from forkhouse.documents.config import read_config
from forkhouse.documents.pins import pinned_wheel
from forkhouse.documents.pylock import pylock_text
from forkhouse.documents.reading import LONGEST_TOML, read_text, read_toml
from forkhouse.documents.recipe import Pep517, UpstreamProject
from forkhouse.flow.building import NOT_HERE, build_recipes, open_workshop, whole_weight
from forkhouse.flow.resolve import resolve
from forkhouse.sources.externals import fetched
from forkhouse.toolchains.packages import require_packages

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forkhouse.builders.built import BuiltWheel
    from forkhouse.flow.plant import Plant


def outlined_closure(plant: Plant, name: str) -> str:
    """Return the text of a profile's closure, resolved around outlines of the wheels of ours."""
    workshop, made, absent = open_workshop(plant), dict[str, Outline](), dict[str, str]()
    with tempfile.TemporaryDirectory(prefix="forkhouse-outlines-") as scratch:
        for recipe_name, recipe in plant.checkout.recipes(name).items():
            folder = plant.workspace.root / "recipes" / recipe_name
            try:
                patched = plant.supplies.patched(recipe_name, recipe)
            except NOT_HERE:
                if recipe_name not in plant.checkout.profile(name).where_reachable:
                    raise
                absent[recipe.distribution] = (
                    f"=={recipe.version(plant.checkout.upstream(recipe.upstream).version)}"
                )
                continue
            siblings = [made[needed] for needed in recipe.needs if needed in made]
            made[recipe_name] = outline(patched, recipe, folder, workshop, siblings, Path(scratch))
        return _resolved_closure(
            plant, name, {each.distribution: each.path for each in made.values()}, absent
        )


def profile_closure(plant: Plant, name: str) -> tuple[str, list[BuiltWheel]]:
    """Return the text of a profile's closure, and our wheels for which it was resolved."""
    recipes = plant.checkout.recipes(name)
    require_packages(
        (package for recipe in recipes.values() for package in recipe.system_packages),
        install=False,
    )
    with report().task(f"profile {name}", total=whole_weight(plant, recipes)) as task:
        built, left_out = build_recipes(plant, name, recipes, task)
    absent = {each.name: f"=={each.wanted}" for each in left_out}
    return _resolved_closure(
        plant, name, {wheel.distribution: wheel.path for wheel in built}, absent
    ), built


def _resolved_closure(
    plant: Plant, name: str, ours: Mapping[str, Path], left_out: Mapping[str, str]
) -> str:
    """Return the text of a profile's closure: all that pip chooses besides `ours`.

    What was `left_out` is resolved around.
    """
    profile = plant.checkout.profile(name)
    addresses = read_config().indexes
    # What cannot be had here is resolved around: nothing of it but its name and version counts.
    absent, local = dict(left_out), dict(ours)
    elsewhere = [external for external in profile.externals if external.index is not None]
    for external in elsewhere:
        try:
            path = fetched(external, plant.registry, addresses)
        except UnreachableError:
            path = None
        if path is not None:
            local[external.package] = path
        else:
            absent[external.package] = (
                f"=={external.version}" if external.version else external.wanted or ""
            )
    pinned = {
        external.package: pinned_wheel(*external.pinned[1:])
        for external in profile.externals
        if external.pinned is not None
    }
    ordinary = [
        pinned[external.package] for external in profile.externals if external.index is None
    ]
    with tempfile.TemporaryDirectory(prefix="forkhouse-stand-ins-") as scratch:
        local |= {
            package: _stand_in(package, wanted, Path(scratch)) for package, wanted in absent.items()
        }
        pins = resolve(plant, list(profile.install), local=local, constraints=ordinary)
    pins += [pinned[external.package] for external in elsewhere if external.package in pinned]
    return pylock_text(pins, folder=f"wheels/{name}", requires_python=plant.lock.python)


def _stand_in(package: str, wanted: str, folder: Path) -> Path:
    """Write an empty wheel of the first version that is wanted, for the resolver's eyes alone."""
    first = next(
        (
            str(part.version).removesuffix(".*")
            for part in SpecifierSet(wanted)
            if part.operator in {"==", ">=", "~="}
        ),
        "0",
    )
    stem = f"{package.replace('-', '_')}-{Version(first)}"
    texts = {
        "METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: {Version(first)}\n",
        "WHEEL": "Wheel-Version: 1.0\nGenerator: forkhouse\nRoot-Is-Purelib: true\n"
        "Tag: py3-none-any\n",
    }
    members = [
        Member(path=f"{stem}.dist-info/{name}", content=text.encode(), executable=False)
        for name, text in texts.items()
    ]
    return write_wheel(
        folder / f"{stem}-py3-none-any.whl", members, dist_info=f"{stem}.dist-info", epoch=0
    )


def build_closure(plant: Plant) -> str:
    """Resolve the build requirements of every recipe.

    Those of its own projects (PEP 518), and those that it names for the upstream's.
    """
    requirements: set[str] = set()
    recipes = plant.workspace.root / "recipes"
    for project in sorted(
        [*recipes.glob("*/pyproject.toml"), *recipes.glob("*/native/pyproject.toml")]
    ):
        requirements.update(_build_requirements(project))
    for path in sorted(recipes.glob("*/recipe.yaml")):
        for method in plant.checkout.recipe(path.parent.name).builders.values():
            requirements.update(method.requires if isinstance(method, UpstreamProject) else ())
    pins = resolve(plant, sorted(requirements), local={}, constraints=[]) if requirements else []
    return pylock_text(pins, folder="build/tools", requires_python=plant.lock.python)


def _build_requirements(project: Path) -> list[str]:
    """Return what a project of a recipe asks for to be built (PEP 518). Raises DocumentError."""
    where = "/".join(project.parts[-3:])
    try:
        requires = read_toml(read_text(project, LONGEST_TOML).encode())["build-system"]["requires"]
        for each in requires:
            Requirement(each)
        return list(requires)
    except (ValueError, LookupError, TypeError) as error:
        message = (
            f"{where}: what it requires to be built cannot be read from [build-system]: {error}."
        )
        raise DocumentError(message) from error


def native_closures(plant: Plant) -> dict[str, str]:
    """Resolve the build requirements of wheels' compiled halves, one closure for each recipe."""
    texts = {}
    for path in sorted((plant.workspace.root / "recipes").glob("*/native/pyproject.toml")):
        name = path.parent.parent.name
        halves = [
            method.native
            for method in plant.checkout.recipe(name).builders.values()
            if isinstance(method, Pep517) and method.native
        ]
        requirements = sorted({requirement for half in halves for requirement in half.requires})
        if requirements:
            pins = resolve(plant, requirements, local={}, constraints=[])
            texts[name] = pylock_text(pins, folder="build/tools", requires_python=plant.lock.python)
    return texts
