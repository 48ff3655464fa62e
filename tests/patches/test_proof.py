"""Only what was meant has changed.

What belongs to a construct goes with it, literals stay as written, and what cannot be proven is
refused.
"""

from __future__ import annotations

import ast
import subprocess
from textwrap import indent

import pytest

from forkhouse.core.errors import PatchConflictError
from forkhouse.documents.reading import parse
from forkhouse.patches.edits import AddedFile, CodeEdit, FileEdit, StructuralEdit
from forkhouse.patches.operations import apply_edit

HEADER = "Subject: s\nDescription: d\nOrigin: o\nForwarded: no\nRetire-When: never\n"


def edit_of(language: str, operations: str) -> FileEdit:
    text = (
        f"{HEADER}edits:\n  - path: file\n    language: {language}\n    "
        f"operations:\n{indent(operations, '      ')}"
    )
    (edit,) = parse(StructuralEdit, text, name="edit").edits
    assert not isinstance(edit, AddedFile)
    return edit


@pytest.mark.parametrize(
    ("language", "operation", "old", "new"),
    [
        # A definition of a macro has its line, and no other.
        (
            "c",
            "replace: {assignment: N}\n  with: '#define N 2'",
            "#define N 1\nint a;\n",
            "#define N 2\nint a;\n",
        ),
        ("c", "remove: {assignment: N}", "#define N\t \n#define KEPT 1\n", "#define KEPT 1\n"),
        (
            "cpp",
            "remove: {assignment: N}",
            "#define N \r\n#define KEPT 1\r\n",
            "#define KEPT 1\r\n",
        ),
        (
            "c",
            "remove: {assignment: M}",
            "#define M(x) \\\n  do { x; \\\n  } while (0)\nint c;\n",
            "int c;\n",
        ),
        (
            "c",
            "insert: {after: {assignment: N}, text: '#define O 2'}",
            "#define N 1 // why\nint a;\n",
            "#define N 1 // why\n#define O 2\nint a;\n",
        ),
        # What stands before a definition and belongs to it.
        (
            "rust",
            "remove: {function: f}",
            "/// One.\n#[a]\n// why\n#[b]\nfn f() {}\n\n#[c]\nfn g() {}\n",
            "\n#[c]\nfn g() {}\n",
        ),
        (
            "rust",
            "remove: {call: m!}",
            "impl A {\n    m!(a); // why\n    n!{b}\n}\n",
            "impl A {\n    n!{b}\n}\n",
        ),
        (
            "rust",
            "replace: {call: m!}\n  with: m!(b);",
            "impl A {\n    m!(a);\n}\n",
            "impl A {\n    m!(b);\n}\n",
        ),
        (
            "rust",
            "remove: {call: m!}",
            "fn f() -> R {\n    m!{a}\n    g()\n}\n",
            "fn f() -> R {\n    g()\n}\n",
        ),
        ("rust", "remove: {call: m!}", "fn f() { m!() }\n", "fn f() {  }\n"),
        (
            "rust",
            "remove: {class: A}",
            "fn f() {}\n/** One. */\n#[derive(B)]\nstruct A;\n",
            "fn f() {}\n",
        ),
        ("rust", "remove: {class: impl A}", "#[cfg(b)]\nimpl A {}\nfn f() {}\n", "fn f() {}\n"),
        ("rust", "import: {remove: 'use a::b;'}", "#[cfg(c)]\nuse a::b;\nuse d;\n", "use d;\n"),
        (
            "rust",
            "remove: {function: f}",
            "impl A {\n    //! Of A.\n\n    /// One.\n    fn f() {}\n}\n",
            "impl A {\n    //! Of A.\n\n}\n",
        ),
        (
            "cpp",
            "remove: {function: f}",
            "int a;\n/// One.\ntemplate <class T>\n[[nodiscard]] T f() { return 1; }\nint b;\n",
            "int a;\nint b;\n",
        ),
        (
            "cpp",
            "remove: {function: f}",
            'int a;\nextern "C" int f() { return 1; }\nint b;\n',
            "int a;\nint b;\n",
        ),
        (
            "python",
            "remove: {function: f}",
            "@a\n# why\n@b\ndef f():\n    pass\nx = 1\n",
            "x = 1\n",
        ),
        # A comment stays with what it stands over.
        (
            "python",
            "insert: {before: {function: f}, text: x = 1}",
            "a = 1\n\n# Of f.\ndef f(): pass\n",
            "a = 1\n\nx = 1\n# Of f.\ndef f(): pass\n",
        ),
        (
            "rust",
            "insert: {before: {function: f}, text: 'fn g() {}'}",
            "use a;\n\n/// Of f.\nfn f() {}\n",
            "use a;\n\nfn g() {}\n/// Of f.\nfn f() {}\n",
        ),
        (
            "c",
            "insert: {before: {call: f}, text: g();}",
            "int m() {\n  /* Of\n   f. */\n  f();\n}\n",
            "int m() {\n  g();\n  /* Of\n   f. */\n  f();\n}\n",
        ),
        (
            "bash",
            "insert: {before: {call: f}, text: g}",
            "a\n\n# Of f.\nf\n",
            "a\n\ng\n# Of f.\nf\n",
        ),
        (
            "meson",
            "insert: {before: {call: f}, text: g()}",
            "a()\n\n# Of f.\nf()\n",
            "a()\n\ng()\n# Of f.\nf()\n",
        ),
        (
            "cmake",
            "insert: {before: {function: f}, text: g()}",
            "a()\n#[[ Of\n#f. ]]\nfunction(f)\nendfunction()\n",
            "a()\ng()\n#[[ Of\n#f. ]]\nfunction(f)\nendfunction()\n",
        ),
        (
            "python",
            "import: {add: import a}",
            "# Licence.\n\n# Of x.\nx = 1\n",
            "# Licence.\n\nimport a\n\n# Of x.\nx = 1\n",
        ),
        (
            "c",
            "include: {add: '#include <a.h>'}",
            "/* L. */\n\n/** Of x. */\nint x;\n",
            "/* L. */\n\n#include <a.h>\n\n/** Of x. */\nint x;\n",
        ),
        # What is put before a construct may become a part of it.
        (
            "python",
            "insert: {before: {function: f}, text: '@a'}",
            "x = 1\n\ndef f(): pass\n",
            "x = 1\n\n@a\ndef f(): pass\n",
        ),
        (
            "rust",
            "insert: {before: {function: f}, text: '#[a]'}",
            "use b;\n\n/// Of f.\nfn f() {}\n",
            "use b;\n\n#[a]\n/// Of f.\nfn f() {}\n",
        ),
        (
            "c",
            "insert: {before: {call: f}, text: if (a)}",
            "void m() {\n  g();\n  f();\n}\n",
            "void m() {\n  g();\n  if (a)\n  f();\n}\n",
        ),
        # But the head of a file speaks of the file.
        (
            "bash",
            "insert: {before: {call: f}, text: g}",
            "#!/bin/sh\n# Licence.\nf\n",
            "#!/bin/sh\n# Licence.\ng\nf\n",
        ),
        # A statement goes with what separates it from its neighbours.
        ("python", "remove: {call: b}", "a(); b(1); c()\n", "a(); c()\n"),
        ("python", "remove: {call: c}", "a(); c() # why\n", "a() # why\n"),
        ("python", "remove: {call: a}", "if x: a(); b()\n", "if x: b()\n"),
        ("python", "import: {remove: import a}", "import a; import b\n", "import b\n"),
        ("bash", "remove: {call: a}", "a & b\n", "b\n"),
        ("bash", "remove: {call: b}", "f() { a; b; }\n", "f() { a; }\n"),
        (
            "python",
            "remove: {call: a}",
            "if x:\n    a()\n    # Of b.\n    b()\n",
            "if x:\n    # Of b.\n    b()\n",
        ),
        (
            "python",
            "remove: {call: b}",
            "if x:\n    a()\n    # Of b.\n    b()\nc()\n",
            "if x:\n    a()\n    # Of b.\nc()\n",
        ),
        ("python", "insert: {before: {call: b}, text: c()}", "a(); b()\n", "a(); c(); b()\n"),
        ("python", "insert: {after: {call: a}, text: c()}", "a(); b()\n", "a(); c(); b()\n"),
        ("bash", "insert: {after: {call: b}, text: c}", "f() { a; b; }\n", "f() { a; b; c; }\n"),
        # One name of several.
        ("python", "import: {remove: import b}", "import a, b  # why\n", "import a  # why\n"),
        (
            "python",
            "import: {remove: from a import b}",
            "from a import (\n    b,\n    c,\n)\n",
            "from a import (\n    c,\n)\n",
        ),
        (
            "python",
            "import: {remove: from a import b as c}",
            "from a import d, b as c\n",
            "from a import d\n",
        ),
        ("c", "remove: {assignment: n}", "int n = 3, m = 2;\n", "int m = 2;\n"),
        ("c", "remove: {assignment: m}", "int n = 3, *m = 0;\n", "int n = 3;\n"),
        # Members of classes, and names that are no plain words.
        (
            "cpp",
            "remove: {assignment: N}",
            "struct A {\n  static constexpr int N = 4;\n  int M;\n};\n",
            "struct A {\n  int M;\n};\n",
        ),
        (
            "cpp",
            "remove: {function: 'operator()'}",
            "struct A {\n  int operator()() { return 1; }\n  int M;\n};\n",
            "struct A {\n  int M;\n};\n",
        ),
        (
            "cpp",
            "remove: {function: operator bool}",
            "struct A {\n  operator bool() const { return 1; }\n  int M;\n};\n",
            "struct A {\n  int M;\n};\n",
        ),
        (
            "cpp",
            "remove: {function: f}",
            "int a;\nstd::vector<int>& n::A<T>::f() { return b; }\nint c;\n",
            "int a;\nint c;\n",
        ),
        (
            "c",
            "replace: {assignment: a}\n  with: .a = 2",
            "struct s x = {.a = 1, .b = 2};\n",
            "struct s x = {.a = 2, .b = 2};\n",
        ),
        (
            "rust",
            "remove: {call: 'p!'}",
            'fn m() {\n    p!("x");\n    q();\n}\n',
            "fn m() {\n    q();\n}\n",
        ),
        (
            "rust",
            "remove: {class: impl X for A}",
            "impl X for A {}\nimpl Y for A {}\n",
            "impl Y for A {}\n",
        ),
        (
            "rust",
            "argument: {of: {call: .x}, add: z}",
            "fn m() {\n    a.b().x::<u8>(y);\n}\n",
            "fn m() {\n    a.b().x::<u8>(y, z);\n}\n",
        ),
        (
            "rust",
            "insert: {before: {function: f}, text: 'fn g() {}'}",
            "use a;\n\n// Of\n/// f.\n#[b]\nfn f() {}\n",
            "use a;\n\nfn g() {}\n// Of\n/// f.\n#[b]\nfn f() {}\n",
        ),
        (
            "cpp",
            "replace: {class: A}\n  with: struct A { int b; };",
            "struct A { int a; };\nint c;\n",
            "struct A { int b; };\nint c;\n",
        ),
        (
            "cpp",
            "include: {replace: '#include <a.h>', with: \"#include <b.h>\\n#include <c.h>\"}",
            "#include <a.h>\nint c;\n",
            "#include <b.h>\n#include <c.h>\nint c;\n",
        ),
        (
            "cpp",
            "remove: {call: g}",
            "void m() {\n  switch (a) {\n  case 1:\n    f();\n  default:\n    g();\n  }\n}\n",
            "void m() {\n  switch (a) {\n  case 1:\n    f();\n  default:\n    ;\n  }\n}\n",
        ),
        # A sign binds closer than an operator, and brackets closer than all.
        ("c", "replace: {call: f}\n  with: '!a'", "int x = f() && b;\n", "int x = !a && b;\n"),
        ("python", "replace: {call: f}\n  with: a + 1", "x = y[f()]\n", "x = y[a + 1]\n"),
        ("python", "replace: {call: f}\n  with: a < b", "assert f()\n", "assert a < b\n"),
        # Commands of a shell that the grammar has nodes of their own for.
        ("bash", "argument: {of: {call: unset}, remove: B}", "unset A B\n", "unset A\n"),
        ("bash", "remove: {call: unset}", "a\nunset A B\n", "a\n"),
        (
            "bash",
            "argument: {of: {call: export}, add: B=2}",
            "export A=1\nc\n",
            "export A=1 B=2\nc\n",
        ),
        (
            "bash",
            "replace: {call: '['}\n  with: '[ -f a ]'",
            "if [ -n b ]; then\n  c\nfi\n",
            "if [ -f a ]; then\n  c\nfi\n",
        ),
        # Macros around declarations.
        (
            "c",
            "insert: {before: {function: f}, text: int q;}",
            "int a;\nF_DEVICE\nint f(void) { return 1; }\n",
            "int a;\nint q;\nF_DEVICE\nint f(void) { return 1; }\n",
        ),
        (
            "cpp",
            "remove: {function: k}",
            "int a;\n__global__\nvoid k(int b) {}\nint c;\n",
            "int a;\nint c;\n",
        ),
        (
            "cpp",
            "remove: {class: A}",
            "int a;\nclass A_EXPORT A : public B<int> { int x; };\nint b;\n",
            "int a;\nint b;\n",
        ),
        (
            "c",
            "remove: {function: f}",
            "BEGIN_C_DECLS\n\n/** Of f. */\nint f(void) { return 1; }\nEND_C_DECLS\n",
            "BEGIN_C_DECLS\n\nEND_C_DECLS\n",
        ),
        (
            "python",
            "replace: {pattern: f($A)}\n  with: 'g(($A) * 2, $A)'",
            "x = f(1 + 2)\n",
            "x = g((1 + 2) * 2, 1 + 2)\n",
        ),
        # What says where a value goes is no part of it; a remark stays behind what it is about.
        (
            "cmake",
            "item: {of: {assignment: S}, add: c}",
            'set(S a b CACHE STRING "x")\n',
            'set(S a b c CACHE STRING "x")\n',
        ),
        (
            "cmake",
            "item: {of: {assignment: S}, add: c}",
            "set(S PARENT_SCOPE)\n",
            "set(S c PARENT_SCOPE)\n",
        ),
        (
            "cmake",
            "item: {of: {call: set, argument: S}, add: c}",
            "set(S b CACHE d e)\n",
            "set(S b c CACHE d e)\n",
        ),
        ("cmake", "argument: {of: {call: set}, add: c}", "set(S b)\n", "set(S b c)\n"),
        (
            "python",
            "item: {of: {assignment: x}, add: '\"b\": 2'}",
            "x = {b: 1, **y}\n",
            'x = {b: 1, **y, "b": 2}\n',
        ),
        (
            "python",
            "item: {of: {assignment: x}, add: f(a=2)}",
            "x = [f(a=1)]\n",
            "x = [f(a=1), f(a=2)]\n",
        ),
        (
            "cmake",
            "argument: {of: {call: set}, add: FORCE}",
            "set(S b CACHE d e)\n",
            "set(S b CACHE d e FORCE)\n",
        ),
        (
            "cmake",
            "argument: {of: {call: set}, add: PARENT_SCOPE}",
            "set(S b)\n",
            "set(S b PARENT_SCOPE)\n",
        ),
        (
            "cmake",
            "argument: {of: {call: set}, remove: PARENT_SCOPE}",
            "set(S b PARENT_SCOPE)\n",
            "set(S b)\n",
        ),
        (
            "cmake",
            "argument: {of: {call: set}, replace: d, with: PATH}",
            "set(S b CACHE d e)\n",
            "set(S b CACHE PATH e)\n",
        ),
        (
            "cmake",
            "item: {of: {assignment: S}, add: c}",
            "set(S ${a} CACHE BOOL b ${FORCE})\n",
            "set(S ${a} c CACHE BOOL b ${FORCE})\n",
        ),
        (
            "cmake",
            "item: {of: {assignment: S}, add: c}",
            "set(S a CACHE BOOL b FORCE)\n",
            "set(S a c CACHE BOOL b FORCE)\n",
        ),
        # cmake takes these words for values where they do not stand at the end.
        (
            "cmake",
            "item: {of: {assignment: S}, add: c}",
            "set(S PARENT_SCOPE CACHE b d e)\n",
            "set(S PARENT_SCOPE CACHE b d e c)\n",
        ),
        (
            "cmake",
            "item: {of: {assignment: S}, remove: CACHE}",
            "set(S CACHE b PARENT_SCOPE d)\n",
            "set(S b PARENT_SCOPE d)\n",
        ),
        # A class of Python may end with a comment, and that with its line's carriage return.
        (
            "python",
            'replace: {class: B}\n  with: "class B:\\n    y = 2"',
            "class A:\r\n    class B:\r\n        x = 1\r\n        # x\r\n\r\n    z = 1\r\n",
            "class A:\r\n    class B:\r\n        y = 2\r\n\r\n    z = 1\r\n",
        ),
        (
            "python",
            "insert: {after: {class: B}, text: f()}",
            "class B:\r\n  x = 1\r\n  # x\r\ny = 1\r\n",
            "class B:\r\n  x = 1\r\n  # x\r\nf()\r\ny = 1\r\n",
        ),
        ("python", "remove: {class: B}", "class B:\r\n  x = 1\r\n  # x\r\ny = 1\r\n", "y = 1\r\n"),
        (
            "c",
            "include: {remove: '#include \"b\"'}",
            'enum E {\n#  include "b" // why\n};\n',
            "enum E {\n};\n",
        ),
        (
            "cpp",
            "include: {replace: '#include <b>', with: '#include <c>'}",
            "enum E {\n  A,\n#include <b>\n  B\n};\n",
            "enum E {\n  A,\n#include <c>\n  B\n};\n",
        ),
        (
            "cpp",
            "include: {remove: '#include <b>'}",
            "class A {\n  #include <b>\n  int a;\n};\n",
            "class A {\n  int a;\n};\n",
        ),
        # A macro that is given statements is no attribute of what follows, and is seen with all
        # that is in it.
        (
            "cpp",
            "replace: {call: h}\n  with: g(2)",
            "void f() {\n  A_B(\n      q, [&] {\n    IN_G(x)\n    if (b)\n      h(1);\n  });\n}\n",
            "void f() {\n  A_B(\n      q, [&] {\n    IN_G(x)\n    if (b)\n      g(2);\n  });\n}\n",
        ),
        (
            "cpp",
            "remove: {call: A_B}",
            "void f() {\n  A_B(\n      q, [&] {\n    IN_G(x)\n    if (b)\n      h(1);\n  });\n}\n",
            "void f() {\n}\n",
        ),
        # What the first comment of a file says of the whole of it is no function's.
        (
            "c",
            "remove: {function: f}",
            "/** Copyright of X. */\nint f(void) { return 1; }\nint a;\n",
            "/** Copyright of X. */\nint a;\n",
        ),
        (
            "cpp",
            "remove: {function: f}",
            "/** @file */\n/** Of f. */\nint f() { return 1; }\nint a;\n",
            "/** @file */\nint a;\n",
        ),
        (
            "cpp",
            "remove: {function: f}",
            "\n/** Of f. */\nint f() { return 1; }\nint a;\n",
            "\nint a;\n",
        ),
        (
            "python",
            "item: {of: {assignment: x}, add: c}",
            "x = [\n    a, b,  # of b\n]\n",
            "x = [\n    a, b,  # of b\n    c,\n]\n",
        ),
        (
            "cmake",
            "argument: {of: {call: f}, add: c}",
            "f(a b # of b\n)\n",
            "f(a b # of b\n  c\n)\n",
        ),
        # A byte-order mark is no code.
        ("cmake", "insert: {before: {call: a}, text: b()}", "\ufeffa()\n", "\ufeffb()\na()\n"),
        (
            "c",
            "insert: {after: {function: f}, text: '#define A 1'}",
            "\ufeffint f(void) { return 1; }\n",
            "\ufeffint f(void) { return 1; }\n#define A 1\n",
        ),
        ("python", "remove: {call: a}", "\ufeffa()\nb()\n", "\ufeffb()\n"),
        # The only import of a block leaves an empty statement.
        (
            "python",
            "import: {remove: import a}",
            "try:\n    import a\nexcept E:\n    a = None\n",
            "try:\n    pass\nexcept E:\n    a = None\n",
        ),
        # A bracket comment of CMake ends before its line does.
        (
            "cmake",
            "argument: {of: {call: f}, remove: a}",
            "f(x\n  a #[=[why]=] m\n)\n",
            "f(x #[=[why]=] m\n)\n",
        ),
        (
            "cmake",
            "argument: {of: {call: f}, remove: a}",
            "f(x\n  a #[[why]] # and\n  m)\n",
            "f(x\n  m)\n",
        ),
    ],
)
def test_what_belongs_to_a_construct_goes_with_it_and_nothing_else(
    language: str, operation: str, old: str, new: str
) -> None:
    assert apply_edit(old, edit_of(language, f"- {operation}")) == new


