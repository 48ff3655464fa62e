"""The user's own configuration.

What is true of their network, and so has no place in a shared lock.
"""

from __future__ import annotations

from pydantic import Field

from forkhouse.core.errors import DocumentError
from forkhouse.core.workspace import config_path
from forkhouse.documents.lockfile import Name, Url
from forkhouse.documents.reading import Document, load


class Config(Document):
    """The whole of `config.yaml`."""

    indexes: dict[Name, Url] = Field(default_factory=dict)
    """Addresses (PEP 503 or 691) of the indexes that the lock names by an alias."""


def read_config() -> Config:
    """Return the user's configuration, an empty one where there is none.

    Raises DocumentError, also for what is there and is no file.
    """
    path = config_path()
    if path.exists() and not path.is_file():
        message = (
            f"{path} is no file, so it cannot be the configuration. Name the file itself in "
            "FORKHOUSE_CONFIG, or unset it."
        )
        raise DocumentError(message)
    return load(Config, path) if path.is_file() else Config()
