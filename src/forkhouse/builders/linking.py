"""Make a wheel with libraries relocatable.

Stripped, and each library finding what it needs by a run path relative to itself.

What it needs lies in the wheel, or in a sibling wheel that it requires (and that is therefore not
bundled), or belongs to the C and C++ runtime that every machine of the wheel's platform tag has.
Anything else is refused.
"""

from __future__ import annotations

import os
import posixpath
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from packaging.utils import parse_wheel_filename
from pygit2.enums import FileMode

from forkhouse.binaries.elf import MAGIC, Elf
from forkhouse.binaries.manylinux import manylinux
from forkhouse.builders.environment import run_isolated
from forkhouse.builders.wheelfile import Member, retagged, write_wheel
from forkhouse.core.errors import BuildError
from forkhouse.core.storage import storage_errors
from forkhouse.core.wording import bullets
from forkhouse.sources.archives import read_wheel
from forkhouse.sources.store import TreeFile

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from forkhouse.sandbox.run import Confined


@dataclass(frozen=True, kw_only=True, slots=True)
class Library:
    """A shared library or extension module.

    Its path in site-packages, the name that others link, and the names that it links.
    """

    path: str
    soname: str
    needed: tuple[str, ...]


def libraries(folder: Path) -> Iterator[Library]:
    """Yield the libraries of an unpacked wheel.

    Texts that stand for one (linker scripts) are none.
    """
    for path in sorted(folder.rglob("*.so*")):
        content = path.read_bytes()
        if content.startswith(MAGIC):
            yield _library(path.relative_to(folder).as_posix(), content)


def _library(path: str, content: bytes) -> Library:
    elf = Elf(content)
    return Library(
        path=path,
        soname=next(iter(elf.tags("SONAME")), posixpath.basename(path)),
        needed=elf.tags("NEEDED"),
    )


def with_true_tag(wheel: Path, epoch: int) -> Path:
    """Return a wheel with the platform tag that its libraries allow.

    What `linux` leaves open is which C library they need.

    A wheel without libraries, or with another tag, stays as it is. `epoch` is the time stamp of all
    files, in seconds since 1970 UTC.
    """
    if not wheel.stem.rpartition("-")[2].startswith("linux_"):
        return wheel
    files = read_wheel(wheel)[0]
    contents = [file.content for file in files if file.content.startswith(MAGIC)]
    return _packed(wheel, files, _platform(wheel, contents)[0], epoch) if contents else wheel


@dataclass(frozen=True, kw_only=True, slots=True)
class Linker:
    """What it takes to make wheels relocatable."""

    work: Path
    """Folder of the build: no file of a wheel may name a path in it."""
    confined: Confined
    variables: Mapping[str, str]
    """Environment in which `strip` and `patchelf` are found."""
    log: Path

    def relocate(
        self,
        wheel: Path,
        *,
        packages: Collection[str],
        siblings: Mapping[str, Path],
        epoch: int,
        licences: Mapping[str, bytes] | None = None,
    ) -> Path:
        """Return a relocatable wheel of the same content, with the tag that its libraries allow.

        `packages` are the only names that it may put into site-packages, besides its metadata and
        its libraries. `siblings` are the distributions that it was built against, each with the
        folder where its wheel lies unpacked. `epoch` is the time stamp of all files, in seconds
        since 1970 UTC. `licences` are the terms of what is compiled in, by path below the wheel's
        own licences.
        Raises BuildError that lists every finding.
        """
        files = read_wheel(wheel)[0]
        ours = [
            _library(file.path, file.content) for file in files if file.content.startswith(MAGIC)
        ]
        theirs = {
            distribution: list(libraries(folder)) for distribution, folder in siblings.items()
        }
        everywhere = [library for found in theirs.values() for library in found] + ours
        contents = {file.path: file.content for file in files}
        if ours:
            contents |= self._linked(
                contents,
                ours,
                {library.soname: posixpath.dirname(library.path) for library in everywhere},
            )
        platform, on_every_machine = _platform(wheel, [contents[library.path] for library in ours])
        findings = [*_strangers(wheel, contents, packages), *_unlinked(ours, theirs)]
        findings += [
            f"{path} names a path of the build folder"
            for path, content in contents.items()
            if os.fsencode(self.work) in content
        ]
        findings += _homeless(ours, {library.soname for library in everywhere} | on_every_machine)
        if findings:
            lines = bullets(findings)
            message = (
                f"{wheel.name} was built, but is not as it has to be:\n{lines}\nThe whole log: "
                f"{self.log}"
            )
            raise BuildError(message)
        if not ours:
            return wheel
        packed = [replace(file, content=contents[file.path]) for file in files]
        # Where PEP 639 has a wheel's licences.
        place = f"{'-'.join(wheel.name.split('-')[:2])}.dist-info/licenses"
        there = {file.path for file in files}
        packed += [
            TreeFile(path=f"{place}/{path}", content=content, mode=FileMode.BLOB)
            for path, content in (licences or {}).items()
            if f"{place}/{path}" not in there
        ]
        return _packed(wheel, packed, platform, epoch)

    def _linked(
        self, contents: Mapping[str, bytes], ours: Sequence[Library], folders: Mapping[str, str]
    ) -> dict[str, bytes]:
        """Return the contents of our libraries, stripped, with run paths to what they need."""
        root = self.work / "linked"
        with storage_errors("Laying out libraries"):
            for library in ours:
                (root / library.path).parent.mkdir(parents=True, exist_ok=True)
                (root / library.path).write_bytes(contents[library.path])
        paths = [library.path for library in ours]
        # Stripping comes first: it would break what patchelf has moved.
        self._run(root, "strip", "--strip-unneeded", *paths)
        for library in ours:
            here = posixpath.dirname(library.path)
            wanted = dict.fromkeys(
                folders[soname] for soname in library.needed if soname in folders
            )
            run_path = ":".join(
                "$ORIGIN" if folder == here else f"$ORIGIN/{posixpath.relpath(folder, here)}"
                for folder in wanted
            )
            # DT_RPATH wins over LD_LIBRARY_PATH: a site's own copy of a library in that variable
            # would otherwise be mixed in.
            change = ["--force-rpath", "--set-rpath", run_path] if run_path else ["--remove-rpath"]
            self._run(root, "patchelf", *change, library.path)
        return {path: (root / path).read_bytes() for path in paths}

    def _run(self, folder: Path, *command: str) -> None:
        run_isolated(
            list(command),
            confined=self.confined,
            folder=folder,
            variables=self.variables,
            log=self.log,
        )