@pytest.mark.parametrize(
    ("language", "operation", "old", "new"),
    [
        (
            "cpp",
            "remove: {function: 'T(a, b)'}",
            "T(a, b) {\n  x();\n}\nT(a, c) {\n}\n",
            "T(a, c) {\n}\n",
        ),
        (
            "c",
            "replace: {function: 'T(a,b)'}\n  with: int y;",
            "int x;\nT( a, b )\n{\n  x();\n}\nT(a, c) {\n}\n",
            "int x;\nint y;\nT(a, c) {\n}\n",
        ),
        (
            "c",
            "insert: {before: {function: T}, text: int y;}",
            "int x;\n// Of T.\nT(a) {\n}\n",
            "int x;\nint y;\n// Of T.\nT(a) {\n}\n",
        ),
        (
            "c",
            "insert: {before: {function: f}, text: int y;}",
            "API struct s *f(void) {\n}\nint z;\n",
            "int y;\nAPI struct s *f(void) {\n}\nint z;\n",
        ),
        (
            "cpp",
            "remove: {function: f}",
            "int a;\nEXPORT_IT(b) static int f(int c) {\n  return c;\n}\nint z;\n",
            "int a;\nint z;\n",
        ),
        (
            "c",
            "replace: {function: f}\n  with: int f;",
            "static FORCE_INLINE status_t\nf(int a) {\n  return a;\n}\nint z;\n",
            "int f;\nint z;\n",
        ),
        (
            "cpp",
            "remove: {function: k}",
            "int a;\n__global__ void __launch_bounds__(N(1)) k(int b) {\n}\nint z;\n",
            "int a;\nint z;\n",
        ),
        (
            "cpp",
            "replace: {call: k}\n  with: 'run(k, 1)'",
            "void f() {\n  k<<<grid(1), 2, 0, s>>>(1);\n}\n",
            "void f() {\n  run(k, 1);\n}\n",
        ),
        (
            "cpp",
            "argument: {of: {call: k}, add: b}",
            'void f() {\n  g("<<<");\n  k<<<1, 2>>>(a);\n}\n',
            'void f() {\n  g("<<<");\n  k<<<1, 2>>>(a, b);\n}\n',
        ),
    ],
)
def test_macros_that_no_grammar_knows_hide_no_declaration(
    language: str, operation: str, old: str, new: str
) -> None:
    assert apply_edit(old, edit_of(language, f"- {operation}")) == new


