"""Entries of YAML, JSON and TOML that are inserted beside others.

What comes of it by bytes, as PyYAML, `json` and `tomllib` read it.
"""

from __future__ import annotations

import json
import tomllib
from typing import Any

import pytest
import yaml

from forkhouse.core.errors import PatchConflictError
from forkhouse.documents.reading import parse
from forkhouse.patches.edits import KeyedEdit
from forkhouse.patches.operations import apply_edit, effect_present

YAML = """# The head.

a: 1  # one
# About b.
b: 2

# About l.
  # More of it.
l:
  # The first.
  - x
  # The second.
  - y: 1
    # Of z.
    z: 2
"""
JSON = """{
  "a": 1,
  "b": {"c": 1, "d": 2},
  "l": [
    1,
    {
      "e": null
    }
  ],
  "m": [1, 2]
}
"""
TOML = """# The head.
a = 1
# About l.
l = [
  1,  # one
  # About two.
  2,
]
m = {x = 1, y = 2}

# About t.
[t]
# Of u.
u = 1
"""


def edit_of(language: str, place: str, key: str, text: str) -> KeyedEdit:
    operation = f"insert: {{{place}: {{key: {key}}}, text: {json.dumps(text)}}}"
    return parse(
        KeyedEdit, f"path: f\nlanguage: {language}\noperations:\n  - {operation}\n", name="edit"
    )


def beside(tree: Any, key: str, new: list[Any], *, before: bool) -> Any:
    """Return what a reader has to see when items or pairs are inserted."""
    *steps, last = key.split(".")
    holder = tree
    for step in steps:
        holder = holder[int(step) if isinstance(holder, list) else step]
    if isinstance(holder, list):
        at = int(last) + (not before)
        holder[at:at] = new
    else:
        pairs = list(holder.items())
        at = [name for name, _ in pairs].index(last) + (not before)
        holder.clear()
        holder.update([*pairs[:at], *new, *pairs[at:]])
    return tree


def same(one: Any, other: Any) -> bool:
    """Say whether two trees are the same, the order of keys with them."""
    return json.dumps(one) == json.dumps(other)


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("key", ["a", "b", "l", "l.0", "l.1", "l.1.z"])
def test_yaml_goes_above_the_comments_over_a_key(key: str, newline: str, *, before: bool) -> None:
    old = YAML.replace("\n", newline)
    listed = key[-1].isdigit()
    edit = edit_of(
        "yaml", "before" if before else "after", key, "- {n: 1}" if listed else "n:\n  - 1\n"
    )
    done = apply_edit(old, edit)
    assert same(
        yaml.safe_load(done),
        beside(yaml.safe_load(old), key, [{"n": 1}] if listed else [("n", [1])], before=before),
    )
    lines, now = old.split(newline), done.split(newline)
    assert [line for line in now if line in lines] == lines
    for number, line in enumerate(lines):
        if line.lstrip().startswith("#") and lines[number + 1]:
            assert now[now.index(line) + 1] == lines[number + 1]  # what a comment stands over
    assert effect_present(done, edit)
    with pytest.raises(PatchConflictError):
        apply_edit(done, edit)


def test_an_item_stands_above_the_comment_and_as_far_to_the_right() -> None:
    assert "l:\n  - n\n  # The first.\n  - x\n" in apply_edit(
        YAML, edit_of("yaml", "before", "l.0", "- n")
    )
    assert "\n\nn: 1\n# About l.\n  # More of it.\nl:\n" in apply_edit(
        YAML, edit_of("yaml", "before", "l", "n: 1")
    )
    assert "  - n: 1\n    y: 1\n" in apply_edit(YAML, edit_of("yaml", "before", "l.1.y", "n: 1"))
    assert (
        apply_edit("# The head.\na: 1\n", edit_of("yaml", "before", "a", "n: 1"))
        == "# The head.\nn: 1\na: 1\n"
    )


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize(
    "key", ["a", "b", "b.c", "b.d", "l", "l.0", "l.1", "l.1.e", "m", "m.0", "m.1"]
)
def test_json_gets_its_commas(key: str, *, before: bool) -> None:
    for old in (
        JSON,
        json.dumps(json.loads(JSON)),
        json.dumps(json.loads(JSON), separators=(",", ":")),
        JSON.replace("\n", "\r\n"),
    ):
        listed = key[-1].isdigit()
        for text in ("[9]" if listed else '"n": [9]', "[9],\n" if listed else '"n": [9],'):
            edit = edit_of("json", "before" if before else "after", key, text)
            done = apply_edit(old, edit)
            assert same(
                json.loads(done),
                beside(json.loads(old), key, [[9]] if listed else [("n", [9])], before=before),
            )
            assert effect_present(done, edit)
            with pytest.raises(PatchConflictError):
                apply_edit(done, edit)


