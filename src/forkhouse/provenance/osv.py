"""Read an export of OSV, and say which of its vulnerabilities a version has.

https://ossf.github.io/osv-schema/ describes the records. An export is a JSON file with one record
or a list of them, a folder of such files, or a zip archive of them, as osv.dev gives one for each
ecosystem.
"""

from __future__ import annotations

import json
import os
import zipfile
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from forkhouse.core.budgets import DAMAGE
from forkhouse.core.errors import DocumentError
from forkhouse.core.storage import open_file

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

ECOSYSTEM = "PyPI"
_LARGEST = 64 * 2**20
"""Bytes of a record, or of a file of them."""
_MOST = 4 * 2**30
"""Bytes of all records of an archive."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Advisory:
    """A vulnerability of one package of the Python package index."""

    id: str
    aliases: tuple[str, ...]
    summary: str
    package: str
    """Canonical name."""
    versions: frozenset[Version]
    """Versions that are named one by one."""
    judged: bool
    """Whether it says by versions what it is about; else nobody can tell from a version."""
    ranges: tuple[tuple[tuple[str, str], ...], ...]
    """Events of each range, in their order: `introduced`, `fixed`, `last_affected`, `limit`."""
    severity: str
    fixed: tuple[str, ...]
    """Versions that mend it."""

    @property
    def names(self) -> frozenset[str]:
        """Every identifier of it, in upper case."""
        return frozenset(each.upper() for each in (self.id, *self.aliases))

    def affects(self, version: Version) -> bool:
        """Say whether a version has it.

        Our versions have a local label (PEP 440) and are of the release before it. An advisory may
        name such a label itself.
        """
        return any(
            each in self.versions or any(_within(each, events) for events in self.ranges)
            for each in (version, Version(version.public))
        )


def _within(version: Version, events: Collection[tuple[str, str]]) -> bool:
    """Evaluate the events of a range as the schema says: in order of versions."""
    # The schema wants a beginning; what has none has always been.
    affected = bool(events) and all(kind != "introduced" for kind, _ in events)
    known = [(kind, parsed) for kind, text in events if (parsed := _event(kind, text)) is not None]
    # At one version, what begins it counts before what ends it.
    for kind, at in sorted(known, key=lambda each: (each[1], each[0] != "introduced")):
        if kind == "introduced" and version >= at:
            affected = True
        elif kind in {"fixed", "limit"} and version >= at:
            affected = False
        if kind == "last_affected" and version > at:
            affected = False
    return affected


def _event(kind: str, text: str) -> Version | None:
    """Return the version of an event; None where it ends nothing.

    What begins at a version that is none of PEP 440 is taken for having always been: to say too
    much is better than to be silent.
    """
    found = _parsed(text)
    return _parsed("0") if found is None and kind == "introduced" else found


def _parsed(text: str) -> Version | None:
    """Return a version; that before all others is `0` in OSV, and every development release too."""
    try:
        return Version("0.dev0" if text == "0" else text)
    except InvalidVersion:
        return None


def read_export(path: Path, packages: Collection[str]) -> list[Advisory]:
    """Return the advisories of an export that are about some packages (canonical names).

    Records that were withdrawn are left out. Raises DocumentError for what is no export.
    """
    found = []
    count = 0
    for name, content in _files(path):
        try:
            document = json.loads(content)
            for record in document if isinstance(document, list) else [document]:
                count += 1
                advisories = list(_advisories(record, packages))
                found += [] if record.get("withdrawn") else advisories
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            message = (
                f"{name} is no record of OSV: {error!r}. Export one from osv.dev: `PyPI/all.zip`, "
                "or the JSON of an advisory."
            )
            raise DocumentError(message) from error
    if not count:
        message = f"{path} has no record of OSV in it, so nothing can be held against it."
        raise DocumentError(message)
    return sorted(found, key=lambda each: (each.package, each.id))


def _files(path: Path) -> Iterator[tuple[str, bytes]]:
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.suffix.lower() == ".json" and not file.is_dir():
                with open_file(file) as stream:
                    size = os.fstat(stream.fileno()).st_size
                    yield file.name, _limited(file.name, size, stream.read)
        return
    with open_file(path) as whole:
        yield from _in_file(path, whole)


def _in_file(path: Path, whole: BinaryIO) -> Iterator[tuple[str, bytes]]:
    if zipfile.is_zipfile(whole):
        try:
            with zipfile.ZipFile(whole) as archive:
                members = [
                    each for each in archive.infolist() if each.filename.lower().endswith(".json")
                ]
                _limited(path.name, sum(each.file_size for each in members), bytes, _MOST)
                for member in members:
                    read = partial(archive.read, member)
                    yield member.filename, _limited(member.filename, member.file_size, read)
        except DAMAGE as error:
            message = f"{path} is damaged: {error}."
            raise DocumentError(message) from error
    else:
        whole.seek(0)
        yield path.name, _limited(path.name, os.fstat(whole.fileno()).st_size, whole.read)


def _limited(name: str, size: int, read: Any, most: int = _LARGEST) -> bytes:
    if size > most:
        message = f"{name} has {size} bytes; more than {most} are refused."
        raise DocumentError(message)
    content: bytes = read()
    return content


def _advisories(record: Mapping[str, Any], packages: Collection[str]) -> Iterator[Advisory]:
    """Yield an advisory for each of some packages of the ecosystem that a record names.

    Raises KeyError, TypeError, AttributeError for what is no record.
    """
    name, aliases = _text(record["id"]), _texts(record.get("aliases"))
    for affected in _list(record.get("affected")):
        package = affected.get("package", {"ecosystem": "", "name": ""})
        if _text(package["ecosystem"]).partition(":")[0].lower() != ECOSYSTEM.lower():
            continue
        package_name = canonicalize_name(_text(package["name"]))
        if package_name not in packages:
            continue
        ranges = [
            tuple(
                (kind, _text(text))
                for event in _list(each["events"])
                for kind, text in event.items()
            )
            for each in _list(affected.get("ranges"))
            if each["type"] in {"ECOSYSTEM", "SEMVER"}
        ]
        named = frozenset(filter(None, map(_parsed, _texts(affected.get("versions")))))
        yield Advisory(
            id=name,
            aliases=aliases,
            summary=_text(record.get("summary") or "")
            or _text(record.get("details") or "").partition("\n")[0],
            package=package_name,
            versions=named,
            judged=bool(named or any(ranges)),
            ranges=tuple(ranges),
            severity=_severity(record),
            fixed=tuple(text for events in ranges for kind, text in events if kind == "fixed"),
        )


def _text(value: object) -> str:
    if not isinstance(value, str):
        message = f"{value!r} is no text"
        raise TypeError(message)
    return value


def _list(value: object) -> list[Any]:
    """Return a list; an empty one for what is not there."""
    if value is not None and not isinstance(value, list):
        message = f"{value!r} is no list"
        raise TypeError(message)
    return value or []


def _texts(value: object) -> tuple[str, ...]:
    return tuple(map(_text, _list(value)))


def _severity(record: Mapping[str, Any]) -> str:
    """Return how severe a record says that it is: a word of its database, else a CVSS vector."""
    word = (record.get("database_specific") or {}).get("severity")
    scores = record.get("severity") or ()
    return str(word or next((each["score"] for each in scores), "unknown"))
