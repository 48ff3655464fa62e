"""What Triton asks of a back end's driver: which device is there."""

from __future__ import annotations

from typing import Any

import torch
from triton.backends.compiler import GPUTarget
from triton.backends.driver import DriverBase


class Processor(DriverBase):
    """The driver of a processor, on which nothing is launched."""

    @classmethod
    def is_active(cls) -> bool:
        """Say that it is there."""
        return True

    def map_python_to_cpp_type(self, ty: str) -> str:
        """Refuse: there are no launchers to compile."""
        message = f"Nothing is compiled here, so {ty} has no type of C++."
        raise RuntimeError(message)

    def get_current_target(self) -> GPUTarget:
        """Return what it would compile for."""
        return GPUTarget("cpu", 0, 1)

    def get_active_torch_device(self) -> torch.device:
        """Return where tensors are."""
        return torch.device("cpu")

    def get_benchmarker(self) -> Any:
        """Refuse: interpreted kernels have no speed to choose by."""
        message = "An interpreted kernel is not measured."
        raise RuntimeError(message)