@pytest.mark.parametrize(
    ("language", "operation", "old", "message"),
    [
        # The tree would be another one, though each word outside of the match is there.
        (
            "c",
            "replace: {call: f}\n  with: a + b",
            "int x = f() * 2;\n",
            r"would be something else",
        ),
        (
            "python",
            "replace: {call: f}\n  with: a or b",
            "x = not f()\n",
            r"'not f\(\)' would be something else",
        ),
        (
            "python",
            "replace: {call: f}\n  with: a if b else c",
            "x = f() + 1\n",
            r"'f\(\) \+ 1' would be something else",
        ),
        (
            "rust",
            "replace: {call: f}\n  with: a + b",
            "fn m() { g(f() as u8) }\n",
            "would be something else",
        ),
        (
            "bash",
            "replace: {call: f}\n  with: 'a; b'",
            "f && c\n",
            "would be only in part inside 'f && c'",
        ),
        (
            "c",
            "replace: {call: f}\n  with: 'a(); b()'",
            "void m() { if (x) f(); c(); }\n",
            "would be only in part inside",
        ),
        (
            "cpp",
            "insert: {before: {function: f}, text: '#if A'}",
            "int b;\nvoid f() {}\nint c;\n",
            "no cpp any more|does not name",
        ),
        (
            "meson",
            "replace: {call: f}\n  with: 'a, b'",
            "x = [f() + c]\n",
            "would take a part of it",
        ),
        (
            "c",
            "insert: {after: {call: f}, text: g();}",
            "void m() {\n  if (a)\n    f();\n  h();\n}\n",
            "all of a branch without braces",
        ),
        (
            "c",
            "insert: {before: {call: f}, text: g();}",
            "void m() {\n  if (a)\n    f();\n  h();\n}\n",
            "without braces",
        ),
        # What is put behind a construct, or in its place, takes nothing else in.
        (
            "c",
            "insert: {after: {call: g}, text: if (a)}",
            "void m() { \n  g();\n  f();\n}\n",
            "which the operation does not name",
        ),
        (
            "c",
            "replace: {call: g}\n  with: 'a(); if (b) c()'",
            "void m() {\n  if (x)\n    g();\n  f();\n}\n",
            "would be",
        ),
        (
            "cpp",
            "insert: {after: {function: g}, text: static}",
            "void g() {}\nint f() { return 1; }\n",
            "which the operation does not name",
        ),
        (
            "rust",
            "insert: {after: {function: g}, text: '#[cfg(a)]'}",
            "fn g() {}\nfn f() {}\n",
            r"'#\[cfg\(a\)\]' would belong to 'fn f",
        ),
        (
            "rust",
            'replace: {function: g}\n  with: "fn h() {}\\n/// Of h."',
            "fn g() {}\nfn f() {}\n",
            "'/// Of h.' would belong to 'fn f",
        ),
        (
            "python",
            "insert: {after: {function: g}, text: '@a'}",
            "def g(): pass\ndef f(): pass\n",
            "which the operation does not name",
        ),
        (
            "bash",
            "insert: {after: {call: g}, text: 'a |'}",
            "g\nf\n",
            "which the operation does not name",
        ),
        ("bash", "argument: {of: {call: g}, add: 'a; rm'}", "g b\nf\n", "would be|does not name"),
        (
            "python",
            "argument: {of: {call: g}, add: 'a); f(b'}",
            "g(1)\n",
            "which the operation does not name",
        ),
        (
            "c",
            "argument: {of: {call: g}, replace: '1', with: 'a); f(b'}",
            "void m() { g(1); }\n",
            "which the operation does not name",
        ),
        (
            "cmake",
            'argument: {of: {call: g}, add: "a)\\nf(b"}',
            "g(1)\n",
            "which the operation does not name",
        ),
        ("meson", 'argument: {of: {call: g}, add: "a)\\nf(b"}', "g(1)\n", "would be"),
        # The grammar takes the last word of a here-document with something behind it, and a shell
        # does not.
        (
            "bash",
            'replace: {call: f}\n  with: "cat <<EOF\\nx\\nEOF"',
            "f a  # why\ng\n",
            "here-document would not end at 'EOF  # why'",
        ),
        (
            "bash",
            'replace: {call: f}\n  with: "cat <<-EOF\\nx\\n\\tEOF"',
            "f a; g\n",
            "here-document would not end|no bash any more|would be",
        ),
        # A macro that the grammar reads as blanks may stand for items.
        (
            "c",
            "item: {of: {assignment: a}, add: '1'}",
            "EACH(DECL)\n\nint *a[] = {\n  EACH(ENTRY)\n};\n",
            "no items that can be told apart",
        ),
        (
            "c",
            "item: {of: {assignment: a}, add: '9'}",
            "EACH(DECL)\n\nint a[] = {\n  1,\n  EACH(ENTRY)\n};\n",
            "no items that can be told apart",
        ),
        # The grammar cuts what the language does not.
        ("bash", "replace: {assignment: a}\n  with: a=1", "a=#{b}\n", "in the middle of a word"),
        (
            "bash",
            "remove: {assignment: a}",
            'a="${b#x \\\\\'}"\nc="${a%\\\\\' y}"\n',
            "an expansion in it that goes over several lines",
        ),
        (
            "c",
            "insert: {before: {function: f}, text: '#define A 1'}",
            "static DECLARE_ONE_FUNC(a, b);\n\nstatic int\nf(void)\n{\n}\n",
            "cannot read a part of it",
        ),
        # What is there is not said to be gone.
        (
            "python",
            "remove: {assignment: x}",
            "x = y = 1\n",
            "assigns to other names than x as well",
        ),
        (
            "c",
            "replace: {assignment: x}\n  with: x = 2",
            "void m() { x = y = 1; }\n",
            "assigns to other names than x as well",
        ),
        (
            "python",
            "import: {replace: import a, with: import c}",
            "import a, b\n",
            "is one of several that 'import a, b' brings",
        ),
        (
            "cmake",
            "argument: {of: {call: set}, add: c}",
            "set(S b CACHE d e)\n",
            "what `set` takes for words of its own",
        ),
        (
            "cmake",
            "argument: {of: {call: set}, add: c}",
            "set(S b PARENT_SCOPE)\n",
            "what `set` takes for words of its own",
        ),
        (
            "cmake",
            "argument: {of: {call: set}, remove: f}",
            "set(S b CACHE d e f)\n",
            "what `set` takes for words of its own",
        ),
        ("rust", "remove: {call: m!}", "fn f() -> R { m!() }\n", "its value is used"),
        (
            "rust",
            "insert: {after: {call: m!}, text: g();}",
            "fn f() -> R {\n    m!()\n}\n",
            "leaves a file that is no rust any more",
        ),
        ("rust", "remove: {pattern: x}", "fn f() -> R { x }\n", "its value is used"),
        (
            "rust",
            "argument: {of: {call: vec!}, add: b}",
            "fn f() { vec![0; 3]; }\n",
            "vec! has no arguments that can be told apart",
        ),
        (
            "rust",
            "argument: {of: {call: m!}, add: 'b; c'}",
            "fn f() { m!(a); }\n",
            "would not be read as one argument",
        ),
        (
            "python",
            "item: {of: {assignment: x}, add: '\"b\": 2'}",
            "x = {'b' : 1}\n",
            "There is 'b' : 1 already. Use `replace`",
        ),
        (
            "c",
            "item: {of: {assignment: x}, add: .b = 2}",
            "struct s x = {.a = 1, .b = 1};\n",
            "There is .b = 1 already",
        ),
        (
            "bash",
            "item: {of: {assignment: x}, add: '[b]=2'}",
            "declare -A x=([b]=1)\n",
            r"There is \[b\]=1 already",
        ),
        (
            "rust",
            "import: {remove: 'use a::b;'}",
            "pub use a::b;\n",
            "is not all that 'pub use a::b;' brings",
        ),
        (
            "rust",
            "import: {remove: 'use a::b;'}",
            "use a::{b, c::{self, d}};\n",
            "is one of several that 'use a::",
        ),
        (
            "rust",
            "import: {remove: 'use a::c::d;'}",
            "use a::{b, c::{self, d}};\n",
            "is one of several that 'use a::",
        ),
        ("python", "import: {add: import b}", "import a, b\n", "would add what is there already"),
        (
            "c",
            "remove: {function: f}",
            "#ifdef A\nint f(int a)\n#else\nint f(void)\n#endif\n{ return 1; }\n",
            "stands in line 2, but the grammar",
        ),
        # An include is seen where the grammar takes it for another directive, and is not gone where
        # it takes it for nothing.
        (
            "c",
            "include: {remove: '#include <b>'}",
            "int a[] = {\n  #include <b>\n  {0}\n};\n",
            "stands in line 2, but the grammar",
        ),
        (
            "cpp",
            "include: {remove: '#include <b>'}",
            "int x =\n#  include <b>\n;\n",
            "the grammar of cpp does not read",
        ),
        (
            "bash",
            "replace: {call: f}\n  with: g",
            "f() {\n    echo``\n}\ncase $a in\n  b) f ;;\nesac\n",
            "and may take something else for 'f'",
        ),
        # What the grammar reads as blanks is not said to be nowhere, and what is there besides is
        # not taken for all.
        (
            "cpp",
            "remove: {call: IN_G}",
            "void f() {\n  A_B(\n      q, [&] {\n    IN_G(x)\n    if (b)\n      g(1);\n  });\n}\n",
            "IN_G in line 4 has no semicolon behind it, so it counts as a macro",
        ),
        (
            "cpp",
            "replace: {call: cut}\n  with: g(1)",
            "void f() {\n  int a = cut(1);\n  k<<<cut(2), 1>>>(a);\n}\n",
            "cut stands in line 3, too",
        ),
        # A value that is used, or a type that others have, cannot go alone.
        ("c", "remove: {call: f}", "void m() { for (; f(i);) { g(); } }\n", "cannot go alone"),
        ("c", "remove: {call: f}", "int m() { return f(1); }\n", "cannot go alone"),
        ("python", "remove: {call: f}", "def m():\n    return f(1)\n", "cannot go alone"),
        ("rust", "remove: {call: f}", "fn m() -> u8 {\n    f()\n}\n", "cannot go alone"),
        ("bash", "remove: {call: f}", "x=$(f)\n", "cannot go alone"),
        ("cpp", "remove: {class: A}", "struct A { int x; } a;\nint z;\n", "cannot go alone"),
        (
            "c",
            "remove: {class: A}",
            "typedef struct A { int x; } A_t;\nint z;\n",
            "cannot go alone",
        ),
        (
            "cmake",
            "replace: {call: f}\n  with: elseif(Z)",
            "if(X)\n  f()\nelse()\n  g()\nendif()\n",
            "would make another branch",
        ),
        (
            "bash",
            "replace: {call: f}\n  with: 'a; elif z; then b'",
            "if x; then f; else g; fi\n",
            "would make another branch|would be",
        ),
        ("python", "replace: {call: f}\n  with: 'a, c'", "assert f()\n", "Put brackets around"),
        (
            "cpp",
            "replace: {pattern: f($A)}\n  with: $A->b",
            "int x = f(&a);\n",
            "Put brackets around",
        ),
        ("bash", "replace: {pattern: f $A}\n  with: 'g \"$A\"'", 'f "a b"\n', "stands in quotes"),
        # What needs brackets, and who runs in the background.
        (
            "python",
            "replace: {pattern: f($A)}\n  with: g($A * 2)",
            "x = f(1 + 2)\n",
            "Put brackets around",
        ),
        ("c", "wrap: {pattern: a + b}\n  with: -$MATCH", "int x = a + b;\n", "Put brackets around"),
        ("python", "replace: {call: f}\n  with: a < b", "x = f() < y\n", "Put brackets around"),
        (
            "rust",
            "replace: {call: f}\n  with: 'if a { b } else { c }'",
            "fn m() { f() + 1 }\n",
            "Put brackets around",
        ),
        ("bash", "replace: {call: f}\n  with: g || true", "f > log\n", "Put brackets around"),
        ("bash", "replace: {call: f}\n  with: 'g; h'", "f &\n", "in the background"),
        (
            "cmake",
            "insert: {after: {call: f}, text: g()}",
            "f(a) #[[ p\n]]\nh()\n",
            "two commands would share a line",
        ),
        ("meson", "remove: {call: f}", "y = f('a').get()\n", "no meson any more"),
        ("meson", "remove: {call: f}", "y = f('a')\n", "no meson any more"),
        (
            "c",
            'insert: {after: {call: f}, text: "#ifdef X\\ng();\\n#endif"}',
            "int m() { f(); h(); }\n",
            "share its line with code",
        ),
        (
            "c",
            "remove: {function: f}",
            "int a;\nF_DEVICE\nint f(void) { return 1; }\n",
            "may belong to it or not",
        ),
        (
            "bash",
            "insert: {after: {call: f}, text: g}",
            "if f; then\n  h\nfi\n",
            "part of a chain or a condition",
        ),
        (
            "cmake",
            "argument: {of: {call: f}, remove: a}",
            'f("a" b)\n',
            'f stands in line 1, and has no argument a, but "a", b',
        ),
        # What guards the code would guard other code.
        (
            "rust",
            "insert: {before: {anchor: fn f}, text: 'fn g() {} '}",
            "/// Of f.\nfn f() {}\n",
            "'/// Of f.' belongs to 'fn f",
        ),
        (
            "rust",
            'remove: {anchor: "fn f() {}\\n"}',
            "#[cfg(a)]\nfn f() {}\nfn g() {}\n",
            r"'#\[cfg\(a\)\]' belongs to 'fn f",
        ),
        (
            "python",
            'insert: {before: {anchor: def f}, text: "x = 1\\n"}',
            "y = 1\n\n# Of f.\ndef f(): pass\n",
            "'# Of f.' belongs to",
        ),
        # A comment would be a comment no more, or of another line.
        ("bash", 'remove: {anchor: "1\\n"}', "a 1\n# why\n", "would stand behind other code"),
        ("cmake", "remove: {call: f}", "f() #[[why]] g()\n", "would stand alone on its line"),
        # Where the grammar reads nothing, nothing is proven.
        (
            "cpp",
            "insert: {after: {function: f}, text: int y;}",
            "void f() {}\n= ] ;\nint z;\n",
            "does not read",
        ),
        (
            "c",
            "item: {of: {assignment: n}, add: '1'}",
            "int n[] = {\n  2,\n#ifdef A\n  3,\n#endif\n};\n",
            "no items that can be told apart",
        ),
        (
            "c",
            "item: {of: {class: e}, add: B}",
            "enum e {\n  A,\n#if X\n  C,\n#endif\n};\n",
            "no items that can be told apart",
        ),
        (
            "cpp",
            "replace: {pattern: 'k<<<1>>>($A)'}\n  with: f($A)",
            "void f() { k<<<1>>>(a); }\n",
            "CUDA's own words and launches are blanks",
        ),
        ("meson", "remove: {call: f}", "f()\nx = = 1\n", "Meson does not read this file"),
    ],
)
def test_what_cannot_be_proven_is_refused(
    language: str, operation: str, old: str, message: str
) -> None:
    with pytest.raises(PatchConflictError, match=message):
        apply_edit(old, edit_of(language, f"- {operation}"))


