from __future__ import annotations

from textwrap import dedent, indent

import pytest

from forkhouse.core.errors import PatchConflictError
from forkhouse.documents.reading import parse
from forkhouse.patches.edits import AddedFile, StructuralEdit
from forkhouse.patches.operations import apply_edit

HEADER = "Subject: s\nDescription: d\nOrigin: o\nForwarded: no\nRetire-When: never\n"


def edited(text: str, language: str, operations: str) -> str:
    document = (
        f"{HEADER}edits:\n  - path: file\n    language: {language}\n    "
        f"operations:\n{indent(dedent(operations), '      ')}"
    )
    (edit,) = parse(StructuralEdit, document, name="edit").edits
    assert not isinstance(edit, AddedFile)
    return apply_edit(text, edit)


@pytest.mark.parametrize(
    ("language", "old", "operations", "new"),
    [
        (
            "c",
            "int f(int a) {\n    g(a, 1);\n    return 0;\n}\n",
            "- argument: {of: {call: g}, add: '2'}\n- argument: {of: {call: g}, remove: '1'}\n",
            "int f(int a) {\n    g(a, 2);\n    return 0;\n}\n",
        ),
        (
            "cpp",
            "#include <a.h>\nint *n::f(int a) { return g(a); }\nint f2() { return 1; }\n",
            (
                "- include: {add: '#include <b.h>'}\n- include: {remove: '#include  <a.h>'}\n- "
                "remove: {function: f}\n"
            ),
            "#include <b.h>\nint f2() { return 1; }\n",
        ),
        (
            "rust",
            "use a::b;\nfn f() {\n    g!(x, y);\n    let z = [1, 2];\n}\n",
            """\
            - import: {replace: 'use a::b;', with: 'use a::c;'}
            - argument: {of: {call: g}, add: w}
            - item: {of: {assignment: z}, remove: '1'}
            """,
            "use a::c;\nfn f() {\n    g!(x, y, w);\n    let z = [2];\n}\n",
        ),
        (
            "bash",
            "FLAGS=(-a -b)\nrun --one --two\n",
            (
                "- item: {of: {assignment: FLAGS}, add: -c}\n- argument: {of: {call: run}, remove: "
                "--one}\n"
            ),
            "FLAGS=(-a -b -c)\nrun --two\n",
        ),
        (
            "yaml",
            "a: [1, 2]\nb:\n  - x\n",
            "- item: {of: {assignment: a}, add: '3'}\n",
            "a: [1, 2, 3]\nb:\n  - x\n",
        ),
        (
            "json",
            '{"a": [1, 2], "b": 3}\n',
            "- item: {of: {assignment: a}, remove: '1'}\n",
            '{"a": [2], "b": 3}\n',
        ),
        (
            "meson",
            (
                "# ünïcode\nx = files('a.c', 'b.c')\nl = [\n  'a',\n  'b',\n]\nshared_library('z', "
                "x, dependencies: [d])\n"
            ),
            """\
            - item: {of: {assignment: l}, add: "'c'"}
            - argument: {of: {call: shared_library}, remove: 'dependencies:'}
            - argument: {of: {call: files}, replace: "'a.c'", with: "'ä.c'"}
            """,
            (
                "# ünïcode\nx = files('ä.c', 'b.c')\nl = [\n  'a',\n  'b',\n  "
                "'c',\n]\nshared_library('z', x)\n"
            ),
        ),
        (
            "cmake",
            (
                "# ünïcode\nset(SRC a.c b.c)\nadd_library(z ${SRC})\nfunction(f x)\n  "
                "message(hi)\nendfunction()\n"
            ),
            """\
            - item: {of: {assignment: SRC}, remove: a.c}
            - argument: {of: {call: ADD_LIBRARY}, add: c.c}
            - remove: {function: f}
            """,
            "# ünïcode\nset(SRC b.c)\nadd_library(z ${SRC} c.c)\n",
        ),
    ],
)
def test_changes_what_it_names_and_no_other_byte(
    language: str, old: str, operations: str, new: str
) -> None:
    assert edited(old, language, operations) == new


@pytest.mark.parametrize(
    ("old", "change", "new"),
    [
        ("f(a, b)\n", "remove: b", "f(a)\n"),
        ("f(a, b)\n", "remove: a", "f(b)\n"),
        ("f(a)\n", "remove: a", "f()\n"),
        ("f(a,)\n", "remove: a", "f()\n"),
        ("f(\n    a,\n    b\n)\n", "remove: b", "f(\n    a\n)\n"),
        ("f(\n    a,\n    b,\n)\n", "remove: b", "f(\n    a,\n)\n"),
        ("f()\n", "add: b", "f(b)\n"),
        ("f(a)\n", "add: b", "f(a, b)\n"),
        ("f(\n    a,\n)\n", "add: b", "f(\n    a,\n    b,\n)\n"),
        ("f(a, b = 1)\n", "remove: b=", "f(a)\n"),
    ],
)
def test_arguments_keep_the_layout_of_the_call(old: str, change: str, new: str) -> None:
    assert edited(old, "python", f"- argument: {{of: {{call: f}}, {change}}}\n") == new


