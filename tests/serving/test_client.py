from __future__ import annotations

import http.server
import json
import threading
from typing import TYPE_CHECKING, ClassVar

import pytest

from forkhouse.core.errors import ServingError
from forkhouse.serving.client import chat_stream, samples
from forkhouse.serving.processes import LOCALHOST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAGE = r"""# HELP up Whether it runs, and a } and a {.
# TYPE up gauge
up{host="a",path="C:\\{x} \"y\" 7"} 1
up{host="b # {} 9"} 0.5 1700000000000
# A comment that says nothing
# TYPE tokens_total counter
tokens_total{model="m"} 4
tokens_total 3
# TYPE old counter
old 2
# TYPE seconds histogram
seconds_bucket{le="1"} 2
seconds_bucket{le="+Inf"} 5
seconds_sum 7.5
seconds_count 5
{"name.with.dots",a="b"} 6
untyped	8
"""


def test_what_a_page_of_prometheus_says_is_summed_over_the_labels() -> None:
    assert samples(PAGE) == {
        "up": 1.5,
        "tokens_total": 7,
        "old_total": 2,
        "seconds_bucket": 7,
        "seconds_sum": 7.5,
        "seconds_count": 5,
        "name.with.dots": 6,
        "untyped": 8,
    }
    assert samples("") == {}


@pytest.mark.parametrize(
    "page", ["<html>no</html>", "up", "up one", 'up{a="b" 1', '{"error": "none"}']
)
def test_what_is_no_such_page_is_refused(page: str) -> None:
    with pytest.raises((ValueError, IndexError)):
        samples(page)


class Streaming(http.server.BaseHTTPRequestHandler):
    said: ClassVar[bytes] = b""
    status: ClassVar[int] = 200

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(self.said)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def stream() -> Iterator[Callable[..., list[str]]]:
    """Ask a server that says what it is told to, and return the pieces of its answer."""
    with http.server.ThreadingHTTPServer((LOCALHOST, 0), Streaming) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()

        def ask(said: bytes, status: int = 200) -> list[str]:
            Streaming.said, Streaming.status = said, status
            return list(chat_stream(server.server_port, "m", "Hello", tokens=3, wait=10))

        yield ask
        server.shutdown()
        thread.join()


def chunk(text: str | None) -> bytes:
    return b"data: " + json.dumps({"choices": [{"delta": {"content": text}}]}).encode() + b"\n\n"


def test_an_answer_comes_in_pieces(stream: Callable[..., list[str]]) -> None:
    said = chunk("a") + b": a comment\n\n" + chunk(None) + chunk(" \n") + chunk("é")
    usage = b'data: {"choices": [], "usage": {}}\n\n'
    assert stream(said + usage + b"data: [DONE]\n\n") == ["a", " \n", "é"]


@pytest.mark.parametrize(
    ("said", "status", "told"),
    [
        (b"", 404, "answered with HTTP 404"),
        (b"no workers", 503, "HTTP 503: no workers"),
        (chunk("a"), 200, "ended before its end was said"),
        (b"data: {broken\n\n", 200, "broke off"),
    ],
)
def test_an_answer_that_is_none_is_told(
    stream: Callable[..., list[str]], said: bytes, status: int, told: str
) -> None:
    with pytest.raises(ServingError, match=told):
        stream(said, status)