def test_lines_inside_literals_are_not_indented() -> None:
    shell = apply_edit(
        "if true; then\n\told\nfi\n",
        edit_of(
            "bash",
            (
                "- replace: {call: old}\n  with: |\n    cat <<E\n    a\n     b\n    E\n    c 'x\n  "
                "  "
                "y'\n"
            ),
        ),
    )
    assert shell == "if true; then\n\tcat <<E\na\n b\nE\n\tc 'x\ny'\nfi\n"
    assert (
        subprocess.run(
            ["bash", "-n"], input=shell, text=True, check=False, capture_output=True
        ).stderr
        == ""
    )
    python = apply_edit(
        "class A:\n    def f(self):\n        pass\n",
        edit_of(
            "python",
            (
                "- replace: {function: f}\n  with: |\n    def f(self):\n        return '''\n    "
                "a\n  "
                "    {b}''', f'''\n    {c}\n    '''\n"
            ),
        ),
    )
    returned = ast.parse(python).body[0]
    assert [node.value for node in ast.walk(returned) if isinstance(node, ast.Constant)] == [
        "\na\n  {b}",
        "\n",
        "\n",
    ]
    assert '        return """' not in python


@pytest.mark.parametrize(
    ("language", "old", "code", "literal"),
    [
        (
            "cpp",
            "struct A {\n  void f() {}\n};\n",
            'void f() {\n  s = R"q(x\ny)q";\n}',
            'R"q(x\ny)q"',
        ),
        (
            "rust",
            "impl A {\n    fn f() {}\n}\n",
            'fn f() {\n    let s = r#"x\ny"#;\n}',
            'r#"x\ny"#',
        ),
        ("rust", "impl A {\n    fn f() {}\n}\n", 'fn f() {\n    let s = "x\ny";\n}', '"x\ny"'),
        ("cmake", "if(A)\n  f()\nendif()\n", 'f([=[x\ny]=] "z\nq")', '[=[x\ny]=] "z\nq"'),
        ("meson", "if a\n  f()\nendif\n", "f('''x\ny''')", "'''x\ny'''"),
    ],
)
def test_literals_of_each_language_stay_as_written(
    language: str, old: str, code: str, literal: str
) -> None:
    selector = "function" if language in {"cpp", "rust"} else "call"
    new = apply_edit(
        old,
        edit_of(
            language,
            f"- replace: {{{selector}: f}}\n  with: |\n{indent(code, '    ', lambda _: True)}\n",
        ),
    )
    assert literal in new


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_line_end_is_that_of_its_own_line(newline: str) -> None:
    text = f"a(){newline}b()\nc(){newline}d()\n"
    changed = apply_edit(text, edit_of("python", "- insert: {before: {call: c}, text: x()}"))
    assert changed == f"a(){newline}b()\nx(){newline}c(){newline}d()\n"
    assert (
        apply_edit(text, edit_of("python", "- insert: {after: {call: b}, text: x()}"))
        == f"a(){newline}b()\nx()\nc(){newline}d()\n"
    )


