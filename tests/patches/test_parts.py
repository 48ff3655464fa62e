"""What is only a part of something stays that part.

Docstrings, comments behind a line, declarators, and one argument among several.
"""

from __future__ import annotations

import ast
import io
import shlex
import tokenize

import pytest

from forkhouse.core.errors import PatchConflictError
from forkhouse.patches.languages.docstrings import MODULE, strings
from forkhouse.patches.operations import apply_edit
from tests.patches.test_proof import edit_of


def changed(language: str, operation: str, old: str) -> str:
    return apply_edit(old, edit_of(language, f"- {operation}"))


def docstrings(text: str) -> list[str | None]:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return [
        ast.get_docstring(node) for node in ast.walk(ast.parse(text)) if isinstance(node, kinds)
    ]


DOCSTRINGS = [
    ("import: {remove: import os}", 'import os\n"doc"\nx = 1\n'),
    ("remove: {assignment: x}", 'x = 1\n("doc")\n'),
    ("remove: {assignment: x}", 'def f():\n    x = 1\n    # why\n    "a" "b"\n'),
    ("remove: {assignment: x}", 'async def f(): x = 1; r"doc"\n'),
    ("remove: {assignment: x}", 'class C:\n    def f(self):\n        x = 1\n        """doc"""\n'),
    ("remove: {assignment: x}", 'class C:\n    x = 1\n    """of x"""\n'),
    ("remove: {pattern: '\"doc\"'}", 'def f():\n    "doc"\n    "more"\n'),
    ("insert: {before: {pattern: '\"doc\"'}, text: y = 2}", '"doc"\nx = 1\n'),
    ("insert: {before: {pattern: '\"doc\"'}, text: y = 2}", 'def f():\n    "doc"\n'),
    ("insert: {before: {pattern: '\"doc\"'}, text: \"'other'\"}", 'class C:\n    "doc"\n'),
    ("insert: {before: {anchor: '\"doc\"'}, text: 'y; '}", 'def f():\n    "doc"\n    x = 1\n'),
]


@pytest.mark.parametrize(("operation", "old"), DOCSTRINGS)
def test_a_string_becomes_no_docstring_and_a_docstring_stays_one(operation: str, old: str) -> None:
    with pytest.raises(
        PatchConflictError, match=r"would become a docstring|would be a docstring no more"
    ):
        changed("python", operation, old)


@pytest.mark.parametrize(
    ("operation", "old", "new"),
    [
        ("remove: {assignment: x}", 'x = 1\nf"{y}"\n', 'f"{y}"\n'),
        ("remove: {assignment: x}", 'x = 1\n"a", "b"\n', '"a", "b"\n'),
        ("remove: {assignment: x}", 'x = 1\n"a",\n', '"a",\n'),
        (
            "remove: {assignment: x}",
            'def f():\n    if a:\n        x = 1\n        "s"\n',
            'def f():\n    if a:\n        "s"\n',
        ),
        (
            "replace: {pattern: '\"doc\"'}\n  with: \"'new'\"",
            'def f():\n    "doc"\n',
            "def f():\n    'new'\n",
        ),
        ("insert: {before: {assignment: x}, text: \"'doc'\"}", "x = 1\n", "'doc'\nx = 1\n"),
        # Where a docstring is in brackets or in pieces, imports go behind it all the same.
        ("import: {add: import os}", '("doc")\nx = 1\n', '("doc")\nimport os\n\nx = 1\n'),
        ("import: {add: import os}", '"a" "b"\nx = 1\n', '"a" "b"\nimport os\n\nx = 1\n'),
    ],
)
def test_what_an_edit_names_may_be_a_docstring(operation: str, old: str, new: str) -> None:
    assert changed("python", operation, old) == new


@pytest.mark.parametrize("old", [old for _, old in DOCSTRINGS])
def test_docstrings_are_those_that_python_sees(old: str) -> None:
    found = [
        ast.literal_eval(old[slice(*span)])
        for span, owner in strings(old).items()
        if owner == MODULE
    ]
    assert sorted(found) == sorted(each for each in docstrings(old) if each is not None)


