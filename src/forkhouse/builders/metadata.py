"""Find what a wheel of ours will require, without compiling it.

Only the resolver uses the result.
"""

from __future__ import annotations

import posixpath
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement

from forkhouse.builders.environment import Needs
from forkhouse.builders.pep517 import BuildBackend
from forkhouse.builders.repack import repacked_metadata
from forkhouse.builders.wheelfile import Member, write_wheel
from forkhouse.core.errors import BuildError
from forkhouse.core.progress import report
from forkhouse.core.storage import discard, read_file, storage_errors
from forkhouse.documents.reading import read_toml
from forkhouse.documents.recipe import Repack, UpstreamProject

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from forkhouse.builders.build import Workshop
    from forkhouse.documents.recipe import Recipe
    from forkhouse.patches.apply import PatchedTree


@dataclass(frozen=True, kw_only=True, slots=True)
class Outline:
    """A wheel that has the metadata of one of ours, and nothing else."""

    recipe: str
    distribution: str
    version: str
    path: Path


def outline(
    patched: PatchedTree,
    recipe: Recipe,
    recipe_folder: Path,
    workshop: Workshop,
    siblings: Sequence[Outline],
    folder: Path,
) -> Outline:
    """Return the outline of a recipe's wheel, written below `folder`.

    `siblings` are those of the recipes that it needs. A repacked wheel states its requirements
    itself, after its patches. The requirements of a project are read where it states them (PEP
    621); otherwise its backend is asked (prepare_metadata_for_build_wheel of PEP 517). Raises
    BuildError for a project that cannot be read.
    """
    method, version = (
        recipe.builders[patched.source.source.kind],
        recipe.version(patched.source.version),
    )
    if isinstance(method, Repack):
        text = repacked_metadata(patched, recipe, workshop.store)
    elif isinstance(method, UpstreamProject):
        place = posixpath.normpath(f"{method.folder}/pyproject.toml")
        project = _project(workshop.store.read(patched.tree, place), recipe)
        text = _metadata(
            project, recipe, version, [f"{each.distribution}=={each.version}" for each in siblings]
        )
    else:
        project = _project((recipe_folder / "pyproject.toml").read_bytes(), recipe)
        text = _metadata(project, recipe, version, [])
        if not project or "dependencies" in project.get("dynamic", ()):
            text = (
                _asked(
                    patched, recipe, recipe_folder, workshop, version, folder / recipe_folder.name
                )
                or text
            )
    path = _empty_wheel(text, recipe.distribution, version, folder)
    return Outline(
        recipe=recipe_folder.name, distribution=recipe.distribution, version=version, path=path
    )


def _project(content: bytes, recipe: Recipe) -> dict[str, Any]:
    try:
        return dict(read_toml(content).get("project", {}))
    except (ValueError, TypeError, AttributeError) as error:
        message = f"{recipe.distribution}: its pyproject.toml cannot be read: {error}."
        raise BuildError(message) from error


def _metadata(project: Mapping[str, Any], recipe: Recipe, version: str, more: Sequence[str]) -> str:
    lines = [f"Name: {recipe.distribution}", f"Version: {version}"]
    lines += (
        [f"Requires-Python: {project['requires-python']}"] if "requires-python" in project else []
    )
    lines += [
        f"Requires-Dist: {requirement}" for requirement in (*project.get("dependencies", ()), *more)
    ]
    for extra, requirements in project.get("optional-dependencies", {}).items():
        lines.append(f"Provides-Extra: {extra}")
        lines += [
            f"Requires-Dist: {_of_extra(requirement, extra, recipe)}"
            for requirement in requirements
        ]
    return "\n".join(["Metadata-Version: 2.1", *lines, ""])


def _of_extra(text: str, extra: str, recipe: Recipe) -> str:
    try:
        marker = Requirement(text).marker
    except InvalidRequirement as error:
        message = (
            f"{recipe.distribution}: its pyproject.toml asks for what is no requirement: {text} "
            f"({error})."
        )
        raise BuildError(message) from error
    plain = text.partition(";")[0].strip()
    return (
        f'{plain} ; ({marker}) and extra == "{extra}"'
        if marker
        else f'{plain} ; extra == "{extra}"'
    )


def _asked(
    patched: PatchedTree,
    recipe: Recipe,
    recipe_folder: Path,
    workshop: Workshop,
    version: str,
    work: Path,
) -> str | None:
    """Return the metadata of a project's wheel as its backend tells it without a build.

    None when the backend tells none without building the wheel.
    """
    with storage_errors(f"Removing {work.name}"):
        discard(work)
    environment = workshop.environment
    project = work / "project"
    shutil.copytree(
        recipe_folder,
        project,
        ignore=shutil.ignore_patterns("recipe.yaml", "native", "__pycache__"),
    )
    workshop.store.check_out(patched.tree, project / "upstream")
    (project / "VERSION").write_text(f"{version}\n", encoding="utf-8")
    (work / "home").mkdir()
    log = workshop.logs / f"{recipe_folder.name}-metadata.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    backend = BuildBackend(
        python=environment.python(Needs()),
        confined=environment.confined(work, Needs()),
        variables=environment.variables(epoch=patched.source.epoch, work=work, needs=Needs()),
        name=recipe.distribution,
        log=log,
    )
    found = backend.metadata(project, work / "metadata")
    if found is None:
        report().line(
            recipe_folder.name,
            "its backend tells no metadata without a build, so it is TAKEN TO REQUIRE NOTHING here",
        )
        return None
    try:
        return read_file(found / "METADATA").decode()
    except (OSError, UnicodeDecodeError) as error:
        message = (
            f"{recipe.distribution}: the METADATA that its PEP 517 backend prepared cannot be "
            f"read: {error}. The whole log: {log}"
        )
        raise BuildError(message) from error


def _empty_wheel(metadata: str, distribution: str, version: str, folder: Path) -> Path:
    stem = f"{distribution.replace('-', '_')}-{version}"
    wheel = "Wheel-Version: 1.0\nGenerator: forkhouse\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    texts = {"METADATA": metadata, "WHEEL": wheel}
    members = [
        Member(path=f"{stem}.dist-info/{name}", content=text.encode(), executable=False)
        for name, text in texts.items()
    ]
    folder.mkdir(parents=True, exist_ok=True)
    return write_wheel(
        folder / f"{stem}-py3-none-any.whl", members, dist_info=f"{stem}.dist-info", epoch=0
    )
