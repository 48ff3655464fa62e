"""From a patched tree to a wheel.

One class a build system behind one protocol, each result cached by all its inputs.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from forkhouse.builders.built import Builder, BuiltWheel
from forkhouse.builders.components import licences, with_parts
from forkhouse.builders.environment import Needs
from forkhouse.builders.pep517 import Pep517Builder, Project
from forkhouse.builders.repack import RepackBuilder
from forkhouse.builders.resuming import is_laid_out, note_laid_out, work_folder
from forkhouse.builders.upstream import UpstreamBuilder
from forkhouse.builders.wheelfile import unpack
from forkhouse.core.digests import digest, digest_folder, sha256_file
from forkhouse.core.errors import BuildError
from forkhouse.core.journal import Record, Stage
from forkhouse.core.progress import report
from forkhouse.core.storage import storage_errors, sync_folder
from forkhouse.documents.recipe import Native, Pep517, Recipe, Repack, UpstreamProject
from forkhouse.toolchains.packages import identify

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from forkhouse.builders.cargo import CargoKit
    from forkhouse.builders.components import ComponentPart
    from forkhouse.builders.environment import BuildEnvironment
    from forkhouse.core.journal import Journal
    from forkhouse.documents.pins import PinnedWheel
    from forkhouse.patches.apply import PatchedTree
    from forkhouse.sources.store import ObjectStore


class BuiltFile(Record):
    """A wheel, or a compiled half of one, that was built."""

    file: str
    sha256: str
    log: str | None = None
    """sha256 of what the build printed; None where it ran no command."""


_BUILT = Stage("build", BuiltFile)


@dataclass(frozen=True, kw_only=True, slots=True)
class Workshop:
    """What every build of a run shares."""

    store: ObjectStore
    journal: Journal
    environment: BuildEnvironment
    closure: Callable[[str], tuple[PinnedWheel, ...]]
    """Returns the pinned wheels of a recipe's own closure."""
    work: Path
    """Folder for work in progress."""
    wheels: Path
    """Folder of finished wheels, by build key."""
    logs: Path
    engine: str
    """Identifies the code of the builders."""


def build_wheel(
    patched: PatchedTree,
    recipe: Recipe,
    recipe_folder: Path,
    workshop: Workshop,
    *,
    parts: Sequence[ComponentPart] = (),
    siblings: Sequence[BuiltWheel] = (),
    cargo: CargoKit | None = None,
) -> BuiltWheel:
    """Build the wheel of a recipe from a patched tree, or return an earlier one of the same inputs.

    `parts` are laid into the tree. `siblings` are the wheels of the recipes that this one needs.
    `cargo` is for a recipe that compiles Rust. An unfinished wheel is never taken for a finished
    one. Raises BuildError, ToolchainError or StorageError.
    """
    method = recipe.builders[patched.source.source.kind]
    version = recipe.version(patched.source.version)
    tools = identify(recipe.packages(patched.source.source.kind)) | (
        cargo.identity if cargo else {}
    )
    if not isinstance(method, Repack):
        tools["sandbox"] = workshop.environment.sandbox.kind
    needs = Needs(rocm=recipe.rocm)
    lacks: dict[str, str] = {}
    if recipe.rocm:
        rocm = workshop.environment.rocm()
        tools["rocm"] = str(rocm)
        lacks = rocm.lacks()
    if isinstance(method, UpstreamProject) and method.cargo is not None:
        needs = replace(needs, gigabytes_per_job=method.cargo.gigabytes_per_job)
    native = None
    if isinstance(method, Pep517) and method.native is not None:
        native = _native(patched, method.native, recipe, recipe_folder, workshop, tools)
    job = _Job(
        name=recipe_folder.name,
        folder=recipe_folder,
        patched=replace(patched, tree=with_parts(patched.tree, parts, workshop.store)),
        method=method,
        version=version,
        needs=needs,
        tools=tools,
        native=native,
        siblings=tuple(siblings),
        promised=recipe.distribution,
        cargo=cargo,
        licences=licences(parts, workshop.store),
    )
    made = _made(job, recipe, workshop)
    return BuiltWheel(
        recipe=job.name,
        distribution=recipe.distribution,
        version=version,
        path=made.path,
        sha256=made.sha256,
        patched=patched,
        tools=tools,
        omits={**recipe.omits, **lacks},
        seconds=made.seconds + (native.seconds if native else 0.0),
        parts=tuple(parts),
        siblings=tuple(siblings),
        logs={**(native.logs if native else {}), **made.logs},
    )


