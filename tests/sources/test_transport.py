from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.server
import json
import os
import socket
import ssl
import subprocess
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx2
import pytest

from forkhouse.core.errors import DocumentError, UnreachableError
from forkhouse.sources import indexclient, transport
from forkhouse.sources.index import Registry
from forkhouse.sources.settings import IndexSettings
from forkhouse.sources.transport import Bounds, Client, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

FILE = "demo-1.0-py3-none-any.whl"
DATA = os.urandom(5000)
SHA256 = hashlib.sha256(DATA).hexdigest()
PAGE = f'<a href="/files/{FILE}">{FILE}</a>'.encode()


@dataclass
class Site:
    """A server of one index, whose answers a test decides."""

    answer: Callable[[http.server.BaseHTTPRequestHandler], None]
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)
    """Host, path and credentials of each request."""
    port: int = 0

    def paths(self) -> list[str]:
        return [path for _, path, _ in self.asked]


def send(
    handler: http.server.BaseHTTPRequestHandler, code: int, body: bytes = b"", **headers: str
) -> None:
    handler.send_response(code)
    given = {
        "Content-Type": "text/html",
        "Content-Length": str(len(body)),
        **{key.replace("_", "-"): text for key, text in headers.items()},
    }
    for key, text in given.items():
        handler.send_header(key, text)
    handler.end_headers()
    handler.wfile.write(body)


def honest(handler: http.server.BaseHTTPRequestHandler) -> None:
    send(handler, 200, PAGE if handler.path.endswith("/demo/") else DATA)


