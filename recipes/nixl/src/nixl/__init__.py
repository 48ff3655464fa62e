"""The NIXL build that is installed, under the name ``nixl``.

``nixl._api``, ``nixl._bindings`` and the other modules are those of the build: the same objects,
imported once. The environment variable FORKHOUSE_NIXL_PACKAGE names the build to take; it has to
where several are installed, for each would bring a UCX of its own.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules

_VARIABLE = "FORKHOUSE_NIXL_PACKAGE"
_BUILDS = ("nixl_rocm", "rixl", "nixl_cu12")
_MODULES = ("_api", "_bindings", "_utils", "logging")


def _is_installed(name: str) -> bool:
    spec = find_spec(name)
    # The public index has another package called rixl, which has no such module.
    return spec is not None and any(
        Path(place, "_api.py").is_file() for place in spec.submodule_search_locations or ()
    )


def _foreign() -> list[str]:
    """Return the import names of installed NIXL builds that are not known here.

    An example is nixl_cu13 of the public index.
    """
    names = {
        module.name
        for module in iter_modules()
        if module.ispkg and module.name.startswith(("nixl_", "rixl_"))
    }
    return sorted(name for name in names.difference(_BUILDS) if _is_installed(name))


def _namesakes() -> list[str]:
    """Return the known names under which another project's package is installed.

    An example is the package called rixl on the public index.
    """
    return [name for name in _BUILDS if find_spec(name) is not None and not _is_installed(name)]


def _chosen() -> str:
    """Return the import name of the build to take.

    Raises RuntimeError, for callers take an ImportError for "not installed".
    """
    installed = [name for name in _BUILDS if _is_installed(name)]
    foreign = _foreign() if len(installed) != 1 or os.environ.get(_VARIABLE) else []
    present = (
        ", ".join(
            [*installed, *(f"{name}, which is no build of the wheelhouse's" for name in foreign)]
        )
        or "none"
    )
    wanted = os.environ.get(_VARIABLE)
    if wanted:
        if wanted not in _BUILDS:
            message = (
                f"{_VARIABLE}={wanted} is no NIXL build that is known here. Set it to one of: "
                f"{', '.join(_BUILDS)}."
            )
            raise RuntimeError(message)
        if wanted not in installed:
            message = (
                f"{_VARIABLE}={wanted}, but that build is not installed (installed: {present}). "
                "Install it from the wheelhouse, or unset the variable."
            )
            raise RuntimeError(message)
        return wanted
    if len(installed) > 1:
        message = (
            f"Several NIXL builds are installed: {present}. Each loads its own UCX, so one of them "
            "has to be chosen: "
            f"set {_VARIABLE} to its name, or uninstall the others."
        )
        raise RuntimeError(message)
    if foreign and not installed:
        message = (
            f"The NIXL build that is installed, {', '.join(foreign)}, is none of those that work "
            "with this wheelhouse "
            f"({', '.join(_BUILDS)}), so it is not taken. Uninstall it, and install one of them "
            "from the wheelhouse."
        )
        raise RuntimeError(message)
    if not installed:
        other = "".join(
            f" The package {name} that is installed is another project's." for name in _namesakes()
        )
        message = (
            f"No NIXL build is installed.{other} Install one of {', '.join(_BUILDS)} from the "
            "wheelhouse."
        )
        raise ImportError(message, name=__name__)
    return installed[0]


def _adopt(build: str) -> None:
    """Make every module of a build importable under this package's name.

    The public names of the build become names of this package.
    """
    package = import_module(build)
    for name in _MODULES:
        module = import_module(f"{build}.{name}")
        sys.modules[f"{__name__}.{name}"] = module
        globals()[name] = module
    for module in (sys.modules[f"{build}._api"], package):
        globals().update(
            {name: value for name, value in vars(module).items() if not name.startswith("_")}
        )


_adopt(_chosen())
