"""`upstream.lock`: what is pinned, from where, and what it must look like before and after patching."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Annotated, Literal

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name, parse_sdist_filename, parse_wheel_filename
from packaging.version import InvalidVersion, Version
from pydantic import AfterValidator, Field, model_validator

from forkhouse.documents import Document

FORMAT = 1
"""Version of the lock's own format."""


def _full_match(pattern: str, expected: str) -> AfterValidator:
    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            message = f"expected {expected}"
            raise ValueError(message)
        return text

    return AfterValidator(check)


def _version(text: str) -> str:
    try:
        return str(Version(text))
    except InvalidVersion as error:
        raise ValueError(str(error)) from None


def _specifier(text: str) -> str:
    try:
        return str(SpecifierSet(text))
    except InvalidSpecifier as error:
        raise ValueError(str(error)) from None


def _requirement(text: str) -> str:
    try:
        return str(Requirement(text))
    except InvalidRequirement as error:
        raise ValueError(str(error)) from None


def _bare_name(text: str) -> str:
    if PurePosixPath(text).name != text or text in {"", ".", ".."}:
        message = "expected a file name without a folder"
        raise ValueError(message)
    return text


ObjectId = Annotated[str, _full_match(r"[0-9a-f]{40}", "a full git object id of 40 lower-case hex digits")]
Sha256 = Annotated[str, _full_match(r"[0-9a-f]{64}", "a sha256 of 64 lower-case hex digits")]
Name = Annotated[str, _full_match(r"[a-z0-9]+(-[a-z0-9]+)*", "lower-case words joined by '-'")]
PackageVersion = Annotated[str, AfterValidator(_version)]
VersionRange = Annotated[str, AfterValidator(_specifier)]
RequirementText = Annotated[str, AfterValidator(_requirement)]
FileName = Annotated[str, AfterValidator(_bare_name)]
GitUrl = Annotated[str, _full_match(r"(https|file)://[^\s]+", "an https:// or file:// address")]
Form = Literal["git", "sdist", "wheel", "debian-source"]


class PinnedFile(Document):
    """One file of a registry, by name and content."""

    file: FileName
    sha256: Sha256


class _Source(Document):
    version: PackageVersion | None = None
    """Version of this form where it differs from the upstream's."""
    paths: dict[str, str] = Field(default_factory=dict)
    """How the upstream's own paths (as in its git tree) appear in this form: prefix to prefix."""
    tree: ObjectId | None = None
    """Git tree id of the form as fetched."""
    patched_tree: ObjectId | None = None
    """Git tree id after the patch series."""
    why: str | None = None


class GitSource(_Source):
    """A commit of a git repository."""

    kind: Literal["git"]
    url: GitUrl
    tag: str | None = None
    branch: str | None = None
    commit: ObjectId | None = None
    """Full commit id. Without one the source is *unresolved*: listed, but not usable."""


class SdistSource(_Source):
    """A source distribution of a Python package index."""

    kind: Literal["sdist"]
    package: Name
    file: FileName
    sha256: Sha256

    @model_validator(mode="after")
    def _file_is_of_package(self) -> SdistSource:
        if parse_sdist_filename(self.file)[0] != self.package:
            message = f"file '{self.file}' is not an sdist of {self.package}"
            raise ValueError(message)
        return self


class WheelSource(_Source):
    """A wheel of a Python package index, taken as source: unpacked, patched, packed again."""

    kind: Literal["wheel"]
    package: Name
    file: FileName
    sha256: Sha256

    @model_validator(mode="after")
    def _file_is_of_package(self) -> WheelSource:
        if parse_wheel_filename(self.file)[0] != self.package:
            message = f"file '{self.file}' is not a wheel of {self.package}"
            raise ValueError(message)
        return self


class DebianSource(_Source):
    """A Debian source package: the .dsc and the tarballs that it names."""

    kind: Literal["debian-source"]
    package: Name
    debian_version: str
    files: tuple[PinnedFile, ...] = Field(min_length=1)


Source = Annotated[GitSource | SdistSource | WheelSource | DebianSource, Field(discriminator="kind")]
RegistrySource = SdistSource | WheelSource


class Upstream(Document):
    """One upstream project, in the forms it can be had, the preferred one first."""

    version: PackageVersion
    licence: str
    why: str
    sources: tuple[Source, ...] = Field(min_length=1)


class External(Document):
    """A wheel that a profile installs as it is: named here because a resolver would choose another."""

    package: Name
    version: PackageVersion
    file: FileName
    sha256: Sha256
    why: str

    @model_validator(mode="after")
    def _file_is_of_package(self) -> External:
        name, version, *_ = parse_wheel_filename(self.file)
        if name != self.package or str(version) != self.version:
            message = f"file '{self.file}' is not {self.package} {self.version}"
            raise ValueError(message)
        return self


class Profile(Document):
    """What one wheelhouse holds."""

    recipes: tuple[Name, ...] = Field(min_length=1)
    """Recipes whose wheels we build."""
    install: tuple[RequirementText, ...] = Field(min_length=1)
    """Requirements that stand for the whole profile; the closure is resolved from them."""
    externals: tuple[External, ...] = ()


class Lock(Document):
    """The whole of `upstream.lock`."""

    format: Literal[1]
    python: VersionRange
    rocm: VersionRange
    gpu_targets: tuple[str, ...]
    upstreams: dict[Name, Upstream]
    profiles: dict[Name, Profile]

    @model_validator(mode="after")
    def _externals_are_unique(self) -> Lock:
        for name, profile in self.profiles.items():
            packages = [canonicalize_name(external.package) for external in profile.externals]
            if len(set(packages)) != len(packages):
                message = f"profile {name} pins an external package twice"
                raise ValueError(message)
        return self


def describe(source: Source) -> str:
    """Return one line that identifies a source, as shown in tables and messages."""
    match source:
        case GitSource():
            return f"git {source.url} {source.tag or source.branch or ''} {source.commit or '(no commit known)'}"
        case DebianSource():
            return f"debian-source {source.package} {source.debian_version}"
        case _:
            return f"{source.kind} {source.file}"
