"""Whether anything has changed since a profile was built: seen from sizes and times of files, as make does, before anything is read.

A build that is up to date costs less than starting the program that would find so. Whatever was touched since, be it the lock, a
recipe, a patch, our own code, a compiler or a wheel of the wheelhouse, makes the build look at everything in its own, careful way.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forkhouse.workspace import digest, write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from forkhouse.workspace import Workspace

DAY = 86_400
"""Seconds after which hosts that did not answer are asked again."""

_VARIABLES = ("ROCM_PATH", "FORKHOUSE_CACHE", "FORKHOUSE_CONFIG")
_INPUTS = ("upstream.lock", "recipes", "patches")


@dataclass(frozen=True, kw_only=True, slots=True)
class Built:
    """What a build left, as it can be told again without looking."""

    tools: tuple[str, ...]
    """Files outside the checkout that decided it: compilers, headers."""
    hosts_away: bool
    """Whether a host did not answer, and a less preferred source was taken."""
    answer: dict[str, Any]
    """What `--json` printed."""


def _stamp(workspace: Workspace, profile: str) -> Path:
    return workspace.build / "fresh" / f"{profile}.json"


def _files(path: Path) -> Iterator[os.DirEntry[str] | Path]:
    if not path.is_dir():
        yield path
        return
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if entry.name != "__pycache__":
                    yield from _files(Path(entry.path))
            else:
                yield entry


def _state(workspace: Workspace, profile: str, arguments: Iterable[object], tools: Iterable[str]) -> str:
    """Return one hash over all that could make a build do something."""
    ours = Path(__file__).parent
    closures = sorted(workspace.root.glob("pylock.*.toml"))
    places = [*(workspace.root / name for name in _INPUTS), *closures, ours, workspace.wheelhouse(profile), *map(Path, tools)]
    seen = []
    for place in places:
        for file in _files(place):
            try:
                status = file.stat()
            except FileNotFoundError:
                seen.append(f"{os.fspath(file)} is not there")
            else:
                seen.append(f"{os.fspath(file)} {status.st_size} {status.st_mtime_ns} {status.st_ino}")
    variables = [os.environ.get(name) for name in _VARIABLES]
    return digest(sys.version, sys.executable, list(map(str, arguments)), variables, sorted(seen))


def forget(workspace: Workspace, profile: str) -> None:
    """Drop what is known of a profile: a build is about to change it."""
    _stamp(workspace, profile).unlink(missing_ok=True)


def remember(workspace: Workspace, profile: str, arguments: Iterable[object], built: Built) -> None:
    """Keep what a finished build left, with the state of all its inputs and outputs."""
    kept = {
        "state": _state(workspace, profile, arguments, built.tools),
        "tools": list(built.tools),
        "asked": time.time() if built.hosts_away else None,
        "answer": built.answer,
    }
    write_atomic(_stamp(workspace, profile), json.dumps(kept).encode())


def unchanged(workspace: Workspace, profile: str, arguments: Iterable[object]) -> dict[str, Any] | None:
    """Return what the last build answered when nothing has changed since; None when something has, or when nothing is known."""
    try:
        kept = json.loads(_stamp(workspace, profile).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    if kept["asked"] is not None and time.time() - kept["asked"] > DAY:
        return None
    answer: dict[str, Any] = kept["answer"]
    return answer if kept["state"] == _state(workspace, profile, arguments, kept["tools"]) else None
