"""Build recipes in a checkout of their own, as a process that somebody else starts.

`python -m forkhouse.flow.alone` reads what to do on standard input, as JSON, and writes what was
built on standard output. `reproducing` starts it twice.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forkhouse.core.errors import ForkhouseError
from forkhouse.core.progress import report, showing
from forkhouse.core.signals import Stopped, listen
from forkhouse.core.workspace import Workspace
from forkhouse.flow.building import build_recipes
from forkhouse.flow.plant import open_plant
from forkhouse.sources.acquire import Access

if TYPE_CHECKING:
    from collections.abc import Mapping


def build_alone(asked: Mapping[str, Any]) -> list[dict[str, object]]:
    """Build recipes, and return name, wheel, sha256 and seconds of each, and what was left out.

    Raises as `build_recipes`.
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
    plant.registry.close()
    answer: list[dict[str, object]] = [
        {
            "recipe": wheel.recipe,
            "path": str(wheel.path),
            "sha256": wheel.sha256,
            "seconds": wheel.seconds,
        }
        for wheel in built
    ]
    answer += [{"missing": each.name, "reason": each.reason} for each in left_out]
    return answer


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
