"""Change whole tables of TOML for callers that do not name them by the key of an edit."""

from __future__ import annotations

from typing import Any

from forkhouse.core.errors import PatchConflictError
from forkhouse.patches.backends import Matched
from forkhouse.patches.keypaths import key_steps
from forkhouse.patches.languages import data_toml_change
from forkhouse.patches.languages.data import BOM, look, read
from forkhouse.patches.pieces import spliced


def without_table(text: str, path: str) -> Matched:
    """Remove a table, and the tables that existed only because its header named them.

    Raises PatchConflictError.
    """
    import tomllib  # start-up time

    data = read(text, "toml")
    place = look(data, path)
    if place is None:
        return Matched(matches=0, splices=())
    splices = data_toml_change.cut(data, place)
    changed = spliced(text, splices)
    if _without(tomllib.loads(text.removeprefix(BOM)), key_steps(path)) != tomllib.loads(
        changed.removeprefix(BOM)
    ):
        message = (
            f"{path} cannot be taken out without touching what is beside it. Use an `anchor`, in "
            "the language text."
        )
        raise PatchConflictError(message)
    return Matched(matches=1, splices=tuple(splices))


def _without(table: dict[str, Any], steps: tuple[str, ...]) -> dict[str, Any]:
    """Return a table as a reader sees it without a key and the tables that this leaves empty."""
    inner = {**table}
    if len(steps) == 1:
        del inner[steps[0]]
        return inner
    inner[steps[0]] = _without(table[steps[0]], steps[1:])
    if not inner[steps[0]]:
        del inner[steps[0]]
    return inner
