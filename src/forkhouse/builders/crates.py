"""Fetch the crates that a Cargo.lock names, before the build that has no network.

Each has its sha256 there, and cargo checks it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from forkhouse.core.errors import BuildError, HashMismatchError, UnreachableError
from forkhouse.core.progress import report
from forkhouse.core.storage import storage_errors, sync_folder
from forkhouse.core.wording import bullets, end_of
from forkhouse.documents.reading import read_toml

if TYPE_CHECKING:
    from forkhouse.sources.store import ObjectStore
    from forkhouse.toolchains.rust import Rust

NAME = "Cargo.lock"

_CHECKSUM = re.compile(
    r"verify the checksum|changed between lock files|unable to verify that|the listed checksum of"
)
_NOT_HAD = re.compile(
    r"failed to (download|fetch|query)|unable to update registry|config\.json not found"
    r"|no matching package named .*\n.*(index|registry)"
)


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Crate:
    """A crate of a registry by name, version and content."""

    name: str
    version: str
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Crates:
    """The crates of a Cargo.lock, unpacked side by side: what cargo calls a directory source."""

    lock: str
    """Sha256 of the Cargo.lock."""
    folder: Path
    crates: tuple[Crate, ...]


def read_crates(lock: bytes, owner: str) -> tuple[Crate, ...]:
    """Return the crates that a Cargo.lock takes from a registry.

    `owner` is the upstream, for messages.

    Raises BuildError when it cannot be read, and for packages that nothing but trust would pin: of
    a git repository, without a checksum, or of a second registry.
    """
    try:
        packages = read_toml(lock).get("package", [])
        foreign = [
            package for package in packages if "source" in package
        ]  # the upstream's own packages have no source
        wrong = [
            f"{package['name']} {package['version']}: {_objection(package)}"
            for package in foreign
            if _objection(package)
        ]
        crates = [
            Crate(name=each["name"], version=each["version"], sha256=each["checksum"])
            for each in foreign
            if not _objection(each)
        ]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        message = f"{owner}: its {NAME} cannot be read: {error!r}."
        raise BuildError(message) from error
    registries = sorted({package["source"] for package in foreign if _of_registry(package)})
    if len(registries) > 1:
        wrong.append(f"crates come from {len(registries)} registries: {', '.join(registries)}")
    if wrong:
        lines = bullets(wrong)
        message = (
            f"{owner}: its {NAME} names what has no hash to check, or no single place to come "
            f"from:\n{lines}\n"
            f"Patch the dependency out (and {NAME} with it), pin a release without it, or take the "
            "upstream's git source out of upstream.lock."
        )
        raise BuildError(message)
    return tuple(sorted(crates))


def _objection(package: dict[str, str]) -> str | None:
    if not _of_registry(package):
        return f"comes from {package['source']}"
    return None if "checksum" in package else "has no checksum"


def _of_registry(package: dict[str, str]) -> bool:
    return package["source"].startswith(("registry+", "sparse+"))


def fetch_crates(
    tree: str,
    project: str,
    owner: str,
    *,
    store: ObjectStore,
    rust: Rust,
    cache: Path,
    offline: bool,
    shared: Path | None = None,
) -> Crates:
    """Return the crates in the Cargo.lock of `project`, a folder of `tree`.

    Cargo fetches them as the user has configured it. They are kept in `cache` by the hash of the
    Cargo.lock. With `offline`, only crates from there or from cargo's own cache are found. Raises
    UnreachableError when a crate cannot be fetched, HashMismatchError when one differs from the
    Cargo.lock, and BuildError when the Cargo.lock is missing or cannot be used.
    """
    try:
        lock = store.read(tree, f"{project}/{NAME}".removeprefix("./"))
    except KeyError:
        message = (
            f"{owner}: there is no {NAME} in {project}. Crates are fetched by the hashes in it, so "
            "the build needs one."
        )
        raise BuildError(message) from None
    crates = read_crates(lock, owner)
    sha256 = hashlib.sha256(lock).hexdigest()
    found, *others = [
        Crates(lock=sha256, folder=place / "crates" / sha256, crates=crates)
        for place in (cache, shared)
        if place
    ]
    for each in (found, *others):
        if _whole(each):
            return each
    report().line(owner, f"fetching {len(crates)} crates of {NAME}")
    with storage_errors("Fetching crates"):
        found.folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=found.folder.parent) as scratch:
            upstream, new = Path(scratch, "upstream"), Path(scratch, "crates")
            store.check_out(tree, upstream)
            # Where crates come from is the user's decision, not the upstream's.
            for settings in list(upstream.rglob(".cargo")):
                shutil.rmtree(settings)
            _vendor(upstream / project, new, owner, rust=rust, offline=offline)
            new.mkdir(exist_ok=True)  # of no crates at all cargo makes no folder
            shutil.rmtree(found.folder, ignore_errors=True)  # one that is not whole
            new.replace(found.folder)
        sync_folder(found.folder.parent)
    if not _whole(found):
        message = (
            f"{owner}: cargo ended well, but did not leave every crate of {NAME} in "
            f"{found.folder}, each with its checksum."
        )
        raise HashMismatchError(message)
    return found


def _whole(crates: Crates) -> bool:
    """Say whether every crate is there, made from an archive of the right hash.

    Their files' hashes cargo compares when it compiles them.
    """
    try:
        return crates.folder.is_dir() and all(
            json.loads(
                (crates.folder / f"{crate.name}-{crate.version}/.cargo-checksum.json").read_bytes()
            )["package"]
            == crate.sha256
            for crate in crates.crates
        )
    except (OSError, ValueError, KeyError):
        return False


def _vendor(project: Path, new: Path, owner: str, *, rust: Rust, offline: bool) -> None:
    tools = rust.root / "bin"
    command = [
        str(tools / "cargo"),
        "vendor",
        "--locked",
        "--versioned-dirs",
        "--respect-source-config",
        *(["--offline"] if offline else []),
    ]
    # The user's own settings pass through, as for git and pip: proxies, tokens, mirrors.
    environment = {
        **os.environ,
        "PATH": f"{tools}:{os.environ['PATH']}",
        "RUSTC": str(tools / "rustc"),
        "RUSTC_WRAPPER": "",
    }
    environment |= {"CARGO_TERM_COLOR": "never", "CARGO_TERM_PROGRESS_WHEN": "never"}
    result = subprocess.run(
        [*command, str(new)],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if result.returncode == 0:
        return
    said = re.sub(r"(?<=://)[^/@\s`]+@", "", result.stderr).strip()
    if _CHECKSUM.search(said):
        message = (
            f"{owner}: a crate is not what {NAME} says:\n{_causes(said)}\nIt was thrown away. "
            "Either the registry serves another "
            f"file than the one that was pinned (find out why before you trust it), or {NAME} is "
            "wrong."
        )
        raise HashMismatchError(message)
    if _NOT_HAD.search(said):
        how = (
            "and --offline forbids fetching them"
            if offline
            else "see cargo's own settings for registries and proxies"
        )
        message = f"the crates of its {NAME} could not be had: {_causes(said)}; {how}."
        raise UnreachableError(message)
    message = (
        f"{owner}: `{' '.join(command)}` ended with exit code {result.returncode}:\n{end_of(said)}"
    )
    raise BuildError(message)


def _causes(said: str) -> str:
    """Return the last two causes in the chain that cargo prints, each by its first line."""
    chain = [part.strip().splitlines()[0] for part in re.split(r"Caused by:", said) if part.strip()]
    return ": ".join(chain[-2:]).rstrip(".")
