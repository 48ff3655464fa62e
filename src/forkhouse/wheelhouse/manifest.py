"""`manifest.json`: what is in a wheelhouse, from where, with which patches and by which toolchain."""

from __future__ import annotations

import json
import platform
from typing import TYPE_CHECKING

from forkhouse import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forkhouse.builders import BuiltWheel
    from forkhouse.closure import PinnedWheel
    from forkhouse.lock import Profile

FORMAT = 1


def manifest_text(name: str, profile: Profile, built: Sequence[BuiltWheel], third_party: Sequence[PinnedWheel]) -> str:
    """Return the manifest of a wheelhouse. It holds no times, so that equal inputs give equal bytes."""
    reasons = {external.file: external.why for external in profile.externals}
    wheels = [_ours(wheel) for wheel in built]
    wheels += [
        {"name": pin.name, "version": pin.version, "file": pin.file, "sha256": pin.sha256, "origin": "index", "why": reasons.get(pin.file)}
        for pin in third_party
    ]
    manifest = {
        "format": FORMAT,
        "profile": name,
        "install": list(profile.install),
        "forkhouse": __version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "wheels": sorted(wheels, key=lambda wheel: str(wheel["name"])),
    }
    return json.dumps(manifest, indent=1) + "\n"


def _ours(wheel: BuiltWheel) -> dict[str, object]:
    patched = wheel.patched
    return {
        "name": wheel.distribution,
        "version": wheel.version,
        "file": wheel.path.name,
        "sha256": wheel.sha256,
        "origin": "built",
        "recipe": wheel.recipe,
        "upstream": patched.source.upstream,
        "source": patched.source.source.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"paths", "why"}),
        "passed-over": list(patched.source.passed_over),
        "tree": patched.source.tree,
        "patched-tree": patched.tree,
        "patches": list(patched.applied),
        "patches-for-other-forms": list(patched.not_for_form),
        "tools": wheel.tools,
    }
