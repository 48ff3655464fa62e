"""Workers that die and come, and a front end that starts anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

import openai
import pytest

from forkhouse.errors import ServingError
from forkhouse.serving.client import lists_model
from forkhouse.serving.processes import wait_until
from forkhouse.serving.stack import Role, WorkerPlan, running_stack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkhouse.serving.stack import Setting, Stack
    from tests.integration.conftest import Model

pytestmark = [pytest.mark.integration, pytest.mark.extended, pytest.mark.timeout(600)]

LONG = 800  # tokens: an answer that takes seconds
LEASE_SECONDS = 60.0  # after which a dead worker is forgotten, with time to spare


@pytest.fixture
def stack(setting: Setting) -> Iterator[Stack]:
    with running_stack(setting, [WorkerPlan(role=Role.AGGREGATED), WorkerPlan(role=Role.AGGREGATED)]) as running:
        yield running


@pytest.fixture
def client(stack: Stack) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=stack.url, api_key="none", max_retries=0, timeout=120) as connected:
        yield connected


def begin(client: openai.OpenAI, stack: Stack, text: str) -> openai.Stream[openai.types.chat.ChatCompletionChunk]:
    """Ask for a long answer, and return its stream after the first words have come."""
    stream = client.chat.completions.create(
        model=stack.model, messages=[{"role": "user", "content": text}], max_tokens=LONG, temperature=0, stream=True
    )
    for chunk in stream:
        if chunk.choices and chunk.choices[0].delta.content:
            return stream
    message = "The stream ended before its first word."
    raise AssertionError(message)


def test_a_worker_killed_while_it_answers_is_told_and_replaced(stack: Stack, client: openai.OpenAI, model: Model) -> None:
    prompt = model.prompts[0]
    stream = begin(client, stack, prompt.text)
    (busy,) = (worker for worker in stack.workers if worker.running())
    stack.kill(busy)
    with pytest.raises(openai.APIError) as told:
        list(stream)
    assert str(told.value)
    (left,) = stack.workers
    # Requests may go to the dead one until its lease ends; each such gets an error at once, and hangs never.
    answers: list[str] = []

    def answered() -> bool:
        try:
            answers.append(stack.chat(prompt.text, tokens=model.answer_tokens).text)
        except ServingError:
            answers.clear()
        return len(answers) == 4  # in a row

    wait_until(answered, what="only living workers to be asked", servers=stack.servers, wait=LEASE_SECONDS)
    assert set(answers) == {prompt.answer}
    added = stack.start_worker(WorkerPlan(role=Role.AGGREGATED))
    before = left.generated()

    def shared() -> bool:
        assert stack.chat(prompt.text, tokens=model.answer_tokens).text == prompt.answer
        return added.generated() > 0

    wait_until(shared, what="the added worker to be asked", servers=stack.servers, wait=200)
    assert left.generated() > before


def test_without_workers_there_is_an_error_and_with_one_again_an_answer(stack: Stack, model: Model) -> None:
    prompt = model.prompts[0]
    for worker in tuple(stack.workers):
        stack.kill(worker)

    def refused() -> bool:
        try:
            stack.chat(prompt.text, tokens=1)
        except ServingError as error:
            return "HTTP 404" in str(error) or "HTTP 503" in str(error)
        return False

    wait_until(refused, what="the front end to refuse", servers=stack.servers, wait=LEASE_SECONDS)
    stack.start_worker(WorkerPlan(role=Role.AGGREGATED))
    wait_until(lambda: not lists_model(stack.port, stack.model), what="the dead to be forgotten", servers=stack.servers, wait=LEASE_SECONDS)
    stack.wait_for_answer()
    assert stack.chat(prompt.text, tokens=model.answer_tokens).text == prompt.answer


def test_a_front_end_that_starts_anew_finds_its_workers(stack: Stack, model: Model) -> None:
    stack.restart_frontend()
    stack.wait_for_answer()
    answers = [stack.chat(prompt.text, tokens=model.answer_tokens).text for prompt in model.prompts]
    assert answers == [prompt.answer for prompt in model.prompts]
