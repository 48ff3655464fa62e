"""A worker takes compiled kernels from its environment where that carries them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from forkhouse.documents.reading import parse
from forkhouse.serving.arranging import ProcessPlace, processes
from forkhouse.serving.deployment import Deployment
from forkhouse.serving.kernelcache import VARIABLE, kernel_variables
from forkhouse.serving.launching import CPU, MI210


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """An environment that carries kernels for gfx90a."""
    package = tmp_path / "stack/lib/python3.11/site-packages/vllm_triton_cache_gfx90a"
    package.mkdir(parents=True)
    (package / "manifest.json").write_text("{}", encoding="utf-8")
    return tmp_path / "stack/bin/python"


def test_only_a_gpu_takes_them(python: Path) -> None:
    assert kernel_variables(python, MI210) == {VARIABLE: "vllm_triton_cache_gfx90a:CarriedCache"}
    assert kernel_variables(python, CPU) == {}
    assert kernel_variables(Path("/nowhere/bin/python"), MI210) == {}


def test_a_deployment_tells_its_workers(python: Path, tmp_path: Path) -> None:
    asked = {
        "name": "small",
        "device": "mi210",
        "model": {"path": str(tmp_path), "name": "tiny"},
        "roles": {"worker": {"devices": [0]}},
    }
    place = ProcessPlace.below(tmp_path / "state", python=python, model=tmp_path)

    def told(**more: object) -> list[str | None]:
        text = yaml.safe_dump({**asked, **more})
        deployment = parse(Deployment, text, name="stack.yaml")
        return [each.environment.get(VARIABLE) for each in processes(deployment, place)]

    assert told() == [None, "vllm_triton_cache_gfx90a:CarriedCache"]
    # What the file says has the last word.
    assert told(environment={VARIABLE: "mine:Cache"}) == ["mine:Cache", "mine:Cache"]
