"""What makes an engine on the CPU resemble another.

A plug-in for vLLM, and the variables that it reads.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from forkhouse.serving.launching import WorkerRole

if TYPE_CHECKING:
    from collections.abc import Iterable

FOLDER = Path(__file__).parent
TRITON_ARGUMENTS = ("--dtype", "float16", "--num-gpu-blocks-override", "64")
"""Arguments of a worker whose attention is interpreted, and of the one that it is paired with.

Triton's interpreter multiplies the bits of bfloat16 as whole numbers, and writes the whole KV cache
back after each launch.
"""
CACHE_WRITE = "reshape_and_cache_kernel_flash"
_PROMPT = frozenset({"kernel_unified_attention", CACHE_WRITE})
ATTENTION = {
    WorkerRole.PREFILL: _PROMPT,
    WorkerRole.DECODE: _PROMPT | {"reduce_segments"},
    WorkerRole.AGGREGATED: _PROMPT | {"reduce_segments"},
}
"""The kernels of Triton's attention that a worker of each role cannot do without."""


def interpreted(log: str) -> set[str]:
    """Return the names of the kernels that Triton's interpreter ran, by an engine's log."""
    return set(re.findall(r"^interpreted: (\w+)$", log, re.MULTILINE))


def engine_environment(
    *,
    before: Iterable[Path] = (),
    version: str | None = None,
    backend: str | None = None,
    layout: str | None = None,
    triton: bool = False,
    without_kernel: str | None = None,
    staging: bool = False,
    spoilt_block: int | None = None,
    hidden: Iterable[str] = (),
    transfer_package: str | None = None,
) -> dict[str, str]:
    """Return the variables of a worker whose engine loads the plug-in.

    `before` are folders that go before the stack's packages. With `triton`, attention is vLLM's own
    Triton backend under Triton's interpreter, and the worker needs TRITON_ARGUMENTS.
    """
    folders = (*before, FOLDER, *([FOLDER / "triton"] if triton else []))
    variables = {
        "PYTHONPATH": ":".join(map(str, folders)),
        "FORKHOUSE_TEST_VERSION": version,
        "FORKHOUSE_TEST_BACKEND": backend,
        "FORKHOUSE_TEST_TRITON": "1" if triton else None,
        "FORKHOUSE_TEST_WITHOUT_KERNEL": without_kernel,
        "TRITON_INTERPRET": "1" if triton else None,
        "FORKHOUSE_TEST_STAGING": "1" if staging else None,
        "FORKHOUSE_TEST_SPOIL_BLOCK": None if spoilt_block is None else str(spoilt_block),
        "FORKHOUSE_TEST_HIDDEN": ",".join(hidden) or None,
        "VLLM_KV_CACHE_LAYOUT": layout,
        "FORKHOUSE_NIXL_PACKAGE": transfer_package,
    }
    return {name: value for name, value in variables.items() if value}
