"""Pack a patched, unpacked wheel again.

Our name and version, RECORD made anew, the same bytes every time.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from packaging.utils import parse_wheel_filename
from pygit2.enums import FileMode

from forkhouse.builders.wheelfile import Member, retagged, write_wheel
from forkhouse.core.errors import BuildError
from forkhouse.documents.lockfile import WheelSource

if TYPE_CHECKING:
    from pathlib import Path

    from forkhouse.documents.recipe import Recipe
    from forkhouse.patches.apply import PatchedTree
    from forkhouse.sources.store import ObjectStore


class RepackBuilder:
    """Makes a wheel from the tree of another wheel (PEP 427)."""

    def __init__(self, store: ObjectStore) -> None:
        """Read trees from `store`."""
        self._store = store

    def lay_out(self, patched: PatchedTree, recipe: Recipe, work: Path) -> None:
        """Write nothing: the tree is read from the store."""

    def build(self, patched: PatchedTree, recipe: Recipe, work: Path) -> Path:
        """Return the repacked wheel. Raises BuildError when the tree is no unpacked wheel."""
        source = _wheel_source(patched)
        old_stem = "-".join(source.file.split("-")[:2])
        stem = f"{recipe.distribution.replace('-', '_')}-{recipe.version(patched.source.version)}"
        tags = sorted(str(tag) for tag in parse_wheel_filename(source.file)[3])
        members: list[Member] = []
        for file in self._store.files(patched.tree):
            top, slash, rest = file.path.partition("/")
            path = (
                f"{stem}{top.removeprefix(old_stem)}{slash}{rest}"
                if top in {f"{old_stem}.dist-info", f"{old_stem}.data"}
                else file.path
            )
            content = file.content
            if path == f"{stem}.dist-info/RECORD":
                continue
            if path == f"{stem}.dist-info/METADATA":
                content = _renamed(content, recipe.distribution, stem.partition("-")[2])
            if path == f"{stem}.dist-info/WHEEL":
                content = retagged(content, tags)
            members.append(
                Member(path=path, content=content, executable=file.mode == FileMode.BLOB_EXECUTABLE)
            )
        if not any(member.path == f"{stem}.dist-info/METADATA" for member in members):
            message = (
                f"{source.file}: there is no {old_stem}.dist-info/METADATA in it, so it is no "
                "wheel of that name."
            )
            raise BuildError(message)
        work.mkdir(parents=True, exist_ok=True)
        tag_part = "-".join(source.file.removesuffix(".whl").split("-")[-3:])
        return write_wheel(
            work / f"{stem}-{tag_part}.whl",
            members,
            dist_info=f"{stem}.dist-info",
            epoch=patched.source.epoch,
        )


def repacked_metadata(patched: PatchedTree, recipe: Recipe, store: ObjectStore) -> str:
    """Return the METADATA that the repacked wheel will have.

    Raises BuildError when the tree is no unpacked wheel.
    """
    source = _wheel_source(patched)
    path = f"{'-'.join(source.file.split('-')[:2])}.dist-info/METADATA"
    if store.entry(patched.tree, path) is None:
        message = f"{source.file}: there is no {path} in it, so it is no wheel of that name."
        raise BuildError(message)
    return _renamed(
        store.read(patched.tree, path), recipe.distribution, recipe.version(patched.source.version)
    ).decode("utf-8")


def _wheel_source(patched: PatchedTree) -> WheelSource:
    source = patched.source.source
    if not isinstance(source, WheelSource):
        message = (
            f"{patched.source.upstream}: only a wheel can be repacked; {source.kind} needs a build "
            "(see the recipe's builders)."
        )
        raise BuildError(message)
    return source


def _renamed(metadata: bytes, name: str, version: str) -> bytes:
    header, blank, body = metadata.decode("utf-8").partition("\n\n")
    header = re.sub(r"^Name: .*$", f"Name: {name}", header, count=1, flags=re.MULTILINE)
    header = re.sub(r"^Version: .*$", f"Version: {version}", header, count=1, flags=re.MULTILINE)
    return (header + blank + body).encode()
