"""Chat completions from a real vLLM engine behind Dynamo's front end."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from forkhouse.serving.stack import Role, WorkerPlan, running_stack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkhouse.serving.stack import Setting, Stack
    from tests.integration.conftest import Model

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def stack(setting: Setting) -> Iterator[Stack]:
    with running_stack(setting, [WorkerPlan(role=Role.AGGREGATED)]) as running:
        yield running


def test_each_prompt_gets_the_answer_that_the_reference_computed(stack: Stack, model: Model) -> None:
    answers = {prompt.name: stack.chat(prompt.text, tokens=model.answer_tokens) for prompt in model.prompts}
    assert {name: answer.text for name, answer in answers.items()} == {prompt.name: prompt.answer for prompt in model.prompts}
    assert {name: answer.prompt_tokens for name, answer in answers.items()} == {prompt.name: prompt.tokens for prompt in model.prompts}
    assert {answer.completion_tokens for answer in answers.values()} == {model.answer_tokens}


def test_different_prompts_get_different_answers(model: Model) -> None:
    assert len({prompt.answer for prompt in model.prompts}) == len(model.prompts) > 1


def test_prompts_that_are_asked_together_do_not_mix(stack: Stack, model: Model) -> None:
    with ThreadPoolExecutor(len(model.prompts)) as pool:
        answers = list(pool.map(lambda prompt: stack.chat(prompt.text, tokens=model.answer_tokens), model.prompts))
    assert [answer.text for answer in answers] == [prompt.answer for prompt in model.prompts]
