"""Lay other projects' sources in an upstream's tree, where its build expects them.

Meson's subprojects.

What Meson would download is pinned in the lock. Its own pins, the wrap files in the upstream's
tree, have to agree.
"""

from __future__ import annotations

import configparser
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import pygit2

from forkhouse.core.errors import BuildError, HashMismatchError
from forkhouse.core.progress import report
from forkhouse.documents.lockfile import ArchiveSource, describe

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from forkhouse.sources.acquire import SourceTree
    from forkhouse.sources.store import ObjectStore, TreeEntry


@dataclass(frozen=True, kw_only=True, slots=True)
class ComponentPart:
    """The source of a component, and the folder of the upstream's tree where it is laid."""

    path: str
    source: SourceTree


def with_parts(tree: str, parts: Sequence[ComponentPart], store: ObjectStore) -> str:
    """Return `tree` with the parts in it; where two have a file, the later one's counts.

    What a wrap file lays over a subproject from the upstream's own tree (`patch_directory`) is laid
    as Meson would. Raises BuildError for a part that no wrap file asks for, HashMismatchError when
    it asks for another archive.
    """
    entries: dict[str, TreeEntry | None] = {}
    for part in parts:
        wrap = _wrap(tree, part, store)
        entries |= _moved(store, part.source.tree, "", part.path)
        overlay = wrap.get("patch_directory") if wrap else None
        if overlay:
            entries |= _moved(
                store, tree, f"{PurePosixPath(part.path).parent}/packagefiles/{overlay}/", part.path
            )
    return store.with_entries(tree, entries) if entries else tree


def _moved(store: ObjectStore, tree: str, prefix: str, folder: str) -> dict[str, TreeEntry | None]:
    paths = [path for path in store.paths(tree) if path.startswith(prefix)]
    return {f"{folder}/{path.removeprefix(prefix)}": store.entry(tree, path) for path in paths}


def _wrap(tree: str, part: ComponentPart, store: ObjectStore) -> configparser.SectionProxy | None:
    """Return the wrap that asks for a part, checked against it.

    None where the upstream has no wraps beside the part's folder.
    """
    place = PurePosixPath(part.path)
    wraps = dict(_wraps(tree, f"{place.parent}/*.wrap", store))
    if not wraps:
        return None
    upstream, source = part.source.upstream, part.source.source
    if place.name not in wraps:
        message = (
            f"The lock lays {upstream} in {part.path}, but no wrap file of the upstream asks for "
            "that folder "
            f"(they ask for {', '.join(sorted(wraps))}). The upstream has moved on: pin what it "
            "asks for."
        )
        raise BuildError(message)
    wrap = wraps[place.name]
    asked = {wrap[key] for key in ("source_hash", "patch_hash") if key in wrap}
    if asked and isinstance(source, ArchiveSource) and source.sha256 not in asked:
        message = (
            f"The lock pins {upstream} as {describe(source)} with sha256 {source.sha256}, but the "
            f"upstream's wrap for {place.name} asks for "
            f"{' and '.join(sorted(asked))}. Pin what it asks for, or find out why it changed."
        )
        raise HashMismatchError(message)
    return wrap


def _wraps(
    tree: str, pattern: str, store: ObjectStore
) -> Iterator[tuple[str, configparser.SectionProxy]]:
    for path in store.glob(tree, pattern):
        wrap = configparser.ConfigParser(interpolation=None)
        try:
            wrap.read_string(store.read(tree, path).decode("utf-8"))
        except (configparser.Error, UnicodeDecodeError) as error:
            message = f"{path} of the upstream cannot be read: {error}."
            raise BuildError(message) from error
        for name in wrap.sections():
            if name.startswith("wrap-"):
                yield wrap[name].get("directory", PurePosixPath(path).stem), wrap[name]


_LICENCE = re.compile(r"(licen[cs]e|copying|notice|copyright|unlicense)([._-].*)?", re.IGNORECASE)
"""Names under which projects keep the terms of their code, at the top of their trees."""


def licences(parts: Sequence[ComponentPart], store: ObjectStore) -> dict[str, bytes]:
    """Return the licence files of components, by `COMPONENT/FILE`.

    What is compiled into a wheel goes with its terms.

    Of a component that has none that is said aloud.
    """
    found: dict[str, bytes] = {}
    for part in parts:
        tree = store.repository[part.source.tree].peel(pygit2.Tree)
        names = [
            str(entry.name)
            for entry in tree
            if entry.type_str == "blob" and _LICENCE.fullmatch(str(entry.name))
        ]
        if not names:
            report().line(
                part.source.upstream,
                (
                    "NO licence file at the top of its tree (such as LICENSE or COPYING) goes into "
                    "the wheel with it"
                ),
            )
        found |= {
            f"{part.source.upstream}/{name}": store.read(part.source.tree, name) for name in names
        }
    return found
