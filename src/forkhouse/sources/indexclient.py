"""Ask the package indexes of the user's pip, and download files from them.

Apart from what is kept of them, because loading the libraries for it takes longer than most
commands, which need no index.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, BinaryIO, cast

import httpx2
from unearth import PackageFinder
from unearth.fetchers import Fetcher
from unearth.link import Link

from forkhouse.core.errors import DocumentError, UnreachableError
from forkhouse.core.progress import report
from forkhouse.sources import transport
from forkhouse.sources.settings import reason
from forkhouse.sources.transport import Client, RefusedError, announced_size, backoff

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from forkhouse.sources.settings import IndexSettings

_CREDENTIALS = (
    "Give a user with a password or token: in the address of the index in pip's settings (`pip "
    "config set global.index-url https://USER:TOKEN@HOST/simple`), or in that of the proxy for "
    "407. Where they are given, they are wrong, or may not read this."
)


class IndexClient:
    """A client of package indexes. One value serves many threads."""

    def __init__(self, settings: IndexSettings) -> None:
        """Take how the indexes are reached."""
        self._settings = settings

    @cached_property
    def _client(self) -> Client:
        try:
            return Client(self._settings)
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
        """Close the connections; the client can be used again."""
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

    def fill(self, target: BinaryIO, link: Link, file: str) -> None:
        """Download a file, and start again where it breaks off. Raises UnreachableError."""
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


def archive_link(url: str, file: str, *, mirror: Path | None) -> Link:
    """Return where a source archive is: `mirror`/archives/`file` where that exists, else `url`.

    Raises UnreachableError for a path of this machine at which there is no file.
    """
    mirrored = mirror / "archives" / file if mirror else None
    link = Link(mirrored.resolve().as_uri() if mirrored is not None and mirrored.is_file() else url)
    if link.is_file and not link.file_path.is_file():
        message = f"{link.file_path} is not there."
        raise UnreachableError(message)
    return link


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
