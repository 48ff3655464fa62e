"""What is otherwise in a wheel than in another build of the same distribution.

Files, requirements, kernels and what they take, and the symbols that libraries give and ask for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from forkhouse.audit.archive import WheelArchive
from forkhouse.audit.gpu import gpu_contents
from forkhouse.audit.metadata import read_facts
from forkhouse.binaries.elf import MAGIC, Elf
from forkhouse.binaries.offload import GPU_MACHINE
from forkhouse.core.errors import AuditError

if TYPE_CHECKING:
    import zipfile
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from forkhouse.binaries.resources import KernelResources

_TAKEN = ("lds", "vgprs", "agprs", "sgprs", "vgpr_spills", "sgpr_spills", "scratch", "kernarg")
"""What of a kernel is compared, beside its name."""
_MODES = ("wavefront", "code_object", "xnack", "sramecc", "arguments")


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """A wheel, as far as it is compared."""

    file: str
    name: str
    """Canonical name of its distribution."""
    version: str
    requires: frozenset[str]
    sizes: Mapping[str, int]
    """Bytes of each file, without those of .dist-info."""
    symbols: frozenset[tuple[str, str, str]]
    """Library, `gives` or `needs`, and a symbol."""
    kernels: Mapping[tuple[str, str, str], KernelResources]
    """What each kernel takes, by library, target and name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WheelChange:
    """One thing that is otherwise."""

    what: str
    """kernel, resource, symbol, file, size, requirement, or version."""
    where: str
    """Path in the wheel; empty for the wheel itself."""
    name: str
    before: str | None
    """None for what is new."""
    now: str | None
    """None for what is gone."""

    def __str__(self) -> str:
        """Return it as one line."""
        where = f"{self.where}: " if self.where else ""
        if self.before is None or self.now is None:
            only = self.now if self.before is None else self.before
            return f"{where}{'new' if self.before is None else 'gone'} {self.what} {self.name}" + (
                f" ({only})" if only else ""
            )
        return f"{where}{self.what} {self.name}: {self.before} before, {self.now} now"


def read_side(path: Path) -> Side:
    """Read a wheel to compare it. Raises AuditError, OSError."""
    symbols: set[tuple[str, str, str]] = set()
    sizes = {}
    try:
        with WheelArchive(path) as archive:
            facts = read_facts(archive)
            for member in archive.files:
                name = member.filename
                if ".dist-info/" not in name:
                    sizes[name] = member.file_size
                symbols |= {(name, kind, symbol) for kind, symbol in _symbols(archive, member)}
    except AuditError as error:
        message = f"{path.name}: {error}"
        raise AuditError(message) from error
    return Side(
        file=path.name,
        name=facts.name,
        version=facts.version,
        requires=frozenset(facts.requires),
        sizes=sizes,
        symbols=frozenset(symbols),
        kernels={
            (each.library, each.target, each.kernel): each for each in gpu_contents(path).resources
        },
    )


def _symbols(archive: WheelArchive, member: zipfile.ZipInfo) -> Iterator[tuple[str, str]]:
    """Yield the symbols of a library of the host's, weak ones not among what it needs."""
    if not next(archive.chunks(member), b"").startswith(MAGIC):
        return
    elf = Elf(archive.read(member))
    if elf.machine == GPU_MACHINE:
        return
    for symbol in elf.symbols():
        if symbol.defined:
            yield "gives", symbol.name
        elif not symbol.weak:
            yield "needs", symbol.name


def changes(before: Side, now: Side) -> Iterator[WheelChange]:
    """Yield what is otherwise in `now`, the most important first."""
    for key in sorted(before.kernels.keys() - now.kernels.keys()):
        yield WheelChange(what="kernel", where=key[0], name=key[2], before=key[1], now=None)
    for key in sorted(now.kernels.keys() - before.kernels.keys()):
        yield WheelChange(what="kernel", where=key[0], name=key[2], before=None, now=key[1])
    for key in sorted(before.kernels.keys() & now.kernels.keys()):
        yield from _taken_otherwise(before.kernels[key], now.kernels[key])
    for kind in ("needs", "gives"):
        old = {(where, name) for where, its_kind, name in before.symbols if its_kind == kind}
        new = {(where, name) for where, its_kind, name in now.symbols if its_kind == kind}
        for where, name in sorted(old - new):
            yield WheelChange(what="symbol", where=where, name=name, before=kind, now=None)
        for where, name in sorted(new - old):
            yield WheelChange(what="symbol", where=where, name=name, before=None, now=kind)
    for text in sorted(before.requires - now.requires):
        yield WheelChange(what="requirement", where="", name=text, before="", now=None)
    for text in sorted(now.requires - before.requires):
        yield WheelChange(what="requirement", where="", name=text, before=None, now="")
    if before.version != now.version:
        yield WheelChange(
            what="version", where="", name=now.name, before=before.version, now=now.version
        )
    yield from _files(before.sizes, now.sizes)


def _taken_otherwise(before: KernelResources, now: KernelResources) -> Iterator[WheelChange]:
    for field in (*_TAKEN, *_MODES):
        old, new = getattr(before, field), getattr(now, field)
        if old != new:
            yield WheelChange(
                what="resource",
                where=now.library,
                name=f"{field.replace('_', '-')} of {now.kernel} for {now.target}",
                before=_shown(old),
                now=_shown(new),
            )


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _files(before: Mapping[str, int], now: Mapping[str, int]) -> Iterator[WheelChange]:
    for path in sorted(before.keys() - now.keys()):
        yield WheelChange(
            what="file", where="", name=path, before=f"{before[path]} bytes", now=None
        )
    for path in sorted(now.keys() - before.keys()):
        yield WheelChange(what="file", where="", name=path, before=None, now=f"{now[path]} bytes")
    for path in sorted(before.keys() & now.keys()):
        if before[path] != now[path]:
            yield WheelChange(
                what="size",
                where="",
                name=path,
                before=f"{before[path]} bytes",
                now=f"{now[path]} bytes",
            )
