"""What each language asks for beyond the span of a match.

Decorators, semicolons, empty blocks, commas and comments.
"""

from __future__ import annotations

from textwrap import dedent, indent

import pytest

from forkhouse.core.errors import DocumentError, PatchConflictError
from forkhouse.documents.reading import parse
from forkhouse.patches.edits import AddedFile, FileEdit, StructuralEdit
from forkhouse.patches.operations import apply_edit, effect_present

HEADER = "Subject: s\nDescription: d\nOrigin: o\nForwarded: no\nRetire-When: never\n"


def edit_of(language: str, operations: str) -> FileEdit:
    document = (
        f"{HEADER}edits:\n  - path: file\n    language: {language}\n    "
        f"operations:\n{indent(dedent(operations), '      ')}\n"
    )
    (edit,) = parse(StructuralEdit, document, name="edit").edits
    assert not isinstance(edit, AddedFile)
    return edit


@pytest.mark.parametrize(
    ("language", "operation", "old", "new"),
    [
        # What is called may be a call itself.
        ("python", "remove: {call: super().load}", "a()\nsuper().load(1)\n", "a()\n"),
        ("cpp", "remove: {call: get().load}", "void f() {\n  a();\n  get().load(1);\n}\n",
         "void f() {\n  a();\n}\n"),
        # Imports: found in the tree, not in a docstring or comment; in any layout; where none is,
        # at the head of the file.
        ("python", "import: {add: import z}", '"""D.\n\nimport it\n"""\nx = 1\n',
         '"""D.\n\nimport it\n"""\nimport z\n\nx = 1\n'),
        ("python", "import: {add: import z}", "from a import (\n    b,\n)\n\nx = 1\n",
         "from a import (\n    b,\n)\nimport z\n\nx = 1\n"),
        ("python", "import: {add: import z}", "import os\ndef f(): pass\nimport late\n",
         "import os\nimport z\ndef f(): pass\nimport late\n"),
        ("python", "import: {add: import z}", "def f():\n  import z\n",
         "import z\n\ndef f():\n  import z\n"),
        ("python", "import: {remove: 'from a import b, c'}",
         "from a import (\n    b,\n    c,\n)  # x\ny\n", "y\n"),
        (
            "python",
            "import: {add: from __future__ import annotations}",
            '"""D."""\nimport os\n',
            '"""D."""\nfrom __future__ import annotations\n\nimport os\n',
        ),
        ("rust", "import: {add: 'use a::b;'}", "//! d\n/// f\n#[x]\nfn f() {}\n",
         "//! d\nuse a::b;\n\n/// f\n#[x]\nfn f() {}\n"),
        ("rust", "import: {remove: 'use a::{b, c};'}", "use a::{\n  b,\n  c,\n};\nfn f() {}\n",
         "fn f() {}\n"),
        (
            "c",
            "include: {add: '#include <z.h>'}",
            "/*\n#include <no.h>\n*/\n#include <a.h>\n#ifdef X\n#include <b.h>\n#endif\n",
            (
                "/*\n#include <no.h>\n*/\n#include <a.h>\n#include <z.h>\n#ifdef X\n#include "
                "<b.h>\n#endif\n"
            ),
        ),
        ("cpp", "include: {add: '#include <z.h>'}", "// l\n#pragma once\n\nint x;\n",
         "// l\n#pragma once\n\n#include <z.h>\n\nint x;\n"),
        (
            "c",
            "include: {add: '#include <z.h>'}",
            "#ifndef A_H\n#define A_H\nint x;\n#endif\n",
            "#ifndef A_H\n#define A_H\n#include <z.h>\n\nint x;\n#endif\n",
        ),
        ("c", "include: {add: '#include <z.h>'}", "#ifndef A\n# define A 1\nint x;\n#endif\n",
         "#ifndef A\n# define A 1\n#include <z.h>\n\nint x;\n#endif\n"),
        # A condition around a whole file is a guard only where it defines what it asks for.
        ("cpp", "include: {add: '#include <z.h>'}",
         '#ifdef C\nextern "C" {\n#endif\nint f();\n#ifdef C\n}\n#endif\n',
         '#include <z.h>\n\n#ifdef C\nextern "C" {\n#endif\nint f();\n#ifdef C\n}\n#endif\n'),
        ("c", "include: {add: '#include <z.h>'}", "#ifdef A\n#include <a.h>\n#endif\n",
         "#include <z.h>\n\n#ifdef A\n#include <a.h>\n#endif\n"),
        ("c", "include: {add: '#include <z.h>'}", "#ifndef A\n#define A\n#else\nint y;\n#endif\n",
         "#include <z.h>\n\n#ifndef A\n#define A\n#else\nint y;\n#endif\n"),
        ("c", "include: {remove: '#include <a.h>'}", "# include <a.h> // why\nint x;\n",
         "int x;\n"),
        # What goes with what is removed, and what has to take its place.
        ("python", "remove: {function: f}", "@a\n@b\ndef f(): pass\nx = 1\n", "x = 1\n"),
        ("python", "remove: {function: f}", "class A:\n  # c\n  def f(): pass\n",
         "class A:\n  # c\n  pass\n"),
        ("python", "remove: {assignment: a}", "f(a=1, b=2)\n", "f(b=2)\n"),
        ("python", "remove: {pattern: import os}", "import os  # noqa\nx = 1\n", "x = 1\n"),
        ("c", "remove: {call: f}", "void g() {\n  if (x) f();\n  h();\n}\n",
         "void g() {\n  if (x) ;\n  h();\n}\n"),
        ("c", "remove: {class: X}", "struct X { int a; };\nstruct X *p;\n", "struct X *p;\n"),
        ("c", "remove: {assignment: y}", "int y = 1;\nint z = 1, w = 2;\n", "int z = 1, w = 2;\n"),
        ("cpp", "remove: {function: f}", "int a;\ntemplate <class T>\nvoid f(T a) {}\nint b;\n",
         "int a;\nint b;\n"),
        ("rust", "remove: {function: f}", "#[test]\n#[a]\nfn f() {}\nfn g() {}\n", "fn g() {}\n"),
        ("rust", "remove: {call: h}", "fn f() {\n  h!(1);\n  g();\n}\n", "fn f() {\n  g();\n}\n"),
        ("bash", "remove: {call: b}", "f() {\n  b > log\n}\n", "f() {\n  :\n}\n"),
        ("bash", "remove: {assignment: a}", "if x; then\n a=1\nelse\n b\nfi\n",
         "if x; then\n :\nelse\n b\nfi\n"),
        ("yaml", "remove: {key: a.b}", "a:\n  b: y\nd: 1\n", "a:\n  {}\nd: 1\n"),
        # What stands before a definition stays before it.
        ("python", "insert: {before: {function: f}, text: x = 1}", "@a\ndef f(): pass\n",
         "x = 1\n@a\ndef f(): pass\n"),
        ("python", "replace: {function: f}\n  with: 'def f(): return 1'", "@a\ndef f(): pass\n",
         "@a\ndef f(): return 1\n"),
        ("cpp", "insert: {after: {call: .run}, text: sync();}", "void g() {\n  s->run(1);\n}\n",
         "void g() {\n  s->run(1);\n  sync();\n}\n"),
        # Parts of calls and lists.
        ("python", "argument: {of: {call: f}, remove: a=}", "f(1,  # one\n    a=2)\n",
         "f(1  # one\n    )\n"),
        ("python", "argument: {of: {call: f}, add: c=2}", "f(\n    a,  # x\n    b  # y\n)\n",
         "f(\n    a,  # x\n    b,  # y\n    c=2\n)\n"),
        ("python", "item: {of: {assignment: x}, remove: '1'}", "x = (1, 2)\n", "x = (2,)\n"),
        ("python", "item: {of: {assignment: x}, remove: '2'}", "x = (1, 2)\n", "x = (1,)\n"),
        ("python", "item: {of: {assignment: x}, add: '2'}", "x = (1,)\n", "x = (1, 2)\n"),
        ("cpp", "argument: {of: {call: run}, add: '3'}",
         "void f() { a::run<int>(1); s->run(2); }\n",
         "void f() { a::run<int>(1, 3); s->run(2); }\n"),
        ("bash", "argument: {of: {call: cmake}, add: -DX}", "cmake -S . \\\n  -DY\nmake\n",
         "cmake -S . \\\n  -DY \\\n  -DX\nmake\n"),
        ("bash", "argument: {of: {call: cmake}, remove: -DX}", "cmake -S . \\\n  -DX\nmake\n",
         "cmake -S .\nmake\n"),
        ("cmake", "argument: {of: {call: set}, add: Z}", "set(A (b)\n  # c\n)\n",
         "set(A (b) Z\n  # c\n)\n"),
        ("cmake", "argument: {of: {call: if}, add: Z}", "if(A)\nendif()\n", "if(A Z)\nendif()\n"),
        ("cmake", "item: {of: {assignment: A}, remove: c}", "set(A\n  b # b\n  c)\n",
         "set(A\n  b # b\n  )\n"),
        ("meson", "item: {of: {assignment: x}, remove: \"'a'\"}", "x = ['b', # b\n     'a'] # a\n",
         "x = ['b' # b\n     ] # a\n"),
        # Keys.
        ("yaml", "{set: a.b.1, value: x}", "a:\n  b:\n    - y  # c\n    - z # d\n",
         "a:\n  b:\n    - y  # c\n    - x # d\n"),
        ("yaml", "{set: a, value: [x, 1]}", "a:\n  b: y\nd: 1\n", "a: [x, 1]\nd: 1\n"),
        ("yaml", "{set: a, value: 2}", "a:\nb: 2\n---\nb: 1\n", "a: 2\nb: 2\n---\nb: 1\n"),
        ("yaml", "{add: d, value: true}", "a: {b: 1}", "a: {b: 1}\nd: true"),
        ("yaml", "{add: '\"a.b\".c', value: '1'}", "a.b: {}\n", "a.b: {c: '1'}\n"),
        ("json", "{set: a.b.1, value: x}", '{"a": {"b": [1, 2]}}', '{"a": {"b": [1, "x"]}}'),
        ("json", "{add: a.c, value: [1, x]}", '{"a": {\n  "b": 1\n}}',
         '{"a": {\n  "b": 1,\n  "c": [1, "x"]\n}}'),
        ("toml", "{add: a.x, value: [1, x]}", "[a]\nb = 1 # x\n\n[c]\n",
         '[a]\nb = 1 # x\nx = [1, "x"]\n\n[c]\n'),
        ("toml", "remove: {key: a.b}", '[a]\nb = ["x"]\n\n[c]\n', "[a]\n\n[c]\n"),
        # Requirements.
        (
            "requirements",
            "requirement: {replace: a, with: \"a>2; python_version>'3'\"}",
            "Metadata-Version: 2.1\nRequires-Dist: a; extra == 'q'\n",
            'Metadata-Version: 2.1\nRequires-Dist: a>2; python_version > "3" and extra == "q"\n',
        ),
        ("requirements", "requirement: {add: b}", "Metadata-Version: 2.1\nName: x\n",
         "Metadata-Version: 2.1\nName: x\nRequires-Dist: b\n"),
        (
            "requirements",
            "requirement: {remove: b}",
            "Metadata-Version: 2.1\nRequires-Dist: b\n\nwritten on\r\nanother\r\nsystem\r\n",
            "Metadata-Version: 2.1\n\nwritten on\r\nanother\r\nsystem\r\n",
        ),
    ],
)  # fmt: skip
def test_an_operation_takes_along_what_belongs_to_it(
    language: str, operation: str, old: str, new: str
) -> None:
    edit = edit_of(language, f"- {operation}")
    assert apply_edit(old, edit) == new
    assert not effect_present(old, edit)


