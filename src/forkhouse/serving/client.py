"""Ask a server for chat completions, and for its counters.

The server is on this machine unless another host is given.
"""

from __future__ import annotations

import contextlib
import http.client
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from forkhouse.core.errors import ServingError
from forkhouse.serving.patience import patient
from forkhouse.serving.processes import LOCALHOST

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

HTTP_OK = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a chat completion returned."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int | None
    """Tokens of the prompt that a worker had in its KV cache already.

    None where it does not say.
    """
    prefill_worker: int | None
    """Dynamo's number of the worker that computed the prompt; None without separate workers.

    Separate are the workers for prefill and for decode.
    """
    decode_worker: int | None


def fetch(
    port: int,
    path: str,
    *,
    host: str = LOCALHOST,
    body: Mapping[str, object] | None = None,
    wait: float = 30,
) -> tuple[int, str]:
    """Return the status and the text of a GET of `path`, or of a POST with `body` as JSON.

    Proxy settings are ignored. Raises OSError or HTTPException when there is no complete answer
    within `wait` seconds.
    """
    with contextlib.closing(
        http.client.HTTPConnection(host, port, timeout=patient(wait))
    ) as connection:
        if body is None:
            connection.request("GET", path)
        else:
            connection.request(
                "POST", path, body=json.dumps(body), headers={"Content-Type": "application/json"}
            )
        response = connection.getresponse()
        return response.status, response.read().decode()


def workers_known(port: int) -> int:
    """Return how many workers the front end at `port` knows; 0 while it is not up."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        status, text = fetch(port, "/health")
        if status == HTTP_OK:
            return sum(
                instance["endpoint"] == "generate"
                for instance in json.loads(text).get("instances", [])
            )
    return 0


def chat(port: int, model: str, text: str, *, tokens: int, wait: float = 120) -> Answer:
    """Return the answer of at most `tokens` tokens to one user message.

    Each token is the most probable one (temperature 0). Raises ServingError when the server
    refuses, breaks off, or does not answer within `wait` seconds.
    """
    body = {
        "model": model,
        "messages": [{"role": "user", "content": text}],
        "max_tokens": tokens,
        "temperature": 0,
        "nvext": {"extra_fields": ["worker_id"]},
    }
    try:
        status, reply = fetch(port, "/v1/chat/completions", body=body, wait=wait)
    except (OSError, http.client.HTTPException) as error:
        message = (
            f"No answer to a chat completion from port {port}: {error!r}. The logs of the front "
            "end and the workers say more."
        )
        raise ServingError(message) from error
    if status != HTTP_OK:
        message = f"A chat completion was answered with HTTP {status} by port {port}: {reply[:500]}"
        raise ServingError(message)
    completion: dict[str, Any] = json.loads(reply)
    workers = (completion.get("nvext") or {}).get("worker_id") or {}
    return Answer(
        text=completion["choices"][0]["message"]["content"] or "",
        prompt_tokens=completion["usage"]["prompt_tokens"],
        completion_tokens=completion["usage"]["completion_tokens"],
        cached_tokens=(completion["usage"].get("prompt_tokens_details") or {}).get("cached_tokens"),
        prefill_worker=workers.get("prefill_worker_id"),
        decode_worker=workers.get("decode_worker_id"),
    )


def chat_stream(
    port: int, model: str, text: str, *, tokens: int, wait: float = 120
) -> Iterator[str]:
    """Yield the pieces of an answer to one user message as they come, `tokens` tokens in all.

    Each token is the most probable one (temperature 0). Raises ServingError when the server
    refuses, breaks off, or is silent for `wait` seconds.
    """
    body = {
        "model": model,
        "messages": [{"role": "user", "content": text}],
        "max_tokens": tokens,
        "ignore_eos": True,
        "temperature": 0,
        "stream": True,
    }
    connection = http.client.HTTPConnection(LOCALHOST, port, timeout=patient(wait))
    with contextlib.closing(connection):
        try:
            headers = {"Content-Type": "application/json"}
            connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
            response = connection.getresponse()
            if response.status != HTTP_OK:
                said = response.read(500).decode(errors="replace")
                message = f"A chat completion was answered with HTTP {response.status}: {said}"
                raise ServingError(message)
            for line in response:
                data = line.removeprefix(b"data: ").strip()
                if data == b"[DONE]":
                    return
                if line.startswith(b"data: "):
                    yield from _pieces(json.loads(data))
        except (OSError, http.client.HTTPException, ValueError) as error:
            message = f"The answer from port {port} broke off: {error!r}"
            raise ServingError(message) from error
    message = f"The answer from port {port} ended before its end was said."
    raise ServingError(message)


def _pieces(chunk: dict[str, Any]) -> Iterator[str]:
    for choice in chunk.get("choices", []):
        piece = choice.get("delta", {}).get("content")
        if piece:
            yield piece


def metrics(port: int, host: str = LOCALHOST) -> dict[str, float]:
    """Return the Prometheus samples at `port`: by name, the sum over all labels.

    Raises ServingError when they cannot be had.
    """
    try:
        status, text = fetch(port, "/metrics", host=host)
    except (OSError, http.client.HTTPException) as error:
        message = f"No metrics from port {port}: {error!r}"
        raise ServingError(message) from error
    if status != HTTP_OK:
        message = f"Metrics were answered with HTTP {status} by port {port}: {text[:500]}"
        raise ServingError(message)
    return samples(text)


def samples(text: str) -> dict[str, float]:
    """Return what a Prometheus page says: by name, the sum over all labels.

    The name of a counter ends in `_total`, also where the page leaves that out, as older clients
    did. Raises ValueError or IndexError when it is none.
    """
    from prometheus_client.parser import text_string_to_metric_families

    sums: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
    return sums
