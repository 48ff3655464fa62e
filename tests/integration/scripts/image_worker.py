"""Serve a model that answers with what it sees: shape and SHA-256 of each image.

Runs with the Python of the served stack.

    python image_worker.py MODEL-FOLDER NAME SEEN-FOLDER

Dynamo's front end decodes the images and offers their pixels through NIXL; they are read from its
memory here. For each request the pixels of its images are written to the folder, with a line in
images.jsonl that says what they are and how the front end offered them.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import sys
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# Of the stack's Python, whose packages no type checker of this project sees.
dynamo_llm: Any = import_module("dynamo.llm")
media_decoder: Any = import_module("dynamo.common.utils.media_decoder")
media_nixl: Any = import_module("dynamo.common.utils.media_nixl")
nixl_connect: Any = import_module("dynamo.nixl_connect")
runtimes: Any = import_module("dynamo.common.utils.runtime")
tokenizers: Any = import_module("tokenizers")

LISTING = "images.jsonl"


@dataclass(kw_only=True, slots=True)
class Viewer:
    """Reads the images of requests, and tells what they are."""

    tokenizer: Any
    seen: Path
    connector: Any = field(default_factory=nixl_connect.Connector)
    _count: int = 0

    async def answer(self, request: dict[str, Any]) -> AsyncIterator[dict[str, object]]:
        """Give a text with a word for each image."""
        offers = (request.get("multi_modal_data") or {}).get("image_url", [])
        words = [await self.word(offer, request) for offer in offers]
        yield {
            "token_ids": self.tokenizer.encode(
                " ".join(words) or "none", add_special_tokens=False
            ).ids,
            "finish_reason": "stop",
        }

    async def word(self, offer: dict[str, Any], request: dict[str, Any]) -> str:
        """Read an image. Raises KeyError when the front end did not decode it."""
        decoded = offer["Decoded"]
        pixels = await media_nixl.read_decoded_media_via_nixl(self.connector, decoded)
        content = pixels.tobytes()
        self._count += 1
        name = f"{self._count}.pixels"
        (self.seen / name).write_bytes(content)
        word = (
            f"{'x'.join(str(length) for length in pixels.shape)}:"
            f"{hashlib.sha256(content).hexdigest()}"
        )
        told = {
            "word": word,
            "file": name,
            "shape": list(pixels.shape),
            "type": str(pixels.dtype),
            "offered": decoded,
            "request_bytes": len(json.dumps(request)),
        }
        with (self.seen / LISTING).open("a", encoding="utf-8") as listing:
            listing.write(f"{json.dumps(told)}\n")
        return word


async def main() -> None:
    """Serve until SIGTERM."""
    model, name, seen = sys.argv[1:]
    runtime, loop = runtimes.create_runtime(
        os.environ["DYN_DISCOVERY_BACKEND"],
        os.environ["DYN_REQUEST_PLANE"],
        os.environ["DYN_EVENT_PLANE"],
    )
    loop.add_signal_handler(signal.SIGTERM, runtime.shutdown)
    endpoint = runtime.endpoint("images.viewer.generate")
    decoder = dynamo_llm.MediaDecoder()
    decoder.enable_image(media_decoder.build_frontend_image_decoder_options())
    await dynamo_llm.register_model(
        dynamo_llm.ModelInput.Tokens,
        dynamo_llm.ModelType.Chat,
        endpoint,
        model,
        name,
        worker_type=dynamo_llm.WorkerType.Aggregated,
        media_decoder=decoder,
    )
    viewer = Viewer(
        tokenizer=tokenizers.Tokenizer.from_file(str(Path(model, "tokenizer.json"))),
        seen=Path(seen),
    )
    await endpoint.serve_endpoint(viewer.answer)


if __name__ == "__main__":
    asyncio.run(main())
