"""`upstream.lock`.

What is pinned, from where, and what it must look like before and after patching.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Annotated, Literal, get_args
from urllib.parse import urlsplit

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name, parse_sdist_filename, parse_wheel_filename
from packaging.version import InvalidVersion, Version
from pydantic import AfterValidator, Field, model_validator

from forkhouse.core.errors import UsageError
from forkhouse.documents.reading import Document

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


def parse_version(text: str) -> Version:
    """Return a version that a user gave. Raises UsageError for what is none (PEP 440)."""
    try:
        return Version(text)
    except InvalidVersion:
        message = f"'{text}' is no version (PEP 440), such as 1.2 or 1.2.post1."
        raise UsageError(message) from None


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


def _path_alone(url: str) -> str:
    if "?" in url or "#" in url:
        message = (
            "the address of a repository ends with its path: what stands behind a '?' or a '#' is "
            "a token more often than not, and everybody reads the lock. git has credentials of its "
            "own (a credential helper)"
        )
        raise ValueError(message)
    return url


def _without_credentials(text: str) -> str:
    try:
        has_user = "@" in urlsplit(text).netloc
    except ValueError as error:
        message = f"expected an address: {error}"
        raise ValueError(message) from None
    if has_user:
        message = (
            "an address in the lock has no user and no password: everybody reads the lock. git has "
            "credential helpers for them, "
            "and `git config url.ADDRESS.insteadOf` leads to another address"
        )
        raise ValueError(message)
    return text


ObjectId = Annotated[
    str, _full_match(r"[0-9a-f]{40}", "a full git object id of 40 lower-case hex digits")
]
Sha256 = Annotated[str, _full_match(r"[0-9a-f]{64}", "a sha256 of 64 lower-case hex digits")]
Name = Annotated[str, _full_match(r"[a-z0-9]+(-[a-z0-9]+)*", "lower-case words joined by '-'")]
PackageVersion = Annotated[str, AfterValidator(_version)]
VersionRange = Annotated[str, AfterValidator(_specifier)]
RequirementText = Annotated[str, AfterValidator(_requirement)]
FileName = Annotated[str, AfterValidator(_bare_name)]
Url = Annotated[str, _full_match(r"(https|file)://[^\s]+", "an https:// or file:// address")]
PublicUrl = Annotated[Url, AfterValidator(_without_credentials)]
RepositoryUrl = Annotated[PublicUrl, AfterValidator(_path_alone)]
Form = Literal["git", "sdist", "wheel", "debian-source", "archive"]
FORMS: tuple[Form, ...] = get_args(Form)
"""Every form that a source can have."""


class PinnedFile(Document):
    """One file of a registry, by name and content."""

    file: FileName
    """Name of the file."""
    sha256: Sha256
    """Hash of the file."""


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
    """Why this source is in the lock, or why it is as it is."""


class GitSource(_Source):
    """A commit of a git repository."""

    kind: Literal["git"]
    url: RepositoryUrl
    """Address of the repository."""
    tag: str | None = None
    """Tag of the commit. It must still lead to the commit."""
    branch: str | None = None
    """Branch that the commit was taken from, where there is no tag."""
    commit: ObjectId | None = None
    """Full commit id. Without one the source is *unresolved*: listed, but not usable."""
    submodules: bool | None = None
    """Whether the files of its submodules belong to it.

    True lays them in its tree, false leaves them out; unsaid, their lack is told.
    """


class SdistSource(_Source):
    """A source distribution of a Python package index."""

    kind: Literal["sdist"]
    package: Name
    """Name of the distribution."""
    file: FileName
    """Name of the file on the index."""
    sha256: Sha256
    """Hash of the file."""

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
    """Name of the distribution."""
    file: FileName
    """Name of the file on the index."""
    sha256: Sha256
    """Hash of the file."""

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
    """Name of the source package."""
    debian_version: str
    """Its Debian version."""
    files: tuple[PinnedFile, ...] = Field(min_length=1)
    """The .dsc and each tarball that it names."""


class ArchiveSource(_Source):
    """A source archive at an address of its own: a tarball or zip file with one top folder."""

    kind: Literal["archive"]
    url: PublicUrl
    """Address of the file."""
    file: FileName
    """Name under which a mirror has it (`DIR/archives/FILE`)."""
    sha256: Sha256
    """Hash of the file."""


class DebianBinary(Document):
    """One binary package of a Debian suite."""

    package: str
    """Name of the package."""
    version: str
    """Debian version, with its epoch."""
    suite: str
    """Suite of Debian that has it."""
    file: FileName
    """Name in the archive's pool: without the epoch."""
    sha256: Sha256
    """Hash of the file."""


