"""Build a wheel from a recipe's own project, with the upstream's tree laid in it, through its PEP 517 backend.

The project finds the patched source in `upstream/`, the version to give its wheel in the file `VERSION`, and what was
compiled apart, where the recipe does so, in `native/`.
"""

from __future__ import annotations

import os
import shutil
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from build import BuildBackendException, BuildException, ProjectBuilder

from forkhouse.builders.environment import run_isolated
from forkhouse.builders.linking import with_true_tag
from forkhouse.errors import BuildError, ForkhouseError
from forkhouse.workspace import storage_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from forkhouse.builders.environment import BuildEnvironment, Needs
    from forkhouse.builders.fixed import FixedPlace
    from forkhouse.patches import PatchedTree
    from forkhouse.recipes import Pep517, Recipe
    from forkhouse.sources.store import ObjectStore

_NOT_OF_THE_PROJECT = ("recipe.yaml", "native", "__pycache__")


@dataclass(frozen=True, kw_only=True, slots=True)
class Project:
    """A project of a recipe, and what is laid in it."""

    folder: Path
    version: str
    needs: Needs
    native: Path | None
    """Wheel of the compiled half."""


class Pep517Builder:
    """Lays out the project, then asks its backend for a wheel (PEP 517)."""

    def __init__(self, store: ObjectStore, environment: BuildEnvironment, method: Pep517, project: Project, log: Path) -> None:
        """Build from trees in `store` with the tools of `environment`; output goes to `log`."""
        self._store = store
        self._environment = environment
        self._method = method
        self._project = project
        self._log = log

    def _lay_out(self, patched: PatchedTree, project: Path) -> None:
        shutil.copytree(self._project.folder, project, ignore=shutil.ignore_patterns(*_NOT_OF_THE_PROJECT))
        self._store.check_out(patched.tree, project / "upstream")
        (project / "VERSION").write_text(f"{self._project.version}\n", encoding="utf-8")
        if self._project.native is not None:
            with zipfile.ZipFile(self._project.native) as archive:
                archive.extractall(project / "native")  # made here, by a build of ours

    def build(self, patched: PatchedTree, recipe: Recipe, work: Path) -> Path:
        """Return the wheel. Raises BuildError with the command, its last lines and the log's path."""
        place = prepared(work, self._log, lambda project: self._lay_out(patched, project))
        needs = self._project.needs
        variables = self._environment.variables(epoch=patched.source.epoch, home=place.home, needs=needs)
        python = self._environment.python(needs)
        settings = self._method.config_settings
        made = call_backend(place.project, place.out, settings, python=python, variables=variables, name=recipe.distribution, log=self._log)
        return with_true_tag(made, patched.source.epoch)


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """The folders of a build below its work folder."""

    project: Path
    home: Path
    """What the build takes for the user's home and for temporary files."""
    out: Path
    """Where the finished wheel comes to lie."""


def prepared(work: Path, log: Path, lay_out: Callable[[Path], None]) -> Place:
    """Return the folders of a build, made where they are not there; `lay_out` fills the project's, unless an earlier run has.

    An interrupted build left what it had compiled; laid out again, every file would be newer than its object. Raises StorageError.
    """
    place, ready = Place(project=work / "project", home=work / "home", out=work / "wheel"), work / "ready"
    with storage_errors("Laying out the build"):
        for folder in (place.home, place.out, log.parent):
            folder.mkdir(parents=True, exist_ok=True)
        if not ready.exists():
            log.unlink(missing_ok=True)
            shutil.rmtree(place.project, ignore_errors=True)
            lay_out(place.project)
            ready.touch()
    return place


def call_backend(
    project: Path,
    out: Path,
    settings: Mapping[str, str | Sequence[str]],
    *,
    python: Path,
    variables: Mapping[str, str],
    name: str,
    log: Path,
    place: FixedPlace | None = None,
) -> Path:
    """Return the wheel that the backend of `project` makes in `out`; `name` is the distribution's, for messages.

    It runs in a fixed place, where one is given.
    Raises BuildError with the command, its last lines and the log's path.
    """

    def run(cmd: Sequence[str], cwd: str | None = None, extra_environ: Mapping[str, str] | None = None) -> None:
        folder = project if cwd is None else project / os.fspath(cwd)
        run_isolated(list(cmd), folder=folder, variables={**variables, **(extra_environ or {})}, log=log, place=place)

    try:
        builder = ProjectBuilder(project, python_executable=str(python), runner=run)
        return out / os.path.basename(builder.build("wheel", out, dict(settings)))  # noqa: PTH119
    except (BuildBackendException, BuildException) as error:
        cause = getattr(error, "exception", None)
        if isinstance(cause, ForkhouseError):  # what our own runner raised, wrapped on its way through
            raise cause from None
        message = f"{name}: the PEP 517 backend could not be used: {error}. The whole log: {log}"
        raise BuildError(message) from error


def prepared_metadata(project: Path, out: Path, *, python: Path, variables: Mapping[str, str], name: str, log: Path) -> Path | None:
    """Return the .dist-info that a project's backend prepares in `out` without building (PEP 517); None when it has no such hook.

    Raises BuildError with the command, its last lines and the log's path.
    """

    def run(cmd: Sequence[str], cwd: str | None = None, extra_environ: Mapping[str, str] | None = None) -> None:
        folder = project if cwd is None else project / os.fspath(cwd)
        run_isolated(list(cmd), folder=folder, variables={**variables, **(extra_environ or {})}, log=log)

    try:
        found = ProjectBuilder(project, python_executable=str(python), runner=run).prepare("wheel", out)
    except (BuildBackendException, BuildException) as error:
        cause = getattr(error, "exception", None)
        if isinstance(cause, ForkhouseError):
            raise cause from None
        message = f"{name}: the PEP 517 backend could not be asked for metadata: {error}. The whole log: {log}"
        raise BuildError(message) from error
    return None if found is None else out / os.path.basename(found)  # noqa: PTH119
