"""Discovery by etcd and requests over NATS, both Debian's, in place of files, TCP and ZeroMQ."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import re
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from forkhouse.serving.client import HTTP_OK, fetch
from forkhouse.serving.launching import Planes, WorkerRole
from forkhouse.serving.processes import LOCALHOST, Server, free_ports, wait_until
from forkhouse.serving.stack import WorkerPlan, running_stack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from forkhouse.serving.stack import Setting
    from tests.integration.conftest import Model

pytestmark = [pytest.mark.integration, pytest.mark.extended, pytest.mark.timeout(600)]

_REQUESTS = re.compile(r"dynamo_(\w+)\.generate-[0-9a-f]+")
ALL_KEYS = base64.b64encode(b"\0").decode()


@pytest.fixture(scope="module")
def etcd_port(etcd: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder = tmp_path_factory.mktemp("etcd-data")
    port, peer_port = free_ports(2)
    url, peer_url = f"http://{LOCALHOST}:{port}", f"http://{LOCALHOST}:{peer_port}"
    command = [
        str(etcd),
        "--data-dir",
        str(folder / "data"),
        "--listen-client-urls",
        url,
        "--advertise-client-urls",
        url,
    ]
    command += [
        "--listen-peer-urls",
        peer_url,
        "--initial-advertise-peer-urls",
        peer_url,
        "--initial-cluster",
        f"default={peer_url}",
    ]
    with Server.start("etcd", command, log=folder / "log", environment={}, folder=folder) as server:
        wait_until(lambda: _is_up(port, "/health"), what="etcd", servers=[server], wait=60)
        yield port


@pytest.fixture(scope="module")
def nats_ports(nats: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    folder = tmp_path_factory.mktemp("nats-data")
    port, monitor = free_ports(2)
    command = [
        str(nats),
        "--addr",
        LOCALHOST,
        "--port",
        str(port),
        "--http_port",
        str(monitor),
        "--jetstream",
        "--store_dir",
        str(folder),
    ]
    with Server.start("NATS", command, log=folder / "log", environment={}, folder=folder) as server:
        wait_until(lambda: _is_up(monitor, "/healthz"), what="NATS", servers=[server], wait=60)
        yield port, monitor


def _is_up(port: int, path: str) -> bool:
    with contextlib.suppress(OSError, http.client.HTTPException):
        return fetch(port, path)[0] == HTTP_OK
    return False


def _keys(port: int) -> int:
    """Return how many keys etcd holds, asked through its JSON gateway."""
    status, text = fetch(
        port, "/v3/kv/range", body={"key": ALL_KEYS, "range_end": ALL_KEYS, "count_only": True}
    )
    assert status == HTTP_OK, text
    return int(json.loads(text).get("count", 0))


def _requests(port: int) -> Counter[str]:
    """Return how many requests NATS handed to the workers, by what Dynamo calls them, asked at its
    monitoring port.
    """
    connections = json.loads(fetch(port, "/connz?subs=detail")[1])["connections"]
    handed: Counter[str] = Counter()
    for connection in connections:
        for subscription in connection.get("subscriptions_list_detail", ()):
            if found := _REQUESTS.fullmatch(subscription["subject"]):
                handed[found[1]] += subscription["msgs"]
    return handed


def test_etcd_says_where_the_workers_are(
    setting: Setting, etcd_port: int, model: Model, tmp_path: Path
) -> None:
    by_etcd = replace(
        setting, scratch=tmp_path, planes=Planes(etcd=f"http://{LOCALHOST}:{etcd_port}")
    )
    assert _keys(etcd_port) == 0
    with running_stack(by_etcd, [WorkerPlan(role=WorkerRole.AGGREGATED)]) as stack:
        assert _keys(etcd_port) > 0
        assert (
            stack.chat(model.prompts[0].text, tokens=model.answer_tokens).text
            == model.prompts[0].answer
        )
        assert not any((tmp_path / "discovery").iterdir())
    # What a worker registered goes when it is stopped, or the next front end would ask the dead.
    assert _keys(etcd_port) == 0


def test_nats_carries_requests_and_events(
    setting: Setting, etcd_port: int, nats_ports: tuple[int, int], model: Model, tmp_path: Path
) -> None:
    port, monitor = nats_ports
    planes = Planes(etcd=f"http://{LOCALHOST}:{etcd_port}", nats=f"nats://{LOCALHOST}:{port}")
    by_nats = replace(setting, scratch=tmp_path, planes=planes)
    with running_stack(
        by_nats, [WorkerPlan(role=WorkerRole.PREFILL), WorkerPlan(role=WorkerRole.DECODE)]
    ) as stack:
        transfers, before = stack.worker(WorkerRole.DECODE).transfers(), _requests(monitor)
        answers = [
            stack.chat(prompt.text, tokens=model.answer_tokens).text for prompt in model.prompts
        ]
        moved = stack.worker(WorkerRole.DECODE).transfers().since(transfers)
        sent = {worker: count - before[worker] for worker, count in _requests(monitor).items()}
    assert answers == [prompt.answer for prompt in model.prompts]
    assert (moved.count, moved.failed) == (len(answers), 0)
    assert sent == {
        "backend": len(answers),
        "prefill": len(answers),
    }  # each prompt goes to both workers
