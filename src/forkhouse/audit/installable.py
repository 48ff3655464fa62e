"""Whether an installer takes a wheel for what its file name says.

What pip refuses at installation is refused here, before.

The rules are those of the binary distribution format (PEP 427 and
https://packaging.python.org/specifications/binary-distribution-format/), names compared as PEP 503
has it and versions as PEP 440. Where pip goes on though an outcome is chance, or other installers
stop, the wheel is refused as well.
"""

from __future__ import annotations

import csv
import platform
import re
import zipfile
from collections import Counter
from configparser import ConfigParser
from configparser import Error as ConfigParserError
from importlib.metadata import Distribution
from typing import TYPE_CHECKING, NoReturn
from unicodedata import category

from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import Version

from forkhouse.audit.findings import Finding, Rule
from forkhouse.binaries.kernels import some
from forkhouse.core.errors import AuditError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import Message

    from forkhouse.audit.archive import WheelArchive
    from forkhouse.audit.facts import WheelFacts

_SCHEMES = ("data", "headers", "platlib", "purelib", "scripts")
"""Folders of `NAME-VERSION.data`, each for a place of its own (PEP 427)."""
_DATA_DEPTH = 3
_LONGEST_STEP = 255
_LONGEST_PATH = 2048
"""Limits in bytes: that of file systems for one step of a path, and one for a whole path.

The latter leaves room for the folder of the environment.
"""
_UNSEEN = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})
"""Unicode categories of invisible characters; uv refuses a name that contains one."""
_SITE = "lib/python{}.{}/site-packages/".format(*platform.python_version_tuple())
"""The folder of libraries in an environment that we make."""
_ENVIRONMENTS_OWN = re.compile(
    r"pyvenv\.cfg|bin/(?:python|pypy|graalpy)(?:w|3(?:\.\d+)?t?)?(?:\.exe)?", re.IGNORECASE
)
"""Files that an environment has before anything is installed, and needs.

uv refuses a wheel that brings the commands.
"""
_SCRIPT_NAME = re.compile(r"[\w.-]*\w[\w.-]*")
_SCRIPT = re.compile(r"\w+(?:\.\w+)*:\w+(?:\.\w+)*(?:\s*\[[\w\s,.-]*\])?")
_WHEEL_VERSION = re.compile(r"[0-9]{1,9}\.[0-9]{1,9}")
_COLUMNS = 3
_MAJOR = 1
"""The major version of the wheel format that installers know."""


def dist_info(archive: WheelArchive) -> str:
    """Return the name of the wheel's `.dist-info` folder.

    Raises AuditError when there is not just one.
    """
    found = sorted(
        {
            name.partition("/")[0]
            for name in archive.names
            if name.partition("/")[0].endswith(".dist-info")
        }
    )
    if len(found) != 1:
        message = (
            f"has {len(found)} .dist-info folders ({some(found)})"
            if found
            else "has no .dist-info folder"
        )
        message += "; a wheel has one, which says what it is"
        raise AuditError(message)
    return found[0]


def check_installable(
    file_name: str, archive: WheelArchive, facts: WheelFacts, wheel: Message
) -> Iterator[Finding]:
    """Check a wheel for what makes installers stop, and its file name against its metadata.

    `facts` is what METADATA says, `wheel` what WHEEL says. Raises AuditError where a file that
    describes the wheel cannot be read.
    """
    info = dist_info(archive)
    yield from _check_names(file_name, info, facts)
    yield from _check_format(wheel)
    yield from _check_python(facts)
    yield from _check_packing(archive)
    entries = archive.text(f"{info}/entry_points.txt") or ""
    yield from check_paths(archive.names, info, commands(entries))
    yield from _check_scripts(entries)
    yield from _check_record(archive.text(f"{info}/RECORD"), f"{info}/RECORD")


def _check_names(file_name: str, info: str, facts: WheelFacts) -> Iterator[Finding]:
    try:
        name, version, *_ = parse_wheel_filename(file_name)
    except ValueError as error:  # InvalidWheelFilename is one
        yield _finding(f"has no file name of a wheel: {error}")
        return
    stem = info.removesuffix(".dist-info")
    if not _is(stem, name, version):
        yield _finding(f"is {name} {version} by its file name, and its folder {info} is another's")
    if (facts.name, Version(facts.version)) != (name, version):
        yield _finding(
            f"is {name} {version} by its file name, and {facts.name} {facts.version} by its "
            "METADATA"
        )