def code(language: str, operation: str, old: str) -> str:
    document = f"path: f\nlanguage: {language}\noperations:\n{indent(f'- {operation}', '  ')}\n"
    return apply_edit(old, parse(CodeEdit, document, name="edit"))


LOG = "replace: {pattern: 'f($A)'}\n  with: "
MEMBERS = "struct s x = {\n  .a = 1,\n  .b = 2\n};\n"
ENUM = "enum e {\n  A,\n  B\n};\n"


@pytest.mark.parametrize(
    ("language", "operation", "old", "new"),
    [
        # Beside an item of a list a comma is needed, and there may be one already.
        ("c", "insert: {after: {assignment: .b}, text: .c = 2}", MEMBERS,
         MEMBERS.replace("2\n", "2,\n  .c = 2\n")),
        ("c", "insert: {after: {assignment: .a}, text: '.c = 2,'}", MEMBERS,
         MEMBERS.replace("1,\n", "1,\n  .c = 2,\n")),
        ("c", "insert: {before: {assignment: .a}, text: .c = 2}", MEMBERS,
         MEMBERS.replace("{\n", "{\n  .c = 2,\n")),
        ("c", "insert: {after: {assignment: B}, text: C}", ENUM, ENUM.replace("B\n", "B,\n  C\n")),
        ("c", "insert: {after: {assignment: A}, text: 'C,'}", ENUM,
         ENUM.replace("A,\n", "A,\n  C,\n")),
        ("c", "insert: {before: {assignment: B}, text: C}", ENUM,
         ENUM.replace("A,\n", "A,\n  C,\n")),
        ("c", "remove: {assignment: A}", "enum e { A = 1, B };\n", "enum e { B };\n"),
        ("c", "remove: {assignment: B}", "enum e { A, B, };\n", "enum e { A, };\n"),
        ("cpp", "insert: {after: {call: f}, text: g()}", "int a[] = {f(), 2};\n",
         "int a[] = {f(), g(), 2};\n"),
        ("python", "insert: {after: {call: f}, text: 'g(),'}",
         "a = [\n    f(),  # one\n    2,\n]\n", "a = [\n    f(),  # one\n    g(),\n    2,\n]\n"),
        ("python", "insert: {after: {call: f}, text: g()}", "h(f())\n", "h(f(), g())\n"),
        ("rust", "remove: {assignment: a}", "fn z() { let s = S { a: 1, b: 2 }; }\n",
         "fn z() { let s = S { b: 2 }; }\n"),
        ("python", "item: {of: {assignment: a}, add: c}", "a = ()\n", "a = (c,)\n"),
        ("cmake", "remove: {function: f}", "function(F)\n  g()\nendfunction()\nh()\n", "h()\n"),
        ("cmake", "remove: {function: f}", 'macro("f")\n  g()\nendmacro()\nh()\n', "h()\n"),
        # An anchor that has a line for itself.
        ("text", "insert: {after: {anchor: RUN make}, text: RUN test}", "FROM x\nRUN make\nCMD y\n",
         "FROM x\nRUN make\nRUN test\nCMD y\n"),
        ("text", "insert: {before: {anchor: RUN make}, text: RUN test}",
         "FROM x\n  RUN make\nCMD y\n", "FROM x\n  RUN test\n  RUN make\nCMD y\n"),
        ("text", "insert: {after: {anchor: 'RUN a \\'}, text: '  && z \\'}",
         "RUN a \\\n  && b\nCMD x\n", "RUN a \\\n  && z \\\n  && b\nCMD x\n"),
        ("text", "insert: {after: {anchor: 'RUN a \\'}, text: '# why'}",
         "RUN a \\\n  && b\nCMD x\n", "RUN a \\\n# why\n  && b\nCMD x\n"),
        ("text", "remove: {anchor: '  && b \\'}", "RUN a \\\n  && b \\\n  && c\n",
         "RUN a \\\n  && c\n"),
        ("text", "remove: {anchor: ' \\\n  && b'}".replace("'", '"').replace("\\",
            "\\\\").replace("\n", "\\n"), "RUN a \\\n  && b\nCMD x\n", "RUN a\nCMD x\n"),
        ("text", "insert: {after: {anchor: RUN}, text: ' -q'}", "RUN make\n", "RUN -q make\n"),
        # The body of a block grows at both of its ends.
        ("cmake", "insert: {after: {call: if}, text: z()}", "if(x)\n g()\n k()\nendif()\n",
         "if(x)\nz()\n g()\n k()\nendif()\n"),
        ("cmake", "insert: {before: {call: endforeach}, text: z()}",
         "foreach(x)\n g()\n k()\nendforeach()\n", "foreach(x)\n g()\n k()\nz()\nendforeach()\n"),
        # A command goes with what is redirected.
        ("bash", "wrap: {call: f}\n  with: 'if $MATCH; then g; fi'", "f > z\n",
         "if f > z; then g; fi\n"),
        ("bash", "wrap: {call: f}\n  with: '{ $MATCH; g; }'", "f a 2>&1 < y\n",
         "{ f a 2>&1 < y; g; }\n"),
        ("bash", "insert: {after: {call: f}, text: g}", "f &  # why\nh\n", "f &  # why\ng\nh\n"),
        ("c", "replace: {pattern: 'f($A)'}\n  with: g($A)", "void z() { f(x); }\n",
         "void z() { g(x); }\n"),
        ("c", "replace: {pattern: 'f($$$A)'}\n  with: g($$$A)", "int a = f(x, 2);\n",
         "int a = g(x, 2);\n"),
        ("c", "remove: {call: f}", "void z() {\n  for (;;)\n    f();\n}\n",
         "void z() {\n  for (;;)\n    ;\n}\n"),
        # Statements for a call that is one.
        ("c", "wrap: {call: f}\n  with: 'if (x) { $MATCH; }'", "void z() { f(1); }\n",
         "void z() { if (x) { f(1); } }\n"),
        ("rust", "wrap: {call: f}\n  with: 'unsafe { $MATCH; }'", "fn z() { f(1); }\n",
         "fn z() { unsafe { f(1); } }\n"),
        *((language, f"replace: {{call: f}}\n  with: '{new}'",
           f"{head} z() {{\n  f(1);\n  k();\n}}\n", f"{head} z() {{\n  g(); h(x);\n  k();\n}}\n")
          for language, head in (("c", "void"), ("cpp", "void"),
                                 ("rust", "fn")) for new in ("g(); h(x)", "g(); h(x);")),
        ("rust", "replace: {call: f}\n  with: 'S { a: 1 }'", "fn z() { f(1); }\n",
         "fn z() { S { a: 1 }; }\n"),
        ("cpp", "insert: {before: {function: g}, text: 'private: int z; public:'}",
         "class A {\npublic:\n  int f();\n  int g() { return 1; }\n};\n",
         "class A {\npublic:\n  int f();\n  private: int z; public:\n  int g() { return 1; }\n"
         "};\n"),
        ("cpp", "remove: {class: A}", "int z;\nclass A final : public B {\n  void f() {}\n};\n",
         "int z;\n"),
        ("python", "remove: {assignment: b}", "a = 1\n#: Of b,\n#: and more.\nb = 2\nc = 3\n",
         "a = 1\nc = 3\n"),
        ("python", "remove: {assignment: b}", "a = 1  #: Of a.\nb = 2  #: Of b.\nc = 3\n",
         "a = 1  #: Of a.\nc = 3\n"),
        ("python", "insert: {before: {assignment: b}, text: d = 4}", "a = 1  #: Of a.\nb = 2\n",
         "a = 1  #: Of a.\nd = 4\nb = 2\n"),
        ("cpp", "remove: {assignment: a}", "int x;\nint a = 1;\n///< Of a.\nint b; ///< Of b.\n",
         "int x;\nint b; ///< Of b.\n"),
        # A comment in the middle of a line stays behind its argument or item.
        ("c", "argument: {of: {call: f}, add: x}", "void z() {\n  f(a,\n    b /* B. */);\n}\n",
         "void z() {\n  f(a,\n    b, /* B. */\n    x);\n}\n"),
        *((language, "argument: {of: {call: f}, add: x}", f"{head} z() {{ f(a, b /* B. */); }}\n",
           f"{head} z() {{ f(a, b, /* B. */ x); }}\n") for language,
           head in (("c", "void"), ("cpp", "void"), ("rust", "fn"))),
        ("cpp", "item: {of: {assignment: a}, add: '3'}", "int a[] = {1 /* one */, 2 /* two */};\n",
         "int a[] = {1 /* one */, 2, /* two */ 3};\n"),
        ("cpp", "item: {of: {assignment: a}, add: '3'}", "int a[] = {1, 2, /* two */};\n",
         "int a[] = {1, 2, /* two */ 3};\n"),
        ("cmake", "argument: {of: {call: f}, add: x}", "f(a #[[A.]])\n", "f(a #[[A.]] x)\n"),
        ("cmake", "argument: {of: {call: f}, add: x}", "f( # c\n)\n", "f( # c\n  x\n)\n"),
        ("c", "include: {add: '#include <a.h>'}", "#define _GNU_SOURCE 1\nint x;\n",
         "#define _GNU_SOURCE 1\n#include <a.h>\nint x;\n"),
        ("python", LOG + "'log(\"$A\")'", "f(x + 1)\n", 'log("x + 1")\n'),
        ("python", LOG + "'log($A, \"a\")'", "f('x')\n", "log('x', \"a\")\n"),
    ],
)  # fmt: skip
def test_what_stands_around_a_change_is_heeded(
    language: str, operation: str, old: str, new: str
) -> None:
    assert code(language, operation, old) == new


