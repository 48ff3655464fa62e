"""Split and join paths of keys, as selectors write them: `a.b."c.d".0`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from forkhouse.core.errors import PatchConflictError

if TYPE_CHECKING:
    from collections.abc import Iterable


_STEP = re.compile(r"""(?:"([^"]*)"|'([^']*)')(?=\.|\Z)|([^.]+)""")


def key_steps(path: str) -> tuple[str, ...]:
    """Split a dotted path to a key; a step that holds dots itself is quoted.

    Raises PatchConflictError for a path with an empty step.
    """
    steps: list[str] = []
    place = 0
    while (step := _STEP.match(path, place)) is not None:
        steps.append(next(each for each in step.groups() if each is not None))
        place = step.end() + 1
        if path[step.end() : place] != ".":
            break
    if place != len(path) + 1:
        message = (
            f"{path} is no path to a key: its steps are parted by single dots, and a step that "
            "holds dots is quoted."
        )
        raise PatchConflictError(message)
    return tuple(steps)


def path_said(steps: Iterable[str]) -> str:
    """Return a path of steps in the form that an edit uses."""
    return ".".join(
        f'"{step}"' if '"' not in step else f"'{step}'" if "'" not in step else step
        for step in steps
    )
