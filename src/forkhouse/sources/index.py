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
from typing import TYPE_CHECKING, BinaryIO, cast

import httpx2
from unearth import PackageFinder
from unearth.fetchers import Fetcher
from unearth.link import Link

from forkhouse.core.errors import DocumentError, HashMismatchError, UnreachableError
from forkhouse.core.progress import report
from forkhouse.core.secrecy import hide
from forkhouse.core.workspace import sha256_file, storage_errors, sync_folder
from forkhouse.sources import transport
from forkhouse.sources.settings import IndexSettings, index_settings, reason
from forkhouse.sources.transport import Client, RefusedError, announced_size, backoff

if TYPE_CHECKING:
    from collections.abc import Mapping


_CREDENTIALS = (
    "Give a user with a password or token: in the address of the index in pip's settings (`pip "
    "config set global.index-url https://USER:TOKEN@HOST/simple`), or in that of the proxy for "
    "407. Where they are given, they are wrong, or may not read this."
)


def _is_file(path: Path) -> bool:
    """Return whether `path` is a file that can be read."""
    # pathlib's raises where a folder may not be looked into.
    return os.path.isfile(path) and os.access(path, os.R_OK)  # noqa: PTH113


class Registry:
    """Files of package indexes, cached by sha256. One value serves many threads."""

    def __init__(
        self, cache: Path, *, offline: bool, index: str | None = None, shared: Path | None = None
    ) -> None:
        """Keep files below `cache`; with `offline`, use only what is there.

        `index` is asked in place of pip's indexes. `shared` is a read-only cache, whose files are
        not fetched again.
        """
        self._cache = cache
        self._folder = cache / "files"
        self._folders = [place / "files" for place in (cache, shared) if place]
        self._shared = shared
        self._offline = offline
        self._index = index

    def at(self, index: str) -> Registry:
        """Return a registry with the same cache that asks only one index.

        `index` is its address by PEP 503 or 691.
        """
        return Registry(self._cache, offline=self._offline, index=index, shared=self._shared)

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
        if mirrored is not None and mirrored.is_file():
            remedy = (
                "put the archive with the pinned hash there (docs/how-to/sources.md says how git "
                "makes one from a tag)."
            )
            return self.adopt(
                self._download(Link(mirrored.resolve().as_uri()), file),
                file,
                sha256,
                server=f"the mirror ({mirrored})",
                remedy=remedy,
            )
        if self._offline:
            message = (
                f"{file} is not in the cache and --offline forbids fetching it. Run once without "
                "--offline."
            )
            raise UnreachableError(message)
        link = Link(url)
        if link.is_file and not link.file_path.is_file():
            message = f"{link.file_path} is not there."
            raise UnreachableError(message)
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
        settings = index_settings()
        if self._index is None:
            return settings
        hide(self._index)
        return replace(settings, indexes=(self._index,), find_links=())

    @cached_property
    def _client(self) -> Client:
        settings = self._settings
        try:
            return Client(settings)
        except (ValueError, OSError, ImportError, httpx2.InvalidURL) as error:
            message = (
                f"pip's settings cannot be used: {error}. Look at `cert`, `client-cert`, `proxy` "
                "and `trusted-host` (`pip config list`)."
            )
            raise DocumentError(message) from error

    @cached_property
    def _finder(self) -> PackageFinder:
        finder = PackageFinder(
            session=cast(
                Fetcher, self._client
            ),  # the protocol that the library states for its own client
            index_urls=self._settings.indexes,
            find_links=self._settings.find_links,
            trusted_hosts=self._settings.trusted_hosts,
            ignore_compatibility=True,
        )
        if not self._settings.indexes and not self._settings.find_links:
            finder.sources.clear()
        return finder

    def close(self) -> None:
        """Close the connections to indexes; the registry can be used again."""
        self.__dict__.pop("_finder", None)
        client = self.__dict__.pop("_client", None)
        if client is not None:
            client.close()

    def links(self, package: str) -> Mapping[str, Link]:
        """Return what the user's indexes offer for a package: file name to link.

        Raises UnreachableError when nothing.
        """
        finder = self._finder
        try:
            links = {
                found.link.filename: found.link
                for found in finder.find_all_packages(package, allow_yanked=True)
            }
        # The client library lets exceptions of its transport through, which it does not document.
        except Exception as error:
            message = (
                f"No index answered for {package}: {reason(error)}. Check the network and pip's "
                "index settings (`pip config list`)."
            )
            raise UnreachableError(message) from error
        if not links:
            message = (
                f"No index offers {package}. Looked at {len(self._settings.indexes)} indexes and "
                f"{len(self._settings.find_links)} find-links of pip's settings (`pip config "
                f"list`).{self._denied()}"
            )
            raise UnreachableError(message)
        return links

    def _denied(self) -> str:
        """Return which indexes denied a page, and what to do about it; empty where none did."""
        denied = ", ".join(
            f"{host} answered {code}" for host, code in sorted(self._client.refusals.items())
        )
        return f" Not all of them let us look: {denied}. {_CREDENTIALS}" if denied else ""

    def find(self, package: str, file: str) -> Link:
        """Return the link of one file. Raises UnreachableError when no index has it."""
        links = self.links(package)
        if file not in links:
            message = (
                f"The indexes offer {package}, but not {file} ({len(links)} other files). The pin "
                f"cannot be served here.{self._denied()}"
            )
            raise UnreachableError(message)
        return links[file]

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
        mirrored = mirror / "archives" / file if mirror else None
        link = Link(
            mirrored.resolve().as_uri() if mirrored is not None and mirrored.is_file() else url
        )
        if link.is_file and not link.file_path.is_file():
            message = f"{link.file_path} is not there."
            raise UnreachableError(message)
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
                    self._fill(target, link, file)
                    target.flush()
                    os.fsync(target.fileno())
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        return Path(name)

    def _fill(self, target: BinaryIO, link: Link, file: str) -> None:
        retries = 0 if link.is_file else self._settings.retries
        for attempt in range(retries + 1):
            target.seek(0)
            target.truncate()
            try:
                return (
                    _copy(link, target, file) if link.is_file else self._stream(link, target, file)
                )
            except OSError:
                raise
            # The client library lets undocumented exceptions of its transport through.
            except Exception as error:
                # What was not answered has been asked again already; here it is what breaks off.
                if attempt == retries or not isinstance(error, httpx2.TransportError):
                    code = (
                        error.response.status_code
                        if isinstance(error, httpx2.HTTPStatusError)
                        else None
                    )
                    remedy = (
                        _CREDENTIALS
                        if code in transport.REFUSALS
                        else "Run the same command again; what is whole is kept."
                    )
                    message = f"{file} could not be downloaded: {reason(error)}. {remedy}"
                    raise UnreachableError(message) from error
            transport.pause(backoff(attempt))
        return None

    def _stream(self, link: Link, target: BinaryIO, file: str) -> None:
        # Kept as the server has it, packed or not: that is what the hash is of.
        with self._client.get_stream(
            link.normalized, headers={"Accept-Encoding": "identity"}
        ) as response:
            response.raise_for_status()
            with report().task(f"fetch {file}", total=float(announced_size(response) or 0)) as task:
                for chunk in self._client.pieces(response, link.url_without_fragment):
                    target.write(chunk)
                    task.advance(len(chunk))


def _copy(link: Link, target: BinaryIO, file: str) -> None:
    """Copy a file of this machine.

    Raises RefusedError where a page of another machine links to it.
    """
    if link.comes_from is not None and not link.comes_from.startswith("file:"):
        message = "a page of another machine names a file of this one"
        raise RefusedError(message)
    path = link.file_path
    with (
        path.open("rb") as source,
        report().task(f"copy {file}", total=path.stat().st_size) as task,
    ):
        while chunk := source.read(transport.CHUNK):
            target.write(chunk)
            task.advance(len(chunk))
