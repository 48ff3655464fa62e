"""Build a wheel from a recipe's own project, with the upstream's tree laid in it, through its PEP 517 backend.

The project finds the patched source in `upstream/` and the version to give its wheel in the file `VERSION`.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from build import BuildBackendException, BuildException, ProjectBuilder

from forkhouse.builders.environment import run_isolated
from forkhouse.errors import BuildError, ForkhouseError
from forkhouse.workspace import storage_errors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from forkhouse.builders.environment import BuildEnvironment
    from forkhouse.patches import PatchedTree
    from forkhouse.recipes import Pep517, Recipe
    from forkhouse.sources.store import ObjectStore

_RECIPE_FILE = "recipe.yaml"


class Pep517Builder:
    """Lays out the project, then asks its backend for a wheel (PEP 517)."""

    def __init__(self, store: ObjectStore, environment: BuildEnvironment, method: Pep517, recipe_folder: Path, log: Path) -> None:
        """Build from trees in `store` with the tools of `environment`; output goes to `log`."""
        self._store = store
        self._environment = environment
        self._method = method
        self._recipe_folder = recipe_folder
        self._log = log

    def build(self, patched: PatchedTree, recipe: Recipe, work: Path) -> Path:
        """Return the wheel. Raises BuildError with the command, its last lines and the log's path."""
        project, home, out = work / "project", work / "home", work / "wheel"
        with storage_errors("Laying out the build"):
            for folder in (home, out, self._log.parent):
                folder.mkdir(parents=True, exist_ok=True)
            self._log.unlink(missing_ok=True)
            shutil.copytree(self._recipe_folder, project, ignore=shutil.ignore_patterns(_RECIPE_FILE, "__pycache__"))
            self._store.check_out(patched.tree, project / "upstream")
            (project / "VERSION").write_text(f"{recipe.version(patched.source.version)}\n", encoding="utf-8")
        variables = self._environment.variables(epoch=patched.source.epoch, home=home, recipe=recipe)

        def run(cmd: Sequence[str], cwd: str | None = None, extra_environ: Mapping[str, str] | None = None) -> None:
            folder = project if cwd is None else project / os.fspath(cwd)
            run_isolated(list(cmd), folder=folder, variables={**variables, **(extra_environ or {})}, log=self._log)

        try:
            builder = ProjectBuilder(project, python_executable=str(self._environment.python()), runner=run)
            return out / os.path.basename(builder.build("wheel", out, dict(self._method.config_settings)))  # noqa: PTH119
        except (BuildBackendException, BuildException) as error:
            cause = getattr(error, "exception", None)
            if isinstance(cause, ForkhouseError):  # what our own runner raised, wrapped on its way through
                raise cause from None
            message = f"{recipe.distribution}: the PEP 517 backend could not be used: {error}. The whole log: {self._log}"
            raise BuildError(message) from error
