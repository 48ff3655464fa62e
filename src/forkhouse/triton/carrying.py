"""Pack compiled kernels as a wheel, from which Triton takes them instead of compiling."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.version import Version

from forkhouse.binaries.stripping import stripped
from forkhouse.builders.wheelfile import Member, write_wheel
from forkhouse.core.errors import AuditError
from forkhouse.serving.kernelcache import MANIFEST, package_of
from forkhouse.triton import KernelError

if TYPE_CHECKING:
    from forkhouse.triton.running import TritonRun

_MANAGER = Path(__file__).parent / "inside" / "carried.py"


def pack(run: TritonRun, *, target: str, cache: Path, folder: Path) -> Path:
    """Write the wheel of a run's kernels into `folder`, and return its path.

    Its bytes follow from the kernels alone: debug information, which names folders of the machine
    that compiled, is left out. Raises KernelError when a kernel of the run is not in the cache.
    """
    package = package_of(target)
    version = Version(run.vllm).public
    # Kernels are the same for every machine; their keys hold the compiler, which is for one.
    tag = f"py3-none-linux_{platform.machine()}"
    kernels = {key: kernel.name for kernel in run.kernels for key in kernel.folders}
    members = [
        _member(f"{package}/__init__.py", _MANAGER.read_bytes()),
        _member(f"{package}/{MANIFEST}", _manifest(run, target, kernels)),
    ]
    for key in sorted(kernels):
        members.extend(_kernel(package, cache / key, kernels[key]))
    info = f"{package}-{version}.dist-info"
    members.append(_member(f"{info}/METADATA", _metadata(run, target, package, version)))
    members.append(
        _member(
            f"{info}/WHEEL",
            (
                f"Wheel-Version: 1.0\nGenerator: forkhouse\nRoot-Is-Purelib: false\nTag: {tag}\n"
            ).encode(),
        )
    )
    path = folder / f"{package}-{version}-{tag}.whl"
    return write_wheel(path, members, dist_info=info, epoch=0)


def _member(path: str, content: bytes) -> Member:
    return Member(path=path, content=content, executable=False)


def _kernel(package: str, folder: Path, name: str) -> list[Member]:
    """Return what Triton reads of a compiled kernel: its metadata, and its code."""
    try:
        [said] = [path for path in folder.glob("*.json") if not path.name.startswith("__grp__")]
        [code] = folder.glob("*.hsaco")
        metadata = json.loads(said.read_bytes())
        content = stripped(code.read_bytes())
    except (OSError, ValueError, AuditError) as error:
        message = f"{name} ({folder.name}) cannot be packed: {error}. Compile it again."
        raise KernelError(message) from error
    # Which libraries were linked is part of the key by their content; here are their places.
    metadata["extern_libs"] = [
        [library, Path(path).name] for library, path in metadata["extern_libs"]
    ]
    place = f"{package}/kernels/{folder.name}"
    return [
        _member(f"{place}/{said.name}", json.dumps(metadata, sort_keys=True).encode()),
        _member(f"{place}/{code.name}", content),
    ]


def _manifest(run: TritonRun, target: str, kernels: dict[str, str]) -> bytes:
    said = {
        "format": 1,
        "target": target,
        "vllm": run.vllm,
        "triton": run.triton,
        "triton-key": run.triton_key,
        "kernels": dict(sorted(kernels.items())),
    }
    return (json.dumps(said, indent=1) + "\n").encode()


def _metadata(run: TritonRun, target: str, package: str, version: str) -> bytes:
    lines = (
        "Metadata-Version: 2.1",
        f"Name: {package.replace('_', '-')}",
        f"Version: {version}",
        f"Summary: vLLM's Triton kernels, compiled for {target}",
        "License: Apache-2.0",
        f"Requires-Dist: triton=={Version(run.triton).public}",
    )
    return ("\n".join(lines) + "\n").encode()
