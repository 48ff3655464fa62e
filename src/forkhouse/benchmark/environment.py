"""Find out on which machine and stack a measurement is made.

Recorded are the machine, its GPUs and drivers, and the stack's pins and patches. Nothing is
guessed. All of it is read from files of the kernel, of ROCm and of the wheelhouse; the stack is
asked only for its installed distributions.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from packaging.utils import canonicalize_name

from forkhouse import __version__
from forkhouse.benchmark import endpoint
from forkhouse.benchmark.results import (
    Environment,
    Machine,
    MeasuredGpu,
    MeasuredStack,
    MeasuredWheel,
)
from forkhouse.core.digests import sha256_file
from forkhouse.core.errors import ServingError, UsageError
from forkhouse.core.progress import report
from forkhouse.serving.device import TOPOLOGY, find_gpus
from forkhouse.serving.stack import WORKER_ARGUMENTS
from forkhouse.wheelhouse.contents import NAME as MANIFEST

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from forkhouse.benchmark.generator import Generator
    from forkhouse.benchmark.load import Target
    from forkhouse.serving.launching import Device

ROCM_PLACES = ("opt/rocm", "opt/rocm/core")
ASK = """
import importlib.metadata, json, platform
found = sorted(
    (each.metadata["Name"], each.version, each.read_text("RECORD") or "")
    for each in importlib.metadata.distributions()
)
print(json.dumps({"python": platform.python_version(), "installed": found}))
"""


def _text(path: Path) -> str | None:
    """Return the text of a file without the white space around it.

    None when there is no such file to read.
    """
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip() or None
    except OSError:
        return None


def _find(pattern: str, path: Path) -> str | None:
    """Return the first group of the first match in a file; None when there is none, or no file."""
    match = re.search(pattern, _text(path) or "", flags=re.MULTILINE)
    return match[1].strip() if match else None


def _rocm(root: Path) -> str | None:
    """Return ROCm's version: of ROCM_PATH where that is set, else of the usual places."""
    chosen = os.environ.get("ROCM_PATH")
    places = [root / chosen.lstrip("/")] if chosen else [root / place for place in ROCM_PLACES]
    return next(filter(None, (_text(place / ".info/version") for place in places)), None)


def _gpus(root: Path) -> tuple[MeasuredGpu, ...]:
    amd = [
        MeasuredGpu(
            vendor="AMD",
            name=_text(root / TOPOLOGY / str(gpu.node) / "name") or gpu.target,
            target=gpu.target,
        )
        for gpu in find_gpus(root)
    ]
    files = sorted((root / "proc/driver/nvidia/gpus").glob("*/information"))
    nvidia = [
        MeasuredGpu(vendor="NVIDIA", name=_find(r"^Model:(.+)$", file) or "unknown")
        for file in files
    ]
    return (*amd, *nvidia)


def machine(root: Path = Path("/")) -> Machine:
    """Return the description of the machine whose file system starts at `root`.

    Processor, memory and kernel are always those of this machine.
    """
    return Machine(
        processor=_find(r"^model name\s*:(.+)$", root / "proc/cpuinfo"),
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=psutil.virtual_memory().total,
        system=_find(r'^PRETTY_NAME="?([^"\n]+)', root / "etc/os-release"),
        kernel=platform.release(),
        gpus=_gpus(root),
        amdgpu_driver=_text(root / "sys/module/amdgpu/version"),
        nvidia_driver=_find(
            r"Kernel Module.*?\s(\d+(?:\.\d+)+)\s", root / "proc/driver/nvidia/version"
        ),
        rocm=_rocm(root),
    )


