"""Run vLLM's engine for models that are described, with launches recorded, and compile them.

Runs alone, with the Python of the served stack:

    python engine.py REQUEST.json RESULT.json

The request names the GPU target, how many processes may work at once, and the cases: each a model's
configuration (`config.json`) with the options of its engine. Weights, prompts and answers mean
nothing: they are zeros. What counts is which kernels vLLM's own code asks Triton to launch.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

os.environ.update(
    VLLM_ENABLE_V1_MULTIPROCESSING="0",
    VLLM_NO_USAGE_STATS="1",
    HF_HUB_OFFLINE="1",
    TRANSFORMERS_OFFLINE="1",
    TORCHDYNAMO_DISABLE="1",
)
os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
sys.path.insert(0, str(Path(__file__).parent))

import likeness

LONGEST = 3000
"""Characters of an error that are kept, and of the calls that led to it."""


def main(request_path: Path, result_path: Path) -> None:
    """Run every case in a process of its own, so many at a time."""
    request = json.loads(request_path.read_text(encoding="utf-8"))
    likeness.take_on(request["target"])
    from recording import Recorder

    recorder = Recorder()
    recorder.install()
    likeness.import_vllm()
    waiting = list(enumerate(request["cases"]))
    running: dict[int, tuple[int, Path]] = {}
    results: dict[int, Any] = {}
    with tempfile.TemporaryDirectory(prefix="forkhouse-triton-") as scratch:
        while waiting or running:
            while waiting and len(running) < request["processes"]:
                number, case = waiting.pop(0)
                part = Path(scratch, f"{number}.json")
                child = os.fork()
                if child == 0:
                    _child(case, recorder, part)
                running[child] = number, part
            ended, status = os.wait()
            number, part = running.pop(ended)
            results[number] = (
                json.loads(part.read_text(encoding="utf-8"))
                if part.is_file()
                else {"error": f"its process ended with wait status {status}", "kernels": []}
            )
            results[number]["case"] = request["cases"][number]["name"]
    facts = {"triton": likeness.triton_facts(), "vllm": likeness.vllm_version()}
    text = json.dumps({**facts, "cases": [results[number] for number in sorted(results)]})
    result_path.write_text(text, encoding="utf-8")


def _child(case: dict[str, Any], recorder: Any, part: Path) -> None:
    """Run a case, write what became of it, and end this process."""
    started = time.monotonic()
    error = None
    try:
        drive(case, recorder)
    except BaseException as raised:
        # PyTorch's words may be longer than the way to them.
        way = "".join(traceback.format_tb(raised.__traceback__))[-LONGEST:]
        error = f"{way}{type(raised).__name__}: {str(raised)[:LONGEST]}"
    driven = time.monotonic()
    from compiling import compile_all

    kernels = compile_all(recorder)
    found = {
        "error": error,
        "launches": recorder.count,
        "kernels": kernels,
        "seconds": [round(driven - started, 1), round(time.monotonic() - driven, 1)],
    }
    part.write_text(json.dumps(found), encoding="utf-8")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def drive(case: dict[str, Any], recorder: Any) -> None:
    """Load a model and serve requests of several kinds, under the recorder."""
    from vllm import LLM, SamplingParams

    with tempfile.TemporaryDirectory(prefix="forkhouse-model-") as folder:
        Path(folder, "config.json").write_text(json.dumps(case["config"]), encoding="utf-8")
        recorder.case = "start"
        llm = LLM(
            folder,
            skip_tokenizer_init=True,
            load_format="dummy",
            enforce_eager=True,
            disable_log_stats=True,
            **case["engine"],
        )
    for step in STEPS:
        recorder.case = step["name"]
        prompts = [
            {"prompt_token_ids": [1 + (number % 7) for number in range(length)]}
            for length in step["prompts"]
        ]
        llm.generate(prompts, SamplingParams(**step["sampling"]), use_tqdm=False)


STEPS: tuple[dict[str, Any], ...] = (
    {
        "name": "one, greedy",
        "prompts": [40],
        "sampling": {"max_tokens": 3, "temperature": 0.0},
    },
    {
        "name": "several, greedy",
        "prompts": [300, 33, 17, 5, 64],
        "sampling": {"max_tokens": 3, "temperature": 0.0},
    },
    {
        "name": "many, greedy",
        "prompts": [16] * 40,
        "sampling": {"max_tokens": 3, "temperature": 0.0},
    },
    {
        "name": "long prompt, then its prefix again",
        "prompts": [2500, 2500],
        "sampling": {"max_tokens": 2, "temperature": 0.0},
    },
    {
        "name": "sampled",
        "prompts": [20, 30],
        "sampling": {
            "max_tokens": 3,
            "temperature": 0.8,
            "top_k": 20,
            "top_p": 0.9,
            "seed": 1,
            "presence_penalty": 0.1,
            "frequency_penalty": 0.1,
            "repetition_penalty": 1.1,
        },
    },
    {
        "name": "sampled by probability alone",
        "prompts": [20],
        "sampling": {"max_tokens": 2, "temperature": 1.0, "top_p": 0.9, "min_p": 0.05},
    },
    {
        "name": "with log probabilities",
        "prompts": [20, 30],
        "sampling": {"max_tokens": 2, "temperature": 0.0, "logprobs": 3, "prompt_logprobs": 1},
    },
    {
        "name": "with biased tokens",
        "prompts": [20, 30],
        "sampling": {
            "max_tokens": 3,
            "temperature": 0.0,
            "min_tokens": 2,
            "stop_token_ids": [3],
            "logit_bias": {5: 1.0},
        },
    },
)
"""What is asked of each engine; together they reach the kernels of a text model's requests."""


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
