"""What an edit may name, and how.

Blocks, methods, operators that look like calls, classes that a typedef names, several at once.
"""

from __future__ import annotations

import ast
import subprocess
import tomllib
from textwrap import indent
from typing import TYPE_CHECKING

import pytest
from mesonbuild import mlog
from mesonbuild.mparser import Parser

from forkhouse.core.errors import PatchConflictError
from forkhouse.documents.reading import parse
from forkhouse.patches.edits import CodeEdit, KeyedEdit
from forkhouse.patches.operations import apply_edit

if TYPE_CHECKING:
    from forkhouse.patches.edits import FileEdit


def edit_of(language: str, operation: str) -> FileEdit:
    document = (
        "path: f\nlanguage: "
        f"{language}\noperations:\n{indent(operation, '    ').replace('    ', '  - ', 1)}\n"
    )
    if language in {"yaml", "json", "toml"}:
        return parse(KeyedEdit, document, name="edit")
    return parse(CodeEdit, document, name="edit")


def done(language: str, operation: str, text: str) -> str:
    return apply_edit(text, edit_of(language, operation))


@pytest.mark.parametrize(
    ("language", "old", "new", "count"),
    [
        ("python", "def g():\n    f(1)\n    f(2)\n", "def g():\n    pass\n", 2),
        ("python", "def g():\n    # why\n    f(1); f(2)\nx = 1\n",
         "def g():\n    # why\n    pass\nx = 1\n", 2),
        ("python", "x; f(1); f(2)\n", "x\n", 2),
        ("python", "f(1); f(2); x\n", "x\n", 2),
        ("python", "if a:\n    f(1)\nelse:\n    f(2)\n    f(3)\n",
         "if a:\n    pass\nelse:\n    pass\n", 3),
        ("python", "a\r\nf(1)\r\nf(2)\r\nb\r\n", "a\r\nb\r\n", 2),
        ("python", "class A:\n    def f(self): pass\n    @d\n    def g(self): pass\n",
         "class A:\n    pass\n", 2),
        ("bash", "g() {\n  f 1\n  f 2\n}\n", "g() {\n  :\n}\n", 2),
        ("bash", "if x; then f 1; f 2; fi\n", "if x; then :; fi\n", 2),
        ("c", "void g() {\n  f(1);\n  f(2);\n  h();\n}\n", "void g() {\n  h();\n}\n", 2),
        ("c", "int g(int x) {\n  if (x) f(1); else f(2);\n}\n",
         "int g(int x) {\n  if (x) ; else ;\n}\n", 2),
        ("c", "void g() {\n  switch (x) {\n    case 1:\n      f(1);\n      f(2);\n  }\n}\n",
         "void g() {\n  switch (x) {\n    case 1:\n      ;\n  }\n}\n", 2),
        ("rust", "fn g() {\n    f(1);\n    f(2);\n}\n", "fn g() {\n}\n", 2),
    ],
)  # fmt: skip
def test_neighbours_are_removed_at_once(language: str, old: str, new: str, count: int) -> None:
    what = (
        "{rule: {any: [{kind: function_definition}, {kind: decorated_definition}], inside: {kind: "
        "block}, not: {inside: {kind: decorated_definition}}}}"
    )
    selector = what if "class A" in old else "{call: f}"
    assert done(language, f"remove: {selector}\ncount: {count}", old) == new
    if language == "python":
        ast.parse(new)
    if language == "bash":
        subprocess.run(["bash", "-n"], input=new, text=True, check=True)


def test_calls_in_calls_go_with_them() -> None:
    assert done("python", "remove: {call: f}\ncount: 2", "f(f(1))\nx\n") == "x\n"


@pytest.mark.parametrize(
    ("operation", "old", "new"),
    [
        ("insert: {after: {call: g, within: {call: if}}, text: x()}",
         "if(A)\n  g(1)\nendif()\ng(2)\n", "if(A)\n  g(1)\n  x()\nendif()\ng(2)\n"),
        ("remove: {call: g, within: {call: if, argument: A}}",
         "if(A)\n  g(1)\n  h()\nendif()\nif(B)\n  g(2)\nendif()\n",
         "if(A)\n  h()\nendif()\nif(B)\n  g(2)\nendif()\n"),
        ("remove: {call: g, within: {call: foreach}}",
         "foreach(x IN LISTS y)\n  g(1)\n  h()\nendforeach()\ng(2)\n",
         "foreach(x IN LISTS y)\n  h()\nendforeach()\ng(2)\n"),
        ("remove: {call: g, within: {call: while}}", "while(x)\n  g(1)\nendwhile()\ng(2)\n",
         "while(x)\nendwhile()\ng(2)\n"),
        ("replace: {call: if}\nwith: if(B)", "if(A)\n  g(1)\nendif()\n",
         "if(B)\n  g(1)\nendif()\n"),
    ],
)  # fmt: skip
def test_a_command_of_cmake_that_begins_a_block_is_a_scope(
    operation: str, old: str, new: str
) -> None:
    assert done("cmake", operation, old) == new


