"""Engines on the CPU whose attention is vLLM's own Triton backend, run by Triton's interpreter.

Alone, behind Dynamo's front end, and on one side or both of a hand-off.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import forkhouse
from forkhouse.serving.launching import WorkerRole
from forkhouse.serving.stack import BLOCK_TOKENS, WorkerPlan, running_stack
from tests.integration.alone import run_alone
from tests.integration.engine import (
    ATTENTION,
    CACHE_WRITE,
    TRITON_ARGUMENTS,
    engine_environment,
    interpreted,
)
from tests.integration.pairing import (
    HEADS_FIRST,
    SAME,
    TOKENS_FIRST,
    WRONG,
    Pairing,
    Side,
    Table,
    log_of,
    outcomes,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forkhouse.serving.launching import Device
    from forkhouse.serving.stack import Setting
    from tests.integration.alone import Ended
    from tests.integration.conftest import Model

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1200)]
minutes = pytest.mark.extended

DOCUMENT = Path(forkhouse.__file__).parents[2] / "docs/explanation/cross-vendor.md"
TRITON = "vllm.v1.attention.backends.triton_attn.TritonAttentionBackend"
CPU = "vllm.v1.attention.backends.cpu_attn.CPUAttentionBackend"
SHORT = "first-word-1"
REFUSED = "refused: NIXL compatibility hash mismatch"
PAIRINGS = (
    Pairing(
        name="Triton to Triton",
        prefill=Side(triton=True),
        decode=Side(triton=True),
        upstream=SAME,
        decides="Blocks are equal.",
    ),
    Pairing(
        name="another vendor to Triton, longer blocks and another order",
        prefill=Side(version="0.31.0+cu130", layout=HEADS_FIRST),
        decode=Side(
            version="0.31.0+rocm72",
            triton=True,
            layout=TOKENS_FIRST,
            block_tokens=2 * BLOCK_TOKENS,
        ),
        upstream=REFUSED,
        decides="Version and backend are compared by what they decide, and blocks are arranged.",
    ),
    Pairing(
        name="Triton to another vendor, another order",
        prefill=Side(version="0.31.0+rocm72", triton=True, layout=TOKENS_FIRST),
        decode=Side(version="0.31.0+cu130", layout=HEADS_FIRST),
        upstream=REFUSED,
        decides="As above, the other way.",
    ),
    Pairing(
        name="Triton to Triton, longer blocks",
        prefill=Side(triton=True, layout=HEADS_FIRST),
        decode=Side(triton=True, layout=HEADS_FIRST, block_tokens=2 * BLOCK_TOKENS),
        upstream=WRONG,
        decides="Received blocks are joined by how they lie.",
    ),
    Pairing(
        name="the CPU's own attention to Triton",
        prefill=Side(backend=None),
        decode=Side(triton=True),
        upstream=REFUSED,
        ours=REFUSED,
        decides="The CPU's attention keeps the keys of a block apart from the values.",
    ),
)


@pytest.fixture(autouse=True)
def on_the_cpu(device: Device) -> None:
    if device.target is not None:
        pytest.skip("Triton's interpreter runs on the CPU; on a GPU the kernels are compiled")


@pytest.fixture(scope="module")
def seen() -> dict[str, list[str]]:
    """What became of each pairing, without and with our patches."""
    return {}


def asked(
    python: Path, device: Device, scratch: Path, model: Model, variables: Mapping[str, str]
) -> Ended:
    """Let one engine with no server answer a short prompt."""
    ended = run_alone(
        *(python, device, scratch, "engine.py", str(model.folder), SHORT),
        variables={**device.environment, **device.small_environment, **variables},
    )
    assert ended.code == 0, ended.log
    return ended


def answer(ended: Ended) -> str:
    (text,) = [str(each["answer"]) for each in ended.objects if "answer" in each]
    return text


def backends(ended: Ended) -> set[str]:
    return {each["backend"] for each in ended.objects if "layer" in each}


def reference(model: Model) -> str:
    (text,) = [prompt.answer for prompt in model.prompts if prompt.name == SHORT]
    return text


def test_an_engine_with_tritons_attention_answers_as_the_reference(
    stack_python: Path, device: Device, model: Model, tmp_path: Path
) -> None:
    ended = asked(stack_python, device, tmp_path, model, engine_environment(triton=True))
    assert answer(ended) == reference(model)
    assert backends(ended) == {TRITON}
    assert interpreted(ended.log) >= ATTENTION[WorkerRole.AGGREGATED]


@minutes
def test_so_does_one_with_the_attention_of_the_cpu(
    stack_python: Path, device: Device, model: Model, tmp_path: Path
) -> None:
    ended = asked(stack_python, device, tmp_path, model, engine_environment())
    assert answer(ended) == reference(model)
    assert backends(ended) == {CPU}
    assert not interpreted(ended.log)


@minutes
def test_without_the_kernel_that_writes_the_cache_the_answer_is_another(
    stack_python: Path, device: Device, model: Model, tmp_path: Path
) -> None:
    variables = engine_environment(triton=True, without_kernel=CACHE_WRITE)
    ended = asked(stack_python, device, tmp_path, model, variables)
    assert answer(ended) != reference(model)
    assert CACHE_WRITE not in interpreted(ended.log)


@minutes
def test_behind_the_front_end_every_prompt_is_answered_as_the_reference_says(
    setting: Setting, model: Model, tmp_path: Path
) -> None:
    plan = WorkerPlan(
        role=WorkerRole.AGGREGATED,
        arguments=TRITON_ARGUMENTS,
        environment=engine_environment(triton=True),
    )
    with running_stack(replace(setting, scratch=tmp_path), [plan]) as stack:
        found = {
            prompt.name: stack.chat(prompt.text, tokens=model.answer_tokens).text
            for prompt in model.prompts
        }
        log = log_of(stack.worker(WorkerRole.AGGREGATED))
    assert found == {prompt.name: prompt.answer for prompt in model.prompts}
    assert interpreted(log) >= ATTENTION[WorkerRole.AGGREGATED]


@minutes
@pytest.mark.parametrize(
    "pairing", PAIRINGS, ids=lambda pairing: pairing.name.replace(",", "").replace(" ", "-")
)
def test_a_pairing(
    pairing: Pairing,
    setting: Setting,
    upstream_vllm: Path,
    model: Model,
    tmp_path: Path,
    seen: dict[str, list[str]],
) -> None:
    found = outcomes(pairing, replace(setting, scratch=tmp_path), upstream_vllm, model)
    seen[pairing.name] = found
    assert found == [pairing.upstream, pairing.ours]


@minutes
def test_the_table_in_the_docs_is_what_was_seen(
    request: pytest.FixtureRequest, seen: dict[str, list[str]]
) -> None:
    if set(seen) != {pairing.name for pairing in PAIRINGS}:
        pytest.skip("not every pairing was run")
    table = Table(document=DOCUMENT, name="pairings with Triton", pairings=PAIRINGS)
    table.check(seen, write=request.config.getoption("--write-table"))
