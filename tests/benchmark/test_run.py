from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from forkhouse.benchmark import endpoint, results
from forkhouse.benchmark.run import measuring
from forkhouse.core.errors import BusyError, ServingError, UsageError
from forkhouse.core.workspace import Workspace
from forkhouse.serving.processes import free_ports

if TYPE_CHECKING:
    from collections.abc import Callable

    from forkhouse.benchmark.generator import Generator
    from tests.benchmark.conftest import Fake

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("text", ["http://h:1", "http://h:1/", "http://h:1/v1", "http://h:1/v1/"])
def test_an_address_is_taken_with_or_without_the_version(text: str) -> None:
    assert endpoint.base_url(text) == "http://h:1"


@pytest.mark.parametrize("read", [endpoint.base_url, endpoint.metrics_url])
@pytest.mark.parametrize(
    "text",
    [
        "h:1",
        "ftp://h",
        "ftp://me:secret@h",
        "http://",
        "http://[::1",
        "http://h:secret",
        "http://me:secret@h:1",
        "http://h:1?key=secret",
    ],
)
def test_other_addresses_are_refused_and_secrets_not_repeated(
    text: str, read: Callable[[str], str]
) -> None:
    with pytest.raises(UsageError) as caught:
        read(text)
    assert "secret" not in str(caught.value)


def test_an_endpoint_is_here_when_its_address_is_loopback() -> None:
    assert endpoint.is_here("http://127.0.0.1:8000")
    assert endpoint.is_here("http://localhost:8000")
    assert not endpoint.is_here("http://192.0.2.1:8000")


def test_an_endpoint_that_does_not_answer() -> None:
    (port,) = free_ports(1)
    with pytest.raises(ServingError, match="Start the server, or correct --endpoint"):
        endpoint.require_model(f"http://127.0.0.1:{port}", "fake")


def test_an_endpoint_that_serves_another_model(fake: Fake) -> None:
    endpoint.require_model(fake.url, "fake")
    with pytest.raises(UsageError, match="serves fake, and not other"):
        endpoint.require_model(fake.url, "other")


def test_an_address_without_metrics(fake: Fake) -> None:
    for path in ("nothing", "v1/models"):
        with pytest.raises(ServingError, match="gives no metrics"):
            endpoint.metrics(f"{fake.url}/{path}")


def test_metrics_are_summed_over_their_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    text = '# TYPE a counter\na{x="1 {"} 2.5\na{x="2"} 1e1 1700000000000\nb 3\n\n'
    monkeypatch.setattr(endpoint, "_get", lambda _url: text)
    assert endpoint.metrics("") == {"a_total": 12.5, "b": 3}


def test_the_version_that_a_server_tells(fake: Fake) -> None:
    assert endpoint.version(fake.url) == "7.8"
    assert endpoint.version(f"{fake.url}/deeper") is None


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "forkhouse",
        "--root",
        str(ROOT),
        "bench",
        "run",
        *map(str, arguments),
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("out.html", "has to end in .json"),
        ("a100.8b", "has to end in .json"),
        ("nowhere/out.json", "is no folder"),
    ],
)
def test_a_file_that_cannot_be_written_is_refused_before_anything_is_measured(
    output: str, reason: str, tmp_path: Path
) -> None:
    result = run("--endpoint", "http://127.0.0.1:9", "--output", tmp_path / output)
    assert result.returncode == UsageError.exit_code
    assert reason in " ".join(result.stderr.split())


def test_two_measurements_of_a_checkout_do_not_meet(tmp_path: Path) -> None:
    workspace = Workspace(root=tmp_path, cache=tmp_path / "cache")
    with measuring(workspace) as folder:
        (folder / "round.log").write_text("going on", encoding="utf-8")
        with pytest.raises(BusyError, match="Another measurement"), measuring(workspace):
            pass
        assert (folder / "round.log").exists()
    with measuring(workspace) as folder:
        assert not list(folder.iterdir())


