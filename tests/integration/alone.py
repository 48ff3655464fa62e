"""Run a script of the folder beside this file with the stack's Python, and read what it says."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forkhouse.serving.patience import patient
from forkhouse.serving.processes import Server

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forkhouse.serving.launching import Device

SCRIPTS = Path(__file__).with_name("scripts")
LIMIT_SECONDS = 300.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """A script that ran, and left no process behind."""

    code: int
    objects: list[dict[str, Any]]
    """What it wrote: a JSON object a line."""
    log: str
    """All that was written, by libraries too."""


def run_alone(
    python: Path,
    device: Device,
    scratch: Path,
    script: str,
    *arguments: str,
    variables: Mapping[str, str] | None = None,
) -> Ended:
    """Run a script for a device until it ends, with further variables of its environment.

    Raises ServingError when it does not, or leaves a process behind.
    """
    log = scratch / f"{script}.log"
    environment = {
        **{
            name: os.environ[name]
            for name in ("PATH", "TMPDIR", *device.carried)
            if name in os.environ
        },
        "HOME": str(scratch),
        "OMP_NUM_THREADS": "1",  # what is computed is small
        "UCX_TLS": device.transports,
        "UCX_NET_DEVICES": "lo",  # UCX listens on every device that it uses
        # nixl_cu12 brings libraries for InfiniBand, and one of its modules loads the system's
        # beside them where there are any (Debian's ibverbs-providers): two of each in a process,
        # which ends in a segmentation fault when all else is done.
        "UCX_MODULES": "^ib",
        **(variables or {}),
    }
    command = (*device.launcher, str(python), str(SCRIPTS / script), *arguments)
    with Server.start(script, command, log=log, environment=environment, folder=scratch) as server:
        code = server.wait(patient(LIMIT_SECONDS))
        left = server.descendants()
        if left:
            how = f"left processes behind: {', '.join(str(process.pid) for process in left)}"
            raise server.error(how)
    text = log.read_text(encoding="utf-8", errors="replace")
    return Ended(
        code=code,
        objects=[json.loads(line) for line in text.splitlines() if line.startswith('{"')],
        log=text,
    )
