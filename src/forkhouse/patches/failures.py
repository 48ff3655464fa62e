"""Report an internal failure that happens while a patch is judged."""

from __future__ import annotations

import platform
import traceback
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from forkhouse.core.digests import digest
from forkhouse.core.errors import StorageError
from forkhouse.core.storage import write_atomic

if TYPE_CHECKING:
    from forkhouse.patches.series import Patch

INTERNAL = "internal error"
"""The first words of the cause of a conflict that is our own fault.

Such a verdict is not remembered.
"""
_LIBRARIES = (
    "forkhouse",
    "ast-grep-py",
    "pygit2",
    "tomlkit",
    "tree-sitter",
    "pyyaml",
    "packaging",
    "meson",
)


def internal_error(error: BaseException, patch: Patch, base: str, folder: Path) -> str:
    """Write a report about an internal error, and return the cause to show to the user.

    `error` came while `patch` was judged on the tree `base`. The report goes below `folder`. It
    says what happened, where in the code, and with which versions. Of the patch and the sources it
    holds only names and ids.
    """
    frames = traceback.extract_tb(error.__traceback__)
    place = (
        f"{_module(frames[-1].filename)}:{frames[-1].lineno} in {frames[-1].name}"
        if frames
        else "an unknown place"
    )
    ours = [frame for frame in frames if "forkhouse" in _module(frame.filename)]
    if ours and ours[-1] is not frames[-1]:
        place = f"{_module(ours[-1].filename)}:{ours[-1].lineno} in {ours[-1].name}, from {place}"
    kind = type(error).__name__
    first, *_ = str(error).splitlines() or [""]
    cause = (
        f"{INTERNAL}: {kind}{f': {first[:200]}' if first else ''}, at {place}. Forkhouse failed "
        "here, which says nothing about the patch"
    )
    path = folder / f"judging-{digest(patch.sha256, kind, place)[:16]}.txt"
    try:
        write_atomic(
            path, _report(error, frames, patch, base).encode("utf-8", errors="backslashreplace")
        )
    except (OSError, StorageError):
        return f"{cause}; please report this line."
    return f"{cause}; please report it with {path.parent.name}/{path.name}."


def _module(file: str) -> str:
    """Return a source file's path from its package on, without folders of the user's machine."""
    parts = Path(file).parts
    for root in (
        "site-packages",
        "src",
        f"python{platform.python_version_tuple()[0]}.{platform.python_version_tuple()[1]}",
    ):
        if root in parts:
            return "/".join(parts[len(parts) - parts[::-1].index(root) :])
    return Path(file).name


def _report(error: BaseException, frames: traceback.StackSummary, patch: Patch, base: str) -> str:
    versions = [f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"]
    versions += [f"{name} {_version(name)}" for name in _LIBRARIES]
    # A recursion repeats a few frames a thousand times: 20 at each end are enough.
    shown = [*frames[:20], *frames[-20:]] if len(frames) > 40 else list(frames)
    lines = [
        f"  {_module(frame.filename)}:{frame.lineno} in {frame.name}: {frame.line or ''}"
        for frame in shown
    ]
    return "\n".join(
        [
            "Forkhouse failed while it judged a patch.",
            f"Patch: {patch.name} (sha256 {patch.sha256}), on tree {base}",
            f"Error: {type(error).__name__}: {error}",
            "",
            "Where, the outermost call first:",
            *lines,
            "",
            *versions,
            "",
        ]
    )


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
