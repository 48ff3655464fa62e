from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from forkhouse.flow.plant import Plant
    from forkhouse.toolchains.hip import HipToolchain


@pytest.fixture(scope="session")
def toolchain(plant: Plant) -> HipToolchain:
    return plant.tools.hip()