@pytest.mark.parametrize(
    ("call", "old", "new"),
    [
        ("a.method", "b.method()\na.method('y')\n", "b.method()\na.method('y', 'x')\n"),
        ("a . method", "z = 1 + a.method('y')\n", "z = 1 + a.method('y', 'x')\n"),
        (
            "a.b().method",
            "c.b().method()\na.b().method('y')\n",
            "c.b().method()\na.b().method('y', 'x')\n",
        ),
        (
            "\"a['k'].method\"",
            "a['k'].method('y')\na['l'].method()\n",
            "a['k'].method('y', 'x')\na['l'].method()\n",
        ),
        ("\"'s'.method\"", "a = 's'.method('y')\n", "a = 's'.method('y', 'x')\n"),
        (".method", "a.b('').method('y')\n", "a.b('').method('y', 'x')\n"),
    ],
)
def test_a_method_of_meson_is_named_as_it_is_written(call: str, old: str, new: str) -> None:
    assert done("meson", f"argument: {{of: {{call: {call}}}, add: \"'x'\"}}", old) == new
    with mlog.no_logging():
        Parser(new, "meson.build").parse()


@pytest.mark.parametrize("language", ["c", "cpp"])
@pytest.mark.parametrize(
    ("operation", "old", "new"),
    [
        (
            "argument: {of: {call: offsetof}, replace: b, with: c}",
            "int x = offsetof(struct a, b);\n",
            "int x = offsetof(struct a, c);\n",
        ),
        (
            "argument: {of: {call: offsetof}, replace: struct a, with: struct d}",
            "int x = offsetof(struct a, b);\n",
            "int x = offsetof(struct d, b);\n",
        ),
        (
            "replace: {call: offsetof}\nwith: '0'",
            "int x = offsetof(struct a, b);\n",
            "int x = 0;\n",
        ),
        (
            "argument: {of: {call: sizeof}, replace: a, with: b}",
            "int x = sizeof(a);\n",
            "int x = sizeof(b);\n",
        ),
        (
            "argument: {of: {call: sizeof}, replace: int, with: long}",
            "int x = sizeof(int);\n",
            "int x = sizeof(long);\n",
        ),
        ("replace: {call: sizeof}\nwith: '4'", "int x = sizeof a;\n", "int x = 4;\n"),
        (
            "argument: {of: {call: ASSERT}, replace: a==b, with: a!=b}",
            "void f() {\n  ASSERT(a==b);\n}\n",
            "void f() {\n  ASSERT(a!=b);\n}\n",
        ),
    ],
)
def test_what_looks_like_a_call_of_c_is_one(
    language: str, operation: str, old: str, new: str
) -> None:
    assert done(language, operation, old) == new


TYPEDEF = (
    "BEGIN_C_DECLS\n\n/* About X. */\ntypedef struct {\n  int a;\n} X;\n\ntypedef struct y {\n  "
    "int b;\n} Y;\nEND_C_DECLS\n"
)


@pytest.mark.parametrize("language", ["c", "cpp"])
@pytest.mark.parametrize(
    ("operation", "old", "new"),
    [
        ("insert: {before: {class: X}, text: int n;}", "/* About X. */\n",
         "int n;\n/* About X. */\n"),
        ("insert: {after: {class: X}, text: int n;}", "} X;\n", "} X;\nint n;\n"),
        ("insert: {before: {class: y}, text: int n;}", "typedef struct y {",
         "int n;\ntypedef struct y {"),
        ("insert: {before: {class: Y}, text: int n;}", "typedef struct y {",
         "int n;\ntypedef struct y {"),
        ("insert: {after: {class: y}, text: int n;}", "} Y;\n", "} Y;\nint n;\n"),
        ("remove: {class: Y}", "typedef struct y {\n  int b;\n} Y;\n", ""),
        ("replace: {class: y}\nwith: struct y { long b; }", "struct y {\n  int b;\n}",
         "struct y { long b; }"),
        ("wrap: {class: y}\nwith: |\n  #ifdef Q\n  $MATCH\n  #endif",
         "typedef struct y {\n  int b;\n} Y;\n",
         "#ifdef Q\ntypedef struct y {\n  int b;\n} Y;\n#endif\n"),
    ],
)  # fmt: skip
def test_a_class_is_named_by_its_typedef(language: str, operation: str, old: str, new: str) -> None:
    assert done(language, operation, TYPEDEF) == TYPEDEF.replace(old, new)


