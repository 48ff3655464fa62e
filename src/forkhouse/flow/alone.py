"""Build in a checkout of its own, as a process that somebody else starts.

`python -m forkhouse.flow.alone` reads what to do on standard input, as JSON, and writes what was
built on standard output. `reproducing` starts it twice.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forkhouse.builders.zipapp import NAME as PROGRAM
from forkhouse.carry.packing import Files, index_of, write_bundle
from forkhouse.core.digests import sha256_file
from forkhouse.core.errors import ForkhouseError
from forkhouse.core.progress import report, showing
from forkhouse.core.signals import Stopped, listen
from forkhouse.core.storage import fresh_folder
from forkhouse.core.workspace import Workspace
from forkhouse.flow.building import build_profile, build_recipes
from forkhouse.flow.bundling import WHEELHOUSE, contents
from forkhouse.flow.plant import open_plant
from forkhouse.image.assembling import make_image
from forkhouse.sources.acquire import Access

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from forkhouse.flow.plant import Plant


def build_alone(asked: Mapping[str, Any]) -> list[dict[str, object]]:
    """Build recipes, and return name, file, sha256 and seconds of each, and what was left out.

    What is to be packed, `bundle` or `image`, is built as well and returned with its kind under
    `packed`, as a recipe may have any name. Raises as `build_recipes`, `build_profile`,
    `write_bundle` and `make_image`.
    """
    root = Path(asked["root"])
    # Downloads are the only thing that is taken from elsewhere, each checked against its pin.
    workspace = Workspace(root=root, cache=root / "build/cache", shared=Path(asked["downloads"]))
    access = Access(
        policy=asked["sources"],
        mirror=Path(asked["mirror"]) if asked["mirror"] else None,
        offline=asked["offline"],
        cache=workspace.cache,
        shared=workspace.shared,
    )
    plant = open_plant(workspace, access)
    whole = plant.checkout.recipes(asked["profile"])
    recipes = {name: whole[name] for name in whole if name in asked["recipes"]}
    with report().task("build", total=len(recipes)) as task:
        built, left_out = build_recipes(plant, asked["profile"], recipes, task)
    answer: list[dict[str, object]] = [
        {
            "name": wheel.recipe,
            "path": str(wheel.path),
            "sha256": wheel.sha256,
            "seconds": wheel.seconds,
        }
        for wheel in built
    ]
    if asked["packed"]:
        answer += _packed(plant, asked["profile"], asked["packed"])
    plant.registry.close()
    answer += [{"missing": each.name, "reason": each.reason} for each in left_out]
    return answer


def _packed(plant: Plant, profile: str, kinds: list[str]) -> Iterator[dict[str, object]]:
    """Write the wheelhouse, and what it is to be packed into."""
    build_profile(plant, profile, system_packages=False)
    house = plant.workspace.wheelhouse(profile)
    for kind in kinds:
        begun = time.monotonic()
        with fresh_folder(plant.workspace.build / kind) as scratch:
            if kind == "bundle":
                target = house.with_name(f"{profile}.tar")
                found = contents(plant, profile, scratch, sources=False)
                index = index_of(profile, found.files, f"{WHEELHOUSE}/{PROGRAM}", found.digests)
                write_bundle(index, Files(found.files), target)
            else:
                target = house.with_name(f"{profile}.oci.tar")
                make_image(house, target, scratch, None)
        yield {
            "packed": kind,
            "path": str(target),
            "sha256": sha256_file(target),
            "seconds": time.monotonic() - begun,
        }


def main() -> None:
    """Do what standard input asks for; an explained failure has its own exit code."""
    listen()
    asked = json.load(sys.stdin)
    os.sched_setaffinity(0, asked["cores"])
    try:
        with showing():
            answer = build_alone(asked)
    except Stopped as stopped:
        os._exit(stopped.exit_code)
    except ForkhouseError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
