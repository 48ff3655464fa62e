"""Requests go to the worker that has their beginning in its KV cache."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from forkhouse.serving.client import metrics
from forkhouse.serving.launching import WorkerRole
from forkhouse.serving.processes import wait_until
from forkhouse.serving.stack import BLOCK_TOKENS, FrontendPlan, WorkerPlan, running_stack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from forkhouse.serving.stack import Setting, Stack
    from tests.integration.conftest import Model

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def stack(setting: Setting, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Two workers that keep what they computed and tell the front end so, which chooses between
    them by it.
    """
    sockets = tmp_path_factory.mktemp("events")
    plans = [
        WorkerPlan(
            role=WorkerRole.AGGREGATED,
            prefix_caching=True,
            arguments=("--kv-events-config", json.dumps(_events(sockets / name))),
        )
        for name in ("one", "two")
    ]
    frontend = FrontendPlan(
        arguments=("--router-mode", "kv", "--kv-cache-block-size", str(BLOCK_TOKENS))
    )
    with running_stack(setting, plans, frontend=frontend) as running:
        yield running


def _events(socket: Path) -> dict[str, object]:
    # With an address of this machine vLLM would call instead of listen; what makes it listen is
    # "*", on every interface, or a socket.
    return {
        "publisher": "zmq",
        "topic": "kv-events",
        "endpoint": f"ipc://{socket}",
        "enable_kv_cache_events": True,
    }


def _told(stack: Stack) -> int:
    """Return how often workers told that they keep new blocks.

    Each is counted when it is received, and when it is passed on.
    """
    return (
        sum(
            int(
                metrics(worker.metrics_port).get(
                    "dynamo_component_kv_publisher_zmq_events_total", 0
                )
            )
            for worker in stack.workers
        )
        // 2
    )


def test_a_prompt_goes_where_its_beginning_is_cached(stack: Stack, model: Model) -> None:
    # Asked together, as the front end gives the idle worker what it would give to either.
    with ThreadPoolExecutor(len(model.prompts)) as pool:
        given = pool.map(
            lambda prompt: stack.chat(prompt.text, tokens=model.answer_tokens), model.prompts
        )
    first = {prompt.name: answer for prompt, answer in zip(model.prompts, given, strict=True)}
    wait_until(
        lambda: _told(stack) >= len(first),
        what="the workers to tell what they keep",
        servers=stack.servers,
        wait=30,
    )
    again = {
        prompt.name: stack.chat(f"{prompt.text} and more", tokens=1) for prompt in model.prompts
    }
    assert (
        len({answer.decode_worker for answer in first.values()}) == 2
    )  # or going to the same one would say nothing
    for prompt in model.prompts:
        assert again[prompt.name].decode_worker == first[prompt.name].decode_worker, prompt.name
        # Whole blocks of what both have: all but the end of the user's message.
        whole_blocks = {
            (prompt.tokens - closing) // BLOCK_TOKENS * BLOCK_TOKENS
            for closing in model.closing_tokens
        }
        cached = again[prompt.name].cached_tokens
        assert cached, prompt.name
        assert cached in whole_blocks, prompt.name


def test_what_is_cached_gives_the_same_answers(stack: Stack, model: Model) -> None:
    answers = {
        prompt.name: stack.chat(prompt.text, tokens=model.answer_tokens) for prompt in model.prompts
    }
    assert {name: answer.text for name, answer in answers.items()} == {
        prompt.name: prompt.answer for prompt in model.prompts
    }
    assert all(answer.cached_tokens for answer in answers.values())
