"""Find what this machine has to build with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from forkhouse.documents.recipe import (
    Recipe,
    SystemPackage,
)
from forkhouse.sandbox.bubblewrap import BUBBLEWRAP, Sandbox, find_sandbox
from forkhouse.toolchains.hip import HipToolchain, ToolchainLook, first, search
from forkhouse.toolchains.private_root import private_place
from forkhouse.toolchains.rocm import Rocm, find_rocm

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from forkhouse.core.journal import Journal
    from forkhouse.documents.lockfile import Lock
    from forkhouse.sources.index import Registry


SANDBOX = SystemPackage(package="bubblewrap", command=BUBBLEWRAP)
"""The package that every build needs which runs code of an upstream."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Toolbox:
    """What this machine has to build with: packages, a sandbox, ROCm and a HIP toolchain."""

    lock: Lock
    registry: Registry
    journal: Journal
    folder: Path
    """Where toolchains are made."""
    offline: bool
    rocm: Path | None = None
    """The ROCm that the user chose; None to look for one."""
    unsafe: bool = False
    """Whether builds may run without a sandbox, where this machine allows none."""
    _hip: list[HipToolchain] = field(default_factory=list, init=False, repr=False, compare=False)
    """The HIP toolchain, once it was found."""

    @property
    def toolchain(self) -> HipToolchain | None:
        """The HIP toolchain, where this run has needed it."""
        return self._hip[0] if self._hip else None

    def looks(self, *, make: bool) -> Iterator[ToolchainLook]:
        """Yield where a HIP toolchain is looked for and what is found.

        See `toolchains.hip.search`.
        """
        return search(
            self.lock,
            self.registry,
            self.journal,
            self.folder,
            chosen=self.rocm,
            offline=self.offline,
            make=make,
        )

    def hip(self) -> HipToolchain:
        """Return the HIP toolchain, looked for once.

        Raises ToolchainError that names each place, or as `toolchains.hip.search`.
        """
        if not self._hip:
            self._hip.append(first(self.looks(make=True), self.lock.gpu_targets))
        return self._hip[0]

    def find_rocm(self) -> Rocm:
        """Return the ROCm that this run compiles against.

        The private toolchain's ROCm is taken where it is the newest. Raises ToolchainError.
        """
        pinned = self.lock.hip_toolchain
        place = private_place(pinned, self.folder) / "usr" if pinned else None
        return find_rocm(self.rocm, place if place is not None and place.is_dir() else None)

    def sandbox(self) -> Sandbox:
        """Return the sandbox that builds run in.

        Raises ToolchainError where this machine allows none, and that is not what the user allowed.
        """
        return find_sandbox(unsafe=self.unsafe)

    def packages(self, recipes: Iterable[Recipe]) -> list[SystemPackage]:
        """Return the distribution packages that every build of some recipes needs."""
        return [
            *([] if self.unsafe else [SANDBOX]),
            *(package for recipe in recipes for package in recipe.system_packages),
        ]