def stack(
    python: Path, wheelhouse: Path, device: Device, worker_arguments: Sequence[str]
) -> MeasuredStack:
    """Return what is installed for the interpreter `python`.

    Pins and patches are known only when it was installed from `wheelhouse`. `worker_arguments` are
    those that every worker gets beyond the stack's own and the device's.

    Raises ServingError when the interpreter does not run.
    """
    try:
        result = subprocess.run(
            [python, "-c", ASK],
            capture_output=True,
            text=True,
            errors="replace",
            check=True,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.CalledProcessError) as error:
        message = (
            f"{python} does not run: {error}. Name the Python of an environment into which a "
            "wheelhouse was installed."
        )
        raise ServingError(message) from error
    answer: dict[str, Any] = json.loads(result.stdout)
    installed = {
        canonicalize_name(name): (version, record) for name, version, record in answer["installed"]
    }
    return MeasuredStack(
        python=answer["python"],
        worker_arguments=(
            *device.arguments,
            *WORKER_ARGUMENTS,
            *device.small_arguments,
            *worker_arguments,
        ),
        worker_environment={**device.small_environment, **device.environment},
        wheels=_built(wheelhouse, {name: record for name, (_, record) in installed.items()}),
        installed={name: version for name, (version, _) in installed.items()},
    )


def _built(wheelhouse: Path, records: Mapping[str, str]) -> tuple[MeasuredWheel, ...] | None:
    """Return our wheels of a wheelhouse when exactly those are installed.

    Otherwise None, which is reported. `records` has each RECORD by distribution name.
    """
    text = _text(wheelhouse / MANIFEST)
    if text is None:
        report().line(
            "environment",
            f"there is no manifest in {wheelhouse.name}: pins and patches are not recorded",
        )
        return None
    built = [wheel for wheel in json.loads(text)["wheels"] if wheel["origin"] == "built"]
    other = [
        wheel["name"]
        for wheel in built
        if not _is_installed(wheelhouse / wheel["file"], records.get(wheel["name"]))
    ]
    if other:
        report().line(
            "environment",
            (
                f"the stack does not hold the wheelhouse's {', '.join(other)}: pins and patches "
                "are "
                "not recorded"
            ),
        )
        return None
    return tuple(
        MeasuredWheel(
            name=wheel["name"],
            version=wheel["version"],
            sha256=wheel["sha256"],
            upstream=wheel["upstream"],
            source=wheel["source"],
            tree=wheel["tree"],
            patched_tree=wheel["patched-tree"],
            patches=tuple(wheel["patches"]),
        )
        for wheel in built
    )


def _is_installed(wheel: Path, record: str | None) -> bool:
    """Say whether an installed distribution with this RECORD holds the files of `wheel`.

    A version alone does not tell two builds apart.
    """
    from installer.records import InvalidRecordEntry, parse_record_file

    if record is None or not wheel.is_file():
        return False
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (
            name
            for name in archive.namelist()
            if name.endswith(".dist-info/RECORD") and name.count("/") == 1
        )
        wanted = archive.read(name).decode()
    try:
        held = {(path, hashed) for path, hashed, _ in parse_record_file(record.splitlines())}
        # Installers put what is below .data elsewhere, and add files of their own.
        return all(
            (path, hashed) in held
            for path, hashed, _ in parse_record_file(wanted.splitlines())
            if hashed and ".data/" not in path
        )
    except InvalidRecordEntry:  # which pip does not write, so something else was at it
        return False


def environment(
    generator: Generator, target: Target, *, device: str | None, served: MeasuredStack | None
) -> Environment:
    """Return the environment of a measurement of `target`.

    Raises UsageError when the tokenizer's folder has no `tokenizer.json`.
    """
    file = target.tokenizer / "tokenizer.json"
    if not file.is_file():
        message = (
            f"{target.tokenizer} has no tokenizer.json. Give the folder of the served model, or of "
            "its tokenizer, with --tokenizer."
        )
        raise UsageError(message)
    return Environment(
        forkhouse=__version__,
        generator=str(generator),
        endpoint=target.url,
        model=target.model,
        tokenizer_sha256=sha256_file(file),
        device=device,
        machine=machine() if endpoint.is_here(target.url) else None,
        server_version=endpoint.version(target.url),
        stack=served,
    )
