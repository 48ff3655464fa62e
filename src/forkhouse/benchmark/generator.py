"""The load generator's own environment.

Aiperf and what it needs, pinned by hash, apart from Forkhouse and from the served stack.

Apart from the stack, because the client has to be the same whatever is measured: another vLLM, or
none.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from filelock import FileLock

from forkhouse.core.digests import digest
from forkhouse.core.environments import install_wheels, make_environment
from forkhouse.core.errors import InstallError
from forkhouse.core.progress import report
from forkhouse.core.storage import storage_errors, write_atomic
from forkhouse.documents.pylock import read_closure
from forkhouse.sources.wheels import fetch_all

if TYPE_CHECKING:
    from pathlib import Path

    from forkhouse.core.workspace import Workspace
    from forkhouse.documents.pins import PinnedWheel
    from forkhouse.sources.index import Registry


NAME = "aiperf"


@dataclass(frozen=True, kw_only=True, slots=True)
class Generator:
    """An installed aiperf."""

    program: Path
    version: str

    def __str__(self) -> str:
        """Return name and version."""
        return f"{NAME} {self.version}"


def _pins(workspace: Workspace) -> tuple[PinnedWheel, ...]:
    return read_closure(workspace.closure_path("generator"))


def _folder(workspace: Workspace, pins: tuple[PinnedWheel, ...]) -> Path:
    return workspace.build / "generator" / digest(sys.version, [pin.sha256 for pin in pins])[:16]


def installed(workspace: Workspace) -> Generator | None:
    """Return the generator that `pylock.generator.toml` pins when it is installed.

    Raises DocumentError for a pin file that is wrong.
    """
    pins = _pins(workspace)
    folder = _folder(workspace, pins)
    return (
        Generator(program=folder / "bin" / NAME, version=_version(pins))
        if (folder / "ready").is_file()
        else None
    )


def install(workspace: Workspace, registry: Registry) -> Generator:
    """Return the pinned generator, installed below `build/` when it is not there yet.

    Raises DocumentError for a pin file that is wrong, UnreachableError or HashMismatchError when a
    wheel cannot be had, and InstallError with pip's own words.
    """
    found = installed(workspace)
    if found:
        return found
    with storage_errors("Making build/"):
        workspace.build.mkdir(parents=True, exist_ok=True)
    # Not the lock of the checkout: a build may go on for an hour, and has nothing to do with it.
    with FileLock(workspace.build / "generator.lock"):
        return installed(workspace) or _install(workspace, registry)


def _install(workspace: Workspace, registry: Registry) -> Generator:
    pins = _pins(workspace)
    folder = _folder(workspace, pins)
    report().line(
        "generator", f"installing {NAME} into an environment of its own ({len(pins)} wheels)"
    )
    paths = fetch_all(pins, registry)
    # Environments of other pins are of no use any more.
    shutil.rmtree(folder.parent, ignore_errors=True)
    interpreter = make_environment(folder)
    try:
        install_wheels(
            interpreter, "--no-deps", *map(str, paths), wheels=[pin.file for pin in pins]
        )
    except InstallError as error:
        message = f"pip could not install the load generator:\n{error}"
        raise InstallError(message) from error
    write_atomic(folder / "ready", b"")
    return Generator(program=folder / "bin" / NAME, version=_version(pins))


def _version(pins: tuple[PinnedWheel, ...]) -> str:
    return next(pin.version for pin in pins if pin.name == NAME)
