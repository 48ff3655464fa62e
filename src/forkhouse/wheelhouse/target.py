"""Check that a target environment supplies the wheels that are missing from a wheelhouse.

The environment's own interpreter is asked, before anything is changed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from forkhouse.core.asking import ask
from forkhouse.core.errors import InstallError
from forkhouse.core.wording import bullets

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from forkhouse.documents.pins import Missing

# Loads every library of PyTorch as a process does that imports it, and asks the loader for each
# symbol.
_QUESTION = """
import ctypes, importlib.metadata as metadata, pathlib

found = {"versions": {}, "symbols": [], "error": ""}
for name in asked["packages"]:
    try:
        found["versions"][name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        pass
if asked["symbols"]:
    try:
        import torch
        libraries = sorted(pathlib.Path(torch.__file__).parent.joinpath("lib").glob("lib*.so*"))
        loaded = [
            ctypes.CDLL(str(path))
            for path in libraries
            if path.name.startswith(("libtorch", "libc10", "libshm"))
        ]
        found["symbols"] = [
            name
            for name in asked["symbols"]
            if not any(hasattr(library, name) for library in loaded)
        ]
    except (Exception, SystemExit) as error:
        found["error"] = f"{type(error).__name__}: {error}"
answer(found)
"""
_SHOWN = 8


def check_target(
    interpreter: Path, missing: Collection[Missing], symbols: Mapping[str, Collection[str]]
) -> None:
    """Check that an environment supplies the wheels that the wheelhouse lacks.

    Its PyTorch must also have the symbols that our wheels use. `symbols` maps the name of a wheel
    to the symbols that its libraries use. Raises InstallError that lists everything that is wrong.
    """
    asked = sorted({symbol for names in symbols.values() for symbol in names})
    question = {"packages": sorted(each.name for each in missing), "symbols": asked}
    answer = ask(interpreter, "what it has installed", _QUESTION, asked=question)
    problems = []
    for each in sorted(missing):
        version = answer["versions"].get(each.name)
        if version is None:
            problems.append(f"{each.name} {each.wanted} is not installed; {each.remedy}")
        elif not _fits(version, each.wanted):
            problems.append(f"{each.name} is {version}, wanted is {each.wanted}")
    if answer["error"]:
        problems.append(f"PyTorch cannot be imported there: {answer['error']}")
    lost = set(answer["symbols"])
    for wheel, names in sorted(symbols.items()):
        open_ones = sorted(lost & set(names))
        if open_ones:
            more = f" and {len(open_ones) - _SHOWN} more" if len(open_ones) > _SHOWN else ""
            problems.append(
                f"{wheel} asks PyTorch for symbols that it does not have: "
                f"{', '.join(open_ones[:_SHOWN])}{more}"
            )
    if problems:
        lines = bullets(problems)
        message = (
            "This environment does not fit the wheelhouse, and nothing was changed in it "
            f"({interpreter}):\n{lines}"
        )
        raise InstallError(message)


def _fits(version: str, wanted: str) -> bool:
    """Return whether a version is a wanted one; what is no version of PEP 440 is none."""
    try:
        if wanted and wanted[0].isdigit():
            return Version(version) == Version(wanted)
        return SpecifierSet(wanted).contains(version, prereleases=True)
    except InvalidVersion:
        return False


def disable_kpacks(interpreter: Path, targets: Collection[str]) -> list[str]:
    """Disable the packed kernels of PyTorch that a GPU of the targets cannot load.

    Renames the files and returns their old names. `interpreter` tells the environment. ROCm's
    PyTorch wheels from 2.12 on carry `.kpack` files for both settings of XNACK of gfx90a, with
    which every launch of a kernel fails with hipErrorInvalidImage (TheRock issue 7081). Without
    them PyTorch takes the code in its libraries.
    """
    program = (
        "import importlib.util as u; spec = u.find_spec('torch'); answer(spec.origin if spec else "
        "None)"
    )
    said = ask(interpreter, "where its PyTorch lies", program)
    if not said:
        return []
    folder = Path(said).parent / ".kpack"
    found = [
        path for target in targets for path in sorted(folder.glob(f"torch_{target}:xnack*.kpack"))
    ]
    for path in found:
        path.rename(path.with_name(f"{path.name}.disabled"))
    return [path.name for path in found]
