"""Write the wheel of the Forkhouse that runs, from its own files.

So a wheelhouse can carry it, whether it runs from a checkout or was installed.
"""

from __future__ import annotations

from importlib.metadata import distribution
from typing import TYPE_CHECKING

from forkhouse import __version__
from forkhouse.builders.wheelfile import Member, write_wheel
from forkhouse.core.identity import ROOT
from forkhouse.core.revision import NAME, revision

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_INFO = f"forkhouse-{__version__}.dist-info"
_WHEEL = b"Wheel-Version: 1.0\nGenerator: forkhouse\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_METADATA = ("METADATA", "entry_points.txt", "licenses/LICENSE")


def write_own_wheel(folder: Path) -> Path:
    """Write the wheel of this Forkhouse into a folder that is there; equal code gives equal bytes.

    It names the commit where that is known (`forkhouse --version`). Raises StorageError.
    """
    members = [*_code(), *_info()]
    path = folder / f"forkhouse-{__version__}-py3-none-any.whl"
    return write_wheel(path, members, dist_info=_INFO, epoch=0)


def _code() -> Iterator[Member]:
    for file in sorted(ROOT.rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts and file.name != NAME:
            path = file.relative_to(ROOT.parent).as_posix()
            yield Member(path=path, content=file.read_bytes(), executable=False)
    commit = revision()
    if commit is not None:
        yield Member(path=f"forkhouse/{NAME}", content=f"{commit}\n".encode(), executable=False)


def _info() -> Iterator[Member]:
    own = distribution("forkhouse")
    for name in _METADATA:
        text = own.read_text(name)
        if text is not None:
            yield Member(path=f"{_INFO}/{name}", content=text.encode(), executable=False)
    yield Member(path=f"{_INFO}/WHEEL", content=_WHEEL, executable=False)
