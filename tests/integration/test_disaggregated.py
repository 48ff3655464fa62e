"""Chat completions with prefill and decode in two vLLM engines, and the KV blocks that went from
one to the other.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import openai
import pytest

from forkhouse.serving.launching import WorkerRole
from forkhouse.serving.processes import wait_until
from forkhouse.serving.stack import BLOCK_TOKENS, WorkerPlan, running_stack
from forkhouse.serving.transfers import Transfers
from tests.integration.engine import engine_environment
from tests.integration.several import LEASE_SECONDS, ask_several

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from forkhouse.serving.client import Answer
    from forkhouse.serving.stack import Setting, Stack
    from tests.integration.conftest import Model

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

SEVERAL = 4


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test of the stack as often as --runs says, with new workers each time."""
    if "stack" in metafunc.fixturenames:
        numbers = range(1, metafunc.config.getoption("--runs") + 1)
        metafunc.parametrize(
            "stack", numbers, ids=lambda number: f"run{number}", indirect=True, scope="module"
        )


@pytest.fixture(scope="module")
def stack(setting: Setting, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    fresh = replace(setting, scratch=tmp_path_factory.mktemp("run"))
    with running_stack(
        fresh, [WorkerPlan(role=WorkerRole.PREFILL), WorkerPlan(role=WorkerRole.DECODE)]
    ) as running:
        yield running


@pytest.fixture(scope="module")
def asked(stack: Stack, model: Model) -> dict[str, tuple[Answer, Transfers]]:
    """Ask every prompt once: by its name, the answer and what the decode worker pulled for it."""
    decode = stack.worker(WorkerRole.DECODE)
    results: dict[str, tuple[Answer, Transfers]] = {}
    for prompt in model.prompts:
        before = decode.transfers()
        answer = stack.chat(prompt.text, tokens=model.answer_tokens)
        results[prompt.name] = answer, decode.transfers().since(before)
    return results


def test_each_prompt_gets_the_answer_of_a_single_engine(
    asked: dict[str, tuple[Answer, Transfers]], model: Model
) -> None:
    assert {name: answer.text for name, (answer, _) in asked.items()} == {
        prompt.name: prompt.answer for prompt in model.prompts
    }


def test_every_block_of_the_prompt_is_transferred_once(
    asked: dict[str, tuple[Answer, Transfers]], model: Model
) -> None:
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


def test_the_prefill_worker_pulls_nothing(
    stack: Stack, asked: dict[str, tuple[Answer, Transfers]]
) -> None:
    assert asked
    assert stack.worker(WorkerRole.PREFILL).transfers() == Transfers.counted({})


def test_asked_again_nothing_is_lost(
    stack: Stack, asked: dict[str, tuple[Answer, Transfers]], model: Model
) -> None:
    """By then the workers know each other."""
    assert asked
    decode = stack.worker(WorkerRole.DECODE)
    before = decode.transfers()
    for prompt in model.prompts:
        assert stack.chat(prompt.text, tokens=model.answer_tokens).text == prompt.answer, (
            prompt.name
        )
    moved = decode.transfers().since(before)
    assert (moved.count, moved.failed) == (len(model.prompts), 0)


def test_the_first_request_for_logprobs_takes_no_longer_than_the_next(
    stack: Stack, model: Model
) -> None:
    """Or something was compiled for it, which takes many seconds.

    Here there may be a compiler, unlike in test_serving.py.
    """
    seconds = []
    with openai.OpenAI(base_url=stack.url, api_key="none", max_retries=0, timeout=120) as client:
        for _ in range(6):
            began = time.monotonic()
            client.chat.completions.create(
                model=stack.model,
                messages=[{"role": "user", "content": model.prompts[0].text}],
                max_tokens=model.answer_tokens,
                temperature=0.9,
                logprobs=True,
                top_logprobs=3,
            )
            seconds.append(time.monotonic() - began)
    assert seconds[0] < 2 + 3 * max(seconds[1:])


def test_several_answers_take_one_prefill_and_one_transfer(stack: Stack, model: Model) -> None:
    """A transfer's blocks can be pulled once.

    The other answers compute the prompt where they are made.
    """
    prefill, decode = stack.worker(WorkerRole.PREFILL), stack.worker(WorkerRole.DECODE)
    before, made = decode.transfers(), prefill.generated()
    for prompt in model.prompts:
        answers = ask_several(stack, prompt, SEVERAL, tokens=model.answer_tokens)
        assert answers == [prompt.answer] * SEVERAL, prompt.name
    moved = decode.transfers().since(before)
    assert (moved.count, moved.failed) == (len(model.prompts), 0)
    assert (
        moved.size
        == sum(-(-prompt.tokens // BLOCK_TOKENS) for prompt in model.prompts)
        * BLOCK_TOKENS
        * model.kv_bytes
    )
    assert prefill.generated() - made == len(model.prompts)  # one token for each prompt
    wait_until(
        lambda: not any(stack.blocks_in_use()),
        what="all KV blocks to be free",
        servers=stack.servers,
        wait=LEASE_SECONDS / 2,
    )


def test_several_answers_that_nobody_waits_for_leave_nothing(stack: Stack, model: Model) -> None:
    decode = stack.worker(WorkerRole.DECODE)
    with openai.OpenAI(base_url=stack.url, api_key="none", max_retries=0, timeout=120) as client:
        for prompt in model.prompts:
            stream = client.chat.completions.create(
                model=stack.model,
                messages=[{"role": "user", "content": prompt.text}],
                n=SEVERAL,
                max_tokens=400,
                temperature=1,
                stream=True,
            )
            next(chunk for chunk in stream if chunk.choices and chunk.choices[0].delta.content)
            stream.close()
    wait_until(
        lambda: decode.running() == 0,
        what="the worker to stop computing",
        servers=stack.servers,
        wait=60,
    )
    wait_until(
        lambda: not any(stack.blocks_in_use()),
        what="all KV blocks to be free",
        servers=stack.servers,
        wait=LEASE_SECONDS / 2,
    )
    assert (
        ask_several(stack, model.prompts[0], SEVERAL, tokens=model.answer_tokens)
        == [model.prompts[0].answer] * SEVERAL
    )


def test_several_answers_differ_by_seed_alone(stack: Stack, model: Model) -> None:
    """Each has a seed of its own, so that they differ, and come again when they are asked again."""
    with openai.OpenAI(base_url=stack.url, api_key="none", max_retries=0, timeout=120) as client:
        first, again = (
            client.chat.completions.create(
                model=stack.model,
                messages=[{"role": "user", "content": model.prompts[0].text}],
                n=SEVERAL,
                max_tokens=model.answer_tokens,
                temperature=1,
                seed=5,
                logprobs=True,
            )
            for _ in range(2)
        )
    texts = [choice.message.content for choice in first.choices]
    assert len(set(texts)) > 1
    assert [choice.message.content for choice in again.choices] == texts
    for choice in first.choices:
        assert choice.logprobs
        assert len(choice.logprobs.content or ()) == model.answer_tokens


def test_one_spoilt_block_changes_the_answer(
    setting: Setting, model: Model, tmp_path: Path
) -> None:
    """Or equal answers would not show that every block came as it was sent.

    A prompt without such a block is answered as ever.
    """
    by_length = sorted(model.prompts, key=lambda prompt: prompt.tokens)
    short, long = by_length[0], by_length[-1]
    number = -(-short.tokens // BLOCK_TOKENS)
    assert number * BLOCK_TOKENS < long.tokens
    spoilt = WorkerPlan(role=WorkerRole.DECODE, environment=engine_environment(spoilt_block=number))
    with running_stack(
        replace(setting, scratch=tmp_path), [WorkerPlan(role=WorkerRole.PREFILL), spoilt]
    ) as stack:
        before = stack.worker(WorkerRole.DECODE).transfers()
        answers = [
            stack.chat(prompt.text, tokens=model.answer_tokens).text for prompt in (short, long)
        ]
        moved = stack.worker(WorkerRole.DECODE).transfers().since(before)
    assert answers[0] == short.answer
    assert answers[1] != long.answer
    assert (moved.count, moved.failed) == (2, 0)
