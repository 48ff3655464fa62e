"""Build a wheel from a recipe's own project through the project's PEP 517 backend.

The project finds the patched upstream source in `upstream/`, the version of its wheel in the file
`VERSION`, and, where the recipe compiles something apart, the result of that in `native/`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from build import BuildBackendException, BuildException, ProjectBuilder
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from forkhouse.builders.environment import run_isolated
from forkhouse.builders.linking import with_true_tag
from forkhouse.builders.wheelfile import unpack
from forkhouse.core.errors import BuildError, ForkhouseError
from forkhouse.core.storage import discard, storage_errors

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from forkhouse.builders.environment import BuildEnvironment, Needs
    from forkhouse.builders.fixed import FixedPlace
    from forkhouse.documents.recipe import Pep517, Recipe
    from forkhouse.patches.apply import PatchedTree
    from forkhouse.sandbox.run import Confined
    from forkhouse.sources.store import ObjectStore

_LONGEST = 200
"""Characters of an answer that an error shows."""
_LONGEST_ANSWER = 2**20
"""Bytes of what a backend answers, which is the name of a file."""
_ANSWERS = frozenset({"input.json", "output.json"})
"""The files by which pyproject-hooks asks a backend, and is answered."""
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

    def __init__(
        self,
        store: ObjectStore,
        environment: BuildEnvironment,
        method: Pep517,
        project: Project,
        log: Path,
    ) -> None:
        """Build from trees in `store` with the tools of `environment`; output goes to `log`."""
        self._store = store
        self._environment = environment
        self._method = method
        self._project = project
        self._log = log

    def lay_out(
        self, patched: PatchedTree, recipe: Recipe, work: Path
    ) -> None:  # one shape for every builder
        """Write the recipe's project with the upstream's tree in it. Raises StorageError."""
        project = begun(work, self._log).project
        with storage_errors("Laying out the build"):
            self._fill(patched, project)

    def _fill(self, patched: PatchedTree, project: Path) -> None:
        shutil.copytree(
            self._project.folder, project, ignore=shutil.ignore_patterns(*_NOT_OF_THE_PROJECT)
        )
        self._store.check_out(patched.tree, project / "upstream")
        (project / "VERSION").write_text(f"{self._project.version}\n", encoding="utf-8")
        if self._project.native is not None:
            unpack(self._project.native, project / "native")

    def build(self, patched: PatchedTree, recipe: Recipe, work: Path) -> Path:
        """Return the wheel.

        Raises BuildError with the command, its last lines and the log's path.
        """
        place = places(work)
        needs = self._project.needs
        backend = BuildBackend(
            python=self._environment.python(needs),
            confined=self._environment.confined(work, needs),
            variables=self._environment.variables(
                epoch=patched.source.epoch, work=work, needs=needs
            ),
            name=recipe.distribution,
            log=self._log,
        )
        made = backend.wheel(place.project, place.out, self._method.config_settings)
        return with_true_tag(made, patched.source.epoch)


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildPlace:
    """The folders of a build below its work folder."""

    project: Path
    home: Path
    """The build's home, which is also its folder for temporary files."""
    out: Path
    """The folder of the finished wheel."""


def places(work: Path) -> BuildPlace:
    """Return the folders of a build."""
    return BuildPlace(project=work / "project", home=work / "home", out=work / "wheel")


