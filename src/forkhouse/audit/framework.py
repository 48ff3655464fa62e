"""What a wheel's extensions ask of the PyTorch into which they are loaded."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from forkhouse.audit.archive import WheelArchive
from forkhouse.binaries.elf import MAGIC, Elf
from forkhouse.core.errors import AuditError

if TYPE_CHECKING:
    from pathlib import Path

# The C interface that keeps its names from release to release, and C++ names in PyTorch's own
# namespaces (Itanium ABI mangling).
_OF_TORCH = re.compile(r"(?:aoti_)?torch_\w+")
_MANGLED = re.compile(r"_Z\w+")
_NAMESPACES = re.compile(r"2at|3c10|5torch|6caffe2")


def torch_symbols(path: Path) -> tuple[str, ...]:
    """Return the symbols of PyTorch that the libraries of the wheel at `path` leave open, sorted.

    Weak ones may stay open.

    Raises AuditError when the wheel or a library cannot be read, OSError when there is no such
    file.
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
    return bool(
        _OF_TORCH.fullmatch(name) or (_MANGLED.fullmatch(name) and _NAMESPACES.search(name))
    )
