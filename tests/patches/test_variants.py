"""An operation changes only what was meant for each choice of the conditions of `#if`."""

from __future__ import annotations

import re
import shutil
import subprocess
from textwrap import indent
from typing import TYPE_CHECKING

import pytest

from forkhouse.core.errors import PatchConflictError
from forkhouse.documents.reading import parse
from forkhouse.patches.edits import AddedFile, StructuralEdit
from forkhouse.patches.languages import variants
from forkhouse.patches.languages.imports import imports, unread_includes
from forkhouse.patches.operations import apply_edit

if TYPE_CHECKING:
    from pathlib import Path

HEADER = "Subject: s\nDescription: d\nOrigin: o\nForwarded: no\nRetire-When: never\n"


def edited(language: str, operation: str, text: str) -> str:
    said = (
        f"{HEADER}edits:\n  - path: file\n    language: {language}\n    "
        f"operations:\n{indent('- ' + operation, '      ')}"
    )
    (edit,) = parse(StructuralEdit, said, name="edit").edits
    assert not isinstance(edit, AddedFile)
    return apply_edit(text, edit)


REMOVE = "remove: {call: f}"
BEFORE = "insert: {before: {call: f}, text: h();}"
GONE = "remove: {function: f}"
OVER = "insert: {before: {function: f}, text: int h;}"
WRAP = "wrap: {call: f}\n  with: |\n    if (q) {\n      $MATCH\n    }"


@pytest.mark.parametrize("language", ["c", "cpp"])
@pytest.mark.parametrize("operation", [REMOVE, BEFORE])
@pytest.mark.parametrize(
    "guard",
    [
        "#ifdef A\n  if (a)\n#endif\n",
        "#if A > 1\n  if (a)\n#else\n  if (b)\n#endif\n  // why\n",
        "#ifndef A\n#elif defined(B) && !defined(C)\n  while (b)\n#endif\n",
        "#ifdef A\n  b();\n#else\n#if B\n  for (;;)\n#endif\n#endif\n",
        "#ifdef A\n  if (a) b(); else\n#endif\n",
        "  if (a)\n    b();\n#ifdef A\n  else\n#endif\n",
    ],
)
def test_a_statement_that_a_branch_may_guard_is_refused(
    language: str, operation: str, guard: str
) -> None:
    with pytest.raises(PatchConflictError, match=r"where .* is (true|false)"):
        edited(language, operation, f"void m() {{\n{guard}  f();\n  g();\n}}\n")


@pytest.mark.parametrize("language", ["c", "cpp"])
@pytest.mark.parametrize("between", ["", "\n", "  // why\n\n"])
@pytest.mark.parametrize(
    "behind",
    [
        "#ifdef A\n  else\n    b();\n#endif\n",
        "#if A > 1\n  else\n    b();\n#else\n  b();\n#endif\n",
        "#ifdef A\n  b();\n#else\n  else\n    b();\n#endif\n",
        "#ifndef A\n#elif defined(B)\n  else\n    b();\n#endif\n",
        "#ifdef B\n#ifdef A\n  else\n    b();\n#endif\n#endif\n",
        "#ifdef C\n#endif\n#ifdef A\n  else\n    b();\n#endif\n",
    ],
)
def test_a_branch_behind_a_statement_may_go_on_with_what_is_before_it(
    language: str, between: str, behind: str
) -> None:
    # In front of an `else`, what is put around the statement takes that `else` to itself.
    text = f"void m() {{\n  if (a)\n    f();\n{between}{behind}}}\n"
    with pytest.raises(PatchConflictError, match=r"where .* is (true|false), 'else b\(\);'"):
        edited(language, WRAP, text)
    other = text.replace("  else\n    b();\n", "  b();\n")
    done = other.replace("    f();\n", "    if (q) {\n      f();\n    }\n")
    assert edited(language, WRAP, other) == done


@pytest.mark.parametrize("language", ["c", "cpp"])
@pytest.mark.parametrize("operation", [GONE, OVER])
@pytest.mark.parametrize(
    "head",
    [
        "static",
        "__host__ __device__",
        "__launch_bounds__(128, 2)",
        "API_EXPORT",
        "__attribute__((noinline))",
        "[[nodiscard]]",
        "extern",
    ],
)
@pytest.mark.parametrize("behind", ["\nint g(void) { return 1; }\n", ""])
def test_what_a_branch_puts_before_a_function_is_not_torn_off(
    language: str, operation: str, head: str, behind: str
) -> None:
    text = f"int a;\n#ifdef A\n{head}\n#endif\n/* Of f. */\nint f(void) {{ return 1; }}\n{behind}"
    with pytest.raises(PatchConflictError, match="where A is true"):
        edited(language, operation, text)