@contextlib.contextmanager
def serving(site: Site, context: ssl.SSLContext | None = None) -> Iterator[Site]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.asked.append((str(self.headers["Host"]), self.path, self.headers["Authorization"]))
            with contextlib.suppress(OSError):
                site.answer(self)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """Say nothing: a client may go at any time."""

    with Server(("127.0.0.1", 0), Handler) as server:
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        site.port = server.server_port
        thread = threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        thread.start()
        yield site
        server.shutdown()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were made, which took no time."""
    made: list[float] = []
    monkeypatch.setattr(transport, "pause", made.append)
    return made


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch, waits: list[float]) -> Iterator[Site]:
    _ = waits
    for name in [
        name for name in os.environ if name.startswith("PIP_") or name.lower().endswith("_proxy")
    ]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    with serving(Site(honest)) as site:
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{site.port}/simple")
        yield site


def first(*codes: int, **headers: str) -> Callable[[http.server.BaseHTTPRequestHandler], None]:
    """Answer with these codes at first, and then as an honest server."""
    left = list(codes)

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        if left:
            send(handler, left.pop(0), b"", **headers)
        else:
            honest(handler)

    return answer


def leading_on(
    target: str, *, code: int = 302
) -> Callable[[http.server.BaseHTTPRequestHandler], None]:
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        if handler.path.startswith("/old"):
            send(handler, code, Location=target)
        else:
            honest(handler)

    return answer


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_an_archive_behind_a_redirect_is_fetched(site: Site, registry: Registry, code: int) -> None:
    site.answer = leading_on(f"/files/{FILE}", code=code)
    url = f"http://127.0.0.1:{site.port}/old/{FILE}"
    assert registry.fetch_archive(url, FILE, SHA256, mirror=None).read_bytes() == DATA


def test_index_pages_and_files_behind_redirects_are_found(
    site: Site, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{site.port}/old")
    site.answer = leading_on("/new/demo/")
    assert registry.fetch("demo", FILE, SHA256).read_bytes() == DATA
    assert site.paths() == ["/old/demo/", "/new/demo/", f"/files/{FILE}"]


def test_credentials_stay_with_their_host(
    site: Site, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", f"http://bob:canary-one@127.0.0.1:{site.port}/simple")

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        if handler.path.startswith("/files/") and handler.headers["Host"].startswith("127.0.0.1:"):
            # Another name of this machine is another host.
            send(
                handler, 302, Location=f"http://eve:canary-two@localhost:{site.port}{handler.path}"
            )
        else:
            honest(handler)

    site.answer = answer
    assert registry.fetch("demo", FILE, SHA256).read_bytes() == DATA
    assert [(host.partition(":")[0], bool(credentials)) for host, _, credentials in site.asked] == [
        ("127.0.0.1", True),
        ("127.0.0.1", True),
        ("localhost", False),
    ]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("/old/again", "more than 10 redirects"),
        ("file:///etc/passwd", "127.0.0.1 leads on to a file of this machine"),
        (
            "http://host.invalid/x",
            (
                "is no https address, and host.invalid is neither this machine nor among pip's "
                "`trusted-host`"
            ),
        ),
        ("ftp://127.0.0.1/x", "is no https address"),
        ("http://[::1", "could not be downloaded: "),
    ],
)
def test_a_redirect_that_leads_astray_is_not_followed(
    site: Site, registry: Registry, target: str, message: str
) -> None:
    site.answer = leading_on(target)
    with pytest.raises(UnreachableError, match=message):
        registry.fetch_archive(
            f"http://127.0.0.1:{site.port}/old/{FILE}", FILE, SHA256, mirror=None
        )
    assert len(site.asked) <= 11 * 6


def test_a_page_of_another_machine_cannot_name_files_of_this_one(
    site: Site, registry: Registry, tmp_path: Path
) -> None:
    (tmp_path / FILE).write_bytes(DATA)
    site.answer = lambda handler: send(
        handler, 200, f'<a href="{(tmp_path / FILE).as_uri()}">{FILE}</a>'.encode()
    )
    with pytest.raises(
        UnreachableError, match="a page of another machine names a file of this one"
    ):
        registry.fetch("demo", FILE, SHA256)


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
def test_pages_and_files_are_asked_for_again_where_a_server_is_busy(
    site: Site, registry: Registry, waits: list[float], code: int
) -> None:
    site.answer = first(code, code)
    assert registry.fetch("demo", FILE, SHA256).read_bytes() == DATA
    assert waits == [0.25, 0.5]
    site.answer = first(code)
    url = f"http://127.0.0.1:{site.port}/files/{FILE}"
    assert registry.measure_archive(url, FILE, mirror=None) == SHA256


def test_a_server_is_left_alone_as_long_as_it_asks(
    site: Site, registry: Registry, waits: list[float]
) -> None:
    site.answer = first(429, Retry_After="7")
    registry.fetch("demo", FILE, SHA256)
    assert waits == [7.0]
    site.answer = first(503, Retry_After="Fri, 01 Jan 2100 00:00:00 GMT")
    with pytest.raises(UnreachableError, match=r"answers 503 and asks to be left alone for \d+ s"):
        registry.links("demo")
    assert waits == [7.0]


@pytest.mark.parametrize("retries", [0, 2])
def test_retries_are_as_many_as_pip_is_told(
    site: Site, registry: Registry, monkeypatch: pytest.MonkeyPatch, retries: int
) -> None:
    monkeypatch.setenv("PIP_RETRIES", str(retries))
    site.answer = lambda handler: send(handler, 503)
    with pytest.raises(UnreachableError, match=r"No index answered for demo: .*503"):
        registry.links("demo")
    assert len(site.asked) == retries + 1


@pytest.mark.parametrize("length", ["abc", "-5", "9" * 400])
def test_an_answer_that_is_none_is_asked_for_as_often_as_pip_would(
    site: Site, registry: Registry, length: str
) -> None:
    site.answer = lambda handler: send(handler, 200, DATA, Content_Length=length)
    with pytest.raises(UnreachableError, match="could not be downloaded"):
        registry.fetch_archive(f"http://127.0.0.1:{site.port}/{FILE}", FILE, SHA256, mirror=None)
    assert len(site.asked) == 6


def test_what_is_not_there_is_asked_for_once(site: Site, registry: Registry) -> None:
    site.answer = lambda handler: send(handler, 404)
    with pytest.raises(UnreachableError, match="404"):
        registry.fetch_archive(f"http://127.0.0.1:{site.port}/{FILE}", FILE, SHA256, mirror=None)
    assert len(site.asked) == 1


@pytest.mark.parametrize("headers", ["HTTP/1.0 200 OK\r\n\r\n", "HTTP/1.0 200 O"])
def test_a_server_that_sends_a_byte_at_a_time_is_given_up(
    site: Site, registry: Registry, monkeypatch: pytest.MonkeyPatch, headers: str
) -> None:
    monkeypatch.setenv("PIP_TIMEOUT", "1")
    monkeypatch.setenv("PIP_RETRIES", "0")

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.wfile.write(headers.encode())
        for _ in range(200):
            handler.wfile.write(b"x")
            time.sleep(0.1)

    site.answer = answer
    with pytest.raises(UnreachableError, match=r"only \d+ bytes came in \d+ s"):
        registry.fetch_archive(f"http://127.0.0.1:{site.port}/{FILE}", FILE, SHA256, mirror=None)


def test_a_server_that_announces_an_answer_without_end_is_given_up(
    site: Site, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interim answers are none, and a client skips as many as there are."""
    monkeypatch.setenv("PIP_TIMEOUT", "1")
    monkeypatch.setattr(
        indexclient, "Client", lambda settings: Client(settings, Bounds(head_seconds=1.0))
    )

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        while True:
            handler.wfile.write(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 100)
            time.sleep(0.01)

    site.answer = answer
    with pytest.raises(UnreachableError, match="its answer has still not begun"):
        registry.fetch("demo", FILE, SHA256)
    with pytest.raises(UnreachableError, match="its answer has still not begun"):
        registry.fetch_archive(f"http://127.0.0.1:{site.port}/{FILE}", FILE, SHA256, mirror=None)


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ("X-Nothing: 1", r"127\.0\.0\.1 sends \d+ bytes or more; more than 100000 are refused"),
        (
            "Transfer-Encoding: chunked",
            r"127\.0\.0\.1 sends \d+ bytes or more; more than 100000 are refused",
        ),
        (
            "Content-Length: 9999999999",
            "sends 9999999999 bytes or more; more than 200000 are refused",
        ),
        ("Content-Length: abc", "could not be downloaded"),
        (f"Content-Length: {'9' * 400}", "could not be downloaded"),
    ],
)
def test_a_server_that_sends_without_end_is_given_up(
    site: Site,
    registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    headers: str,
    message: str,
) -> None:
    monkeypatch.setattr(
        indexclient,
        "Client",
        lambda settings: Client(settings, Bounds(file=200_000, unannounced=100_000)),
    )
    sent = []

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.wfile.write(f"HTTP/1.1 200 OK\r\n{headers}\r\n\r\n".encode())
        for number in range(5000):
            handler.wfile.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")
            sent.append(number)

    site.answer = answer
    with pytest.raises(UnreachableError, match=message):
        registry.fetch_archive(f"http://127.0.0.1:{site.port}/{FILE}", FILE, SHA256, mirror=None)
    assert len(sent) < 5000
    assert [path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def test_a_page_is_bounded_as_it_is_unpacked(
    site: Site, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        indexclient, "Client", lambda settings: Client(settings, Bounds(page=1_000_000))
    )
    site.answer = lambda handler: send(
        handler, 200, gzip.compress(PAGE + b" " * 5_000_000), Content_Encoding="gzip"
    )
    with pytest.raises(
        UnreachableError, match=r"sends \d+ bytes or more; more than 1000000 are refused"
    ):
        registry.links("demo")
    site.answer = lambda handler: send(handler, 200, gzip.compress(PAGE), Content_Encoding="gzip")
    assert list(registry.links("demo")) == [FILE]
    site.answer = lambda handler: send(handler, 200, PAGE, Content_Encoding="br")
    with pytest.raises(UnreachableError, match="a page packed as 'br', for which nobody asked"):
        registry.links("demo")


def listing(handler: http.server.BaseHTTPRequestHandler, size: object) -> None:
    page = {
        "meta": {"api-version": "1.1"},
        "name": "demo",
        "files": [{"filename": FILE, "url": f"/files/{FILE}", "hashes": {}, "size": size}],
    }
    send(
        handler, 200, json.dumps(page).encode(), Content_Type="application/vnd.pypi.simple.v1+json"
    )


@pytest.mark.parametrize("headers", ["Transfer-Encoding: chunked", "Content-Length: 300000000"])
def test_a_file_may_not_be_longer_than_its_index_says(
    site: Site, registry: Registry, headers: str
) -> None:
    sent = []

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        if handler.path.endswith("/demo/"):
            return listing(handler, len(DATA))
        handler.wfile.write(f"HTTP/1.1 200 OK\r\n{headers}\r\n\r\n".encode())
        for number in range(5000):
            handler.wfile.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")
            sent.append(number)
        return None

    site.answer = answer
    with pytest.raises(
        UnreachableError, match=rf"sends \d+ bytes or more; more than {len(DATA)} are refused"
    ):
        registry.fetch("demo", FILE, SHA256)
    assert len(sent) < 1000


@pytest.mark.parametrize("size", [len(DATA), None, "many", -1, True, [1]])
def test_what_an_index_says_of_a_size_never_hinders(
    site: Site, registry: Registry, size: object
) -> None:
    site.answer = lambda handler: (
        listing(handler, size) if handler.path.endswith("/demo/") else send(handler, 200, DATA)
    )
    assert registry.fetch("demo", FILE, SHA256).read_bytes() == DATA


@pytest.mark.parametrize("code", [401, 403, 407])
def test_an_index_that_denies_is_not_one_that_offers_nothing(
    site: Site, registry: Registry, code: int
) -> None:
    site.answer = lambda handler: send(handler, code)
    with pytest.raises(
        UnreachableError,
        match=rf"Not all of them let us look: 127\.0\.0\.1 answered {code}\. Give a user.*pip's "
        rf"settings",
    ):
        registry.links("demo")
    site.answer = lambda handler: (
        send(handler, code) if handler.path.startswith("/files") else honest(handler)
    )
    with pytest.raises(
        UnreachableError,
        match=rf"could not be downloaded: .*{code}.*Give a user with a password or token",
    ):
        registry.fetch("demo", FILE, SHA256)


def test_the_proxy_of_pip_is_asked(
    site: Site, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_PROXY", f"http://127.0.0.1:{site.port}")
    monkeypatch.setenv("PIP_TRUSTED_HOST", "index.invalid other.invalid:81")
    for address in ("http://127.0.0.9:1/simple", "http://index.invalid/simple"):
        monkeypatch.setenv("PIP_INDEX_URL", address)
        fresh = Registry(registry._cache, offline=False)
        assert list(fresh.links("demo")) == [FILE]
        assert site.asked[-1][1] == f"{address}/demo/"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PIP_CERT", "/nowhere/ca.pem"),
        ("PIP_CLIENT_CERT", "/nowhere/client.pem"),
        ("PIP_PROXY", "gopher://127.0.0.1"),
        ("PIP_TIMEOUT", "soon"),
        ("PIP_TIMEOUT", "nan"),
        ("PIP_RETRIES", "-1"),
        ("PIP_RETRIES", "some"),
    ],
)
def test_a_setting_of_pip_that_cannot_be_used_is_explained(
    site: Site, registry: Registry, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    _ = site
    monkeypatch.setenv(name, value)
    with pytest.raises(
        DocumentError, match=r"(?s)pip('s setting| cannot read its own settings).*pip config list"
    ):
        registry.links("demo")


def test_a_setting_that_is_empty_is_not_set(
    site: Site, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    _ = site
    for name in ("PIP_TIMEOUT", "PIP_PROXY", "PIP_CERT", "PIP_RETRIES"):
        monkeypatch.setenv(name, "")
    assert list(registry.links("demo")) == [FILE]


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of 127.0.0.1 with its key, signed by itself."""
    path = tmp_path / "own.pem"
    options = [
        "-nodes",
        "-subj",
        "/CN=127.0.0.1",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-days",
        "2",
    ]
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        *options,
        "-keyout",
        str(path),
        "-out",
        str(tmp_path / "cert.pem"),
    ]
    subprocess.run(command, check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + (tmp_path / "cert.pem").read_bytes())
    return path


def test_the_certificates_that_pip_is_told_of_count(
    site: Site, registry: Registry, monkeypatch: pytest.MonkeyPatch, certificate: Path
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.load_verify_locations(certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    monkeypatch.setenv("PIP_RETRIES", "0")

    def found(**settings: str) -> list[str]:
        for name in ("PIP_CERT", "PIP_CLIENT_CERT", "PIP_TRUSTED_HOST"):
            monkeypatch.delenv(name, raising=False)
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        return list(Registry(registry._cache, offline=False).links("demo"))

    with serving(Site(honest), context) as guarded:
        monkeypatch.setenv("PIP_INDEX_URL", f"https://127.0.0.1:{guarded.port}/simple")
        own = str(certificate)
        assert found(PIP_CERT=own, PIP_CLIENT_CERT=own) == [FILE]
        assert found(PIP_TRUSTED_HOST="127.0.0.1", PIP_CLIENT_CERT=own) == [FILE]
        assert found(PIP_TRUSTED_HOST=f"127.0.0.1:{guarded.port}", PIP_CLIENT_CERT=own) == [FILE]
        for wrong in ({"PIP_CLIENT_CERT": own}, {"PIP_CERT": own}):
            with pytest.raises(UnreachableError, match="No index answered for demo"):
                found(**wrong)
        guarded.answer = lambda handler: send(
            handler, 302, Location=f"http://127.0.0.1:{site.port}/simple/demo/"
        )
        with pytest.raises(UnreachableError, match=r"leads on from https to http://127\.0\.0\.1"):
            found(PIP_CERT=own, PIP_CLIENT_CERT=own)
        assert site.asked == []


def test_a_connection_that_is_dropped_is_made_again(
    site: Site, registry: Registry, waits: list[float]
) -> None:
    dropped: list[int] = []

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        if len(dropped) < 2:
            dropped.append(1)
            handler.connection.shutdown(socket.SHUT_RDWR)
        else:
            honest(handler)

    site.answer = answer
    assert registry.fetch("demo", FILE, SHA256).read_bytes() == DATA
    assert waits == [0.25, 0.5]


def test_only_trusted_hosts_and_this_machine_are_asked_in_the_clear() -> None:
    settings = IndexSettings(
        indexes=(),
        find_links=(),
        trusted_hosts=("inside.invalid:8080",),
        certificates=None,
        timeout=5,
    )
    with Client(settings) as client:
        for address in (
            "http://localhost/",
            "http://127.8.9.1/",
            "http://[::1]/",
            "http://inside.invalid:8080/",
            "https://any.invalid/",
        ):
            client._check(httpx2.URL(address))
        for address in (
            "http://any.invalid/",
            "http://10.0.0.1/",
            "http://localhost.any.invalid/",
            "ftp://localhost/",
        ):
            with pytest.raises(RefusedError, match="no https address"):
                client._check(httpx2.URL(address))
