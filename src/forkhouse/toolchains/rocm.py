"""Choose the one ROCm that a run compiles against: its headers, and the libraries that it links."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.version import InvalidVersion, Version

from forkhouse.core.digests import digest, sha256_file
from forkhouse.core.errors import ToolchainError
from forkhouse.toolchains.places import customary, hip_version

if TYPE_CHECKING:
    from collections.abc import Iterator

_HSA = "include/hsa/hsa.h"
PRIVATE = "private toolchain"
"""Where the root comes from that is unpacked from the packages which the lock pins."""
_SYSTEM = Path("/usr")


@dataclass(frozen=True, kw_only=True, slots=True)
class Rocm:
    """A root of ROCm with the headers of HSA."""

    origin: str
    """Why it was looked for there.

    An option, a variable, a customary folder, or the private root.
    """
    root: Path
    version: str
    """Version of HIP's headers; empty where there are none."""

    @property
    def foreign(self) -> bool:
        """Whether its libraries may be made for a newer C library than this machine's.

        A linker must not look into them.
        """
        return self.origin == PRIVATE

    @property
    def identity(self) -> str:
        """Changes whenever what is compiled against or linked does: part of a build's cache key.

        It holds no path.
        """
        parts = (
            "include/hsa/*.h",
            "include/hip/*.h*",
            "lib/libhsa-runtime64.so",
            "lib/libamdhip64.so",
            "lib/*/libhsa-runtime64.so",
        )
        found = sorted(
            {
                path.resolve()
                for part in (*parts, "lib/*/libamdhip64.so")
                for path in self.root.glob(part)
            }
        )
        return digest(sorted((path.name, sha256_file(path)) for path in found if path.is_file()))

    def lacks(self) -> dict[str, str]:
        """Return what newer releases have and this one has not, each with what is lost by it."""
        lost = {}
        header = self.root / "include/hsa/hsa_ext_amd.h"
        text = header.read_text(encoding="utf-8", errors="replace") if header.is_file() else ""
        if not re.search(r"\bhsa_amd_portable_export_dmabuf\b", text):
            lost["rocm-dmabuf"] = (
                f"GPU memory over RDMA: {self} has no hsa_amd_portable_export_dmabuf."
            )
        if _number(self.version) < Version("7"):
            lost["rocm-managed-memory"] = (
                f"Managed memory as ROCm 7 handles it: {self} is older than HIP 7."
            )
        return lost

    def __str__(self) -> str:
        """Return version and origin."""
        return f"ROCm {self.version or 'without HIP'} from {self.origin}"


def find_rocm(chosen: Path | None = None, private: Path | None = None) -> Rocm:
    """Return the ROCm to compile against.

    The one that the user chose (`chosen`, else ROCM_PATH), else the newest at hand.

    `private` is the root of the private toolchain, where that is made. Raises ToolchainError that
    names the places when none of them has the headers of HSA.
    """
    places = list(_places(chosen, private))
    found = [
        Rocm(origin=origin, root=root, version=hip_version(root) or "")
        for origin, root in places
        if root and (root / _HSA).is_file()
    ]
    if found:
        # Of equal ones the first place counts.
        return max(found, key=lambda rocm: _number(rocm.version))
    looked = ", ".join(str(root / _HSA) for _, root in places if root)
    message = (
        f"No ROCm found; looked for {looked}. Install ROCm, or Debian's libhsa-runtime-dev, or "
        "give --rocm DIR or ROCM_PATH."
    )
    raise ToolchainError(message)


def _places(chosen: Path | None, private: Path | None) -> Iterator[tuple[str, Path | None]]:
    yield from customary(chosen)
    if chosen is None and not os.environ.get("ROCM_PATH"):
        yield PRIVATE, private
        yield "the system", _SYSTEM


def _number(version: str) -> Version:
    try:
        return Version(version)
    except InvalidVersion:
        return Version("0")
