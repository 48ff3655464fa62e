"""Find the AMD GPUs of this machine by asking the kernel.

No ROCm library has to be installed, and none can hide a GPU. The compute driver (KFD) lists every
device in sysfs. Whether a process may use one is decided by the device files.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from forkhouse.core.errors import NoDeviceError
from forkhouse.core.wording import end_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TOPOLOGY = Path("sys/class/kfd/kfd/topology/nodes")
CONTROL = Path("dev/kfd")
AMD = 0x1002
_ASK = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from forkhouse.core.errors import NoDeviceError
from forkhouse.serving.device import require_gpu
try:
    found = require_gpu(sys.argv[2])
except NoDeviceError as error:
    sys.exit(str(error))
print()
print(json.dumps([
    {"node": each.node, "target": each.target, "devices": list(map(str, each.devices))}
    for each in found
]))
"""
"""What a process under a launcher runs, to say which GPUs it is shown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpu:
    """An AMD GPU as the kernel's compute driver lists it. One MI250 is two of them."""

    node: int
    """Number of its node in the KFD topology."""
    target: str
    """The compiler's name, such as gfx90a."""
    devices: tuple[Path, ...]
    """The device files that a process has to open for reading and writing to use it."""

    def denied(self) -> tuple[Path, ...]:
        """Return those device files that this process cannot open; empty when the GPU is usable."""
        return tuple(device for device in self.devices if not os.access(device, os.R_OK | os.W_OK))


def target_name(version: int) -> str:
    """Return the compiler's name of KFD's `gfx_target_version`: 90010 is gfx90a.

    The version is 10000 * major + 100 * minor + stepping.
    """
    major, minor, stepping = version // 10000, version // 100 % 100, version % 100
    return f"gfx{major}{minor:x}{stepping:x}"


def _properties(node: Path) -> dict[str, int]:
    """Return the numbers of a node's `properties`.

    Empty when the container's device rules hide the node (reading fails).
    """
    try:
        text = (node / "properties").read_text(encoding="ascii")
    except OSError:
        return {}
    pairs = (line.split() for line in text.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2}  # name and value


def _nodes(root: Path) -> list[Path]:
    folder = root / TOPOLOGY
    return sorted(folder.iterdir(), key=lambda node: int(node.name)) if folder.is_dir() else []


def find_gpus(root: Path = Path("/")) -> tuple[Gpu, ...]:
    """Return the AMD GPUs of the machine whose file system starts at `root`, in KFD's order.

    Processors are nodes too, and left out.
    """

    def found() -> Iterator[Gpu]:
        for node in _nodes(root):
            properties = _properties(node)
            if properties.get("vendor_id") == AMD and properties.get("gfx_target_version"):
                yield Gpu(
                    node=int(node.name),
                    target=target_name(properties["gfx_target_version"]),
                    devices=(
                        root / CONTROL,
                        root / f"dev/dri/renderD{properties['drm_render_minor']}",
                    ),
                )

    return tuple(found())


def require_gpu(
    target: str, root: Path = Path("/"), *, launcher: Sequence[str] = ()
) -> tuple[Gpu, ...]:
    """Return the GPUs of `target` (such as gfx90a) that this process can use, at least one.

    `launcher` is a command that shows others than the kernel does to what it starts: an emulator's.
    Raises NoDeviceError, which says what was looked for, where, what is there instead and what to
    do.
    """
    if launcher:
        return _under(launcher, target)
    gpus = find_gpus(root)
    matching = [gpu for gpu in gpus if gpu.target == target]
    usable = tuple(gpu for gpu in matching if not gpu.denied())
    if usable:
        return usable
    if matching:
        raise NoDeviceError(_denied_message(target, matching))
    topology = root / TOPOLOGY
    if not topology.is_dir():
        found = (
            f"{topology} does not exist, so the kernel runs without AMD's compute driver. Load the "
            "amdgpu driver "
            "(`modprobe amdgpu`, and read `dmesg` if that fails). In a container, start it with "
            "--device /dev/kfd --device /dev/dri"
        )
    elif gpus:
        targets = ", ".join(f"{gpu.target} (node {gpu.node})" for gpu in gpus)
        found = (
            f"{topology} lists only {targets}. Run this on a machine with a {target} GPU, or build "
            "for the target that is here"
        )
    else:
        hidden = sum(not _properties(node) for node in _nodes(root))
        found = f"{topology} lists no GPU" + (
            f"; {hidden} of its nodes cannot be read, as in a container that was given no GPU. "
            "Start it with --device /dev/kfd --device /dev/dri"
            if hidden
            else ". Run this on a machine with one; if it has one, `dmesg` says why the amdgpu "
            "driver left it out"
        )
    message = (
        f"No {target} GPU was found: {found}. The CPU profile serves the same stack without a GPU "
        "(--device cpu)."
    )
    raise NoDeviceError(message)


def _under(launcher: Sequence[str], target: str) -> tuple[Gpu, ...]:
    """Ask as `require_gpu` does, in a process that the launcher starts."""
    command = [*launcher, sys.executable, "-c", _ASK, json.dumps(sys.path), target]
    shown = shlex.join(launcher)
    try:
        result = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except OSError as error:
        message = f"The launcher {shown} cannot be started: {error.strerror}. Correct --launcher."
        raise NoDeviceError(message) from error
    if result.returncode != 0:
        message = (
            f"Under the launcher {shown} no {target} GPU can be used:\n{end_of(result.stderr)}"
        )
        raise NoDeviceError(message)
    try:
        found = json.loads(result.stdout.splitlines()[-1])
        return tuple(
            Gpu(
                node=each["node"],
                target=each["target"],
                devices=tuple(map(Path, each["devices"])),
            )
            for each in found
        )
    except (ValueError, IndexError, KeyError, TypeError) as error:
        message = (
            f"The launcher {shown} started something else than it was told: where a list of GPUs "
            f"was to come it printed {result.stdout[-200:]!r}. Correct --launcher."
        )
        raise NoDeviceError(message) from error


def _denied_message(target: str, gpus: list[Gpu]) -> str:
    denied = sorted({device for gpu in gpus for device in gpu.denied()})
    missing = [str(device) for device in denied if not device.exists()]
    closed = [str(device) for device in denied if device.exists()]
    parts = [
        (
            f"{len(gpus)} {target} GPU(s) are in this machine, and this process (user "
            f"{os.geteuid()}) "
            "can use none of them."
        )
    ]
    if missing:
        parts.append(
            f"{', '.join(missing)}: not there. In a container, start it with --device /dev/kfd "
            "--device /dev/dri."
        )
    if closed:
        parts.append(
            f"{', '.join(closed)}: not readable and writable. Add the user to the group that owns "
            "each (`ls -l`; usually render or video) "
            "and log in again, or start the container with --group-add."
        )
    return " ".join(parts)
