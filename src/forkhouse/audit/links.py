"""Check what an ELF file links or loads, and where it looks for it."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from packaging.version import Version

from forkhouse.audit.findings import Finding, Rule
from forkhouse.binaries.kernels import some

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from forkhouse.audit.policy import AuditPolicy, PolicyDistribution
    from forkhouse.binaries.elf import Compiled, Elf

_SONAME = re.compile(rb"lib[A-Za-z0-9_+-]{1,80}\.so(?:\.\d+)*")
_ORIGIN = re.compile(r"\$(?:ORIGIN|\{ORIGIN\})(?:/|$)")
_SCHEME = re.compile(r"^[^/]+\.data/[a-z]+/")


def check_needed(name: str, elf: Elf, policy: AuditPolicy) -> Iterator[Finding]:
    """Find CUDA libraries without which a file cannot be loaded."""
    for soname in elf.tags("NEEDED"):
        if policy.cuda.is_library(soname):
            yield Finding(rule=Rule.NO_CUDA, where=name, what=f"needs {soname}")


def check_cuda(name: str, elf: Elf, policy: AuditPolicy) -> Iterator[Finding]:
    """Find references to CUDA: undefined symbols, libraries loaded at run time, and run paths."""
    undefined = [
        symbol
        for symbol in elf.symbols()
        if not symbol.defined and policy.cuda.is_symbol(symbol.name)
    ]
    if hard := sorted({symbol.name for symbol in undefined if not symbol.weak}):
        yield Finding(
            rule=Rule.NO_CUDA, where=name, what=f"has undefined symbols of CUDA: {some(hard)}"
        )
    optional = policy.own.cuda_dlopen == "note"
    if weak := sorted({symbol.name for symbol in undefined if symbol.weak}):
        yield Finding(
            rule=Rule.NO_CUDA,
            where=name,
            what=f"can use symbols of CUDA where they are: {some(weak)}",
            harmless=optional,
        )
    loaded = {match.decode() for part in elf.constants() for match in _SONAME.findall(part)} - set(
        elf.tags("NEEDED")
    )
    if names := sorted(soname for soname in loaded if policy.cuda.is_library(soname)):
        yield Finding(
            rule=Rule.NO_CUDA,
            where=name,
            what=f"names libraries of CUDA that it can load: {', '.join(names)}",
            harmless=optional,
        )
    for folder in _run_paths(elf):
        if policy.cuda.is_folder(folder):
            yield Finding(
                rule=Rule.NO_CUDA, where=name, what=f"looks for libraries where CUDA is: {folder}"
            )


def check_run_paths(name: str, elf: Elf, policy: AuditPolicy) -> Iterator[Finding]:
    """Find folders in RPATH or RUNPATH that another machine does not have.

    Allowed are those below site-packages, named from the place of the file, and the runtime folders
    of the policy.
    """
    for folder in _run_paths(elf):
        if folder in policy.common.runtime_folders:
            continue
        if not _ORIGIN.match(folder) or "$" in folder[1:]:
            yield Finding(
                rule=Rule.RELOCATABLE,
                where=name,
                what=f"looks for libraries in {folder or 'the current folder'}",
            )
        elif _leaves(PurePosixPath(_SCHEME.sub("", name, count=1)).parent, folder):
            yield Finding(
                rule=Rule.RELOCATABLE,
                where=name,
                what=f"looks for libraries outside of site-packages: {folder}",
            )


def _run_paths(elf: Elf) -> Iterator[str]:
    for kind in ("RPATH", "RUNPATH"):
        for text in elf.tags(kind):
            yield from text.split(":") if text else ()


def _leaves(place: PurePosixPath, folder: str) -> bool:
    depth = len(place.parts)
    for step in folder.split("/")[1:]:
        depth += {"..": -1, ".": 0, "": 0}.get(step, 1)
        if depth < 0:
            return True
    return False


def check_complete(
    distribution: PolicyDistribution, compiled: Mapping[str, Compiled], names: Collection[str]
) -> Iterator[Finding]:
    """Find what a wheel of a distribution lacks and must contain."""
    for wanted in distribution.required_files:
        if not any(fnmatchcase(name, wanted) for name in names):
            yield Finding(
                rule=Rule.COMPLETE,
                where=wanted,
                what="is not in the wheel; the build left it out and reported success",
            )
    for wanted, needed in distribution.required_links.items():
        found = [name for name in compiled if fnmatchcase(name, wanted)]
        if not found:
            yield Finding(
                rule=Rule.COMPLETE,
                where=wanted,
                what="is not in the wheel; the build left it out and reported success",
            )
        for name in found:
            if not any(fnmatchcase(soname, needed) for soname in compiled[name].needed):
                yield Finding(
                    rule=Rule.COMPLETE,
                    where=name,
                    what=f"does not link {needed}, so it is not what its name says",
                )


def check_parts(
    name: str, elf: Elf, distribution: PolicyDistribution, version: str
) -> Iterator[Finding]:
    """Find features that a library lacks and must have been compiled with.

    A feature may be required from some release on.
    """
    wanted = [
        part
        for part in distribution.required_parts
        if fnmatchcase(name, part.library) and Version(version) >= Version(part.since)
    ]
    if not wanted:
        return
    symbols, needed = {symbol.name for symbol in elf.symbols()}, elf.tags("NEEDED")
    for part in wanted:
        if part.symbol is not None and part.symbol not in symbols:
            yield Finding(
                rule=Rule.COMPLETE, where=name, what=f"does not use {part.symbol}: {part.why}"
            )
        if part.link is not None and not any(fnmatchcase(soname, part.link) for soname in needed):
            yield Finding(
                rule=Rule.COMPLETE, where=name, what=f"does not link {part.link}: {part.why}"
            )
