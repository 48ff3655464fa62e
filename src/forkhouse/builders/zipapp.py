"""Make `forkhouse.pyz`: the program that is carried with a wheelhouse, as a zip application.

Python runs it as it is (PEP 441). It holds those of our modules that `cli.carried` imports, and two
pure libraries, so a machine with a bare Python needs nothing else.
"""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING

from forkhouse.builders.wheelfile import zip_entry
from forkhouse.core.errors import ClosureError
from forkhouse.core.identity import ROOT, closure, source_files

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from forkhouse.documents.pins import PinnedWheel

NAME = "forkhouse.pyz"
ENTRY = "forkhouse.cli.carried"
LIBRARIES = ("click", "packaging")
"""What those modules need; what else they can use is for terminals and locks."""
_SHEBANG = b"#!/usr/bin/env python3\n"
_MAIN = f"""import os

from forkhouse.core.signals import Stopped, listen

listen()
try:
    from {ENTRY} import main

    main()
except Stopped as stopped:
    os._exit(stopped.exit_code)
"""
"""It listens to signals from before the rest is loaded, which takes half a second."""
_STAMP = (1980, 1, 1, 0, 0, 0)
"""The first moment that a zip archive can name: equal content gives equal bytes."""


def wanted(pins: Sequence[PinnedWheel]) -> list[PinnedWheel]:
    """Return the pins of the libraries. Raises ClosureError where one is not pinned."""
    by_name = {pin.name: pin for pin in pins}
    missing = [name for name in LIBRARIES if name not in by_name]
    if missing:
        message = (
            f"pylock.tools.toml does not pin {', '.join(missing)}. `forkhouse lock --tools` pins "
            "what a wheelhouse carries."
        )
        raise ClosureError(message)
    return [by_name[name] for name in LIBRARIES]


def application(libraries: Sequence[Path]) -> bytes:
    """Return the application, with the code of some wheels in it."""
    files = dict(_ours())
    for wheel in libraries:
        files.update(_library(wheel))
    files["__main__.py"] = _MAIN.encode()
    content = io.BytesIO()
    content.write(_SHEBANG)
    with zipfile.ZipFile(content, "a", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(files):
            archive.writestr(zip_entry(path, _STAMP), files[path])
    return content.getvalue()


def _ours() -> Iterator[tuple[str, bytes]]:
    modules, _ = closure(ENTRY, frozenset())
    # The package itself is imported with every module of it.
    for name in sorted({"forkhouse", *modules}):
        file = source_files()[name]
        yield file.relative_to(ROOT.parent).as_posix(), file.read_bytes()


def _library(wheel: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the modules of a wheel, and the texts of its licence."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.endswith(".py") or ".dist-info/licenses/" in name:
                yield name, archive.read(name)
