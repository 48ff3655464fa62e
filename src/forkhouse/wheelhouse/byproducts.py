"""What a build left beside its wheelhouse: its logs, by their digests.

Logs hold times, so a wheelhouse that named them would be another one after each build. They are
kept beside, and go into the statement when it is signed.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from forkhouse.core.digests import is_sealed, sealed, sha256_file
from forkhouse.core.storage import read_file, write_atomic
from forkhouse.wheelhouse.verifying import CHECKSUMS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from forkhouse.core.workspace import Workspace

_PLACE = ("byproducts",)


def _file(workspace: Workspace, profile: str) -> Path:
    return workspace.build / "byproducts" / f"{profile}.json"


def keep_byproducts(workspace: Workspace, profile: str, logs: Mapping[str, str]) -> None:
    """Keep the sha256 of the logs of a build, by name, for the wheelhouse that it wrote.

    Raises StorageError.
    """
    kept = {
        "sums": sha256_file(workspace.wheelhouse(profile) / CHECKSUMS),
        "logs": dict(sorted(logs.items())),
    }
    write_atomic(_file(workspace, profile), sealed(kept, *_PLACE, profile))


def byproducts_of(workspace: Workspace, profile: str) -> dict[str, str]:
    """Return the sha256 of the logs of a wheelhouse's build, by name.

    Nothing where they are not known, or are those of another wheelhouse.
    """
    try:
        kept = json.loads(read_file(_file(workspace, profile)))
        sums = sha256_file(workspace.wheelhouse(profile) / CHECKSUMS)
        if is_sealed(kept, *_PLACE, profile) and kept["sums"] == sums:
            return {str(name): str(sha256) for name, sha256 in kept["logs"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass  # what is there cannot be used
    return {}
