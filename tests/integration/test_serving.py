"""Chat completions from a real vLLM engine behind Dynamo's front end."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openai
import pytest

from forkhouse.serving.client import HTTP_OK, fetch
from forkhouse.serving.launching import SYSTEM_PATH, WorkerRole
from forkhouse.serving.processes import wait_until
from forkhouse.serving.stack import FrontendPlan, WorkerPlan, running_stack, started_stack
from tests.integration.several import ask_several

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkhouse.serving.stack import Setting, Stack
    from tests.integration.conftest import Model

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

TOGETHER = 64
LONG = 800  # tokens: an answer that takes seconds
COMPILER = re.compile(
    r"(.*-)?(c\+\+|cc|c[89]9|gcc|g\+\+|clang|clang\+\+|cpp|tcc|icp?x|nvcc|hipcc)(-[\d.]+)?"
)
SCHEMA = {
    "type": "object",
    "properties": {"sound": {"enum": ["ba", "du"]}},
    "required": ["sound"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "function": {"name": "say", "parameters": SCHEMA}}


def path_without_compilers(folder: Path) -> str:
    """Fill `folder` with links to all that the system's PATH has but compilers, and return it."""
    for tools in SYSTEM_PATH.split(":"):
        for tool in Path(tools).glob("*"):
            if not COMPILER.fullmatch(tool.name) and not (folder / tool.name).is_symlink():
                (folder / tool.name).symlink_to(tool)
    return str(folder)


