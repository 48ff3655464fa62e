"""`recipes/<name>/recipe.yaml`: how one upstream's patched tree becomes one wheel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from packaging.version import Version
from pydantic import Field, model_validator

from forkhouse.documents import Document, load
from forkhouse.errors import DocumentError
from forkhouse.lock import Form, Name

if TYPE_CHECKING:
    from pathlib import Path


class SystemPackage(Document):
    """A distribution package that a build needs, and what proves that it is there."""

    package: str
    """Name of the Debian package, for the install command."""
    command: str | None = None
    file: str | None = None
    """Absolute path, wildcards allowed."""

    @model_validator(mode="after")
    def _one_proof(self) -> Self:
        if (self.command is None) == (self.file is None):
            message = "give exactly one of: command, file"
            raise ValueError(message)
        return self


class Repack(Document):
    """The tree is an unpacked wheel: pack it again under our name and version."""

    kind: Literal["repack"]


class Pep517(Document):
    """The recipe's folder holds a project: lay the tree in its `upstream/` and call its PEP 517 backend."""

    kind: Literal["pep517"]
    config_settings: dict[str, str] = Field(default_factory=dict)


class Recipe(Document):
    """How to build one wheel."""

    upstream: Name
    distribution: Name
    local: str = Field(pattern=r"^[a-z0-9]+(\.[a-z0-9]+)*$")
    """Local version label (PEP 440) that marks the wheel as ours."""
    builders: dict[Form, Annotated[Repack | Pep517, Field(discriminator="kind")]] = Field(min_length=1)
    """Builder for each form of the source that this recipe can build."""
    rocm: bool = False
    """Whether the build needs a ROCm installation."""
    system_packages: tuple[SystemPackage, ...] = ()

    def version(self, upstream_version: str) -> str:
        """Return the wheel's version: the upstream's with our label added to any that it has."""
        version = Version(upstream_version)
        label = ".".join(part for part in (version.local, self.local) if part)
        return f"{version.public}+{label}"


def read_recipe(folder: Path) -> Recipe:
    """Read the recipe in `folder`. Raises DocumentError, also when there is none."""
    if not (folder / "recipe.yaml").is_file():
        known = ", ".join(sorted(path.parent.name for path in folder.parent.glob("*/recipe.yaml"))) or "none"
        message = f"recipes/{folder.name}/recipe.yaml is missing; the lock names it. Recipes that exist: {known}."
        raise DocumentError(message)
    return load(Recipe, folder / "recipe.yaml")
