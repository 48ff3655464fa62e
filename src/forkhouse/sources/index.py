"""Fetch pinned files.

From Python package indexes, as the user's own pip is configured to reach them, or from an address
of their own.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from forkhouse.core.digests import sha256_file
from forkhouse.core.errors import HashMismatchError, UnreachableError
from forkhouse.core.secrecy import hide
from forkhouse.core.storage import storage_errors, sync_folder
from forkhouse.sources.settings import IndexSettings, index_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from unearth.link import Link

    from forkhouse.sources.indexclient import IndexClient


def _is_file(path: Path) -> bool:
    """Return whether `path` is a file that can be read."""
    # pathlib's raises where a folder may not be looked into.
    return os.path.isfile(path) and os.access(path, os.R_OK)  # noqa: PTH113


class Registry:
    """Files of package indexes, cached by sha256. One value serves many threads."""

    def __init__(
        self,
        cache: Path,
        *,
        offline: bool,
        index: str | None = None,
        shared: Path | None = None,
        settings: Callable[[], IndexSettings] = index_settings,
    ) -> None:
        """Keep files below `cache`; with `offline`, use only what is there.

        `index` is asked in place of pip's indexes. `shared` is a read-only cache, whose files are
        not fetched again. `settings` is called at the first request: how indexes are reached.
        """
        self._cache = cache
        self._folder = cache / "files"
        self._folders = [place / "files" for place in (cache, shared) if place]
        self._shared = shared
        self._offline = offline
        self._index = index
        self._asked = settings

    def at(self, index: str) -> Registry:
        """Return a registry with the same cache that asks only one index.

        `index` is its address by PEP 503 or 691.
        """
        return Registry(
            self._cache,
            offline=self._offline,
            index=index,
            shared=self._shared,
            settings=self._asked,
        )

    def cached(self, file: str, sha256: str) -> Path | None:
        """Return the cached file when its content still has this hash."""
        for path in (folder / sha256 / file for folder in self._folders):
            if _is_file(path) and sha256_file(path) == sha256:
                return path
        return None

    def holds(self, file: str, sha256: str) -> bool:
        """Return whether a file is in the cache, without reading it.

        That is enough to know what has to be fetched.
        """
        return any(_is_file(folder / sha256 / file) for folder in self._folders)

    def fetch(self, package: str, file: str, sha256: str) -> Path:
        """Return a local copy of one file of a package.

        Raises UnreachableError when no index has it (or offline), HashMismatchError when its
        content is another.
        """
        path = self.cached(file, sha256)
        if path:
            return path
        if self._offline:
            message = (
                f"{file} is not in the cache and --offline forbids fetching it. Run once without "
                "--offline."
            )
            raise UnreachableError(message)
        link = self.find(package, file)
        return self.adopt(self._download(link, file), file, sha256)

    def fetch_archive(self, url: str, file: str, sha256: str, *, mirror: Path | None) -> Path:
        """Return a local copy of a source archive.

        Cached, else from `mirror`/archives/`file` when that is there, else from `url`.

        Raises UnreachableError when it cannot be had (or offline), HashMismatchError when its
        content is another.
        """
        path = self.cached(file, sha256)
        if path:
            return path
        mirrored = mirror / "archives" / file if mirror else None
        at_hand = mirrored is not None and mirrored.is_file()
        if self._offline and not at_hand:
            message = (
                f"{file} is not in the cache and --offline forbids fetching it. Run once without "
                "--offline."
            )
            raise UnreachableError(message)
        from forkhouse.sources.indexclient import archive_link

        link = archive_link(url, file, mirror=mirror)
        if at_hand:
            remedy = (
                "put the archive with the pinned hash there (docs/how-to/sources.md says how git "
                "makes one from a tag)."
            )
            server = f"the mirror ({mirrored})"
            return self.adopt(
                self._download(link, file), file, sha256, server=server, remedy=remedy
            )
        try:
            remedy = (
                "a component's address, file and sha256 are written there by hand, as the wrap "
                "files of its upstream have them."
            )
            return self.adopt(self._download(link, file), file, sha256, server=url, remedy=remedy)
        except UnreachableError as error:
            message = (
                f"{error} Where {url} cannot be reached, --mirror DIR takes a copy in "
                f"DIR/archives/{file}."
            )
            raise UnreachableError(message) from error

    def adopt(
        self,
        temporary: Path,
        file: str,
        sha256: str,
        *,
        server: str = "the index",
        remedy: str = "",
    ) -> Path:
        """Move a downloaded file into the cache once its hash is the expected one.

        `server` is where it came from and `remedy` what to do next, for the message. Raises
        HashMismatchError.
        """
        try:
            found = sha256_file(temporary)
            if found != sha256:
                message = (
                    f"{file}: its sha256 is {found}, the lock says {sha256}. The file was thrown "
                    f"away. Either {server} serves "
                    "another file than the one that was pinned (find out why before you trust it), "
                    "or the lock is wrong: "
                    + (remedy or f"`forkhouse lock --update NAME` pins what {server} serves now.")
                )
                raise HashMismatchError(message)
            target = self._folder / sha256 / file
            with storage_errors(f"Keeping {file}"):
                target.parent.mkdir(parents=True, exist_ok=True)
                temporary.chmod(0o644)
                temporary.replace(target)
                sync_folder(target.parent)
            return target
        finally:
            temporary.unlink(missing_ok=True)

    @cached_property
    def _settings(self) -> IndexSettings:
        settings = self._asked()
        if self._index is None:
            return settings
        hide(self._index)
        return replace(settings, indexes=(self._index,), find_links=())

    @cached_property
    def _client(self) -> IndexClient:
        from forkhouse.sources.indexclient import IndexClient

        return IndexClient(self._settings)

    def close(self) -> None:
        """Close the connections to indexes; the registry can be used again."""
        client = self.__dict__.pop("_client", None)
        if client is not None:
            client.close()

    def links(self, package: str) -> Mapping[str, Link]:
        """Return what the user's indexes offer for a package: file name to link.

        Raises UnreachableError when nothing.
        """
        return self._client.links(package)

    def find(self, package: str, file: str) -> Link:
        """Return the link of one file. Raises UnreachableError when no index has it."""
        return self._client.find(package, file)

    def served(self, package: str, file: str) -> tuple[str, str]:
        """Return the sha256 that the indexes give for a file now, and how it was found.

        The index tells it, or the file is downloaded and measured. Raises UnreachableError when no
        index has it.
        """
        link = self.find(package, file)
        told = (link.hash_option or {}).get("sha256")
        return (
            (told[0], "hash told by the index")
            if told
            else (self._measured(link, file), "the whole file, as the index tells no hash")
        )

    def measure_archive(self, url: str, file: str, *, mirror: Path | None) -> str:
        """Return the sha256 that a source archive has now. Raises UnreachableError.

        The archive is `mirror`/archives/`file` where that exists, else `url`.
        """
        from forkhouse.sources.indexclient import archive_link

        link = archive_link(url, file, mirror=mirror)
        return self._measured(link, file)

    def _measured(self, link: Link, file: str) -> str:
        temporary = self._download(link, file)
        try:
            return sha256_file(temporary)
        finally:
            temporary.unlink(missing_ok=True)

    def download(self, link: Link) -> tuple[Path, str]:
        """Fetch a file that has no pin yet; return its cached path and its sha256."""
        told = (link.hash_option or {}).get("sha256")
        known = self.cached(link.filename, told[0]) if told else None
        if told and known:
            return known, told[0]
        temporary = self._download(link, link.filename)
        sha256 = sha256_file(temporary)
        return self.adopt(temporary, link.filename, sha256), sha256

    def _download(self, link: Link, file: str) -> Path:
        """Download a file to a temporary place in the cache, and start again where it breaks off.

        Raises UnreachableError.
        """
        with storage_errors(f"Downloading {file}"):
            self._folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=f".{file}.", dir=self._folder)
            try:
                with os.fdopen(handle, "wb") as target:
                    self._client.fill(target, link, file)
                    target.flush()
                    os.fsync(target.fileno())
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        return Path(name)
