"""Tell Triton of compiled kernels that an environment carries, so that it does not compile them.

A wheel of them (`forkhouse triton --pack`) is a Python package for one GPU, and Triton takes
kernels from it when a variable names its class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from forkhouse.serving.launching import Device

VARIABLE = "TRITON_CACHE_MANAGER"
"""Triton's own: the class that finds kernels, as MODULE:CLASS."""
MANIFEST = "manifest.json"
"""The file of the package that says what is in it."""


def package_of(target: str) -> str:
    """Return the name of the Python package for a GPU target: vllm_triton_cache_gfx90a."""
    return f"vllm_triton_cache_{target.partition(':')[0]}"


def manager_of(package: str) -> str:
    """Return what VARIABLE holds for a package of kernels."""
    return f"{package}:CarriedCache"


def kernel_variables(python: Path, device: Device) -> dict[str, str]:
    """Return what a worker on a device is told of the kernels that its environment carries.

    `python` is the environment's interpreter. Nothing where it carries none, or is elsewhere.
    """
    if device.target is None:
        return {}
    package = package_of(device.target)
    place = python.parent.parent
    if not any(place.glob(f"lib/python*/site-packages/{package}/{MANIFEST}")):
        return {}
    return {VARIABLE: manager_of(package)}