@pytest.mark.parametrize(
    ("language", "operation", "old", "message"),
    [
        ("bash", "remove: {call: b}", "a && b\nc\n", "part of a chain or a condition"),
        ("bash", "remove: {call: b}", "if b; then\n c\nfi\n", "part of a chain or a condition"),
        (
            "python",
            "argument: {of: {call: f}, add: a=1}",
            "f(x for x in y)\n",
            "no arguments that can be told apart",
        ),
        ("python", "remove: {key: a}", "a = 1\n", "python has no keys with a path"),
        ("python", "include: {add: x}", "a = 1\n", "`include` is for c and cpp; python has none"),
        ("c", "import: {add: x}", "int a;\n", "`import` is for python and rust; c has none"),
        ("text", "remove: {anchor: aa}", "aaa\n", "matched 2 times"),
        (
            "yaml",
            "{add: a.b, value: '1'}",
            "a:\n  b: 2\n",
            "a.b is there already, with another value",
        ),
        (
            "yaml",
            "{set: a, value: '1'}",
            "\n".join(f"{' ' * n}k:" for n in range(900)),
            "Edit it as `text`",
        ),
        (
            "cpp",
            "{replace: {anchor: '1)'}, with: '1'}",
            "int x = ;\nvoid f() { g(1); }\nint y;\n",
            "no cpp any more",
        ),
    ],
)
def test_what_would_go_wrong_in_silence_is_refused(
    language: str, operation: str, old: str, message: str
) -> None:
    with pytest.raises(PatchConflictError, match=message):
        apply_edit(old, edit_of(language, f"- {operation}"))


