"""Change what a distribution requires, in any file that says it.

The file is a `pyproject.toml`, wheel metadata or a requirements file. Its contents tell which.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from enum import Enum, auto
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from forkhouse.core.errors import PatchConflictError
from forkhouse.patches.backends import UnprovenError
from forkhouse.patches.edits import RequirementOperation
from forkhouse.patches.languages import metadata, pyproject, requirementsfile
from forkhouse.patches.languages.piplines import entries
from forkhouse.patches.languages.text import find

if TYPE_CHECKING:
    from forkhouse.patches.backends import Matched, Step
    from forkhouse.patches.edits import RequirementChange

__all__ = [
    "RequirementsForm",
    "change_requirement",
    "faults",
    "find",
    "form_of",
    "inner_lines",
    "is_named",
    "is_pyproject",
    "is_required",
    "nameless",
    "prove",
    "refers",
]

_TABLE = re.compile(r"^[ \t]*\[", re.MULTILINE)
_KEY = re.compile(r"^[ \t]*[\w\"'.-][^=#\n]*=[ \t]*[\"'\[{]", re.MULTILINE)
_KNOWN = {"project", "build-system", "tool", "dependency-groups"}
_KNOWN_TABLE = re.compile(
    r"^[ \t]*\[{1,2}[ \t]*(?:project|build-system|tool|dependency-groups)\b", re.MULTILINE
)


class RequirementsForm(Enum):
    """The form in which a file states requirements."""

    LINES = auto()
    """The file is a requirements file."""
    METADATA = auto()
    PROJECT = auto()
    """The file is a `pyproject.toml`."""


def form_of(text: str) -> RequirementsForm:
    """Return the form of a file by its contents."""
    if metadata.is_metadata(text):
        return RequirementsForm.METADATA
    return RequirementsForm.PROJECT if is_pyproject(text) else RequirementsForm.LINES


def is_pyproject(text: str) -> bool:
    """Say whether a text is a `pyproject.toml`.

    It is TOML with a table that such a file has, or a text that was meant to be.
    """
    if _TABLE.search(text) is None and _KEY.search(text) is None:
        return False
    try:
        return not _KNOWN.isdisjoint(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, RecursionError):
        return _KNOWN_TABLE.search(text) is not None


def faults(text: str, language: str) -> int:  # the protocol's signature
    """Return how many declarations in the text cannot be read."""
    return len(_unread(text, form_of(text)))


def _unread(text: str, form: RequirementsForm) -> list[str]:
    match form:
        case RequirementsForm.METADATA:
            return metadata.unread(text)
        case RequirementsForm.PROJECT:
            return pyproject.unread(text)
        case RequirementsForm.LINES:
            return requirementsfile.unread(text)


def change_requirement(text: str, change: RequirementChange) -> Matched:
    """Return the changes that a change of declarations makes in a file.

    Raises PatchConflictError if it cannot be done as it is meant, and if nothing is found while
    some declarations cannot be read.
    """
    form = form_of(text)
    if change.hashes and form is not RequirementsForm.LINES:
        message = "`hashes` are for requirements files; this file has no place for them."
        raise PatchConflictError(message)
    found = _changed(text, change, form)
    if found.matches == 0 and change.add is None and (unread := _unread(text, form)):
        message = (
            f"None is found, and '{change.gone}' may be one that cannot be read: {unread[0]}. Use "
            "an `anchor`, in the language text."
        )
        raise PatchConflictError(message)
    return found


def _changed(text: str, change: RequirementChange, form: RequirementsForm) -> Matched:
    match form:
        case RequirementsForm.METADATA:
            return metadata.change_metadata(text, change)
        case RequirementsForm.PROJECT:
            return pyproject.change_project(text, change)
        case RequirementsForm.LINES:
            return requirementsfile.change_lines(text, change)


def why_not_added(text: str, change: RequirementChange) -> str:
    """Return why a file has no place for an addition, or an empty text if it has one."""
    match form_of(text):
        case RequirementsForm.PROJECT:
            return pyproject.why_not_added(text, change)
        case RequirementsForm.METADATA:
            return (
                ""
                if change.group is None
                else "A dependency group is none of a wheel's, so metadata cannot name it."
            )
        case RequirementsForm.LINES:
            return (
                "A requirements file has no extras and no groups."
                if change.extra or change.group is not None
                else ""
            )


def is_named(text: str, change: RequirementChange) -> bool:
    """Say whether an addition is declared already at its place, in whatever version."""
    return bool(_declared(text, change))


def is_required(text: str, change: RequirementChange) -> bool:
    """Say whether an addition is required already at its place, with everything that it says.

    This is its version, its extras, its address and its condition.
    """
    if change.add is None:
        return False
    new = (
        metadata.added(change)
        if form_of(text) is RequirementsForm.METADATA
        else Requirement(change.add)
    )
    return any(_says_as_much(each, new) for each in _declared(text, change))


def _declared(text: str, change: RequirementChange) -> list[Requirement]:
    if change.add is None:
        return []
    match form_of(text):
        case RequirementsForm.METADATA:
            return metadata.declared(text, change) if change.group is None else []
        case RequirementsForm.PROJECT:
            return pyproject.declared(text, change)
        case RequirementsForm.LINES:
            return (
                requirementsfile.declared(text, change)
                if not change.extra and change.group is None
                else []
            )


def _says_as_much(one: Requirement, other: Requirement) -> bool:
    """Say whether a declaration requires at least as much of a distribution as another one.

    Which versions meet both cannot be decided here.
    """
    version = other.specifier in (SpecifierSet(), one.specifier) and other.url in (None, one.url)
    return (
        version
        and other.extras <= one.extras
        and (one.marker is None or str(one.marker) == str(other.marker))
    )


def nameless(text: str) -> Counter[str]:
    """Return the lines of a requirements file that require something without its name."""
    if form_of(text) is not RequirementsForm.LINES:
        return Counter()
    return Counter(
        entry.words
        for entry in entries(text)
        if entry.named is not None and entry.requirement is None
    )


def refers(text: str) -> bool:
    """Say whether other files, or a project's build, state some of the requirements."""
    match form_of(text):
        case RequirementsForm.LINES:
            # `file:` is the way of `setup.cfg` to refer to a file.
            return any(entry.include is not None for entry in entries(text)) or "file:" in text
        case RequirementsForm.METADATA:
            return any(field.name == "dynamic" for field in metadata.fields(text))
        case RequirementsForm.PROJECT:
            return re.search(r"(?m)^[ \t]*dynamic[ \t]*=", text) is not None


def inner_lines(text: str, language: str) -> set[int]:  # the protocol's signature
    """Return no lines: what is inserted into such a file is a value and not code."""
    return set()


def prove(step: Step) -> None:
    """Raise UnprovenError unless only the declarations that are meant have changed.

    A reader of the file's form has to see that.
    """
    if not isinstance(step.operation, RequirementOperation):
        return
    change = step.operation.requirement
    form = form_of(step.before)
    # A file whose only line goes, or that gets its first one, is a requirements file before and
    # after.
    if form_of(step.after) is not form:
        what = "the file would be of another form afterwards."
        raise UnprovenError(what, text=step.after, position=0)
    match form:
        case RequirementsForm.METADATA:
            metadata.prove(step, change)
        case RequirementsForm.PROJECT:
            pyproject.prove(step, change)
        case RequirementsForm.LINES:
            requirementsfile.prove(step, change)
