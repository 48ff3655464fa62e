"""Entry points: groups under their names in brackets in a wheel's `entry_points.txt`, tables in `pyproject.toml`."""

from __future__ import annotations

import re

from forkhouse.patches.edits import KeyOperation
from forkhouse.patches.languages import Matched, toml, whole
from forkhouse.patches.languages.requirements import is_pyproject


def remove_group(text: str, group: str) -> Matched:
    """Take a group out with its lines."""
    if is_pyproject(text):
        return toml.change_key(text, KeyOperation(remove=f'project.entry-points."{group}"'))
    kept: list[str] = []
    matches = 0
    inside = False
    for line in re.findall(r"[^\n]*\n|[^\n]+", text):
        if line.startswith("["):
            inside = line.rstrip() == f"[{group}]"
            matches += inside
        if not inside:
            kept.append(line)
    return whole(text, "".join(kept), matches)
