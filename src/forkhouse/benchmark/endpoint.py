"""Ask an OpenAI-compatible endpoint what has to be known before it is put under load."""

from __future__ import annotations

import http.client
import ipaddress
import json
import socket
import urllib.request
from urllib.parse import SplitResult, urlsplit, urlunsplit

from forkhouse.core.errors import ServingError, UsageError
from forkhouse.serving.client import samples

WAIT_SECONDS = 15.0
# Without the proxies of the environment: the load generator uses none either.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def base_url(text: str) -> str:
    """Return the address of a server from what a user gives, with or without `/v1` at its end.

    Raises UsageError when it is no address by HTTP, or names a user: addresses are recorded, and
    passwords must not be.
    """
    parts = _parts(text)
    path = parts.path.rstrip("/").removesuffix("/v1")
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def metrics_url(text: str) -> str:
    """Return the address of a worker's metrics as a user gives it.

    Raises UsageError as `base_url` does.
    """
    return urlunsplit(_parts(text))


def _parts(text: str) -> SplitResult:
    # What is wrong is not repeated: it may hold a password.
    try:
        parts = urlsplit(text)
        known = (
            parts.scheme in {"http", "https"}
            and parts.hostname
            and (parts.port is None or parts.port > 0)
        )
    except ValueError:
        known = False
    if not known:
        message = "That is not the address of a server. Give one such as http://127.0.0.1:8000."
        raise UsageError(message)
    if parts.username is not None or parts.query or parts.fragment:
        message = (
            f"The address of {parts.hostname} names a user, a query or a fragment. Give scheme, "
            "host, port and path alone."
        )
        raise UsageError(message)
    return parts


def is_here(url: str) -> bool:
    """Say whether a server is on this machine: all addresses of its host are loopback."""
    try:
        found = socket.getaddrinfo(urlsplit(url).hostname, None)
    except OSError:
        return False
    return all(
        ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback for *_, address in found
    )


def _get(url: str) -> str:
    with _OPENER.open(url, timeout=WAIT_SECONDS) as answer:
        text: str = answer.read().decode()
    return text


def require_model(url: str, model: str) -> None:
    """Make sure that the server at `url` answers and lists `model`.

    Raises ServingError when it does not answer, UsageError when not listed.
    """
    try:
        listed = [str(entry["id"]) for entry in json.loads(_get(f"{url}/v1/models"))["data"]]
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
        message = (
            f"{url}/v1/models was asked for the served models and gave no such list: {error}. "
            "Start the server, or correct --endpoint."
        )
        raise ServingError(message) from error
    if model not in listed:
        message = (
            f"{url} serves {', '.join(listed) or 'no model'}, and not {model}. Name one of them "
            "with --model."
        )
        raise UsageError(message)


def metrics(url: str) -> dict[str, float]:
    """Return the Prometheus samples at `url`: by name, the sum over all labels.

    Raises ServingError when they cannot be had.
    """
    try:
        return samples(_get(url))
    except (OSError, http.client.HTTPException, ValueError, IndexError) as error:
        message = (
            f"{url} gives no metrics: {error}. Correct --metrics, or leave it out: KV transfers "
            "are not measured then."
        )
        raise ServingError(message) from error


def version(url: str) -> str | None:
    """Return the version that the server tells, as vLLM's does; None when it tells none."""
    try:
        answer = json.loads(_get(f"{url}/version"))
    except (OSError, http.client.HTTPException, ValueError):
        return None
    found = answer.get("version") if isinstance(answer, dict) else None
    return str(found) if found else None
