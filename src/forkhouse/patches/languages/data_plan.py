"""Hold what one operation will do to a file of keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from forkhouse.patches.backends import Splice


@dataclass(frozen=True, kw_only=True, slots=True)
class DataChange:
    """One change of what a reader sees."""

    what: Literal["set", "remove", "append", "insert"]
    document: int
    steps: tuple[int, ...]
    """The steps to the entry; for an appended entry, to the value that it is appended to."""
    key: object = None
    """What a reader sees of a new key; None for an item."""
    value: object = None
    """What a reader sees of the value; for an insertion, of all its entries."""
    splices: tuple[Splice, ...] = ()
