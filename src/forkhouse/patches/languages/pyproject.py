"""Change the declarations of a `pyproject.toml`.

They belong to the project (PEP 621), to its groups (PEP 735) or to its build (PEP 518).
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from forkhouse.core.errors import PatchConflictError
from forkhouse.patches import parts as layout
from forkhouse.patches.backends import Matched, UnprovenError
from forkhouse.patches.edits import KeyOperation
from forkhouse.patches.keypaths import path_said
from forkhouse.patches.languages import data, data_toml_change
from forkhouse.patches.languages.declarations import (
    Belongs,
    is_meant,
    is_named,
    replacement,
    requirement_of,
)
from forkhouse.patches.languages.projecttables import LISTS, TABLES, values
from forkhouse.patches.languages.tomlarrays import arrays, comments, read

if TYPE_CHECKING:
    from forkhouse.patches.backends import Splice, Step
    from forkhouse.patches.edits import RequirementChange
    from forkhouse.patches.languages.tomlarrays import Array


def belongs_to(path: tuple[str, ...]) -> Belongs | None:
    """Return what the declarations of an array belong to, or None if it holds none."""
    match path:
        case ("project", "dependencies"):
            return Belongs()
        case ("project", "optional-dependencies", extra):
            return Belongs(extras=frozenset({canonicalize_name(extra)}))
        case ("dependency-groups", group):
            return Belongs(group=canonicalize_name(group))
        case ("build-system", "requires"):
            return Belongs(build=True)
        case _:
            return None


def _target(change: RequirementChange) -> Belongs:
    """Return what a declaration that a change adds belongs to."""
    if change.group is not None:
        return Belongs(group=canonicalize_name(change.group))
    return (
        Belongs(extras=frozenset({canonicalize_name(change.extra)})) if change.extra else Belongs()
    )


def _declarations(text: str) -> dict[tuple[str, ...], Array]:
    """Return the arrays that hold declarations.

    Raises PatchConflictError if the grammar does not see the same as the reader.
    """
    found = {path: array for path, array in arrays(text).items() if belongs_to(path) is not None}
    for path, _ in _lists(read(text)):
        if belongs_to(path) is not None and path not in found:
            message = (
                f"Where the items of {'.'.join(path)} stand cannot be told. Use an `anchor`, in "
                "the language text."
            )
            raise PatchConflictError(message)
    return found


def declared(text: str, change: RequirementChange) -> list[Requirement]:
    """Return the declarations, in any version, of the distribution that a change adds.

    Those count that stand where the change would add one. Raises PatchConflictError.
    """
    wanted = canonicalize_name(Requirement(change.add or "").name)
    return [
        requirement
        for path, array in _declarations(text).items()
        if belongs_to(path) == _target(change)
        for item in array.items
        if isinstance(item, str)
        and (requirement := requirement_of(item)) is not None
        and canonicalize_name(requirement.name) == wanted
    ]


def change_project(text: str, change: RequirementChange) -> Matched:
    """Change declarations.

    Raises PatchConflictError for a text that is no TOML.
    """
    found = _declarations(text)
    if change.add is not None:
        target = next(
            (array for path, array in found.items() if belongs_to(path) == _target(change)), None
        )
        if target is None:
            return _with_list(text, change)
        like = text[slice(*target.parts.spans[-1])] if target.parts.spans else '"'
        return Matched(
            matches=1,
            splices=tuple(layout.added(text, target.parts, _quoted(change.add, like), "toml")),
        )
    splices: list[Splice] = []
    matches = 0
    for path, array in found.items():
        belongs = belongs_to(path) or Belongs()
        meant = [
            place
            for place, item in enumerate(array.items)
            if _meant(item, belongs, change) is not None
        ]
        matches += len(meant)
        splices += (
            _without(text, path, array, meant)
            if change.with_ is None
            else _with(text, array, meant, change)
        )
    if matches == 0:
        _refuse_elsewhere(text, change)
    return Matched(matches=matches, splices=tuple(sorted(splices)))


def _home(change: RequirementChange) -> tuple[str, ...]:
    """Return the key of the list that a change adds to, if the list does not exist yet."""
    if change.group is not None:
        return ("dependency-groups", change.group)
    return (
        ("project", "optional-dependencies", change.extra)
        if change.extra
        else ("project", "dependencies")
    )


def _with_list(text: str, change: RequirementChange) -> Matched:
    """Add the list of a project, an extra or a group, with its first declaration."""
    if why_not_added(text, change):
        return Matched(matches=0, splices=())
    operation = KeyOperation(add=path_said(_home(change)), value=[change.add])
    plan = data_toml_change.added(data.read(text, "toml"), operation)
    return Matched(
        matches=len(plan), splices=tuple(splice for each in plan for splice in each.splices)
    )


def why_not_added(text: str, change: RequirementChange) -> str:
    """Return why the list that a change adds to cannot be made, or an empty text if it can."""
    home = _home(change)
    project = read(text).get("project")
    if home[0] == "dependency-groups":
        return ""
    if not isinstance(project, dict):
        return (
            f"The file has no table [project] that could hold {'.'.join(home[1:])}; add it in the "
            "language toml, where the tool at work reads it."
        )
    dynamic = project.get("dynamic")
    if isinstance(dynamic, list) and home[1] in dynamic:
        return (
            f"The project calls its {home[1]} dynamic, so they stand in another file or table: "
            "edit that one."
        )
    if home[1] == "dependencies" and any(True for _ in values(read(text), TABLES[0])):
        return (
            f"The project has its dependencies in {'.'.join(TABLES[0])}: add a key there in the "
            "language toml."
        )
    return ""


def _refuse_elsewhere(text: str, change: RequirementChange) -> None:
    """Raise PatchConflictError if what was not found stands in a table of a tool."""
    if change.extra is not None or change.group is not None:
        return
    document = read(text)
    named = [
        (place, items if isinstance(items, dict | list) else [])
        for pattern in (*LISTS, *TABLES)
        for place, items in values(document, pattern)
    ]
    for place, items in named:
        names = [
            requirement.name
            for item in items
            if isinstance(item, str) and (requirement := requirement_of(item)) is not None
        ]
        if any(is_named(name, change.gone or "") for name in names):
            message = (
                f"'{change.gone}' stands in {place}, which is no table of a standard. Edit that "
                "key in the language toml."
            )
            raise PatchConflictError(message)


def _meant(item: object, belongs: Belongs, change: RequirementChange) -> Requirement | None:
    requirement = requirement_of(item) if isinstance(item, str) else None
    return (
        requirement
        if requirement is not None and is_meant(requirement.name, belongs, change)
        else None
    )


def _with(text: str, array: Array, meant: list[int], change: RequirementChange) -> list[Splice]:
    splices = []
    for place in meant:
        old = Requirement(str(array.items[place]))
        new = replacement(change, old, frozenset())
        if new != old:  # another spelling of the same requirement stays
            start, end = array.parts.spans[place]
            splices.append((start, end, _quoted(str(new), text[start:end])))
    return splices


def _without(text: str, path: tuple[str, ...], array: Array, meant: list[int]) -> list[Splice]:
    if len(meant) == 1:
        return layout.removed(text, array.parts, meant[0], "toml")
    if not meant:
        return []
    # Removals in one array touch each other's commas, so they are made one after the other.
    now = text
    for place in reversed(meant):
        now = _spliced(now, layout.removed(now, arrays(now)[path].parts, place, "toml"))
    return [(array.start, array.end, now[array.start : array.end + len(now) - len(text)])]


def _spliced(text: str, splices: list[Splice]) -> str:
    for start, end, new in sorted(splices, reverse=True):
        text = text[:start] + new + text[end:]
    return text


def _quoted(said: str, like: str) -> str:
    """Write a string in the quotes of another string, if its text allows them."""
    quote = next(
        quote for quote in ("'''", '"""', "'", '"') if like.startswith(quote) or quote == '"'
    )
    other = "'" if '"' in quote else '"'
    if quote[0] in said and other[0] not in said:
        # The quotes in a marker may be either.
        said = said.replace(quote[0], other[0])
    if quote[0] == "'" and "'" in said:
        quote = '"'
    escaped = said if quote[0] == "'" else re.sub(r'["\\]', r"\\\g<0>", said)
    return f"{quote}{escaped}{quote}"


