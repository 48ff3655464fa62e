"""Requirements, extras, groups and entry points whose list or table is not there yet, read by
`tomllib` and Python's metadata.
"""

from __future__ import annotations

import importlib.metadata
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from forkhouse.core.errors import PatchConflictError
from forkhouse.documents.reading import parse
from forkhouse.patches.edits import KeyedEdit, RequirementsEdit
from forkhouse.patches.operations import apply_edit, effect_present

if TYPE_CHECKING:
    from forkhouse.patches.edits import FileEdit

PROJECT = '[project]\nname = "x"  # its name\n\n# About a.\n[tool.a]\nb = 1\n'


def edit_of(language: str, operation: str) -> FileEdit:
    document = f"path: f\nlanguage: {language}\noperations:\n  - {operation}\n"
    if language == "requirements":
        return parse(RequirementsEdit, document, name="edit")
    return parse(KeyedEdit, document, name="edit")


def put(document: dict[str, Any], path: tuple[str, ...], value: object) -> dict[str, Any]:
    holder = document
    for step in path[:-1]:
        holder = holder.setdefault(step, {})
    holder[path[-1]] = value
    return document


@pytest.mark.parametrize(
    "text",
    [
        PROJECT,
        PROJECT.replace("\n", "\r\n"),
        PROJECT.rstrip("\n"),
        'project.name = "x"\nother = 1\n',
        '[project]\nname = "x"\n[project.urls]\na = "b"\n[tool.a]\nb = 1\n',
        '[project]\nname = "x"\noptional-dependencies = {}\nentry-points = {z = {a = "b:c"}}\n',
        '[project]\nname = "x"\noptional-dependencies.old = ["z"]\nentry-points.z.a = "b:c"\n',
        '[tool.a]\nb = 1\n\n[project.optional-dependencies]\nold = ["z"]\n\n[[tool.c]]\nd = 1\n',
    ],
)
@pytest.mark.parametrize(
    ("language", "operation", "path", "value"),
    [
        ("requirements", "requirement: {add: torch>2}", ("project", "dependencies"), ["torch>2"]),
        (
            "requirements",
            "requirement: {add: torch, extra: new}",
            ("project", "optional-dependencies", "new"),
            ["torch"],
        ),
        (
            "requirements",
            "requirement: {add: torch, extra: 'n.w'}",
            ("project", "optional-dependencies", "n.w"),
            ["torch"],
        ),
        (
            "requirements",
            "requirement: {add: torch, group: new}",
            ("dependency-groups", "new"),
            ["torch"],
        ),
        (
            "toml",
            "{add: project.optional-dependencies.new, value: [torch]}",
            ("project", "optional-dependencies", "new"),
            ["torch"],
        ),
        (
            "toml",
            "{add: \"project.entry-points.'x.y'.n\", value: 'a:b'}",
            ("project", "entry-points", "x.y", "n"),
            "a:b",
        ),
        ("toml", "{add: project.scripts.n, value: 'a:b'}", ("project", "scripts", "n"), "a:b"),
        (
            "toml",
            "{add: dependency-groups.new, value: [torch]}",
            ("dependency-groups", "new"),
            ["torch"],
        ),
    ],
)
def test_a_list_that_is_not_there_is_made(
    text: str, language: str, operation: str, path: tuple[str, ...], value: object
) -> None:
    edit = edit_of(language, operation)
    assert not effect_present(text, edit)
    done = apply_edit(text, edit)
    assert tomllib.loads(done) == put(tomllib.loads(text), path, value)
    assert effect_present(done, edit)
    assert [line for line in text.splitlines() if "#" in line] == [
        line for line in done.splitlines() if "#" in line
    ]
    assert ("\r\n" in text) == ("\r\n" in done)
    assert done.count("\n") == done.count("\r\n") or "\r\n" not in text


