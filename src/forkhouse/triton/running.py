"""Run the program in the stack that records and compiles, and read what it found."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forkhouse.core.environments import without_settings
from forkhouse.core.errors import UsageError
from forkhouse.core.progress import report
from forkhouse.core.wording import end_of
from forkhouse.triton import KernelError
from forkhouse.triton.figures import KernelFigures, read_kernels

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forkhouse.triton.cases import ModelCase

PROGRAM = Path(__file__).parent / "inside" / "engine.py"
DEADLINE = 3600.0
"""Seconds after which a run is ended."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TritonRun:
    """What one run found."""

    triton: str
    """Version of the Triton that compiled."""
    triton_key: str
    """The sha256 of what that Triton puts into every key of its cache."""
    vllm: str
    kernels: tuple[KernelFigures, ...]
    launches: dict[str, int]
    """By case, how many launches were recorded."""
    seconds: dict[str, tuple[float, float]]
    """By case, what running vLLM took, and what compiling took."""


def run_cases(
    python: Path,
    cases: Mapping[str, ModelCase],
    *,
    common: Mapping[str, Any],
    target: str,
    processes: int,
    folder: Path,
    cache: Path,
) -> TritonRun:
    """Record and compile the kernels of cases for a target such as gfx90a.

    `python` is the stack's, `common` are options of every engine, `folder` takes the program's log
    and its answer, `cache` is Triton's. Raises KernelError when a case came to nothing, UsageError
    when the stack has no vLLM and no Triton.
    """
    request, answer, log = (folder / name for name in ("request.json", "answer.json", "log"))
    wanted = [
        {"name": name, "config": case.config, "engine": {**common, **case.engine}}
        for name, case in cases.items()
    ]
    request.write_text(
        json.dumps({"target": target, "processes": processes, "cases": wanted}), encoding="utf-8"
    )
    environment = {
        **{
            name: value
            for name, value in without_settings(os.environ).items()
            # What a user has set for servers is no part of what is compiled.
            if not name.startswith(("TRITON_", "VLLM_", "TORCH"))
        },
        "TRITON_CACHE_DIR": str(cache),
        "PYTHONWARNINGS": "ignore",
        "OMP_NUM_THREADS": "1",
    }
    command = [str(python), "-P", str(PROGRAM), str(request), str(answer)]
    with report().task(f"triton kernels for {target}", total=len(wanted)), log.open("wb") as output:
        try:
            ended = subprocess.run(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=DEADLINE,
                check=False,
            )
        except FileNotFoundError as error:
            message = f"{python} is not there. Give the Python of an installed stack."
            raise UsageError(message) from error
        except subprocess.TimeoutExpired as error:
            message = f"The run for {target} did not end within {DEADLINE:.0f} s; its log is {log}."
            raise KernelError(message) from error
    if ended.returncode != 0 or not answer.is_file():
        said = end_of(log.read_text(encoding="utf-8", errors="replace"))
        message = f"The run for {target} ended with exit code {ended.returncode}:\n{said}"
        raise KernelError(message)
    refused = {name: case.refused for name, case in cases.items() if case.refused}
    return read_answer(json.loads(answer.read_text(encoding="utf-8")), cache, refused)


def read_answer(answer: dict[str, Any], cache: Path, refused: Mapping[str, str]) -> TritonRun:
    """Return what the program in the stack answered, with the figures from Triton's cache.

    `refused` are cases that vLLM does not serve, with what it says. Raises KernelError when another
    case failed or launched nothing, or when one of them is served.
    """
    served = [
        case["case"]
        for case in answer["cases"]
        if case["case"] in refused and refused[case["case"]] not in (case["error"] or "")
    ]
    if served:
        message = (
            f"vLLM is said to refuse {', '.join(served)}, and did not, or for another reason. Look "
            "at what it says, and take `refused` out of cases.yaml where it serves the case."
        )
        raise KernelError(message)
    answer = {
        **answer,
        "cases": [case for case in answer["cases"] if case["case"] not in refused],
    }
    failed = [case for case in answer["cases"] if case["error"]]
    if failed:
        said = "\n".join(f"{case['case']}:\n{case['error'].strip()}" for case in failed)
        message = (
            f"vLLM did not serve {len(failed)} of {len(answer['cases'])} cases, so their kernels "
            f"are not known:\n{said}"
        )
        raise KernelError(message)
    empty = [case["case"] for case in answer["cases"] if not case["kernels"]]
    if empty:
        message = (
            f"Nothing was launched for {', '.join(empty)}. vLLM has found another way to launch "
            "than Triton's JITFunction.run; forkhouse.triton.inside.recording has to follow."
        )
        raise KernelError(message)
    return TritonRun(
        triton=answer["triton"]["version"],
        triton_key=answer["triton"]["key"],
        vllm=answer["vllm"],
        kernels=tuple(kernel for case in answer["cases"] for kernel in read_kernels(case, cache)),
        launches={case["case"]: case["launches"] for case in answer["cases"]},
        seconds={case["case"]: tuple(case["seconds"]) for case in answer["cases"]},
    )
