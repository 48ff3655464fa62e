"""The HTTP client that asks indexes and fetches files, with pip's settings."""

from __future__ import annotations

import ipaddress
import math
import ssl
import threading
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urldefrag, urljoin
from urllib.request import getproxies, proxy_bypass

import httpcore2
import httpx2
from unearth.fetchers.sync import PyPIClient

from forkhouse.core.errors import UnreachableError
from forkhouse.core.secrecy import masked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkhouse.sources.settings import IndexSettings

REDIRECTS = 10
"""Redirects of one request that are followed."""
REFUSALS = frozenset({401, 403, 407})
"""Answers that deny what may be there to others: without a user, to this user, or by the proxy."""
PATIENCE = frozenset({429, 500, 502, 503, 504})
"""Answers after which the same is asked again."""
LONGEST_WAIT = 60.0
"""Most seconds that a server may ask us to wait.

A server that asks for more is not asked again in this run.
"""
PACE = 1000
"""Bytes a second below which a server is given up, as git does."""
CHUNK = 2**20


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """Limits of one answer."""

    page: int = 32 * 2**20
    """Bytes of an index page, unpacked.

    One of ten thousand files with all their hashes has a fifth of it.
    """
    page_seconds: float = 600.0
    head_seconds: float = 120.0
    """Seconds from a request to the beginning of its answer, or as many as pip's `timeout` has."""
    file: int = 16 * 2**30
    """Bytes of a file whose size the server announces; the largest wheels have a quarter of it."""
    unannounced: int = 64 * 2**20
    """Bytes of a file whose size neither server nor index tells, as of archives that are packed on
    demand: sources, not wheels of a GPU."""
    file_seconds: float = 6 * 3600.0


BOUNDS = Bounds()

# Nobody listens, or nothing was sent at all: the same at once would end the same.
_FINAL = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.ProxyError,
    httpx2.UnsupportedProtocol,
    httpx2.LocalProtocolError,
)


class _Waiting(threading.local):
    """Until when the request of this thread waits for the beginning of its answer."""

    until = math.inf


_waiting = _Waiting()


class RefusedError(UnreachableError):
    """An answer that ends every further attempt, or that did not come in spite of all attempts."""


def pause(seconds: float) -> None:
    """Wait."""
    time.sleep(seconds)


def backoff(attempt: int) -> float:
    """Return the seconds to wait after an attempt that failed, the first of which is 0."""
    return min(0.25 * 2.0**attempt, 8.0)


