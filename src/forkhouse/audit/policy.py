"""What must not be in a wheel for AMD machines."""

from __future__ import annotations

import re

# Distribution names: NVIDIA's own, and the usual suffixes of CUDA builds.
_CUDA_PACKAGE = re.compile(r"nvidia-.*|.*-cu(da)?1\d.*|cupy.*|flashinfer.*|cuda-.*|pynvml|nvidia")
# Sonames of the CUDA toolkit and driver.
_CUDA_LIBRARY = re.compile(
    r"lib(cuda|cudart|cublas(Lt)?|cudnn|cufft|cufile|cupti|curand|cusolver(Mg)?|cusparse(Lt)?"
    r"|nccl|nvJitLink|nvrtc|nvshmem|nvidia-ml|nvToolsExt)(?![A-Za-z]).*\.so.*"
)

RUNTIME_FOLDERS = frozenset({"/opt/rocm/lib", "/opt/rocm/core/lib"})
"""Absolute folders that an RPATH may name: where ROCm's run-time libraries lie on the target."""


def is_cuda_package(name: str) -> bool:
    """Return whether a canonical distribution name is a CUDA package."""
    return _CUDA_PACKAGE.fullmatch(name) is not None


def is_cuda_library(soname: str) -> bool:
    """Return whether a shared library's name belongs to CUDA."""
    return _CUDA_LIBRARY.fullmatch(soname) is not None
