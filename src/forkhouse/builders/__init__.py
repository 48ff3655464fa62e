"""From a patched tree to a wheel: one class a build system behind one protocol, each result cached by all its inputs."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from packaging.utils import parse_wheel_filename

from forkhouse.builders.pep517 import Pep517Builder
from forkhouse.builders.repack import RepackBuilder
from forkhouse.errors import BuildError
from forkhouse.progress import report
from forkhouse.recipes import Pep517, Recipe, Repack
from forkhouse.toolchains import identify
from forkhouse.workspace import digest, digest_folder, fresh_folder, sha256_file, storage_errors, sync_folder

if TYPE_CHECKING:
    from pathlib import Path

    from forkhouse.builders.environment import BuildEnvironment
    from forkhouse.patches import PatchedTree
    from forkhouse.sources.store import ObjectStore
    from forkhouse.workspace import Journal


class Builder(Protocol):
    """A way to make a wheel."""

    def build(self, patched: PatchedTree, recipe: Recipe, work: Path) -> Path:
        """Return the wheel made from `patched`, somewhere below the empty folder `work`. Raises BuildError."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BuiltWheel:
    """A wheel of ours, and what it was made from."""

    recipe: str
    distribution: str
    version: str
    path: Path
    sha256: str
    patched: PatchedTree
    tools: dict[str, str]
    seconds: float
    """Wall time of the build in this run; 0 when nothing had to be done."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Workshop:
    """What every build of a run shares."""

    store: ObjectStore
    journal: Journal
    environment: BuildEnvironment
    work: Path
    """Folder for work in progress."""
    wheels: Path
    """Folder of finished wheels, by build key."""
    logs: Path
    engine: str
    """Identifies the code of the builders."""


def build_wheel(patched: PatchedTree, recipe: Recipe, recipe_folder: Path, workshop: Workshop) -> BuiltWheel:
    """Build the wheel of a recipe from a patched tree, or return the one that the same inputs gave before.

    Raises BuildError, ToolchainError or StorageError; an unfinished wheel is never taken for a finished one.
    """
    name = recipe_folder.name
    method = recipe.builders[patched.source.source.kind]
    version = recipe.version(patched.source.version)
    tools = identify(recipe.system_packages)
    inputs = [patched.tree, digest_folder(recipe_folder), version, patched.source.epoch, tools, workshop.engine]
    if isinstance(method, Pep517):
        inputs.append(workshop.environment.identity(recipe))
    key = digest(inputs)
    record = workshop.journal.get("build", key)
    seconds = 0.0
    if record is not None:
        path = workshop.wheels / key / str(record["file"])
        if not path.is_file() or sha256_file(path) != record["sha256"]:
            record = None
    if record is None:
        started = time.monotonic()
        report().line(name, f"building {recipe.distribution} {version}")
        with fresh_folder(workshop.work / name) as work:
            made = _builder(method, workshop, recipe_folder).build(patched, recipe, work)
            _check_name(made, recipe, version)
            path = _keep(made, workshop.wheels / key)
        record = {"file": path.name, "sha256": sha256_file(path)}
        workshop.journal.put("build", key, record)
        seconds = time.monotonic() - started
        report().line(name, f"built {path.name} ({path.stat().st_size / 1e6:.1f} MB) in {seconds:.1f} s")
    else:
        report().line(name, f"unchanged, {path.name} is up to date")
    return BuiltWheel(
        recipe=name,
        distribution=recipe.distribution,
        version=version,
        path=path,
        sha256=str(record["sha256"]),
        patched=patched,
        tools=tools,
        seconds=seconds,
    )


def _builder(method: Repack | Pep517, workshop: Workshop, recipe_folder: Path) -> Builder:
    match method:
        case Repack():
            return RepackBuilder(workshop.store)
        case Pep517():
            log = workshop.logs / f"{recipe_folder.name}.log"
            return Pep517Builder(workshop.store, workshop.environment, method, recipe_folder, log)


def _check_name(made: Path, recipe: Recipe, version: str) -> None:
    name, found, *_ = parse_wheel_filename(made.name)
    if name != recipe.distribution or str(found) != version:
        message = f"The build gave {made.name}, the recipe promises {recipe.distribution} {version}. Correct the recipe or its project."
        raise BuildError(message)


def _keep(made: Path, folder: Path) -> Path:
    """Move a finished wheel to its place; the rename is the moment from which it exists."""
    with storage_errors(f"Keeping {made.name}"):
        folder.mkdir(parents=True, exist_ok=True)
        with made.open("rb") as stream:
            os.fsync(stream.fileno())
        target = folder / made.name
        made.replace(target)
        sync_folder(folder)
    return target
