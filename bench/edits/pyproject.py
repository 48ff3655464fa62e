"""Requirements and entry points in a pyproject.toml.

`tomllib` reads the file; the library that pip carries (packaging) reads the requirements.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from typing import TYPE_CHECKING, Any

from pip._vendor.packaging.requirements import InvalidRequirement, Requirement
from pip._vendor.packaging.utils import canonicalize_name

from bench.edits.case import Case
from bench.edits.requirements import NEW, draw_change, equal, named, wanted_of
from bench.edits.stream import layout

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from bench.edits.data import Remark

Lists = dict[tuple[str, ...], list[str]]
"""Every list of declarations, by where it stands."""


def _lists(document: dict[str, Any]) -> Lists:
    project = document.get("project", {})
    places: Lists = {}
    if "dependencies" in project:
        places["project", "dependencies"] = project["dependencies"]
    for extra, items in project.get("optional-dependencies", {}).items():
        places["project", "optional-dependencies", extra] = items
    if "requires" in document.get("build-system", {}):
        places["build-system", "requires"] = document["build-system"]["requires"]
    for group, items in document.get("dependency-groups", {}).items():
        if all(isinstance(item, str) for item in items):
            places["dependency-groups", group] = items
    return places


def _is_shaped(document: dict[str, Any]) -> bool:
    """Say whether the tables of a project are tables.

    The tests of other programs have files in which they are not.
    """
    project = document.get("project", {})
    tables = [project, *(document.get(name, {}) for name in ("build-system", "dependency-groups"))]
    if isinstance(project, dict):
        tables += [project.get(name, {}) for name in ("optional-dependencies", "entry-points")]
    return all(isinstance(table, dict) for table in tables)


def _rest(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document without its lists of declarations."""
    project = {
        key: value
        for key, value in document.get("project", {}).items()
        if key not in {"dependencies", "optional-dependencies"}
    }
    other = {
        key: value for key, value in document.items() if key not in {"project", "dependency-groups"}
    }
    system = {
        key: value for key, value in document.get("build-system", {}).items() if key != "requires"
    }
    return {
        **other,
        "project": project,
        **({"build-system": system} if "build-system" in document else {}),
    }


def makers(
    text: str, remarks: Callable[[str], list[Remark]]
) -> list[Callable[[random.Random], Case | None]]:
    """Return what makes cases of a file.

    Nothing where it is no pyproject.toml, or one whose declarations cannot be read.
    """
    document = tomllib.loads(text.removeprefix("\ufeff"))
    if not _is_shaped(document):
        return []
    places = _lists(document)
    try:
        names = Counter(named(item) for items in places.values() for item in items)
    except InvalidRequirement:
        return []
    if not ({"project", "build-system"} & set(document)):
        return []
    comments = Counter(remark.text for remark in remarks(text))

    def check(
        expected: Callable[[Lists], str | None], *, spare: int
    ) -> Callable[[str], str | None]:
        def judge(after: str) -> str | None:
            try:
                found = tomllib.loads(after.removeprefix("\ufeff"))
            except tomllib.TOMLDecodeError as error:
                return f"the reader refuses the result: {error}"
            if _rest(found) != _rest(document):
                return "what is no declaration has changed"
            lost = comments - Counter(remark.text for remark in remarks(after))
            if lost.total() > spare:
                return f"a comment is lost | {next(iter(lost))!r}"
            return expected(_lists(found)) or layout(text, after)

        return judge

    def change(chance: random.Random) -> Case | None:
        name = chance.choice(sorted(names))
        action, operation, with_, keep = draw_change(name, names[name], chance)

        def expected(found: Lists) -> str | None:
            if set(found) != set(places):
                return "a list of declarations is gone, or another is there"
            for place, items in places.items():
                rest = list(found[place])
                for item in items:
                    if named(item) != name:
                        if not rest or rest.pop(0) != item:
                            return f"another declaration has changed | {item!r}"
                    elif action == "replace":
                        new = rest.pop(0) if rest else ""
                        if not new or not equal(new, wanted_of(item, with_, keep=keep)):
                            return (
                                f"the new declaration is not what was asked for | {item!r} became "
                                f"{new!r}"
                            )
                if rest:
                    return f"a declaration is there that nobody asked for | {rest[0]!r}"
            return None

        # A comment behind a declaration that goes may go with it.
        judge = check(expected, spare=names[name] if action == "remove" else 0)
        return Case(
            kind=f"requirement {action}", operation=operation, judge=judge, language="requirements"
        )

    def add(chance: random.Random) -> Case | None:
        new = chance.choice(NEW)
        extras = [place for place in places if place[:2] == ("project", "optional-dependencies")]
        place = chance.choice([("project", "dependencies"), *extras])
        if canonicalize_name(Requirement(new).name) in names or place not in places:
            return None

        def expected(found: Lists) -> str | None:
            for each, items in places.items():
                more = found.get(each, [])
                if each != place and more != items:
                    return "another list has changed"
                if each == place and (
                    [item for item in more if item in items] != items or len(more) != len(items) + 1
                ):
                    return "another declaration has changed"
                if each == place and not any(equal(item, Requirement(new)) for item in more):
                    return f"the new declaration is another | {more[-1]!r}"
            return None

        change: dict[str, object] = {
            "add": new,
            **({"extra": place[-1]} if place in extras else {}),
        }
        operation: dict[str, object] = {"requirement": change}
        return Case(
            kind="requirement add",
            operation=operation,
            judge=check(expected, spare=0),
            language="requirements",
        )

    found: list[Callable[[random.Random], Case | None]] = [add]
    found += [change, change] if names else []
    groups = document.get("project", {}).get("entry-points", {})
    return (
        [*found, lambda chance: _group(text, document, chance.choice(sorted(groups)))]
        if groups
        else found
    )


def _group(text: str, document: dict[str, Any], name: str) -> Case:
    groups = document["project"]["entry-points"]

    def judge(after: str) -> str | None:
        try:
            found = tomllib.loads(after.removeprefix("\ufeff"))
        except tomllib.TOMLDecodeError as error:
            return f"the reader refuses the result: {error}"
        seen = found.get("project", {}).pop("entry-points", {})
        rest = {
            **document,
            "project": {
                key: value for key, value in document["project"].items() if key != "entry-points"
            },
        }
        if seen != {key: value for key, value in groups.items() if key != name}:
            return "the reader sees other groups"
        return "what is no group has changed" if found != rest else layout(text, after)

    return Case(
        kind="remove group",
        operation={"remove": {"group": name}},
        judge=judge,
        language="entry-points",
    )
