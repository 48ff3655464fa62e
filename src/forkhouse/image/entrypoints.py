"""What starts the stack's processes in a container: a script for each role, and a health check.

The scripts run the commands that `forkhouse.serving` makes, with variables in the places of what
differs between containers. What a variable says already has precedence.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from forkhouse.image.installing import PREFIX
from forkhouse.image.layers import LayerEntry
from forkhouse.serving.launching import (
    Surroundings,
    WorkerRole,
    frontend_command,
    worker_command,
    worker_environment,
)
from forkhouse.serving.writers.containers import STATE as CONTAINER_STATE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forkhouse.serving.launching import Device

USER = 10001
"""Number of the user and group who run in the container."""
NAME = "stack"
"""What that user is called."""
STATE = str(CONTAINER_STATE).removeprefix("/")
"""The only folder below the root that the user can change. Compose and Kubernetes mount there."""
_FOLDERS = ("home", "discovery", "caches", "tmp")
PYTHON = Path("/", PREFIX, "bin/python")
ROLES = {
    "worker": WorkerRole.AGGREGATED,
    "prefill": WorkerRole.PREFILL,
    "decode": WorkerRole.DECODE,
}
_CPU_DEFAULTS = {"VLLM_CPU_KVCACHE_SPACE": "4", "OMP_NUM_THREADS": "1"}
"""GiB for each worker, and threads that compute."""
_ADDRESS, _LISTEN = "@STACK_ADDRESS@", "@STACK_LISTEN@"
_MODEL, _SERVED = "@STACK_MODEL@", "@STACK_MODEL_NAME@"
_PORT, _STATUS_PORT, _SIDE_PORT = 65533, 65534, 65535
_MARKS = {
    _ADDRESS: "STACK_ADDRESS",
    _LISTEN: "STACK_LISTEN",
    _MODEL: "STACK_MODEL",
    _SERVED: "STACK_MODEL_NAME",
    str(_PORT): "STACK_PORT",
    str(_STATUS_PORT): "STACK_STATUS_PORT",
    str(_SIDE_PORT): "STACK_SIDE_CHANNEL_PORT",
}
"""What stands in a command for a variable of the script. No other port of ours is so high."""
_MARK = re.compile("|".join(map(re.escape, _MARKS)))
_HEAD = """#!/bin/sh
# Start {what} of the stack. Further arguments are handed on to it.
#   STACK_ADDRESS            address at which the other processes reach it
#   STACK_LISTEN             address on which the front end listens for clients
#   STACK_MODEL              folder of the model
#   STACK_MODEL_NAME         what clients call the model
#   STACK_PORT               the front end's port for clients
#   STACK_STATUS_PORT        a worker's port for its health and its counters
#   STACK_SIDE_CHANNEL_PORT  a worker's port for what NIXL needs to connect
set -eu
: "${{STACK_ADDRESS:=127.0.0.1}}" "${{STACK_MODEL:=/model}}"
: "${{STACK_LISTEN:=$STACK_ADDRESS}}"
: "${{STACK_MODEL_NAME:=$(basename "$STACK_MODEL")}}" "${{STACK_PORT:=8000}}"
: "${{STACK_STATUS_PORT:=9090}}" "${{STACK_SIDE_CHANNEL_PORT:=9091}}"
mkdir -p {folders}
case {listens} in
  0.0.0.0) asked=127.0.0.1 ;;
  *) asked={listens} ;;
esac
echo "http://$asked:{port}/health" > /{state}/health
"""
_HEALTH = f"""#!/bin/sh
# End with 0 where the process of this container says that it is healthy.
if ! [ -r /{STATE}/health ]; then
  echo "nothing was started here" >&2
  exit 1
fi
exec {PYTHON} -I -c '
import sys, urllib.request
try:
    urllib.request.urlopen(sys.argv[1], timeout=4).close()
except OSError as error:
    sys.exit(f"{{sys.argv[1]}}: {{error}}")
