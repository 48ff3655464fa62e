"""What a wheelhouse carries of Forkhouse itself, so that its target needs nothing but Python.

`forkhouse.pyz` verifies and installs; `tools/` holds pip, Forkhouse, and what Forkhouse needs to
serve.
"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

from forkhouse.builders import zipapp
from forkhouse.builders.ownwheel import write_own_wheel
from forkhouse.core.digests import sha256_file
from forkhouse.core.errors import UsageError
from forkhouse.core.storage import storage_errors, write_atomic
from forkhouse.documents.pins import pinned_wheel
from forkhouse.documents.pylock import pylock_text
from forkhouse.flow.resolve import resolve
from forkhouse.sources.wheels import fetch_all
from forkhouse.wheelhouse.index import requirements_text

if TYPE_CHECKING:
    from pathlib import Path

    from forkhouse.documents.pins import PinnedWheel
    from forkhouse.flow.plant import Plant

CLOSURE = "tools"
"""Name of the closure that pins what is carried."""
GROUP = "carried"
"""Dependency group of pyproject.toml that the closure is resolved from."""


def pin_tools(plant: Plant) -> tuple[PinnedWheel, ...]:
    """Pin in `pylock.tools.toml` what Forkhouse needs at a target, by its pyproject.toml.

    Returns the wheels. Raises UsageError in a checkout that is not Forkhouse's, UnreachableError
    with pip's own words when they cannot be resolved.
    """
    path = plant.workspace.root / "pyproject.toml"
    project = tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    requirements = project.get("dependency-groups", {}).get(GROUP)
    if not requirements:
        message = (
            f"{path} has no dependency group `{GROUP}`, which says what a wheelhouse carries. Run "
            "this in a checkout of Forkhouse itself."
        )
        raise UsageError(message)
    pins = resolve(plant, requirements, local={}, constraints=[])
    text = pylock_text(pins, folder="build/tools", requires_python=plant.lock.python)
    write_atomic(plant.workspace.closure_path(CLOSURE), text.encode())
    plant.checkout.read.closures.pop(CLOSURE, None)
    return tuple(sorted(pins))


def carried_tools(plant: Plant, folder: Path) -> dict[str, Path]:
    """Return the files that a wheelhouse carries for its target, by their path in it.

    What is made for it lies in `folder`. Nothing where there is no `pylock.tools.toml`. Raises
    ClosureError, UnreachableError, HashMismatchError, StorageError.
    """
    if not plant.workspace.closure_path(CLOSURE).is_file():
        return {}
    pins = plant.checkout.closure(CLOSURE)
    wheels = dict(zip(pins, fetch_all(pins, plant.registry), strict=True))
    own = write_own_wheel(folder)
    application = zipapp.application([wheels[pin] for pin in zipapp.wanted(pins)])
    requirements = requirements_text([*pins, pinned_wheel(own.name, sha256_file(own))])
    with storage_errors("Writing what the wheelhouse carries"):
        (folder / zipapp.NAME).write_bytes(application)
        (folder / "requirements.txt").write_text(requirements, encoding="utf-8")
    return {
        zipapp.NAME: folder / zipapp.NAME,
        f"tools/{own.name}": own,
        "tools/requirements.txt": folder / "requirements.txt",
        **{f"tools/{pin.file}": path for pin, path in wheels.items()},
    }
