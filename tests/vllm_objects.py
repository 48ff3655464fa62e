"""vLLM's HIP sources, compiled as the recipe does it, for whoever looks at the objects."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from forkhouse.builders.environment import Needs, run_isolated
from forkhouse.documents.recipe import Pep517
from forkhouse.flow.building import open_workshop

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from forkhouse.flow.plant import Plant


@pytest.fixture(scope="session")
def build(plant: Plant, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """vLLM's own CMake project, configured as the recipe does it.

    Called with the names of targets, it builds them.
    """
    recipe = plant.checkout.recipe("vllm-rocm")
    method = recipe.builders["sdist"]
    assert isinstance(method, Pep517)
    native = method.native
    assert native is not None
    patched = plant.supplies.patched("vllm-rocm", recipe)
    work = tmp_path_factory.mktemp("vllm")
    (work / "home").mkdir()
    project, log = work / "project", work / "log"
    shutil.copytree(plant.workspace.root / "recipes/vllm-rocm/native", project)
    plant.store.check_out(plant.store.subtree(patched.tree, native.paths), project / "upstream")
    workshop = open_workshop(plant)
    needs = Needs(
        hip=True, wheels=workshop.closure("vllm-rocm"), gigabytes_per_job=native.gigabytes_per_job
    )
    variables = workshop.environment.variables(epoch=0, work=work, needs=needs)

    confined = workshop.environment.confined(work, needs)

    def run(*command: str) -> None:
        run_isolated(list(command), confined=confined, folder=work, variables=variables, log=log)

    run("cmake", "-S", str(project), "-B", str(work / "build"), "-G", "Ninja")
    run("cmake", "--build", str(work / "build"), "--target", "vllm-configure")
    objects = work / "build/objects"

    def ninja(*targets: str) -> Path:
        run("cmake", "--build", str(objects), "--target", *targets)
        return objects

    return ninja
