from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from forkhouse.core.errors import DocumentError
from forkhouse.core.workspace import Workspace
from forkhouse.documents.pylock import pylock_text
from forkhouse.flow.plan import plan
from forkhouse.flow.plant import Plant, open_plant
from forkhouse.sources.acquire import Access

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LOCK = """
format: 1
python: '>=3.11'
rocm: '>=5'
gpu-targets: [gfx90a]
upstreams:
  demo:
    version: '1'
    licence: MIT
    why: x
    sources: [{{kind: git, url: 'https://host.invalid/demo', commit: {commit}}}]
profiles:
  cpu: {{recipes: [{recipes}], install: [demo]}}
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Callable[..., Plant]:
    """Open a checkout whose profile has these recipes, each with what it needs, in this order."""

    def make(**needs: str) -> Plant:
        for name, needed in needs.items():
            folder = tmp_path / "recipes" / name
            folder.mkdir(parents=True)
            text = (
                f"upstream: demo\ndistribution: {name}\nlocal: a.1\nneeds: [{needed}]\nbuilders: "
                "{git: {kind: pep517}}\n"
            )
            (folder / "recipe.yaml").write_text(text, encoding="utf-8")
        (tmp_path / "upstream.lock").write_text(
            LOCK.format(recipes=", ".join(needs), commit="a" * 40), encoding="utf-8"
        )
        for closure in ("build", "cpu"):
            text = pylock_text([], folder="wheels", requires_python=">=3.11")
            (tmp_path / f"pylock.{closure}.toml").write_text(text, encoding="utf-8")
        access = Access(policy="auto", mirror=None, offline=True, cache=tmp_path / "cache")
        return open_plant(Workspace(root=tmp_path, cache=tmp_path / "cache"), access)

    return make


def test_what_is_needed_is_built_first(checkout: Callable[..., Plant]) -> None:
    plant = checkout(engine="transfer", transfer="transport", front="", transport="")
    order = list(plant.checkout.recipes("cpu"))
    assert sorted(order) == ["engine", "front", "transfer", "transport"]
    assert order.index("transport") < order.index("transfer") < order.index("engine")
    assert [intent.recipe for intent in plan(plant, "cpu")] == order


def test_a_need_that_the_profile_does_not_build_is_refused(checkout: Callable[..., Plant]) -> None:
    plant = checkout(engine="transfer", transfer="transport, other")
    with pytest.raises(
        DocumentError,
        match=r"recipes/transfer needs 'transport', which the profile cpu does not build\n"
        r".*'other'.*\nThe profile",
    ):
        plant.checkout.recipes("cpu")


def test_recipes_that_need_each_other_are_refused(checkout: Callable[..., Plant]) -> None:
    plant = checkout(engine="transfer", transfer="transport", transport="engine")
    with pytest.raises(
        DocumentError,
        match=r"Recipes of the profile cpu need each other in a circle: \w+ -> \w+ -> \w+ -> \w+\.",
    ):
        plant.checkout.recipes("cpu")
