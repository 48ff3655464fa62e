from __future__ import annotations

from textwrap import dedent, indent
from typing import TYPE_CHECKING

import pytest

from forkhouse.core.errors import PatchConflictError
from forkhouse.documents.reading import parse
from forkhouse.patches.edits import AddedFile, StructuralEdit
from forkhouse.patches.operations import apply_edit, edited
from forkhouse.patches.series import read_series

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HEADER = "Subject: s\nDescription: d\nOrigin: o\nForwarded: no\nRetire-When: never\n"
PYTHON = '''\
# Ünïcode before the match: positions are characters, not bytes.
import os
from enum import IntEnum  # noqa


class Agent:
    """An agent."""

    def name(self) -> str:
        """Return the name."""
        return "nixl"

    def other(self):
        for item in range(3):
            print(item, "nixl")
        return call(call(1), 2)


BACKENDS = ["ucx", "gds"]
'''


@pytest.fixture
def apply(tmp_path: Path) -> Callable[[str, str, str], str]:
    """Apply operations (YAML) in a language to a text, read as they are in a series."""

    def run(text: str, language: str, operations: str) -> str:
        folder = tmp_path / "demo"
        folder.mkdir(exist_ok=True)
        body = (
            f"edits:\n  - path: file\n    language: {language}\n    "
            f"operations:\n{indent(dedent(operations), '      ')}\n"
        )
        (folder / "0001-e.edit.yaml").write_text(HEADER + body, encoding="utf-8")
        (folder / "series").write_text("0001-e.edit.yaml\n", encoding="utf-8")
        (patch,) = read_series(folder)
        assert patch.edit is not None
        edit = patch.edit.edits[0]
        return apply_edit(text, edit)  # type: ignore[arg-type, unused-ignore]

    return run


def changed_lines(old: str, new: str) -> tuple[list[str], list[str]]:
    """Return the lines that went and the lines that came."""
    before, after = old.splitlines(), new.splitlines()
    return [line for line in before if line not in after], [
        line for line in after if line not in before
    ]


def test_replaces_a_function_and_keeps_the_indentation(
    apply: Callable[[str, str, str], str],
) -> None:
    new = apply(
        PYTHON,
        "python",
        (
            "- replace: {function: name}\n  with: |\n    def name(self) -> str:\n        return "
            "'rixl'\n"
        ),
    )
    assert changed_lines(PYTHON, new) == (
        ['        """Return the name."""', '        return "nixl"'],
        ["        return 'rixl'"],
    )


def test_replaces_a_class(apply: Callable[[str, str, str], str]) -> None:
    new = apply(PYTHON, "python", "- replace: {class: Agent}\n  with: Agent = object\n")
    assert "class Agent" not in new
    assert new.endswith('\n\n\nAgent = object\n\n\nBACKENDS = ["ucx", "gds"]\n')


def test_fills_in_what_the_pattern_captured(apply: Callable[[str, str, str], str]) -> None:
    new = apply(
        PYTHON,
        "python",
        '- replace: {pattern: "print($WHAT, $$$REST)"}\n  with: log($$$REST, of=$WHAT)\n',
    )
    assert '            log("nixl", of=item)\n' in new


def test_captured_code_of_several_lines_is_kept_as_it_is(
    apply: Callable[[str, str, str], str],
) -> None:
    new = apply(
        PYTHON,
        "python",
        """
        - replace: {pattern: "for $ITEM in $RANGE: $$$BODY"}
          with: |
            while $RANGE:
                # $ITEM
                $$$BODY
        """,
    )
    assert (
        '        while range(3):\n            # item\n            print(item, "nixl")\n        '
        "return" in new
    )
    several = "def f():\n    g(\n        1,\n        2,\n    )\n"
    assert (
        apply(several, "python", '- replace: {pattern: "g($$$ALL)"}\n  with: h($$$ALL)\n')
        == "def f():\n    h(1,\n        2,)\n"
    )


def test_a_variable_that_the_pattern_does_not_capture_is_refused(
    apply: Callable[[str, str, str], str],
) -> None:
    with pytest.raises(
        PatchConflictError, match=r"uses \$NONE, which the pattern does not capture"
    ):
        apply(
            PYTHON, "python", '- replace: {pattern: "print($WHAT, $$$REST)"}\n  with: log($NONE)\n'
        )


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("import sys", 0),
        ("range($COUNT)", 1),
        ('"nixl"', 2),
        ("call($$$ALL)", 2),
        ("no_such_call()", 0),
    ],
)
def test_any_other_number_of_matches_than_expected_is_refused(
    apply: Callable[[str, str, str], str], pattern: str, matches: int
) -> None:
    expected = 1 if matches != 1 else 3
    with pytest.raises(
        PatchConflictError, match=rf"file: operation 1 matched {matches} times, expected {expected}"
    ):
        apply(PYTHON, "python", f"- remove: {{pattern: '{pattern}'}}\n  count: {expected}\n")


