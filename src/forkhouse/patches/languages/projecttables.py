"""List the keys of a `pyproject.toml`, a Pipfile or a lock file that state requirements.

They are the keys of the standards, and those of well-known tools.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    Path = tuple[str, ...]

LISTS: tuple[Path, ...] = (
    ("project", "dependencies"),
    ("project", "optional-dependencies", "*"),
    ("dependency-groups", "*"),
    ("build-system", "requires"),
    ("tool", "uv", "dev-dependencies"),
    ("tool", "uv", "extra-build-dependencies", "*"),
    ("tool", "rye", "dev-dependencies"),
    ("tool", "pdm", "dev-dependencies", "*"),
    ("tool", "hatch", "envs", "*", "dependencies"),
    ("tool", "hatch", "envs", "*", "extra-dependencies"),
    ("tool", "flit", "metadata", "requires"),
    ("tool", "flit", "metadata", "dev-requires"),
    ("tool", "flit", "metadata", "requires-extra", "*"),
)
"""Keys whose value is a list of declarations; `*` is any key."""
TABLES: tuple[Path, ...] = (
    ("tool", "poetry", "dependencies"),
    ("tool", "poetry", "dev-dependencies"),
    ("tool", "poetry", "group", "*", "dependencies"),
    ("tool", "pixi", "pypi-dependencies"),
    ("tool", "pixi", "feature", "*", "pypi-dependencies"),
    ("packages",),
    ("dev-packages",),
)
"""Tables whose keys are names of distributions; the last ones are a Pipfile's."""
SOURCES: tuple[Path, ...] = (("tool", "uv", "sources"),)
"""Tables of distributions that are installed only if something else requires them."""
FILES: tuple[Path, ...] = (
    ("tool", "setuptools", "dynamic", "dependencies", "file"),
    ("tool", "setuptools", "dynamic", "optional-dependencies", "*", "file"),
    ("tool", "hatch", "metadata", "hooks", "requirements_txt", "files"),
    ("tool", "hatch", "metadata", "hooks", "requirements_txt", "optional-dependencies", "*"),
)
"""Keys that name requirements files."""
DYNAMIC = {
    "dependencies": (FILES[0], FILES[2], TABLES[0]),
    "optional-dependencies": (FILES[1], FILES[3], TABLES[0]),
}
"""Where the fields may be given that a project lists as dynamic."""
KNOWN = {
    "project",
    "build-system",
    "tool",
    "dependency-groups",
    "packages",
    "dev-packages",
    "package",
}
"""Tables at the top; a file that states requirements has at least one of them."""


def values(
    document: object, pattern: tuple[str, ...], place: str = ""
) -> Iterator[tuple[str, object]]:
    """Return the values of all keys that match a pattern, each with its dotted path."""
    if not pattern:
        yield place, document
    elif isinstance(document, dict):
        for key in document if pattern[0] == "*" else {pattern[0]} & document.keys():
            yield from values(document[key], pattern[1:], f"{place}.{key}" if place else key)
