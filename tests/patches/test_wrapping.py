"""What is put around code, and what code becomes behind other white space.

Its words stay, and what its literals hold.
"""

from __future__ import annotations

import ast
import re
import subprocess
from textwrap import indent

import pytest

from forkhouse.core.errors import PatchConflictError
from forkhouse.documents.reading import parse
from forkhouse.patches.edits import CodeEdit
from forkhouse.patches.operations import apply_edit, effect_present


def edit_of(language: str, operation: str) -> CodeEdit:
    return parse(
        CodeEdit,
        (
            "path: f\nlanguage: "
            f"{language}\noperations:\n{indent(operation, '    ').replace('    ', '  - ', 1)}"
        ),
        name="edit",
    )


def wrapped(language: str, selector: str, template: str, text: str) -> str:
    edit = edit_of(language, f"wrap: {selector}\nwith: |\n{indent(template, '  ')}")
    done = apply_edit(text, edit)
    assert effect_present(done, edit)
    with pytest.raises(PatchConflictError):
        apply_edit(done, edit)
    return done


CODE = '''import a


class C:
    x = 1

    @old
    def f(self, y=(1,
                   2)):
        # about s
        s = """one
  two
        three"""
        t = f"""{y
        }
    """
        return s, [
            t,
        ], b"a\\
        b"

    z = 2
'''


def test_a_function_of_python_moves_with_its_decorators_and_not_its_literals() -> None:
    done = wrapped("python", "{function: f}", "if a.on:\n    $MATCH\nelse:\n    f = None\n", CODE)
    (cls,) = (node for node in ast.parse(done).body if isinstance(node, ast.ClassDef))
    (old,) = (node for node in ast.parse(CODE).body if isinstance(node, ast.ClassDef))
    branch = cls.body[1]
    assert isinstance(branch, ast.If)
    assert ast.dump(branch.body[0]) == ast.dump(old.body[1])
    assert [ast.dump(node) for node in (cls.body[0], cls.body[2])] == [
        ast.dump(node) for node in (old.body[0], old.body[2])
    ]
    assert "        # about s\n" in done.replace("            # about s", "        # about s")


def test_crlf_and_tabs_are_kept() -> None:
    code = "class C:\r\n\tdef f(self):\r\n\t\tif 1:\r\n\t\t\treturn 2\r\n"
    done = wrapped("python", "{function: f}", "if X:\n\t$MATCH\n", code)
    assert done == "class C:\r\n\tif X:\r\n\t\tdef f(self):\r\n\t\t\tif 1:\r\n\t\t\t\treturn 2\r\n"


@pytest.mark.parametrize(
    ("language", "selector", "template", "old", "new"),
    [
        ("python", "{class: A}", "try:\n    $MATCH\nexcept E:\n    A = None\n",
         "class A:\n\n    x = 1\n",
         "try:\n    class A:\n\n        x = 1\nexcept E:\n    A = None\n"),
        ("python", "{call: f}", "with a:\n    $MATCH\n", "f(1,\n  2)  # why\n",
         "with a:\n    f(1,\n      2)  # why\n"),
        ("python", "{function: f}", "@new\n$MATCH\n", "@old\ndef f():\n    pass\n",
         "@old\n@new\ndef f():\n    pass\n"),
        ("python", "{function: f}", "# on\n$MATCH\n# off\n",
         "class A:\n    @old\n    def f(): pass\n",
         "class A:\n    # on\n    @old\n    def f(): pass\n    # off\n"),
        ("cpp", "{class: F}", "namespace x {\n  $MATCH\n}\n",
         "/// Of F.\ntemplate <class T>\nstruct F {\n  int a;\n};\nint z;\n",
         "namespace x {\n  /// Of F.\n  template <class T>\n  struct F {\n    int a;\n  };\n}\n"
         "int z;\n"),
        ("cpp", "{class: F}", "#ifdef X\n$MATCH;\n#endif\n", "class F { int a; };\n",
         "#ifdef X\nclass F { int a; };\n#endif\n"),
        ("c", "{class: E}", "#ifdef X\n$MATCH\n#endif\n", "enum E {\n  A,\n};\nint z;\n",
         "#ifdef X\nenum E {\n  A,\n};\n#endif\nint z;\n"),
        ("c", "{call: f}", "if (x) {\n  $MATCH\n}\n", "void g() {\n  f(1,\n    2);\n  h();\n}\n",
         "void g() {\n  if (x) {\n    f(1,\n      2);\n  }\n  h();\n}\n"),
        ("c", "{function: f}", "#if X\n  $MATCH\n#endif\n",
         'int f() {\n#ifdef A\n  p("a\\\n b");\n#endif\n  return 1;\n}\n',
         '#if X\n  int f() {\n#ifdef A\n    p("a\\\n b");\n#endif\n    return 1;\n  }\n#endif\n'),
        ("rust", "{function: f}", "mod q {\n    $MATCH\n}\n",
         '/// D.\n#[x]\nfn f() {\n    "a\n b";\n}\n',
         'mod q {\n    /// D.\n    #[x]\n    fn f() {\n        "a\n b";\n    }\n}\n'),
        ("rust", "{call: g}", "if x {\n    $MATCH\n}\n",
         "fn f() {\n    g(\n        1,\n    );\n    h();\n}\n",
         "fn f() {\n    if x {\n        g(\n            1,\n        );\n    }\n    h();\n}\n"),
        ("bash", "{function: f}", "if x; then\n  $MATCH\nfi\n",
         "f() {\n  cat <<E\n a\nE\n  b \\\n    -c ab\\\ncd 'e\n f'\n}\n",
         "if x; then\n  f() {\n    cat <<E\n a\nE\n    b \\\n      -c ab\\\ncd 'e\n f'\n  }\nfi\n"),
    ],
)  # fmt: skip
def test_a_match_of_several_lines_is_wrapped(
    language: str, selector: str, template: str, old: str, new: str
) -> None:
    assert wrapped(language, selector, template, old) == new
    if language == "python":
        ast.parse(new)
    if language == "bash":
        subprocess.run(["bash", "-n"], input=new, text=True, check=True)


