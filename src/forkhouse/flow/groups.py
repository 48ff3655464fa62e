"""Pin a dependency group of pyproject.toml in a lock file of its own."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

from forkhouse.core.errors import UsageError
from forkhouse.core.storage import write_atomic
from forkhouse.documents.pylock import pylock_text
from forkhouse.flow.resolve import resolve

if TYPE_CHECKING:
    from forkhouse.documents.pins import PinnedWheel
    from forkhouse.flow.plant import Plant


def pin_group(plant: Plant, group: str, closure: str) -> tuple[PinnedWheel, ...]:
    """Pin a dependency group (PEP 735) in `pylock.CLOSURE.toml`, and return the wheels.

    Raises UsageError in a checkout that has no such group, UnreachableError with pip's own words
    when it cannot be resolved.
    """
    path = plant.workspace.root / "pyproject.toml"
    project = tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    requirements = project.get("dependency-groups", {}).get(group)
    if not requirements:
        message = (
            f"{path} has no dependency group `{group}`, from which pylock.{closure}.toml is "
            "resolved. Run this in a checkout of Forkhouse itself."
        )
        raise UsageError(message)
    pins = resolve(plant, requirements, local={}, constraints=[])
    text = pylock_text(pins, folder=f"build/{closure}", requires_python=plant.lock.python)
    write_atomic(plant.workspace.closure_path(closure), text.encode())
    plant.checkout.read.closures.pop(closure, None)
    return tuple(sorted(pins))
