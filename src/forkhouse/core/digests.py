"""Digests of values, files and folders, and the seals of records."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING

from forkhouse.core.storage import open_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def sha256_file(path: Path) -> str:
    """Return the sha256 of a file's content in hex.

    Raises OSError for what is not a regular file: reading a FIFO would never end.
    """
    with open_file(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def state_of(path: Path) -> str:
    """Return what identifies a file: the target of a link, or the content and the execute bit.

    An empty text for anything else.
    """
    if path.is_symlink():
        return f"link to {path.readlink()}"
    if not path.is_file():
        return ""
    return f"{sha256_file(path)} {'x' if os.access(path, os.X_OK) else '-'}"


def digest(*parts: object) -> str:
    """Return one sha256 (hex) over values that JSON can hold.

    The cache key of a stage from its inputs.
    """
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def digest_folder(folder: Path) -> str:
    """Return one sha256 (hex) over the names and contents of all files below `folder`.

    Byte-code is left out.
    """
    files = sorted(
        path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    )
    return digest([[path.relative_to(folder).as_posix(), sha256_file(path)] for path in files])


SEAL = "seal"
"""Key under which a record holds the digest of its other keys."""


def sealed(record: Mapping[str, object], *place: str) -> bytes:
    """Return a record as it is written, with the digest of all that it claims.

    `place` is what it is a record of: the same record in another place is not sealed.
    """
    whole = {**record, SEAL: digest(*place, record)}
    return json.dumps(whole, indent=1, sort_keys=True).encode() + b"\n"


def is_sealed(record: Mapping[str, object], *place: str) -> bool:
    """Return whether a record that was read is as it was written, and in its place."""
    claims = {key: value for key, value in record.items() if key != SEAL}
    return bool(record.get(SEAL) == digest(*place, claims))
