"""The user's own configuration: what is true of their network, and so has no place in a shared lock."""

from __future__ import annotations

from pydantic import Field

from forkhouse.documents import Document, load
from forkhouse.lock import Name, Url
from forkhouse.workspace import config_path


class Config(Document):
    """The whole of `config.yaml`."""

    indexes: dict[Name, Url] = Field(default_factory=dict)
    """Addresses (PEP 503 or 691) of the indexes that the lock names by an alias."""


def read_config() -> Config:
    """Return the user's configuration, an empty one where there is none. Raises DocumentError."""
    path = config_path()
    return load(Config, path) if path.is_file() else Config()
