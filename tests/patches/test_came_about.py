"""What an upstream did by itself counts as the effect of an edit only where it is the whole of it.

The same construct, place, version and kind.
"""

from __future__ import annotations

from textwrap import indent

import pytest

from forkhouse.core.errors import PatchConflictError
from forkhouse.documents.reading import parse
from forkhouse.patches.arrival import came_about
from forkhouse.patches.edits import AddedFile, FileEdit, StructuralEdit
from forkhouse.patches.effects import effect_present
from forkhouse.patches.operations import applied_alone, apply_edit

HEADER = "Subject: s\nDescription: d\nOrigin: o\nForwarded: no\nRetire-When: never\n"


def edit_of(language: str, operations: str) -> FileEdit:
    text = (
        f"{HEADER}edits:\n  - path: file\n    language: {language}\n    "
        f"operations:\n{indent(f'- {operations}', '      ')}\n"
    )
    (edit,) = parse(StructuralEdit, text, name="edit").edits
    assert not isinstance(edit, AddedFile)
    return edit


@pytest.mark.parametrize(
    ("language", "template", "now"),
    [
        ("python", "g($MATCH)", "h.g(f(1))\n"),
        ("python", "g($MATCH)", "xg(f(1))\n"),
        ("python", "not $MATCH", "x = not f(1) == 2\n"),
        ("python", "-$MATCH", "x = y -f(1)\n"),
        ("python", "$MATCH + 1", "x = f(1) + 10\n"),
        ("python", "$MATCH.x", "x = f(1).xy\n"),
        ("python", "x = $MATCH", "y.x = f(1)\n"),
        ("python", "x = $MATCH", "x = f(1) + 2\n"),
        ("python", "return $MATCH", "def q():\n    return f(1) or 2\n"),
        ("python", "if z:\n    $MATCH", "if z:\n    f(1)\nelse:\n    g()\n"),
        ("python", "if z:\n    $MATCH", "if z:\n    f(1)\n    g()\n"),
        ("python", "if z:\n    $MATCH", "if y:\n    g()\nelif z:\n    f(1)\n"),
        ("python", "with z:\n    $MATCH", "async def q():\n    async with z:\n        f(1)\n"),
        (
            "c",
            "if (z) {\n  $MATCH\n}",
            "void q(void) {\n  if (z) {\n    f(1);\n  } else {\n    g();\n  }\n}\n",
        ),
        (
            "c",
            "if (z) {\n  $MATCH\n}",
            "void q(void) {\n  if (y) {\n  } else if (z) {\n    f(1);\n  }\n}\n",
        ),
        ("c", "CHECK($MATCH)", "void q(void) { NOCHECK(f(1)); }\n"),
        ("rust", "Some($MATCH)", "fn q() { x.Some(f(1)); }\n"),
        ("bash", "if z; then\n  $MATCH\nfi", "if y; then :; elif z; then\n  f\nfi\n"),
        ("bash", "( $MATCH )", "x=$( f )\n"),
        ("cmake", "if(Z)\n  $MATCH\nendif()", "if(Y)\nelseif(Z)\n  f()\nendif()\n"),
    ],
)
def test_what_is_wrapped_otherwise_is_not_wrapped(language: str, template: str, now: str) -> None:
    assert not effect_present(
        now, edit_of(language, f"wrap: {{call: f}}\n  with: |\n{indent(template, '    ')}")
    )


@pytest.mark.parametrize(
    ("language", "template", "now"),
    [
        ("python", "g($MATCH)", "x = g(f(1)) + 2\n"),
        ("python", "if z:\n    $MATCH", "if z:\n    f(1)  # why\ng()\n"),
        (
            "python",
            "if z:\n    $MATCH\nelse:\n    g()",
            "def q():\n  if z:\n    f(1)\n  else:\n    g()\n",
        ),
        ("c", "if (z) {\n  $MATCH\n}", "void q(void) {\n  if (z)\n  {\n    f(1); // why\n  }\n}\n"),
        ("c", "#ifdef Z\n$MATCH\n#endif", "void q(void) {\n#ifdef Z\n  f(1);\n#endif\n}\n"),
        ("cpp", "CHECK($MATCH)", "void q() { CHECK(f<<<1, 2>>>(3)); }\n"),
        ("bash", "( $MATCH )", "x || ( f )\n"),
        ("meson", "g($MATCH)", "x = g(f('a'))\n"),
        ("cmake", "if(Z)\n  $MATCH\nendif()", "if(Z)\n  f() # why\nendif()\n"),
    ],
)
def test_what_is_wrapped_so_is(language: str, template: str, now: str) -> None:
    assert effect_present(
        now, edit_of(language, f"wrap: {{call: f}}\n  with: |\n{indent(template, '    ')}")
    )


