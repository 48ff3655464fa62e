"""Arguments that are added beside keywords.

Where they go, read by Python and Meson themselves, and where no place is one.
"""

from __future__ import annotations

import ast
import subprocess

import pytest
from mesonbuild import mlog
from mesonbuild.mparser import Parser

from forkhouse.core.errors import PatchConflictError
from forkhouse.documents.reading import parse
from forkhouse.patches.edits import CodeEdit
from forkhouse.patches.operations import apply_edit, effect_present


def edit_of(language: str, new: str) -> CodeEdit:
    operation = f'argument: {{of: {{call: f}}, add: "{new}"}}'
    return parse(
        CodeEdit, f"path: f\nlanguage: {language}\noperations:\n  - {operation}\n", name="edit"
    )


@pytest.mark.parametrize(
    ("new", "old", "now"),
    [
        ("b", "f(a, k=1)\n", "f(a, b, k=1)\n"),
        ("b", "f(k=1)\n", "f(b, k=1)\n"),
        ("b", "f(a, k = 1, **kw)\n", "f(a, b, k = 1, **kw)\n"),
        ("b", "f(**kw)\n", "f(b, **kw)\n"),
        ("b", "f(*a, k=1)\n", "f(*a, b, k=1)\n"),
        ("b", "f(a == 1, x[1:2], lambda k=1: k)\n", "f(a == 1, x[1:2], lambda k=1: k, b)\n"),
        ("*b", "f(a, k=1)\n", "f(a, *b, k=1)\n"),
        ("*b", "f(k=1, **kw)\n", "f(*b, k=1, **kw)\n"),
        ("**b", "f(k=1, *a)\n", "f(k=1, *a, **b)\n"),
        ("b=2", "f(a, k=1, *c, **kw)\n", "f(a, k=1, *c, **kw, b=2)\n"),
        ("(b := 2)", "f(a, k=1)\n", "f(a, (b := 2), k=1)\n"),
        (
            "b",
            "f(\n    a,  # why\n    # about k\n    k=1,\n)\n",
            "f(\n    a,  # why\n    b,\n    # about k\n    k=1,\n)\n",
        ),
        (
            "b",
            "f(  # why\n    # about k\n    k=1)\n",
            "f(  # why\n    b,\n    # about k\n    k=1)\n",
        ),
        ("b", "f(a,\r\n  k=1)\r\n", "f(a,\r\n  b,\r\n  k=1)\r\n"),
        ("b", "f(a, k=1,\n  l=2)\n", "f(a, b, k=1,\n  l=2)\n"),
    ],
)
def test_an_argument_without_a_keyword_stands_before_the_keywords(
    new: str, old: str, now: str
) -> None:
    edit = edit_of("python", new)
    assert apply_edit(old, edit) == now
    assert effect_present(now, edit)
    before, after = (
        ast.parse(text).body[0].value  # type: ignore[attr-defined]
        for text in (old, now)
    )
    kept = [ast.dump(each) for each in (*before.args, *before.keywords)]
    assert len(kept) + 1 == len(after.args) + len(after.keywords)
    if not new.startswith("**") and "b=2" not in new:
        assert [ast.dump(each) for each in (*after.args[:-1], *after.keywords)] == kept


@pytest.mark.parametrize(
    ("old", "now"),
    [
        ("f('a', k: 1)\n", "f('a', 'b', k: 1)\n"),
        (
            "f(\n  'a', # why\n  k: true ? 1 : 2,\n)\n",
            "f(\n  'a', # why\n  'b',\n  k: true ? 1 : 2,\n)\n",
        ),
        ("f(c ? 1 : 2)\n", "f(c ? 1 : 2, 'b')\n"),
        ("f(k: 1)\n", "f('b', k: 1)\n"),
    ],
)
def test_so_it_does_in_meson(old: str, now: str) -> None:
    assert apply_edit(old, edit_of("meson", "'b'")) == now
    with mlog.no_logging():
        Parser(now, "meson.build").parse()


@pytest.mark.parametrize(
    ("new", "old", "why"),
    [
        (
            "b",
            "f(k=1, *a)\n",
            r"b would have to stand before k=1, and so before \*a, whose values would be other "
            r"arguments then",
        ),
        ("*b", "f(a, k=1, *c, **kw)\n", r"and so before \*c"),
        ("k=2", "f(a, k=1)\n", "The call has k=1 already. Use `replace: k=` with the whole of it"),
        ("k = 2", "f(a, k=1)\n", "The call has k=1 already"),
        ("b", "f(x for x in y)\n", "Replace the whole of it"),
    ],
)
def test_where_no_place_is_one_the_reason_says_so(new: str, old: str, why: str) -> None:
    with pytest.raises(PatchConflictError, match=why):
        apply_edit(old, edit_of("python", new))


@pytest.mark.parametrize(
    ("operation", "old", "now"),
    [
        (
            "argument:\n      of: {call: f}\n      add: |\n        b",
            "f(a, k=1)\n",
            "f(a, b, k=1)\n",
        ),
        (
            'argument:\n      of: {call: f}\n      add: |-\n        """b\n         c"""',
            "f(k=1)\n",
            'f("""b\n c""", k=1)\n',
        ),
        (
            'item:\n      of: {assignment: x}\n      add: |-\n        """b\n         c"""',
            "x = [\n  1,\n]\n",
            'x = [\n  1,\n  """b\n c""",\n]\n',
        ),
    ],
)
def test_one_of_several_lines_is_put_in_as_it_is_written(
    operation: str, old: str, now: str
) -> None:
    edit = parse(
        CodeEdit, f"path: f\nlanguage: python\noperations:\n  - {operation}\n", name="edit"
    )
    assert apply_edit(old, edit) == now
    ast.parse(now)


@pytest.mark.parametrize("new", ["{a,b}", "x{1..3}", "-D{A,B}=1", "{'a',$b}"])
def test_braces_that_bash_makes_several_words_of_are_no_argument(new: str) -> None:
    with pytest.raises(PatchConflictError, match="not be read as one argument"):
        apply_edit("f c\n", edit_of("bash", new))


@pytest.mark.parametrize("new", ["'{a,b}'", "${x}", "${x:-{a}}", "x{1}", "\\\\{a,b\\\\}"])
def test_braces_that_bash_leaves_are_one_argument(new: str) -> None:
    done = apply_edit("f c\n", edit_of("bash", new))
    counted = subprocess.run(
        ["bash", "-c", f"f() {{ echo $#; }}\nx=y\n{done}"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert counted.stdout == "2\n"


@pytest.mark.parametrize("redirection", ["{fd}>g", "{fd}<g", "{fd}>&1"])
def test_the_variable_of_a_redirection_is_no_argument(redirection: str) -> None:
    with pytest.raises(PatchConflictError, match="no arguments that can be told apart"):
        apply_edit(f"f c {redirection}\n", edit_of("bash", "z"))


@pytest.mark.parametrize("change", ["remove: --gpus all", "replace: --gpus all\n  with: --gpus=1"])
def test_two_arguments_that_are_there_are_not_said_to_be_gone(change: str) -> None:
    text = (
        f"path: f\nlanguage: bash\noperations:\n- argument:\n    of: {{call: docker}}\n"
        f"    {change.replace('  with', '    with')}\n"
    )
    edit = parse(CodeEdit, text, name="edit")
    with pytest.raises(PatchConflictError, match="no argument --gpus all, but run, --gpus, all"):
        apply_edit("docker run --gpus all image\n", edit)
