"""Tell over HTTP, on 127.0.0.1, how a deployment is: `/livez`, `/readyz` and `/metrics`."""

from __future__ import annotations

import http.server
import json
import threading
from typing import TYPE_CHECKING, Protocol, Self

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from forkhouse.core.errors import ServingError
from forkhouse.serving.keeping import State
from forkhouse.serving.processes import LOCALHOST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from prometheus_client.core import Metric

    from forkhouse.serving.keeping import Status

CLIENT_SECONDS = 10.0
"""How long a client may take to ask."""


class Tellable(Protocol):
    """What can be told: how all is at one moment."""

    @property
    def ready(self) -> bool:
        """Whether requests can be answered."""

    @property
    def processes(self) -> tuple[Status, ...]:
        """The status of each process."""

    def as_json(self) -> dict[str, Any]:
        """Return all of it for machines."""


class _Collector:
    """Reads the counters when they are asked for."""

    def __init__(self, readiness: Callable[[], Tellable]) -> None:
        self._readiness = readiness

    def collect(self) -> Iterator[Metric]:
        now = self._readiness()
        yield GaugeMetricFamily(
            "forkhouse_ready", "1 while a process of every role is ready.", value=float(now.ready)
        )
        labels = ("role", "process")
        up = GaugeMetricFamily("forkhouse_up", "1 while the process runs.", labels=labels)
        ready = GaugeMetricFamily(
            "forkhouse_process_ready", "1 while the process is ready.", labels=labels
        )
        restarts = CounterMetricFamily(
            "forkhouse_restarts", "How often the process was started again.", labels=labels
        )
        for each in now.processes:
            place = (each.role, each.name)
            up.add_metric(place, float(each.up))
            ready.add_metric(place, float(each.state is State.READY))
            restarts.add_metric(place, each.restarts)
        yield from (up, ready, restarts)


class Teller:
    """An HTTP server in a thread of its own, for the length of a `with` block."""

    def __init__(self, readiness: Callable[[], Tellable], port: int) -> None:
        """Listen on the port. Raises ServingError where that is not possible."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Collector(readiness))

        def answer(path: str) -> tuple[int, str, bytes] | None:
            if path == "/livez":
                return 200, "text/plain; charset=utf-8", b"ok\n"
            if path == "/readyz":
                now = readiness()
                body = json.dumps(now.as_json(), indent=1).encode() + b"\n"
                return 200 if now.ready else 503, "application/json", body
            if path == "/metrics":
                return 200, CONTENT_TYPE_LATEST, generate_latest(registry)
            return None

        try:
            self._server = http.server.ThreadingHTTPServer((LOCALHOST, port), _handler(answer))
        except OSError as error:
            message = (
                f"Health cannot be told on port {port} of {LOCALHOST}: {error.strerror}. End what "
                "holds the port (`ss -tlnp` names it), or choose another in the file."
            )
            raise ServingError(message) from error
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )

    def __enter__(self) -> Self:
        """Begin to answer."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _handler(
    answer: Callable[[str], tuple[int, str, bytes] | None],
) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        timeout = CLIENT_SECONDS

        def do_GET(self) -> None:  # the library's name
            found = answer(self.path.partition("?")[0])
            status, kind, body = found or (404, "text/plain; charset=utf-8", b"not here\n")
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def do_HEAD(self) -> None:  # the library's name
            self.do_GET()

        def log_message(self, *_: object) -> None:
            """Say nothing: probes come every few seconds."""

    return Handler
