"""What a wheel's extensions ask of the PyTorch into which they are loaded."""

from __future__ import annotations

import re
import zipfile
from typing import TYPE_CHECKING

from forkhouse.audit.elf import MAGIC, Elf
from forkhouse.errors import AuditError

if TYPE_CHECKING:
    from pathlib import Path

# The C interface that keeps its names from release to release, and C++ names in PyTorch's own namespaces (Itanium ABI mangling).
_OF_TORCH = re.compile(r"(aoti_)?torch_\w+|_Z\w*?(N|NK|St\d*|I|K|R|P)?(2at|3c10|5torch|6caffe2)\w*")


def torch_symbols(path: Path) -> tuple[str, ...]:
    """Return the symbols of PyTorch that the libraries of the wheel at `path` leave open, sorted; weak ones may stay open.

    Raises AuditError when the wheel or a library cannot be read.
    """
    asked: set[str] = set()
    given: set[str] = set()
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                with archive.open(name) as stream:
                    if stream.read(len(MAGIC)) != MAGIC:
                        continue
                for symbol in Elf(archive.read(name)).symbols():
                    if symbol.defined:
                        given.add(symbol.name)
                    elif not symbol.weak and _OF_TORCH.fullmatch(symbol.name):
                        asked.add(symbol.name)
    except (OSError, zipfile.BadZipFile) as error:
        message = f"{path.name} cannot be read: {error}."
        raise AuditError(message) from error
    return tuple(sorted(asked - given))
