"""Fetch Debian source packages through apt, in a private view that lists the source side of the user's own suites."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from forkhouse.errors import UnreachableError
from forkhouse.progress import report
from forkhouse.workspace import storage_errors

if TYPE_CHECKING:
    from forkhouse.lock import DebianSource
    from forkhouse.sources.registry import Registry

_TARGETS = "deb-src $(REPO_URI) $(RELEASE) $(COMPONENT)"


def _source_lines() -> str:
    """Return `deb-src` lines for every suite whose binary packages this machine's apt already trusts."""
    result = subprocess.run(
        ["apt-get", "indextargets", "--format", _TARGETS, "Created-By: Packages"], capture_output=True, text=True, check=False
    )
    return "".join(f"{line}\n" for line in sorted(set(result.stdout.splitlines())))


def fetch_debian_source(source: DebianSource, registry: Registry, *, offline: bool) -> list[Path]:
    """Return the files of a Debian source package, each checked against the lock.

    Raises UnreachableError (no apt here, version not served, offline) and HashMismatchError.
    """
    cached = [registry.cached(pin.file, pin.sha256) for pin in source.files]
    if all(cached):
        return [path for path in cached if path is not None]
    if offline:
        message = f"Debian source {source.package} {source.debian_version} is not in the cache and --offline forbids fetching it."
        raise UnreachableError(message)
    if shutil.which("apt-get") is None:
        message = f"Debian source {source.package} needs apt-get, which is not on this machine. Use --sources git, or a Debian machine."
        raise UnreachableError(message)
    lines = _source_lines()
    if not lines:
        message = f"Debian source {source.package}: apt has no package lists on this machine, as in many images. Run `apt-get update` once."
        raise UnreachableError(message)
    report().line(source.package, f"fetching Debian source {source.debian_version} with apt")
    with tempfile.TemporaryDirectory(prefix="forkhouse-apt-") as name:
        view = Path(name)
        with storage_errors("Preparing apt's view"):
            for part in ("lists/partial", "cache/archives/partial", "files"):
                (view / part).mkdir(parents=True)
            (view / "sources.list").write_text(lines, encoding="utf-8")
        options = [
            f"-oDir::Etc::sourcelist={view}/sources.list",
            "-oDir::Etc::sourceparts=/dev/null",
            f"-oDir::State::Lists={view}/lists",
            f"-oDir::Cache={view}/cache",
            # apt drops to an unprivileged user that may not enter our private folder.
            "-oAPT::Sandbox::User=root",
        ]
        for command in (["update"], ["source", "--download-only", "--only-source", f"{source.package}={source.debian_version}"]):
            result = subprocess.run(["apt-get", *options, "-qq", *command], cwd=view / "files", capture_output=True, text=True, check=False)
            if result.returncode != 0:
                message = (
                    f"apt could not fetch the source of {source.package} {source.debian_version} (`apt-get {' '.join(command)}`):\n"
                    f"{result.stderr.strip()}\nThe version must be served by a suite of this machine's apt sources."
                )
                raise UnreachableError(message)
        return [_adopt(view / "files", registry, pin.file, pin.sha256) for pin in source.files]


def _adopt(folder: Path, registry: Registry, file: str, sha256: str) -> Path:
    fetched = folder / file
    if not fetched.is_file():
        message = f"apt fetched no file {file}; the lock names one that this source package does not have."
        raise UnreachableError(message)
    if fetched.is_symlink():  # apt only links to what a suite in a folder of this machine serves
        with storage_errors(f"Copying {file}"):
            fetched = Path(shutil.copyfile(fetched, folder / f"{file}.copy"))
    return registry.adopt(fetched, file, sha256)
