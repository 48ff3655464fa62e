"""Where a ROCm customarily lies, and which release is there."""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def customary(chosen: Path | None) -> Iterator[tuple[str, Path | None]]:
    """Yield where a ROCm is looked for, with the root (None where none is installed).

    `chosen` or ROCM_PATH alone, where one is given.
    """
    if chosen is not None:
        yield "--rocm", chosen
        return
    if os.environ.get("ROCM_PATH"):
        yield "ROCM_PATH", Path(os.environ["ROCM_PATH"])
        return
    yield "/opt/rocm", Path("/opt/rocm")
    # ROCm 7.14 moved it there.
    yield "/opt/rocm/core", Path("/opt/rocm/core")
    # The distributions rocm-sdk-core and rocm-sdk-devel. The public index has empty packages of
    # these names without this module.
    found = importlib.util.find_spec("_rocm_sdk_devel")
    yield (
        "AMD's ROCm wheels",
        Path(found.submodule_search_locations[0])
        if found and found.submodule_search_locations
        else None,
    )


def hip_version(root: Path) -> str | None:
    """Return the version that the HIP headers of a ROCm root state; None without headers."""
    header = root / "include/hip/hip_version.h"
    if not header.is_file():
        return None
    text = header.read_text(encoding="utf-8", errors="replace")
    numbers = [
        re.search(rf"^#define HIP_VERSION_{part}\s+(\d+)", text, re.MULTILINE)
        for part in ("MAJOR", "MINOR", "PATCH")
    ]
    return ".".join(number[1] if number else "0" for number in numbers)
