"""What the machine under test is: asked of the kernel and of files, with nothing installed.

What a machine does not say is left out, never guessed.
"""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from forkhouse.serving.device import TOPOLOGY, find_gpus

if TYPE_CHECKING:
    from collections.abc import Sequence

_SECONDS = 60
"""How long UCX may take to list its transports."""


def machine(root: Path = Path("/")) -> dict[str, object]:
    """Return what is known of the machine whose file system starts at `root`.

    Memory is in bytes. The GPUs are those that the kernel lists, with all that it says of each.
    """
    found = {
        "system": " ".join(platform.uname()[i] for i in (0, 2, 4)),
        "distribution": _keyed(root / "etc/os-release", "=").get("PRETTY_NAME", "").strip('"'),
        "python": platform.python_version(),
        "processor": _keyed(root / "proc/cpuinfo", ":").get("model name", ""),
        "processors": os.cpu_count(),
        "memory": _memory(root),
        "gpus": _gpus(root),
        "driver": _text(root / "sys/module/amdgpu/version"),
        "rocm": _rocm(root),
    }
    return {key: value for key, value in found.items() if value not in (None, "", [], {})}


def transports(python: Path, launcher: Sequence[str]) -> dict[str, object]:
    """Return the transports that the stack's own UCX finds, or why it says none.

    Nothing where the environment has no `ucx_info`.
    """
    program = python.with_name("ucx_info")
    if not program.exists():
        return {}
    try:
        result = subprocess.run(
            [*launcher, program, "-d"],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_SECONDS,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return {"transports-unknown": str(error)}
    if result.returncode != 0:
        return {"transports-unknown": result.stderr[-2000:]}
    lines = (line.split() for line in result.stdout.splitlines())
    return {"transports": sorted({words[-1] for words in lines if "Transport:" in words})}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _keyed(path: Path, separator: str) -> dict[str, str]:
    """Return the first value of each key of a file of lines."""
    found: dict[str, str] = {}
    for line in _text(path).splitlines():
        key, parted, value = line.partition(separator)
        if parted:
            found.setdefault(key.strip(), value.strip())
    return found


def _memory(root: Path) -> int | None:
    amount, _, unit = _keyed(root / "proc/meminfo", ":").get("MemTotal", "").partition(" ")
    return int(amount) * 1024 if amount.isdecimal() and unit == "kB" else None


def _gpus(root: Path) -> list[dict[str, object]]:
    return [
        {
            "node": gpu.node,
            "target": gpu.target,
            "usable": not gpu.denied(),
            "name": _text(root / TOPOLOGY / str(gpu.node) / "name"),
            "properties": _keyed(root / TOPOLOGY / str(gpu.node) / "properties", " "),
        }
        for gpu in find_gpus(root)
    ]


def _rocm(root: Path) -> dict[str, str]:
    """Return the release of every ROCm where its packages install it, by folder."""
    chosen = os.environ.get("ROCM_PATH")
    folders = {*(root / "opt").glob("rocm*"), *([Path(chosen)] if chosen else [])}
    releases = {str(folder): _text(folder / ".info/version") for folder in sorted(folders)}
    return {folder: release for folder, release in releases.items() if release}
