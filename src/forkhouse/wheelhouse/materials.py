"""Write the bills of materials of a wheelhouse from all that lies in it."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from forkhouse.provenance.contents import SBOM, SPDX, read_wheel
from forkhouse.provenance.documents import wheelhouse_document
from forkhouse.provenance.spdx import spdx_document
from forkhouse.provenance.vex import resolved_by_patches
from forkhouse.provenance.wheels import Shipped

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from forkhouse.builders.built import BuiltWheel
    from forkhouse.documents.lockfile import Profile
    from forkhouse.documents.pins import PinnedWheel
    from forkhouse.provenance.statement import Provenance


def bills_of_materials(
    provenance: Provenance,
    profile: Profile,
    *,
    pins: Sequence[PinnedWheel],
    paths: Mapping[str, Path],
    ours: Mapping[str, BuiltWheel],
    carried: Mapping[str, tuple[Path, str]],
) -> dict[str, str]:
    """Return the bills of materials of a wheelhouse, in CycloneDX and in SPDX, by their file.

    `paths` says where each wheel lies, by its file; `carried` are further files with their sha256,
    by their path in the wheelhouse. Raises AuditError for a wheel that cannot be read.
    """
    reasons = {external.file: external.why for external in profile.externals}
    origins = {file: provenance.origins[wheel.recipe] for file, wheel in ours.items()}
    wheels = [
        Shipped(
            file=pin.file,
            sha256=pin.sha256,
            contents=read_wheel(paths[pin.file]),
            origin=origins.get(pin.file),
            why=reasons.get(pin.file),
        )
        for pin in pins
    ]
    tools = [
        Shipped(file=path, sha256=sha256, contents=read_wheel(file), origin=None)
        for path, (file, sha256) in sorted(carried.items())
        if PurePosixPath(path).suffix == ".whl"
    ]
    name = provenance.definition.profile
    properties = {"lock": f"sha256:{provenance.definition.lock}"}
    return {
        SBOM: wheelhouse_document(
            name,
            profile.install,
            wheels,
            tools,
            properties=properties,
            vulnerabilities=resolved_by_patches(origins),
        ),
        SPDX: spdx_document(name, profile.install, wheels, tools, properties=properties),
    }
