"""Build an upstream that is a Python project, through its own PEP 517 backend.

The wheel gets our name and our version.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from forkhouse.builders.cargo import check_lock
from forkhouse.builders.linking import Linker
from forkhouse.builders.pep517 import BuildBackend, begun, places
from forkhouse.core.errors import BuildError
from forkhouse.core.storage import storage_errors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from forkhouse.builders.built import BuiltWheel
    from forkhouse.builders.cargo import CargoKit
    from forkhouse.builders.environment import BuildEnvironment, Needs
    from forkhouse.builders.pep517 import BuildPlace
    from forkhouse.documents.recipe import Recipe, UpstreamProject
    from forkhouse.patches.apply import PatchedTree
    from forkhouse.sources.store import ObjectStore


_SCRIPTS = "linker-scripts"


class UpstreamBuilder:
    """Lays out and names the upstream's tree, has its backend build a wheel, and relocates that."""

    def __init__(
        self,
        store: ObjectStore,
        environment: BuildEnvironment,
        method: UpstreamProject,
        recipe_folder: Path,
        *,
        needs: Needs,
        siblings: Sequence[BuiltWheel],
        log: Path,
        cargo: CargoKit | None = None,
        licences: Mapping[str, bytes] | None = None,
    ) -> None:
        """Build from trees in `store` with the tools of `environment` against `siblings`.

        Output goes to `log`.

        The siblings' wheels lie unpacked below the work folder, in `needs/<distribution>`. `cargo`
        is there for Rust, `licences` are the terms of the components in the tree.
        """
        self._store = store
        self._environment = environment
        self._method = method
        self._recipe_folder = recipe_folder
        self._needs = needs
        self._siblings = siblings
        self._log = log
        self._cargo = cargo
        self._licences = licences

    def lay_out(self, patched: PatchedTree, recipe: Recipe, work: Path) -> None:
        """Write the upstream's tree under our name, and linker scripts.

        Raises BuildError for a project that cannot be named.
        """
        project, scripts = begun(work, self._log).project, work / _SCRIPTS
        with storage_errors("Laying out the build"):
            self._store.check_out(patched.tree, project)
            self._name(
                project / self._method.folder / "pyproject.toml",
                recipe,
                recipe.version(patched.source.version),
            )
            scripts.mkdir(exist_ok=True)
            for name, text in self._method.linker_scripts.items():
                (scripts / name).write_text(f"{text}\n", encoding="utf-8")

    def build(self, patched: PatchedTree, recipe: Recipe, work: Path) -> Path:
        """Return the wheel.

        Raises BuildError for a backend that fails, and for a wheel that is not what the recipe
        says.
        """
        place = places(work)
        variables = self._environment.variables(
            epoch=patched.source.epoch, work=work, needs=self._needs
        )
        backend = BuildBackend(
            python=self._environment.python(self._needs),
            confined=self._environment.confined(work, self._needs, self._recipe_folder),
            variables=variables,
            name=recipe.distribution,
            log=self._log,
        )
        filling = {
            "needs": str(work / "needs"),
            "recipe": str(self._recipe_folder),
            "scripts": str(work / _SCRIPTS),
            "rocm": variables.get("ROCM_PATH", ""),
            "jobs": variables["CMAKE_BUILD_PARALLEL_LEVEL"],
        }
        # What a compiler writes into its output of where files lay, assertions of headers among it,
        # is cut here.
        variables |= dict.fromkeys(("CFLAGS", "CXXFLAGS"), f"-ffile-prefix-map={work}=.")
        variables |= {
            name: _filled(value, filling) for name, value in self._method.environment.items()
        }
        settings = {
            key: _filled(value, filling)
            if isinstance(value, str)
            else [_filled(each, filling) for each in value]
            for key, value in self._method.config_settings.items()
        }
        made = self._made(place, settings, replace(backend, variables=variables))
        return Linker(
            work=work, confined=backend.confined, variables=variables, log=self._log
        ).relocate(
            made,
            packages=self._method.packages,
            siblings={
                sibling.distribution: work / "needs" / sibling.distribution
                for sibling in self._siblings
            },
            epoch=patched.source.epoch,
            licences=self._licences,
        )

    def _made(
        self, place: BuildPlace, settings: Mapping[str, str | Sequence[str]], backend: BuildBackend
    ) -> Path:
        """Return the wheel that the project's backend makes."""
        project = place.project / self._method.folder
        if self._cargo is None:
            return backend.wheel(project, place.out, settings)
        fixed = self._cargo.prepare(place.home.parent, place.home)
        inside = self._cargo.variables(fixed, backend.variables)
        made = replace(backend, variables=inside, place=fixed).wheel(project, place.out, settings)
        check_lock(project, self._cargo.crates, backend.name)
        return made

    def _name(self, path: Path, recipe: Recipe, version: str) -> None:
        """Write our name, our version and the build's requirements into the project's metadata.

        Raises BuildError.
        """
        import tomlkit  # start-up time
        from tomlkit.exceptions import ParseError

        try:
            document = tomlkit.parse(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, UnicodeDecodeError, ParseError) as error:
            message = (
                f"{recipe.distribution}: the upstream's pyproject.toml cannot be read: {error}."
            )
            raise BuildError(message) from error
        project = document.get("project")
        dynamic = [] if project is None else project.get("dynamic", [])
        if project is None or "dependencies" in dynamic:
            message = (
                f"{recipe.distribution}: the upstream's pyproject.toml has no [project] table that "
                "says what it requires (PEP 621)."
            )
            raise BuildError(message)
        project["name"] = recipe.distribution
        project["version"] = version
        if "version" in dynamic:
            project["dynamic"] = [name for name in dynamic if name != "version"]
        project.setdefault("dependencies", tomlkit.array())
        for sibling in self._siblings:
            project["dependencies"].append(f"{sibling.distribution}=={sibling.version}")
        path.write_text(tomlkit.dumps(document), encoding="utf-8")


def _filled(text: str, places: Mapping[str, str]) -> str:
    """Return a recipe's text with this build's folders filled in.

    Other braces stay as they are.
    """
    for name, place in places.items():
        text = text.replace(f"{{{name}}}", place)
    return text
