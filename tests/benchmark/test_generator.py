from __future__ import annotations

import tomllib
from pathlib import Path

from packaging.requirements import Requirement

from forkhouse.benchmark.generator import NAME
from forkhouse.documents.pylock import read_closure

ROOT = Path(__file__).parent.parent.parent


def test_the_pins_are_of_what_the_project_asks_for_and_hold_no_engine() -> None:
    pins = {pin.name: pin for pin in read_closure(ROOT / "pylock.generator.toml")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (wanted,) = map(Requirement, project["dependency-groups"]["generator"])
    assert wanted.name == NAME
    assert pins[NAME].version in wanted.specifier
    # A binding to NVIDIA's management library, in Python alone, is there; nothing that computes is.
    assert [
        name
        for name in pins
        if name in {"torch", "vllm", "triton"} or name.startswith(("cuda", "nvidia-c"))
    ] == []