def test_the_expected_number_of_matches_are_all_changed(
    apply: Callable[[str, str, str], str],
) -> None:
    new = apply(
        PYTHON, "python", "- replace: {pattern: '\"nixl\"'}\n  with: '\"rixl\"'\n  count: 2\n"
    )
    assert new == PYTHON.replace('"nixl"', '"rixl"')


RANGED = "- replace: {pattern: '\"nixl\"'}\n  with: '\"rixl\"'\n  count: {min: 1, max: 2}\n"


def test_any_number_of_matches_in_the_range_is_changed(
    apply: Callable[[str, str, str], str],
) -> None:
    assert apply(PYTHON, "python", RANGED) == PYTHON.replace('"nixl"', '"rixl"')
    assert apply('NAME = "nixl"\n', "python", RANGED) == 'NAME = "rixl"\n'


@pytest.mark.parametrize("names", [0, 3])
def test_a_number_of_matches_outside_the_range_is_refused(
    apply: Callable[[str, str, str], str], names: int
) -> None:
    with pytest.raises(
        PatchConflictError, match=rf"file: operation 1 matched {names} times, expected 1 to 2: "
    ):
        apply('print("nixl")\n' * names, "python", RANGED)


def test_an_operation_that_may_find_nothing_says_so() -> None:
    operations = """
      - requirement: {remove: ray}
        count: {min: 0, max: 1}
      - requirement: {remove: numpy}
        count: {min: 0, max: 1}
    """
    text = (
        f"{HEADER}edits:\n  - path: requirements.txt\n    language: requirements\n    "
        f"operations:{operations}\n"
    )
    (edit,) = parse(StructuralEdit, text, name="e").edits
    assert not isinstance(edit, AddedFile)
    done = edited("torch\nnumpy==1\n", edit)
    assert done.text == "torch\n"
    (said,) = done.idle
    assert said.startswith(
        "requirements.txt: operation 1 found nothing to do: {'requirement': {'remove': 'ray'}"
    )
    assert edited("ray\nnumpy\n", edit).idle == ()


def test_an_operation_whose_effect_is_there_is_refused_with_the_advice_that_fits(
    apply: Callable[[str, str, str], str],
) -> None:
    with pytest.raises(
        PatchConflictError, match=r"matched 0 times, expected 1: .* Its effect is there already: "
    ):
        apply("torch\n", "requirements", "- requirement: {remove: ray}\n")
    with pytest.raises(
        PatchConflictError,
        match=r"matched 0 times, expected 1: .* The upstream changed what the edit is about",
    ):
        apply("torch\n", "requirements", "- requirement: {replace: ray, with: ray>=2}\n")


def test_a_match_inside_another_is_refused(apply: Callable[[str, str, str], str]) -> None:
    with pytest.raises(PatchConflictError, match="Two matches lie one in the other"):
        apply(
            PYTHON,
            "python",
            '- replace: {pattern: "call($$$ALL)"}\n  with: other($$$ALL)\n  count: 2\n',
        )


def test_removed_statements_leave_no_empty_line(apply: Callable[[str, str, str], str]) -> None:
    new = apply(PYTHON, "python", "- remove: {pattern: import os}\n")
    assert new == PYTHON.replace("import os\n", "")


def test_a_statement_is_inserted_on_its_own_line(apply: Callable[[str, str, str], str]) -> None:
    new = apply(
        PYTHON,
        "python",
        """
        - insert: {before: {pattern: from enum import IntEnum}, text: import before}
        - insert: {after: {pattern: from enum import IntEnum}, text: import after}
        - insert: {before: {rule: {kind: for_statement}}, text: "first()\\nsecond()"}
        - insert: {after: {pattern: import os}, text: import sys}
        """,
    )
    assert (
        "import os\nimport sys\nimport before\nfrom enum import IntEnum  # noqa\nimport after\n\n"
        in new
    )
    assert "    def other(self):\n        first()\n        second()\n        for item" in new


def test_an_expression_is_inserted_within_its_line(apply: Callable[[str, str, str], str]) -> None:
    rule = "{kind: string, pattern: '\"gds\"', inside: {kind: list}}"
    new = apply(PYTHON, "python", f"- insert: {{before: {{rule: {rule}}}, text: '\"rocm\", '}}\n")
    assert 'BACKENDS = ["ucx", "rocm", "gds"]' in new