class Client(PyPIClient):
    """A client with pip's settings, for many threads."""

    def __init__(self, settings: IndexSettings, bounds: Bounds = BOUNDS) -> None:
        """Prepare connections.

        Raises ValueError, OSError or ImportError for settings that cannot be used.
        """
        self._retries = settings.retries
        self.refusals: dict[str, int] = {}
        """Hosts that denied a page, and how."""
        self._sizes: dict[str, int] = {}
        """Bytes of files, by address, as pages of indexes tell them (PEP 700)."""
        self._bounds = bounds
        self._head_seconds = max(bounds.head_seconds, settings.timeout)
        self._trusted = {host.rpartition(":")[0] or host for host in settings.trusted_hosts} | set(
            settings.trusted_hosts
        )
        context = _context(settings, ssl.create_default_context(cafile=settings.certificates))
        super().__init__(
            trusted_hosts=settings.trusted_hosts,
            verify=context,
            timeout=settings.timeout,
            proxy=settings.proxy,
            # What packs a page smaller than gzip unpacks to more than can be bounded.
            headers={"Accept-Encoding": "gzip"},
            mounts=dict(_unverified(settings)),
        )
        for transport in {self._transport, *self._mounts.values()}:
            # There is no public way to bound how slowly a server may send: a timeout begins anew
            # with each byte.
            pool = getattr(transport, "_pool", None)
            if pool is not None:
                pause = max(settings.timeout, 1.0)
                pool._network_backend = _Paced(pool._network_backend, pause)  # noqa: SLF001

    def send(
        self, request: httpx2.Request, *, stream: bool = False, **options: Any
    ) -> httpx2.Response:
        """Send a request and return its answer after the last redirect.

        Raises RefusedError for an answer that cannot be followed or read, and the client library's
        errors for others.
        """
        options.pop("follow_redirects", None)
        self._check(request.url)
        for _ in range(REDIRECTS + 1):
            response = self._patient(request, options)
            if not response.has_redirect_location:
                return response if stream else self._page(response)
            response.close()
            if response.next_request is None:
                message = f"{request.url.host} leads on to an address that is none"
                raise RefusedError(message)
            request = self._next(request, response.next_request)
        message = f"{request.url.host} leads on and on: more than {REDIRECTS} redirects"
        raise RefusedError(message)

    def _patient(self, request: httpx2.Request, options: dict[str, Any]) -> httpx2.Response:
        """Send a request until it is answered, as often as pip would."""
        for attempt in range(self._retries + 1):
            last, seconds = attempt == self._retries, backoff(attempt)
            _waiting.until = time.monotonic() + self._head_seconds
            try:
                response = super().send(request, stream=True, follow_redirects=False, **options)
            except _FINAL:
                raise
            except httpx2.TransportError as error:
                if last:
                    message = str(error) or type(error).__name__
                    raise RefusedError(message) from error
            else:
                if response.status_code not in PATIENCE:
                    return response
                response.close()
                seconds = max(seconds, _asked_for(response))
                if seconds > LONGEST_WAIT:
                    message = (
                        f"{request.url.host} answers {response.status_code} and asks to be left "
                        f"alone for {seconds:.0f} s"
                    )
                    raise RefusedError(message)
                if last:
                    response.raise_for_status()
            finally:
                _waiting.until = math.inf
            pause(seconds)
        raise AssertionError  # the last attempt returns or raises

    def _next(self, request: httpx2.Request, following: httpx2.Request) -> httpx2.Request:
        """Return the request to which a redirect leads.

        Credentials stay with the host that they are for.
        """
        url = following.url
        if request.url.scheme == "https" and url.scheme != "https":
            message = (
                f"{request.url.host} leads on from https to {masked(str(url))}, which anybody on "
                "the way could change"
            )
            raise RefusedError(message)
        if url.scheme == "file":
            message = f"{request.url.host} leads on to a file of this machine"
            raise RefusedError(message)
        self._check(url)
        if (url.scheme, url.host, url.port) == (
            request.url.scheme,
            request.url.host,
            request.url.port,
        ):
            return following
        headers = {
            key: value
            for key, value in following.headers.items()
            if key.lower() not in {"authorization", "cookie"}
        }
        return httpx2.Request(
            following.method,
            url.copy_with(userinfo=b""),
            headers=headers,
            extensions=following.extensions,
        )

    def _check(self, url: httpx2.URL) -> None:
        if url.scheme in {"https", "file"} or (url.scheme == "http" and self._open(url.host)):
            return
        message = (
            f"{masked(str(url))} is no https address, and {url.host or 'what it names'} is neither "
            "this machine nor among pip's "
            "`trusted-host`, so nothing is fetched from there"
        )
        raise RefusedError(message)

    def _open(self, host: str) -> bool:
        """Say whether a host may be asked without encryption."""
        try:
            return ipaddress.ip_address(host).is_loopback or host in self._trusted
        except ValueError:
            return host == "localhost" or host in self._trusted

    def _page(self, response: httpx2.Response) -> httpx2.Response:
        """Read a page, and take note of what it tells besides links."""
        page = self._whole(response)
        if page.status_code in REFUSALS:
            self.refusals[page.request.url.host] = page.status_code
        if (
            page.headers.get("Content-Type", "")
            .lower()
            .startswith("application/vnd.pypi.simple.v1+json")
        ):
            self._sizes.update(_sizes(page))
        return page

    def _whole(self, response: httpx2.Response) -> httpx2.Response:
        """Read a page into memory."""
        packed = response.headers.get("Content-Encoding", "identity").lower()
        begun, chunks, size = time.monotonic(), [], 0
        try:
            if packed not in {"identity", "gzip", "x-gzip", "deflate"}:
                message = (
                    f"{response.request.url.host} sends a page packed as '{packed}', for which "
                    "nobody asked"
                )
                raise RefusedError(message)
            for chunk in response.iter_bytes():
                size += len(chunk)
                chunks.append(chunk)
                _check_cost(
                    response,
                    size,
                    self._bounds.page,
                    time.monotonic() - begun,
                    self._bounds.page_seconds,
                )
        finally:
            response.close()
        dropped = {"content-encoding", "content-length", "transfer-encoding"}
        headers = [
            (key, value)
            for key, value in response.headers.multi_items()
            if key.lower() not in dropped
        ]
        return httpx2.Response(
            response.status_code,
            headers=headers,
            content=b"".join(chunks),
            request=response.request,
        )

    def pieces(self, response: httpx2.Response, address: str) -> Iterator[bytes]:
        """Yield the content of the file at an address as it comes, as the server has it.

        Raises RefusedError where it is more than the index says, or the bounds allow.
        """
        begun, size = time.monotonic(), 0
        announced = announced_size(response)
        most = self._bounds.unannounced if announced is None else self._bounds.file
        bound = min(self._sizes.get(address, most), self._bounds.file)
        _check_cost(response, announced or 0, bound, 0, 1)
        for chunk in response.iter_raw(CHUNK):
            size += len(chunk)
            _check_cost(response, size, bound, time.monotonic() - begun, self._bounds.file_seconds)
            yield chunk