@pytest.mark.parametrize(
    ("language", "operation", "old", "new"),
    [
        (
            "python",
            "replace: {function: f}\n  with: 'def f(): return 1'",
            "def f(): pass  # y\ng = 1\n",
            "def f(): return 1  # y\ng = 1\n",
        ),
        (
            "python",
            "replace: {function: f}\n  with: |\n    def f():\n        return 1",
            "def f(): pass  # y\n",
            "def f():\n    return 1  # y\n",
        ),
        ("python", "replace: {function: f}\n  with: f = 1", "def f(): pass  # y\n", "f = 1  # y\n"),
        (
            "python",
            "replace: {class: A}\n  with: 'class A: x = 2'",
            "class A: x = 1; y = 2  # y",
            "class A: x = 2  # y",
        ),
        (
            "python",
            "replace: {function: f}\n  with: 'def f(self): return 1'",
            "class A:\n    @d\n    def f(self): g(1,\n        2)  # y\n\nx = 1\n",
            "class A:\n    @d\n    def f(self): return 1  # y\n\nx = 1\n",
        ),
        (
            "python",
            "replace: {pattern: 'while a: $$$B'}\n  with: 'while b: $$$B'",
            "while a: f()  # y\n",
            "while b: f()  # y\n",
        ),
        (
            "python",
            "wrap: {function: f}\n  with: |\n    $MATCH\n    g()",
            "def f(): pass  # y\n",
            "def f(): pass  # y\ng()\n",
        ),
        ("python", "remove: {function: f}", "def f(): pass  # y\ng = 1\n", "g = 1\n"),
        # A comment in a body of several lines is a part of that.
        (
            "python",
            "replace: {class: A}\n  with: 'class A: pass'",
            "class A:\n    def f(self): pass  # y\n\nx = 1\n",
            "class A: pass\n\nx = 1\n",
        ),
        (
            "c",
            "replace: {assignment: X}\n  with: '#define X 2'",
            "#define X 1 // y\nint a;\n",
            "#define X 2 // y\nint a;\n",
        ),
        (
            "c",
            "replace: {assignment: X}\n  with: '#define X 2'",
            '#define X(a) "//" /* y */\n',
            "#define X 2 /* y */\n",
        ),
        (
            "c",
            "wrap: {assignment: X}\n  with: |\n    #ifndef X\n    $MATCH\n    #endif",
            "#define X 1 // y\n",
            "#ifndef X\n#define X 1 // y\n#endif\n",
        ),
        ("c", "remove: {assignment: X}", "#define X 1 /* y */ // z\nint a;\n", "int a;\n"),
        (
            "c",
            "replace: {pattern: '#include <a>'}\n  with: '#include <b>'",
            "#include <a> /* y */\n",
            "#include <b> /* y */\n",
        ),
        (
            "c",
            "replace: {pattern: '#include <a//b>'}\n  with: '#include <b>'",
            "#include <a//b>\nint a;\n",
            "#include <b>\nint a;\n",
        ),
        (
            "c",
            "replace: {function: f}\n  with: 'int f(void) { return 2; }'",
            "int f(void) { return 1; } // y\n",
            "int f(void) { return 2; } // y\n",
        ),
        (
            "rust",
            "replace: {function: f}\n  with: 'fn f() { g() }'",
            "fn f() {} // y\n",
            "fn f() { g() } // y\n",
        ),
        (
            "bash",
            "replace: {function: f}\n  with: 'f() { ls; }'",
            "f() { :; } # y\n",
            "f() { ls; } # y\n",
        ),
    ],
)
def test_a_comment_behind_what_is_replaced_stays_behind_it(
    language: str, operation: str, old: str, new: str
) -> None:
    assert changed(language, operation, old) == new
    if language == "python" and "remove" not in operation and "class A: pass" not in operation:
        assert "# y" in [
            token.string for token in tokenize.generate_tokens(io.StringIO(new).readline)
        ]


@pytest.mark.parametrize("value", ["i = 3", "*i = 3", "i[] = {3}", "(*i)(void) = 3", "&i = 3"])
@pytest.mark.parametrize(
    "declared",
    [
        "const int *i = 2",
        "int i[] = {2}",
        "int (*i)(void) = 0",
        "int a = 1, *i = &a",
        "int &i = a",
        "int i = 2",
    ],
)
def test_a_declarator_is_replaced_by_one_of_its_form(declared: str, value: str) -> None:
    old = f"void f() {{ {declared}; }}\n"
    edit = f"replace: {{assignment: i}}\n  with: '{value}'"
    head = (
        declared.rpartition(" = ")[0]
        .replace("int a = 1, ", "")
        .replace("const ", "")
        .removeprefix("int ")
    )
    if value.partition(" = ")[0] == head:
        assert changed("cpp", edit, old) == old.replace(
            declared[declared.rindex(f"{head} = ") :], value
        )
    else:
        with pytest.raises(PatchConflictError, match="is written in another form"):
            changed("cpp", edit, old)


