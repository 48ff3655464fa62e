"""Pin the load generator of the benchmark."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

from forkhouse.core.storage import write_atomic
from forkhouse.documents.pylock import pylock_text
from forkhouse.flow.resolve import resolve

if TYPE_CHECKING:
    from forkhouse.documents.pins import PinnedWheel
    from forkhouse.flow.plant import Plant


def pin(plant: Plant) -> tuple[PinnedWheel, ...]:
    """Pin the dependency group `generator` of pyproject.toml in `pylock.generator.toml`.

    Returns the wheels. Raises UnreachableError with pip's own words when they cannot be resolved.
    """
    project = tomllib.loads((plant.workspace.root / "pyproject.toml").read_text(encoding="utf-8"))
    pins = resolve(plant, project["dependency-groups"]["generator"], local={}, constraints=[])
    text = pylock_text(pins, folder="build/generator", requires_python=plant.lock.python)
    write_atomic(plant.workspace.closure_path("generator"), text.encode())
    return tuple(sorted(pins))
