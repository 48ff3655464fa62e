"""Whether anything has changed since a profile was built.

Seen from sizes and times of files, as make does, before anything is read.

A build that is up to date costs less than starting the program that would find so. Whatever was
touched since, be it the lock, a recipe, a patch, our own code, a library that it uses, a compiler
or a wheel of the wheelhouse, makes the build look at everything in its own, careful way. What a
build reads is looked at before it is read: what is edited while it runs is new to the next run.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from forkhouse.core.digests import digest, is_sealed, sealed
from forkhouse.core.storage import discard, read_file, storage_errors, write_atomic
from forkhouse.core.workspace import config_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from forkhouse.core.workspace import Workspace

DAY = 86_400
"""Seconds after which hosts that did not answer are asked again."""

_VARIABLES = ("ROCM_PATH", "FORKHOUSE_CACHE", "FORKHOUSE_CONFIG")
_INPUTS = ("upstream.lock", "recipes", "patches")
_PLACE = ("fresh",)


@dataclass(frozen=True, kw_only=True, slots=True)
class Built:
    """The results of a build, which can be printed again without another look."""

    tools: tuple[str, ...]
    """Files outside the checkout that influenced it: compilers, headers."""
    hosts_away: bool
    """Whether a host did not answer, and a less preferred source was taken."""
    answer: dict[str, Any]
    """What `--json` printed."""


def _stamp(workspace: Workspace, profile: str) -> Path:
    return workspace.build / "fresh" / f"{profile}.json"


def packed_kernels(workspace: Workspace) -> Path:
    """Return where `forkhouse triton --carry` puts compiled kernels for the next build."""
    return workspace.build / "triton" / "packed"


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Inputs:
    """The state of a build's inputs before anything was read."""

    state: str
    """One hash over names, sizes and times of all files of the checkout that decide a build, and
    over its options."""
    taken: int
    """When the state was taken, in nanoseconds since 1970."""


def inputs(workspace: Workspace, arguments: Iterable[object]) -> Inputs:
    """Take the state of all that a build with these options reads.

    It has to be called before anything is read.
    """
    taken = time.time_ns()
    closures = sorted(workspace.root.glob("pylock.*.toml"))
    # Installing a library changes the folder in which all of them lie.
    libraries = Path(click.__file__).parents[1]
    places = [
        *(workspace.root / name for name in _INPUTS),
        *closures,
        Path(__file__).parents[1],
        config_path(),
        workspace.build / "triton" / "packed",
    ]
    seen = [line for place in places for line in _lines(place, changed=True)]
    variables = [os.environ.get(name) for name in _VARIABLES]
    state = digest(
        sys.version,
        sys.executable,
        list(map(str, arguments)),
        variables,
        sorted(seen),
        libraries.stat().st_mtime_ns,
    )
    return Inputs(state=state, taken=taken)


def _results(workspace: Workspace, profile: str, tools: Iterable[str]) -> str:
    """Return one hash over the results of a build, and over the outside tools that it used.

    Outside tools are those that lie outside of the checkout.
    """
    # A wheel may be changed under its old size and time. (Another wheelhouse that takes it over by
    # a hard link makes the build look, too.)
    wheels = _lines(workspace.wheelhouse(profile), changed=True)
    return digest(
        sorted([*wheels, *(line for tool in tools for line in _lines(Path(tool), changed=False))])
    )


def _lines(place: Path, *, changed: bool) -> Iterator[str]:
    """Yield a line for each file.

    With `changed`, the time at which it last changed in any way counts, too, which nobody can set.
    """
    for file in _files(place):
        try:
            status = file.stat()
        except OSError as error:
            yield f"{os.fspath(file)} is not there: {error.errno}"
        else:
            moment = status.st_ctime_ns if changed else ""
            yield (
                f"{os.fspath(file)} {status.st_size} {status.st_mtime_ns} {moment} {status.st_ino}"
            )


def forget(workspace: Workspace, profile: str) -> None:
    """Forget what is known of a profile, because a build is about to change it."""
    with storage_errors("Forgetting the last build"):
        discard(_stamp(workspace, profile))


def remember(workspace: Workspace, profile: str, before: Inputs, built: Built) -> None:
    """Keep what a finished build left, with the state of all that it read, as that was before.

    A tool that was installed while the build ran may have been used in its old state: then nothing
    is kept, and the next run looks.
    """
    if any(
        status.st_ctime_ns >= before.taken
        for status in map(_status, built.tools)
        if status is not None
    ):
        return
    kept = {
        "inputs": before.state,
        "results": _results(workspace, profile, built.tools),
        "tools": list(built.tools),
        "asked": time.time() if built.hosts_away else None,
        "answer": built.answer,
    }
    write_atomic(_stamp(workspace, profile), sealed(kept, *_PLACE, profile))


def _status(path: str) -> os.stat_result | None:
    try:
        return Path(path).stat()
    except OSError:
        return None


def unchanged(
    workspace: Workspace, profile: str, arguments: Iterable[object]
) -> dict[str, Any] | None:
    """Return what the last build answered when nothing has changed since.

    None when something has, or when nothing is known.
    """
    try:
        kept = json.loads(read_file(_stamp(workspace, profile)))
        if not is_sealed(kept, *_PLACE, profile):
            return None
        asked, tools, answer = kept["asked"], kept["tools"], kept["answer"]
        state = (kept["inputs"], kept["results"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None  # what is there cannot be used: the build looks itself
    if asked is not None and not 0 <= time.time() - asked <= DAY:
        return None
    same = state == (inputs(workspace, arguments).state, _results(workspace, profile, tools))
    return dict(answer) if same else None
