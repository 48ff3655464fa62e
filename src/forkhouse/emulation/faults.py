"""What ends a kernel that is run by the emulator, and what it needs installed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from forkhouse.core.errors import EmulationError, ToolchainError


class FaultError(Exception):
    """Something that an instruction did, which ends the kernel.

    Whoever runs the wave adds the kernel, the instruction and its address.
    """


class UnknownOperationError(FaultError):
    """An instruction whose meaning the emulator does not know. It is never guessed."""


def needed(module: str) -> Any:
    """Return a module of the extra `emulation`.

    Raises ToolchainError, which says what to install, where it is missing.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        message = (
            f"The emulator needs the Python package {module.partition('.')[0]}, and it is not "
            "installed here. `pip install 'forkhouse[emulation]'` brings it; so does `pip install "
            "tinygrad==0.14.0 numpy`."
        )
        raise ToolchainError(message) from error


def refuse(message: str) -> EmulationError:
    """Return the error of a kernel that cannot be run as it was asked for."""
    return EmulationError(message)