@pytest.mark.parametrize(
    ("language", "operation", "text"),
    [
        ("python", "insert: {before: {call: f}, text: 'g()'}", "g()\nf()\n"),
        ("python", "insert: {before: {function: f}, text: '@a'}", "@a\n@b\ndef f(): pass\n"),
        ("python", "wrap: {call: f}\n  with: g($MATCH)", "g(f(1))\n"),
        ("python", "argument: {of: {call: f}, add: x}", "f(x)\n"),
        ("python", "item: {of: {assignment: f}, add: x}", "f = [x, y]\n"),
        ("python", "import: {add: 'from a import b, c'}", "from a import (b, c)\n"),
        ("cpp", "include: {add: '#include <a.h>'}", "#  include  <a.h>\n"),
        ("requirements", "requirement: {add: a_b>=2}", "A.B>=2\n"),
    ],
)
def test_what_is_there_is_not_added_again(language: str, operation: str, text: str) -> None:
    edit = edit_of(language, f"- {operation}")
    assert effect_present(text, edit)
    with pytest.raises(PatchConflictError, match="would add what is there already"):
        apply_edit(text, edit)


@pytest.mark.parametrize(
    ("language", "operation", "text"),
    [
        # What is to be gone is there under another name, or in another form.
        ("python", "import: {remove: import a}", "import a as b\n"),
        ("python", "import: {remove: import a}", "from a import b\n"),
        ("c", "include: {remove: '#include <a.h>'}", '#include "a.h"\n'),
        ("rust", "import: {remove: 'use a::b;'}", "pub use a::b;\n"),
        (
            "rust",
            "import: {replace: 'use a::b;', with: 'use c::d;'}",
            "use a::{b as q};\nuse c::d;\n",
        ),
        # A longer name that begins alike, and a short word that stands anywhere.
        ("python", "replace: {call: old}\n  with: 'use(nixl_rocm)'", "use(nixl_rocm)_more\n"),
        ("python", "replace: {call: old}\n  with: 'f()'", "f()\n"),
        # The scope is gone, or holds something else.
        ("python", "remove: {call: old, within: {function: gone}}", "x = 1\n"),
        (
            "python",
            "replace: {call: old, within: {function: f}}\n  with: new_thing(1)",
            "def f(): pass\nnew_thing(1)\n",
        ),
        ("python", "argument: {of: {call: gone}, add: x}", "f(x)\n"),
        ("python", "import: {add: import z}", "def f():\n  import z\n"),
        ("c", "include: {add: '#include <a.h>'}", "#ifdef X\n#include <a.h>\n#endif\nint x;\n"),
        (
            "requirements",
            "requirement: {add: a}",
            "Metadata-Version: 2.1\nRequires-Dist: a; extra == 'q'\n",
        ),
    ],
)
def test_nothing_is_taken_for_done_by_accident(language: str, operation: str, text: str) -> None:
    assert not effect_present(text, edit_of(language, f"- {operation}"))


