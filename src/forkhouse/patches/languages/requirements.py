"""What a distribution requires: `pyproject.toml`, wheel metadata and requirements files, told apart by their contents."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from forkhouse.errors import PatchConflictError
from forkhouse.patches.languages import toml
from forkhouse.patches.languages.text import find

if TYPE_CHECKING:
    from collections.abc import MutableSequence

    from forkhouse.patches.edits import RequirementChange

__all__ = ["change_requirement", "find", "parses"]

_FIELD = "Requires-Dist: "
# What may stand at the end of a line of a requirements file: pip's own options, and a comment.
_TAIL = re.compile(r"(?:\s+--\S.*|\s*\\|\s+#.*)$")


def _is_metadata(text: str) -> bool:
    return text.startswith("Metadata-Version:")


def _is_pyproject(text: str) -> bool:
    return re.search(r"^\[(?:project|build-system|tool\.|dependency-groups)", text, re.MULTILINE) is not None


def parses(text: str, language: str) -> bool:
    """Say whether every declaration in the text can be read."""
    if _is_metadata(text):
        fields = text.partition("\n\n")[0].replace("\r\n", "\n").split("\n")
        return all(_requirement(line.removeprefix(_FIELD)) is not None for line in fields if line.startswith(_FIELD))
    return toml.parses(text, language) if _is_pyproject(text) else True


def _requirement(text: str) -> Requirement | None:
    try:
        return Requirement(text.strip())
    except InvalidRequirement:
        return None


def change_requirement(text: str, change: RequirementChange) -> tuple[str, int]:
    """Change declarations; return the text and how many matched. What is not a declaration stays as it is, byte for byte."""
    if _is_metadata(text):
        return _change_metadata(text, change)
    if _is_pyproject(text):
        return _change_pyproject(text, change)
    return _change_lines(text, change)


def _matches(requirement: Requirement | None, change: RequirementChange, extra: str | None) -> bool:
    wanted = canonicalize_name(change.remove or change.replace or "")
    of_extra = change.extra is None or (extra is not None and canonicalize_name(extra) == canonicalize_name(change.extra))
    return requirement is not None and canonicalize_name(requirement.name) == wanted and of_extra


def _replacement(change: RequirementChange, old: Requirement) -> Requirement:
    new = Requirement(change.with_ or "")
    new.marker = new.marker or old.marker
    return new


def _change_metadata(text: str, change: RequirementChange) -> tuple[str, int]:
    newline = "\r\n" if "\r\n" in text else "\n"
    header, blank, body = text.partition(newline * 2)
    lines = header.split(newline)
    if change.add is not None:
        extra = f'; extra == "{change.extra}"' if change.extra else ""
        return newline.join([*lines, f"{_FIELD}{change.add}{extra}"]) + blank + body, 1
    kept: list[str] = []
    matches = 0
    for line in lines:
        requirement = _requirement(line.removeprefix(_FIELD)) if line.startswith(_FIELD) else None
        of_extra = re.search(r"""extra == ["']([^"']+)["']""", str(requirement.marker)) if requirement and requirement.marker else None
        if requirement is None or not _matches(requirement, change, of_extra[1] if of_extra else None):
            kept.append(line)
            continue
        matches += 1
        if change.with_ is not None:
            kept.append(f"{_FIELD}{_replacement(change, requirement)}")
    return newline.join(kept) + blank + body, matches


def _change_pyproject(text: str, change: RequirementChange) -> tuple[str, int]:
    import tomlkit  # noqa: PLC0415  # start-up time
    from tomlkit.exceptions import TOMLKitError  # noqa: PLC0415

    try:
        document = tomlkit.parse(text)
    except (TOMLKitError, ValueError) as error:
        message = f"not TOML: {error}"
        raise PatchConflictError(message) from error
    project = document.get("project", {})
    lists: list[tuple[str | None, MutableSequence[str]]] = [(None, project.get("dependencies", []))]
    lists += [(extra, items) for extra, items in project.get("optional-dependencies", {}).items()]
    lists += [(None, document.get("build-system", {}).get("requires", []))]
    if change.add is not None:
        target = next((items for extra, items in lists if extra == change.extra), None)
        if target is None or (change.extra is None and "dependencies" not in project):
            return text, 0
        target.append(change.add)
        return tomlkit.dumps(document), 1
    matches = 0
    for extra, items in lists:
        for position in reversed(range(len(items))):
            requirement = _requirement(str(items[position]))
            if requirement is None or not _matches(requirement, change, extra):
                continue
            matches += 1
            if change.with_ is None:
                del items[position]
            else:
                items[position] = str(_replacement(change, requirement))
    return (tomlkit.dumps(document), matches) if matches else (text, 0)


def _change_lines(text: str, change: RequirementChange) -> tuple[str, int]:
    newline = "\r\n" if "\r\n" in text else "\n"
    if change.extra is not None:
        return text, 0
    if change.add is not None:
        gap = "" if not text or text.endswith(newline) else newline
        return f"{text}{gap}{change.add}{newline}", 1
    kept: list[str] = []
    matches = 0
    continued = False
    for line in text.splitlines(keepends=True):
        bare = line.rstrip("\r\n")
        if continued:  # hashes of a declaration that is gone
            continued = bare.rstrip().endswith("\\")
            continue
        tail = _TAIL.search(bare)
        declared = bare[: tail.start()] if tail else bare
        requirement = _requirement(declared) if declared.strip() and not declared.lstrip().startswith(("#", "-")) else None
        if requirement is None or not _matches(requirement, change, None):
            kept.append(line)
            continue
        matches += 1
        if change.with_ is not None:
            kept.append(line.replace(declared, str(_replacement(change, requirement)), 1))
        else:
            continued = bare.rstrip().endswith("\\")
    return "".join(kept), matches