@pytest.mark.parametrize(
    ("place", "key", "text", "new"),
    [
        ("before", "b", '"n": 1', JSON.replace('  "b"', '  "n": 1,\n  "b"')),
        ("after", "m", '"n": 1', JSON.replace("[1, 2]\n", '[1, 2],\n  "n": 1\n')),
        ("after", "l.1", "9", JSON.replace("    }\n  ],", "    },\n    9\n  ],")),
        ("before", "m.1", "9", JSON.replace("[1, 2]", "[1, 9, 2]")),
        (
            "after",
            "a",
            '"n": {\n  "o": 1\n},\n"p": 2',
            JSON.replace('"a": 1,\n', '"a": 1,\n  "n": {\n    "o": 1\n  },\n  "p": 2,\n'),
        ),
    ],
)
def test_json_keeps_its_layout(place: str, key: str, text: str, new: str) -> None:
    assert apply_edit(JSON, edit_of("json", place, key, text)) == new


def test_comments_in_json_stay_with_what_they_stand_over() -> None:
    old = '{\n  // head\n  "a": 1, // one\n  // about b\n  "b": 2,\n}\n'
    assert apply_edit(old, edit_of("json", "before", "b", '"n": 1')) == old.replace(
        "  // about b", '  "n": 1,\n  // about b'
    )
    assert apply_edit(old, edit_of("json", "after", "a", '"n": 1')) == old.replace(
        "  // about b", '  "n": 1,\n  // about b'
    )
    assert apply_edit(old, edit_of("json", "after", "b", '"n": 1')) == old.replace(
        "2,\n", '2,\n  "n": 1,\n'
    )


@pytest.mark.parametrize(
    ("place", "key", "text", "old", "new"),
    [
        ("before", "l.1", "9", "  # About two.", "  9,\n  # About two."),
        ("after", "l.0", "9,", "  # About two.", "  9,\n  # About two."),
        ("after", "l.1", "9", "  2,\n", "  2,\n  9,\n"),
        ("before", "m.y", "n = 1", "{x = 1, y", "{x = 1, n = 1, y"),
        ("before", "l", "n = 1", "# About l.", "n = 1\n# About l."),
        ("before", "t.u", "n = 1", "# Of u.", "n = 1\n# Of u."),
        ("after", "t.u", "n = 1", "u = 1\n", "u = 1\nn = 1\n"),
    ],
)
def test_toml_too(place: str, key: str, text: str, old: str, new: str) -> None:
    done = apply_edit(TOML, edit_of("toml", place, key, text))
    assert done == TOML.replace(old, new)
    tomllib.loads(done)


@pytest.mark.parametrize(
    ("language", "old", "key", "text", "why"),
    [
        ("json", JSON, "b", '"a": 1', "has a key that the mapping has already"),
        (
            "json",
            JSON,
            "b",
            '"n": 1, "n": 2',
            "has a key that the mapping has already, or twice. Use `set`",
        ),
        ("yaml", YAML, "b", "a: 1", "has a key that the mapping has already"),
        (
            "json",
            JSON,
            "b",
            "9",
            "9 is not a key with its value of json as it has to be written there",
        ),
        ("json", JSON, "m.0", '"n": 1', "is not an item of a list of json"),
        (
            "yaml",
            YAML,
            "l.0",
            "n: 1",
            "is not `- ITEM`, which is what stands where it is to be inserted",
        ),
        ("yaml", YAML, "b", "- n", "is not `KEY: VALUE`"),
        ("yaml", YAML, "b", "# n", "is not `KEY: VALUE`"),
        ("yaml", YAML, "b", "' '", "is not `KEY: VALUE`"),
        ("yaml", "a: &x\n  b: 1\nc: *x\n", "a.b", "n: 1", "belongs to the anchor &x"),
        ("json", JSON, "l.0", "1", "would add what is there already"),
    ],
)
def test_what_is_no_entry_there_is_refused(
    language: str, old: str, key: str, text: str, why: str
) -> None:
    with pytest.raises(PatchConflictError, match=why):
        apply_edit(old, edit_of(language, "before", key, text))


TAIL = "a:\n  c: 1\n  # The tail of a.\n{}b: 2\n"


@pytest.mark.parametrize(("place", "key"), [("before", "b"), ("after", "a")])
@pytest.mark.parametrize("head", ["", "# The head of b.\n"])
def test_a_comment_that_is_indented_as_what_is_above_it_stays_there(
    place: str, key: str, head: str
) -> None:
    done = apply_edit(TAIL.format(head), edit_of("yaml", place, key, "n: 1"))
    assert done == TAIL.format(f"n: 1\n{head}")


@pytest.mark.parametrize("indent", range(1, 7))
@pytest.mark.parametrize("step", range(1, 4))
def test_a_comment_is_inner_or_not_by_its_column(indent: int, step: int) -> None:
    out, deep = " " * indent, " " * (indent + step)
    head, new, end = f"k:\n{out}a:\n{deep}x: 1\n", f"{out}z: 1\n", f"{out}b: 1\n"
    for place, key in (("before", "k.b"), ("after", "k.a")):
        edit = edit_of("yaml", place, key, "z: 1")
        inner, outer = f"{deep}# of x\n", f"{out}# of b\n"
        assert apply_edit(head + inner + end, edit) == head + inner + new + end
        assert apply_edit(head + outer + end, edit) == head + new + outer + end
        assert apply_edit(head + inner + outer + end, edit) == head + inner + new + outer + end
