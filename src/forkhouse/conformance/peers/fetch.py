"""Fetch a suite's pinned files as the user's own apt, pip and npm reach them.

Nothing of a suite is kept in this repository.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from forkhouse.conformance.peers import PeersError
from forkhouse.core.errors import UnreachableError
from forkhouse.core.progress import report
from forkhouse.core.wording import end_of
from forkhouse.documents.lockfile import DebianSource, SdistSource
from forkhouse.sources.apt import fetch_debian_source

if TYPE_CHECKING:
    from forkhouse.conformance.peers.suite import NpmSource
    from forkhouse.sources.index import Registry


def fetch(
    source: DebianSource | SdistSource | NpmSource, registry: Registry, *, offline: bool
) -> Path:
    """Return the tarball of a suite.

    Raises UnreachableError or HashMismatchError when it cannot be had as pinned, and PeersError for
    a Debian source without one.
    """
    match source:
        case SdistSource():
            return registry.fetch(source.package, source.file, source.sha256)
        case DebianSource():
            paths = [
                path
                for path in fetch_debian_source(source, registry, offline=offline)
                if ".orig.tar" in path.name
            ]
            if len(paths) != 1:
                message = (
                    f"The Debian source {source.package} is pinned with {len(paths)} upstream "
                    "tarballs (.orig.tar), and has to have one."
                )
                raise PeersError(message)
            return paths[0]
        case _:
            return registry.cached(source.file, source.sha256) or _pack(
                source, registry, offline=offline
            )


def _pack(source: NpmSource, registry: Registry, *, offline: bool) -> Path:
    wanted = f"{source.package}@{source.version}"
    if offline:
        message = (
            f"{source.file} is not in the cache and --offline forbids fetching it. Run once "
            "without --offline."
        )
        raise UnreachableError(message)
    npm = shutil.which("npm")
    if npm is None:
        message = (
            f"{wanted} is a package of npm, which is not on this machine. Install npm, or take the "
            "file to the cache by hand."
        )
        raise UnreachableError(message)
    report().line(source.package, f"fetching {wanted} with npm")
    with tempfile.TemporaryDirectory(prefix="forkhouse-npm-") as folder:
        command = [
            npm,
            "pack",
            "--silent",
            "--ignore-scripts",
            f"--pack-destination={folder}",
            wanted,
        ]
        ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        fetched = Path(folder, source.file)
        if ended.returncode != 0 or not fetched.is_file():
            message = f"`npm pack {wanted}` gave no {source.file}:\n{end_of(ended.stderr)}"
            raise UnreachableError(message)
        return registry.adopt(fetched, source.file, source.sha256)
