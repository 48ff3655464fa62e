"""Change entry points in a wheel's `entry_points.txt` or in a `pyproject.toml`.

In `entry_points.txt`, a group stands under its name in brackets. In `pyproject.toml`, it is a
table.

The format of the file is that of packaging.python.org, "Entry points specification": an INI file in
which only `=` divides, as `configparser` reads it. Installers use `importlib.metadata`, which reads
it in its own way: any line in brackets is a name, no `;` begins a comment, and no line continues
the one before it. A change is proven with both readers, or with the first alone if the second
cannot read the file.
"""

from __future__ import annotations

import configparser
import importlib.metadata
from itertools import accumulate
from typing import TYPE_CHECKING

from forkhouse.core.errors import PatchConflictError
from forkhouse.patches.backends import Matched, UnprovenError
from forkhouse.patches.edits import EntryPointsOperation
from forkhouse.patches.keypaths import key_steps
from forkhouse.patches.languages import keyed, toml
from forkhouse.patches.languages.requirements import is_pyproject
from forkhouse.patches.languages.text import find
from forkhouse.patches.languages.tomlarrays import read

if TYPE_CHECKING:
    from pathlib import Path

    from forkhouse.patches.backends import Splice, Step

__all__ = ["faults", "find", "inner_lines", "prove", "remove_group"]

_OWN_TABLES = {"console_scripts": "project.scripts", "gui_scripts": "project.gui-scripts"}
"""Groups that have a table of their own in a `pyproject.toml` (PEP 621)."""


def remove_group(text: str, group: str) -> Matched:
    """Remove a group with its lines and with the comment directly above its name.

    A group that is written in several parts is removed as a whole. Raises PatchConflictError for a
    text that holds no entry points.
    """
    if is_pyproject(text):
        return toml.without_table(text, _table_of(read(text), group))
    lines = text.splitlines(keepends=True)
    starts = [0, *accumulate(map(len, lines))]
    heads = [
        number
        for number, line in enumerate(lines)
        if line.strip().startswith("[") and line.strip().endswith("]")
    ]
    splices: list[Splice] = []
    for head, following in zip(heads, [*heads, len(lines)][1:], strict=True):
        if lines[head].strip().strip("[]") == group:
            first, last = _commented(lines, head), _commented(lines, following)
            if (
                first == head
                and head > 0
                and lines[head - 1].startswith(("#", ";"))
                and not lines[last - 1].strip()
            ):
                last -= 1  # the comment on the whole file stays apart from what comes next
            splices.append((starts[first], starts[last], ""))
    return Matched(matches=min(len(splices), 1), splices=tuple(splices))


def _table_of(document: dict[str, object], group: str) -> str:
    """Return the path of a group's table in a `pyproject.toml`."""
    project = document.get("project")
    named = project.get("entry-points") if isinstance(project, dict) else None
    if group in _OWN_TABLES and not (isinstance(named, dict) and group in named):
        return _OWN_TABLES[group]
    return f'project.entry-points."{group}"'


def _commented(lines: list[str], head: int) -> int:
    """Return the first line of the comment directly above a line.

    A comment at the top of the file describes the whole file and is left out.
    """
    first = head
    while first > 0 and head < len(lines) and lines[first - 1].startswith(("#", ";")):
        first -= 1
    return head if first == 0 else first


class _Text(importlib.metadata.Distribution):
    """Entry points that are in no file."""

    def __init__(self, text: str) -> None:
        self.text = text

    def read_text(self, filename: str) -> str | None:
        return self.text if filename == "entry_points.txt" else None

    def locate_file(self, path: object) -> Path:
        raise FileNotFoundError(path)


def _installed(text: str) -> list[tuple[str, str, str]] | None:
    """Read entry points as installers do, or return None if they cannot."""
    try:
        return [(point.group, point.name, point.value) for point in _Text(text).entry_points]
    except (ValueError, TypeError):
        return None


def _specified(text: str) -> list[tuple[str, list[tuple[str, str]]]]:
    """Read entry points as the specification says. Raises PatchConflictError for what is none."""
    parser = configparser.RawConfigParser(delimiters=("=",), strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        parser.read_string(text, source="the file")
    except configparser.Error as error:
        message = f"no entry points: {' '.join(str(error).split())}"
        raise PatchConflictError(message) from error
    return [(section, list(parser.items(section))) for section in parser.sections()]


def faults(text: str, language: str) -> int:  # the protocol's signature
    """Return how many places cannot be read; in an `entry_points.txt`, count 0 or 1."""
    if is_pyproject(text):
        return keyed.faults(text, "toml")
    try:
        _specified(text)
    except PatchConflictError:
        return 1
    return 0


def inner_lines(text: str, language: str) -> set[int]:  # the protocol's signature
    """Return no lines: what is inserted into such a file is a value and not code."""
    return set()


def prove(step: Step) -> None:
    """Raise UnprovenError unless the readers see that the group is gone, and all else as it was."""
    if not isinstance(step.operation, EntryPointsOperation):
        return
    group = step.operation.remove.group
    position = step.splices[0][0] if step.splices else 0
    if is_pyproject(step.before):
        _prove_project(step, group)
        return
    installed = _installed(step.before)
    try:
        expected = [section for section in _specified(step.before) if section[0] != group]
        same = _specified(step.after) == expected
    except PatchConflictError as error:
        raise UnprovenError(str(error), text=step.before, position=position) from error
    same = same and (
        installed is None
        or _installed(step.after) == [point for point in installed if point[0] != group]
    )
    if not same:
        what = (
            f"what is left is not what the file held but '{group}': its readers do not agree on "
            "where a group begins or ends."
        )
        raise UnprovenError(what, text=step.before, position=position)


def _prove_project(step: Step, group: str) -> None:
    expected, after = read(step.before), read(step.after)
    _drop(expected, key_steps(_table_of(expected, group)), after)
    if after != expected:
        what = "Python would read other values there than the operation leaves."
        raise UnprovenError(
            what, text=step.after, position=step.splices[0][0] if step.splices else 0
        )


def _drop(holder: dict[str, object], steps: tuple[str, ...], after: dict[str, object]) -> None:
    """Remove a table from what was read, and the tables that existed only by its header."""
    first, *rest = steps
    inner, left = holder.get(first), after.get(first, {})
    if not rest:
        holder.pop(first, None)
    elif isinstance(inner, dict) and isinstance(left, dict):
        _drop(inner, tuple(rest), left)
        if not inner and first not in after:
            del holder[first]
