"""Chat completions from inside of a container image: each process in a container of its own.

The containers are namespaces that bubblewrap makes: the image's files cannot be changed, its user
runs there, and only the network and the folder of discovery are common, as in a pod.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from forkhouse.serving.client import HTTP_OK, chat, fetch, metrics
from forkhouse.serving.processes import Server, free_ports, stop_all, wait_until
from forkhouse.serving.stack import BLOCK_TOKENS, WORKER_ARGUMENTS
from forkhouse.serving.transfers import Transfers
from tests.image.reading import unpacked, variables
from tests.integration.listing import lists_model

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.integration, pytest.mark.extended, pytest.mark.timeout(1800)]

STATE = "/var/lib/forkhouse"
MODEL_SCRIPT = Path(__file__).parents[2] / "src/forkhouse/serving/model.py"
START_SECONDS = 600


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image as tar takes it out of its archive."""

    root: Path
    environment: dict[str, str]
    scratch: Path

    def start(self, name: str, *command: str, binds: tuple[str, ...] = (), **more: str) -> Server:
        """Start a program in a container of its own, with state that no other has."""
        state = self.scratch / f"state-{name}"
        discovery = self.scratch / "discovery"
        for each in (state, discovery):
            each.mkdir(exist_ok=True)
        view = ["--ro-bind", str(self.root), "/", "--dev", "/dev", "--proc", "/proc"]
        view += ["--tmpfs", "/tmp", "--ro-bind", "/sys", "/sys", "--bind", str(state), STATE]
        view += ["--bind", str(discovery), f"{STATE}/discovery", *binds]
        apart = ["--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts"]
        apart += ["--uid", "10001", "--gid", "10001"]
        return Server.start(
            name,
            ("bwrap", *apart, "--die-with-parent", *view, "--", *command),
            log=self.scratch / f"{name}.log",
            environment={**self.environment, **more},
            folder=self.scratch,
        )


@pytest.fixture(scope="module")
def image(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Image]:
    archive = request.config.getoption("--image")
    if archive is None:
        pytest.skip("no --image: `nox -s image-served` makes one and names it")
    folder = tmp_path_factory.mktemp("image")
    _, config, root = unpacked(archive, folder)
    shutil.rmtree(folder / "layout")
    yield Image(root=root, environment=variables(config), scratch=folder)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def model(image: Image) -> dict[str, Any]:
    """Let the image's own Python write the tiny model; return its prompts with their answers."""
    folder = image.scratch / "model"
    folder.mkdir()
    command = ("/opt/stack/bin/python", "/srv/model.py", "/mnt")
    mounted = ("--tmpfs", "/srv", "--ro-bind", str(MODEL_SCRIPT), "/srv/model.py")
    with image.start("model", *command, binds=("--bind", str(folder), "/mnt", *mounted)) as run:
        assert run.wait(START_SECONDS) == 0, run.log.read_text(encoding="utf-8")
    told: dict[str, Any] = json.loads((image.scratch / "model/prompts.json").read_bytes())
    return told


def is_healthy(port: int) -> bool:
    try:
        return fetch(port, "/health")[0] == HTTP_OK
    except OSError:
        return False


def test_prefill_and_decode_answer_from_containers_of_their_own(
    image: Image, model: dict[str, Any]
) -> None:
    front, prefill, decode, *side = free_ports(5)
    # The image has no folder of this name, and its root cannot be changed.
    binds = ("--tmpfs", "/srv", "--ro-bind", str(image.scratch / "model"), "/srv/model")
    worker = ("--block-size", str(BLOCK_TOKENS), *WORKER_ARGUMENTS, "--no-enable-prefix-caching")
    model_of = {"STACK_MODEL": "/srv/model"}
    servers = [image.start("frontend", "frontend", binds=binds, **model_of, STACK_PORT=str(front))]
    try:
        for name, port, other in (("prefill", prefill, side[0]), ("decode", decode, side[1])):
            ports = {"STACK_STATUS_PORT": str(port), "STACK_SIDE_CHANNEL_PORT": str(other)}
            small = {"VLLM_CPU_KVCACHE_SPACE": "1", **model_of}
            servers.append(image.start(name, name, *worker, binds=binds, **ports, **small))
        wait_until(
            lambda: is_healthy(prefill) and is_healthy(decode) and lists_model(front, "model"),
            what="all three containers",
            servers=servers,
            wait=START_SECONDS,
        )
        for prompt in model["prompts"]:
            before = Transfers.counted(metrics(decode))
            answer = chat(front, "model", prompt["text"], tokens=model["answer_tokens"])
            assert answer.text == prompt["answer"]
            assert None not in {answer.prefill_worker, answer.decode_worker}
            assert answer.prefill_worker != answer.decode_worker
            moved = Transfers.counted(metrics(decode)).since(before)
            assert (moved.count, moved.failed) == (1, 0)
            assert moved.size > 0
    finally:
        stop_all(servers)
