"""Chat completions from real vLLM engines behind Dynamo's front end: in one worker, and with prefill and decode apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from forkhouse.serving.stack import BLOCK_TOKENS, Role, running_stack

if TYPE_CHECKING:
    from forkhouse.serving.stack import Setting
    from tests.integration.conftest import Model

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]


def test_one_worker_gives_the_answers_that_the_reference_computed(setting: Setting, model: Model) -> None:
    with running_stack(setting, [Role.AGGREGATED]) as stack:
        answers = {prompt.name: stack.chat(prompt.text, tokens=model.answer_tokens) for prompt in model.prompts}
    assert {name: answer.text for name, answer in answers.items()} == {prompt.name: prompt.answer for prompt in model.prompts}
    assert {name: answer.prompt_tokens for name, answer in answers.items()} == {prompt.name: prompt.tokens for prompt in model.prompts}


def test_prefill_and_decode_apart_transfer_every_block_and_answer_the_same(setting: Setting, model: Model) -> None:
    with running_stack(setting, [Role.PREFILL, Role.DECODE]) as stack:
        decode = stack.worker(Role.DECODE)
        for prompt in model.prompts:
            before = decode.transfers()
            answer = stack.chat(prompt.text, tokens=model.answer_tokens)
            moved = decode.transfers().since(before)
            assert answer.text == prompt.answer, prompt.name
            # The last token of the prompt is computed where the answer is.
            blocks = -(-(prompt.tokens - 1) // BLOCK_TOKENS)
            assert (moved.count, moved.failed) == (1, 0)
            assert moved.size == blocks * BLOCK_TOKENS * model.kv_bytes
            assert answer.prefill_worker is not None
            assert answer.prefill_worker != answer.decode_worker
