"""Resolve requirements to pinned wheels, by pip's own resolver."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from packaging.utils import canonicalize_name

from forkhouse.core.environments import PIP, without_settings
from forkhouse.core.errors import (
    HashMismatchError,
    UnreachableError,
)
from forkhouse.core.progress import report
from forkhouse.core.wording import end_of
from forkhouse.documents.pins import PinnedWheel, pinned_wheel
from forkhouse.sources.settings import index_settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from forkhouse.flow.plant import Plant


def resolve(
    plant: Plant,
    requirements: Sequence[str],
    *,
    local: dict[str, Path],
    constraints: Sequence[PinnedWheel],
) -> list[PinnedWheel]:
    """Let pip choose wheels for `requirements`, and return those that are not in `local`.

    `local` has the path of each wheel that is built here, by name.

    Raises UnreachableError with pip's own words when it finds no solution.
    """
    report().line("lock", f"resolving {', '.join(requirements)}")
    with tempfile.TemporaryDirectory(prefix="forkhouse-resolve-") as scratch:
        folder = Path(scratch)
        rules = [f"{name} @ {path.as_uri()}" for name, path in local.items()]
        rules += [f"{pin.name}=={pin.version}" for pin in constraints]
        (folder / "constraints.txt").write_text("\n".join(rules) + "\n", encoding="utf-8")
        command = [
            *PIP,
            "install",
            *index_settings().options(),
            "--dry-run",
            "--ignore-installed",
            "--quiet",
            "--only-binary",
            ":all:",
        ]
        command += [
            "--report",
            str(folder / "report.json"),
            "--constraint",
            str(folder / "constraints.txt"),
            *requirements,
        ]
        # Reaching an index needs the user's own proxy and credentials; where pip installs to is
        # none of theirs.
        variables = without_settings(os.environ)
        result = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            message = (
                "pip finds no set of wheels for "
                f"{', '.join(requirements)}:\n{end_of(result.stderr)}"
            )
            raise UnreachableError(message)
        entries = json.loads((folder / "report.json").read_text(encoding="utf-8"))["install"]
    return [
        _pin(plant, entry, constraints)
        for entry in entries
        if canonicalize_name(entry["metadata"]["name"]) not in local
    ]


def _pin(
    plant: Plant, entry: dict[str, dict[str, object]], constraints: Iterable[PinnedWheel]
) -> PinnedWheel:
    download = entry["download_info"]
    file = unquote(urlsplit(str(download["url"])).path).rsplit("/", 1)[-1]
    archive = download.get("archive_info")
    hashes = archive.get("hashes", {}) if isinstance(archive, dict) else {}
    sha256 = hashes.get("sha256")
    name = canonicalize_name(str(entry["metadata"]["name"]))
    external = next((pin for pin in constraints if canonicalize_name(pin.name) == name), None)
    if sha256 is None:
        _, sha256 = plant.registry.download(plant.registry.find(name, file))
    if external is not None and (external.file, external.sha256) != (file, sha256):
        message = (
            f"The lock pins the external {name} as {external.file} with sha256 {external.sha256}, "
            f"the index gives {file} with "
            f"{sha256}. Find out why, then correct the profile's externals."
        )
        raise HashMismatchError(message)
    return pinned_wheel(file, str(sha256))
