"""Answer prompts by one engine of vLLM's, with no server.

Runs alone, with the stack's Python:

    python engine.py MODEL NAME...

MODEL is a folder with `prompts.json`, the names are those of prompts in it. The output is a JSON
object a line: how the attention keeps its KV cache, then each answer.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from vllm import LLM, SamplingParams


def main(model: Path, names: list[str]) -> None:
    """Answer, and say by what attention."""
    listing = json.loads((model / "prompts.json").read_text(encoding="utf-8"))
    llm = LLM(
        str(model),
        dtype="float16",
        enforce_eager=True,
        block_size=listing["block_tokens"],
        max_model_len=1024,
        max_num_seqs=4,
        num_gpu_blocks_override=64,
        enable_prefix_caching=False,
    )
    layers = llm.llm_engine.vllm_config.compilation_config.static_forward_context
    for name, layer in layers.items():
        cache, backend = layer.kv_cache, layer.attn_backend
        said = {
            "layer": name,
            "backend": f"{backend.__module__}.{backend.__qualname__}",
            "shape": list(cache.shape),
            "strides": list(cache.stride()),
        }
        sys.stdout.write(json.dumps(said) + "\n")
    greedy = SamplingParams(temperature=0, max_tokens=listing["answer_tokens"])
    for prompt in listing["prompts"]:
        if prompt["name"] in names:
            chat = [{"role": "user", "content": prompt["text"]}]
            (answer,) = llm.chat(chat, greedy, use_tqdm=False)
            said = {"prompt": prompt["name"], "answer": answer.outputs[0].text}
            sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