def test_it_stands_with_the_tables_of_the_project() -> None:
    done = apply_edit(PROJECT, edit_of("requirements", "requirement: {add: torch, extra: new}"))
    assert done == PROJECT.replace(
        "its name\n", 'its name\n\n[project.optional-dependencies]\nnew = ["torch"]\n'
    )


def test_metadata_gets_the_extra_too() -> None:
    edit = edit_of(
        "requirements", "requirement: {add: \"torch; python_version > '3'\", extra: new}"
    )
    done = apply_edit("Metadata-Version: 2.1\nName: x\n\nRequires-Dist: told\n", edit)

    class Told(importlib.metadata.Distribution):
        def read_text(self, filename: str) -> str | None:
            return done if filename == "METADATA" else None

        def locate_file(self, path: object) -> Any:
            raise FileNotFoundError(path)

    assert Told().metadata.get_all("Provides-Extra") == ["new"]
    assert Told().requires == ['torch; python_version > "3" and extra == "new"']
    assert done.endswith("\n\nRequires-Dist: told\n")
    assert effect_present(done, edit)


@pytest.mark.parametrize(
    ("language", "operation", "text", "why"),
    [
        ("requirements", "requirement: {add: a}", "[tool.b]\nc = 1\n",
         r"no table \[project\] that could hold dependencies"),
        ("requirements", "requirement: {add: a}",
         '[project]\nname = "x"\ndynamic = ["dependencies"]\n', "calls its dependencies dynamic"),
        ("toml", "{add: project.scripts.a, value: 'b:c'}",
         '[project]\nname = "x"\ndynamic = ["scripts"]\n', "calls its scripts dynamic"),
        ("requirements", "requirement: {add: a, extra: b}",
         '[project]\ndynamic = ["optional-dependencies"]\n', "calls its optional-dependencies dyn"),
        ("requirements", "requirement: {add: a}",
         '[project]\nname = "x"\n[tool.poetry.dependencies]\nb = "*"\n',
         "in tool.poetry.dependencies: add a key"),
        ("requirements", "requirement: {add: a, group: b}", "Metadata-Version: 2.1\nName: x\n",
         "group is none of a wheel's"),
        ("requirements", "requirement: {add: a, extra: b}", "c\n",
         "A requirements file has no extras"),
        ("toml", "{add: tool.b.c, value: 1}", "[tool.a]\n",
         "There is no tool.b that could hold c. .* `add: tool.b` with a mapping"),
        ("yaml", "{add: a.b.c, value: 1}", "a:\n  d: 1\n", "There is no a.b that could hold c"),
        ("json", "{add: a.b.c.d, value: 1}", '{"a": {}}', "There is no a.b that could hold d"),
        ("yaml", "{set: a.b, value: 1}", "a:\n  d: 1\n", "a has no key b"),
        ("json", "{set: a.2, value: 1}", '{"a": [1]}',
         "a is a list of 1, counted from 0, and has no 2"),
    ],
)  # fmt: skip
def test_where_none_can_be_made_the_reason_says_so(
    language: str, operation: str, text: str, why: str
) -> None:
    with pytest.raises(PatchConflictError, match=why):
        apply_edit(text, edit_of(language, operation))


@pytest.mark.parametrize(
    ("language", "text", "now"),
    [("yaml", "a:\n  b.c: 1\n", "a:\n  b.c: 2\n"), ("toml", "[a]\n'b.c' = 1\n", "[a]\n'b.c' = 2\n"),
     ("json", '{"a": {"b.c": 1}}', '{"a": {"b.c": 2}}')],
)  # fmt: skip
@pytest.mark.parametrize("path", ["a.'b.c'", 'a."b.c"', "'a'.\"b.c\"", "\"a\".'b.c'"])
def test_a_step_with_dots_stands_in_quotes_of_either_kind(
    language: str, path: str, text: str, now: str
) -> None:
    said = path.replace('"', '\\"')
    assert apply_edit(text, edit_of(language, f'{{set: "{said}", value: 2}}')) == now