def test_a_longer_name_does_not_keep_a_wrap_away() -> None:
    edit = edit_of("c", "wrap: {call: f}\n  with: CHECK($MATCH)")
    assert (
        apply_edit("void q(void) { NOCHECK(f(1)); }\n", edit)
        == "void q(void) { NOCHECK(CHECK(f(1))); }\n"
    )


def test_what_only_looks_like_it_is_said_so() -> None:
    with pytest.raises(PatchConflictError, match="as a part of something else"):
        apply_edit("x = not f(1) == 2\n", edit_of("python", "wrap: {call: f}\n  with: not $MATCH"))
    with pytest.raises(PatchConflictError, match="by another version, extra, address or condition"):
        apply_edit("a<2\n", edit_of("requirements", "requirement: {add: a>=2}"))


OLD_TO_NEW = "replace: {call: f}\n  with: "
METADATA = "Metadata-Version: 2.1\nName: x\n"


@pytest.mark.parametrize(
    ("language", "operation", "before", "now", "there"),
    [
        # A declaration says all that the edit says.
        ("requirements", "requirement: {add: a>=2}", "b\n", "b\na\n", False),
        ("requirements", "requirement: {add: a>=2}", "b\n", "b\na<2\n", False),
        ("requirements", "requirement: {add: a>=2}", "b\n", "b\nA >= 2\n", True),
        ("requirements", "requirement: {add: 'a[x]'}", "b\n", "b\na\n", False),
        ("requirements", "requirement: {add: a}", "b\n", "b\na[x]>=2\n", True),
        ("requirements", "requirement: {add: a}", "b\n", "b\na; os_name == 'nt'\n", False),
        ("requirements", "requirement: {add: 'a @ https://h.test/a.whl'}", "b\n", "b\na\n", False),
        ("requirements", "requirement: {add: a, extra: g}", METADATA,
         f"{METADATA}Requires-Dist: a; extra == 'g'\n", True),
        ("requirements", "requirement: {add: a, extra: g}", METADATA,
         f"{METADATA}Requires-Dist: a; extra == 'g' and os_name == 'nt'\n", False),
        ("requirements", "requirement: {add: a>1}", "[project]\nname = 'x'\n",
         "[project]\ndependencies = ['a']\n", False),
        ("requirements", "requirement: {add: a>1}", "[project]\nname = 'x'\n",
         "[project]\ndependencies = ['a>1']\n", True),
        # What has no name may be what is gone.
        ("requirements", "requirement: {remove: a}", "a\n", "./a\n", False),
        ("requirements", "requirement: {remove: a}", "a\n./c\n", "./c\n", True),
        # An argument without a keyword is for the parameter that its place says.
        ("python", "argument: {of: {call: f}, add: b}", "f(a)\n", "f(b, a)\n", False),
        ("python", "argument: {of: {call: f}, add: b}", "f(a, k=1)\n", "f(a,\n  b, c, k=1)\n",
         True),
        ("c", "argument: {of: {call: f}, add: b}", "int x = f(a);\n", "int x = f(b, a);\n", False),
        ("cmake", "argument: {of: {call: f}, add: b}", "f(PUBLIC a PRIVATE c)\n",
         "f(PUBLIC a b PRIVATE c)\n", False),
        ("bash", "argument: {of: {call: f}, add: -b}", "f a\n", "f -b a\n", True),
        # A keyword with another value is there.
        ("python", "argument: {of: {call: f}, remove: a=1}", "f(a=1)\n", "f(a=2)\n", False),
        ("python", "argument: {of: {call: f}, remove: a=1}", "f(a=1)\n", "f()\n", True),
        ("python", "argument: {of: {call: f}, replace: a=1, with: b=2}", "f(a=1)\n",
         "f(a=3, b=2)\n", False),
        ("bash", "argument: {of: {call: f}, remove: -DX=ON}", "f -DX=ON\n", "f -DX=OFF\n", False),
        ("yaml", "item: {of: {key: a}, remove: 'b: 1'}", "a: {b: 1, c: 1}\n", "a: {b: 2, c: 1}\n",
         False),
        # A list or a mapping that became the other one.
        ("yaml", "remove: a.b", "a: {b: 1}\n", "a: [{b: 1}]\n", False),
        ("toml", "remove: a.b", "[a]\nb = 1\n", "[[a]]\nb = 1\n", False),
        ("toml", "remove: a.0.b", "[[a]]\nb = 1\n", "[[a]]\nc = 2\n", True),
        # A key that was renamed.
        ("toml", "remove: a.0.b", "[[a]]\nb = 1\n", "[[a]]\nc = 1\n", False),
        ("yaml", "item: {of: {key: a}, remove: b}", "a: [b, c]\n", "a: {b: 1}\n", False),
        ("yaml", "item: {of: {key: a}, remove: b}", "a: [b, c]\n", "a: [c]\n", True),
        # A pattern of a few signs says too little to be missed.
        ("rust", "remove: {pattern: '$A => $B'}", "fn f() { g(1 => 2); }\n",
         "fn f() { match a { _ => 1 } }\n", False),
        ("python", "remove: {pattern: f($A)}", "f(1)\n", "f(1, 2)\n", False),
        ("python", "remove: {pattern: f($A)}", "f(1)\n", "g(1, 2)\n", True),
        # In words, and not in code.
        ("python", "replace: {call: f}\n  with: new_thing(1)", "a = f()\n",
         '"""\na = new_thing(1)\n"""\n', False),
        ("python", "replace: {call: f}\n  with: new_thing(1)", "a = f'{f()}'\n",
         "a = f'{new_thing(1)}'\n", True),
        ("bash", "replace: {call: f}\n  with: new_thing 1", "f\n", "cat <<E\nnew_thing 1\nE\n",
         False),
        ("bash", "replace: {call: f}\n  with: new_thing 1", 'a="$(f)"\n', 'a="$(new_thing 1)"\n',
         True),
        ("cmake", "replace: {assignment: X}\n  with: set(X new_value)", "set(X old)\n",
         "#[[\nset(X new_value)\n]]\n", False),
        ("cmake", "replace: {assignment: X}\n  with: set(X new_value)", "set(X old)\n",
         "set(X new_value)\n", True),
        # What else brings it.
        ("c", "include: {remove: '#include <b.h>'}", "#include <b.h>\n", "#include B_H\n", False),
        ("c", "include: {remove: '#include <b.h>'}", "#include <b.h>\n", "#include_next <b.h>\n",
         False),
        ("c", "include: {remove: '#include <b.h>'}", "#include <b.h>\n", "#include <c.h>\n", True),
        ("python", "import: {remove: from a import b}", "from a import b\n", "from a import *\n",
         False),
        ("python", "import: {remove: from a import b}", "from a import b\n", "from c import *\n",
         True),
        *(("python", "import: {remove: from a import b}", "from a import b\nb()\n", now,
           there) for now, there in [
            ("import a\na.b()\n", False),
            ("import a as c\nc.b()\n", False),
            ("from x import a\na.b()\n", False),
            ("import a\na.c()\n", True),
            ("import c\nc.b()\n", True),
        ]),
        ("python", "import: {remove: import a.b}", "import a.b\n", "from a import b\n", False),
        ("python", "import: {remove: import a.b as c}", "import a.b as c\n",
         "from a import b as c\n", False),
        ("python", "import: {remove: import a.b}", "import a.b\n", "from c import b\n", True),
        ("python", "import: {remove: import a}", "import a\n", "x = import_module('a')\n", False),
        ("python", "import: {remove: import a}", "import a\n", "x = __import__('a.b')\n", False),
        ("python", "import: {remove: import a}", "import a\n", "x = import_module('b')\n", True),
        *((language, "argument: {of: {call: f}, replace: a, with: b}", head + "f(a, c)" + tail,
           head + now + tail, there) for now, there in [
            ("f(b, c)", True), ("f(c, b)", False), ("f(b)", True),
        ] for language, head, tail in [("python", "", "\n"), ("c", "void z(void) {\n  ", ";\n}\n"),
                                       ("rust", "fn z() {\n  ", ";\n}\n")]),
        ("python", "argument: {of: {call: f, argument: a}, replace: a, with: b}", "f(a, c)\n",
         "f(c, b)\n", False),
        ("cmake", "remove: {function: f}", "function(f)\nendfunction()\n",
         "function(F)\nendfunction()\n", False),
        ("python", "import: {replace: import a, with: import b}", "import a\n", "import b\n", True),
        ("python", "import: {replace: import a, with: import b}", "import a\n",
         "if x:\n    import b\n", False),
        ("python", "import: {replace: import a, with: import b}", "if x:\n    import a\n",
         "if x:\n    import b\n", True),
        ("c", "include: {replace: '#include <a.h>', with: '#include <b.h>'}", "#include <a.h>\n",
         "#if X\n#include <b.h>\n#endif\n", False),
        ("rust", "import: {remove: 'use a::b;'}", "use a::b;\n", "use a::*;\n", False),
        ("rust", "import: {remove: 'use a::b;'}", "use a::b;\nfn f() { b(); }\n",
         "fn f() { a::b(); }\n", False),
        ("rust", "import: {remove: 'use a::b;'}", "use a::b;\nfn f() { b(); }\n",
         "fn f() { c(); }\n", True),
        # Entries as a reader sees them, and in the same mapping or list.
        ("yaml", "insert: {after: {key: a}, text: 'b: x'}", "a: 1\n", "a: 1\nb: x\n  y\n", False),
        ("yaml", "insert: {after: {key: a}, text: 'b: {c: 1}'}", "a: 1\n",
         "a: 1\nb:\n  c: 1\n  d: 2\n", False),
        ("yaml", "insert: {after: {key: a}, text: 'b: {c: 1}'}", "a: 1\n", "a: 1\nb:\n  c: 1\n",
         True),
        ("yaml", "insert: {before: {key: b}, text: 'a: x'}", "b: 1\n", "c:\n  a: x\nb: 1\n", False),
        ("yaml", "insert: {before: {key: b}, text: 'a: x'}", "b: 1\n", "c: |\n  a: x\nb: 1\n",
         False),
        ("json", "insert: {before: {key: b}, text: '\"a\": 1'}", '{"b": 1}', '{"a": 1.0, "b": 1}',
         False),
        ("json", "insert: {before: {key: b}, text: '\"a\": 1'}", '{"b": 1}', '{"a":1,"b":1}', True),
        # Behind the branch, and beside what follows.
        ("c", "insert: {after: {call: f}, text: g();}", "void z() {\n  f();\n}\n",
         "void z() {\n  if (x) f();\n  g();\n}\n", False),
        ("c", "insert: {after: {call: f}, text: g();}", "void z() {\n  f();\n}\n",
         "void z() {\n  if (x) { f(); g(); }\n}\n", True),
        ("bash", "insert: {after: {call: f}, text: g}", "f\n", "f\ng &\n", False),
        ("bash", "insert: {after: {call: f}, text: g}", "f\n", "f\ng\n", True),
        # Under a condition, later, or in another function.
        *(("python", f"{OLD_TO_NEW}new_thing()", "def z():\n    f()\n", now, there) for now,
          there in [
            ("def z():\n    new_thing()\n", True),
            ("def z(a):\n    b = 1\n    new_thing()\n", True),
            ("def z():\n    if x:\n        new_thing()\n", False),
            ("def z():\n    if x:\n        g()\n    else:\n        new_thing()\n", False),
            ("def z():\n    for x in y:\n        new_thing()\n", False),
            ("def z():\n    try:\n        g()\n    except E:\n        new_thing()\n", False),
            ("def z():\n    match x:\n        case 1:\n            new_thing()\n", False),
            ("def y():\n    new_thing()\n", False),
            ("def z():\n    def y():\n        new_thing()\n", False),
            ("def z():\n    x and new_thing()\n", False),
            ("def z():\n    lambda: new_thing()\n", False),
            ("def z():\n    new_thing() if x else g()\n", False),
            ("def z():\n    [new_thing() for x in y if x]\n", False),
            ("class Z:\n  def z():\n    new_thing()\n", False),
        ]),
        ("python", f"{OLD_TO_NEW}new_thing()", "if x:\n  f()\n", "if x:\n  new_thing()\n", True),
        ("python", f"{OLD_TO_NEW}new_thing()", "if x:\n  f()\n", "if not x:\n  new_thing()\n",
         False),
        *(("c", f"{OLD_TO_NEW}new_thing()", "void z(void) {\n  f();\n}\n", now, there) for now,
          there in [
            ("void z(int a) {\n  new_thing();\n}\n", True),
            ("void z(void) {\n#if 0\n  new_thing();\n#endif\n}\n", False),
            ("void z(void) {\n#ifdef X\n  g();\n#else\n  new_thing();\n#endif\n}\n", False),
            ("#if 0\nvoid z(void) {\n  new_thing();\n}\n#endif\n", False),
            ("void z(void) {\n  if (x)\n  new_thing();\n}\n", False),
            ("void z(void) {\n  x && new_thing();\n}\n", False),
            ("void z(void) {\n  switch (x) {\n  case 1:\n  new_thing();\n  }\n}\n", False),
            ("void z(void) {\n  while (x) {\n  new_thing();\n  }\n}\n", False),
        ]),
        ("rust", f"{OLD_TO_NEW}new_thing()", "fn z() {\n  f();\n}\n",
         "fn z() {\n  new_thing();\n}\n", True),
        ("rust", f"{OLD_TO_NEW}new_thing()", "fn z() {\n  f();\n}\n",
         "#[cfg(x)]\nfn z() {\n  new_thing();\n}\n", False),
        ("rust", f"{OLD_TO_NEW}new_thing()", "fn z() {\n  f();\n}\n",
         "fn z() {\n  if x {\n  new_thing();\n  }\n}\n", False),
        ("rust", f"{OLD_TO_NEW}new_thing()", "fn z() {\n  f();\n}\n",
         "fn z() {\n  match x {\n  _ => {\n  new_thing();\n  }}\n}\n", False),
        ("bash", f"{OLD_TO_NEW}new_thing 1", "f\n", "new_thing 1\n", True),
        ("bash", f"{OLD_TO_NEW}new_thing 1", "f\n", "if x; then\nnew_thing 1\nfi\n", False),
        ("bash", f"{OLD_TO_NEW}new_thing 1", "f\n", "case x in\na)\nnew_thing 1\n;; esac\n", False),
        ("bash", f"{OLD_TO_NEW}new_thing 1", "f\n", "g() {\nnew_thing 1\n}\n", False),
        ("cmake", f"{OLD_TO_NEW}new_thing(1)", "f()\n", "new_thing(1)\n", True),
        ("cmake", f"{OLD_TO_NEW}new_thing(1)", "f()\n", "if(OFF)\nnew_thing(1)\nendif()\n", False),
        ("cmake", f"{OLD_TO_NEW}new_thing(1)", "if(X)\nf()\nendif()\n",
         "if(X)\nelse()\nnew_thing(1)\nendif()\n", False),
        ("cmake", f"{OLD_TO_NEW}new_thing(1)", "if(X)\nf()\nendif()\n",
         "if(Y)\nendif()\nif(X)\nnew_thing(1)\nendif()\n", True),
        ("cmake", f"{OLD_TO_NEW}new_thing(1)", "f()\n",
         "function(g)\nnew_thing(1)\nendfunction()\n", False),
        ("meson", f"{OLD_TO_NEW}new_thing(1)", "f()\n", "new_thing(1)\n", True),
        ("meson", f"{OLD_TO_NEW}new_thing(1)", "f()\n", "if x\nnew_thing(1)\nendif\n", False),
        ("meson", f"{OLD_TO_NEW}new_thing(1)", "f()\n", "foreach x : y\nnew_thing(1)\nendforeach\n",
         False),
    ],
)  # fmt: skip
def test_an_effect_came_about_or_not(
    language: str, operation: str, before: str, now: str, there: bool
) -> None:
    edit = edit_of(language, operation)
    assert all(came_about(before, now, each, language) for each in edit.operations) is there


