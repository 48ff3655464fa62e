"""`recipes/<name>/recipe.yaml`: how one upstream's patched tree becomes one wheel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from packaging.specifiers import SpecifierSet
from packaging.version import Version
from pydantic import Field, model_validator

from forkhouse.core.errors import DocumentError
from forkhouse.documents.lockfile import FileName, Form, Name, RequirementText, VersionRange
from forkhouse.documents.reading import Document, load

if TYPE_CHECKING:
    from pathlib import Path


class SystemPackage(Document):
    """A distribution package that a build needs, and what proves that it is there."""

    package: str
    """Name of the Debian package, for the install command."""
    command: str | None = None
    """Program that must be on the search path."""
    file: str | None = None
    """Absolute path, wildcards allowed."""

    @model_validator(mode="after")
    def _one_proof(self) -> Self:
        if (self.command is None) == (self.file is None):
            message = "give exactly one of: command, file"
            raise ValueError(message)
        return self


class ProcessorFlag(Document):
    """What the machine's processor has to be able to do where the wheel is used."""

    flag: str
    """As Linux names it in /proc/cpuinfo."""
    needed: bool = True
    """False for what is made use of where it is there."""
    why: str
    """What uses it, and what happens without it."""


class Repack(Document):
    """The tree is an unpacked wheel: pack it again under our name and version."""

    kind: Literal["repack"]


class Native(Document):
    """The compiled half of a wheel.

    A project of its own in the recipe's `native/`, built from some of the upstream's files.

    Its wheel is unpacked into the `native/` of the project that makes the whole. A change of any
    other file compiles nothing.
    """

    paths: tuple[str, ...] = Field(min_length=1)
    """Files of the upstream that it is made from, as patterns.

    `*` within one name, `**` over any number of folders.
    """
    requires: tuple[RequirementText, ...] = ()
    """What the build environment holds besides the build tools, for its headers and libraries.

    Pinned in `pylock.RECIPE.toml`.
    """
    hip: bool = False
    """Whether it compiles for the GPU targets of the lock, with a HIP toolchain."""
    gigabytes_per_job: float = Field(default=0.5, gt=0)
    """Memory that one compiler may take: no more of them run at once than there is room for."""


class Pep517(Document):
    """The recipe's folder holds a project.

    Lay the tree in its `upstream/` and call its PEP 517 backend.
    """

    kind: Literal["pep517"]
    config_settings: dict[str, str] = Field(default_factory=dict)
    """Settings for the backend (PEP 517)."""
    native: Native | None = None
    """Its compiled half, where that is built apart; None where there is none."""


class Cargo(Document):
    """The project is compiled by cargo.

    The crates of its Cargo.lock are fetched before the build, which has no network.
    """

    rustc: VersionRange
    """Releases of rustc that will do.

    The one that the upstream asks for in its rust-toolchain.toml has to be among them.
    """
    gigabytes_per_job: float = Field(default=1, gt=0)
    """Memory that one compiler may take: no more of them run at once than there is room for."""

    @model_validator(mode="after")
    def _has_an_oldest(self) -> Self:
        if not any(part.operator in {"==", ">=", "~="} for part in SpecifierSet(self.rustc)):
            message = "rustc: say the oldest release that will do, such as >=1.80"
            raise ValueError(message)
        return self


class UpstreamProject(Document):
    """The tree is itself a Python project, or has one in a folder.

    Call its own PEP 517 backend, under our name and version.

    In settings and environment `{needs}` stands for the folder where the needed wheels lie
    unpacked, `{recipe}` for the recipe's folder, `{scripts}` for that of the linker scripts,
    `{rocm}` for the root of ROCm, and `{jobs}` for the number of compilers that may run at once.
    """

    kind: Literal["upstream"]
    folder: str = Field(default=".", pattern=r"^(\.|[^./][^/]*(/[^./][^/]*)*)$")
    """Where in the tree the project lies."""
    requires: tuple[RequirementText, ...] = Field(min_length=1)
    """Build requirements, in the place of those that the project names.

    Upstreams ask for more than a build uses.
    """
    config_settings: dict[str, str | tuple[str, ...]] = Field(default_factory=dict)
    """Settings for the backend (PEP 517)."""
    environment: dict[str, str] = Field(default_factory=dict)
    """Variables of the build, beside those that every build has."""
    linker_scripts: dict[FileName, str] = Field(default_factory=dict)
    """Texts that stand for libraries which a build links and this machine does not have, by file
    name (GNU ld's INPUT)."""
    packages: tuple[str, ...] = Field(min_length=1)
    """What the wheel puts into site-packages beside its metadata and its libraries.

    Anything else is refused.
    """
    cargo: Cargo | None = None
    """None where no Rust is compiled."""
    system_packages: tuple[SystemPackage, ...] = ()
    """What this way to build needs besides those of the recipe.

    Where it cannot be had, the next source of the lock is taken.
    """


class Recipe(Document):
    """How to build one wheel."""

    upstream: Name
    """Upstream of the lock that it builds."""
    distribution: Name
    """Name of the distribution that the wheel holds."""
    local: str = Field(pattern=r"^[a-z0-9]+(\.[a-z0-9]+)*$")
    """Local version label (PEP 440) that marks the wheel as ours."""
    builders: dict[
        Form, Annotated[Repack | Pep517 | UpstreamProject, Field(discriminator="kind")]
    ] = Field(min_length=1)
    """Builder for each form of the source that this recipe can build."""
    needs: tuple[Name, ...] = ()
    """Recipes whose wheels are built before, and lie unpacked beside the project, in
    `needs/DISTRIBUTION`.

    Of an upstream's own project the wheel then requires each of them in that very version.
    """
    rocm: bool = False
    """Whether the build needs a ROCm installation."""
    omits: dict[str, str] = Field(default_factory=dict)
    """Parts of the upstream that the wheel is without, each with what is lost.

    Said at every build, and in the manifest.
    """
    system_packages: tuple[SystemPackage, ...] = ()
    """Distribution packages that every build of this recipe needs."""
    processor: tuple[ProcessorFlag, ...] = ()
    """What the processor of the machine that uses the wheel must or may have."""

    def packages(self, form: Form) -> tuple[SystemPackage, ...]:
        """Return the distribution packages that a build from one form of the source needs."""
        method = self.builders[form]
        return (
            *self.system_packages,
            *(method.system_packages if isinstance(method, UpstreamProject) else ()),
        )

    def version(self, upstream_version: str) -> str:
        """Return the wheel's version: the upstream's with our label added to any that it has."""
        version = Version(upstream_version)
        label = ".".join(part for part in (version.local, self.local) if part)
        return f"{version.public}+{label}"


def read_recipe(folder: Path) -> Recipe:
    """Read the recipe in `folder`. Raises DocumentError, also when there is none."""
    if not (folder / "recipe.yaml").is_file():
        known = (
            ", ".join(sorted(path.parent.name for path in folder.parent.glob("*/recipe.yaml")))
            or "none"
        )
        message = (
            f"recipes/{folder.name}/recipe.yaml is missing; the lock names it. Recipes that exist: "
            f"{known}."
        )
        raise DocumentError(message)
    return load(Recipe, folder / "recipe.yaml")
