"""Several answers to one prompt (`n` > 1) under load.

Each is the answer to that prompt, and nothing is left of any.

The workers have few KV blocks, and clients with ever new prompts keep them busy: a block that was
given back is written over at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import subprocess
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openai
import pytest

from forkhouse.serving.launching import WorkerRole
from forkhouse.serving.processes import wait_until
from forkhouse.serving.stack import WorkerPlan, running_stack
from tests.integration.several import LEASE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkhouse.serving.stack import Setting, Stack
    from tests.integration.conftest import Model, Prompt

pytestmark = [pytest.mark.integration, pytest.mark.extended, pytest.mark.timeout(900)]

FEW_BLOCKS = ("--num-gpu-blocks-override", "64")
APART = (WorkerRole.PREFILL, WorkerRole.DECODE)
CLIENTS = 4
NOISE_WORDS = 300
ROUNDS = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What a load found."""

    right: Counter[int]
    """How many answers were right, by how many were asked for at once."""
    wrong: tuple[tuple[int, str, str], ...]
    """How many were asked for at once, the prompt's name, and what came instead of its answer."""
    left_early: int
    """How many clients went away before their answers were whole."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """Clients of a stack that ask for several answers, and others that ask for much else."""

    client: openai.AsyncOpenAI
    model: str
    prompts: tuple[Prompt, ...]
    tokens: int

    async def answers(self, prompt: Prompt, several: int) -> list[str]:
        """Return the answers to `prompt`.

        Nothing is left to chance, so that all must be the one that is known.
        """
        reply = await self.client.chat.completions.create(
            model=self.model,
            messages=[{"role": "user", "content": prompt.text}],
            n=several,
            max_tokens=self.tokens,
            temperature=0.01,
            seed=3,
            extra_body={"top_k": 1},
        )
        assert [choice.index for choice in reply.choices] == list(range(several))
        assert reply.usage
        assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (
            prompt.tokens,
            several * self.tokens,
        )
        return [choice.message.content or "" for choice in reply.choices]

    async def leave(self, prompt: Prompt, several: int, *, patience: float) -> int:
        """Ask for long answers, and go away after `patience` seconds, whatever has come by then.

        Return 1 when it went early.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                stream = await self.client.chat.completions.create(
                    model=self.model,
                    messages=[{"role": "user", "content": prompt.text}],
                    n=several,
                    max_tokens=200,
                    temperature=1,
                    stream=True,
                )
                async for _ in stream:
                    pass
            return 0
        return 1

    async def noise(self, stop: asyncio.Event, words: list[str]) -> None:
        """Ask for one token behind long, ever new prompts until `stop` is set."""
        while not stop.is_set():
            text = " ".join(random.choice(words) for _ in range(NOISE_WORDS))
            await self.client.chat.completions.create(
                model=self.model,
                messages=[{"role": "user", "content": text}],
                temperature=0,
                max_tokens=1,
            )

    async def run(self) -> Outcome:
        """Ask for 1, 4 and 16 answers at once to each prompt, in rounds, with clients that go away
        in between.
        """
        stop, right, wrong, left = asyncio.Event(), Counter[int](), list[tuple[int, str, str]](), 0
        words = self.prompts[0].text.split()
        noises = [asyncio.create_task(self.noise(stop, words)) for _ in range(CLIENTS)]
        for number in range(ROUNDS):
            for several in (1, 4, 16):
                leaving = [
                    asyncio.create_task(
                        self.leave(prompt, 4, patience=0.05 * 4**place + 0.1 * number)
                    )
                    for place, prompt in enumerate(self.prompts)
                ]
                for prompt, texts in zip(
                    self.prompts,
                    await asyncio.gather(
                        *(self.answers(prompt, several) for prompt in self.prompts)
                    ),
                    strict=True,
                ):
                    right[several] += texts.count(prompt.answer)
                    wrong += [
                        (several, prompt.name, text) for text in texts if text != prompt.answer
                    ]
                left += sum(await asyncio.gather(*leaving))
        stop.set()
        await asyncio.gather(*noises)
        return Outcome(right=right, wrong=tuple(wrong), left_early=left)


@pytest.fixture(
    scope="module",
    params=[(APART, False), (APART, True), ((WorkerRole.AGGREGATED,), False)],
    ids=["apart", "apart and cached", "together"],
)
def stack(
    request: pytest.FixtureRequest, setting: Setting, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    roles, cached = request.param
    plans = [WorkerPlan(role=role, prefix_caching=cached, arguments=FEW_BLOCKS) for role in roles]
    with running_stack(
        replace(setting, scratch=tmp_path_factory.mktemp("several")), plans
    ) as running:
        yield running


async def loaded(stack: Stack, model: Model) -> Outcome:
    """Put the load on a stack."""
    async with openai.AsyncOpenAI(
        base_url=stack.url, api_key="none", max_retries=0, timeout=300
    ) as client:
        return await Load(
            client=client, model=stack.model, prompts=model.prompts, tokens=model.answer_tokens
        ).run()


def test_every_answer_is_the_one_to_its_prompt(stack: Stack, model: Model) -> None:
    outcome = asyncio.run(loaded(stack, model))
    asked = {several: several * len(model.prompts) * ROUNDS for several in (1, 4, 16)}
    assert (outcome.wrong, dict(outcome.right)) == ((), asked)
    assert outcome.left_early  # or nothing was cut off in between
    # Sooner than a lease ends: nobody waits for one.
    wait_until(
        lambda: not any(stack.blocks_in_use()),
        what="all KV blocks to be free",
        servers=stack.servers,
        wait=LEASE_SECONDS / 2,
    )
    for server in stack.servers:
        assert "Potentially invalid KV blocks" not in server.log.read_text(
            encoding="utf-8", errors="replace"
        ), server.name


def told_by(python: Path, script: str) -> Any:
    """Run a script of this folder by the stack's Python, and return what it prints."""
    file = Path(__file__).with_name("scripts") / script
    result = subprocess.run([python, file], capture_output=True, text=True, check=True)
    return json.loads(result.stdout.splitlines()[-1])


def test_pictures_are_refused_where_only_one_answer_would_have_them(stack_python: Path) -> None:
    """A decode worker of a Qwen-VL model has placeholders in their place.

    The blocks of one answer alone know better.
    """
    prepared = told_by(stack_python, "several_pictures.py")
    assert prepared["1"] == "image"
    assert prepared["4"].startswith("refused: n = 4 was asked for with pictures")


def test_one_child_has_the_transfer_and_nothing_is_left_of_those_that_are_cancelled(
    stack_python: Path,
) -> None:
    told = told_by(stack_python, "several_aborted.py")
    assert told == {
        "transfers": [{"do_remote_prefill": True}, None, None],
        "aborted": ["0_inside", "1_inside", "2_inside"],
        "left": 0,
    }
