"""A worker whose engine computes a dense model's layers by emulated kernels for gfx90a.

A plug-in for vLLM, and the variables that it reads.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

FOLDER = Path(__file__).parent


def emulated_environment(objects: Path, launches: Path) -> dict[str, str]:
    """Return the variables of a worker whose engine loads the plug-in.

    `objects` is the folder of vLLM's compiled HIP kernels. Each launch becomes a line of the file
    `launches`.
    """
    checkout = FOLDER.parents[2]
    tinygrad = find_spec("tinygrad")
    assert tinygrad is not None
    assert tinygrad.origin is not None
    return {
        "PYTHONPATH": f"{FOLDER}:{checkout}:{checkout / 'src'}",
        # What only the emulator needs; of all else the worker has its own.
        "FORKHOUSE_EMULATED_PACKAGES": str(Path(tinygrad.origin).parents[1]),
        "FORKHOUSE_EMULATED_OBJECTS": str(objects),
        "FORKHOUSE_EMULATED_LAUNCHES": str(launches),
        "VLLM_KV_CACHE_LAYOUT": "LBNHC",
        "FORKHOUSE_TEST_VERSION": "0.31.0+rocm72",
        "TRITON_CACHE_DIR": str(launches.with_suffix(".triton")),
        "TRITON_DEFAULT_FP_FUSION": "1",
    }