def _sizes(page: httpx2.Response) -> dict[str, int]:
    """Return the sizes of files by address, as an index page states them (PEP 700).

    Empty for a page that is not well formed.
    """
    try:
        files = page.json()["files"]
        base = str(page.request.url)
        told = {urldefrag(urljoin(base, file["url"])).url: file.get("size") for file in files}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
    return {address: size for address, size in told.items() if type(size) is int and size >= 0}


def announced_size(response: httpx2.Response) -> int | None:
    """Return how many bytes a server announces."""
    told = response.headers.get("Content-Length", "")
    return int(told) if told.isascii() and told.isdigit() and len(told) < len(str(2**63)) else None


def _check_cost(
    response: httpx2.Response, size: int, most: int, seconds: float, longest: float
) -> None:
    host = response.request.url.host
    if size > most:
        message = f"{host} sends {size} bytes or more; more than {most} are refused"
        raise RefusedError(message)
    if seconds > longest:
        message = (
            f"{host} has sent {size} bytes in {seconds:.0f} s; more than {longest:.0f} s are not "
            "waited"
        )
        raise RefusedError(message)


def _asked_for(response: httpx2.Response) -> float:
    """Return the seconds for which a server asks to be left alone (RFC 9110)."""
    told = response.headers.get("Retry-After", "").strip()
    if told.isascii() and told.isdigit():
        return float(told[:9])
    try:
        return parsedate_to_datetime(told).timestamp() - time.time()
    except (ValueError, OverflowError, TypeError):
        return 0.0


def _context(settings: IndexSettings, context: ssl.SSLContext) -> ssl.SSLContext:
    if settings.client_certificate:
        context.load_cert_chain(settings.client_certificate)
    return context


def _unverified(settings: IndexSettings) -> Iterator[tuple[str, httpx2.BaseTransport]]:
    """Yield connections to the hosts whose certificates are not checked.

    They use the same proxy as the others.
    """
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context = _context(settings, context)
    for host in settings.trusted_hosts:
        for scheme in ("http", "https"):
            known = None if proxy_bypass(host) else getproxies().get(scheme)
            # Of the patterns that `unearth` makes of trusted hosts this is the narrower one.
            yield (
                f"{scheme}://{host}",
                httpx2.HTTPTransport(verify=context, proxy=settings.proxy or known),
            )


class _Paced(httpcore2.NetworkBackend):
    """Connections that give up a server which sends less than `PACE`."""

    def __init__(self, backend: httpcore2.NetworkBackend, window: float) -> None:
        """Take what makes connections, and the seconds over which the pace is measured."""
        self._backend = backend
        self._window = window

    def connect_tcp(self, *arguments: Any, **options: Any) -> httpcore2.NetworkStream:
        """Connect."""
        return _PacedStream(self._backend.connect_tcp(*arguments, **options), self._window)

    def connect_unix_socket(self, *arguments: Any, **options: Any) -> httpcore2.NetworkStream:
        """Connect."""
        return self._backend.connect_unix_socket(*arguments, **options)

    def sleep(self, seconds: float) -> None:
        """Wait."""
        self._backend.sleep(seconds)


class _PacedStream(httpcore2.NetworkStream):
    def __init__(self, stream: httpcore2.NetworkStream, window: float) -> None:
        self._stream = stream
        self._window = window
        self._begun: float | None = None
        """When the first measured bytes came.

        The time that a server takes before them is not measured.
        """
        self._count = 0

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        content = self._stream.read(max_bytes, timeout)
        now = time.monotonic()
        if now > _waiting.until:
            # There may be interim answers without end (RFC 9110, 15.2), which nobody counts.
            message = f"it has sent {self._count} bytes, and its answer has still not begun"
            raise RefusedError(message)
        self._count += len(content)
        if self._begun is None:
            self._begun = now
        elapsed = now - self._begun
        if elapsed > self._window:
            if content and self._count < PACE * elapsed:
                message = f"only {self._count} bytes came in {elapsed:.0f} s"
                raise httpcore2.ReadTimeout(message)
            self._begun, self._count = now, 0
        return content

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._begun, self._count = None, 0
        self._stream.write(buffer, timeout)

    def close(self) -> None:
        self._stream.close()

    def start_tls(self, *arguments: Any, **options: Any) -> httpcore2.NetworkStream:
        return _PacedStream(self._stream.start_tls(*arguments, **options), self._window)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
