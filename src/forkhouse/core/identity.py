"""What identifies the code behind a result, for the keys under which results are kept.

A result follows from our own modules that made it, all that they import of ours, and the libraries
that decide with them: another grammar of ast-grep may match elsewhere, another packaging may write
a requirement in another way. A change of any of them makes old results stale.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from typing import TYPE_CHECKING

from forkhouse.core.digests import digest, sha256_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

ROOT = Path(__file__).parents[1]
SAYING = frozenset(
    f"forkhouse.core.{module}" for module in ("errors", "progress", "secrecy", "wording")
)
"""Modules that decide what is said of a result, and nothing of the result itself."""
DISTRIBUTIONS = {
    "backports": "backports-zstd",
    "cyclonedx": "cyclonedx-python-lib",
    "elftools": "pyelftools",
    "git": "gitpython",
    "mesonbuild": "meson",
    "packageurl": "packageurl-python",
    "yaml": "pyyaml",
}
"""Distributions whose modules have another name than themselves."""


_TEXT = re.compile(r'"""(?:.|\n)*?"""')
_FOR_CHECKERS = re.compile(r"^if TYPE_CHECKING:\n(?:[ \t]+.*\n|\n)*", re.MULTILINE)
_IMPORT = re.compile(
    r"^[ ]*(?:from (?P<origin>[A-Za-z_][\w.]*) import (?P<named>\([^)]*\)|[^\n#(]+)"
    r"|import (?P<names>[\w.]+(?:, [\w.]+)*)(?: as \w+)?[ ]*(?:#.*)?$)",
    re.MULTILINE,
)
_COMMENT = re.compile(r"#.*")
_NAMED = re.compile(r"(?:^|[(,\s])([A-Za-z_]\w*)(?: as \w+)?")


@cache
def engine(package: ModuleType) -> str:
    """Return what identifies the code of one of our packages, with all that it imports."""
    modules, libraries = closure(package.__name__)
    files = sorted({file for name in modules for file in _files(name)})
    ours = [[file.relative_to(ROOT).as_posix(), sha256_file(file)] for file in files]
    return digest(sys.version, ours, {name: _version(name) for name in sorted(libraries)})


@cache
def closure(
    package: str, without: frozenset[str] = SAYING
) -> tuple[frozenset[str], frozenset[str]]:
    """Return the modules of ours that a package imports, and the libraries that those import.

    Imports are followed from every module of the package, or from one module, through all modules
    of ours except those in `without`.
    """
    waiting = [name for name in source_files() if name == package or name.startswith(f"{package}.")]
    ours: set[str] = set()
    libraries: set[str] = set()
    while waiting:
        module = waiting.pop()
        if module in ours or module in without:
            continue
        ours.add(module)
        imported = _imported(module)
        waiting += imported.ours
        libraries |= imported.libraries
    return frozenset(ours), frozenset(libraries)


@cache
def source_files() -> dict[str, Path]:
    """Return the files of all our modules, by name."""
    return {_name(path): path for path in ROOT.rglob("*.py")}


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _files(module: str) -> Iterator[Path]:
    """Yield the file of a module, and the data that lies in the folders of a package."""
    path = source_files()[module]
    yield path
    if path.name == "__init__.py" and path.parent != ROOT:
        data = (
            file
            for file in path.parent.rglob("*")
            if file.is_file() and file.suffix not in {".py", ".pyc"}
        )
        yield from (file for file in data if "__pycache__" not in file.parts)


@dataclass(frozen=True, slots=True)
class _Imported:
    """What a module imports."""

    ours: frozenset[str]
    """Modules of ours; to import one is to run the packages that it lies in."""
    libraries: frozenset[str]


@cache
def _imported(module: str) -> _Imported:
    """Return what a module imports when it runs, wherever in it."""
    names = list(_names(source_files()[module]))
    steps = [name.split(".") for name in names if name.startswith("forkhouse.")]
    parts = {".".join(each[:end]) for each in steps for end in range(2, len(each) + 1)}
    libraries = {name.partition(".")[0] for name in names} - {"forkhouse"}
    return _Imported(
        ours=frozenset(parts & source_files().keys()),
        libraries=frozenset(libraries - sys.stdlib_module_names),
    )


def _names(file: Path) -> Iterator[str]:
    """Yield the names after `import`, and those after `from` with what is taken from them.

    What only type checkers see is none of them. Read from the text, which takes a tenth of the time
    of parsing it: every radar and build begins with it.
    """
    text = _FOR_CHECKERS.sub("", _TEXT.sub("", file.read_text(encoding="utf-8")))
    for found in _IMPORT.finditer(text):
        if found["origin"]:
            # What is named may be a module of its own, or something in the one before.
            yield from (
                found["origin"],
                *(
                    f"{found['origin']}.{name}"
                    for name in _NAMED.findall(_COMMENT.sub("", found["named"]))
                ),
            )
        else:
            yield from found["names"].split(", ")


def _version(library: str) -> str:
    try:
        return version(DISTRIBUTIONS.get(library, library.replace("_", "-")))
    except PackageNotFoundError:
        return ", ".join(
            f"{name} {version(name)}" for name in packages_distributions().get(library, ())
        )