@pytest.mark.parametrize("language", ["c", "cpp", "rust"])
@pytest.mark.parametrize("spaces", ["", " ", "  ", "   ", "\t", "\t  "])
@pytest.mark.parametrize("above", ["", "\n", "\n\n\n"])
def test_an_import_gets_a_whole_line_above_the_first_statement(
    language: str, spaces: str, above: str
) -> None:
    new, first = ("use z::z;", "fn f() {}") if language == "rust" else ("#include <z.h>", "int f;")
    what = "import" if language == "rust" else "include"
    edit = edit_of(language, f"- {what}: {{add: '{new}'}}")
    behind = f"{spaces}{first}\n"
    assert apply_edit(above + behind, edit) == f"{above}{new}\n\n{behind}"


@pytest.mark.parametrize(
    "first",
    [
        "const A: u8 = 1;",
        "extern crate a;",
        'extern "C" {}',
        "impl A {}",
        "let a = 1;",
        "macro_rules! a { () => {} }",
        "a!();",
        "mod a;",
        "#[x]\nmod a {}",
        "/// Of a.\nmod a;",
        "static A: u8 = 1;",
        "struct A;",
        "trait A {}",
        "type A = u8;",
        "union A { a: u8 }",
    ],
)
def test_a_use_of_rust_goes_behind_what_is_about_the_file_and_above_all_else(first: str) -> None:
    edit = edit_of("rust", "- import: {add: 'use z::z;'}")
    assert apply_edit(f"{first}\n", edit) == f"use z::z;\n\n{first}\n"
    for head in ("#![a]\n", "#![a]\n#![b(c)]\n", "//! d\n", "// l\n\n#![a]\n/*! d */\n"):
        assert apply_edit(f"{head}{first}\n", edit) == f"{head}use z::z;\n\n{first}\n"


def test_shell_variables_are_not_metavariables() -> None:
    edit = edit_of("bash", "- replace: {assignment: A}\n  with: 'A=${A:-$HOME}'")
    assert apply_edit("export A=1\n", edit) == "export A=${A:-$HOME}\n"


@pytest.mark.parametrize(
    "operation",
    [
        "{set: a}",
        "{set: '.', value: x}",
        "{add: '', value: x}",
        "{remove: a, value: x}",
        "replace: {anchor: ''}\n  with: x",
    ],
)
def test_an_operation_without_an_aim_is_refused(operation: str) -> None:
    with pytest.raises(DocumentError, match="edit:"):
        edit_of("yaml", f"- {operation}")
