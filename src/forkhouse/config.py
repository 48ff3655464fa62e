"""The user's own configuration: what is true of their network, and so has no place in a shared lock."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_config_path
from pydantic import Field

from forkhouse.documents import Document, load
from forkhouse.lock import Name, Url


class Config(Document):
    """The whole of `config.yaml`."""

    indexes: dict[Name, Url] = Field(default_factory=dict)
    """Addresses (PEP 503 or 691) of the indexes that the lock names by an alias."""


def config_path() -> Path:
    """Return where the configuration is: FORKHOUSE_CONFIG, or `forkhouse/config.yaml` in the user's folder of settings."""
    chosen = os.environ.get("FORKHOUSE_CONFIG")
    return Path(chosen) if chosen else user_config_path("forkhouse") / "config.yaml"


def read_config() -> Config:
    """Return the user's configuration, an empty one where there is none. Raises DocumentError."""
    path = config_path()
    return load(Config, path) if path.is_file() else Config()
