"""A small OpenAI-compatible server, the load generator, and measurements whose figures can be told
in the head.
"""

from __future__ import annotations

import http.server
import json
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from forkhouse.benchmark.generator import install
from forkhouse.benchmark.results import (
    Case,
    Environment,
    Load,
    Machine,
    Measurement,
    Request,
    Round,
    TransferCounts,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from forkhouse.benchmark.generator import Generator
    from forkhouse.benchmark.results import ServingLayout
    from forkhouse.flow.plant import Plant

FIRST_TOKEN_SECONDS = 0.2
TOKEN_SECONDS = 0.02


@pytest.fixture(scope="session")
def generator(plant: Plant) -> Generator:
    """Install the load generator below build/, from the cache or the registry."""
    return install(plant.workspace, plant.registry)


@dataclass(kw_only=True)
class Fake:
    """A server that answers each request with as many words as tokens were asked for, in a fixed
    time.
    """

    url: str = ""
    fail_after: int | None = None
    """Answer so many requests, and refuse all others."""
    asked: list[dict[str, Any]] = field(default_factory=list)

    def refuses(self) -> bool:
        return self.fail_after is not None and len(self.asked) > self.fail_after


METRICS = """# TYPE vllm:nixl_bytes_transferred histogram
vllm:nixl_bytes_transferred_bucket{{le="+Inf"}} {count}
vllm:nixl_bytes_transferred_count {count}
vllm:nixl_bytes_transferred_sum {size}
# TYPE vllm:nixl_xfer_time_seconds histogram
vllm:nixl_xfer_time_seconds_bucket{{le="+Inf"}} {count}
vllm:nixl_xfer_time_seconds_count {count}
vllm:nixl_xfer_time_seconds_sum {seconds}
# TYPE vllm:nixl_num_failed_transfers counter
vllm:nixl_num_failed_transfers_total 0
"""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    fake: Fake

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _send(self, text: str, kind: str, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def do_GET(self) -> None:
        if self.path == "/v1/models":
            self._send(
                json.dumps({"object": "list", "data": [{"id": "fake", "object": "model"}]}),
                "application/json",
            )
        elif self.path == "/version":
            self._send(json.dumps({"version": "7.8"}), "application/json")
        elif self.path == "/metrics":
            # Each request moves 1 MB within 2 ms.
            count = len(self.fake.asked)
            self._send(
                METRICS.format(count=count, size=count * 1_000_000, seconds=count * 0.002),
                "text/plain; version=0.0.4",
            )
        else:
            self._send("", "text/plain", 404)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.fake.asked.append(body)
        if self.fake.refuses():
            self._send('{"error": "tired"}', "application/json", 500)
            return
        tokens = body["max_completion_tokens"]
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        time.sleep(FIRST_TOKEN_SECONDS)
        for number in range(tokens):
            self._event(
                {"choices": [{"index": 0, "delta": {"content": " word"}, "finish_reason": None}]}
            )
            if number < tokens - 1:
                time.sleep(TOKEN_SECONDS)
        usage = {
            "prompt_tokens": 50,
            "completion_tokens": tokens,
            "total_tokens": 50 + tokens,
            "prompt_tokens_details": {"cached_tokens": 16},
        }
        self._event({"choices": [], "usage": usage})
        self._chunk("data: [DONE]\n\n")
        self._chunk("")

    def _event(self, values: dict[str, Any]) -> None:
        common = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "fake"}
        self._chunk(f"data: {json.dumps({**common, **values})}\n\n")

    def _chunk(self, text: str) -> None:
        self.wfile.write(f"{len(text):x}\r\n{text}\r\n".encode())
        self.wfile.flush()


@pytest.fixture
def fake() -> Iterator[Fake]:
    made = Fake()
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), type("Handler", (_Handler,), {"fake": made})
    )
    server.daemon_threads = True
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    """A folder with a tokenizer of one token for each byte, which is made without the libraries
    that read it.
    """
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    letters = {f"<0x{byte:02X}>": byte for byte in range(256)}
    values: dict[str, Any] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": {"type": "ByteFallback"},
        "model": {
            "type": "BPE",
            "byte_fallback": True,
            "unk_token": None,
            "vocab": letters,
            "merges": [],
        },
    }
    (folder / "tokenizer.json").write_text(json.dumps(values), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(
        '{"tokenizer_class": "PreTrainedTokenizerFast"}', encoding="utf-8"
    )
    return folder


@pytest.fixture
def make_round() -> Callable[..., Round]:
    """Make a round whose requests all take the given times, in milliseconds."""

    def make(
        seed: int,
        first: float = 100,
        *,
        between: float = 10,
        seconds: float = 2,
        requests: int = 4,
        transfers: TransferCounts | None = None,
        cached: int | None = None,
    ) -> Round:
        request = Request(
            first_token_ms=first,
            between_tokens_ms=between,
            longest_gap_ms=2 * between,
            latency_ms=first + 9 * between,
            input_tokens=90,
            cached_tokens=cached,
            output_tokens=10,
        )
        return Round(
            seed=seed,
            seconds=seconds,
            requests=(request,) * requests,
            transfers=transfers,
        )

    return make


@pytest.fixture
def make_case(make_round: Callable[..., Round]) -> Callable[..., Case]:
    """Make a case whose rounds have the given times to the first token."""

    def make(
        seed: int,
        firsts: Sequence[float],
        layout: ServingLayout = "aggregated",
        *,
        caching: bool | None = False,
        concurrency: int = 1,
    ) -> Case:
        rounds = tuple(make_round(seed + number, first) for number, first in enumerate(firsts))
        return Case(layout=layout, prefix_caching=caching, concurrency=concurrency, rounds=rounds)

    return make


@pytest.fixture
def make_measurement() -> Callable[..., Measurement]:
    """Make a measurement with the given cases on a device, and what else is given of its
    environment.
    """

    def make(
        *cases: Case, device: str | None = "mi210", output_tokens: int = 10, **others: object
    ) -> Measurement:
        machine = Machine(
            processor="Some <fast> one",
            cores=2,
            memory_bytes=2**34,
            system="Debian",
            kernel="6.1",
            gpus=(),
            amdgpu_driver=None,
            nvidia_driver=None,
            rocm=None,
        )
        values: dict[str, Any] = {
            "forkhouse": "0.1",
            "generator": "aiperf 1",
            "endpoint": "http://127.0.0.1:1",
            "model": "m",
            "tokenizer_sha256": "0" * 64,
            "device": device,
            "machine": machine,
            "server_version": None,
            "stack": None,
        }
        return Measurement(
            begun="2026-01-02T03:04:05+00:00",
            environment=Environment(**{**values, **others}),
            load=Load(
                prefix_tokens=20, prompt_tokens=30, output_tokens=output_tokens, requests_per_slot=4
            ),
            cases=cases,
        )

    return make
