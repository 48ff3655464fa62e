"""Console scripts: each becomes the UCX program of its own name."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from libucx_rocm import tool


def main() -> None:
    """Replace this process by the UCX program named as the script is."""
    name = Path(sys.argv[0]).name
    # No shell, and a program of this package.
    os.execv(tool(name), [name, *sys.argv[1:]])  # noqa: S606