@pytest.mark.parametrize(
    ("language", "operation", "text"),
    [
        ("python", "insert: {after: {call: f}, text: g()}", "f()\n# why\ng()\n"),
        ("python", "insert: {before: {call: f}, text: g()}", "g()  # why\nf()\n"),
        ("python", "insert: {before: {call: f}, text: g()}", "g()  # why\n\n# and how\nf()\n"),
        (
            "c",
            "insert: {before: {call: f}, text: g();}",
            "void z(void) {\n  g(); // why\n  f();\n}\n",
        ),
        (
            "c",
            "insert: {after: {call: f}, text: g();}",
            "void z(void) {\n  f(); /* why */\n  // how\n  g();\n}\n",
        ),
        ("bash", "insert: {before: {call: f}, text: g}", "g # why\nf\n"),
        ("cmake", "insert: {before: {call: f}, text: g()}", "g() # why\nf()\n"),
        ("toml", "insert: {before: {key: b}, text: a = 1}", "a = 1 # why\nb = 2\n"),
    ],
)
def test_comments_do_not_hide_what_is_there(language: str, operation: str, text: str) -> None:
    with pytest.raises(PatchConflictError, match="what is there already"):
        apply_edit(text, edit_of(language, operation))


def test_a_comment_that_ends_with_the_words_does_not_count() -> None:
    edit = edit_of("python", "insert: {before: {call: f}, text: g()}")
    assert apply_edit("h()  # not g()\nf()\n", edit) == "h()  # not g()\ng()\nf()\n"