@pytest.mark.parametrize(
    ("language", "new", "old", "result"),
    [
        ("c", "x[4] = {1, 2}", "int x[3] = {1};\n", "int x[4] = {1, 2};\n"),
        ("c", "*const x = b", "int *const x = a;\n", "int *const x = b;\n"),
        ("c", "x", "int x = 1;\n", "int x;\n"),
        ("c", "x = 2", "struct s v = {.x = 1};\n", None),
        ("c", "x = 2", "int v[] = {[x] = 1};\n", None),
        ("bash", "x=2", "export x=1\n", "export x=2\n"),
        ("bash", "export x=2", "export x=1\n", None),
        ("bash", "x=2", "f() { local -r x=1 y=3; }\n", "f() { local -r x=2 y=3; }\n"),
        ("bash", "local x=2", "f() { local x=1; }\n", None),
        ("bash", "declare x=2", "declare -r x=1\n", None),
        ("bash", "x=a b", "readonly x=1\n", None),
        ("bash", "export x=2", "x=1\n", "export x=2\n"),
        ("bash", "x=2", "a && x=1\n", "a && x=2\n"),
    ],
)
def test_a_part_of_a_declaration_stays_that_part(
    language: str, new: str, old: str, result: str | None
) -> None:
    edit = f"replace: {{assignment: x}}\n  with: '{new}'"
    if "[x]" in old:
        edit = edit.replace("assignment: x", "assignment: '[x]'")
    if result is not None:
        assert changed(language, edit, old) == result
        return
    with pytest.raises(PatchConflictError, match="is written in another form"):
        changed(language, edit, old)


@pytest.mark.parametrize(
    "new",
    [
        "# a",
        "#a",
        "a b",
        "a; b",
        "a | b",
        "a &",
        "&& a",
        "a\nb",
        "> a",
        "2>&1",
        "<<< a",
        "<<E",
        "(a)",
        '"a',
        "\\# a",
        "a \\",
        " a",
    ],
)
@pytest.mark.parametrize("old", ["f x\ng\n", "f\n", "f x > y\n", "f x <<E\ny\nE\n"])
def test_what_is_no_word_of_a_shell_is_no_argument(old: str, new: str) -> None:
    edit = (
        f"argument: {{of: {{call: f}}, add: {new!r}}}"
        if "\n" not in new
        else 'argument: {of: {call: f}, add: "a\\nb"}'
    )
    with pytest.raises(PatchConflictError):
        changed("bash", edit.replace("\\\\", "\\"), old)


@pytest.mark.parametrize(
    "new", ["a#b", "*", '"a b"', "a=1", "$(a b)", "`a`", "${A:-b c}", "$((1 + 2))", "a\\ b", "<(a)"]
)
def test_one_word_of_a_shell_is_one_argument(new: str) -> None:
    result = changed("bash", f"argument: {{of: {{call: f}}, add: '{new}'}}", "f x > y\n")
    assert result == f"f x {new} > y\n"
    if "$" not in new and "`" not in new and "<" not in new:
        assert len(shlex.split(result)) == len(shlex.split("f x > y")) + 1


@pytest.mark.parametrize(
    ("language", "operation", "old", "message"),
    [
        (
            "python",
            "argument: {of: {call: f}, add: 'a, b'}",
            "f(x)\n",
            "'a, b' would not be read as one argument of f",
        ),
        (
            "python",
            "argument: {of: {pattern: 'f($A)'}, replace: x, with: 'a, b'}",
            "f(x)\n",
            "'a, b' would not be read as one argument",
        ),
        (
            "python",
            "item: {of: {assignment: x}, add: 'a, b'}",
            "x = [c]\n",
            "'a, b' would not be read as one item of x",
        ),
        (
            "c",
            "item: {of: {assignment: x}, replace: c, with: 'a, b'}",
            "int x[] = {c};\n",
            "'a, b' would not be read as one item of x",
        ),
        (
            "rust",
            "argument: {of: {call: 'f!'}, add: 'a, b'}",
            "fn m() { f!(x); }\n",
            "'a, b' would not be read as one argument",
        ),
        (
            "meson",
            "argument: {of: {call: f}, add: \"'a', 'b'\"}",
            "f('x')\n",
            "would not be read as one argument of f",
        ),
        (
            "cmake",
            "argument: {of: {call: f}, add: a b}",
            "f(x)\n",
            "'a b' would not be read as one argument of f",
        ),
        (
            "cmake",
            "argument: {of: {call: f}, add: a;b}",
            "f(x)\n",
            "'a;b' would not be read as one argument of f",
        ),
        (
            "cmake",
            "item: {of: {assignment: X}, add: a b}",
            "set(X x)\n",
            "'a b' would not be read as one item of X",
        ),
        (
            "bash",
            "item: {of: {assignment: X}, add: a b}",
            "X=(x)\n",
            "'a b' would not be read as one item of X",
        ),
        # Where words stand behind a redirection, which the grammar takes for a part of that, no
        # argument is the last.
        (
            "bash",
            "argument: {of: {call: f}, add: a}",
            "f x > y z\n",
            "no arguments that can be told apart",
        ),
        (
            "bash",
            "argument: {of: {call: f}, remove: z}",
            "f x > y z\n",
            "no arguments that can be told apart",
        ),
        (
            "bash",
            "argument: {of: {call: f}, remove: x}",
            "f <<< y x\n",
            "no arguments that can be told apart",
        ),
        (
            "bash",
            "argument: {of: {call: f}, remove: x}",
            "f <<E x\ny\nE\n",
            "no arguments that can be told apart",
        ),
    ],
)
def test_one_argument_is_one(language: str, operation: str, old: str, message: str) -> None:
    with pytest.raises(PatchConflictError, match=message):
        changed(language, operation, old)


