"""Check what a wheel states of itself, and what its requirements would install."""

from __future__ import annotations

from email import message_from_string
from typing import TYPE_CHECKING

from packaging.metadata import parse_email
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from forkhouse.audit.archive import WheelArchive
from forkhouse.audit.facts import WheelFacts
from forkhouse.audit.findings import Finding, Rule
from forkhouse.audit.installable import dist_info
from forkhouse.core.errors import AuditError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from email.message import Message
    from pathlib import Path

    from forkhouse.audit.policy import AuditPolicy


_READ = frozenset({"name", "version", "requires-dist", "provides-extra", "requires-python"})
"""Fields of METADATA that are read here, in lower case as the reader names them."""


_MOST_REQUIREMENTS = 10_000


_LONGEST_REQUIREMENT = 10_000


def read_facts(archive: WheelArchive) -> WheelFacts:
    """Read the METADATA of a wheel.

    Raises AuditError when there is none, or when what we read of it is not well formed.

    Not every published wheel keeps to every rule of core metadata; fields that nobody here reads
    may say what they like.
    """
    path = f"{dist_info(archive)}/METADATA"
    text = archive.text(path)
    if text is None:
        message = f"has no {path}, without which nothing says what it is"
        raise AuditError(message)
    raw, unread = parse_email(text)
    twice = sorted(_READ & unread.keys())
    if twice:
        message = (
            f"has a METADATA whose {', '.join(twice)} cannot be read: each may be there once, and "
            "as text"
        )
        raise AuditError(message)
    requires = raw.get("requires_dist", [])
    if len(requires) > _MOST_REQUIREMENTS or any(
        len(requirement) > _LONGEST_REQUIREMENT for requirement in requires
    ):
        message = (
            f"has a METADATA with {len(requires)} requirements; more than {_MOST_REQUIREMENTS}, or "
            "one of more than "
            f"{_LONGEST_REQUIREMENT} letters, are refused"
        )
        raise AuditError(message)
    try:
        return WheelFacts(
            name=canonicalize_name(raw.get("name", ""), validate=True),
            version=str(Version(raw.get("version", ""))),
            requires=tuple(_judged(requirement) for requirement in requires),
            provides_extra=tuple(raw.get("provides_extra", ())),
            requires_python=raw.get("requires_python", "").strip(),
        )
    except (
        ValueError,
        RecursionError,
    ) as error:  # `packaging` has its own kinds of ValueError, and Python one for endless numbers
        message = f"has a METADATA that cannot be read: {error}"
        raise AuditError(message) from error


def _judged(text: str) -> str:
    """Return a requirement as `packaging` writes it, after evaluating its versions and its marker.

    Installers evaluate both, too. Raises ValueError where that fails.
    """
    requirement = Requirement(text)
    requirement.specifier.contains("0", prereleases=True)
    if requirement.marker is not None:
        requirement.marker.evaluate({"extra": ""})
    return str(requirement)


def wheel_facts(path: Path) -> WheelFacts:
    """Return what the wheel at `path` states of itself, without looking at its other files.

    Raises AuditError where it cannot be read, FileNotFoundError when there is no such file.
    """
    try:
        with WheelArchive(path) as archive:
            return read_facts(archive)
    except AuditError as error:
        message = f"{path.name} {error}"
        raise AuditError(message) from error


def read_wheel_file(archive: WheelArchive) -> Message:
    """Return the fields of a wheel's WHEEL file. Raises AuditError when there is none."""
    path = f"{dist_info(archive)}/WHEEL"
    text = archive.text(path)
    if text is None:
        message = f"has no {path}, without which installers stop"
        raise AuditError(message)
    return message_from_string(text)


def check_metadata(
    facts: WheelFacts, policy: AuditPolicy, *, ours: bool, excused: Collection[str]
) -> Iterator[Finding]:
    """Look for CUDA and for other people's packages in a wheel's name and requirements.

    Of a wheel that is not ours, requirements of extras do not count: what installs it does not ask
    for them, or names them in a requirement that is looked at in turn. `excused` are names of
    packages that the lock lets in with a reason.
    """
    other = policy.common.other_projects
    if policy.cuda.is_package(facts.name) and facts.name not in excused:
        yield Finding(rule=Rule.NO_CUDA, what=f"is the CUDA package {facts.name}")
    if facts.name in other and Version(facts.version).local is None:
        yield Finding(
            rule=Rule.OUR_OWN,
            what=f"is {facts.name} {facts.version} without a local version label, as the public "
            f"package is: {other[facts.name]}",
        )
    for requirement in sorted(map(Requirement, facts.requires), key=str):
        name = canonicalize_name(requirement.name)
        if not ours and requirement.marker is not None and "extra ==" in str(requirement.marker):
            continue
        if requirement.url:
            yield Finding(
                rule=Rule.INSTALLABLE,
                what=f"requires {name} by its address, {requirement.url}: an installer takes "
                "it from there, past the wheelhouse and its hashes. A patch has to name a version "
                "in its place",
            )
            continue
        if policy.cuda.is_package(name) and name not in excused:
            yield Finding(rule=Rule.NO_CUDA, what=f"requires the CUDA package {name}")
        for extra in sorted(requirement.extras):
            if policy.cuda.is_extra(canonicalize_name(extra)):
                yield Finding(
                    rule=Rule.NO_CUDA,
                    what=f"requires {name} with the extra {extra}, which is for CUDA",
                )
        if name in other and not _names_our_build(requirement):
            yield Finding(
                rule=Rule.OUR_OWN,
                what=f"requires {requirement}, which an index fulfils with another project: "
                f"{other[name]}. "
                "Only a requirement such as ==1.0+rocm.1 names a build of ours",
            )


def _names_our_build(requirement: Requirement) -> bool:
    """Return whether only a version with a local label fulfils a requirement.

    Public indexes accept none (PEP 440).
    """
    return any(
        specifier.operator in {"==", "==="}
        and "*" not in specifier.version
        and Version(specifier.version).local is not None
        for specifier in requirement.specifier
    )