@pytest.mark.parametrize("language", ["c", "cpp"])
@pytest.mark.parametrize(
    ("opens", "closes"),
    [("BEGIN_C_DECLS", "END_C_DECLS"), ("NS_OPEN", "NS_CLOSE"), ("__BEGIN_DECLS", "__END_DECLS")],
)
def test_a_macro_that_another_one_closes_belongs_to_no_declaration(
    language: str, opens: str, closes: str
) -> None:
    text = (
        f"{opens}\ntypedef struct {{\n  int a;\n}} X;\n{closes}\n{opens}\nint f(void) {{\n  return "
        f"1;\n}}\n{closes}\n"
    )
    assert done(language, "insert: {before: {class: X}, text: int n;}", text) == text.replace(
        "typedef", "int n;\ntypedef"
    )
    assert done(language, "insert: {before: {function: f}, text: int n;}", text) == text.replace(
        "int f", "int n;\nint f"
    )
    assert done(language, "remove: {function: f}", text) == text.replace(
        "int f(void) {\n  return 1;\n}\n", ""
    )
    alone = text.replace(closes, "")
    assert done(language, "insert: {before: {class: X}, text: int n;}", alone) == f"int n;\n{alone}"


@pytest.mark.parametrize(
    "words",
    [
        "__global__ __launch_bounds__(256)",
        "__device__ __forceinline__",
        "__host__ __device__",
        "__global__\n__launch_bounds__(64, 2)",
        "__global__",
    ],
)
def test_words_of_a_gpu_compiler_above_a_function_go_with_it(words: str) -> None:
    text = f"int a;\n\n{words}\nvoid f(int x) {{\n  h();\n}}\nint b;\n"
    assert done("cpp", "remove: {function: f}", text) == "int a;\n\nint b;\n"
    assert done("cpp", "insert: {before: {function: f}, text: int g();}", text) == text.replace(
        words, f"int g();\n{words}"
    )


@pytest.mark.parametrize(
    "above", ["", "int a;\n", "// About it.\n\nint abcdef;\n", "int f(int a) {\n  return a;\n}\n\n"]
)
@pytest.mark.parametrize("said", ["MODULE(one)", "MODULE( one )"])
@pytest.mark.parametrize("language", ["c", "cpp"])
@pytest.mark.parametrize("static", ["", "static "])
def test_a_definition_by_a_macro_is_named_wherever_it_stands(
    language: str, static: str, above: str, said: str
) -> None:
    one, two = (
        f"{static}MODULE({name})\n{{\n  {name}(1);\n}}\nint {name};\n" for name in ("one", "two")
    )
    operation = f"remove: {{function: '{said}'}}"
    assert done(language, operation, above + one + two) == f"{above}int one;\n{two}"
    assert done(language, operation, above + two + one) == f"{above}{two}int one;\n"
    assert done(language, "remove: {function: MODULE}", above + one) == f"{above}int one;\n"
    with pytest.raises(PatchConflictError, match="matched 0 times"):
        done(language, "remove: {function: MODULE(on)}", above + one)


@pytest.mark.parametrize("language", ["c", "cpp"])
@pytest.mark.parametrize("opens", ["Py_BEGIN_ALLOW_THREADS", "Nx_BEGIN", "N_BEGIN"])
def test_a_macro_on_the_line_of_a_statement_hides_no_function(language: str, opens: str) -> None:
    text = (
        f"int f(int n) {{\n  {opens} for (int i = 0; i < n; i++) {{\n    g(i);\n  }}\n  "
        f"{opens.replace('BEGIN', 'END')}\n  return 0;\n}}\n"
    )
    assert done(language, "insert: {after: {call: g}, text: h(i);}", text) == text.replace(
        "g(i);\n", "g(i);\n    h(i);\n"
    )
    assert (
        done(language, "insert: {before: {function: f}, text: int n;}", text) == f"int n;\n{text}"
    )


def test_a_typedef_of_several_names_is_none_of_them() -> None:
    with pytest.raises(PatchConflictError, match="matched 0 times"):
        done("c", "remove: {class: X}", "typedef struct {\n  int a;\n} X, *P;\n")


LIST = 'a = [\'a\', "b", 1_000, 0x10, "\\u0041", true]\n'


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("'\"a\"'", ["b", 1000, 16, "A", True]),
        ("a", ["b", 1000, 16, "A", True]),
        ("\"'b'\"", ["a", 1000, 16, "A", True]),
        ("b", ["a", 1000, 16, "A", True]),
        ("1000", ["a", "b", 16, "A", True]),
        ("1_000", ["a", "b", 16, "A", True]),
        ("'1000'", ["a", "b", 16, "A", True]),
        ("16", ["a", "b", 1000, "A", True]),
        ("A", ["a", "b", 1000, 16, True]),
        ("'\"\\u0041\"'", ["a", "b", 1000, 16, True]),
        ("true", ["a", "b", 1000, 16, "A"]),
    ],
)
def test_an_item_of_toml_is_named_as_it_is_read(said: str, left: list[object]) -> None:
    assert (
        tomllib.loads(done("toml", f"item: {{of: {{key: a}}, remove: {said}}}", LIST))["a"] == left
    )


