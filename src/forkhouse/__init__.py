"""Forkhouse pins, patches, builds and ships a forked inference stack."""

from __future__ import annotations

__version__ = "0.1.0"
