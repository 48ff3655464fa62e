"""Make the headers of a ROCm build of PyTorch from those of a CPU build, with PyTorch's hipify.

Usage: torch_headers.py FOLDER. The folder stays empty where the installed PyTorch is a ROCm build.
Prints where the installed PyTorch is.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import sys
import tempfile
from pathlib import Path

import torch
from torch.utils.hipify.hipify_python import hipify

# Those that name CUDA: hipify gives them the names and the calls of HIP. All others serve as they
# are.
FOLDERS = (
    "ATen/cuda",
    "ATen/native/cuda",
    "c10/cuda",
    "torch/csrc/inductor/aoti_torch",
    "torch/csrc/stable",
    "torch/headeronly",
)
# A ROCm build configures this header; there is nothing in it that its users need.
GENERATED = "c10/hip/impl/hip_cmake_macros.h"


def main(target: Path) -> None:
    """Let `target` hold the headers.

    What is there already and equal stays untouched, so that nothing is compiled for it again.
    """
    target.mkdir(parents=True, exist_ok=True)
    if torch.version.hip is not None:
        return
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        made = Path(scratch, "headers")
        make(made)
        for path in sorted(path for path in made.rglob("*") if path.is_file()):
            kept = target / path.relative_to(made)
            if not kept.is_file() or kept.read_bytes() != path.read_bytes():
                kept.parent.mkdir(parents=True, exist_ok=True)
                path.replace(kept)


def make(target: Path) -> None:
    """Copy the headers of this PyTorch that name CUDA, and let its hipify rename CUDA to HIP."""
    include = Path(torch.__file__).parent / "include"
    for folder in FOLDERS:
        shutil.copytree(include / folder, target / folder)
    with contextlib.redirect_stdout(io.StringIO()):
        hipify(
            project_directory=str(target),
            output_directory=str(target),
            includes=["*"],
            extensions=(".h", ".cuh"),
            is_pytorch_extension=False,
        )
    if not (target / "c10/hip/HIPStream.h").is_file():
        sys.exit(
            "hipify made no c10/hip/HIPStream.h: this PyTorch's hipify works in another way than "
            "the one that was pinned."
        )
    generated = target / GENERATED
    generated.parent.mkdir(parents=True, exist_ok=True)
    generated.touch()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    print(Path(torch.__file__).parent)  # noqa: T201  # CMake reads it