@pytest.mark.parametrize(
    ("operation", "old", "new"),
    [
        (
            REMOVE,
            "void m() {\n#ifdef A\n  for (;;) {\n#endif\n  f();\n#ifdef A\n  }\n#endif\n}\n",
            "void m() {\n#ifdef A\n  for (;;) {\n#endif\n#ifdef A\n  }\n#endif\n}\n",
        ),
        (
            "replace: {call: f}\n  with: h()",
            "void m() {\n#ifdef A\n  if (a)\n#endif\n  f();\n}\n",
            "void m() {\n#ifdef A\n  if (a)\n#endif\n  h();\n}\n",
        ),
        (
            BEFORE,
            "void m() {\n  switch (a) {\n#ifdef A\n  case 1:\n#endif\n  f();\n  }\n}\n",
            "void m() {\n  switch (a) {\n#ifdef A\n  case 1:\n#endif\n  h();\n  f();\n  }\n}\n",
        ),
        (
            GONE,
            "#ifndef H\n#define H\nint a;\n#ifdef A\nint b;\n#endif\nint f() { return 1; }\n"
            "#endif\n",
            "#ifndef H\n#define H\nint a;\n#ifdef A\nint b;\n#endif\n#endif\n",
        ),
        (
            OVER,
            '#ifdef __cplusplus\nextern "C" {\n#endif\nint f(void);\nint f(void) { return 1; }\n'
            "#ifdef __cplusplus\n}\n#endif\n",
            '#ifdef __cplusplus\nextern "C" {\n#endif\nint f(void);\nint h;\n'
            "int f(void) { return 1; }\n#ifdef __cplusplus\n}\n#endif\n",
        ),
    ],
)
def test_whole_branches_beside_a_change_are_no_hindrance(
    operation: str, old: str, new: str
) -> None:
    assert edited("cpp", operation, old) == new


@pytest.mark.skipif(shutil.which("cpp") is None, reason="no C preprocessor")
def test_a_choice_leaves_what_the_preprocessor_leaves(tmp_path: Path) -> None:
    text = (
        "#ifndef H\n#define H\n"
        "int a1;\n#ifdef A\nint a2;\n#if B\nint a3;\n#elif !defined(C)\nint a4;\n#else\nint a5;\n"
        "#endif\n#else /* not\n A */\nint a6;\n#endif // A\n#if 0\nint a7;\n#endif\n"
        '/*\n#if A\n*/ const char *s = "\\\n#if A\\\n";\n#if !D\nint a8;\n#elif ! ( E )\nint a9;\n'
        "#endif\nint b;\n#endif\n"
    )
    source = tmp_path / "a.c"
    source.write_text(text)
    # Every line is a place, so that each group is near one of them.
    places = [(match.start(), match.start()) for match in re.finditer("^", text, re.MULTILINE)]
    chosen = list(variants.choices(text, places))
    assert len(chosen) > 8
    for each in chosen:
        left = variants.chosen_text(text, each)
        assert len(left) == len(text)
        defined = [
            f"-D{name}=1" for name, true in each.items() if re.fullmatch("[A-E]", name) and true
        ]
        shown = subprocess.run(
            ["cpp", "-P", *defined, source], capture_output=True, text=True, check=True
        ).stdout
        assert re.findall(r"int (\w+)", left) == re.findall(r"int (\w+)", shown), each


@pytest.mark.parametrize(
    ("text", "unread"),
    [
        ("  #include <a.h> /* why */\nint x;\n", set()),
        ("#/**/include <a.h>\nint x;\n", {"#include <a.h>"}),
        ("# /* why */ include /* x */ <a.h>\nint x;\n", {"#include <a.h>"}),
        ("/*\n#include <a.h> /*\n*/\nint x;\n", set()),
    ],
)
def test_an_include_with_comments_is_read_or_known_to_be_unread(
    text: str, unread: set[str]
) -> None:
    lines = {line.meaning for line in imports(text, "c", include=True)}
    assert unread_includes(text, "c") - lines == unread
    assert not (unread_includes(text, "c") & lines)