def prove(step: Step, change: RequirementChange) -> None:
    """Raise UnprovenError unless only what is meant has changed, with all comments beside it kept.

    Python's own reader of TOML has to see that.
    """
    expected = read(step.before)
    removed = _expect(expected, change)
    after = read(step.after)
    # Where a key stands in its table means nothing in TOML.
    if json.dumps(_plain(expected), default=repr, sort_keys=True) != json.dumps(
        _plain(after), default=repr, sort_keys=True
    ):
        what = "Python would read other values there than the operation leaves."
        raise UnprovenError(
            what, text=step.after, position=step.splices[0][0] if step.splices else 0
        )
    old, new = comments(step.before), comments(step.after)
    left = iter(old)
    if len(old) - len(new) > removed or not all(comment in left for comment in new):
        what = "a comment beside the requirement would go, or change."
        raise UnprovenError(
            what, text=step.before, position=step.splices[0][0] if step.splices else 0
        )


def _expect(document: dict[str, object], change: RequirementChange) -> int:
    """Apply the operation to what was read, and return how many declarations it removes."""
    removed = 0
    if change.add is not None and not any(
        belongs_to(path) == _target(change) for path, _ in _lists(document)
    ):
        *tables, name = _home(change)
        holder: dict[str, Any] = document
        for table in tables:
            holder = holder.setdefault(table, {})
        holder[name] = []
    for path, items in _lists(document):
        belongs = belongs_to(path)
        if belongs is None:
            continue
        if change.add is not None:
            items.extend([change.add] if belongs == _target(change) else [])
            continue
        for place in reversed(range(len(items))):
            old = _meant(items[place], belongs, change)
            if old is None:
                continue
            if change.with_ is None:
                del items[place]
                removed += 1
            elif (new := replacement(change, old, frozenset())) != old:
                items[place] = str(new)
    return removed


def _lists(document: dict[str, object]) -> list[tuple[tuple[str, ...], list[object]]]:
    found: list[tuple[tuple[str, ...], list[object]]] = []
    for key, value in document.items():
        if isinstance(value, dict):
            found += [((key, *path), items) for path, items in _lists(value)]
        elif isinstance(value, list):
            found.append(((key,), value))
    return found


def _plain(value: object, path: tuple[str, ...] = ()) -> object:
    """Return values in a form in which all spellings of a requirement are equal."""
    if isinstance(value, dict):
        return {key: _plain(each, (*path, key)) for key, each in value.items()}
    if isinstance(value, list) and belongs_to(path) is not None:
        return [
            str(requirement_of(item) or item) if isinstance(item, str) else item for item in value
        ]
    return value


def unread(text: str) -> list[str]:
    """Return the declarations that cannot be read, or why the text is no TOML."""
    try:
        document = read(text)
    except PatchConflictError as error:
        return [str(error)]
    lists = [(path, items) for path, items in _lists(document) if belongs_to(path) is not None]
    return [
        f"{'.'.join(path)}: '{item}' is no requirement"
        for path, items in lists
        for item in items
        if isinstance(item, str) and requirement_of(item) is None
    ]