def test_operations_see_what_those_before_them_did(apply: Callable[[str, str, str], str]) -> None:
    new = apply(
        "one\n",
        "text",
        "- {replace: {anchor: one}, with: two}\n- {replace: {anchor: two}, with: three}\n",
    )
    assert new == "three\n"
    with pytest.raises(PatchConflictError, match="file: operation 2 matched 0 times, expected 1"):
        apply(
            "one\n",
            "text",
            "- {replace: {anchor: one}, with: two}\n- {replace: {anchor: one}, with: three}\n",
        )


def test_an_edit_that_leaves_no_python_is_refused(apply: Callable[[str, str, str], str]) -> None:
    with pytest.raises(PatchConflictError, match="file: "):
        apply(PYTHON, "python", "- replace: {pattern: import os}\n  with: import os from\n")


def test_python_that_was_broken_before_may_be_edited(apply: Callable[[str, str, str], str]) -> None:
    assert (
        apply("print 'x'\nimport os\n", "python", "- remove: {pattern: import os}\n")
        == "print 'x'\n"
    )


@pytest.mark.parametrize("rule", ["{kind: no_such_kind}", "{patern: x}", "{}"])
def test_a_rule_that_ast_grep_cannot_read_is_refused(
    apply: Callable[[str, str, str], str], rule: str
) -> None:
    with pytest.raises(PatchConflictError, match="ast-grep refuses the rule"):
        apply(PYTHON, "python", f"- remove: {{rule: {rule}}}\n")


def test_an_anchor_is_taken_literally(apply: Callable[[str, str, str], str]) -> None:
    new = apply(
        "a.c(x) $HOME\nabc(x) $HOME\n",
        "text",
        "- {replace: {anchor: a.c(x) $HOME}, with: $OTHER}\n",
    )
    assert new == "$OTHER\nabc(x) $HOME\n"
    new = apply(
        "one\ntwo\n",
        "text",
        '- insert: {after: {anchor: "one\\n"}, text: "half\\n"}\n- remove: {anchor: two}\n',
    )
    assert new == "one\nhalf\n"


def test_plain_text_has_no_functions(apply: Callable[[str, str, str], str]) -> None:
    with pytest.raises(PatchConflictError, match="anchor"):
        apply("one\n", "text", "- remove: {function: f}\n")


METADATA = """\
Metadata-Version: 2.1
Name: demo
Requires-Dist: Nixl_CU12 (>=1.0)
Requires-Dist: torch==2.0 ; platform_system == "Linux"
Requires-Dist: ray[default]>=2 ; extra == "vllm"
Requires-Dist: ray>=2 ; extra == 'all'
Provides-Extra: vllm

Requires-Dist: in-the-text
"""


def test_changes_requirements_by_canonical_name(apply: Callable[[str, str, str], str]) -> None:
    new = apply(
        METADATA,
        "requirements",
        """
        - requirement: {remove: nixl-cu12}
        - requirement: {replace: torch, with: "torch>=2.1"}
        - requirement: {remove: ray, extra: vllm}
        - requirement: {add: "rixl>=1"}
        """,
    )
    gone, come = changed_lines(METADATA, new)
    assert gone == [
        "Requires-Dist: Nixl_CU12 (>=1.0)",
        'Requires-Dist: torch==2.0 ; platform_system == "Linux"',
        'Requires-Dist: ray[default]>=2 ; extra == "vllm"',
    ]
    assert come == [
        'Requires-Dist: torch>=2.1; platform_system == "Linux"',
        "Requires-Dist: rixl>=1",
    ]
    assert new.endswith("\nRequires-Dist: rixl>=1\n\nRequires-Dist: in-the-text\n")


@pytest.mark.parametrize(
    ("change", "matches"),
    [
        ("remove: none", 0),
        ("remove: ray", 2),
        ("remove: in-the-text", 0),
        ("{remove: torch, extra: vllm}", 0),
        ("{replace: ray, with: ray}", 2),
    ],
)
def test_a_requirement_that_is_not_there_once_is_refused(
    apply: Callable[[str, str, str], str], change: str, matches: int
) -> None:
    change = change if change.startswith("{") else f"{{{change}}}"
    with pytest.raises(
        PatchConflictError, match=rf"operation 1 matched {matches} times, expected 1"
    ):
        apply(METADATA, "requirements", f"- requirement: {change}\n")


