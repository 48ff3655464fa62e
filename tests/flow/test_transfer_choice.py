from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from forkhouse.core.errors import DocumentError, UsageError
from forkhouse.documents.lockfile import Lock
from forkhouse.documents.reading import dump, parse

if TYPE_CHECKING:
    from forkhouse.flow.plant import Plant


@pytest.mark.parametrize(
    ("chosen", "recipe", "other"),
    [
        (None, "rixl", "nixl-rocm"),
        ("rixl", "rixl", "nixl-rocm"),
        ("nixl-rocm", "nixl-rocm", "rixl"),
    ],
)
def test_one_setting_chooses_the_transfer_library(
    plant: Plant, chosen: str | None, recipe: str, other: str
) -> None:
    # As the command line gives it.
    checkout = replace(plant.checkout, transfer=chosen)  # type: ignore[arg-type]
    names = list(checkout.recipes("rocm"))
    assert recipe in names
    assert other not in names
    assert names.index("ucx") < names.index(recipe)
    profile = checkout.profile("rocm")
    assert profile.where_reachable == (recipe,)
    version = plant.lock.upstreams[recipe].version
    assert [each for each in profile.install if each.startswith(("rixl", "nixl-rocm"))] == [
        f"{recipe}=={version}+rocm.1"
    ]


def test_a_profile_without_one_to_choose_says_so(plant: Plant) -> None:
    assert "nixl-cu12" in plant.checkout.profile("cpu").install
    with pytest.raises(UsageError, match="The profile cpu has no transfer library to choose"):
        replace(plant.checkout, transfer="rixl").profile("cpu")


def test_two_transfer_libraries_in_one_profile_are_refused(plant: Plant) -> None:
    text = dump(plant.lock).replace("transfer: rixl", "transfer: nixl-rocm")
    assert parse(Lock, text, name="x").profiles["rocm"].transfer == "nixl-rocm"
    with pytest.raises(DocumentError, match="recipes name rixl besides"):
        parse(
            Lock, text.replace("      - vllm-rocm\n", "      - vllm-rocm\n      - rixl\n"), name="x"
        )
