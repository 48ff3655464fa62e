"""Ask a front end which models it lists."""

from __future__ import annotations

import contextlib
import http.client
import json

from forkhouse.serving.client import HTTP_OK, fetch


def lists_model(port: int, model: str) -> bool:
    """Say whether the front end at `port` is up and lists `model`."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        status, text = fetch(port, "/v1/models")
        return status == HTTP_OK and any(entry["id"] == model for entry in json.loads(text)["data"])
    return False