def test_a_name_may_leave_a_part_open(apply: Callable[[str, str, str], str]) -> None:
    text = "cupy_cuda12x>=13\ncupy\nCuPy-CUDA13x\ncuda-python\n"
    new = apply(text, "requirements", "- requirement: {remove: 'cupy-cuda*'}\n  count: 2\n")
    assert new == "cupy\ncuda-python\n"


PYPROJECT = """\
[project]
name = "demo"
[project.optional-dependencies]
vllm = [
    'vllm[runai,otel]==0.31.0',
]
[project.entry-points.pytest11]
a = "a:b"
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("vllm[runai]==0.31.0  # ours\n", "vllm==0.31.0  # ours\n"),
        (PYPROJECT, PYPROJECT.replace("[runai,otel]", "")),
        (
            "Metadata-Version: 2.1\nRequires-Dist: vllm[otel]<1,>=0.3; extra == 'vllm'\n",
            'Metadata-Version: 2.1\nRequires-Dist: vllm<1,>=0.3; extra == "vllm"\n',
        ),
        ("vllm[runai] @ https://host/vllm.whl\n", "vllm @ https://host/vllm.whl\n"),
    ],
)
def test_a_replacement_may_keep_the_version_that_is_asked_for(
    apply: Callable[[str, str, str], str], old: str, new: str
) -> None:
    assert (
        apply(
            old, "requirements", "- requirement: {replace: vllm, with: vllm, keep-version: true}\n"
        )
        == new
    )


@pytest.mark.parametrize(
    "text",
    [
        "Vllm == 0.31\n",
        "[project]\ndependencies = ['Vllm == 0.31']\n",
        "Metadata-Version: 2.1\nRequires-Dist: Vllm (==0.31) ; extra=='x'\n",
    ],
)
def test_a_declaration_that_says_the_same_in_another_spelling_stays(
    apply: Callable[[str, str, str], str], text: str
) -> None:
    assert apply(text, "requirements", "- requirement: {replace: vllm, with: vllm==0.31}\n") == text


ENTRY_POINTS = (
    "[console_scripts]\ndemo = demo:main\n\n[pytest11]\na = a:b\nc = c:d\n\n[other]\nx = y:z\n"
)


def test_removes_a_group_of_entry_points(apply: Callable[[str, str, str], str]) -> None:
    new = apply(ENTRY_POINTS, "entry-points", "- remove: {group: pytest11}\n")
    assert new == "[console_scripts]\ndemo = demo:main\n\n[other]\nx = y:z\n"
    assert apply(ENTRY_POINTS, "entry-points", "- remove: {group: other}\n").endswith("c = c:d\n\n")
    with pytest.raises(PatchConflictError, match="operation 1 matched 0 times"):
        apply(ENTRY_POINTS, "entry-points", "- remove: {group: pytest}\n")


def test_removes_a_group_of_entry_points_of_a_project(
    apply: Callable[[str, str, str], str],
) -> None:
    new = apply(PYPROJECT, "entry-points", "- remove: {group: pytest11}\n")
    assert new == PYPROJECT.partition("[project.entry-points")[0]
    with pytest.raises(PatchConflictError, match="operation 1 matched 0 times"):
        apply(PYPROJECT, "entry-points", "- remove: {group: pytest}\n")


TOML = (
    '# a comment\n[project]\nname = "demo"   # kept\n[project.scripts]\ndemo = '
    '"demo:main"\n[tool.x]\nwords = ["a"]\n'
)


def test_changes_toml_and_keeps_its_style(apply: Callable[[str, str, str], str]) -> None:
    new = apply(
        TOML,
        "toml",
        (
            "- {set: project.name, value: rocm}\n- {remove: project.scripts.demo}\n- {set: "
            "tool.x.words, value: [b, c]}\n"
        ),
    )
    assert (
        new == '# a comment\n[project]\nname = "rocm"   # kept\n[project.scripts]\n[tool.x]\n'
        'words = ["b", "c"]\n'
    )


@pytest.mark.parametrize(
    "operation",
    ["{set: project.version, value: '1'}", "{remove: none.name}", "{remove: project.name.first}"],
)
def test_a_toml_key_that_is_not_there_is_refused(
    apply: Callable[[str, str, str], str], operation: str
) -> None:
    with pytest.raises(PatchConflictError, match="operation 1 matched 0 times, expected 1"):
        apply(TOML, "toml", f"- {operation}\n")


def test_what_is_no_toml_is_refused(apply: Callable[[str, str, str], str]) -> None:
    with pytest.raises(PatchConflictError, match="not TOML"):
        apply("[project\n", "toml", "- {remove: project.name}\n")