@pytest.fixture(scope="module")
def stack(setting: Setting, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Serve, on the CPU where no compiler is and none is named.

    Nothing that a request can ask for needs any.
    """
    path = f"{setting.python.parent}:{path_without_compilers(tmp_path_factory.mktemp('tools'))}"
    environment = (
        {"PATH": path} if setting.device.target is None else {}
    )  # PyTorch for ROCm compiles by Triton, which needs one at start
    with running_stack(
        setting, [WorkerPlan(role=WorkerRole.AGGREGATED, environment=environment)]
    ) as running:
        yield running


def test_each_prompt_gets_the_answer_that_the_reference_computed(
    stack: Stack, model: Model
) -> None:
    answers = {
        prompt.name: stack.chat(prompt.text, tokens=model.answer_tokens) for prompt in model.prompts
    }
    assert {name: answer.text for name, answer in answers.items()} == {
        prompt.name: prompt.answer for prompt in model.prompts
    }
    assert {name: answer.prompt_tokens for name, answer in answers.items()} == {
        prompt.name: prompt.tokens for prompt in model.prompts
    }
    assert {answer.completion_tokens for answer in answers.values()} == {model.answer_tokens}


def test_different_prompts_get_different_answers(model: Model) -> None:
    assert len({prompt.answer for prompt in model.prompts}) == len(model.prompts) > 1


def test_many_prompts_that_are_asked_together_do_not_mix(stack: Stack, model: Model) -> None:
    asked = [model.prompts[number % len(model.prompts)] for number in range(TOGETHER)]
    with ThreadPoolExecutor(TOGETHER) as pool:
        answers = list(
            pool.map(lambda prompt: stack.chat(prompt.text, tokens=model.answer_tokens), asked)
        )
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
    pieces = [
        chunk.choices[0].delta.content
        for chunk in chunks
        if chunk.choices and chunk.choices[0].delta.content
    ]
    assert "".join(pieces) == prompt.answer
    assert len(pieces) > 1
    (usage,) = (chunk.usage for chunk in chunks if chunk.usage)
    assert (usage.prompt_tokens, usage.completion_tokens) == (prompt.tokens, model.answer_tokens)
    assert [
        chunk.choices[0].finish_reason
        for chunk in chunks
        if chunk.choices and chunk.choices[0].finish_reason
    ] == ["length"]


def test_a_client_that_goes_away_frees_its_worker(
    stack: Stack, client: openai.OpenAI, model: Model
) -> None:
    worker = stack.worker(WorkerRole.AGGREGATED)
    before = worker.generated()
    stream = client.chat.completions.create(
        model=stack.model,
        messages=[{"role": "user", "content": model.prompts[0].text}],
        max_tokens=LONG,
        temperature=0,
        stream=True,
    )
    next(chunk for chunk in stream if chunk.choices and chunk.choices[0].delta.content)
    wait_until(
        lambda: worker.running() == 1,
        what="the worker to say that it computes",
        servers=stack.servers,
        wait=10,
    )
    stream.close()
    wait_until(
        lambda: worker.running() == 0,
        what="the worker to stop computing",
        servers=stack.servers,
        wait=60,
    )
    assert 0 < worker.generated() - before < LONG


def test_several_answers_are_those_of_one_at_a_time(stack: Stack, model: Model) -> None:
    for several in (4, 16):
        answers = ask_several(stack, model.prompts[0], several, tokens=model.answer_tokens)
        assert answers == [model.prompts[0].answer] * several


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        pytest.param({"logprobs": True, "top_logprobs": 20}, None, id="logprobs"),
        pytest.param(
            {"top_k": 1, "temperature": 1, "logprobs": True, "n": 3, "seed": 4},
            None,
            id="logprobs of several",
        ),
        pytest.param({"temperature": 1}, ".*", id="chance"),
        pytest.param({"temperature": 1, "seed": 4}, ".*", id="seed"),
        pytest.param(
            {"temperature": 1, "top_k": 5, "top_p": 0.5, "min_p": 0.1, "logprobs": True},
            ".*",
            id="top_k, top_p, min_p",
        ),
        pytest.param(
            {"presence_penalty": 1, "frequency_penalty": 1, "repetition_penalty": 1.2},
            ".*",
            id="penalties",
        ),
        pytest.param({"logit_bias": {"5": 50}}, ".*", id="logit_bias"),
        pytest.param({"allowed_token_ids": [5, 6]}, ".*", id="allowed tokens"),
        pytest.param({"stop": ["zzzz"], "min_tokens": 2}, ".*", id="stop and min_tokens"),
        pytest.param({"guided_regex": "[0-9]{3}"}, "[0-9]{3}", id="regex"),
        pytest.param({"guided_choice": ["one", "other"]}, "one|other", id="choice"),
        pytest.param({"guided_grammar": 'root ::= "a" | "b"'}, "a|b", id="grammar"),
        pytest.param(
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "said", "schema": SCHEMA},
                },
                "max_tokens": 64,
            },
            r'\s*\{\s*"sound"\s*:\s*"(ba|du)"\s*\}\s*',
            id="JSON schema",
        ),
        pytest.param(
            {"tools": [TOOL], "tool_choice": "required", "max_tokens": 64}, None, id="tools"
        ),
    ],
)
def test_a_request_is_answered_without_a_compiler(
    stack: Stack, model: Model, asked: dict[str, Any], answer: str | None
) -> None:
    """`answer` is a regular expression.

    None stands for the model's own answer where one is known.
    """
    messages = [{"role": "user", "content": model.prompts[0].text}]
    body = {
        "model": stack.model,
        "messages": messages,
        "max_tokens": model.answer_tokens,
        "temperature": 0,
        **asked,
    }
    status, text = fetch(stack.port, "/v1/chat/completions", body=body, wait=120)
    assert status == HTTP_OK, text
    choices = json.loads(text)["choices"]
    assert len(choices) == asked.get("n", 1)
    for choice in choices:
        said = choice["message"]["content"]
        if "tools" in asked:
            assert json.loads(choice["message"]["tool_calls"][0]["function"]["arguments"])[
                "sound"
            ] in {"ba", "du"}
        elif answer is None:
            assert said == model.prompts[0].answer
        else:
            assert re.fullmatch(answer, said, flags=re.DOTALL)
        if "logprobs" in asked:
            given = choice["logprobs"]["content"]
            assert len(given) == model.answer_tokens
            assert all(token["logprob"] <= 0 for token in given)
    stack.worker(WorkerRole.AGGREGATED).server.check()


@pytest.mark.parametrize(
    "asked", [{"best_of": 3}, {"n": 2, "best_of": 3, "temperature": 1}], ids=", ".join
)
def test_what_the_engine_does_not_have_is_refused(
    stack: Stack, client: openai.OpenAI, asked: dict[str, Any]
) -> None:
    with pytest.raises(openai.BadRequestError, match="not supported"):
        client.completions.create(model=stack.model, prompt="hello", max_tokens=1, extra_body=asked)


def completion(
    client: openai.OpenAI, stack: Stack, prompt: str, **asked: Any
) -> openai.types.Completion:
    """Return a text completion in which nothing is left to chance."""
    return client.completions.create(
        model=stack.model, prompt=prompt, max_tokens=4, temperature=0, extra_body=asked
    )


@pytest.mark.parametrize(
    "ignored",
    [{"echo": True}, {"logit_bias": {"5": 100}}, {"suffix": " and so on"}, {"prompt_logprobs": 1}],
    ids=lambda asked: next(iter(asked)),
)
def test_known_limit_the_front_end_drops(
    stack: Stack, client: openai.OpenAI, ignored: dict[str, Any]
) -> None:
    """docs/reference/known-limits.md.

    When this fails, the front end does or refuses it now, and the page has to say so.
    """
    text = "Which of these words comes next"
    answers = [completion(client, stack, text, logprobs=1, **asked) for asked in ({}, ignored)]
    assert answers[0].choices[0].to_dict() == answers[1].choices[0].to_dict()


def test_known_limit_the_front_end_drops_nul(stack: Stack, client: openai.OpenAI) -> None:
    """docs/reference/known-limits.md."""
    answers = [completion(client, stack, text) for text in ("a\0b", "ab")]
    assert answers[0].usage == answers[1].usage
    assert answers[0].choices[0].text == answers[1].choices[0].text


def test_known_limit_a_mistake_is_a_flat_body_and_an_error_in_the_log(stack: Stack) -> None:
    """docs/reference/known-limits.md."""
    log = stack.frontend.log
    before = log.read_text(encoding="utf-8", errors="replace").count("ERROR")
    status, text = fetch(
        stack.port,
        "/v1/chat/completions",
        body={"model": "another", "messages": [{"role": "user", "content": "hello"}]},
    )
    assert status == 404
    assert set(json.loads(text)) == {"message", "type", "code"}
    wait_until(
        lambda: log.read_text(encoding="utf-8", errors="replace").count("ERROR") > before,
        what="the log's line",
        servers=stack.servers,
        wait=10,
    )


def test_known_limit_a_front_end_without_workers_is_healthy_and_knows_no_completions(
    setting: Setting, tmp_path: Path
) -> None:
    """docs/reference/known-limits.md."""
    with started_stack(replace(setting, scratch=tmp_path), [], FrontendPlan()) as alone:
        wait_until(
            lambda: _status(alone.port, "/health") is not None,
            what="the front end",
            servers=alone.servers,
            wait=120,
        )
        status, text = fetch(alone.port, "/health")
        assert (status, json.loads(text)["status"], json.loads(text)["instances"]) == (
            HTTP_OK,
            "healthy",
            [],
        )
        chat = {"model": alone.model, "messages": [{"role": "user", "content": "hello"}]}
        assert fetch(alone.port, "/v1/chat/completions", body=chat) == (404, "")
        assert fetch(
            alone.port, "/v1/completions", body={"model": alone.model, "prompt": "hello"}
        ) == (404, "")
        status, text = fetch(alone.port, "/v1/models")
        assert (status, json.loads(text)["data"]) == (HTTP_OK, [])


def _status(port: int, path: str) -> int | None:
    with contextlib.suppress(OSError, http.client.HTTPException):
        return fetch(port, path)[0]
    return None


def test_what_cannot_be_answered_is_refused_with_a_reason(
    stack: Stack, client: openai.OpenAI, model: Model
) -> None:
    with pytest.raises(openai.NotFoundError, match="Model not found"):
        client.chat.completions.create(
            model="another", messages=[{"role": "user", "content": "hello"}]
        )
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model=stack.model, messages=[])
    # The stack still serves.
    assert (
        stack.chat(model.prompts[0].text, tokens=model.answer_tokens).text
        == model.prompts[0].answer
    )
