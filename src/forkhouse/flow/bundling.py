"""What goes into a bundle: the wheelhouse, and all that tells how it was made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from forkhouse.builders.zipapp import NAME as PROGRAM
from forkhouse.core.errors import ClosureError, UnreachableError, UsageError
from forkhouse.core.progress import report
from forkhouse.documents.lockfile import DebianSource, GitSource
from forkhouse.flow.authoring import export, open_benches
from forkhouse.flow.repin import BUILD
from forkhouse.flow.tools import CLOSURE
from forkhouse.sources.git import cached_repository, has_commit
from forkhouse.wheelhouse.verifying import FILE, FOLDER, entries, listed, verify

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from forkhouse.documents.lockfile import Source
    from forkhouse.flow.plant import Plant

WHEELHOUSE, CHECKOUT, DIFFS, SOURCES = "wheelhouse", "checkout", "diffs", "sources"
"""The folders of a bundle."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Gathered:
    """What goes into a bundle."""

    files: Mapping[str, Path]
    """By path in the bundle."""
    digests: Mapping[str, str]
    """sha256 of those that were read already to compare them, by path in the bundle."""


def contents(plant: Plant, profile: str, scratch: Path, *, sources: bool) -> Gathered:
    """Return the files of a bundle.

    The wheelhouse is verified first. Each series is rendered as patches into `scratch`. With
    `sources` there is also a cache, from which the site can build again (`FORKHOUSE_CACHE` and
    `--offline`). Raises ClosureError and HashMismatchError where the wheelhouse is not as it was
    built, UnreachableError where a source is not in the cache, UsageError for a link.
    """
    house = plant.workspace.wheelhouse(profile)
    verify(house)
    if not (house / PROGRAM).is_file():
        message = (
            f"The wheelhouse {house.name} carries no {PROGRAM}, so nothing could read it where it "
            "goes. `forkhouse lock --tools` pins what it carries; then build it again."
        )
        raise ClosureError(message)
    files = dict(_below(house, WHEELHOUSE))
    files |= _checkout(plant)
    files |= _diffs(plant, profile, scratch)
    digests = {f"{WHEELHOUSE}/{path}": sha256 for path, sha256 in listed(house).items()}
    if sources:
        found = _sources(plant, profile)
        files |= found.files
        digests |= found.digests
    return Gathered(files=files, digests=digests)


def _below(folder: Path, name: str) -> Iterator[tuple[str, Path]]:
    """Yield the files below a folder, by their path in the bundle.

    Raises UsageError for what is neither a file nor a folder.
    """
    for path, kind in entries(folder):
        if kind == FILE:
            yield f"{name}/{path}", folder / path
        elif kind != FOLDER:
            message = (
                f"{folder / path} is {kind}, and a bundle carries files alone: it would be missing "
                "where the bundle goes. Put a file there."
            )
            raise UsageError(message)


def _checkout(plant: Plant) -> dict[str, Path]:
    """Return what a build reads of the checkout."""
    root = plant.workspace.root
    files = [root / "pyproject.toml", plant.workspace.lock_path, *root.glob("pylock.*.toml")]
    found = {f"{CHECKOUT}/{path.name}": path for path in files if path.is_file()}
    for name in ("patches", "recipes"):
        found |= {
            path: file
            for path, file in _below(root / name, f"{CHECKOUT}/{name}")
            if "/__pycache__/" not in path
        }
    return found


def _diffs(plant: Plant, profile: str, scratch: Path) -> dict[str, Path]:
    """Render the series of each upstream of a profile as patches, in the forms it is built from."""
    upstreams = sorted({recipe.upstream for recipe in plant.checkout.recipes(profile).values()})
    with report().task("render the series", total=len(upstreams)) as task:
        for upstream in upstreams:
            benches, _ = open_benches(plant, upstream)
            for bench in benches:
                export(bench, scratch / upstream / str(bench.source.source.kind))
            task.advance(1)
    return dict(_below(scratch, DIFFS))


def _sources(plant: Plant, profile: str) -> Gathered:
    """Return what a build of the profile takes from the cache, as a cache."""
    cache = plant.workspace.cache
    recipes = plant.checkout.recipes(profile)
    closures = [BUILD, CLOSURE, *recipes]
    wanted = {(pin.file, pin.sha256) for pin in plant.checkout.closure(profile)}
    wanted |= {
        (pin.file, pin.sha256)
        for name in closures
        if plant.workspace.closure_path(name).is_file()
        for pin in plant.checkout.closure(name)
    }
    pinned: list[Source] = [
        source
        for recipe in recipes.values()
        for source in plant.lock.upstreams[recipe.upstream].sources
    ]
    pinned += [source for each in plant.lock.components.values() for source in each.sources]
    found: dict[str, Path] = {}
    digests: dict[str, str] = {}
    for source in pinned:
        if isinstance(source, GitSource):
            if has_commit(source, cache):
                folder = cached_repository(source, cache)
                found |= _below(folder, f"{SOURCES}/mirrors/{folder.name}")
        elif isinstance(source, DebianSource):
            files = {(each.file, each.sha256) for each in source.files}
            if all(plant.registry.cached(*each) for each in files):
                wanted |= files
        elif plant.registry.cached(source.file, source.sha256):
            wanted.add((source.file, source.sha256))
    for file, sha256 in sorted(wanted):
        path = plant.registry.cached(file, sha256)
        if path is None:
            message = (
                f"{file} is not in the cache, so the site could not build again. Run `forkhouse "
                f"build --profile {profile}` once, or leave --with-sources out."
            )
            raise UnreachableError(message)
        found[f"{SOURCES}/files/{sha256}/{file}"] = path
        digests[f"{SOURCES}/files/{sha256}/{file}"] = sha256
    return Gathered(files=found, digests=digests)