def _is(stem: str, name: str, version: Version) -> bool:
    """Return whether a text is NAME-VERSION, each in one of the ways in which it may be written."""
    its_name, _, its_version = stem.partition("-")
    try:
        return canonicalize_name(its_name) == name and Version(its_version) == version
    except ValueError:  # InvalidVersion is one
        return False


def _check_format(wheel: Message) -> Iterator[Finding]:
    written = str(wheel["Wheel-Version"] or "").strip()
    if not _WHEEL_VERSION.fullmatch(written):
        what = (
            f"has the Wheel-Version {written!r} in its WHEEL file, which is none"
            if written
            else "has no Wheel-Version in its WHEEL file"
        )
        yield _finding(what)
    elif int(written.partition(".")[0]) != _MAJOR:
        yield _finding(
            f"has the Wheel-Version {written}; installers know {_MAJOR}.x and stop at others"
        )


def _check_python(facts: WheelFacts) -> Iterator[Finding]:
    if not facts.requires_python:
        return
    try:
        fits = SpecifierSet(facts.requires_python).contains(
            platform.python_version(), prereleases=True
        )
    except ValueError:  # InvalidSpecifier is one, and so is a number without end
        yield _finding(
            f"has the Requires-Python {facts.requires_python!r}, which is none; installers then "
            "take it for any"
        )
        return
    if not fits:
        yield _finding(
            f"requires Python {facts.requires_python}, and the wheelhouse is for this one, "
            f"{platform.python_version()}"
        )


def _check_packing(archive: WheelArchive) -> Iterator[Finding]:
    for member in archive.files:
        if member.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            yield _finding(
                "is packed in another way than deflate, at which uv stops", where=member.filename
            )


def check_paths(
    names: tuple[str, ...], info: str, commands: tuple[str, ...] = ()
) -> Iterator[Finding]:
    """Find members that an installer would write to a wrong place or not at all.

    Wrong is a place outside of the environment, on top of another member, or on top of a file that
    the environment itself needs. `info` is the .dist-info folder; `commands` are the names of the
    commands that installers write.
    """
    places: Counter[str] = Counter(f"bin/{command}" for command in commands)
    folders: set[str] = set()
    for name in names:
        if what := _wrong_path(name, info):
            yield _finding(what, where=name)
        elif not name.endswith("/"):
            place = _place(name)
            places[place] += 1
            top = place.removeprefix(_SITE).partition("/")[0]
            if top != info and top.endswith((".dist-info", ".egg-info")):
                yield _finding(
                    "is the metadata of another distribution, which would then count as installed",
                    where=name,
                )
            folders.update(
                place[:index] for index, character in enumerate(place) if character == "/"
            )
    for place, count in places.items():
        shown = place.removeprefix(_SITE)
        if count > 1:
            yield Finding(
                rule=Rule.RECORD,
                where=shown,
                what="is in the wheel twice; which one is installed is chance",
            )
        if place in folders:
            yield _finding("is a file and a folder at once", where=shown)
        if _ENVIRONMENTS_OWN.fullmatch(place):
            yield _finding(
                "is a part of every environment, which the wheel would write over; uv stops at it",
                where=shown,
            )


def _wrong_path(name: str, info: str) -> str | None:
    """Return what is wrong with the name of a member; None when nothing is."""
    steps = name.removesuffix("/").split("/")
    if name.startswith("/"):
        return "is an absolute path"
    if ".." in steps:
        return "leads out of its folder by '..'"
    if not set(steps).isdisjoint({"", "."}):
        return "has an empty step or '.' in its path, so that it has several names"
    if "\\" in name:
        return "has a backslash in its path, which is a step on some systems and a letter on others"
    if any(category(letter) in _UNSEEN for letter in name):
        return "has a control character in its path"
    if len(name.encode("utf-8", "surrogatepass")) > _LONGEST_PATH or any(
        len(step.encode("utf-8", "surrogatepass")) > _LONGEST_STEP for step in steps
    ):
        return "has a longer path than file systems take"
    if steps[0].endswith(".data") and not name.endswith("/"):
        if len(steps) < _DATA_DEPTH or steps[1] not in _SCHEMES:
            return f"is in a .data folder, and in none of its folders {', '.join(_SCHEMES)}"
        if not _same_project(steps[0].removesuffix(".data"), info.removesuffix(".dist-info")):
            return f"is in a .data folder that is not {info.removesuffix('.dist-info')}'s"
        if steps[1] == "scripts" and len(steps) > _DATA_DEPTH:
            return "is in a folder among the scripts, at which uv stops"
    if steps[0] == info and len(steps) == 1 and not name.endswith("/"):
        return "is a file in the place of the .dist-info folder"
    return None


