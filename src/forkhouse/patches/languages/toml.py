"""TOML, through tomlkit, which keeps comments, order and spelling."""

from __future__ import annotations

from forkhouse.errors import PatchConflictError
from forkhouse.patches.languages.text import find

__all__ = ["change_key", "find", "parses"]


def parses(text: str, language: str) -> bool:  # noqa: ARG001  # the protocol's signature
    """Say whether tomlkit reads the text."""
    import tomlkit  # noqa: PLC0415  # start-up time
    from tomlkit.exceptions import TOMLKitError  # noqa: PLC0415

    try:
        tomlkit.parse(text)
    except (TOMLKitError, ValueError):
        return False
    return True


def change_key(text: str, *, set_: str | None, remove: str | None, value: object) -> tuple[str, int]:
    """Set or remove a key by its dotted path; return the text and how often the key was there."""
    import tomlkit  # noqa: PLC0415  # start-up time
    from tomlkit.exceptions import TOMLKitError  # noqa: PLC0415

    try:
        document = tomlkit.parse(text)
    except (TOMLKitError, ValueError) as error:
        message = f"not TOML: {error}"
        raise PatchConflictError(message) from error
    *parents, last = (set_ or remove or "").split(".")
    table: object = document
    for parent in parents:
        if not isinstance(table, dict) or parent not in table:
            return text, 0
        table = table[parent]
    if not isinstance(table, dict) or last not in table:
        return text, 0
    if remove is not None:
        del table[last]
    else:
        table[last] = list(value) if isinstance(value, tuple) else value
    return tomlkit.dumps(document), 1