class HipToolchainPin(Document):
    """The packages from which a private HIP toolchain is made where none is found."""

    version: PackageVersion
    """Version of HIP in it."""
    why: str
    """Why these packages."""
    packages: tuple[DebianBinary, ...] = Field(min_length=1)
    """Everything that is unpacked, compiler and libraries."""


Source = Annotated[
    GitSource | SdistSource | WheelSource | DebianSource | ArchiveSource,
    Field(discriminator="kind"),
]
RegistrySource = SdistSource | WheelSource


class Pinned(Document):
    """A project in the forms it can be had, the preferred one first."""

    version: PackageVersion
    """The pinned release."""
    licence: str
    """SPDX identifier of its licence."""
    why: str
    """Why this version."""
    sources: tuple[Source, ...] = Field(min_length=1)
    """Where it can be had, the preferred source first."""


class Upstream(Pinned):
    """A project that we patch and build."""

    components: tuple[Name, ...] = ()
    """Components of the lock that are laid in this upstream's tree, in this order.

    Where two have a file, the later one's counts.
    """


class Component(Pinned):
    """A project whose source an upstream's build expects inside its own tree.

    It is taken as it is, without patches.
    """

    path: Annotated[
        str,
        _full_match(
            r"(?!\.)[^/]+(/(?!\.)[^/]+)*", "a relative path, no part of which begins with a dot"
        ),
    ]
    """Folder, relative to the upstream's tree, where the component's tree is laid."""


class External(Document):
    """A wheel that a profile installs and that is not built here.

    A resolver would choose another, or does not reach its index.

    Without version, file and hash it is *unresolved*: `forkhouse lock --externals` fills them in
    where the index can be reached.
    """

    package: Name
    """Name of the distribution."""
    why: str
    """Why it is not left to the resolver."""
    index: Name | None = None
    """Alias of the index that has it, to which the user's configuration gives an address.

    None for the user's ordinary indexes.
    """
    wanted: VersionRange | None = None
    """Versions that will do."""
    version: PackageVersion | None = None
    """The pinned version."""
    file: FileName | None = None
    """Name of the wheel."""
    sha256: Sha256 | None = None
    """Hash of the wheel."""

    @property
    def pinned(self) -> tuple[str, str, str] | None:
        """Version, file and sha256, or None for an unresolved one."""
        return (
            (self.version, self.file, self.sha256)
            if self.version and self.file and self.sha256
            else None
        )

    @model_validator(mode="after")
    def _whole(self) -> External:
        given = [value is not None for value in (self.version, self.file, self.sha256)]
        if any(given) and not all(given):
            message = "give version, file and sha256 together, or none of them"
            raise ValueError(message)
        if self.pinned is None and (self.index is None or self.wanted is None):
            message = (
                f"{self.package} is unresolved: give the index that has it and the versions that "
                "are wanted"
            )
            raise ValueError(message)
        if self.pinned is not None:
            version, file, _ = self.pinned
            name, found, *_ = parse_wheel_filename(file)
            if name != self.package or str(found) != version:
                message = f"file '{file}' is not {self.package} {version}"
                raise ValueError(message)
            if self.wanted is not None and not SpecifierSet(self.wanted).contains(
                version, prereleases=True
            ):
                message = f"{self.package} {version} is not what is wanted: {self.wanted}"
                raise ValueError(message)
        return self