@pytest.mark.generator
@pytest.mark.usefixtures("generator")
def test_wrong_use_has_its_exit_code(fake: Fake, tokenizer: Path, tmp_path: Path) -> None:
    wrong: list[list[object]] = [
        [],
        ["--endpoint", fake.url],
        ["--endpoint", fake.url, "--model", "other", "--tokenizer", tokenizer],
        ["--endpoint", fake.url, "--model", "fake", "--tokenizer", tmp_path],
        [
            "--endpoint",
            fake.url,
            "--model",
            "fake",
            "--tokenizer",
            tokenizer,
            "--layout",
            "aggregated",
            "--layout",
            "disaggregated",
        ],
        ["--stack-python", sys.executable, "--device", "tpu"],
        ["--stack-python", sys.executable, "--model", "fake"],
        ["--stack-python", sys.executable, "--model-folder", tmp_path],
    ]
    for arguments in wrong:
        result = run(*arguments, "--output", tmp_path / "out.json")
        assert result.returncode == UsageError.exit_code, result.stderr
    assert not (tmp_path / "out.json").exists()


@pytest.mark.generator
def test_an_endpoint_is_measured_from_the_command_line(
    generator: Generator, fake: Fake, tokenizer: Path, tmp_path: Path
) -> None:
    options = [
        "--prefix-tokens",
        0,
        "--prompt-tokens",
        20,
        "--output-tokens",
        4,
        "--requests",
        2,
        "--rounds",
        2,
        "--concurrency",
        2,
    ]
    said = ["--device", "NVIDIA A100", "--layout", "aggregated", "--prefix-cache", "on"]
    out = tmp_path / "out.json"
    result = run(
        "--endpoint",
        f"{fake.url}/v1",
        "--model",
        "fake",
        "--tokenizer",
        tokenizer,
        *options,
        *said,
        "--output",
        out,
    )
    assert result.returncode == 0, result.stderr
    found = results.read(out)
    assert (
        found.environment.device,
        found.environment.server_version,
        found.environment.generator,
    ) == (
        "NVIDIA A100",
        "7.8",
        str(generator),
    )
    (case,) = found.cases
    assert (case.series, case.concurrency, len(case.rounds)) == (("aggregated", True), 2, 2)
    assert "<svg" in out.with_suffix(".html").read_text(encoding="utf-8")
    # The same server may know the prompts of the first run by heart.
    said[1] = "AMD MI210"
    again = run(
        "--endpoint",
        f"{fake.url}/v1",
        "--model",
        "fake",
        "--tokenizer",
        tokenizer,
        *options,
        *said,
        "--output",
        tmp_path / "again.json",
    )
    assert again.returncode == 0, again.stderr
    seeds = [
        {each.seed for case in results.read(file).cases for each in case.rounds}
        for file in (out, tmp_path / "again.json")
    ]
    assert len(seeds[0]) == len(seeds[1]) == 2
    assert not seeds[0] & seeds[1]
    compared = subprocess.run(
        [sys.executable, "-m", "forkhouse", "bench", "compare", out, tmp_path / "again.json"],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = compared.stdout.splitlines()
    assert lines[0].startswith("A: fake on NVIDIA A100, ")
    assert lines[1].startswith("B: fake on AMD MI210, ")
    assert ["device", "NVIDIA", "A100", "AMD", "MI210"] in [line.split() for line in lines]


@pytest.mark.generator
@pytest.mark.usefixtures("generator")
def test_a_run_that_fails_half_way_leaves_no_file(
    fake: Fake, tokenizer: Path, tmp_path: Path
) -> None:
    fake.fail_after = 5  # the first round is 1 + 2 requests, and the second fails
    options = [
        "--prefix-tokens",
        0,
        "--prompt-tokens",
        20,
        "--output-tokens",
        4,
        "--requests",
        2,
        "--rounds",
        2,
        "--concurrency",
        1,
    ]
    result = run(
        "--endpoint",
        fake.url,
        "--model",
        "fake",
        "--tokenizer",
        tokenizer,
        *options,
        "--output",
        tmp_path / "out.json",
    )
    assert result.returncode == ServingError.exit_code, result.stderr
    assert "round: 1 of 2" in result.stderr
    assert list(tmp_path.iterdir()) == [tokenizer]
