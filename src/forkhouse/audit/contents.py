"""Which kernels a finished wheel holds, and what its extensions ask of the PyTorch into which they are loaded."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from forkhouse.audit.archive import WheelArchive
from forkhouse.audit.elf import MAGIC, Elf
from forkhouse.audit.gpu import file_bundles
from forkhouse.audit.kernels import bundle_kernels, merged
from forkhouse.audit.offload import GPU_MACHINE, read_bundles
from forkhouse.errors import AuditError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from forkhouse.audit.kernels import LibraryKernels
    from forkhouse.audit.offload import Bundle

# The C interface that keeps its names from release to release, and C++ names in PyTorch's own namespaces (Itanium ABI mangling).
_OF_TORCH = re.compile(r"(?:aoti_)?torch_\w+")
_MANGLED = re.compile(r"_Z\w+")
_NAMESPACES = re.compile(r"2at|3c10|5torch|6caffe2")


def inventory(path: Path) -> tuple[LibraryKernels, ...]:
    """Return the kernels of every file of the wheel at `path`, by file and target.

    Raises AuditError when the wheel, an ELF file or GPU code in it cannot be read, OSError when there is no such file.
    """
    found: list[LibraryKernels] = []
    try:
        with WheelArchive(path) as archive:
            for member in sorted(archive.files, key=lambda member: member.filename):
                bundles = _bundles(archive.read(member))
                found += merged(part for bundle in bundles for part in bundle_kernels(member.filename, bundle))
    except AuditError as error:
        message = f"{path.name}: {error}"
        raise AuditError(message) from error
    return tuple(found)


def _bundles(content: bytes) -> Iterator[Bundle]:
    elf = Elf(content) if content.startswith(MAGIC) else None
    if elf is not None and elf.machine != GPU_MACHINE:
        yield from read_bundles(elf.section(".hip_fatbin") or b"")
    yield from file_bundles(content, elf)


def torch_symbols(path: Path) -> tuple[str, ...]:
    """Return the symbols of PyTorch that the libraries of the wheel at `path` leave open, sorted; weak ones may stay open.

    Raises AuditError when the wheel or a library cannot be read, OSError when there is no such file.
    """
    asked: set[str] = set()
    given: set[str] = set()
    try:
        with WheelArchive(path) as archive:
            for member in archive.files:
                if not next(archive.chunks(member), b"").startswith(MAGIC):
                    continue
                for symbol in Elf(archive.read(member)).symbols():
                    if symbol.defined:
                        given.add(symbol.name)
                    elif not symbol.weak and _is_of_torch(symbol.name):
                        asked.add(symbol.name)
    except AuditError as error:
        message = f"{path.name}: {error}"
        raise AuditError(message) from error
    return tuple(sorted(asked - given))


def _is_of_torch(name: str) -> bool:
    return bool(_OF_TORCH.fullmatch(name) or (_MANGLED.fullmatch(name) and _NAMESPACES.search(name)))
