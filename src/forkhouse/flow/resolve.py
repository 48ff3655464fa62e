"""Resolve requirements to pinned wheels, by pip's own resolver."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from packaging.requirements import Requirement
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
from forkhouse.wheelhouse.closure_check import is_needed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

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
        wanted = list(requirements)
        while True:
            entries = _chosen(wanted, folder)
            further = _further(requirements, entries)
            if not further:
                break
            wanted += further
    return [
        _pin(plant, entry, constraints)
        for entry in entries
        if canonicalize_name(entry["metadata"]["name"]) not in local
    ]


def _chosen(requirements: Sequence[str], folder: Path) -> list[dict[str, Any]]:
    """Return what pip would install, as its report has it.

    `folder` has the constraints. Raises UnreachableError with pip's own words.
    """
    command = [
        *PIP,
        "install",
        *index_settings().options(),
        "--dry-run",
        "--ignore-installed",
        "--quiet",
        "--only-binary",
        ":all:",
        "--report",
        str(folder / "report.json"),
        "--constraint",
        str(folder / "constraints.txt"),
        *requirements,
    ]
    # Reaching an index needs the user's own proxy and credentials; where pip installs to is none
    # of theirs.
    variables = without_settings(os.environ)
    result = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        message = (
            f"pip finds no set of wheels for {', '.join(requirements)}:\n{end_of(result.stderr)}"
        )
        raise UnreachableError(message)
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return list(report["install"])


def _further(roots: Sequence[str], entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what another release of this Python's series needs besides what pip chose.

    pip judges markers for the release that runs it: on 3.11.7 it leaves out what 3.11.2 needs.
    """
    metadata = {canonicalize_name(each["metadata"]["name"]): each["metadata"] for each in entries}
    further: dict[str, str] = {}
    waiting = [Requirement(root) for root in roots]
    done: set[tuple[str, str]] = set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name not in metadata:
            requirement.marker = None
            further[name] = str(requirement)
            continue
        for extra in {"", *requirement.extras} - {known for each, known in done if each == name}:
            done.add((name, extra))
            needed = map(Requirement, metadata[name].get("requires_dist", ()))
            waiting += [each for each in needed if is_needed(each, extra)]
    return [further[name] for name in sorted(further)]


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