class KernelPin(Document):
    """How many kernels a library of ours holds for a GPU target, and which."""

    library: str
    """Path in the wheel."""
    target: str
    """Target id of the GPU."""
    count: int = Field(ge=0)
    """Number of kernels."""
    sha256: Sha256
    """Of the sorted names, a line each."""
    spilling: int | None = Field(default=None, ge=0)
    """How many of them spill vector registers to memory."""
    lds: int | None = Field(default=None, ge=0)
    """Bytes of LDS of the kernel that takes most."""
    scratch: int | None = Field(default=None, ge=0)
    """Bytes of private memory of a work item, of the kernel that takes most."""


Transfer = Literal["rixl", "nixl-rocm"]
"""Recipes of the library that moves KV blocks between AMD GPUs: RIXL, or its successor."""


SLIM = "-slim"
"""`PROFILE-slim` is a profile without the wheels that it lists as `slim`."""


class Omission(Document):
    """A wheel that something requires, and that a slim wheelhouse leaves out."""

    package: Name
    """Name of its distribution."""
    why: str
    """Why nothing of the profile's use needs it, and how that is known."""


class Profile(Document):
    """What one wheelhouse holds."""

    recipes: tuple[Name, ...] = Field(min_length=1)
    """Recipes whose wheels we build."""
    where_reachable: tuple[Name, ...] = ()
    """Those of them without which the wheelhouse is still of use.

    Left out, and said to be, where their source cannot be had.
    """
    install: tuple[RequirementText, ...] = Field(min_length=1)
    """Requirements that stand for the whole profile; the closure is resolved from them."""
    transfer: Transfer | None = None
    """Recipe of the transfer library, built and installed beside the others and left out where its
    source cannot be had; `build
    --transfer` takes another. None where an external is the transfer library.
    """
    externals: tuple[External, ...] = ()
    """Wheels that the profile installs and that are not built here."""
    slim: tuple[Omission, ...] = ()
    """What the slim form of the profile leaves out: `--profile NAME-slim`."""

    @model_validator(mode="after")
    def _one_transfer(self) -> Profile:
        named = [name for name in get_args(Transfer) if name in self.recipes]
        if self.transfer is not None and named:
            message = (
                f"transfer chooses the transfer library, and recipes name {', '.join(named)} "
                "besides: two in one process do not go together"
            )
            raise ValueError(message)
        return self


class Lock(Document):
    """The whole of `upstream.lock`."""

    format: Literal[1]
    """Version of the lock's own format."""
    python: VersionRange
    """Versions of Python that the wheels are for."""
    rocm: VersionRange
    """Versions of ROCm that builds may be compiled against."""
    gpu_targets: tuple[str, ...]
    """Target ids of the GPUs for which every HIP library must have code, such as `gfx90a`."""
    hip_toolchain: HipToolchainPin | None = None
    """None in a lock whose profiles compile nothing for a GPU."""
    upstreams: dict[Name, Upstream]
    """Projects that are patched and built, by name."""
    components: dict[Name, Component] = Field(default_factory=dict)
    """Projects that are laid into an upstream's tree, by name."""
    kernels: dict[Name, tuple[KernelPin, ...]] = Field(default_factory=dict)
    """By recipe, the kernels that its wheel held when the lock was updated."""
    profiles: dict[Name, Profile]
    """Wheelhouses that can be built, by name."""

    @model_validator(mode="after")
    def _components_are_known(self) -> Lock:
        for name, upstream in self.upstreams.items():
            unknown = [
                component for component in upstream.components if component not in self.components
            ]
            if unknown:
                message = f"upstream {name} names unknown components: {', '.join(unknown)}"
                raise ValueError(message)
        doubles = sorted(self.upstreams.keys() & self.components.keys())
        if doubles:
            message = f"upstreams and components at once: {', '.join(doubles)}"
            raise ValueError(message)
        return self

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
            return (
                f"git {source.url} {source.tag or source.branch or ''} "
                f"{source.commit or '(no commit known)'}"
            )
        case DebianSource():
            return f"debian-source {source.package} {source.debian_version}"
        case _:
            return f"{source.kind} {source.file}"
