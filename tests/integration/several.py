"""Ask for several answers to one prompt (`n` > 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import openai

if TYPE_CHECKING:
    from forkhouse.serving.stack import Stack
    from tests.integration.conftest import Prompt

LEASE_SECONDS = 30.0
"""How long a prefill worker keeps blocks that nobody pulls."""


def ask_several(stack: Stack, prompt: Prompt, several: int, *, tokens: int) -> list[str]:
    """Return that many answers to a prompt.

    Nothing is left to chance, so that all have to be the one that is known.

    Not with temperature 0, which takes one answer alone.
    """
    with openai.OpenAI(base_url=stack.url, api_key="none", max_retries=0, timeout=120) as client:
        reply = client.chat.completions.create(
            model=stack.model,
            messages=[{"role": "user", "content": prompt.text}],
            n=several,
            max_tokens=tokens,
            temperature=0.01,
            seed=3,
            extra_body={"top_k": 1},
        )
    assert [choice.index for choice in reply.choices] == list(range(several))
    assert reply.usage
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (
        prompt.tokens,
        several * tokens,
    )
    return [choice.message.content or "" for choice in reply.choices]
