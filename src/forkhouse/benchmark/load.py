"""Put load on an endpoint with aiperf, and read what it measured.

Every run has a fixed number of requests.

aiperf sends, times and counts; here its files become values. It could ask for the engines' metrics,
too, but does so a few times a second, and so counts transfers at the seam of warm-up and
measurement twice or never. Here they are asked for while nothing is in flight.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from forkhouse.benchmark import endpoint
from forkhouse.benchmark.results import Request, Round, TransferCounts
from forkhouse.core.errors import ServingError
from forkhouse.serving import transfers as connector
from forkhouse.serving.processes import Server

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from forkhouse.benchmark.generator import Generator
    from forkhouse.benchmark.results import Load

CARRIED = ("LANG", "LC_ALL", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""Variables of the caller that are passed to the generator.

Proxy settings are not: a proxy would be measured, too.
"""
ROUND_SECONDS = 1800.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """The endpoint that is put under load."""

    url: str
    """Base URL of an OpenAI-compatible server; `/v1/chat/completions` is below it."""
    model: str
    tokenizer: Path
    """Folder with the model's tokenizer."""
    metrics: tuple[str, ...] = ()
    """URLs of the workers' Prometheus metrics."""


def measure_round(
    generator: Generator,
    target: Target,
    load: Load,
    *,
    concurrency: int,
    seed: int,
    folder: Path,
    wait: float = ROUND_SECONDS,
) -> Round:
    """Run one round with `concurrency` requests in flight.

    Makes `folder` and keeps aiperf's own files there. Raises ServingError when aiperf fails or
    takes longer than `wait` seconds, when a request fails, when aiperf's files lack something that
    is needed, and when the workers' metrics cannot be fetched.
    """
    folder.mkdir(parents=True)
    (folder / "home").mkdir()
    before = _counters(target.metrics)
    command = _command(generator, target, load, concurrency=concurrency, seed=seed, folder=folder)
    # It is killed in the end, and leaves sockets and files. Their folder's name has to be short, as
    # those of Unix sockets do.
    with tempfile.TemporaryDirectory(prefix="forkhouse-") as temporary:
        environment = {
            **{name: os.environ[name] for name in CARRIED if name in os.environ},
            "PATH": f"{generator.program.parent}:/usr/bin:/bin",
            "HOME": str(folder / "home"),
            "TMPDIR": temporary,
            "DO_NOT_TRACK": "1",
        }
        server = Server.start(
            "load generator",
            command,
            log=folder / "console.log",
            environment=environment,
            folder=folder,
        )
        try:
            code = server.wait(wait)
        finally:
            # It has a dozen children. Asked to end while it starts, it goes on for minutes; it has
            # nothing to put away.
            server.kill()
    if code != 0:
        what = f"ended with exit code {code}"
        raise server.error(what)
    try:
        transfers = _transfers(before, _counters(target.metrics))
        return read_round(
            folder, seed=seed, expected=load.requests(concurrency), transfers=transfers
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        what = f"left files that cannot be read ({type(error).__name__}: {error})"
        raise server.error(what) from error


def _command(
    generator: Generator, target: Target, load: Load, *, concurrency: int, seed: int, folder: Path
) -> list[str]:
    requests, warmup = load.requests(concurrency), load.warmup(concurrency)
    options: dict[str, object] = {
        "--model": target.model,
        "--url": target.url,
        "--endpoint-type": "chat",
        "--tokenizer": target.tokenizer,
        "--synthetic-input-tokens-mean": load.prompt_tokens,
        "--synthetic-input-tokens-stddev": 0,
        "--output-tokens-mean": load.output_tokens,
        "--output-tokens-stddev": 0,
        "--concurrency": concurrency,
        "--request-count": requests,
        "--warmup-request-count": warmup,
        # With fewer the prompts of the warm-up would come again, and a prefix cache would hold them
        # whole.
        "--num-dataset-entries": requests + warmup,
        "--random-seed": seed,
        "--artifact-dir": folder,
        "--export-level": "records",
        "--ui": "none",
    }
    if load.prefix_tokens:
        options["--shared-system-prompt-length"] = load.prefix_tokens
    if load.ignore_eos:
        options["--extra-inputs"] = "ignore_eos:true"
    words = [str(word) for pair in options.items() for word in pair]
    # Counts of the server: tokens that make one text need not be those that the text is made of
    # when it is read again.
    words += [
        "--streaming",
        "--use-server-token-count",
        "--no-gpu-telemetry",
        "--no-server-metrics",
    ]
    return [str(generator.program), "profile", *words]


def read_round(
    folder: Path, *, seed: int, expected: int, transfers: TransferCounts | None
) -> Round:
    """Return what aiperf's files in `folder` say of its measured phase.

    Raises ServingError when a request failed or their number is not `expected`; OSError,
    ValueError, KeyError or TypeError when the files are not there or not of the form that is known.
    """
    summary: dict[str, Any] = json.loads(
        (folder / "profile_export_aiperf.json").read_text(encoding="utf-8")
    )
    with (folder / "profile_export.jsonl").open(encoding="utf-8") as lines:
        records = [
            record
            for record in map(json.loads, lines)
            if record["metadata"]["benchmark_phase"] == "profiling"
        ]
    failed = [record["error"] for record in records if record.get("error")]
    if failed or len(records) != expected or summary["was_cancelled"]:
        first = f" The first failure: {json.dumps(failed[0])[:500]}" if failed else ""
        message = (
            f"{expected} requests were to be measured; {len(records)} were sent and {len(failed)} "
            "of them failed. "
            f"Nothing of this measurement is kept.{first}"
        )
        raise ServingError(message)
    records.sort(key=lambda record: record["metadata"]["request_start_ns"])
    return Round(
        seed=seed,
        seconds=summary["benchmark_duration"]["avg"],
        requests=tuple(_request(record["metrics"]) for record in records),
        transfers=transfers,
    )


def _request(metrics: Mapping[str, Any]) -> Request:
    def value(name: str) -> float | None:
        found = metrics.get(name)
        return None if found is None else float(found["value"])

    cached = value("usage_prompt_cache_read_tokens")
    gaps = metrics.get("inter_chunk_latency", {"value": []})["value"]
    return Request(
        first_token_ms=metrics["time_to_first_token"]["value"],
        between_tokens_ms=value("inter_token_latency"),
        longest_gap_ms=max(gaps) if gaps else None,
        latency_ms=metrics["request_latency"]["value"],
        input_tokens=int(metrics["input_sequence_length"]["value"]),
        cached_tokens=None if cached is None else int(cached),
        output_tokens=int(metrics["output_sequence_length"]["value"]),
    )


def _counters(urls: Iterable[str]) -> dict[str, float]:
    """Return the sums of all counters over all workers."""
    sums: dict[str, float] = {}
    for url in urls:
        for name, value in endpoint.metrics(url).items():
            sums[name] = sums.get(name, 0) + value
    return sums


def _transfers(before: Mapping[str, float], after: Mapping[str, float]) -> TransferCounts | None:
    moved = connector.Transfers.counted(after).since(connector.Transfers.counted(before))
    if min(moved.count, moved.failed) < 0:
        message = (
            "A worker was started anew during a round: its counters begin again, and the round "
            "says nothing. See why, and measure again."
        )
        raise ServingError(message)
    return TransferCounts(**asdict(moved)) if moved.count or moved.failed else None