' "$(cat /{STATE}/health)"
"""


def settings() -> dict[str, object]:
    """Return how the image is run: `config` of its configuration."""
    return {
        "User": f"{USER}:{USER}",
        "WorkingDir": f"/{STATE}",
        "Cmd": ["frontend"],
        "Volumes": {f"/{STATE}": {}},
        "StopSignal": "SIGTERM",
        # Not in the specification of OCI, which lets further keys be; Docker reads it here.
        "Healthcheck": {
            "Test": ["CMD", "healthcheck"],
            "Interval": 15 * 10**9,  # nanoseconds
            "Timeout": 10 * 10**9,
            "StartPeriod": 1800 * 10**9,
            "Retries": 4,
        },
    }


def variables() -> dict[str, str]:
    """Return the variables of every process in the container."""
    common = _surroundings().environment()
    return {
        "PATH": common["PATH"],
        "HOME": common["HOME"],
        "LANG": "C.UTF-8",
        # The image has no byte-code: what has run once is kept where the user may write.
        "PYTHONPYCACHEPREFIX": f"/{STATE}/caches/python",
    }


def configuration(
    device: Device, kernels: Mapping[str, str], passwd: str, group: str
) -> dict[str, LayerEntry]:
    """Return the files of the layer that says how the stack is run.

    `passwd` and `group` are what the base has in the files of these names; `kernels` are the
    variables that tell a worker of compiled kernels.
    """
    scripts = {"frontend": _frontend(), "healthcheck": _HEALTH}
    scripts |= {name: _worker(name, role, device, kernels) for name, role in ROLES.items()}
    account = f"{NAME}:x:{USER}:{USER}::/{STATE}/home:/usr/sbin/nologin\n"
    return {
        **{
            f"usr/local/bin/{name}": LayerEntry(content=text.encode(), mode=0o755)
            for name, text in scripts.items()
        },
        "etc/passwd": LayerEntry(content=(passwd + account).encode()),
        "etc/group": LayerEntry(content=f"{group}{NAME}:x:{USER}:\n".encode()),
        # A volume that is mounted there gets the owner of what it hides.
        **{
            name: LayerEntry(mode=0o755, owner=USER)
            for name in (STATE, *(f"{STATE}/{each}" for each in _FOLDERS))
        },
    }


def _surroundings() -> Surroundings:
    state = Path("/", STATE)
    return Surroundings(
        python=PYTHON,
        home=state / "home",
        discovery=state / "discovery",
        caches=state / "caches",
        temporary=state / "tmp",
    )


def _frontend() -> str:
    command = frontend_command(PYTHON, port=_PORT, address=_LISTEN)
    return _script("the front end", ("$STACK_LISTEN", "$STACK_PORT"), {}, command)


def _worker(name: str, role: WorkerRole, device: Device, kernels: Mapping[str, str]) -> str:
    command = worker_command(
        PYTHON, role=role, device=device, model=Path(_MODEL), served_name=_SERVED
    )
    own = worker_environment(
        device, address=_ADDRESS, status_port=_STATUS_PORT, side_channel_port=_SIDE_PORT
    )
    sizes = _CPU_DEFAULTS if device.target is None else {}
    what = "a worker" if role is WorkerRole.AGGREGATED else f"a {name} worker"
    return _script(
        what, ("$STACK_ADDRESS", "$STACK_STATUS_PORT"), {**own, **sizes, **kernels}, command
    )


def _script(
    what: str, place: tuple[str, str], own: Mapping[str, str], command: tuple[str, ...]
) -> str:
    """Return a script. `place` is where its process is asked for its health: address and port."""
    given = {**_surroundings().environment(_ADDRESS), **own}
    lines = [
        # Two steps: what follows `export` some shells split into words.
        f"{name}=${{{name}-{_word(value)}}} && export {name}"
        for name, value in given.items()
        if name not in variables()
    ]
    words = " ".join(_word(word) for word in command)
    folders = " ".join(f"/{STATE}/{name}" for name in _FOLDERS)
    head = _HEAD.format(what=what, listens=place[0], port=place[1], state=STATE, folders=folders)
    return head + "\n".join([*lines, f'exec {words} "$@"', ""])


def _word(text: str) -> str:
    """Return a word as a shell reads it, with variables in the places of marks."""
    parts, end = [], 0
    for mark in _MARK.finditer(text):
        parts += [shlex.quote(text[end : mark.start()])] if mark.start() > end else []
        parts.append(f'"${_MARKS[mark[0]]}"')
        end = mark.end()
    if end < len(text) or not parts:
        parts.append(shlex.quote(text[end:]))
    return "".join(parts)
