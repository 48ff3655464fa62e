"""Python's `tarfile` with its filters (PEP 706).

Releases before 3.11.4, Debian 12's own Python among them, have none; there it is the module of
Python 3.12, as the package `backports.tarfile` has it.
"""

from __future__ import annotations

import tarfile as standard
from typing import TYPE_CHECKING

if TYPE_CHECKING or hasattr(standard, "data_filter"):
    import tarfile
else:
    from backports import tarfile

__all__ = ["tarfile"]
