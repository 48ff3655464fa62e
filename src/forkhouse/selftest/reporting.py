"""Write what a self-test found as one file to send back: a zip archive.

It has report.json (`summary`), junit.xml, pytest.log, and where tests failed the logs of their
servers. It has no variables of the environment, no keys, and nothing of a model.
"""

from __future__ import annotations

import io
import json
import time
import zipfile
from dataclasses import asdict
from typing import TYPE_CHECKING

from forkhouse import __version__
from forkhouse.core.revision import revision
from forkhouse.core.storage import write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from forkhouse.selftest.installed import Differing
    from forkhouse.selftest.running import SelftestOutcome, SelftestTerms

FORMAT = 1
_LONGEST = 2**20
"""Bytes of the end of a log that are kept."""
_MOST = 200
"""Logs that are kept."""


def summary(
    terms: SelftestTerms,
    outcome: SelftestOutcome,
    *,
    wheelhouse: Mapping[str, object],
    machine: Mapping[str, object],
    differing: Sequence[Differing],
) -> dict[str, object]:
    """Return what a self-test found, as JSON's own types. Times are in seconds."""
    return {
        "format": FORMAT,
        "forkhouse": __version__,
        "commit": revision(),
        "ended": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "device": terms.device,
        # Such a result says nothing of a GPU.
        "emulated": bool(terms.launcher),
        "launcher": list(terms.launcher),
        "model": "tiny" if terms.model is None else terms.model.name,
        "only": terms.only,
        "passed": outcome.passed,
        "tests": {each: outcome.count(each) for each in ("passed", "failed", "skipped")},
        "seconds": outcome.seconds,
        "wheelhouse": dict(wheelhouse),
        "installed-otherwise": [asdict(each) for each in differing],
        "machine": dict(machine),
        "results": [asdict(each) for each in outcome.results],
    }


def write_report(path: Path, told: Mapping[str, object], scratch: Path, *, logs: bool) -> None:
    """Write the file, whole or not at all; `logs` adds the servers'. Raises StorageError."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("report.json", json.dumps(told, indent=1) + "\n")
        for name in ("junit.xml", "pytest.log"):
            if (scratch / name).is_file():
                archive.writestr(name, (scratch / name).read_bytes())
        for name, text in _logs(scratch / "files") if logs else ():
            archive.writestr(f"logs/{name}", text)
    write_atomic(path, content.getvalue())


def _logs(folder: Path) -> Iterator[tuple[str, bytes]]:
    found = sorted(
        path for path in folder.rglob("*.log") if path.is_file() and not path.is_symlink()
    )
    for path in found[:_MOST]:
        with path.open("rb") as stream:
            stream.seek(max(path.stat().st_size - _LONGEST, 0))
            yield path.relative_to(folder).as_posix(), stream.read()