def begun(work: Path, log: Path) -> BuildPlace:
    """Make the folders of a new build and return them, and remove the log of an earlier build.

    The project's folder is not made. Raises StorageError.
    """
    place = places(work)
    with storage_errors("Laying out the build"):
        for folder in (place.home, place.out, log.parent):
            folder.mkdir(parents=True, exist_ok=True)
        log.unlink(missing_ok=True)
    return place


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildBackend:
    """How the PEP 517 backend of a project is called."""

    python: Path
    confined: Confined
    variables: Mapping[str, str]
    name: str
    """The distribution's, for messages."""
    log: Path
    place: FixedPlace | None = None
    """The path under which the build sees its files, where that differs from their real path."""

    def wheel(self, project: Path, out: Path, settings: Mapping[str, str | Sequence[str]]) -> Path:
        """Return the wheel that the backend of `project` makes in `out`.

        Raises BuildError with the command, its last lines and the log's path, also for an answer
        that is no wheel in `out`.
        """
        before = set(out.iterdir())
        with self._explained("could not be used"):
            made = self._of(project).build("wheel", out, dict(settings))
            problem = _wrong(made, out, before)
        if problem:
            asked = "PEP 517 asks for the name of one wheel that it wrote there"
            message = (
                f"{self.name}: its PEP 517 backend {problem}. {asked}. The whole log: {self.log}"
            )
            raise BuildError(message)
        return out / os.path.basename(made)

    def metadata(self, project: Path, out: Path) -> Path | None:
        """Return the .dist-info that the backend of `project` prepares in `out` without building.

        None when it has no such hook.

        Raises BuildError with the command, its last lines and the log's path.
        """
        with self._explained("could not be asked for metadata"):
            found = self._of(project).prepare("wheel", out)
            if found is not None and not _is_below(found, out):
                asked = "which is no folder of metadata where it was asked for"
                message = (
                    f"{self.name}: its PEP 517 backend answered with {_short(found)}, {asked}. The "
                    f"whole log: {self.log}"
                )
                raise BuildError(message)
        return None if found is None else out / os.path.basename(found)

    def _of(self, project: Path) -> ProjectBuilder:
        def run(
            cmd: Sequence[str],
            cwd: str | None = None,
            extra_environ: Mapping[str, str] | None = None,
        ) -> None:
            folder = project if cwd is None else project / os.fspath(cwd)
            confined = self.confined if self.place is None else self.place.confined(self.confined)
            seen = folder if self.place is None else self.place.inside(folder)
            answers = Path(cmd[-1])
            try:
                run_isolated(
                    list(cmd),
                    confined=confined,
                    folder=seen,
                    variables={**self.variables, **(extra_environ or {})},
                    log=self.log,
                )
            finally:
                odd = _swept(answers)
            if odd:
                message = (
                    f"{self.name}: its PEP 517 backend left something else in the place of its "
                    f"answer: no file, or one of more than {_LONGEST_ANSWER} bytes. The whole log: "
                    f"{self.log}"
                )
                raise BuildError(message)

        return ProjectBuilder(project, python_executable=str(self.python), runner=run)

    @contextlib.contextmanager
    def _explained(self, failed: str) -> Iterator[None]:
        try:
            yield
        except (BuildBackendException, BuildException) as error:
            cause = getattr(error, "exception", None)
            if isinstance(
                cause, ForkhouseError
            ):  # what our own runner raised, wrapped on its way through
                raise cause from None
            if isinstance(cause, OSError):
                with (
                    contextlib.suppress(OSError),
                    storage_errors(f"Running the PEP 517 backend of {self.name}"),
                ):
                    raise cause from None
            reason = (
                "it ended without an answer"
                if isinstance(cause, FileNotFoundError)
                else str(error).rstrip(".")
            )
            message = (
                f"{self.name}: the PEP 517 backend {failed}: {reason}. The whole log: {self.log}"
            )
            raise BuildError(message) from error
        except (
            TypeError,
            ValueError,
            LookupError,
            OSError,
            RecursionError,
        ) as error:  # what the library makes of an answer that is none
            message = (
                f"{self.name}: the PEP 517 backend gave no answer that can be used: {error!r}. The "
                f"whole log: {self.log}"
            )
            raise BuildError(message) from error


def _swept(folder: Path) -> bool:
    """Remove all but answers from the folder of a hook's answer; return whether one was none.

    The library reads the answer outside of the sandbox. A FIFO would hold it, a link would lead it
    to a file of this machine, and what else a build has left there it may be unable to remove.
    """
    odd = False
    for path in list(folder.iterdir()):
        status = path.lstat()
        is_answer = stat.S_ISREG(status.st_mode) and status.st_size <= _LONGEST_ANSWER
        odd = odd or (path.name in _ANSWERS and not is_answer)
        if path.name not in _ANSWERS or not is_answer:
            discard(path)
    return odd


def _short(answer: str) -> str:
    """Return what a backend answered as a message shows it."""
    return repr(answer if len(answer) <= _LONGEST else f"{answer[:_LONGEST]}…")


def _is_below(answer: str, out: Path) -> bool:
    """Return whether a backend answered with the name of a folder that lies where it has to."""
    name = os.path.basename(answer)
    here = name not in {"", ".", ".."} and os.path.join(os.path.abspath(out), name) == answer
    return here and not out.is_symlink() and (out / name).is_dir() and not (out / name).is_symlink()


def _wrong(made: str, out: Path, before: Collection[Path]) -> str:
    """Return what is wrong with the wheel that a backend names.

    Nothing when it is a wheel, and the only new one in `out`.
    """
    name = os.path.basename(made)
    path = out / name
    if os.path.join(os.path.abspath(out), name) != made:
        return f"answered with {_short(made)}, a path and no name"
    if out.is_symlink() or not out.is_dir():
        return "removed the folder for its wheel, or put another in its place"
    try:
        parse_wheel_filename(name)
    except InvalidWheelFilename:
        return f"answered with {_short(name)}, which is no name of a wheel"
    if path.is_symlink() or not path.is_file():
        return (
            f"answered with {_short(name)}, and "
            f"{'there is no such file' if not path.exists() else 'that is no file'}"
        )
    others = sorted(each.name for each in set(out.glob("*.whl")) - set(before) - {path})
    if others:
        return (
            f"answered with {_short(name)}, and wrote other wheels beside it: {', '.join(others)}"
        )
    return (
        "" if zipfile.is_zipfile(path) else f"answered with {_short(name)}, which is no zip archive"
    )