@pytest.mark.parametrize(
    ("language", "operation", "old", "new"),
    [
        ("python", "argument: {of: {pattern: 'f($A)'}, add: b}", "g(f(x), 1)\n", "g(f(x, b), 1)\n"),
        (
            "python",
            "argument: {of: {call: f}, add: z}\n  count: 2",
            "f(f(x), y)\n",
            "f(f(x, z), y, z)\n",
        ),
        (
            "python",
            "argument: {of: {call: f, argument: x}, remove: x}",
            "f(y)\nf(x, y)\n",
            "f(y)\nf(y)\n",
        ),
        ("cmake", "argument: {of: {call: f}, add: '\"a;b\"'}", "f(x)\n", 'f(x "a;b")\n'),
        ("cmake", "argument: {of: {call: f}, add: 'a\\;b'}", "f(x)\n", "f(x a\\;b)\n"),
        # What CMake takes for one argument, quotes within it included, is one.
        ("cmake", "argument: {of: {call: f}, remove: a}", 'f(a -DX="y z")\n', 'f(-DX="y z")\n'),
        ("cmake", "argument: {of: {call: f}, remove: '-DX=\"y z\"'}", 'f(a -DX="y z")\n', "f(a)\n"),
        ("bash", "argument: {of: {call: f}, add: a}", "f x <<< y\n", "f x a <<< y\n"),
        ("bash", "argument: {of: {call: f}, add: a}", "f x > y 2>&1\n", "f x a > y 2>&1\n"),
    ],
)
def test_one_argument_changes_and_no_other(
    language: str, operation: str, old: str, new: str
) -> None:
    assert changed(language, operation, old) == new


@pytest.mark.parametrize(
    ("language", "operation", "old"),
    [
        ("toml", "item: {of: {key: d}, add: '\"x>=1\"'}", 'd = ["X >= 1"]\n'),
        ("python", "item: {of: {assignment: d}, add: '\"x\"'}", "d = ['x']\n"),
        ("cmake", "item: {of: {assignment: S}, add: a.c}", 'set(S "b.c;a.c")\n'),
        ("cmake", "item: {of: {assignment: S}, add: a.c}", 'set(S "a.c" b.c)\n'),
        ("bash", "argument: {of: {call: f}, add: --fast}", 'f "--fast"\n'),
    ],
)
def test_what_is_there_in_another_spelling_is_not_added_again(
    language: str, operation: str, old: str
) -> None:
    with pytest.raises(PatchConflictError, match="would add what is there already"):
        changed(language, operation, old)


@pytest.mark.parametrize(
    ("language", "operation", "old", "new"),
    [
        (
            "toml",
            "item: {of: {key: d}, add: '\"x>=2\"'}",
            "d = [\"x>=1; python_version < '3'\"]\n",
            'd = ["x>=1; python_version < \'3\'", "x>=2"]\n',
        ),
        ("python", "argument: {of: {call: f}, add: '\"x\"'}", "f(x)\n", 'f(x, "x")\n'),
        (
            "c",
            "item: {of: {assignment: d}, add: '\"x\"'}",
            "char *d[] = {x};\n",
            'char *d[] = {x, "x"};\n',
        ),
    ],
)
def test_what_only_looks_alike_is_added(language: str, operation: str, old: str, new: str) -> None:
    assert changed(language, operation, old) == new
