"""`entry_points.txt` of a wheel: groups under their names in brackets."""

from __future__ import annotations

import re


def remove_group(text: str, group: str) -> tuple[str, int]:
    """Take a group out with its lines; return the text and how often it was there."""
    kept: list[str] = []
    matches = 0
    inside = False
    for line in re.findall(r"[^\n]*\n|[^\n]+", text):
        if line.startswith("["):
            inside = line.rstrip() == f"[{group}]"
            matches += inside
        if not inside:
            kept.append(line)
    return "".join(kept), matches
