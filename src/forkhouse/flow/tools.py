"""What a wheelhouse carries of Forkhouse itself, so that its target needs nothing but Python.

`forkhouse.pyz` verifies, installs and tests; `tools/` holds pip, Forkhouse with its tests, and what
they need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkhouse.builders import zipapp
from forkhouse.builders.ownwheel import write_own_wheel, write_tests_wheel
from forkhouse.core.digests import sha256_file
from forkhouse.core.progress import report
from forkhouse.core.storage import storage_errors
from forkhouse.documents.pins import pinned_wheel
from forkhouse.flow.groups import pin_group
from forkhouse.serving.kernelcache import package_of
from forkhouse.sources.wheels import fetch_all
from forkhouse.wheelhouse.index import requirements_text
from forkhouse.wheelhouse.optional import FOLDER, read_kernels

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from forkhouse.documents.pins import PinnedWheel
    from forkhouse.flow.plant import Plant

CLOSURE = "tools"
"""Name of the closure that pins what is carried."""
GROUP = "carried"
"""Dependency group of pyproject.toml that the closure is resolved from."""


def pin_tools(plant: Plant) -> tuple[PinnedWheel, ...]:
    """Pin in `pylock.tools.toml` what Forkhouse needs at a target. Raises as `pin_group`."""
    return pin_group(plant, GROUP, CLOSURE)


def carried_tools(plant: Plant, folder: Path) -> dict[str, Path]:
    """Return the files that a wheelhouse carries for its target, by their path in it.

    What is made for it lies in `folder`. Nothing where there is no `pylock.tools.toml`. Raises
    ClosureError, UnreachableError, HashMismatchError, StorageError.
    """
    if not plant.workspace.closure_path(CLOSURE).is_file():
        return {}
    pins = plant.checkout.closure(CLOSURE)
    wheels = dict(zip(pins, fetch_all(pins, plant.registry), strict=True))
    tests = write_tests_wheel(plant.workspace.root, folder)
    own = [write_own_wheel(folder), *([tests] if tests else [])]
    application = zipapp.application([wheels[pin] for pin in zipapp.wanted(pins)])
    requirements = requirements_text(
        [*pins, *(pinned_wheel(wheel.name, sha256_file(wheel)) for wheel in own)]
    )
    with storage_errors("Writing what the wheelhouse carries"):
        (folder / zipapp.NAME).write_bytes(application)
        (folder / "requirements.txt").write_text(requirements, encoding="utf-8")
    return {
        zipapp.NAME: folder / zipapp.NAME,
        **{f"tools/{wheel.name}": wheel for wheel in own},
        "tools/requirements.txt": folder / "requirements.txt",
        **{f"tools/{pin.file}": path for pin, path in wheels.items()},
    }


def carried_kernels(
    folder: Path, targets: Iterable[str], releases: Collection[str]
) -> dict[str, Path]:
    """Return the wheels of compiled Triton kernels of a profile, by their path in its wheelhouse.

    They were packed in `folder`, for the GPU targets. `releases` are the public versions of the
    vLLM that the profile has built for GPUs: none, and it carries no kernels. What was packed of
    another vLLM is left out, and said. Raises ClosureError for a wheel that is none of kernels.
    """
    if not releases:
        return {}
    carried = {}
    for target in targets:
        for wheel in sorted(folder.glob(f"{package_of(target)}-*.whl")):
            kernels = read_kernels(wheel)
            if kernels.vllm in releases:
                carried[f"{FOLDER}/{wheel.name}"] = wheel
            else:
                report().line(
                    "wheelhouse",
                    (
                        f"NOT CARRIED: {wheel.name} has kernels of vLLM {kernels.vllm}, and built "
                        f"is {', '.join(sorted(releases))}. `forkhouse triton --carry` compiles "
                        "those."
                    ),
                )
    return carried
