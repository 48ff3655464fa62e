"""Write the wheels that a wheelhouse carries of Forkhouse itself: its code, and its tests.

That of the code is made from the files of the Forkhouse that runs, be it a checkout's or an
installed one's; the tests are a checkout's.
"""

from __future__ import annotations

import tomllib
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
_TESTS = "tests/integration"
_NEEDS_AN_INDEX = b"pytest.mark.extended"
"""What marks a file of tests for machines that reach a package index."""
_LICENCE = "licenses/LICENSE"
_METADATA = ("METADATA", "entry_points.txt", _LICENCE)


def write_own_wheel(folder: Path) -> Path:
    """Write the wheel of this Forkhouse into a folder that is there; equal code gives equal bytes.

    It names the commit where that is known (`forkhouse --version`). Raises StorageError.
    """
    members = [*_code(), *_info()]
    path = folder / f"forkhouse-{__version__}-py3-none-any.whl"
    return write_wheel(path, members, dist_info=_INFO, epoch=0)


def write_tests_wheel(checkout: Path, folder: Path) -> Path | None:
    """Write the wheel of the tests that a target can run into a folder that is there.

    None where the checkout has no such tests. Those that need a package index are left out. Raises
    StorageError.
    """
    tests = checkout / _TESTS
    members = [
        Member(
            path=file.relative_to(checkout).as_posix(),
            content=file.read_bytes(),
            executable=False,
        )
        for file in sorted(tests.rglob("*.py"))
        if _NEEDS_AN_INDEX not in file.read_bytes()
    ]
    if not members:
        return None
    name = f"forkhouse_selftest-{__version__}"
    for own, content in (
        ("tests/__init__.py", b""),
        ("tests/pytest.ini", _settings(checkout).encode()),
        *((f"{name}.dist-info/{own}", content) for own, content in _tests_info().items()),
    ):
        members.append(Member(path=own, content=content, executable=False))
    path = folder / f"{name}-py3-none-any.whl"
    return write_wheel(path, members, dist_info=f"{name}.dist-info", epoch=0)


def _tests_info() -> dict[str, bytes]:
    """Return what the wheel of the tests says of itself; its terms are those of Forkhouse."""
    own = distribution("forkhouse")
    text, terms = own.read_text(_LICENCE), "License-Expression"
    lines = [
        "Metadata-Version: 2.4",
        "Name: forkhouse-selftest",
        f"Version: {__version__}",
        *([f"{terms}: {own.metadata[terms]}"] if terms in own.metadata else []),
        *(["License-File: LICENSE"] if text else []),
    ]
    return {
        "METADATA": "\n".join([*lines, ""]).encode(),
        "WHEEL": _WHEEL,
        **({_LICENCE: text.encode()} if text else {}),
    }


def _settings(checkout: Path) -> str:
    """Return the settings of pytest, with the marks that the checkout's tests bear."""
    project = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))
    marks = "".join(f"    {mark}\n" for mark in project["tool"]["pytest"]["markers"])
    return f"[pytest]\naddopts = -ra --import-mode=importlib\ntimeout = 240\nmarkers =\n{marks}"


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
