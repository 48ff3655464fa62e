"""Chat completions with prefill and decode in two vLLM engines, and the KV blocks that went from one to the other."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from forkhouse.serving.stack import BLOCK_TOKENS, Role, WorkerPlan, running_stack
from forkhouse.serving.transfers import Transfers
from tests.integration.engine import engine_environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from forkhouse.serving.client import Answer
    from forkhouse.serving.stack import Setting, Stack
    from tests.integration.conftest import Model

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test of the stack as often as --runs says, with new workers each time."""
    if "stack" in metafunc.fixturenames:
        numbers = range(1, metafunc.config.getoption("--runs") + 1)
        metafunc.parametrize("stack", numbers, ids=lambda number: f"run{number}", indirect=True, scope="module")


@pytest.fixture(scope="module")
def stack(setting: Setting, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    fresh = replace(setting, scratch=tmp_path_factory.mktemp("run"))
    with running_stack(fresh, [WorkerPlan(role=Role.PREFILL), WorkerPlan(role=Role.DECODE)]) as running:
        yield running


@pytest.fixture(scope="module")
def asked(stack: Stack, model: Model) -> dict[str, tuple[Answer, Transfers]]:
    """Ask every prompt once: by its name, the answer and what the decode worker pulled for it."""
    decode = stack.worker(Role.DECODE)
    results: dict[str, tuple[Answer, Transfers]] = {}
    for prompt in model.prompts:
        before = decode.transfers()
        answer = stack.chat(prompt.text, tokens=model.answer_tokens)
        results[prompt.name] = answer, decode.transfers().since(before)
    return results


def test_each_prompt_gets_the_answer_of_a_single_engine(asked: dict[str, tuple[Answer, Transfers]], model: Model) -> None:
    assert {name: answer.text for name, (answer, _) in asked.items()} == {prompt.name: prompt.answer for prompt in model.prompts}


def test_every_block_of_the_prompt_is_transferred_once(asked: dict[str, tuple[Answer, Transfers]], model: Model) -> None:
    for prompt in model.prompts:
        _, moved = asked[prompt.name]
        blocks = -(-prompt.tokens // BLOCK_TOKENS)
        assert (moved.count, moved.failed) == (1, 0), prompt.name
        assert moved.size == blocks * BLOCK_TOKENS * model.kv_bytes, prompt.name
    assert len({moved.size for _, moved in asked.values()}) > 1  # or the sizes would say little


def test_two_workers_share_each_request(asked: dict[str, tuple[Answer, Transfers]]) -> None:
    workers = {(answer.prefill_worker, answer.decode_worker) for answer, _ in asked.values()}
    ((prefill, decode),) = workers
    assert None not in {prefill, decode}
    assert prefill != decode


def test_the_prefill_worker_pulls_nothing(stack: Stack, asked: dict[str, tuple[Answer, Transfers]]) -> None:
    assert asked
    assert stack.worker(Role.PREFILL).transfers() == Transfers.counted({})


def test_asked_again_nothing_is_lost(stack: Stack, asked: dict[str, tuple[Answer, Transfers]], model: Model) -> None:
    """By then the workers know each other."""
    assert asked
    decode = stack.worker(Role.DECODE)
    before = decode.transfers()
    for prompt in model.prompts:
        assert stack.chat(prompt.text, tokens=model.answer_tokens).text == prompt.answer, prompt.name
    moved = decode.transfers().since(before)
    assert (moved.count, moved.failed) == (len(model.prompts), 0)


def test_one_spoilt_block_changes_the_answer(setting: Setting, model: Model, tmp_path: Path) -> None:
    """Or equal answers would not show that every block came as it was sent. A prompt without such a block is answered as ever."""
    by_length = sorted(model.prompts, key=lambda prompt: prompt.tokens)
    short, long = by_length[0], by_length[-1]
    number = -(-short.tokens // BLOCK_TOKENS)
    assert number * BLOCK_TOKENS < long.tokens
    spoilt = WorkerPlan(role=Role.DECODE, environment=engine_environment(spoilt_block=number))
    with running_stack(replace(setting, scratch=tmp_path), [WorkerPlan(role=Role.PREFILL), spoilt]) as stack:
        before = stack.worker(Role.DECODE).transfers()
        answers = [stack.chat(prompt.text, tokens=model.answer_tokens).text for prompt in (short, long)]
        moved = stack.worker(Role.DECODE).transfers().since(before)
    assert answers[0] == short.answer
    assert answers[1] != long.answer
    assert (moved.count, moved.failed) == (2, 0)
