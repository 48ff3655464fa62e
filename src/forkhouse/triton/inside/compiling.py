"""Compile what was recorded, and say where Triton put it.

Runs alone, with the Python of the served stack, after `recording`.
"""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recording import Launch, Recorder

LONGEST = 2000
"""Characters of an error that are kept."""


def arguments(launch: Launch) -> dict[str, str]:
    """Return each argument with its type and what is assumed of it, or its constant value.

    `D` is divisible by 16, `S` a buffer below 2 GiB, as Triton's AMD back end writes them.
    """
    names = list(launch.signature)
    constants = {
        names[path[0]] if len(path) == 1 else str(path): value
        for path, value in launch.constants.items()
    }
    assumed: dict[str, list[str]] = {}
    for path, attributes in launch.attributes.items():
        assumed[names[path[0]]] = sorted(f"{name}={value}" for name, value in attributes)
    found = {}
    for name, kind in launch.signature.items():
        if name in constants:
            found[name] = _constant(constants[name])
        else:
            found[name] = " ".join([str(kind), *assumed.get(name, [])])
    for name, value in constants.items():
        found.setdefault(name, _constant(value))
    return found


def _constant(value: Any) -> str:
    if hasattr(value, "cache_key"):  # a function of Triton's
        return f"{value.fn.__module__}.{value.fn.__qualname__}"
    return repr(getattr(value, "value", value))


def compile_one(launch: Launch) -> dict[str, Any]:
    """Compile a kernel for the active target; what Triton raises becomes the entry's `error`."""
    from triton.compiler import compile as triton_compile
    from triton.runtime.cache import _base32
    from triton.runtime.driver import driver

    started = time.monotonic()
    target = driver.active.get_current_target()
    given = arguments(launch)
    entry: dict[str, Any] = {
        "kernel": launch.name,
        "arguments": given,
        "warps": launch.options.num_warps,
        "stages": launch.options.num_stages,
        "target": target.arch,
        "variant": hashlib.sha256(
            repr((sorted(given.items()), sorted(launch.options.__dict__.items(), key=str))).encode()
        ).hexdigest()[:12],
        "error": None,
        "folder": None,
        "name": None,
        "shared": None,
    }
    try:
        compiled = triton_compile(launch.source(), target=target, options=launch.options.__dict__)
    except Exception as error:
        entry["error"] = f"{type(error).__name__}: {error}"[:LONGEST]
    else:
        entry["folder"] = _base32(compiled.hash)
        entry["name"] = compiled.metadata.name
        entry["shared"] = compiled.metadata.shared
    entry["seconds"] = round(time.monotonic() - started, 3)
    return entry


def compile_all(recorder: Recorder) -> list[dict[str, Any]]:
    """Compile every recorded kernel; each entry names the steps that launched it.

    What Triton tells apart and compiles to the same is one entry, with the folder of each.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for place, launch in recorder.launches.items():
        entry = compile_one(launch)
        first = found.setdefault(
            (entry["kernel"], entry["variant"]), {**entry, "steps": [], "folders": []}
        )
        first["steps"] += [step for step in recorder.cases[place] if step not in first["steps"]]
        if entry["folder"] and entry["folder"] not in first["folders"]:
            first["folders"].append(entry["folder"])
    return list(found.values())
