"""`manifest.json`: what is in a wheelhouse, from where, with which patches and by which toolchain.

And what it lacks.
"""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from packaging.utils import canonicalize_name

from forkhouse import __version__
from forkhouse.wheelhouse.contents import EXCUSED, OTHERS, OURS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from forkhouse.binaries.kernels import LibraryKernels
    from forkhouse.binaries.resources import KernelResources
    from forkhouse.builders.built import BuiltWheel
    from forkhouse.documents.lockfile import Profile
    from forkhouse.documents.pins import Missing, PinnedWheel
    from forkhouse.sources.acquire import SourceTree

FORMAT = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class CompiledContent:
    """What the libraries of a wheel of ours hold and ask for."""

    kernels: tuple[LibraryKernels, ...]
    resources: tuple[KernelResources, ...]
    torch_symbols: tuple[str, ...]
    """Symbols that the PyTorch of the target has to provide."""


def manifest_of(
    name: str,
    profile: Profile,
    built: Sequence[tuple[BuiltWheel, CompiledContent]],
    third_party: Sequence[PinnedWheel],
    missing: Sequence[Missing],
    targets: Sequence[str],
    omitted: Mapping[str, str],
) -> dict[str, Any]:
    """Return the manifest of a wheelhouse, but for what only the wheels themselves tell.

    It holds no times, so that equal inputs give equal bytes.
    """
    externals = {external.package for external in profile.externals}
    reasons = {external.file: external.why for external in profile.externals}
    wheels = [_ours(wheel, compiled) for wheel, compiled in built]
    wheels += [
        {
            "name": pin.name,
            "version": pin.version,
            "file": pin.file,
            "sha256": pin.sha256,
            "origin": "index",
            "audit": EXCUSED if pin.name in externals else OTHERS,
            "why": reasons.get(pin.file),
        }
        for pin in third_party
    ]
    return {
        "format": FORMAT,
        "profile": name,
        "install": list(profile.install),
        "forkhouse": __version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "gpu-targets": list(targets),
        "omitted": [{"name": each, "why": omitted[each]} for each in sorted(omitted)],
        "missing": [asdict(each) for each in sorted(missing)],
        "wheels": sorted(wheels, key=lambda wheel: str(wheel["name"])),
    }


def completed(
    manifest: Mapping[str, Any], required_by: Mapping[str, Sequence[str]], sizes: Mapping[str, int]
) -> str:
    """Return the text of a manifest, with the size in bytes of each wheel and who requires it.

    Both follow from the wheels, and are known once these are there. `sizes` is by file.
    """
    wheels = [
        {
            **wheel,
            "size": sizes[wheel["file"]],
            "required-by": list(required_by[canonicalize_name(wheel["name"])]),
        }
        for wheel in manifest["wheels"]
    ]
    return json.dumps({**manifest, "wheels": wheels}, indent=1) + "\n"


def _lacking(sources: Sequence[SourceTree]) -> dict[str, object]:
    """Return what is not there of some sources; nothing where they are whole."""
    lacks = [f"{source.upstream}: {each}" for source in sources for each in source.lacks]
    return {"lacks": lacks} if lacks else {}


def _ours(wheel: BuiltWheel, compiled: CompiledContent) -> dict[str, object]:
    patched = wheel.patched
    return {
        "name": wheel.distribution,
        "version": wheel.version,
        "file": wheel.path.name,
        "sha256": wheel.sha256,
        "origin": "built",
        "audit": OURS,
        "recipe": wheel.recipe,
        "upstream": patched.source.upstream,
        "source": patched.source.source.model_dump(
            mode="json", by_alias=True, exclude_none=True, exclude={"paths", "why"}
        ),
        "passed-over": list(patched.source.passed_over),
        **_lacking([patched.source, *(part.source for part in wheel.parts)]),
        "tree": patched.source.tree,
        "patched-tree": patched.tree,
        "patches": list(patched.applied),
        "patches-for-other-forms": list(patched.not_for_form),
        "components": [
            {
                "name": part.source.upstream,
                "version": part.source.version,
                "path": part.path,
                "tree": part.source.tree,
            }
            for part in wheel.parts
        ],
        "built-against": {sibling.distribution: sibling.sha256 for sibling in wheel.siblings},
        "tools": wheel.tools,
        "omits": wheel.omits,
        "kernels": [each.model_dump(mode="json") for each in compiled.kernels],
        "torch-symbols": list(compiled.torch_symbols),
    }
