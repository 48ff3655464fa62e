"""What a distribution requires: `pyproject.toml`, wheel metadata and requirements files, told apart by their contents."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from packaging.markers import Marker
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from forkhouse.patches.edits import RequirementChange
from forkhouse.patches.languages import Matched, newline_of, toml, whole
from forkhouse.patches.languages.text import find

if TYPE_CHECKING:
    from collections.abc import MutableSequence

    from tomlkit import TOMLDocument

    from forkhouse.patches.languages import Step

__all__ = ["change_requirement", "faults", "find", "is_pyproject", "is_required", "requires"]

_FIELD = "Requires-Dist:"
_EXTRA = re.compile(r"""extra\s*==\s*["']([^"']+)["']|["']([^"']+)["']\s*==\s*extra""")
# What may stand at the end of a line of a requirements file: pip's own options, and a comment.
_TAIL = re.compile(r"\s(?:--\S|\\\s*+$|#)")


def is_pyproject(text: str) -> bool:
    """Say whether a text is a `pyproject.toml`, by its tables."""
    return re.search(r"^\[(?:project|build-system|tool\.|dependency-groups)", text, re.MULTILINE) is not None


def _is_metadata(text: str) -> bool:
    return text.startswith("Metadata-Version:")


def faults(text: str, language: str) -> int:
    """Return how many declarations in the text cannot be read."""
    if _is_metadata(text):
        fields = [line for line in _header(text) if line.startswith(_FIELD)]
        return sum(_requirement(line.removeprefix(_FIELD)) is None for line in fields)
    if is_pyproject(text):
        return toml.faults(text, language)
    declared = [_declared(line) for line in text.split("\n")]
    return sum(line.strip() != "" and not line.lstrip().startswith(("#", "-")) and _requirement(line) is None for line in declared)


def _requirement(text: str) -> Requirement | None:
    try:
        return Requirement(text.strip())
    except (InvalidRequirement, RecursionError):
        return None


def change_requirement(text: str, change: RequirementChange) -> Matched:
    """Change declarations. What is not a declaration stays as it is, byte for byte."""
    if _is_metadata(text):
        return whole(text, *_change_metadata(text, change))
    if is_pyproject(text):
        return toml.change_document(text, lambda document: _change_pyproject(document, change))
    return whole(text, *_change_lines(text, change))


def is_required(text: str, change: RequirementChange) -> bool:
    """Say whether what a change adds is declared already, in whatever version."""
    if change.add is None:
        return False
    named = change.model_copy(update={"add": None, "remove": Requirement(change.add).name})
    if change.extra is None and (_is_metadata(text) or is_pyproject(text)):
        # A declaration of some extra is not the one that is meant.
        named = named.model_copy(update={"extra": ""})
    return change_requirement(text, named).matches > 0


def requires(text: str, name: str) -> bool:
    """Say whether a distribution is asked for at all, in whatever version and for whatever extra.

    Raises PatchConflictError for a `pyproject.toml` that cannot be read.
    """
    wanted = RequirementChange(remove=name)
    if is_pyproject(text) and not _is_metadata(text):
        return any(_matches(_requirement(str(item)), wanted, extras) for extras, items in _lists(toml.read(text)) for item in items)
    return change_requirement(text, wanted).matches > 0


def _matches(requirement: Requirement | None, change: RequirementChange, extras: set[str]) -> bool:
    """Say whether a declaration, which belongs to some extras or to none, is the one meant; an empty extra means none."""
    if requirement is None or not fnmatchcase(canonicalize_name(requirement.name), canonicalize_name(change.gone or "")):
        return False
    if change.extra is None:
        return True
    return canonicalize_name(change.extra) in extras if change.extra else not extras


def _replacement(change: RequirementChange, old: Requirement, extras: set[str]) -> Requirement:
    new = Requirement(change.with_ or "")
    if change.keep_version:
        new.specifier, new.url = old.specifier, old.url
    if new.marker is None:
        new.marker = old.marker
    elif extras and not _extras(new):
        # A new condition must not move the declaration out of its extra.
        named = " or ".join(f'extra == "{extra}"' for extra in sorted(extras))
        new.marker = Marker(f"({new.marker}) and ({named})")
    return new


def _extras(requirement: Requirement | None) -> set[str]:
    if requirement is None or requirement.marker is None:
        return set()
    return {canonicalize_name(left or right) for left, right in _EXTRA.findall(str(requirement.marker))}


def _header(text: str) -> list[str]:
    """Return the lines of a metadata file, with their ends, up to the empty one that its description follows."""
    lines = text.splitlines(keepends=True) if "\n" not in text else re.findall(r"[^\n]*\n|[^\n]+", text)
    empty = next((position for position, line in enumerate(lines) if not line.strip("\r\n")), len(lines))
    return lines[:empty]


def _change_metadata(text: str, change: RequirementChange) -> tuple[str, int]:
    header = _header(text)
    body = text[sum(map(len, header)) :]
    newline = "\r\n" if header[0].endswith("\r\n") else "\n"
    if change.add is not None:
        new = Requirement(change.add)
        if change.extra is not None:
            provided = {canonicalize_name(line.partition(":")[2].strip()) for line in header if line.startswith("Provides-Extra:")}
            if canonicalize_name(change.extra) not in provided:
                return text, 0
            marker = f'extra == "{change.extra}"'
            new.marker = Marker(f"({new.marker}) and {marker}" if new.marker else marker)
        gap = "" if header[-1].endswith("\n") else newline
        return f"{''.join(header)}{gap}{_FIELD} {new}{newline}{body}", 1
    kept: list[str] = []
    matches = 0
    for line in header:
        requirement = _requirement(line.removeprefix(_FIELD)) if line.startswith(_FIELD) else None
        extras = _extras(requirement)
        if requirement is None or not _matches(requirement, change, extras):
            kept.append(line)
            continue
        matches += 1
        if change.with_ is not None:
            new = _replacement(change, requirement, extras)
            end = line[len(line.rstrip("\r\n")) :]
            # What says the same in another spelling stays as it is.
            kept.append(line if new == requirement else f"{_FIELD} {new}{end}")
    return "".join(kept) + body, matches


def _lists(document: TOMLDocument) -> list[tuple[set[str], MutableSequence[str]]]:
    """Return the lists of declarations that a pyproject.toml has, each with the extra it belongs to."""
    project = document.get("project", {})
    lists: list[tuple[set[str], MutableSequence[str]]] = []
    if isinstance(project, dict):
        lists.append((set(), project.get("dependencies", [])))
        optional = project.get("optional-dependencies", {})
        lists += [({canonicalize_name(extra)}, items) for extra, items in (optional.items() if isinstance(optional, dict) else ())]
    system = document.get("build-system", {})
    lists += [(set(), system.get("requires", []))] if isinstance(system, dict) else []
    return [(extra, items) for extra, items in lists if isinstance(items, list)]


def _change_pyproject(document: TOMLDocument, change: RequirementChange) -> int:
    import tomlkit  # noqa: PLC0415  # start-up time

    project = document.get("project", {})
    lists = _lists(document)
    if change.add is not None:
        wanted = {canonicalize_name(change.extra)} if change.extra else set()
        target = next((items for extras, items in lists if extras == wanted), None)
        if target is None or (not wanted and "dependencies" not in project):
            return 0
        target.append(change.add)
        return 1
    matches = 0
    for extras, items in lists:
        for position in reversed(range(len(items))):
            requirement = _requirement(str(items[position]))
            if requirement is None or not _matches(requirement, change, extras):
                continue
            matches += 1
            if change.with_ is None:
                del items[position]
            elif (new := _replacement(change, requirement, set())) != requirement:
                said = str(new)
                # The quotes of the file stay, where the text allows them.
                old = items[position]
                literal = isinstance(old, tomlkit.items.String) and old.as_string().startswith("'") and "'" not in said
                items[position] = tomlkit.string(said, literal=literal)
    return matches


def _declared(line: str) -> str:
    """Return the declaration on a line of a requirements file, without pip's options and comments."""
    tail = _TAIL.search(line)
    return line[: tail.start()] if tail else line