@pytest.mark.parametrize(
    ("operation", "old", "new"),
    [
        # A block that loses what is around it, and one that gets something around it besides.
        ("replace: {pattern: 'with a: $$$B'}\nwith: $$$B\n",
         "def f():\n    with a:\n        b(1,\n          2)\n        c()\n",
         "def f():\n    b(1,\n      2)\n    c()\n"),
        ("replace: {pattern: 'if a: $$$B'}\nwith: |\n  with c:\n      if d:\n          $$$B\n",
         "if a:\n    b()\n    '''\n  x'''\n",
         "with c:\n    if d:\n        b()\n        '''\n  x'''\n"),
    ],
)  # fmt: skip
def test_captured_lines_move_with_their_place(operation: str, old: str, new: str) -> None:
    assert apply_edit(old, edit_of("python", operation)) == new
    ast.parse(new)


def test_a_word_that_would_change_is_refused() -> None:
    # A template cannot put the match into a text.
    edit = edit_of("python", "wrap: {call: f}\nwith: |\n  x = '''\n  $MATCH\n  '''\n")
    with pytest.raises(
        PatchConflictError, match="would not be in what is put around it as it is now"
    ):
        apply_edit("f(1)\n", edit)


def test_the_comment_behind_a_statement_stays_with_it() -> None:
    done = wrapped("python", "{call: f}", "if X:\n    $MATCH\nelse:\n    g()\n", "f(1)  # why\n")
    assert done == "if X:\n    f(1)  # why\nelse:\n    g()\n"
    done = wrapped("c", "{call: f}", "if (x) {\n  $MATCH\n}\n", "void h() {\n  f(1); // why\n}\n")
    assert done == "void h() {\n  if (x) {\n    f(1); // why\n  }\n}\n"


@pytest.mark.parametrize(
    ("selector", "text", "why"),
    [
        (
            "{function: f}",
            "API\nvoid f() {\n  int a;\n}\n",
            "f cannot be wrapped: The macro API stands on a line of its own over it",
        ),
        (
            "{class: F}",
            "struct F {\n  int a;\n} g;\n",
            "F is declared with 'g;', which would be wrapped, too",
        ),
    ],
)
def test_what_would_be_wrapped_besides_is_refused(selector: str, text: str, why: str) -> None:
    with pytest.raises(PatchConflictError, match=why):
        apply_edit(
            text, edit_of("cpp", f"wrap: {selector}\nwith: |\n  namespace x {{\n    $MATCH\n  }}\n")
        )


@pytest.mark.parametrize(
    ("language", "template", "text"),
    [
        ("c", "if (x) {\n  $MATCH\n}\n", "void g() {\n  f(1); /* why\n   it is so */\n  h();\n}\n"),
        (
            "rust",
            "if x {\n    $MATCH\n}\n",
            "fn g() {\n    f(1); /* why\n    it is so */\n    h();\n}\n",
        ),
        ("cmake", "if(X)\n  $MATCH\nendif()\n", "f(a) #[[ why\nit is so ]]\ng()\n"),
    ],
)
def test_a_comment_of_several_lines_stays_behind_its_statement(
    language: str, template: str, text: str
) -> None:
    with pytest.raises(PatchConflictError, match="A comment of several lines begins behind f"):
        wrapped(language, "{call: f}", template, text)
    done = wrapped(
        language,
        "{call: f}",
        template,
        text.replace("\n   it", " it").replace("\n    it", " it").replace("\nit", " it"),
    )
    assert re.search(
        r"f\(\w\);? \S+ why it is so \S+\n +\}|f\(\w\) #\[\[ why it is so \]\]\nendif", done
    )


@pytest.mark.parametrize(
    ("language", "ended", "opened"),
    [
        ("c", "", "/* why\n  so */"),
        ("cpp", "/* why */", " /* and\n  so */"),
        ("c", "/* why */ /**/", "/*\n*/"),
        ("rust", "/* why */", "/* and\n  so */"),
        ("cmake", "", "#[[ why\n  so ]]"),
        ("cmake", "", "#[==[ why ]]\n  so ]==]"),
        ("cmake", "#[[ why ]]", " #[=[ and\n  so ]=]"),
    ],
)
def test_a_comment_that_goes_on_below_a_match_is_not_parted_from_it(
    language: str, ended: str, opened: str
) -> None:
    head, end, block = {
        "rust": ("fn f() {\n  g(1); ", "\n  h();\n}\n", "if x {\n  $MATCH\n}\n"),
        "cmake": ("g(1) ", "\nh()\n", "if(X)\n  $MATCH\nendif()\n"),
    }.get(language, ("void f() {\n  g(1); ", "\n  h();\n}\n", "if (x) {\n  $MATCH\n}\n"))
    with pytest.raises(
        PatchConflictError, match=r"A comment of several lines begins behind g\(1\)"
    ):
        wrapped(language, "{call: g}", block, f"{head}{ended}{opened}{end}")
    if ended:
        done = wrapped(language, "{call: g}", block, f"{head}{ended}{end}")
        (line,) = (each for each in done.splitlines() if "g(1)" in each)
        assert line.endswith(ended)


def test_plain_text_has_no_comments() -> None:
    text = "FROM x /* why\nso */\nRUN y\n"
    done = wrapped("text", "{anchor: FROM x}", "A\n$MATCH\nB\n", text)
    assert done == "A\nFROM x\nB\n /* why\nso */\nRUN y\n"
