"""Hide packages from an interpreter, as where they are not installed.

Those in FORKHOUSE_TEST_HIDDEN, with commas between.
"""

import os
from importlib.machinery import PathFinder

_HIDDEN = set(filter(None, os.environ.get("FORKHOUSE_TEST_HIDDEN", "").split(",")))
_found = PathFinder.find_spec


def _find_spec(name, path=None, target=None):
    """Find what is not hidden, as the finder of installed packages does."""
    return None if name.partition(".")[0] in _HIDDEN else _found(name, path, target)


if _HIDDEN:
    PathFinder.find_spec = staticmethod(_find_spec)