@pytest.mark.parametrize(
    ("language", "operation", "old", "reason"),
    [
        ("python", LOG + "'log(\"$A\")'", 'f(" + x + ")\n', "stands in quotes"),
        ("python", LOG + "'log(f\"{$A}\")'", "f({1, 2})\n", "stands in quotes"),
        ("python", LOG + "'log(\"\"\"$A\"\"\")'", "f('\\n')\n", "stands in quotes"),
        ("rust", LOG + "'log!(\"$A\")'", 'fn z() { f("x"); }\n', "stands in quotes"),
        ("cpp", LOG + "'log(\"$A\")'", 'int a = f("x");\n', "stands in quotes"),
        ("bash", "wrap: {call: f}\n  with: 'if $MATCH; then g; fi'", "f <<E\na\nE\n",
         "here-document"),
        ("c", "replace: {call: f}\n  with: '*p'", "int a = b/f();\n", "would begin a comment"),
        ("cpp", "replace: {call: f}\n  with: '/ 2'", "int a = b /f();\n", "is no cpp any more"),
        ("meson", "replace: {call: f}\n  with: '-g()'", "a = f().get('x')\n",
         "operator of its own"),
        ("meson", "replace: {call: f}\n  with: x + y", "a = f()[0]\n", "operator of its own"),
        ("cmake", "argument: {of: {call: set, argument: A}, remove: x}", "set(A x)\n",
         "unsets the variable"),
        ("cmake", "item: {of: {assignment: A}, remove: x}", "set(A x)\n", "unsets the variable"),
        ("cmake", "item: {of: {assignment: A}, remove: x}", "set(A x PARENT_SCOPE)\n",
         "unsets the variable"),
        ("cmake", "item: {of: {assignment: A}, add: z}", 'set(A "")\n', "is the empty list"),
        # A value that is used, and a chain of calls of one name.
        *((language, "remove: {call: f}", text, "its value is used") for language, text in [
            ("python", "try: pass\nexcept f(): pass\n"), ("python", "x[f():]\n"),
            ("cpp", "void z() { throw f(); }\n"), ("c", "int z(int x) { return x ? f() : 1; }\n"),
            ("cpp", "void z() { a[f()] = 1; }\n"), ("rust", "fn z() { let a = 1..f(); }\n"),
        ]),
        *((language, "remove: {call: .add, argument: '2'}", text, "part of a chain") for language,
          text in [
            ("python", "b.add(1).add(2)\n"), ("cpp", "void z() { m.add(1).add(2); }\n"),
            ("rust", "fn z() { m.add(1).add(2); }\n"),
        ]),
        ("cpp", "insert: {before: {call: f}, text: g();}", "void z() { while (f()) {} }\n",
         "is used where it stands"),
        ("c", "insert: {after: {anchor: 'f();'}, text: g();}",
         "void z() {\n  if (x)\n    f();\n  h();\n}\n", "would stand outside"),
        *((language, "insert: {before: {call: f}, text: g();}",
           f"void z() {{\n  {head}\n    f();\n  h();\n}}\n",
           "without braces, or stands behind a label")
          for language in ("c", "cpp") for head in ("if (x)", "for (;;)", "while (x)",
              "if (x) k(); else", "out:")),
        ("c", "remove: {call: f}", "void z() {\n#pragma omp parallel\n f();\n h();\n}\n",
         "stands over it"),
        ("cpp", "insert: {before: {function: f}, text: int n;}",
         "#pragma omp declare simd\nint f(void) { return 1; }\n", "stands over it"),
        ("cpp", "replace: {call: f}\n  with: a + b", "void z() { delete f(); }\n", "Put brackets"),
        # What follows an expression in braces of an f-string is its format.
        ("python", "replace: {call: f}\n  with: 'q := 1'", 'x = f"{f()}"\n', "Put brackets"),
        # A text below an attribute documents it, whatever way it goes from there.
        *(("python", operation, text, "attribute than now|docstring no more") for operation in
          ("remove: {assignment: b}", "remove: {anchor: 'b = 2'}",
           "insert: {after: {assignment: b}, text: d = 3}")
          for text in ('a = 1\nb = 2\n"""Of b."""\nc = 3\n',
                       'class A:\n  a: int = 1\n  b = 2\n  """Of b."""\n',
                       'class A:\n  """Of A."""\n  b = 2\n  \'Of b.\'\n  c = 2\n')),
        ("python", "remove: {assignment: self.b}",
         'def f(self):\n    self.a = 1\n    self.b = 2\n    """B."""\n', "attribute than now"),
        # Words that hold for all members behind them.
        *(("cpp", operation, "class A {\npublic:\n  int f() { return 1; }\n"
                             "  int g() { return 1; }\n};\n", "would be private")
          for operation in ("insert: {before: {function: g}, text: 'private:'}",
                            "insert: {after: {function: f}, text: 'private: int z;'}")),
        ("cpp", "insert: {before: {function: f}, text: 'public:'}",
         "class A {\n  int f() { return 1; }\n};\n", "would be public"),
        # Lines that a backslash continues.
        *(("text", operation, "RUN a \\\n  && b\nCMD x\n",
           "would be continued by 'CMD x'") for operation in
          ("remove: {anchor: '  && b'}", "remove: {anchor: '&& b'}",
           "replace: {anchor: '  && b'}\n  with: ''",
           "replace: {anchor: '  && b'}\n  with: '  && c \\'")),
        *(("text", f"insert: {place}", "RUN a \\\n  && b\nCMD x\n",
           "would no more be continued by '&& b'") for place in
          ("{after: {anchor: 'RUN a \\'}, text: '  && z'}",
           "{before: {anchor: '  && b'}, text: '  && z'}")),
        ("rust", "replace: {call: f}\n  with: a as u8", "fn z() { f()[0]; }\n", "Put brackets"),
    ],
)  # fmt: skip
def test_what_would_mean_something_else_there_is_refused(
    language: str, operation: str, old: str, reason: str
) -> None:
    with pytest.raises(PatchConflictError, match=reason):
        code(language, operation, old)


