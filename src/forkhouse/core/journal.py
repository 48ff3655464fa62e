"""Keep what finished stages gave, so that a later run need not do them again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from forkhouse.core.digests import SEAL, is_sealed, sealed
from forkhouse.core.progress import report
from forkhouse.core.storage import discard, read_file, storage_errors, write_atomic

if TYPE_CHECKING:
    from pathlib import Path


class Record(BaseModel):
    """What a stage leaves in the journal."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


R = TypeVar("R", bound=Record)


@dataclass(frozen=True, slots=True)
class Stage(Generic[R]):
    """A stage with the kind of record that it leaves."""

    name: str
    """The folder of its entries."""
    record: type[R]


class Journal:
    """What each finished stage gave, by the stage's key.

    An entry is written after its outputs are whole.
    """

    def __init__(self, folder: Path) -> None:
        """Keep entries below `folder`."""
        self._folder = folder

    def _path(self, name: str, key: str) -> Path:
        return self._folder / name / f"{key}.json"

    def get(self, stage: Stage[R], key: str) -> R | None:
        """Return what a stage recorded, or None when it has not finished with this key.

        An entry that is not as it was written, by a broken disk or by somebody's hand, is none: the
        stage is done anew, which is said. So is an entry of another version of Forkhouse, which is
        not said.
        """
        path = self._path(stage.name, key)
        try:
            entry: object = json.loads(read_file(path))
        except FileNotFoundError:
            return None
        except PermissionError:
            with storage_errors("Reading the journal"):
                raise
        except (OSError, ValueError, RecursionError):
            entry = None
        if isinstance(entry, dict):
            if SEAL not in entry:
                return None  # of a version that sealed nothing
            if is_sealed(entry, stage.name, key):
                del entry[SEAL]
                try:
                    return stage.record.model_validate_json(json.dumps(entry))
                except ValidationError:
                    return None
        report().line(
            "journal",
            f"the entry {stage.name}/{path.name} is damaged, so what it stands for is done anew",
        )
        with storage_errors("Removing a damaged entry of the journal"):
            discard(path)
        return None

    def when(self, stage: Stage[R], key: str) -> float | None:
        """Return when a stage finished with this key, in seconds since 1970 UTC.

        None when it has not.
        """
        try:
            return self._path(stage.name, key).stat().st_mtime
        except OSError:
            return None

    def put(self, stage: Stage[R], key: str, record: R) -> None:
        """Record that a stage finished, with the digest of what is recorded."""
        path, entry = self._path(stage.name, key), record.model_dump(mode="json")
        write_atomic(path, sealed(entry, stage.name, key))
