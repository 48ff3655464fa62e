"""Answer the shortest prompt of the tiny model by vLLM's engine on the CPU, with all logits.

Runs alone, with the stack's Python.

    python engine_logits.py MODEL RESULT.json

The result holds the prompt, its tokens, those of the answer, the logits that each of them was taken
from, and the answer of the model in float32.
"""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

os.environ.update(
    VLLM_ENABLE_V1_MULTIPROCESSING="0",
    VLLM_NO_USAGE_STATS="1",
    VLLM_CPU_KVCACHE_SPACE="1",
    HF_HUB_OFFLINE="1",
    TRANSFORMERS_OFFLINE="1",
)


def main(model: Path, result: Path) -> None:
    """Start the engine, ask it, and write what it answers."""
    vllm: Any = import_module("vllm")
    listing = json.loads((model / "prompts.json").read_text(encoding="utf-8"))
    prompt = min(listing["prompts"], key=lambda each: each["tokens"])
    engine = vllm.LLM(
        str(model),
        enforce_eager=True,
        max_model_len=1024,
        max_num_seqs=4,
        logprobs_mode="raw_logits",
        max_logprobs=-1,
    )
    chat = [{"role": "user", "content": prompt["text"]}]
    tokens = list(
        engine.get_tokenizer().apply_chat_template(
            chat, add_generation_prompt=True, return_dict=False
        )
    )
    sampling = vllm.SamplingParams(
        max_tokens=listing["answer_tokens"], temperature=0, ignore_eos=True, logprobs=-1
    )
    (asked,) = engine.generate([{"prompt_token_ids": tokens}], sampling, use_tqdm=False)
    (answer,) = asked.outputs
    logits = [[step[token].logprob for token in sorted(step)] for step in answer.logprobs]
    found = {
        "text": prompt["text"],
        "prompt": tokens,
        "tokens": list(answer.token_ids),
        "logits": logits,
        "wanted": prompt["answer"],
    }
    result.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