@pytest.mark.parametrize(
    "new", ["# why\nh()", "# why\n# and how\nif a:\n    h()\n", "# why\nh()\n# so"]
)
@pytest.mark.parametrize("head", ["def f():\n", "if a:\n", "def f():\n    # about\n", "try:\n"])
@pytest.mark.parametrize("tail", ["", "    i()\n", "\n\n# end\n"])
def test_a_comment_may_be_put_at_the_head_of_a_block_with_what_it_is_about(
    new: str, head: str, tail: str
) -> None:
    rest = "finally:\n    pass\n" if head == "try:\n" else ""
    old = f"{head}    g()\n{tail}{rest}"
    operation = f"- insert:\n    before: {{call: g}}\n    text: |\n{indent(new, '      ')}"
    first, rest = old.split("\n", 1)
    wanted = f"{first}\n{indent(new.strip(), '    ')}\n{rest}"
    assert apply_edit(old, edit_of("python", operation)) == wanted


@pytest.mark.parametrize(
    "head",
    ["def f():", "if a:", "class A:", "for i in k:", "with a as b:  # why", "lambda_(1)\nif a:"],
)
@pytest.mark.parametrize(
    ("statement", "selector"),
    [
        ("g()", "{call: g}"),
        ("x = g()", "{assignment: x}"),
        ("def g():\n        h()", "{function: g}"),
        ("@d\n    class G:\n        h()", "{class: G}"),
        ("if g():\n        h()", "{pattern: 'if g(): $$$A'}"),
    ],
)
def test_what_goes_to_the_head_of_a_block_goes_above_its_comments(
    head: str, statement: str, selector: str
) -> None:
    old = f"{head}\n    # about\n    # and more\n    {statement}\n    i()\n"
    operation = f"- insert:\n    before: {selector}\n    text: new()"
    wanted = old.replace("    # about", "    new()\n    # about")
    assert apply_edit(old, edit_of("python", operation)) == wanted


