"""Kernels that were compiled beforehand, which Triton takes from here when it is told to.

    TRITON_CACHE_MANAGER=PACKAGE:CarriedCache

where PACKAGE is this package's name. Nothing is copied and nothing here is written to. What is not
here, Triton compiles, and keeps where it always does.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from pathlib import Path

from triton.runtime.cache import FileCacheManager, triton_key

FOLDER = Path(__file__).parent
MANIFEST = json.loads((FOLDER / "manifest.json").read_text(encoding="utf-8"))


def fits():
    """Say whether the installed Triton is the one that compiled these kernels.

    Of another one every key differs, and nothing here is ever taken.
    """
    return hashlib.sha256(triton_key().encode()).hexdigest() == MANIFEST["triton-key"]


class CarriedCache(FileCacheManager):
    """Triton's cache, with the carried kernels before it."""

    def get_group(self, filename):
        """Return the files of a kernel by name: those carried, else those of the user's cache."""
        folder = FOLDER / "kernels" / self.key
        if (folder / filename).is_file():
            return {path.name: str(path) for path in sorted(folder.iterdir())}
        return super().get_group(filename)


if not fits():
    warnings.warn(
        f"{FOLDER.name} was compiled by Triton {MANIFEST['triton']}, and another one, or another "
        "build of it, is installed: every kernel is compiled anew.",
        stacklevel=2,
    )