def _strangers(wheel: Path, paths: Collection[str], packages: Collection[str]) -> Iterator[str]:
    """Yield what a wheel brings that it was not asked for.

    Headers of subprojects, or a module of another name.
    """
    stem = "-".join(wheel.name.split("-")[:2])
    there = {path.partition("/")[0] for path in paths}
    # meson-python puts shared libraries into a hidden folder beside the packages.
    allowed = {*packages, f"{stem}.dist-info", f".{stem.partition('-')[0]}.mesonpy.libs"}
    for name in sorted(there - allowed):
        count = sum(path.partition("/")[0] == name for path in paths)
        yield f"it has {name} ({count} files), which the recipe does not name among its packages"
    yield from (
        f"it has no {name}, which the recipe promises" for name in sorted(set(packages) - there)
    )


def _unlinked(ours: Sequence[Library], theirs: Mapping[str, Sequence[Library]]) -> Iterator[str]:
    """Yield siblings that are bundled in the wheel, or that nothing in it links.

    Configuring drops parts without a word.
    """
    needed = {soname for library in ours for soname in library.needed}
    names = {library.soname for library in ours}
    for distribution, found in theirs.items():
        sonames = {library.soname for library in found}
        if names & sonames:
            yield (
                f"it has a copy of {', '.join(sorted(names & sonames))}, which is in "
                f"{distribution}: two in one process do not go together"
            )
        if not needed & sonames:
            yield (
                f"nothing in it links a library of {distribution}, which the recipe says that it "
                "needs"
            )


def _homeless(ours: Sequence[Library], known: Collection[str]) -> Iterator[str]:
    for library in ours:
        for soname in library.needed:
            # The loader is not in the list of libraries that every machine has, and without it
            # there is none of them.
            if soname not in known and not soname.startswith("ld-linux"):
                yield (
                    f"{library.path} needs {soname}, which is neither in it, nor in a wheel that "
                    "it requires, nor on every machine"
                )


def _platform(wheel: Path, contents: Sequence[bytes]) -> tuple[str, frozenset[str]]:
    """Return the platform tag of a wheel, and the libraries that its platforms supply.

    The tag names the oldest platform (PEP 600) that has all symbol versions which the libraries
    need.
    """
    platform = wheel.stem.rpartition("-")[2]
    if not contents:
        return platform, frozenset()
    policies = manylinux(platform.removeprefix("linux_"))
    versions: dict[str, set[str]] = {}
    for content in contents:
        for soname, needed in Elf(content).versions().items():
            versions.setdefault(soname, set()).update(needed)
    return policies.versioned_symbols_policy(versions).name, policies.highest.whitelist


def _packed(wheel: Path, files: Sequence[TreeFile], platform: str, epoch: int) -> Path:
    name, version, python, abi, _ = wheel.name.removesuffix(".whl").split("-")
    file = f"{name}-{version}-{python}-{abi}-{platform}.whl"
    tags = [str(tag) for tag in parse_wheel_filename(file)[3]]
    dist_info = f"{name}-{version}.dist-info"
    members = []
    for each in files:
        if each.path == f"{dist_info}/RECORD":
            continue
        content = (
            retagged(each.content, tags) if each.path == f"{dist_info}/WHEEL" else each.content
        )
        members.append(
            Member(
                path=each.path, content=content, executable=each.mode == FileMode.BLOB_EXECUTABLE
            )
        )
    folder = wheel.parent / "relocated"
    folder.mkdir(exist_ok=True)
    return write_wheel(folder / file, members, dist_info=dist_info, epoch=epoch)
