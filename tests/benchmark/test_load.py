from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from forkhouse.benchmark.load import Target, _transfers, measure_round, read_round
from forkhouse.benchmark.results import Load, TransferCounts
from forkhouse.core.errors import ServingError
from tests.benchmark.conftest import FIRST_TOKEN_SECONDS, TOKEN_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

    from forkhouse.benchmark.generator import Generator
    from tests.benchmark.conftest import Fake

LOAD = Load(prefix_tokens=20, prompt_tokens=30, output_tokens=8, requests_per_slot=3)


def record(start: int, *, phase: str = "profiling", **others: Any) -> dict[str, Any]:
    metrics = {
        "time_to_first_token": {"value": 100.5, "unit": "ms"},
        "inter_token_latency": {"value": 10.5, "unit": "ms"},
        "inter_chunk_latency": {"value": [10, 12.5, 9], "unit": "ms"},
        "request_latency": {"value": 200.5, "unit": "ms"},
        "input_sequence_length": {"value": 50, "unit": "tokens"},
        "output_sequence_length": {"value": 8, "unit": "tokens"},
    }
    return {
        "metadata": {"benchmark_phase": phase, "request_start_ns": start},
        "metrics": metrics,
        **others,
    }


def lay_out(folder: Path, records: list[dict[str, Any]], *, cancelled: bool = False) -> Path:
    (folder / "profile_export.jsonl").write_text(
        "".join(f"{json.dumps(each)}\n" for each in records), encoding="utf-8"
    )
    summary = {"was_cancelled": cancelled, "benchmark_duration": {"avg": 1.5}}
    (folder / "profile_export_aiperf.json").write_text(json.dumps(summary), encoding="utf-8")
    return folder


def test_only_the_measured_phase_counts(tmp_path: Path) -> None:
    found = read_round(
        lay_out(tmp_path, [record(0, phase="warmup"), record(2), record(1)]),
        seed=7,
        expected=2,
        transfers=None,
    )
    assert (found.seed, found.seconds, len(found.requests)) == (7, 1.5, 2)
    first, _ = found.requests
    assert (
        first.first_token_ms,
        first.between_tokens_ms,
        first.longest_gap_ms,
        first.latency_ms,
    ) == (100.5, 10.5, 12.5, 200.5)
    assert first.cached_tokens is None


def test_an_answer_of_one_token_has_no_time_between_tokens(tmp_path: Path) -> None:
    short = record(1)
    for name in ("inter_token_latency", "inter_chunk_latency"):
        del short["metrics"][name]
    (request,) = read_round(lay_out(tmp_path, [short]), seed=1, expected=1, transfers=None).requests
    assert (request.between_tokens_ms, request.longest_gap_ms) == (None, None)


def test_transfers_are_those_between_two_looks_at_the_counters() -> None:
    names = (
        "bytes_transferred_count",
        "bytes_transferred_sum",
        "xfer_time_seconds_sum",
        "post_time_seconds_sum",
        "num_descriptors_sum",
    )
    before = {f"vllm:nixl_{name}": 1.0 for name in names}
    after = {
        f"vllm:nixl_{name}": value
        for name, value in zip(names, (5.0, 401.0, 1.75, 1.125, 13.0), strict=True)
    }
    failed = {"vllm:nixl_num_failed_transfers_total": 2.0}
    assert _transfers(before, after) == TransferCounts(
        count=4, size=400, seconds=0.75, post_seconds=0.125, descriptors=12, failed=0
    )
    assert _transfers(before, {**before, **failed}) == TransferCounts(
        count=0, size=0, seconds=0, post_seconds=0, descriptors=0, failed=2
    )
    assert _transfers(before, before) is None
    assert _transfers({}, {}) is None
    with pytest.raises(ServingError, match="started anew"):
        _transfers(after, before)


def test_a_failed_request_fails_the_round(tmp_path: Path) -> None:
    with pytest.raises(ServingError, match=r"1 of them failed.*tired"):
        read_round(
            lay_out(tmp_path, [record(1), record(2, error={"message": "tired"})]),
            seed=1,
            expected=2,
            transfers=None,
        )


def test_too_few_requests_fail_the_round(tmp_path: Path) -> None:
    with pytest.raises(ServingError, match="3 requests were to be measured; 1 were sent"):
        read_round(lay_out(tmp_path, [record(1)]), seed=1, expected=3, transfers=None)


def test_a_cancelled_round_fails(tmp_path: Path) -> None:
    with pytest.raises(ServingError, match="Nothing of this measurement is kept"):
        read_round(
            lay_out(tmp_path, [record(1)], cancelled=True), seed=1, expected=1, transfers=None
        )


@pytest.mark.generator
def test_the_generator_measures_what_the_server_does(
    generator: Generator, fake: Fake, tokenizer: Path, tmp_path: Path
) -> None:
    target = Target(
        url=fake.url, model="fake", tokenizer=tokenizer, metrics=(f"{fake.url}/metrics",)
    )
    found = measure_round(generator, target, LOAD, concurrency=2, seed=3, folder=tmp_path / "round")
    assert len(found.requests) == 6
    assert len(fake.asked) == 6 + 2  # the warm-up
    for request in found.requests:
        assert (request.input_tokens, request.cached_tokens, request.output_tokens) == (50, 16, 8)
        assert (
            1000 * FIRST_TOKEN_SECONDS
            <= request.first_token_ms
            <= 1000 * FIRST_TOKEN_SECONDS + 2000
        )  # others use the machine, too
        assert request.between_tokens_ms is not None
        assert request.between_tokens_ms >= 1000 * TOKEN_SECONDS * 0.9
        assert request.latency_ms >= 1000 * (FIRST_TOKEN_SECONDS + 7 * TOKEN_SECONDS) * 0.95
    assert found.transfers is not None
    assert (found.transfers.count, found.transfers.size) == (8, 8_000_000)
    assert found.transfers.seconds == pytest.approx(0.016)
    prompts = [body["messages"][-1]["content"] for body in fake.asked]
    assert len(set(prompts)) == len(prompts)
    assert len({body["messages"][0]["content"] for body in fake.asked}) == 1  # the shared prefix
    assert {
        (body["max_completion_tokens"], body["ignore_eos"], body["stream"]) for body in fake.asked
    } == {(8, True, True)}


@pytest.mark.generator
def test_a_generator_that_takes_too_long_is_killed_with_its_children(
    generator: Generator, fake: Fake, tokenizer: Path, tmp_path: Path
) -> None:
    target = Target(url=fake.url, model="fake", tokenizer=tokenizer)
    with pytest.raises(ServingError, match="did not end within 3 s, and was killed"):
        measure_round(
            generator, target, LOAD, concurrency=1, seed=3, folder=tmp_path / "round", wait=3
        )
    # aiperf's services change the names under which they are listed; where they work tells whose
    # they are, too.
    seen = [
        (process.pid, *(process.info["cmdline"] or ()), process.info["cwd"])
        for process in psutil.process_iter(["cmdline", "cwd"])
    ]
    assert not [process for process in seen if str(tmp_path) in " ".join(map(str, process))]
