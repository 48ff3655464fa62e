"""Decide whether the files of a tree require a distribution, for conditions.

An unclear answer never counts as no.
"""

from __future__ import annotations

import configparser
import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forkhouse.core.errors import PatchConflictError
from forkhouse.patches.languages import metadata
from forkhouse.patches.languages.declarations import is_named, requirement_of
from forkhouse.patches.languages.piplines import decoded, entries
from forkhouse.patches.languages.projecttables import (
    DYNAMIC,
    FILES,
    KNOWN,
    LISTS,
    SOURCES,
    TABLES,
    values,
)
from forkhouse.patches.languages.requirements import RequirementsForm, form_of
from forkhouse.patches.languages.tomlarrays import read as read_toml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from forkhouse.patches.languages.piplines import RequirementLine

    Read = Callable[[str], bytes | None]

_OTHER = frozenset({".yaml", ".yml", ".json", ".ini", ".xml", ".sh"})
"""Suffixes of files that may require distributions in their own way, as conda's do."""
_REMOTE = re.compile(r"(?:https?|file|ftp):", re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """Where a distribution is asked for."""

    where: tuple[str, ...]
    """The places that ask for it, for a person: a line, a key."""
    unclear: tuple[str, ...]
    """Why it is not known whether other places ask for it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Found:
    """A distribution that is required, or an entry that may be one."""

    place: str
    name: str | None = None
    unclear: str = ""
    """Why it has no name, or, if it has one, why that alone is no requirement."""


def asked(path: str, wanted: str, read: Read) -> Asked:
    """Say where a file, and the files that it refers to, require a distribution.

    `wanted` may hold `*` for any text. `read` returns the content of a path of the tree, or None if
    it is no plain file. Constraints (`-c`) require nothing, so they are not counted. A constraints
    file is followed all the same, as it may refer to a requirements file.
    """
    content = read(path)
    found = (
        list(_of_file(path, content, read))
        if content is not None
        else [_Found(place=path, unclear="it is no plain file")]
    )
    where = [
        each.place
        for each in found
        if each.name is not None and not each.unclear and is_named(each.name, wanted)
    ]
    unclear = [
        f"{each.place}: {each.unclear}"
        for each in found
        if each.unclear and (each.name is None or is_named(each.name, wanted))
    ]
    return Asked(where=tuple(where), unclear=tuple(unclear))


def _of_file(path: str, content: bytes, read: Read) -> Iterator[_Found]:
    name = posixpath.basename(path)
    try:
        if name in {"METADATA", "PKG-INFO"}:
            yield from _of_metadata(content.decode("utf-8"), is_sdist=name == "PKG-INFO")
            return
        if name == "setup.cfg":
            yield from _of_setup(path, content.decode("utf-8"), read)
            return
        if name == "requires.txt" and posixpath.dirname(path).endswith(".egg-info"):
            yield from _of_egg(content.decode("utf-8"))
            return
        if name.endswith((".toml", ".lock")) or name == "Pipfile":
            yield from _of_project(path, content.decode("utf-8"), read)
            return
        text = decoded(content)
    except (UnicodeError, LookupError, ValueError) as error:
        yield _Found(place=path, unclear=f"it cannot be decoded as its readers do ({error})")
        return
    if posixpath.splitext(name)[1] in _OTHER:
        what = "requirements are not read from such a file, so it cannot be told what it asks for"
        yield _Found(place=path, unclear=what)
        return
    match RequirementsForm.LINES if name.endswith((".txt", ".in")) else form_of(text):
        case RequirementsForm.METADATA:
            yield from _of_metadata(text, is_sdist=False)
        case RequirementsForm.PROJECT:
            yield from _of_project(path, text, read)
        case RequirementsForm.LINES:
            yield from _of_lines(path, text, read, above=(path,), constraint=False)


def _declared(place: str, said: object) -> _Found:
    """Read one declaration; one that cannot be read may name any distribution."""
    requirement = requirement_of(said) if isinstance(said, str) else None
    if requirement is None:
        return _Found(place=place, unclear=f"{said!r} is no requirement that can be read")
    return _Found(place=place, name=requirement.name)


# Requirements files.


def _of_lines(
    path: str, text: str, read: Read, *, above: tuple[str, ...], constraint: bool
) -> Iterator[_Found]:
    via = f" of {path}" if len(above) > 1 else ""
    for entry in entries(text):
        place = f"line {entry.number}{via}"
        if entry.include is not None:
            yield from _of_include(path, entry, place, read, above)
        elif entry.named is not None and not constraint:
            requirement = entry.requirement
            yield _Found(
                place=place,
                name=requirement.name if requirement else None,
                unclear=entry.named.problem,
            )
        elif entry.named is not None and entry.named.refused:
            yield _Found(place=place, unclear=entry.named.problem)


def _of_include(
    path: str, entry: RequirementLine, place: str, read: Read, above: tuple[str, ...]
) -> Iterator[_Found]:
    named = entry.include or ""
    option = "-c" if entry.constraint else "-r"
    if _REMOTE.match(named) or "$" in named:
        yield _Found(place=place, unclear=f"`{option} {named}` is read from elsewhere")
        return
    target = posixpath.normpath(posixpath.join(posixpath.dirname(path), named))
    if target.startswith(("../", "/")) or target == "..":
        yield _Found(place=place, unclear=f"`{option} {named}` lies outside of the tree")
        return
    if target in above:
        yield _Found(
            place=place,
            unclear=(
                f"`{option} {named}` comes back to a file that is being read, which pip refuses"
            ),
        )
        return
    content = read(target)
    if content is None:
        yield _Found(place=place, unclear=f"`{option} {named}`: there is no plain file {target}")
        return
    try:
        text = decoded(content)
    except (UnicodeError, LookupError) as error:
        yield _Found(place=place, unclear=f"{target} cannot be decoded as pip does ({error})")
        return
    yield from _of_lines(target, text, read, above=(*above, target), constraint=entry.constraint)


# Metadata.


def _of_metadata(text: str, *, is_sdist: bool) -> Iterator[_Found]:
    header = metadata.fields(text)
    if not metadata.is_metadata(text):
        yield _Found(place="line 1", unclear="it does not begin with a header of core metadata")
    for field in header:
        place = f"line {text.count(chr(10), 0, field.start) + 1}"
        if field.name == metadata.REQUIRES:
            yield _declared(place, field.value)
        elif field.name == "requires" and (name := _NAME.match(field.value)):
            yield _Found(
                place=place,
                name=name[0],
                unclear="the obsolete field `Requires` names it, which installers do not read",
            )
        elif field.name == "dynamic" and field.value.lower() == metadata.REQUIRES and is_sdist:
            yield _Found(
                place=place,
                unclear=(
                    "`Dynamic: Requires-Dist`: only the build of the project says what it requires"
                ),
            )


def _of_egg(text: str) -> Iterator[_Found]:
    """Read the `requires.txt` of an `egg-info`.

    In it, declarations of an extra follow the name of the extra in brackets.
    """
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not line.strip().startswith(("#", "[")):
            yield _declared(f"line {number}", line)


# Projects.


def _of_project(path: str, text: str, read: Read) -> Iterator[_Found]:
    try:
        document = read_toml(text)
    except PatchConflictError as error:
        yield _Found(place=path, unclear=str(error))
        return
    if document and not KNOWN & document.keys():
        yield _Found(place=path, unclear="it has none of the tables that requirements stand in")
    for pattern in LISTS:
        for place, items in values(document, pattern):
            for item in items if isinstance(items, list) else [items]:
                if not (isinstance(item, dict) and item.keys() == {"include-group"}):
                    yield _declared(place, item)
    for pattern in (*TABLES, *SOURCES):
        why = "it says where the distribution would come from" if pattern in SOURCES else ""
        for place, table in values(document, pattern):
            names = [name for name in table if name != "python"] if isinstance(table, dict) else []
            yield from (_Found(place=f"{place}.{name}", name=name, unclear=why) for name in names)
    for key in ("package", "packages"):  # of a lock file
        locked = document.get(key)
        for each in locked if isinstance(locked, list) else []:
            yield _Found(place=key, name=str(each.get("name")) if isinstance(each, dict) else None)
    yield from _of_dynamic(path, document, read)


def _of_dynamic(path: str, document: dict[str, object], read: Read) -> Iterator[_Found]:
    for pattern in FILES:
        for place, named in values(document, pattern):
            for file in named if isinstance(named, list) else [named]:
                yield from _of_named(path, str(file), place, read)
    project = document.get("project")
    dynamic = project.get("dynamic") if isinstance(project, dict) else None
    for key, patterns in DYNAMIC.items():
        if (
            isinstance(dynamic, list)
            and key in dynamic
            and not any(list(values(document, pattern)) for pattern in patterns)
        ):
            yield _Found(
                place="project.dynamic",
                unclear=f"`{key}` are said by the build of the project, not by this file",
            )


def _of_named(path: str, file: str, place: str, read: Read) -> Iterator[_Found]:
    """Read a requirements file that a project names, relative to its own folder."""
    target = posixpath.normpath(posixpath.join(posixpath.dirname(path), file))
    content = read(target) if not target.startswith(("../", "/")) else None
    if content is None:
        yield _Found(place=place, unclear=f"there is no plain file {target} in the tree")
        return
    try:
        text = decoded(content)
    except (UnicodeError, LookupError) as error:
        yield _Found(place=place, unclear=f"{target} cannot be decoded ({error})")
        return
    yield from _of_lines(target, text, read, above=(path, target), constraint=False)


def _of_setup(path: str, text: str, read: Read) -> Iterator[_Found]:
    parser = configparser.RawConfigParser()
    # As setuptools reads them: a key may have dashes.
    parser.optionxform = (  # type: ignore[method-assign]
        lambda optionstr: optionstr.lower().replace("-", "_")
    )
    try:
        parser.read_string(text, source="the file")
    except configparser.Error as error:
        yield _Found(place=path, unclear=f"it cannot be read: {' '.join(str(error).split())}")
        return
    said = [("options", key) for key in ("install_requires", "setup_requires", "tests_require")]
    said += [
        ("options.extras_require", key)
        for key in (
            parser.options("options.extras_require")
            if parser.has_section("options.extras_require")
            else ()
        )
    ]
    for section, key in said:
        value = parser.get(section, key, fallback="").strip()
        place = f"{section}.{key}"
        if value.startswith("file:"):
            for file in value.removeprefix("file:").replace("\n", ",").split(","):
                yield from _of_named(path, file.strip(), place, read) if file.strip() else ()
            continue
        # As setuptools does: a declaration a line, or all on one with semicolons between.
        for line in value.splitlines() if "\n" in value else value.split(";"):
            said_there = line.partition(" #")[0].strip()
            if said_there and not said_there.startswith("#"):
                yield _declared(place, said_there)