def test_new_lines_end_as_the_others_do() -> None:
    operations = (
        "- insert: {after: {pattern: import os}, text: import sys}\n- import: {add: import re}\n"
    )
    assert (
        edited("import os\r\nx = 1\r\n", "python", operations)
        == "import os\r\nimport sys\r\nimport re\r\nx = 1\r\n"
    )


@pytest.mark.parametrize(
    ("language", "old", "operation", "message"),
    [
        ("python", "f(a)\n", "argument: {of: {call: f}, remove: b}", "matched 0 times, expected 1"),
        (
            "python",
            "f = 1\n",
            "argument: {of: {assignment: f}, add: b}",
            "f has no arguments that can be told apart",
        ),
        ("bash", "x=1\n", "remove: {class: x}", "bash has no class to select"),
        (
            "cmake",
            "set(a b)\n",
            "remove: {pattern: set($A)}",
            "CMake knows call, assignment, function and anchor",
        ),
        ("meson", "x = 1\n", "remove: {function: x}", "Meson knows call, assignment and anchor"),
        ("meson", "x = 'a\n", "remove: {call: x}", "not a Meson file|matched 0 times"),
        (
            "python",
            "def f():\n    g()\ndef f():\n    g()\n",
            "remove: {call: g, within: {function: f}}",
            "`within: f` matched 2 times, expected 1",
        ),
        (
            "json",
            '{"a": 1}\n',
            "{replace: {anchor: '1'}, with: ''}",
            "leaves a file that is no json any more",
        ),
        (
            "meson",
            "x = f(1)\n",
            "{replace: {anchor: ')'}, with: ''}",
            "leaves a file that is no meson any more",
        ),
        (
            "cmake",
            "f(a)\n",
            "{replace: {anchor: ')'}, with: ''}",
            "leaves a file that is no cmake any more",
        ),
        (
            "rust",
            "fn f() {}\n",
            "{replace: {anchor: '}'}, with: ''}",
            "leaves a file that is no rust any more",
        ),
    ],
)
def test_what_cannot_be_done_as_meant_is_refused(
    language: str, old: str, operation: str, message: str
) -> None:
    with pytest.raises(PatchConflictError, match=message):
        edited(old, language, f"- {operation}\n")


def test_changes_requirements_files_line_by_line() -> None:
    old = (
        "numpy==1.0 \\\n    --hash=sha256:aa\nTorch>=2  # why\n-r other.txt\n# "
        "torch\nray[default]>=2; python_version>'3'\n"
    )
    new = edited(
        old,
        "requirements",
        """\
        - requirement: {remove: numpy}
        - requirement: {replace: torch, with: torch>=3}
        - requirement: {replace: ray, with: ray>=3}
        - requirement: {add: zlib}
        """,
    )
    assert new == 'torch>=3  # why\n-r other.txt\n# torch\nray>=3; python_version > "3"\nzlib\n'


def test_changes_the_requirements_of_a_project_and_keeps_its_style() -> None:
    old = (
        '[project]\nname="d"\ndependencies = [\n  "torch>=2",  # why\n  '
        '"numpy",\n]\n[project.optional-dependencies]\nvllm = ["torch"]\n'
    )
    new = edited(
        old,
        "requirements",
        """\
        - requirement: {replace: torch, with: torch>=3}
          count: 2
        - requirement: {remove: torch, extra: vllm}
        - requirement: {add: six, extra: vllm}
        - requirement: {remove: numpy}
        """,
    )
    assert (
        new == '[project]\nname="d"\ndependencies = [\n  "torch>=3",  # why\n]\n'
        '[project.optional-dependencies]\nvllm = ["six"]\n'
    )
    assert (
        edited(old, "requirements", "- requirement: {add: six, extra: new}\n")
        == f'{old}new = ["six"]\n'
    )
    with pytest.raises(PatchConflictError, match="not TOML"):
        edited("[project]\nname = \n", "requirements", "- requirement: {remove: six}\n")


def test_toml_whose_tables_other_tables_interrupt_is_changed_in_place() -> None:
    new = edited(
        "[[many]]\nb = 1\n[top]\na = 1\n[[many]]\nb = 2\n", "toml", "- {set: top.a, value: 2}\n"
    )
    assert new == "[[many]]\nb = 1\n[top]\na = 2\n[[many]]\nb = 2\n"
