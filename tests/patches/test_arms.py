"""What is inserted into the arms of a `case` of a shell and a `switch` of C, and between them."""

from __future__ import annotations

import subprocess

import pytest

from forkhouse.core.errors import PatchConflictError
from forkhouse.documents.reading import parse
from forkhouse.patches.edits import CodeEdit
from forkhouse.patches.operations import apply_edit, effect_present

CASE = """case "$1" in
  a|b)
    one
    ;;
  c) two ;;
  d)
    three ;;
  # The rest.
  *)
    four
    ;;
esac
"""
ARM = "{rule: {kind: case_item, has: {field: value, regex: '^%s$'}}}"
CASE_OF_C = "{rule: {kind: case_statement, has: {field: value, regex: '^%s$'}}}"


def edit_of(language: str, operation: str) -> CodeEdit:
    return parse(
        CodeEdit, f"path: f\nlanguage: {language}\noperations:\n  - {operation}\n", name="edit"
    )


def said(script: str, word: str) -> str:
    """Return what a shell does with a word."""
    commands = (
        "one() { echo 1; }; two() { echo 2; }; three() { echo 3; }; four() { echo 4; }; new() { "
        "echo n; }\n"
    )
    return subprocess.run(
        ["bash", "-s", word], input=commands + script, text=True, check=True, capture_output=True
    ).stdout


@pytest.mark.parametrize(
    ("operation", "old", "new", "word", "does"),
    [
        ("insert: {before: {call: one}, text: new}", "    one\n", "    new\n    one\n", "a",
         "n\n1\n"),
        ("insert: {after: {call: one}, text: new}", "    one\n", "    one\n    new\n", "b",
         "1\nn\n"),
        ("insert: {before: {call: two}, text: new}", "c) two ;;", "c) new; two ;;", "c", "n\n2\n"),
        ("insert: {after: {call: two}, text: new}", "c) two ;;", "c) two; new ;;", "c", "2\nn\n"),
        ("insert: {before: {call: three}, text: new}", "    three ;;", "    new\n    three ;;", "d",
         "n\n3\n"),
        ("insert: {after: {call: three}, text: new}", "    three ;;", "    three; new ;;", "d",
         "3\nn\n"),
        (f"insert: {{after: {ARM % 'c'}, text: 'e) new ;;'}}", "  d)\n", "  e) new ;;\n  d)\n", "e",
         "n\n"),
        (f'insert: {{before: {ARM % "[*]"}, text: "e)\\n  new\\n  ;;"}}', "  # The rest.\n",
         "  e)\n    new\n    ;;\n  # The rest.\n", "e", "n\n"),
        (f"insert: {{before: {ARM % 'a'}, text: 'e) new ;;'}}", "  a|b)\n", "  e) new ;;\n  a|b)\n",
         "e", "n\n"),
    ],
)  # fmt: skip
def test_a_command_or_an_arm_is_inserted(
    operation: str, old: str, new: str, word: str, does: str
) -> None:
    edit = edit_of("bash", operation)
    done = apply_edit(CASE, edit)
    assert done == CASE.replace(old, new)
    assert effect_present(done, edit)
    assert not effect_present(CASE, edit)
    assert said(done, word) == does
    same = {"a", "b"} if word in {"a", "b"} else {word}
    for other in {"a", "b", "c", "d", "x"} - same:
        assert said(done, other) == said(CASE, other)


def test_a_subshell_on_one_line_takes_a_command() -> None:
    assert (
        apply_edit("( f )\n", edit_of("bash", "insert: {before: {call: f}, text: new}"))
        == "( new; f )\n"
    )


@pytest.mark.parametrize(
    ("operation", "old", "why"),
    [
        (f"insert: {{after: {ARM % 'a'}, text: 'e) new ;;'}}",
         "case x in\n  a) b ;&\n  c) d ;;\nesac\n",
         "what runs in the one above it would go on there"),
        (f"insert: {{before: {ARM % 'c'}, text: 'e) new ;;'}}",
         "case x in\n  a) b ;;&\n  c) d ;;\nesac\n",
         "what runs in the one above it would go on there"),
        ('insert: {before: {call: two}, text: "new\\nnewer"}', CASE,
         "two shares its line with other code. Write what is inserted on one line"),
        ('insert: {after: {call: three}, text: "new\\nnewer"}', CASE,
         "three shares its line with other code"),
        ("insert: {after: {call: two}, text: new}", CASE.replace("two ;;", "two <<E\nq\nE\n;;"),
         "has a here-document, behind whose last word"),
        ("insert: {after: {call: two}, text: new}", "two <<E; three\nq\nE\n", "two"),
        ("insert: {after: {pattern: 'c) two ;;'}, text: 'e) new ;;'}", CASE,
         "An arm of a `case` is named by a rule: {kind: case_item"),
    ],
)  # fmt: skip
def test_what_would_change_another_arm_is_refused(operation: str, old: str, why: str) -> None:
    with pytest.raises(PatchConflictError, match=why):
        apply_edit(old, edit_of("bash", operation))


SWITCH = """int f(int x) {
  switch (x) {
    case 1:
      return 1;
    case 2:
      x = 7;
    case 3: {
      x++;
      break;
    }
    default:
      x = 9;
  }
  return x;
}
"""


@pytest.mark.parametrize("language", ["c", "cpp"])
def test_a_case_of_c_is_inserted_where_none_goes_on_in_it(language: str) -> None:
    for place in (
        f"before: {CASE_OF_C % 1}",
        f"after: {CASE_OF_C % 1}",
        f"before: {CASE_OF_C % 2}",
        f"after: {CASE_OF_C % 3}",
    ):
        done = apply_edit(
            SWITCH, edit_of(language, f'insert: {{{place}, text: "case 4:\\n  x = 4;\\n  break;"}}')
        )
        assert "    case 4:\n      x = 4;\n      break;\n" in done
        assert done.replace("    case 4:\n      x = 4;\n      break;\n", "") == SWITCH
    for place in (f"after: {CASE_OF_C % 2}", f"before: {CASE_OF_C % 3}"):
        with pytest.raises(
            PatchConflictError, match="what runs in the one above it would go on there"
        ):
            apply_edit(
                SWITCH, edit_of(language, f'insert: {{{place}, text: "case 4:\\n  break;"}}')
            )


@pytest.mark.parametrize("sign", ["|", "&&", "||"])
@pytest.mark.parametrize("name", ["f", "g"])
def test_a_chain_behind_a_here_document_is_a_chain(sign: str, name: str) -> None:
    with pytest.raises(PatchConflictError, match="is part of a chain"):
        apply_edit(f"f <<E {sign} g\nq\nE\nh\n", edit_of("bash", f"remove: {{call: {name}}}"))