def test_a_number_in_an_edit_needs_no_quotes() -> None:
    assert done("json", "item: {of: {key: a}, remove: 2}", '{"a": [1, 2]}') == '{"a": [1]}'
    assert done("json", "item: {of: {key: a}, remove: b}", '{"a": [1, "b"]}') == '{"a": [1]}'
    assert (
        done("python", "argument: {of: {call: f}, replace: 0x10, with: 17}", "f(0x10)\n")
        == "f(17)\n"
    )
    assert done("python", "replace: {call: f}\nwith: 0x1F", "x = f()\n") == "x = 0x1F\n"


@pytest.mark.parametrize(
    ("language", "operation", "old", "why"),
    [
        ("python", "replace: {pattern: 'f($A, $$$B)'}\nwith: g()\ncount: 2", "f(a)\nf(a, b)\n",
         r"'f\(a\)' in line 1 is not matched: the comma beside `\$\$\$`"),
        ("rust", "replace: {pattern: 'f($A, $$$B)'}\nwith: g()", "fn g() { f(a); }\n",
         "the comma beside"),
        ("c", "argument: {of: {call: f}, replace: a == b, with: c}", "void g() { f(a==b, 1); }\n",
         "f stands in line 1, and has no argument a == b, but a==b, 1"),
        ("c", "remove: {call: f, argument: a == b}", "void g() { f(a==b, 1); }\n",
         "f in line 1 has no argument a == b, but a==b, 1"),
        ("c", "remove: {call: ASSERT}", "void f() {\n  ASSERT(a==b)\n  g();\n}\n",
         "ASSERT in line 2 has no semicolon behind it, so it counts as a macro"),
        ("c", "argument: {of: {call: offsetof}, replace: x.y, with: z}",
         "int x = offsetof(T, x.y);\n", "the grammar cannot read a part of it, 'x.'"),
        ("python", "replace: {call: f}\nwith: g(", "f()\n",
         "no python any more: .* Python would say: line 1: "),
        ("c", "replace: {call: f}\nwith: g(", "void h() {\n  f();\n}\n",
         "no c any more: .* Its grammar stops at line"),
        ("json", "replace: {key: a}\nwith: '\"a\": ['", '{"a": 1}', "no json any more: .* line 1"),
    ],
)  # fmt: skip
def test_the_reason_is_the_true_one(language: str, operation: str, old: str, why: str) -> None:
    with pytest.raises(PatchConflictError, match=why):
        done(language, operation, old)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("if a:\n    if b:\n        f()\n", 2),
        ("if a:\n    if b:\n        f()\n\nif c:\n    f()\n", 2),
        ("if c:\n    f()\n\nif a:\n    x()\n\n    if b:\n        f()\n", 7),
        ("if a:\n    if b:\n        if c:\n            f()\n", 3),
    ],
)
def test_the_match_without_which_others_would_differ_is_named(text: str, line: int) -> None:
    rule = "{kind: if_statement, has: {pattern: f(), stopBy: end}}"
    operation = f"remove: {{rule: {rule}}}\ncount: {text.count('if ')}"
    with pytest.raises(
        PatchConflictError, match=rf"Without the match in line {line}, .* would match"
    ):
        done("python", operation, text)


@pytest.mark.parametrize(
    "operation", ["remove: {assignment: %s}", "replace: {assignment: %s}\nwith: int n = 7;"]
)
@pytest.mark.parametrize(
    "members", ["n = 0, m{1}", "n = 0, m = 1", "n, m = 1", "n = 0, *m", "n = 0, m[2], k = 2"]
)
def test_a_member_declared_with_others_is_not_taken_for_all_of_them(
    operation: str, members: str
) -> None:
    for name in "nm":
        with pytest.raises(
            PatchConflictError, match=f"{name} is declared together with other members"
        ):
            done("cpp", operation % name, f"struct A {{\n  int {members};\n}};\n")
    alone = "struct A {\n  int k = 1;\n  int n = 0;\n};\n"
    assert done("cpp", "remove: {assignment: n}", alone) == "struct A {\n  int k = 1;\n};\n"


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("python", "a = b = f()\n"),
        ("python", "a = c = b = f()\n"),
        ("python", "self.a = b = f()\n"),
        ("c", "void g(void) { a = b = f(); }\n"),
    ],
)
def test_the_value_of_a_chain_is_that_of_all_its_names(language: str, text: str) -> None:
    with pytest.raises(PatchConflictError, match="assigns to other names than b as well"):
        done(language, "replace: {assignment: b}\nwith: b = 3", text)
