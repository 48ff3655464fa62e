"""RECORD: what a wheel says that it holds, against what it does hold.

Read here and not by `installer`, which takes a backslash for a slash, md5 for a hash, and a path
that is given twice, and stops at the first line that is wrong. The tests hold the one against the
other.
"""

from __future__ import annotations

import base64
import csv
import hashlib
from typing import TYPE_CHECKING

from forkhouse.audit.findings import Finding, Rule
from forkhouse.core.errors import AuditError

if TYPE_CHECKING:
    from collections.abc import Iterator

_ALGORITHMS = ("sha256", "sha384", "sha512")
"""PEP 427: sha256 or better. Others of that strength are known to no installer."""
_SIGNATURES = ("RECORD", "RECORD.jws", "RECORD.p7s")
"""Files of .dist-info that cannot have a hash in RECORD (PEP 427)."""


class WheelRecord:
    """The RECORD of a wheel; each file is held against its line as it is read."""

    def __init__(self, text: str, info: str) -> None:
        """Read RECORD; `info` is the name of the .dist-info folder.

        Raises AuditError where a line is none or is there twice.
        """
        self._exempt = {f"{info}/{name}" for name in _SIGNATURES}
        self._rows: dict[str, list[str]] = {}
        try:
            rows = [row for row in csv.reader(text.splitlines()) if row]
        except csv.Error as error:
            message = f"has a RECORD that cannot be read: {error}"
            raise AuditError(message) from error
        for path, *row in rows:
            if path in self._rows:
                message = f"has a RECORD that names {path} twice"
                raise AuditError(message)
            self._rows[path] = [*row, "", ""][:2]

    def check(self, name: str, content: bytes) -> Iterator[Finding]:
        """Compare one file with its line.

        Hash, and size in bytes, which a strict installer asks for as well.
        """
        row = self._rows.pop(name, None)
        if name in self._exempt:
            return
        if row is None:
            yield _finding(name, "is in the wheel and not in RECORD")
            return
        written, size = row
        algorithm, _, value = written.partition("=")
        if algorithm not in _ALGORITHMS:
            what = f"a hash by {algorithm}" if algorithm else "no hash"
            yield _finding(name, f"has {what} in RECORD; known are {', '.join(_ALGORITHMS)}")
        elif value != base64.urlsafe_b64encode(
            hashlib.new(algorithm, content).digest()
        ).decode().rstrip("="):
            yield _finding(name, "is not as RECORD says: its content is another")
        elif size != str(len(content)):
            yield _finding(
                name,
                (
                    f"is not as RECORD says: it has {len(content)} bytes, not "
                    f"{size or 'an unknown number'}"
                ),
            )

    def close(self) -> Iterator[Finding]:
        """Say what is left when every file was compared."""
        for name in self._rows:
            if name not in self._exempt:
                yield _finding(name, "is in RECORD and not in the wheel")


def _finding(name: str, what: str) -> Finding:
    return Finding(rule=Rule.RECORD, where=name, what=what)
