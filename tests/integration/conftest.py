"""The stack under test: an environment installed from a wheelhouse, a tiny model, and the device to serve on."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import forkhouse.serving
from forkhouse.serving.device import require_gpu
from forkhouse.serving.stack import DEVICES, Device, Setting


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


@pytest.fixture(scope="session")
def stack_python(request: pytest.FixtureRequest) -> Path:
    chosen = request.config.getoption("--stack-python")
    if chosen is None:
        pytest.skip("no --stack-python: `nox -s integration-cpu` installs a wheelhouse and names its interpreter")
    # Not resolved: the interpreter of a virtual environment is a link, and is known by the link's place.
    return Path(chosen).absolute()


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> Device:
    chosen = DEVICES[request.config.getoption("--device")]
    if chosen.target:
        require_gpu(chosen.target)  # a GPU that was asked for and is not there is an error, no reason to skip
    return chosen


@pytest.fixture(scope="session")
def model(stack_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("model")
    script = Path(forkhouse.serving.__file__).with_name("model.py")
    environment = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}  # so small a model is slower with more threads
    result = subprocess.run([stack_python, script, folder], env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    listing = json.loads((folder / "prompts.json").read_text(encoding="utf-8"))
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    # Keys and values, of two bytes (bfloat16) each.
    kv_bytes = 2 * 2 * config["num_hidden_layers"] * config["num_key_value_heads"] * config["head_dim"]
    return Model(
        folder=folder,
        prompts=tuple(Prompt(**prompt) for prompt in listing["prompts"]),
        answer_tokens=listing["answer_tokens"],
        kv_bytes=kv_bytes,
    )


@pytest.fixture(scope="module")
def setting(stack_python: Path, device: Device, model: Model, tmp_path_factory: pytest.TempPathFactory) -> Setting:
    return Setting(python=stack_python, model=model.folder, device=device, scratch=tmp_path_factory.mktemp("stack"))
