"""What one operation will do to a file of keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from forkhouse.patches.languages.base import Splice


@dataclass(frozen=True, kw_only=True, slots=True)
class DataChange:
    """One change of what a reader sees."""

    what: Literal["set", "remove", "append", "insert"]
    document: int
    steps: tuple[int, ...]
    """Of the entry; for what is appended, of the value that it is appended to."""
    key: object = None
    """What is seen of a new key; None for an item."""
    value: object = None
    """For what is inserted, all of its entries."""
    splices: tuple[Splice, ...] = ()
