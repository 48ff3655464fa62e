"""Read from `manifest.json` what is in a wheelhouse, what it lacks, and who requires what.

Needs the standard library alone, as what is carried to a machine without Forkhouse reads it, too.
"""

from __future__ import annotations

import json
import re
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forkhouse.core.errors import ClosureError, UsageError
from forkhouse.documents.pins import Missing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NAME = "manifest.json"
OURS, OTHERS, EXCUSED = "passed, as ours", "passed, as one of others", "passed, excused by the lock"
VERDICTS = frozenset({OURS, OTHERS, EXCUSED})
"""What the manifest says of the audit of a wheel; what did not pass is in no wheelhouse."""
_FILE = re.compile(r"[\w.+!-]+\.whl", re.ASCII)
_MOST = 2**63
"""Bytes that no file reaches."""
PROFILE = "the profile"
"""Who requires what the profile itself installs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wheel:
    """A wheel of a wheelhouse, as the manifest has it."""

    name: str
    version: str
    file: str
    size: int
    """Bytes."""
    built: bool
    """Whether it was built here; else it is from an index."""
    required_by: tuple[str, ...]
    """Wheels that require it, each with the extra that does (`name[extra]`), or `PROFILE`."""
    why: str | None
    """What the lock says of an external."""
    torch_symbols: tuple[str, ...]
    """Symbols that the PyTorch of the target has to provide."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Contents:
    """What a wheelhouse holds and asks for."""

    profile: str
    install: tuple[str, ...]
    """Requirements that the profile installs."""
    targets: tuple[str, ...]
    """GPUs that its libraries serve."""
    missing: tuple[Missing, ...]
    omitted: Mapping[str, str]
    """Wheels that something requires and that a slim wheelhouse leaves out, with the reason."""
    wheels: tuple[Wheel, ...]


def read_contents(folder: Path) -> Contents:
    """Read the manifest of a wheelhouse. Raises ClosureError where there is none to read."""
    try:
        text = (folder / NAME).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise _unreadable(folder.name, error) from error
    return parse_contents(text, folder.name)


def parse_contents(text: str | bytes, name: str) -> Contents:
    """Return what the manifest of the wheelhouse `name` says. Raises ClosureError."""
    try:
        manifest = json.loads(text)
        return Contents(
            profile=str(manifest["profile"]),
            install=tuple(manifest["install"]),
            targets=tuple(manifest["gpu-targets"]),
            missing=tuple(Missing(**each) for each in manifest["missing"]),
            omitted={each["name"]: each["why"] for each in manifest["omitted"]},
            wheels=tuple(_wheel(each) for each in manifest["wheels"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _unreadable(name, error) from error


def _unreadable(name: str, error: Exception) -> ClosureError:
    return ClosureError(
        f"The manifest of the wheelhouse {name} cannot be read: {error}. Build it again with this "
        "Forkhouse."
    )


def _wheel(entry: Mapping[str, object]) -> Wheel:
    why, size = entry.get("why"), entry["size"]
    required_by, symbols = entry["required-by"], entry.get("torch-symbols", [])
    if type(size) is not int or not 0 <= size < _MOST or not isinstance(required_by, list | tuple):
        message = f"{entry['name']} has no size or nobody who requires it"
        raise TypeError(message)
    file = str(entry["file"])
    if not _FILE.fullmatch(file):
        message = f"{file!r} is no name of a wheel"
        raise ValueError(message)
    return Wheel(
        name=str(entry["name"]),
        version=str(entry["version"]),
        file=file,
        size=size,
        built=entry["origin"] == "built",
        required_by=tuple(map(str, required_by)),
        why=str(why) if why else None,
        torch_symbols=tuple(symbols) if isinstance(symbols, list) else (),
    )


def chain(contents: Contents, name: str) -> list[Wheel]:
    """Return a shortest chain of wheels from one that the profile installs to the named one.

    Raises UsageError where there is no such wheel.
    """
    wheels = {wheel.name: wheel for wheel in contents.wheels}
    if name not in wheels:
        message = (
            f"{name} is not in the wheelhouse of the profile {contents.profile}. "
            "`list` shows what is."
        )
        raise UsageError(message)
    waiting = deque([[wheels[name]]])
    seen = {name}
    while waiting:
        path = waiting.popleft()
        if PROFILE in path[0].required_by:
            return path
        for requirer in (each.partition("[")[0] for each in path[0].required_by):
            if requirer in wheels and requirer not in seen:
                seen.add(requirer)
                waiting.append([wheels[requirer], *path])
    return [wheels[name]]
