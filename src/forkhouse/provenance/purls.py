"""Package URLs (purl): one name for a package in every tool that reads one.

https://github.com/package-url/purl-spec has the types.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from packageurl import PackageURL

from forkhouse.documents.lockfile import (
    ArchiveSource,
    DebianSource,
    GitSource,
    SdistSource,
    WheelSource,
)

if TYPE_CHECKING:
    from forkhouse.documents.lockfile import Source

_HOSTS = {"github.com": "github", "bitbucket.org": "bitbucket", "gitlab.com": "gitlab"}
"""Hosts that have a type of their own."""


def of_distribution(name: str, version: str, file: str | None = None) -> PackageURL:
    """Return the purl of a Python distribution, of one file of it where that is given."""
    return PackageURL("pypi", None, name, version, qualifiers={"file_name": file} if file else None)


def of_source(name: str, version: str, source: Source) -> PackageURL:
    """Return the purl of a pinned source of the project `name`."""
    match source:
        case GitSource():
            return _of_git(name, version, source)
        case SdistSource() | WheelSource():
            return of_distribution(source.package, version, source.file)
        case DebianSource():
            return PackageURL(
                "deb",
                "debian",
                source.package,
                source.debian_version,
                qualifiers={"arch": "source"},
            )
        case ArchiveSource():
            return PackageURL(
                "generic",
                None,
                name,
                version,
                qualifiers={"checksum": f"sha256:{source.sha256}", "download_url": source.url},
            )


def _of_git(name: str, version: str, source: GitSource) -> PackageURL:
    place = urlsplit(source.url)
    path = re.sub(r"\.git$", "", place.path.strip("/"))
    owner, slash, project = path.rpartition("/")
    kind = _HOSTS.get(place.hostname or "")
    if kind and slash:
        return PackageURL(kind, owner, project, source.commit)
    address = f"git+{source.url}@{source.commit}"
    return PackageURL("generic", None, name, version, qualifiers={"vcs_url": address})
