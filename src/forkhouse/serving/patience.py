"""How long to wait for servers: as long as a machine of the usual kind takes, or many times so.

Under an emulator all takes longer, and nothing else is different. The factor holds for the whole
process, and is set once, before anything is started.
"""

from __future__ import annotations

_FACTOR = [1.0]


def set_patience(factor: float) -> None:
    """Let everything that is waited for take `factor` times as long. Raises ValueError below 1."""
    if not 1 <= factor < float("inf"):
        message = f"{factor} is no factor of at least 1"
        raise ValueError(message)
    _FACTOR[0] = factor


def patient(seconds: float) -> float:
    """Return how many seconds to wait for what takes `seconds` at most on a usual machine."""
    return seconds * _FACTOR[0]
