"""Kernels that Triton compiles when a server starts or at its first request, compiled beforehand.

vLLM's own code is run with launches recorded, in the served stack's Python, where no GPU is.
"""

from __future__ import annotations

from forkhouse.core.errors import ForkhouseError


class KernelError(ForkhouseError):
    """A kernel does not compile, breaks a limit, or is worse than recorded; or none was found."""

    title = "Triton kernels do not hold"
