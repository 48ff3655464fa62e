"""Pack compiled kernels as a wheel, from which Triton takes them instead of compiling."""

from __future__ import annotations

import json
import platform
from importlib.metadata import distributions
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from packaging.version import Version

from forkhouse.binaries.stripping import stripped
from forkhouse.builders.wheelfile import Member, write_wheel
from forkhouse.core.environments import site_packages
from forkhouse.core.errors import AuditError
from forkhouse.serving.kernelcache import MANIFEST, package_of
from forkhouse.triton import KernelError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from forkhouse.triton.running import TritonRun

_MANAGER = Path(__file__).parent / "inside" / "carried.py"


def licence_texts(python: Path) -> dict[str, str]:
    """Return the texts of the licence of an environment's vLLM by their names.

    Its kernels are what is packed. Raises KernelError where it has none, InstallError where its
    interpreter does not answer.
    """
    for each in distributions(name="vllm", path=site_packages(python)):
        texts = {
            PurePosixPath(name).name: text
            for name in each.metadata.get_all("License-File") or ()
            if (text := each.read_text(f"licenses/{name}") or each.read_text(name)) is not None
        }
        if texts:
            return texts
    message = (
        f"The vLLM of {python} comes without the text of its licence, which a wheel of its kernels "
        "has to have. Give the Python of a stack that was installed from a wheelhouse."
    )
    raise KernelError(message)


def pack(
    run: TritonRun, *, target: str, cache: Path, folder: Path, licences: Mapping[str, str]
) -> Path:
    """Write the wheel of a run's kernels into `folder`, and return its path.

    `licences` are the texts of their licence. The bytes follow from the kernels: debug information,
    which names folders of the machine that compiled, is left out. Raises KernelError when a kernel
    of the run is not in the cache.
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
    said = _metadata(run, target, package, version, sorted(licences))
    members.append(_member(f"{info}/METADATA", said))
    members.extend(
        _member(f"{info}/licenses/{name}", text.encode()) for name, text in sorted(licences.items())
    )
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


def _metadata(
    run: TritonRun, target: str, package: str, version: str, licences: Iterable[str]
) -> bytes:
    lines = (
        "Metadata-Version: 2.4",
        f"Name: {package.replace('_', '-')}",
        f"Version: {version}",
        f"Summary: vLLM's Triton kernels, compiled for {target}",
        "License-Expression: Apache-2.0",
        *(f"License-File: {name}" for name in licences),
        f"Requires-Dist: triton=={Version(run.triton).public}",
    )
    return ("\n".join(lines) + "\n").encode()
