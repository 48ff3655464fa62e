"""RECORD: what a wheel says that it holds, against what it does hold."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
from collections import Counter
from typing import TYPE_CHECKING

from forkhouse.audit.report import Finding, Rule

if TYPE_CHECKING:
    import zipfile
    from collections.abc import Iterator


class Record:
    """The RECORD of a wheel; each file is held against its line as it is read."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        """Read RECORD. Raises what the readers of zip and CSV raise."""
        names = archive.namelist()
        self._doubles = [name for name, count in Counter(names).items() if count > 1]
        self._path = next((name for name in names if name.endswith(".dist-info/RECORD") and name.count("/") == 1), None)
        text = archive.read(self._path).decode("utf-8") if self._path else ""
        self._rows = {row[0]: row[1:] for row in csv.reader(io.StringIO(text)) if row}

    def check(self, name: str, content: bytes) -> Iterator[Finding]:
        """Compare one file with its line: sha256 and, where given, size in bytes."""
        if self._path is None or name == self._path:
            return
        row = self._rows.pop(name, [])
        digest = "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
        if row[:1] != [digest] or row[1:] not in ([], [""], [str(len(content))]):
            yield Finding(rule=Rule.RECORD, where=name, what="is not as RECORD says")

    def close(self) -> Iterator[Finding]:
        """Say what is left when every file was compared."""
        if self._path is None:
            yield Finding(rule=Rule.RECORD, what="has no RECORD")
        for name in self._doubles:
            yield Finding(rule=Rule.RECORD, where=name, what="is in the wheel twice; which one is installed is chance")
        for name in self._rows:
            if name != self._path:
                yield Finding(rule=Rule.RECORD, where=name, what="is in RECORD and not in the wheel")