def _native(
    patched: PatchedTree,
    native: Native,
    recipe: Recipe,
    recipe_folder: Path,
    workshop: Workshop,
    tools: dict[str, str],
) -> _Made:
    """Return the wheel of the compiled half.

    Made from its own files alone, so that its key changes only with them.
    """
    tree = workshop.store.subtree(patched.tree, native.paths)
    wheels = workshop.closure(recipe_folder.name) if native.requires else ()
    job = _Job(
        name=f"{recipe_folder.name}-native",
        folder=recipe_folder / "native",
        patched=replace(patched, tree=tree),
        method=Pep517(kind="pep517"),
        # It never leaves the workshop; a version of its own keeps a new release of the same sources
        # from compiling anew.
        version="0",
        needs=Needs(
            rocm=recipe.rocm,
            hip=native.hip,
            wheels=wheels,
            gigabytes_per_job=native.gigabytes_per_job,
        ),
        tools=tools,
        native=None,
        siblings=(),
        promised=None,
    )
    return _made(job, recipe, workshop)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Job:
    """One wheel to be made."""

    name: str
    folder: Path
    """The project, or the recipe."""
    patched: PatchedTree
    method: Repack | Pep517 | UpstreamProject
    version: str
    needs: Needs
    tools: dict[str, str]
    """What identifies each tool of this machine that it uses."""
    native: _Made | None
    """Wheel of the compiled half."""
    siblings: tuple[BuiltWheel, ...]
    promised: str | None
    """Distribution that the wheel has to be of; None for a half."""
    cargo: CargoKit | None = None
    """What compiles Rust; its identity is among the tools."""
    licences: Mapping[str, bytes] = field(default_factory=dict)
    """Terms of the components in its tree, which are a part of that."""

    @property
    def resumes(self) -> bool:
        """Whether the build system knows of each object if it is whole.

        Ninja logs a command when it has ended, cargo writes a fingerprint.

        make goes by times alone, and takes what a killed compiler has half written. Compiled halves
        are built by Ninja.
        """
        return self.promised is None or self.cargo is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Made:
    path: Path
    sha256: str
    seconds: float
    logs: Mapping[str, str]
    """sha256 of what its build printed, by the log's name."""


def _told(job: _Job, log: str | None) -> dict[str, str]:
    return {f"{job.name}.log": log} if log else {}


def _made(job: _Job, recipe: Recipe, workshop: Workshop) -> _Made:
    """Return the wheel of a job, made now or by an earlier run."""
    folder = digest_folder(job.folder)
    inputs: list[object] = [
        job.patched.tree,
        folder,
        job.version,
        job.patched.source.epoch,
        job.tools,
        workshop.engine,
        job.native.sha256 if job.native else None,
        [sibling.sha256 for sibling in job.siblings],
    ]
    if not isinstance(job.method, Repack):
        inputs.append(workshop.environment.identity(job.needs))
    key = digest(inputs)
    record = workshop.journal.get(_BUILT, key)
    if record is not None:
        path = workshop.wheels / key / record.file
        if path.is_file() and sha256_file(path) == record.sha256:
            report().line(job.name, f"unchanged, {path.name} is up to date")
            logs = _told(job, record.log)
            return _Made(path=path, sha256=record.sha256, seconds=0.0, logs=logs)
    started = time.monotonic()
    report().line(job.name, f"building {job.promised or 'the compiled half'} {job.version}")
    with work_folder(
        workshop.work / job.name, key, resumes=job.resumes and workshop.environment.sandbox.resumes
    ) as work:
        builder = _builder(job, workshop)
        if not is_laid_out(work):
            _unpack(job.siblings, work / "needs")
            builder.lay_out(job.patched, recipe, work)
            note_laid_out(work, key)
        made = builder.build(job.patched, recipe, work)
        if job.promised is not None:
            _check_name(made, recipe, job.version)
        if digest_folder(job.folder) != folder:
            message = (
                f"The files of the recipe {job.name} were edited while it was built, so nobody "
                "knows from which of its states the wheel is. "
                "It was not kept. Run the same command again."
            )
            raise BuildError(message)
        path = _keep(made, workshop.wheels / key)
    sha256 = sha256_file(path)
    printed = workshop.logs / f"{job.name}.log"
    runs = not isinstance(job.method, Repack) and printed.is_file()
    log = sha256_file(printed) if runs else None
    workshop.journal.put(_BUILT, key, BuiltFile(file=path.name, sha256=sha256, log=log))
    seconds = time.monotonic() - started
    report().line(
        job.name, f"built {path.name} ({path.stat().st_size / 1e6:.1f} MB) in {seconds:.1f} s"
    )
    return _Made(path=path, sha256=sha256, seconds=seconds, logs=_told(job, log))


def _unpack(siblings: Sequence[BuiltWheel], folder: Path) -> None:
    """Lay wheels unpacked below `folder`, each in one of its distribution's name."""
    for sibling in siblings:
        unpack(sibling.path, folder / sibling.distribution)


def _builder(job: _Job, workshop: Workshop) -> Builder:
    match job.method:
        case Repack():
            return RepackBuilder(workshop.store)
        case Pep517():
            return Pep517Builder(
                workshop.store,
                workshop.environment,
                job.method,
                Project(
                    folder=job.folder,
                    version=job.version,
                    needs=job.needs,
                    native=job.native.path if job.native else None,
                ),
                workshop.logs / f"{job.name}.log",
            )
        case UpstreamProject():
            return UpstreamBuilder(
                workshop.store,
                workshop.environment,
                job.method,
                job.folder,
                needs=job.needs,
                siblings=job.siblings,
                log=workshop.logs / f"{job.name}.log",
                cargo=job.cargo,
                licences=job.licences,
            )


def _check_name(made: Path, recipe: Recipe, version: str) -> None:
    try:
        name, found, *_ = parse_wheel_filename(made.name)
    except InvalidWheelFilename as error:
        message = (
            f"The build gave {made.name}, which is no name of a wheel: {error}. Correct the recipe "
            "or its project."
        )
        raise BuildError(message) from error
    if name != recipe.distribution or str(found) != version:
        message = (
            f"The build gave {made.name}, the recipe promises {recipe.distribution} {version}. "
            "Correct the recipe or its project."
        )
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