def _same_project(stem: str, other: str) -> bool:
    name, _, version = other.partition("-")
    try:
        return _is(stem, canonicalize_name(name), Version(version))
    except ValueError:
        return stem == other


def _place(name: str) -> str:
    """Return where a member is installed in an environment that we make.

    Such an environment has a single folder for both kinds of libraries.
    """
    top, _, rest = name.partition("/")
    if not top.endswith(".data"):
        return f"{_SITE}{name}"
    scheme, _, path = rest.partition("/")
    return {"purelib": _SITE, "platlib": _SITE, "scripts": "bin/", "data": ""}.get(
        scheme, f"{scheme}:"
    ) + path


class _Described(Distribution):
    """A distribution of which only entry_points.txt is known, read as installers read it."""

    def __init__(self, text: str) -> None:
        self._text = text

    def read_text(self, filename: str) -> str | None:
        return self._text if filename == "entry_points.txt" else None

    def locate_file(self, path: object) -> NoReturn:
        raise NotImplementedError


_SCRIPTS = ("console_scripts", "gui_scripts")


def _strictly(text: str) -> ConfigParser:
    """Read entry_points.txt strictly by its format.

    Raises configparser.Error where pip would guess and other installers would stop.
    """
    parser = ConfigParser(delimiters=("=",), interpolation=None)
    # The documented way to keep names as they are.
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    return parser


def commands(text: str) -> tuple[str, ...]:
    """Return the names of the commands that installers make from entry_points.txt.

    A name that is declared twice is returned twice. Empty when the text is not well formed.
    """
    try:
        parser = _strictly(text)
    except ConfigParserError:
        return ()
    return tuple(name for group in _SCRIPTS if parser.has_section(group) for name in parser[group])


def _check_scripts(text: str) -> Iterator[Finding]:
    """Find commands that cannot be made.

    Their name is a path, their entry names no function, or the file is not well formed.
    """
    try:
        entries = list(_Described(text).entry_points)
        parser = _strictly(text)
    except (TypeError, ValueError, ConfigParserError) as error:
        yield _finding(
            f"has an entry_points.txt that cannot be read: {' '.join(str(error).split())}"
        )
        return
    if parser.defaults():
        yield _finding(
            "has an entry_points.txt with a section DEFAULT, which some installers take for a part "
            "of all others"
        )
    for group in filter(parser.has_section, _SCRIPTS):
        for name, value in parser[group].items():
            if "\n" in value:
                yield _finding(
                    f"asks for the command {name!r} in several lines, of which installers make one "
                    "command or two"
                )
    for entry in entries:
        if entry.group not in _SCRIPTS:
            continue
        if not _SCRIPT_NAME.fullmatch(entry.name) or not _SCRIPT.fullmatch(entry.value):
            yield _finding(
                f"asks for the command {entry.name!r} of {entry.value!r}, which installers cannot "
                "make"
            )


def _check_record(text: str | None, path: str) -> Iterator[Finding]:
    if text is None:
        yield Finding(rule=Rule.RECORD, what="has no RECORD")
        return
    try:
        rows = list(csv.reader(text.splitlines()))
    except csv.Error as error:
        yield Finding(rule=Rule.RECORD, what=f"has a RECORD that cannot be read: {error}")
        return
    if not all(rows):
        yield Finding(rule=Rule.RECORD, what="has an empty line in its RECORD, at which pip stops")
    if wrong := next((row for row in rows if row and len(row) != _COLUMNS), None):
        what = (
            f"has a RECORD with {len(wrong)} columns for {wrong[0]}, at which uv stops; there are "
            f"{_COLUMNS}: path, hash and size"
        )
        yield Finding(rule=Rule.RECORD, what=what)
    elif any(row[0] == path and any(row[1:]) for row in rows if row):
        yield Finding(
            rule=Rule.RECORD,
            what="has a RECORD with a hash or size of itself, which cannot be true; installers may "
            "stop at it",
        )


def _finding(what: str, where: str = "") -> Finding:
    return Finding(rule=Rule.INSTALLABLE, where=where, what=what)
