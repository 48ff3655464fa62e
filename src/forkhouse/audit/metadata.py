"""What a wheel says of itself, and what its requirements would bring in."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.metadata import Metadata
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from forkhouse.audit.report import Finding, Rule
from forkhouse.errors import AuditError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from forkhouse.audit.policy import Policy


@dataclass(frozen=True, kw_only=True, slots=True)
class WheelFacts:
    """What an audited wheel says of itself."""

    name: str
    """Canonical name."""
    version: str
    requires: tuple[str, ...]
    """Requires-Dist, as written."""
    provides_extra: tuple[str, ...]


def read_facts(archive: zipfile.ZipFile) -> WheelFacts:
    """Read the METADATA of a wheel. Raises AuditError when there is not just one, and what `packaging` raises."""
    names = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA") and name.count("/") == 1]
    if len(names) != 1:
        message = f"has {len(names)} .dist-info/METADATA files, a wheel has one"
        raise AuditError(message)
    # Not every published wheel keeps to every rule of core metadata; what we read of it is checked by its use.
    metadata = Metadata.from_email(archive.read(names[0]), validate=False)
    return WheelFacts(
        name=canonicalize_name(metadata.name),
        version=str(metadata.version),
        requires=tuple(str(requirement) for requirement in metadata.requires_dist or ()),
        provides_extra=tuple(metadata.provides_extra or ()),
    )


def wheel_facts(path: Path) -> WheelFacts:
    """Return what the wheel at `path` says of itself, and look at nothing else. Raises as `read_facts`, and what `zipfile` raises."""
    with zipfile.ZipFile(path) as archive:
        return read_facts(archive)


def check_metadata(facts: WheelFacts, policy: Policy, *, ours: bool, excused: Collection[str]) -> Iterator[Finding]:
    """Look for CUDA and for other people's packages in a wheel's name and requirements.

    Of a wheel that is not ours, requirements of extras do not count: what installs it does not ask for them, or names them
    in a requirement that is looked at in turn. `excused` are names of packages that the lock lets in with a reason.
    """
    other = policy.common.other_projects
    if policy.cuda.is_package(facts.name) and facts.name not in excused:
        yield Finding(rule=Rule.NO_CUDA, what=f"is the CUDA package {facts.name}")
    if facts.name in other and Version(facts.version).local is None:
        yield Finding(
            rule=Rule.OUR_OWN,
            what=f"is {facts.name} {facts.version} without a local version label, as the public package is: {other[facts.name]}",
        )
    for requirement in sorted(map(Requirement, facts.requires), key=str):
        name = canonicalize_name(requirement.name)
        if not ours and requirement.marker is not None and "extra ==" in str(requirement.marker):
            continue
        if policy.cuda.is_package(name) and name not in excused:
            yield Finding(rule=Rule.NO_CUDA, what=f"requires the CUDA package {name}")
        for extra in sorted(requirement.extras):
            if policy.cuda.is_extra(canonicalize_name(extra)):
                yield Finding(rule=Rule.NO_CUDA, what=f"requires {name} with the extra {extra}, which is for CUDA")
        if name in other and not _names_our_build(requirement):
            yield Finding(
                rule=Rule.OUR_OWN,
                what=f"requires {requirement}, which an index fulfils with another project: {other[name]}. "
                "Only a requirement such as ==1.0+rocm.1 names a build of ours",
            )


def _names_our_build(requirement: Requirement) -> bool:
    """Return whether only a version with a local label fulfils a requirement: public indexes accept none (PEP 440)."""
    return any(
        specifier.operator in {"==", "==="} and "*" not in specifier.version and Version(specifier.version).local is not None
        for specifier in requirement.specifier
    )