LED = {
    "python": "@a.b\n@pick(\n    1,\n)\ndef f(x):\n    return 1\n",
    "rust": "/// It is.\n#[inline]\npub fn f() {}\n",
    "cpp": "template <class T>\n[[nodiscard]] __attribute__((noinline, visibility("
    '"default")))\nint f(T t) { return 1; }\n',
    "c": "__attribute__((noinline)) static int f(void) { return 1; }\n",
}


@pytest.mark.parametrize(
    ("language", "new", "last"),
    [
        ("python", "def f(x):\n    return 2", 4),
        ("python", "@c\n@pick(\n    2,\n)\ndef f(x):\n    return 2", 4),
        ("rust", "pub fn f() { g() }", 2),
        ("cpp", "int f(T t) { return 2; }", 2),
    ],
)
def test_a_replacement_leaves_what_stands_before_a_definition(
    language: str, new: str, last: int
) -> None:
    operation = f"- replace: {{function: f}}\n  with: |\n{indent(new, '    ')}"
    led = "".join(LED[language].splitlines(keepends=True)[:last])
    assert apply_edit(LED[language], edit_of(language, operation)) == f"{led}{new}\n"


@pytest.mark.parametrize(
    ("language", "new", "now"),
    [
        ("c", "int f(void) { return 2; }", "__attribute__((noinline)) int f(void) { return 2; }\n"),
        ("c", "__attribute__((cold)) int f(void) { return 2; }",
         "__attribute__((cold)) int f(void) { return 2; }\n"),
        ("cpp", "[[maybe_unused]] int f(T t) { return 2; }",
         "template <class T>\n[[maybe_unused]] int f(T t) { return 2; }\n"),
    ],
)  # fmt: skip
def test_attributes_give_way_to_others(language: str, new: str, now: str) -> None:
    operation = f"- replace: {{function: f}}\n  with: '{new}'"
    assert apply_edit(LED[language], edit_of(language, operation)) == now


@pytest.mark.parametrize(
    ("language", "new"),
    [
        ("python", "@a.b\ndef f(x):\n    return 2"),
        ("python", "@c\n@a . b\ndef f(x):\n    return 2"),
        ("rust", "#[inline]\npub fn f() { g() }"),
        ("rust", "/// It is.\npub fn f() { g() }"),
        ("cpp", "template <typename U>\nint f(U t) { return 2; }"),
    ],
)
def test_what_a_replacement_leaves_it_does_not_bring_again(language: str, new: str) -> None:
    operation = f"- replace: {{function: f}}\n  with: |\n{indent(new, '    ')}"
    with pytest.raises(PatchConflictError, match="would be there twice"):
        apply_edit(LED[language], edit_of(language, operation))


@pytest.mark.parametrize("over", ["//! About the file.\n", "/*! About the file. */\n"])
def test_the_documentation_of_a_module_of_rust_stays_at_its_head(over: str) -> None:
    operation = "- insert:\n    before: {function: f}\n    text: use a::b;"
    old = f"#![allow(x)]\n{over}// Why.\nfn f() {{}}\n"
    wanted = f"#![allow(x)]\n{over}use a::b;\n// Why.\nfn f() {{}}\n"
    assert apply_edit(old, edit_of("rust", operation)) == wanted
