"""What a wheel for AMD machines may hold.

Data, in `policies/common.yaml` and one file for each profile.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field

from forkhouse.core.errors import UsageError
from forkhouse.documents.lockfile import SLIM, PackageVersion
from forkhouse.documents.reading import Document, load

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkhouse.binaries.resources import KernelResources

_FOLDER = Path(__file__).parent / "policies"


def _compiles(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        message = f"expected a regular expression: {error}"
        raise ValueError(message) from None
    return text


Regex = Annotated[str, AfterValidator(_compiles)]
Glob = str
"""A path within a wheel, with the wildcards of `fnmatch`."""


@cache
def _any_of(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns) or r"(?!)")


class Cuda(Document):
    """What belongs to CUDA, by name; each pattern matches a whole name."""

    packages: tuple[Regex, ...]
    """Canonical names of distributions."""
    extras: tuple[Regex, ...]
    """Names of extras that ask for CUDA."""
    libraries: tuple[Regex, ...]
    """Names of shared libraries, as in DT_NEEDED or for dlopen."""
    symbols: tuple[Regex, ...]
    """Names of functions and variables that CUDA's libraries define."""
    folders: tuple[Regex, ...]
    """Single steps of a run path."""

    def is_package(self, name: str) -> bool:
        """Return whether a canonical distribution name is a CUDA package."""
        return _any_of(self.packages).fullmatch(name) is not None

    def is_extra(self, name: str) -> bool:
        """Return whether an extra asks for CUDA."""
        return _any_of(self.extras).fullmatch(name) is not None

    def is_library(self, soname: str) -> bool:
        """Return whether a shared library belongs to CUDA."""
        return _any_of(self.libraries).fullmatch(soname) is not None

    def is_symbol(self, name: str) -> bool:
        """Return whether a symbol is one of CUDA's interfaces."""
        return _any_of(self.symbols).fullmatch(name) is not None

    def is_folder(self, path: str) -> bool:
        """Return whether a step of a path is where CUDA is installed."""
        return any(_any_of(self.folders).fullmatch(step) for step in path.split("/"))


class PolicyPart(Document):
    """What a library must have been compiled with.

    A build leaves it out without a word where its tools are too old.
    """

    library: Glob
    """Library that must have it."""
    since: PackageVersion
    """Release of the wheel from which on it can have it."""
    symbol: str | None = None
    """Symbol that it must ask for."""
    link: Glob | None = None
    """Library that it must need."""
    why: str
    """What is lost without it."""


class PolicyDistribution(Document):
    """What one of our wheels must hold."""

    required_files: tuple[Glob, ...] = ()
    """Files that must be there."""
    required_links: dict[Glob, Glob] = Field(default_factory=dict)
    """Libraries that must be there, each with one that it must need.

    A build may leave a part out and report success.
    """
    required_parts: tuple[PolicyPart, ...] = ()
    """What libraries must have been compiled with."""
    gpu_code: tuple[Glob, ...] = ()
    """Libraries that must hold kernels for every target asked for."""
    host_only: dict[Glob, str] = Field(default_factory=dict)
    """Libraries that use HIP from the host and have no kernel, with the reason."""
    prebuilt: str | None = None
    """Why the wheel holds files that somebody else compiled.

    Their build folders are noted, not refused.
    """


class Most(Document):
    """The most that a kernel may take of something."""

    most: int
    """The number."""
    source: str
    """Where that is written."""


class GpuLimits(Document):
    """What a processor has for a kernel."""

    lds: Most
    """Bytes of LDS of a workgroup."""
    vgprs: Most
    """Vector registers of a work item, accumulators included."""
    scratch: Most
    """Bytes of private memory of a work item."""
    workgroup: Most
    """Work items of a workgroup."""
    wavefronts: tuple[int, ...]
    """Work items that can run in step."""

    def broken(self, found: KernelResources) -> Iterator[str]:
        """Yield what a kernel takes too much of, each as a sentence without its subject."""
        for number, limit, unit in (
            (found.lds, self.lds, "bytes of LDS"),
            (found.vgprs, self.vgprs, "vector registers"),
            (found.scratch, self.scratch, "bytes of private memory"),
            (found.workgroup, self.workgroup, "work items in a workgroup"),
        ):
            if number > limit.most:
                yield f"takes {number} {unit}; there are {limit.most} ({limit.source})"
        if found.wavefront not in self.wavefronts:
            known = " or ".join(map(str, self.wavefronts))
            yield f"has wavefronts of {found.wavefront} work items; the processor has {known}"


class Common(Document):
    """`policies/common.yaml`: what holds in every profile."""

    cuda: Cuda
    """What belongs to CUDA."""
    other_projects: dict[str, str]
    """Names whose package on the public index is another project, and what it is."""
    gpus: dict[str, GpuLimits]
    """What a kernel can take, by the name of the processor."""
    runtime_folders: tuple[str, ...]
    """Absolute folders that an RPATH may name."""
    build_folders: tuple[Regex, ...]
    """What a path looks like that a compiler left behind; searched for in ELF files."""
    distributions: dict[str, PolicyDistribution]
    """What our wheels must hold, by distribution."""


class Own(Document):
    """`policies/PROFILE.yaml`: what one profile adds."""

    cuda_dlopen: Literal["note", "refuse"]
    """What becomes of a library that can load CUDA at run time and does without it.

    Known, or refused.
    """
    distributions: dict[str, PolicyDistribution]
    """What our wheels must hold in this profile, by distribution.

    An entry here takes the place of the common one.
    """


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditPolicy:
    """The rules of one profile."""

    common: Common
    own: Own

    @property
    def cuda(self) -> Cuda:
        """What belongs to CUDA."""
        return self.common.cuda

    def distribution(self, name: str) -> PolicyDistribution:
        """Return what the wheel of a distribution must hold.

        Nothing in particular where no file says so.
        """
        return (
            self.own.distributions.get(name)
            or self.common.distributions.get(name)
            or PolicyDistribution()
        )

    @property
    def build_folder(self) -> re.Pattern[bytes]:
        """A pattern that finds paths which look like a compiler's."""
        return re.compile(
            rb"(?:(?<![\w.$}-])|(?<=-[IL]))(?:"
            + "|".join(self.common.build_folders).encode()
            + rb")"
        )


@cache
def read_policy(profile: str) -> AuditPolicy:
    """Return the rules of a profile; a slim one has those of the whole one.

    Raises UsageError when it has none, DocumentError when a file is not well formed.
    """
    path = _FOLDER / f"{profile.removesuffix(SLIM)}.yaml"
    if profile == "common" or not path.is_file():
        known = ", ".join(
            sorted(path.stem for path in _FOLDER.glob("*.yaml") if path.stem != "common")
        )
        message = (
            f"The audit has no rules for the profile '{profile}'. It has rules for: {known}. Write "
            f"src/forkhouse/audit/policies/{profile}.yaml."
        )
        raise UsageError(message)
    return AuditPolicy(common=load(Common, _FOLDER / "common.yaml"), own=load(Own, path))
