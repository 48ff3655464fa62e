"""vLLM's engine and emulated kernels for gfx90a: equal tokens, alone and after a hand-off.

The engine is that of an installed stack: `nox -s emulate-vllm -- --stack-python PYTHON`.
"""

from __future__ import annotations

import importlib
import json
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from forkhouse.serving.launching import CPU, WorkerRole
from forkhouse.serving.processes import wait_until
from forkhouse.serving.stack import (
    BLOCK_TOKENS,
    MODEL_NAME,
    FrontendPlan,
    Setting,
    Stack,
    WorkerPlan,
    started_stack,
    write_tiny_model,
)
from tests.emulation import test_triton, test_vllm_attention, test_vllm_token
from tests.emulation.engine import emulated_environment
from tests.integration.engine import engine_environment
from tests.integration.listing import lists_model
from tests.integration.pairing import first_answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.emulation.emulated_triton import Emulated

pytestmark = [*test_triton.pytestmark, pytest.mark.hip, pytest.mark.timeout(3600)]
_emulated, device, torch = test_triton._emulated, test_triton.device, test_triton.torch
unified, objects = test_vllm_attention.unified, test_vllm_token.objects

ALLOWED = 0.1
"""How far a logit may be from the engine's; they spread by 1, and PyTorch is 0.06 from it."""
BLOCKS = [5, 2, 1]


@dataclass(frozen=True)
class Asked:
    """The tiny model, a prompt, and what vLLM's engine on the CPU answers."""

    python: Path
    folder: Path
    text: str
    prompt: list[int]
    tokens: list[int]
    logits: list[list[float]]
    wanted: str
    """The answer of the model in float32."""


@pytest.fixture(scope="session")
def asked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Asked:
    chosen = request.config.getoption("--stack-python")
    if chosen is None:
        pytest.skip(
            "no --stack-python: install wheels/cpu (`forkhouse install --profile cpu --into "
            "stack`), and name its interpreter: `nox -s emulate-vllm -- --stack-python "
            "stack/bin/python`"
        )
    # Not resolved: the interpreter of a virtual environment is a link.
    python, folder = Path(chosen).absolute(), tmp_path_factory.mktemp("model")
    if not python.is_file():
        pytest.fail(f"--stack-python: {python} is not there; `forkhouse install --into` makes it")
    write_tiny_model(python, folder)
    script = Path(__file__).with_name("scripts") / "engine_logits.py"
    result = folder.parent / "logits.json"
    ended = subprocess.run(
        [python, script, folder, result], capture_output=True, text=True, check=False, timeout=600
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    return Asked(python=python, folder=folder, **json.loads(result.read_text(encoding="utf-8")))


@pytest.fixture
def operations(device: Emulated, unified: Any, objects: Path) -> Any:
    module = importlib.import_module("tests.emulation.vllm_operations")
    return module.AllEmulated(objects, unified, device)


def test_steps_give_the_tokens_of_vllms_engine(
    asked: Asked, operations: Any, proven: Callable[..., None]
) -> None:
    safetensors = importlib.import_module("safetensors.torch")
    llama = importlib.import_module("tests.emulation.tiny_llama")
    config = json.loads((asked.folder / "config.json").read_text(encoding="utf-8"))
    weights = safetensors.load_file(asked.folder / "model.safetensors")
    model = llama.Llama(llama.Shape.read(config), weights, operations)
    worker = llama.Worker.start(model.shape)
    model.logits(worker, asked.prompt[:-1], BLOCKS)
    operations.launched = []
    tokens, found = model.more(worker, asked.prompt, BLOCKS, len(asked.tokens))
    assert tokens == asked.tokens
    torch = importlib.import_module("torch")
    pairs = zip(found, map(torch.tensor, asked.logits), strict=True)
    error = max(test_triton.far(*pair) for pair in pairs)
    shape = f"{len(tokens)} tokens behind {len(asked.prompt)}, against vLLM's engine on the CPU"
    origin = f"vLLM ({operations.origin})"
    proven(origin, shape, operations.launched, error, ALLOWED, name="decode")


@pytest.mark.parametrize("role", [WorkerRole.PREFILL, WorkerRole.DECODE])
def test_an_answer_with_one_worker_on_emulated_kernels(
    role: WorkerRole, asked: Asked, objects: Path, proven: Callable[..., None], tmp_path: Path
) -> None:
    launches = tmp_path / "launches"
    environments = {
        each: engine_environment(version="0.31.0+cu130", backend="FLASH_ATTN", layout="LBHNC")
        for each in (WorkerRole.PREFILL, WorkerRole.DECODE)
    }
    environments[role] = emulated_environment(objects, launches)
    plans = [
        WorkerPlan(
            role=each,
            environment=variables,
            block_tokens=64 if role is each is WorkerRole.DECODE else BLOCK_TOKENS,
            # The emulator copies all of them for each launch.
            arguments=("--num-gpu-blocks-override", "64"),
        )
        for each, variables in environments.items()
    ]
    setting = Setting(
        python=asked.python,
        model=asked.folder,
        device=CPU,
        scratch=tmp_path / "stack",
        caches=tmp_path / "caches",
    )
    with started_stack(setting, plans, FrontendPlan()) as stack:
        answer = _ask(stack, asked.text, len(asked.tokens))
        moved = stack.worker(WorkerRole.DECODE).transfers()
    assert answer == asked.wanted
    assert moved.count == 1
    assert moved.failed == 0
    reports = [
        SimpleNamespace(**json.loads(line))
        for line in launches.read_text(encoding="utf-8").splitlines()
    ]
    passes = 1 if role is WorkerRole.PREFILL else len(asked.tokens)
    counted = Counter(each.kernel for each in reports)
    config = json.loads((asked.folder / "config.json").read_text(encoding="utf-8"))
    assert counted["kernel_unified_attention"] == passes * config["num_hidden_layers"]
    assert len(counted) == (6 if role is WorkerRole.PREFILL else 7)
    shape = f"{len(asked.tokens)} tokens behind {len(asked.prompt)}, after a hand-off"
    wrong = float(answer != asked.wanted)
    proven("vLLM (HIP, Triton)", shape, reports, wrong, 0, name=f"{role} worker")


def _ask(stack: Stack, text: str, tokens: int) -> str:
    """Return the answer, once the workers take requests: a model is listed a moment before."""
    wait_until(
        lambda: lists_model(stack.port, MODEL_NAME),
        what="the model to be listed",
        servers=stack.servers,
        wait=300,
    )
    return first_answer(stack, text, tokens)
