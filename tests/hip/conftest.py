from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from forkhouse.pipeline import Plant, open_plant
from forkhouse.sources import Access
from forkhouse.workspace import find_workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkhouse.toolchains.hip import HipToolchain


@pytest.fixture(scope="session")
def plant() -> Iterator[Plant]:
    """This very checkout: the toolchain and the sources that it pins."""
    workspace = find_workspace(Path(__file__).resolve().parent)
    plant = open_plant(workspace, Access(policy="registry", mirror=None, offline=False, cache=workspace.cache))
    yield plant
    plant.registry.close()


@pytest.fixture(scope="session")
def toolchain(plant: Plant) -> HipToolchain:
    return plant.hip()
