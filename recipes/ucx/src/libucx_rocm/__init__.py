"""UCX with its ROCm transports: where its parts are in this installation.

Link against it with `-L` of `library_dir()` and `-lucp`, or let pkg-config or CMake find it there;
load it by the run path of what links it. UCX finds its modules by itself, beside its libraries.
"""

from __future__ import annotations

from importlib.metadata import version as _version
from pathlib import Path

__all__ = ["__version__", "include_dir", "library_dir", "module_dir", "tool"]

__version__ = _version("libucx-rocm")

_ROOT = Path(__file__).resolve().parent


def library_dir() -> Path:
    """Return the folder of libucp, libuct, libucs and libucm, of `pkgconfig/` and of `cmake/`."""
    return _ROOT / "lib"


def module_dir() -> Path:
    """Return the folder of the transports that UCX loads on demand, such as libuct_rocm."""
    return _ROOT / "lib" / "ucx"


def include_dir() -> Path:
    """Return the folder of the headers, `ucp/api/ucp.h` and the others."""
    return _ROOT / "include"


def tool(name: str) -> Path:
    """Return the program `name`, such as ucx_info.

    Raises FileNotFoundError, naming those that there are.
    """
    path = _ROOT / "bin" / name
    if not path.is_file():
        known = ", ".join(sorted(found.name for found in path.parent.glob("*")))
        message = f"UCX {__version__} in {_ROOT} has no program {name!r}. It has: {known}."
        raise FileNotFoundError(message)
    return path
