"""The real files that are edited.

Pinned in corpus.yaml, fetched through the project's own code, read from their archives, never kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from forkhouse.documents.lockfile import DebianSource, PinnedFile
from forkhouse.documents.reading import Document, parse
from forkhouse.sources.apt import fetch_debian_source
from forkhouse.sources.archives import read_tar, read_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from forkhouse.sources.index import Registry
    from forkhouse.sources.store import TreeFile

PINS = Path(__file__).with_name("corpus.yaml")
LARGEST = 20_000
"""Bytes that a file may have.

A reader goes over the whole file after every operation, and larger files show nothing that small
ones do not.
"""
SHARE = 220
"""Files of one language that one package may give, so that no package is most of a language."""
_NAMES = {
    "CMakeLists.txt": "cmake",
    "meson.build": "meson",
    "METADATA": "metadata",
    "PKG-INFO": "metadata",
    "entry_points.txt": "entry-points",
}
_SUFFIXES = {
    ".py": "python",
    ".c": "c",
    **dict.fromkeys((".cc", ".cpp", ".cxx", ".hpp", ".cu", ".cuh"), "cpp"),
    ".rs": "rust",
    ".sh": "bash",
    ".bash": "bash",
    ".yaml": "yaml",
    ".yml": "yaml",
    ".json": "json",
    ".toml": "toml",
    ".cmake": "cmake",
}


class Corpus(Document):
    """The pins: files of Python's registry by package, and Debian source packages."""

    sdists: dict[str, PinnedFile]
    wheels: dict[str, PinnedFile]
    debian: dict[str, DebianPin]


class DebianPin(Document):
    """A Debian source package: its version, the .dsc and the tarballs."""

    version: str
    files: tuple[PinnedFile, ...]


Corpus.model_rebuild()


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """A real file."""

    package: str
    """The archive that it is from, by its file name."""
    path: str
    language: str
    text: str


def language_of(path: str) -> str | None:
    """Return the language that a file is edited in; None for one that is not used."""
    file = PurePosixPath(path)
    if file.suffix == ".txt" and "requirements" in path:
        return "requirements"
    return _NAMES.get(file.name) or _SUFFIXES.get(file.suffix)


def read_pins() -> Corpus:
    """Return the pins of corpus.yaml."""
    return parse(Corpus, PINS.read_text(encoding="utf-8"), name=PINS.name)


def archives(
    pins: Corpus, registry: Registry, *, offline: bool
) -> Iterator[tuple[str, list[TreeFile]]]:
    """Fetch the archives, and yield the name and the files of each.

    Raises UnreachableError and HashMismatchError.
    """
    for package, pin in pins.sdists.items():
        yield pin.file, read_tar(registry.fetch(package, pin.file, pin.sha256))[0]
    for package, pin in pins.wheels.items():
        yield pin.file, read_wheel(registry.fetch(package, pin.file, pin.sha256))[0]
    for package, source in pins.debian.items():
        wanted = DebianSource(
            kind="debian-source", package=package, debian_version=source.version, files=source.files
        )
        for path in fetch_debian_source(wanted, registry, offline=offline):
            if ".orig.tar" in path.name and not path.name.endswith(".asc"):
                yield path.name, read_tar(path)[0]


def corpus(registry: Registry, *, offline: bool) -> Mapping[str, list[File]]:
    """Return the files of every language: small, UTF-8, each text once."""
    found: dict[str, list[File]] = {}
    seen: set[bytes] = set()
    for package, files in archives(read_pins(), registry, offline=offline):
        by_language: dict[str, list[TreeFile]] = {}
        for file in sorted(files, key=lambda each: each.path):
            language = language_of(file.path)
            if (
                language is not None
                and 0 < len(file.content) <= LARGEST
                and file.content not in seen
            ):
                seen.add(file.content)
                by_language.setdefault(language, []).append(file)
        for language, those in by_language.items():
            step = max(1, len(those) // SHARE)
            for file in those[::step]:
                try:
                    text = file.content.decode("utf-8")
                except UnicodeDecodeError:
                    continue
                found.setdefault(language, []).append(
                    File(package=package, path=file.path, language=language, text=text)
                )
    return dict(sorted(found.items()))