def test_operations_are_judged_in_turn() -> None:
    """What the second one is about is made by the first."""
    edit = edit_of(
        "python",
        (
            "replace: {call: f}\n  with: middle_thing(1)\n- replace: {call: middle_thing}\n  with: "
            "new_thing(2)"
        ),
    )
    first, second = edit.operations
    between = applied_alone("f()\n", first, "python")
    assert between == "middle_thing(1)\n"
    assert came_about(between, "new_thing(2)\n", second, "python")
    assert not came_about("f()\n", "if x:\n    new_thing(2)\n", second, "python")


@pytest.mark.parametrize(
    ("language", "operation", "before", "now", "there"),
    [
        # A number counts another item once one is gone; a key may have gone to another place.
        ("yaml", "remove: l.1", "l: [a, b]\n", "l: [b]\n", False),
        ("yaml", "remove: l.1", "l: [a, b]\n", "l: [a]\n", True),
        ("json", "remove: l.1", '{"l": ["a", "b"]}', '{"l": ["b"]}', False),
        ("toml", "remove: p.1", "[[p]]\nn = 1\n[[p]]\nn = 2\n", "[[p]]\nn = 2\n", False),
        ("yaml", "remove: s.w.r", "s:\n  w:\n    r: 1\n    q: 2\n",
         "s:\n  v:\n    r: 1\n    q: 2\n", False),
        ("yaml", "remove: s.w.r", "s:\n  w:\n    r: 1\n    q: 2\n", "s:\n  v:\n    q: 2\n", True),
        ("toml", "remove: d.t", "[d]\nt = 1\nq = 1\n", "[x.d]\nt = 1\n[d]\nq = 1\n", False),
        # An option in another form.
        ("bash", "argument: {of: {call: f}, remove: --a=/x}", "f --a=/x b\n", "f --a /x b\n",
         False),
        ("bash", "argument: {of: {call: f}, remove: -DX=1}", "f -DX=1 b\n", "f -D X=1 b\n", False),
        ("bash", "argument: {of: {call: f}, remove: -x}", "f -x b\n", "f -vx b\n", False),
        ("bash", "argument: {of: {call: f}, remove: -x}", "f -x b\n", "f -v b\n", True),
        ("rust", "import: {add: 'use a::b;'}", "use q;\n", "use q;\n#[cfg(test)]\nuse a::b;\n",
         False),
    ],
)  # fmt: skip
def test_what_went_is_nowhere_else(
    language: str, operation: str, before: str, now: str, there: bool
) -> None:
    edit = edit_of(language, operation)
    assert all(came_about(before, now, each, language) for each in edit.operations) is there
