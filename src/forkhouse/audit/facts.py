"""What a wheel says of itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class WheelFacts:
    """What an audited wheel says of itself."""

    name: str
    """Canonical name."""
    version: str
    requires: tuple[str, ...]
    """Requires-Dist, as written."""
    provides_extra: tuple[str, ...]
    requires_python: str = ""
    """Requires-Python, as written; empty where any will do."""
