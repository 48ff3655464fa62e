"""Workers that die and come, and a front end that starts anew."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

import openai
import pytest

from forkhouse.core.errors import ServingError
from forkhouse.serving.launching import WorkerRole
from forkhouse.serving.processes import wait_until
from forkhouse.serving.stack import WorkerPlan, running_stack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from forkhouse.serving.stack import Setting, Stack, Worker
    from tests.integration.conftest import Model, Prompt

pytestmark = [pytest.mark.integration, pytest.mark.extended, pytest.mark.timeout(600)]

LONG = 800  # tokens: an answer that takes seconds
IN_A_ROW = 8
LEASE_SECONDS = 60.0  # after which a dead worker is forgotten, with time to spare


@pytest.fixture
def stack(setting: Setting, tmp_path: Path) -> Iterator[Stack]:
    with running_stack(
        replace(setting, scratch=tmp_path),
        [WorkerPlan(role=WorkerRole.AGGREGATED), WorkerPlan(role=WorkerRole.AGGREGATED)],
    ) as running:
        yield running


def begin(
    client: openai.OpenAI, stack: Stack, text: str
) -> openai.Stream[openai.types.chat.ChatCompletionChunk]:
    """Ask for a long answer, and return its stream after the first words have come."""
    stream = client.chat.completions.create(
        model=stack.model,
        messages=[{"role": "user", "content": text}],
        max_tokens=LONG,
        temperature=0,
        stream=True,
    )
    for chunk in stream:
        if chunk.choices and chunk.choices[0].delta.content:
            return stream
    message = "The stream ended before its first word."
    raise AssertionError(message)


def test_a_worker_killed_while_it_answers_is_told_and_replaced(
    stack: Stack, client: openai.OpenAI, model: Model
) -> None:
    prompt = model.prompts[0]
    stream = begin(client, stack, prompt.text)
    wait_until(
        lambda: any(busy(stack)),
        what="a worker to say that it computes",
        servers=stack.servers,
        wait=10,
    )
    (dying,) = busy(stack)
    stack.kill(dying)
    with pytest.raises(openai.APIError) as told:
        list(stream)
    # In words of the server: neither a connection that broke nor a client that waited in vain.
    assert not isinstance(told.value, openai.APIConnectionError)
    assert told.value.message
    (left,) = stack.workers
    answers_again(stack, prompt, model)
    added = stack.start_worker(WorkerPlan(role=WorkerRole.AGGREGATED))
    before = left.generated()
    wait_until(
        lambda: answered(stack, prompt, model) and added.generated() > 0,
        what="the added worker to be asked",
        servers=stack.servers,
        wait=200,
    )
    answers_again(stack, prompt, model)
    assert left.generated() > before


@pytest.mark.parametrize("role", [WorkerRole.PREFILL, WorkerRole.DECODE])
def test_of_two_that_share_a_request_either_may_die(
    setting: Setting, model: Model, tmp_path: Path, role: WorkerRole
) -> None:
    prompt = model.prompts[0]
    with running_stack(
        replace(setting, scratch=tmp_path),
        [WorkerPlan(role=WorkerRole.PREFILL), WorkerPlan(role=WorkerRole.DECODE)],
    ) as stack:
        assert answered(stack, prompt, model)
        stack.kill(stack.worker(role))
        # An error, or the right answer; `answered` sees to that, and to the time that it takes.
        answered(stack, prompt, model)
        before = 0 if role is WorkerRole.DECODE else pulled(stack.worker(WorkerRole.DECODE))
        stack.start_worker(WorkerPlan(role=role))
        decode = stack.worker(WorkerRole.DECODE)
        wait_until(
            lambda: answered(stack, prompt, model) and pulled(decode) > before,
            what="blocks to be handed over again",
            servers=stack.servers,
            wait=200,
        )
        before = pulled(decode)
        answers_again(stack, prompt, model)
        assert pulled(decode) - before >= IN_A_ROW


def pulled(worker: Worker) -> int:
    """Return how many requests' blocks a worker has pulled; none while it starts."""
    with contextlib.suppress(ServingError):
        return worker.transfers().count
    return 0


def busy(stack: Stack) -> list[Worker]:
    return [worker for worker in stack.workers if worker.running()]


def answered(stack: Stack, prompt: Prompt, model: Model) -> bool:
    """Say whether there was an answer, which has to be the right one.

    An error is none; it comes at once, or the test's time is up.
    """
    try:
        answer = stack.chat(prompt.text, tokens=model.answer_tokens).text
    except ServingError:
        return False
    assert answer == prompt.answer
    return True


def answers_again(stack: Stack, prompt: Prompt, model: Model) -> None:
    """Wait until many requests in a row were answered.

    A worker that died is asked until its lease ends, one that came a bit too early.
    """
    wait_until(
        lambda: all(answered(stack, prompt, model) for _ in range(IN_A_ROW)),
        what="all to be answered",
        servers=stack.servers,
        wait=LEASE_SECONDS,
    )


def test_without_workers_there_is_an_error_and_with_one_again_an_answer(
    stack: Stack, model: Model
) -> None:
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
    stack.start_worker(WorkerPlan(role=WorkerRole.AGGREGATED))
    stack.wait_for_answer()
    answers_again(stack, prompt, model)


def test_a_front_end_that_starts_anew_finds_its_workers(stack: Stack, model: Model) -> None:
    stack.restart_frontend()
    stack.wait_for_answer()
    answers = [stack.chat(prompt.text, tokens=model.answer_tokens).text for prompt in model.prompts]
    assert answers == [prompt.answer for prompt in model.prompts]
