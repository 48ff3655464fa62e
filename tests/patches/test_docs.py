"""The documents of the edit format cannot lie.

Examples are run, and the schema is that of the code.
"""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import indent

import pytest

from forkhouse.documents.reading import parse
from forkhouse.patches.edits import LANGUAGES, AddedFile, StructuralEdit
from forkhouse.patches.operations import apply_edit, effect_present
from forkhouse.patches.schema import schema_text

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "reference/patches.md").read_text(encoding="utf-8")
BLOCKS = r"```\w+\n(.*?)```\n"
EXAMPLES = {
    name: blocks
    for name, *blocks in re.findall(
        rf"^### ([\w-]+)\n\n{BLOCKS}{BLOCKS}{BLOCKS}", TEXT, flags=re.MULTILINE | re.DOTALL
    )
}
HEADER = "Subject: s\nDescription: d\nOrigin: o\nForwarded: no\nRetire-When: never\n"


def test_every_language_has_an_example() -> None:
    assert EXAMPLES.keys() == set(LANGUAGES)


@pytest.mark.parametrize("language", sorted(EXAMPLES))
def test_an_example_does_what_it_says(language: str) -> None:
    operations, before, after = EXAMPLES[language]
    document = (
        f"{HEADER}edits:\n  - path: file\n    language: {language}\n    "
        f"operations:\n{indent(operations, '      ')}"
    )
    (edit,) = parse(StructuralEdit, document, name="example").edits
    assert not isinstance(edit, AddedFile)
    assert apply_edit(before, edit) == after
    assert not effect_present(before, edit)


def test_the_example_of_a_whole_edit_is_one() -> None:
    example = re.search(r"```yaml\n(Subject:.*?)```", TEXT, flags=re.DOTALL)
    assert example is not None
    edit = parse(StructuralEdit, example[1], name="example")
    assert len(edit.edits) == 2
    assert len(edit.after) == 2


def test_the_schema_is_that_of_the_code() -> None:
    written = (DOCS / "edit.schema.json").read_text(encoding="utf-8")
    assert written == schema_text(), "python -m forkhouse.patches.schema > docs/edit.schema.json"
