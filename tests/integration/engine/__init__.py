"""What makes an engine on the CPU resemble another.

A plug-in for vLLM, and the variables that it reads.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

FOLDER = Path(__file__).parent


def engine_environment(
    *,
    before: Iterable[Path] = (),
    version: str | None = None,
    backend: str | None = None,
    layout: str | None = None,
    staging: bool = False,
    spoilt_block: int | None = None,
    hidden: Iterable[str] = (),
    transfer_package: str | None = None,
) -> dict[str, str]:
    """Return the variables of a worker whose engine loads the plug-in.

    `before` are folders that go before the stack's packages.
    """
    variables = {
        "PYTHONPATH": ":".join(str(folder) for folder in (*before, FOLDER)),
        "FORKHOUSE_TEST_VERSION": version,
        "FORKHOUSE_TEST_BACKEND": backend,
        "FORKHOUSE_TEST_STAGING": "1" if staging else None,
        "FORKHOUSE_TEST_SPOIL_BLOCK": None if spoilt_block is None else str(spoilt_block),
        "FORKHOUSE_TEST_HIDDEN": ",".join(hidden) or None,
        "VLLM_KV_CACHE_LAYOUT": layout,
        "FORKHOUSE_NIXL_PACKAGE": transfer_package,
    }
    return {name: value for name, value in variables.items() if value}