def _change_lines(text: str, change: RequirementChange) -> tuple[str, int]:
    newline = newline_of(text)
    if change.extra:
        return text, 0
    if change.add is not None:
        gap = "" if not text or text.endswith("\n") else newline
        return f"{text}{gap}{change.add}{newline}", 1
    kept: list[str] = []
    matches = 0
    continued = False
    for line in re.findall(r"[^\n]*\n|[^\n]+", text):
        bare = line.rstrip("\r\n")
        if continued:  # hashes of a declaration that is gone
            continued = bare.rstrip().endswith("\\")
            continue
        declared = _declared(bare).rstrip()
        requirement = _requirement(declared) if declared.strip() and not declared.lstrip().startswith(("#", "-")) else None
        if requirement is None or not _matches(requirement, change, set()):
            kept.append(line)
            continue
        matches += 1
        if change.with_ is not None:
            new = _replacement(change, requirement, set())
            kept.append(line if new == requirement else line.replace(declared.lstrip(), str(new), 1))
        else:
            continued = bare.rstrip().endswith("\\")
    return "".join(kept), matches


def inner_lines(text: str, language: str) -> set[int]:  # noqa: ARG001  # the protocol's signature
    """Return none: what is put into such a file is a value, and no code."""
    return set()


def prove(step: Step) -> None:  # the protocol's signature
    """Raise UnprovenError unless only what was meant has changed."""
