"""Chat completions from a real vLLM engine behind Dynamo's front end."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import openai
import pytest

from forkhouse.serving.processes import wait_until
from forkhouse.serving.stack import Role, WorkerPlan, running_stack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkhouse.serving.stack import Setting, Stack
    from tests.integration.conftest import Model

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

TOGETHER = 64
LONG = 800  # tokens: an answer that takes seconds


@pytest.fixture(scope="module")
def stack(setting: Setting) -> Iterator[Stack]:
    with running_stack(setting, [WorkerPlan(role=Role.AGGREGATED)]) as running:
        yield running


@pytest.fixture
def client(stack: Stack) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=stack.url, api_key="none", max_retries=0, timeout=120) as connected:
        yield connected


def test_each_prompt_gets_the_answer_that_the_reference_computed(stack: Stack, model: Model) -> None:
    answers = {prompt.name: stack.chat(prompt.text, tokens=model.answer_tokens) for prompt in model.prompts}
    assert {name: answer.text for name, answer in answers.items()} == {prompt.name: prompt.answer for prompt in model.prompts}
    assert {name: answer.prompt_tokens for name, answer in answers.items()} == {prompt.name: prompt.tokens for prompt in model.prompts}
    assert {answer.completion_tokens for answer in answers.values()} == {model.answer_tokens}


def test_different_prompts_get_different_answers(model: Model) -> None:
    assert len({prompt.answer for prompt in model.prompts}) == len(model.prompts) > 1


def test_many_prompts_that_are_asked_together_do_not_mix(stack: Stack, model: Model) -> None:
    asked = [model.prompts[number % len(model.prompts)] for number in range(TOGETHER)]
    with ThreadPoolExecutor(TOGETHER) as pool:
        answers = list(pool.map(lambda prompt: stack.chat(prompt.text, tokens=model.answer_tokens), asked))
    assert [answer.text for answer in answers] == [prompt.answer for prompt in asked]


def test_an_answer_comes_in_pieces(stack: Stack, client: openai.OpenAI, model: Model) -> None:
    prompt = model.prompts[0]
    stream = client.chat.completions.create(
        model=stack.model,
        messages=[{"role": "user", "content": prompt.text}],
        max_tokens=model.answer_tokens,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
    assert "".join(pieces) == prompt.answer
    assert len(pieces) > 1
    (usage,) = (chunk.usage for chunk in chunks if chunk.usage)
    assert (usage.prompt_tokens, usage.completion_tokens) == (prompt.tokens, model.answer_tokens)
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices and chunk.choices[0].finish_reason] == ["length"]


def test_a_client_that_goes_away_frees_its_worker(stack: Stack, client: openai.OpenAI, model: Model) -> None:
    worker = stack.worker(Role.AGGREGATED)
    before = worker.generated()
    stream = client.chat.completions.create(
        model=stack.model, messages=[{"role": "user", "content": model.prompts[0].text}], max_tokens=LONG, temperature=0, stream=True
    )
    next(chunk for chunk in stream if chunk.choices and chunk.choices[0].delta.content)
    wait_until(lambda: worker.running() == 1, what="the worker to say that it computes", servers=stack.servers, wait=10)
    stream.close()
    wait_until(lambda: worker.running() == 0, what="the worker to stop computing", servers=stack.servers, wait=60)
    assert 0 < worker.generated() - before < LONG


def test_what_cannot_be_answered_is_refused_with_a_reason(stack: Stack, client: openai.OpenAI, model: Model) -> None:
    with pytest.raises(openai.NotFoundError, match="Model not found"):
        client.chat.completions.create(model="another", messages=[{"role": "user", "content": "hello"}])
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model=stack.model, messages=[])
    # The stack still serves.
    assert stack.chat(model.prompts[0].text, tokens=model.answer_tokens).text == model.prompts[0].answer
