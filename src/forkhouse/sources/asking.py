"""Ask what serves a pinned source whether it still serves the same, whatever was fetched before."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from forkhouse.core.errors import HashMismatchError, UnreachableError
from forkhouse.documents.lockfile import ArchiveSource, DebianSource, GitSource
from forkhouse.sources.apt import offered_source
from forkhouse.sources.git import ask_commit, has_commit, mirror_address

if TYPE_CHECKING:
    from forkhouse.documents.lockfile import Source
    from forkhouse.sources.acquire import Access
    from forkhouse.sources.index import Registry


def ask(source: Source, *, access: Access, registry: Registry) -> str:
    """Ask for a source anew, past every cache, and return in a few words what answered.

    Raises UnreachableError when nothing answers (or offline), MovedTagError or HashMismatchError
    when the answer is another than the lock's.
    """
    if access.offline:
        message = "--offline forbids asking."
        raise UnreachableError(message)
    match source:
        case GitSource():
            address = mirror_address(source.url, access.mirror)
            with tempfile.TemporaryDirectory(prefix="forkhouse-ask-") as scratch:
                ask_commit(source, address, Path(scratch))
            return f"{'tag' if source.tag else 'commit'} at {address}"
        case DebianSource():
            offers = offered_source(source)
            for pin in source.files:
                _compare(pin.file, offers.get(pin.file), pin.sha256, "apt")
            return "hashes of apt's source lists"
        case ArchiveSource():
            _compare(
                source.file,
                registry.measure_archive(source.url, source.file, mirror=access.mirror),
                source.sha256,
                "its address",
            )
            return "the whole archive"
        case _:
            found, how = registry.served(source.package, source.file)
            _compare(source.file, found, source.sha256, "the index")
            return how


def at_hand(source: Source, *, access: Access, registry: Registry) -> bool:
    """Say whether a source is in the cache, so that nobody has to be asked for it."""
    match source:
        case GitSource():
            return source.commit is not None and has_commit(source, access.cache, access.shared)
        case DebianSource():
            return all(registry.holds(pin.file, pin.sha256) for pin in source.files)
        case _:
            return registry.holds(source.file, source.sha256)


def _compare(file: str, found: str | None, sha256: str, server: str) -> None:
    if found is None:
        message = f"{server} no longer serves {file}."
        raise UnreachableError(message)
    if found != sha256:
        message = (
            f"{file}: {server} now serves one with sha256 {found}, the lock says {sha256}. A "
            "release that changes under its name is "
            "either a mistake or an attack: find out which before you pin it anew."
        )
        raise HashMismatchError(message)
