"""The stack under test.

An environment installed from a wheelhouse, a tiny model, and the device to serve on.
"""

from __future__ import annotations

import json
import subprocess
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openai
import pytest

from forkhouse.documents.lockfile import DebianBinary, WheelSource
from forkhouse.serving.device import require_gpu
from forkhouse.serving.launching import DEVICES, Device, WorkerRole
from forkhouse.serving.stack import (
    BLOCK_TOKENS,
    Setting,
    WorkerPlan,
    running_stack,
    write_tiny_model,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkhouse.flow.plant import Plant
    from forkhouse.serving.stack import Stack

ASKED = (
    "Name one fact about it, then say in a sentence why that fact matters to somebody who builds "
    "machines."
)
TOPICS = {
    "river": "The longest river of Africa.",
    "metal": "The metal that is liquid at room temperature.",
    "star": "The nearest star.",
}
"""What a real model is asked."""
REAL_ANSWER_TOKENS = 16
ETCD = DebianBinary(
    package="etcd-server",
    version="3.4.23-4+b4",
    suite="bookworm",
    file="etcd-server_3.4.23-4+b4_amd64.deb",
    sha256="3a9445d4560ad6de1c375756b2a17d97713df44cbd20a658c871fe108af7ef5d",
)
NATS = DebianBinary(
    package="nats-server",
    version="2.9.10-1+b3",
    suite="bookworm",
    file="nats-server_2.9.10-1+b3_amd64.deb",
    sha256="9f69ebb6f612e652382fde175622160dcd81fd97f2356f5da80bb5c3f48513dd",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompt:
    """A prompt whose answer depends on every block of its KV cache, and that answer."""

    name: str
    text: str
    tokens: int
    answer: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    """The tiny model: its folder, its prompts, and how much KV cache a token takes."""

    folder: Path
    prompts: tuple[Prompt, ...]
    answer_tokens: int
    kv_bytes: int
    closing_tokens: range
    """How many tokens may stand behind the user's message.

    One number where the chat template is known.
    """


@pytest.fixture(scope="session")
def stack_python(request: pytest.FixtureRequest) -> Path:
    chosen = request.config.getoption("--stack-python")
    if chosen is None:
        pytest.skip(
            "no --stack-python: `nox -s integration-cpu` installs a wheelhouse and names its "
            "interpreter"
        )
    # Not resolved: the interpreter of a virtual environment is a link, and is known by the link's
    # place.
    return Path(chosen).absolute()


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> Device:
    chosen = DEVICES[request.config.getoption("--device")]
    launcher = tuple(request.config.getoption("--launcher"))
    if chosen.target:
        # A GPU that was asked for and is not there is an error, no reason to skip.
        require_gpu(chosen.target, launcher=launcher)
    return replace(chosen, launcher=launcher)


@pytest.fixture(scope="session")
def caches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the servers of all tests keep what they can find again."""
    return tmp_path_factory.mktemp("caches")


@pytest.fixture(scope="session")
def model(
    request: pytest.FixtureRequest,
    stack_python: Path,
    device: Device,
    caches: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Model:
    """Make the tiny model.

    Or take a real one, whose answers are those of one engine that computes all by itself.
    """
    chosen = request.config.getoption("--model")
    if chosen is not None:
        folder = Path(chosen).resolve()
        return _real_model(
            Setting(
                python=stack_python,
                model=folder,
                device=device,
                scratch=tmp_path_factory.mktemp("reference"),
                caches=caches,
            )
        )
    folder = tmp_path_factory.mktemp("model")
    write_tiny_model(stack_python, folder)
    listing = json.loads((folder / "prompts.json").read_text(encoding="utf-8"))
    return Model(
        folder=folder,
        prompts=tuple(Prompt(**prompt) for prompt in listing["prompts"]),
        answer_tokens=listing["answer_tokens"],
        kv_bytes=_kv_bytes(folder),
        closing_tokens=range(2, 3),
    )


def _kv_bytes(folder: Path) -> int:
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    heads = config.get("num_key_value_heads") or config["num_attention_heads"]
    width = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    # Keys and values, of two bytes (bfloat16) each.
    return int(2 * 2 * config["num_hidden_layers"] * heads * width)


def _real_model(setting: Setting) -> Model:
    texts = {name: f"{topic} {ASKED}" for name, topic in TOPICS.items()}
    texts["all"] = " ".join(
        texts.values()
    )  # as long as the others together, so that it takes more KV blocks
    with running_stack(setting, [WorkerPlan(role=WorkerRole.AGGREGATED)]) as stack:
        answers = {
            name: stack.chat(text, tokens=REAL_ANSWER_TOKENS) for name, text in texts.items()
        }
    prompts = tuple(
        Prompt(name=name, text=texts[name], tokens=answer.prompt_tokens, answer=answer.text)
        for name, answer in answers.items()
    )
    return Model(
        folder=setting.model,
        prompts=prompts,
        answer_tokens=REAL_ANSWER_TOKENS,
        kv_bytes=_kv_bytes(setting.model),
        closing_tokens=range(1, BLOCK_TOKENS + 1),
    )


@pytest.fixture(scope="module")
def setting(
    stack_python: Path,
    device: Device,
    model: Model,
    caches: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Setting:
    return Setting(
        python=stack_python,
        model=model.folder,
        device=device,
        scratch=tmp_path_factory.mktemp("stack"),
        caches=caches,
    )


def _unpacked(wheel: Path, folder: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture
def client(stack: Stack) -> Iterator[openai.OpenAI]:
    """The client that users have, of the stack that a test's own module starts."""
    with openai.OpenAI(base_url=stack.url, api_key="none", max_retries=0, timeout=120) as connected:
        yield connected


@pytest.fixture(scope="session")
def upstream_vllm(plant: Plant, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """vLLM as its upstream made it, unpacked.

    Put before the stack's own on PYTHONPATH it takes its place.
    """
    (source,) = (
        source for source in plant.lock.upstreams["vllm"].sources if isinstance(source, WheelSource)
    )
    return _unpacked(
        plant.registry.fetch(source.package, source.file, source.sha256),
        tmp_path_factory.mktemp("upstream"),
    )


@pytest.fixture(scope="session")
def nixl_1_1(plant: Plant, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """NIXL 1.1.0, unpacked: of what can be had from a registry, the nearest to RIXL 1.1.0."""
    file = "nixl_cu12-1.1.0-cp311-cp311-manylinux_2_28_x86_64.whl"
    sha256 = "c2cfc58abc8baef6ebdf6a184516e5e114ec20c19dff191e898971ddedb081f7"
    return _unpacked(
        plant.registry.fetch("nixl-cu12", file, sha256), tmp_path_factory.mktemp("nixl")
    )


def _debian(plant: Plant, pin: DebianBinary, folder: Path) -> Path:
    from forkhouse.sources.apt import fetch_debian_binaries  # not carried with a wheelhouse

    (package,) = fetch_debian_binaries((pin,), plant.registry, offline=False)
    subprocess.run(["dpkg-deb", "--extract", package, folder], check=True)
    return folder


@pytest.fixture(scope="session")
def etcd(plant: Plant, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Debian's etcd, unpacked, not installed."""
    return _debian(plant, ETCD, tmp_path_factory.mktemp("etcd")) / "usr/bin/etcd"


@pytest.fixture(scope="session")
def nats(plant: Plant, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Debian's NATS server, unpacked, not installed."""
    return _debian(plant, NATS, tmp_path_factory.mktemp("nats")) / "usr/sbin/nats-server"
