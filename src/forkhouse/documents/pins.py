"""Wheels by name: those that are pinned, and those that could not be had."""

from __future__ import annotations

from dataclasses import dataclass

from packaging.utils import parse_wheel_filename


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class PinnedWheel:
    """A wheel by name, version and content."""

    name: str
    version: str
    file: str
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Missing:
    """A wheel that a profile installs and that could not be had here."""

    name: str
    wanted: str
    """Version or range."""
    reason: str
    remedy: str


def pinned_wheel(file: str, sha256: str) -> PinnedWheel:
    """Return the pin of a wheel file; name and version are read from its file name (PEP 427)."""
    name, version, *_ = parse_wheel_filename(file)
    return PinnedWheel(name=name, version=str(version), file=file, sha256=sha256)
