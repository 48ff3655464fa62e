"""Take the metadata of the wheel from the patched upstream.

Its requirements for ROCm, its commands and its plug-ins.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from packaging.requirements import Requirement

UPSTREAM = Path("upstream")
DEVICE = "rocm.txt"
# The upstream's images have them already, so its list does not name them; without them there is no
# ROCm platform.
RUNTIME = ("torch", "triton", "amdsmi")


def dynamic_metadata(
    settings: object, project: object
) -> dict[str, object]:  # scikit-build-core passes them
    """Return fields of pyproject.toml's project table, for scikit-build-core."""
    upstream = tomllib.loads((UPSTREAM / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {
        "dependencies": [*RUNTIME, *_requirements(UPSTREAM / "requirements" / DEVICE)],
        "scripts": upstream["scripts"],
        "entry-points": upstream["entry-points"],
    }


def _requirements(path: Path) -> list[str]:
    """Return the requirements of a file and of those that it includes (`-r`), in order."""
    found: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.partition("#")[0].strip()
        if text.startswith("-r "):
            found += _requirements(path.parent / text.removeprefix("-r ").strip())
        elif text and not text.startswith("-"):
            found.append(str(Requirement(text)))
    return found
