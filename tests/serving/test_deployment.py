"""Deployments as people write them, right and wrong, and the processes that they become."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from forkhouse.core.errors import DocumentError, UsageError
from forkhouse.documents.reading import parse
from forkhouse.serving.arranging import Planned, ProcessPlace, processes
from forkhouse.serving.deployment import Deployment, read_deployment
from forkhouse.serving.launching import CPU, MI210, usable_python
from forkhouse.serving.writers.containers import probe

SMALL = """
name: small
model: {path: /models/small, name: small}
roles:
  worker: {}
"""
LARGE = """
name: large
model: {path: models/with a blank, name: org/large}
device: mi210
roles:
  frontend:
    port: 8123
    arguments: [--router-mode, kv]
    environment: {ONE: 1}
  prefill: {replicas: 2, gpus: 2, devices: [0, 1, 2, 3], gpu-memory: 90}
  decode:
    devices: [4]
    kv-cache: 20
    arguments: [--max-model-len, 0x10]
    environment: {EMPTY: ""}
ports: {supervisor: 8124, workers: 30000}
planes:
  {discovery: etcd, etcd: "http://127.0.0.1:2379",
   request: nats, event: nats, nats: "nats://127.0.0.1:4222"}
environment: {BOTH: "a b"}
"""
PLACE = ProcessPlace.below(Path("/state"), python=Path("/env/bin/python"), model=Path("/models/x"))


def planned(text: str) -> dict[str, Planned]:
    deployment = parse(Deployment, text, name="deployment.yaml")
    return {each.name: each for each in processes(deployment, PLACE)}


def option(process: Planned, name: str) -> str:
    return process.command[process.command.index(name) + 1]


def test_the_smallest_deployment_has_a_front_end_and_a_worker() -> None:
    found = planned(SMALL)
    assert list(found) == ["frontend", "worker-1"]
    frontend, worker = found.values()
    assert frontend.command[:3] == ("/env/bin/python", "-m", "dynamo.frontend")
    assert option(frontend, "--http-host") == "127.0.0.1"
    assert option(frontend, "--http-port") == "8000" == str(frontend.port)
    assert worker.command[:3] == ("/env/bin/python", "-m", "dynamo.vllm")
    assert option(worker, "--model") == "/models/x"
    assert "--disaggregation-mode" not in worker.command
    assert worker.environment["DYN_DISCOVERY_BACKEND"] == "file"
    assert worker.environment["DYN_FILE_KV"] == "/state/discovery"
    assert worker.environment["DYN_SYSTEM_PORT"] == "21000" == str(worker.port)
    assert worker.environment["OMP_NUM_THREADS"] == "1"
    assert "HIP_VISIBLE_DEVICES" not in worker.environment


@pytest.mark.parametrize(
    ("address", "host"),
    [("::1", "[::1]"), ("[::1]", "[::1]"), ("10.0.0.1", "10.0.0.1"), ("::", "127.0.0.1")],
)
def test_a_front_end_is_asked_by_a_url_whatever_its_address(address: str, host: str) -> None:
    text = SMALL.replace("roles:", f'roles:\n  frontend: {{address: "{address}"}}')
    frontend = planned(text)["frontend"]
    assert frontend.as_json()["live"] == f"http://{host}:8000/live"
    parts = urlsplit(frontend.as_json()["health"])
    assert (parts.hostname, parts.port) == (host.strip("[]"), 8000)
    assert probe(frontend, "python", frontend.host)[3] == f"http://{host}:8000/v1/models"


def test_every_key_of_a_large_deployment_comes_to_its_place() -> None:
    found = planned(LARGE)
    assert list(found) == ["frontend", "prefill-1", "prefill-2", "decode-1"]
    frontend, first, second, decode = found.values()
    assert frontend.command[-2:] == ("--router-mode", "kv")
    assert frontend.environment["ONE"] == "1"
    assert {each.environment["BOTH"] for each in found.values()} == {"a b"}
    assert {each.environment["ETCD_ENDPOINTS"] for each in found.values()} == {
        "http://127.0.0.1:2379"
    }
    assert {each.environment["NATS_SERVER"] for each in found.values()} == {"nats://127.0.0.1:4222"}
    assert [each.environment["HIP_VISIBLE_DEVICES"] for each in (first, second, decode)] == [
        "0,1",
        "2,3",
        "4",
    ]
    assert [each.port for each in (first, second, decode)] == [30000, 30010, 30020]
    assert first.environment["VLLM_NIXL_SIDE_CHANNEL_PORT"] == "30001"
    assert option(first, "--tensor-parallel-size") == "2"
    assert option(first, "--gpu-memory-utilization") == "0.9"
    assert option(first, "--disaggregation-mode") == "prefill"
    assert json.loads(option(decode, "--kv-transfer-config"))["kv_role"] == "kv_consumer"
    assert option(decode, "--kv-cache-memory-bytes") == str(20 * 2**30)
    assert option(decode, "--max-model-len") == "0x10"
    assert decode.environment["EMPTY"] == ""
    assert decode.environment["UCX_TLS"].startswith("rocm,")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (SMALL.replace("small\nmodel", "Small Name\nmodel"), ":2: name: expected lower-case words"),
        (SMALL.replace("worker: {}", "prefill: {}"), ":4: roles: a role is missing"),
        (SMALL.replace("worker: {}", "worker: {}\n  prefill: {}"), ":4: roles: give worker, or"),
        (
            SMALL.replace("worker: {}", "worker: {gpus: 2}"),
            ":5: roles.worker.gpus: device: cpu has no",
        ),
        (
            SMALL.replace("worker: {}", "worker:\n    devices: [1]"),
            ":6: roles.worker.devices: device: cpu",
        ),
        (SMALL.replace("worker: {}", "worker: {replicas: 0}"), ":5: roles.worker.replicas: "),
        (
            SMALL + "ports:\n  supervisor: 8000\n",
            ":7: ports.supervisor: the front end has this port",
        ),
        (
            SMALL + "ports:\n  workers: 7995\n",
            ":7: ports.workers: the workers take 7995 to 8004, 8000",
        ),
        (SMALL + "ports:\n  workers: 65530\n", ":7: ports.workers: the workers need 10 ports"),
        (SMALL.replace("/models/small", "~/models"), ":3: model.path: begins with ~"),
        (SMALL.replace("/models/small", "~someone"), ":3: model.path: begins with ~"),
        *(
            (
                SMALL + f"  frontend: {{address: '{address}'}}\n",
                ":6: roles.frontend.address: is neither an address",
            )
            for address in (
                "a b;c",
                "127.0.0.1:8000",
                "http://h",
                "-h",
                "h..i",
                "[::1",
                "$HOST",
                "h/",
            )
        ),
        (SMALL + "ports: {supervisor: 80}\n", ":6: ports.supervisor: "),
        (SMALL + "planes: {discovery: etcd}\n", ":6: planes: give discovery: etcd together"),
        (SMALL + "planes: {request: nats}\n", ":6: planes: requests and events go over NATS"),
        (SMALL + "planes: {nats: 'nats://h'}\n", ":6: planes: give request: nats"),
        (
            SMALL + "planes: {discovery: etcd, etcd: localhost}\n",
            ":6: planes.etcd: has to begin with",
        ),
        (SMALL + "environment: {A-B: x}\n", ":6: environment.A-B"),
        (SMALL + 'environment: {A: "x\\ny"}\n', ":6: environment.A: has a line break"),
        (SMALL + 'environment: {A: "x\\x1b[0m"}\n', ":6: environment.A: has a line break or a con"),
        (SMALL + 'environment: {A: "x\\u2028"}\n', ":6: environment.A: has a line break"),
        (SMALL + 'environment: {A: "\\ud800"}\n', ":6: a code of half a character"),
        (SMALL + 'environment: {A: [x, "y\\udfff"]}\n', ":6: a code of half a character"),
        (SMALL + "environment: {A: true}\n", ":6: environment.A: "),
        (SMALL + "supervision: {start: 604801}\n", ":6: supervision.start: "),
        (SMALL + "supervision: {first-delay: 99999999999999999999}\n", "supervision.first-delay: "),
        (SMALL + "supervision: {end: 604800.5}\n", ":6: supervision.end: "),
        (SMALL + "image: {reference: a b}\n", ":6: image.reference: has a blank in it"),
        (SMALL + "image: {reference: a, python: b/python}\n", ":6: image.python: has to begin"),
        (SMALL + "planes: {discovery: etcd, etcd: 'http://'}\n", ":6: planes.etcd: has to begin"),
        (SMALL.replace("worker: {}", "worker: {threads: 1025}"), ":5: roles.worker.threads: "),
        (SMALL + "colour: blue\n", ":6: colour: "),
        (
            LARGE.replace("[0, 1, 2, 3]", "[0, 1, 2, 2]"),
            ":10: roles.prefill.devices: 2 replicas with 2",
        ),
        (LARGE.replace("devices: [4]", "devices: [3]"), "GPU 3 is shared: give gpu-memory"),
        (
            LARGE.replace("devices: [4]", "devices: [-4]"),
            "roles.decode.devices: devices are counted",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: str, said: str) -> None:
    with pytest.raises(DocumentError) as told:
        parse(Deployment, text, name="deployment.yaml")
    assert said in str(told.value)
    assert str(told.value).startswith("deployment.yaml:")


def test_two_roles_share_a_gpu_where_both_say_how_much() -> None:
    text = LARGE.replace("devices: [4]", "devices: [3]\n    gpu-memory: 10")
    assert planned(text)["decode-1"].environment["HIP_VISIBLE_DEVICES"] == "3"


def test_a_relative_model_lies_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "deployment.yaml").write_text(LARGE, encoding="utf-8")
    deployment = read_deployment(tmp_path / "deployment.yaml")
    assert deployment.model.path == str(tmp_path / "models/with a blank")


@pytest.mark.parametrize("device", [CPU, MI210], ids=lambda device: device.name)
def test_an_interpreter_that_cannot_serve_is_refused(tmp_path: Path, device: object) -> None:
    assert device in (CPU, MI210)
    chosen = CPU if device is CPU else MI210
    for name in ("a b/bin", "a:b/bin", "plain/bin"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "python").symlink_to("/bin/true")
    assert usable_python(tmp_path / "plain/bin/python", chosen) == tmp_path / "plain/bin/python"
    with pytest.raises(UsageError, match="parts folders in PATH"):
        usable_python(tmp_path / "a:b/bin/python", chosen)
    with pytest.raises(UsageError, match="is no program"):
        usable_python(tmp_path / "plain/bin", chosen)
    if chosen is CPU:
        with pytest.raises(UsageError, match=r"LD_PRELOAD.*ln -s"):
            usable_python(tmp_path / "a b/bin/python", chosen)
    else:
        assert usable_python(tmp_path / "a b/bin/python", chosen).exists()


def test_the_reference_s_examples_are_read() -> None:
    page = Path(__file__).parents[2] / "docs/reference/deployment.md"
    blocks = re.findall(
        r"^```yaml\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    read = [parse(Deployment, block, name=page.name) for block in blocks]
    assert [each.name for each in read] == ["small", "large"]


@pytest.mark.parametrize("port", ["010000", "3:20:00", "0b10000000000000", "-010000", "0_1_0"])
def test_a_number_that_readers_take_for_different_ones_is_refused(port: str) -> None:
    """YAML 1.1 reads 010000 as 4096 and 3:20:00 as 12000."""
    with pytest.raises(DocumentError, match=rf"valid integer \(got '{port}'\)"):
        planned(f"{SMALL}ports: {{supervisor: {port}}}\n")


@pytest.mark.parametrize(("said", "port"), [("8090", 8090), ("8_090", 8090), ("0x2000", 8192)])
def test_a_number_that_is_the_same_everywhere_is_taken(said: str, port: int) -> None:
    text = f"{SMALL}ports: {{supervisor: {said}}}\n"
    assert parse(Deployment, text, name="x.yaml").ports.supervisor == port


def test_what_is_a_text_is_taken_as_it_is_written() -> None:
    found = planned(f"{SMALL}environment: {{MODE: 0755, TIME: 12:30, PLAIN: 010}}\n")
    environment = found["worker-1"].environment
    assert [environment[each] for each in ("MODE", "TIME", "PLAIN")] == ["0755", "12:30", "010"]


@pytest.mark.parametrize(
    "address",
    ["127.0.0.2", "0.0.0.0", "::", "[::]", "::1", "fe80::1%eth0", "localhost", "a-1.b.example"],
)
def test_an_address_or_a_name_is_listened_on(address: str) -> None:
    found = planned(SMALL + f"  frontend: {{address: '{address}'}}\n")
    assert option(found["frontend"], "--http-host") == address
