"""The judges of `fuzz-edits`.

What the reader of a language would see is let pass, and the same with one thing spoilt is called
wrong.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from bench.edits.blocks import FAILURES, file_of, operations, schedule
from bench.edits.case import Case, Raw, edit_of, written
from bench.edits.corpus import File, language_of, read_pins
from bench.edits.languages import SHARES, pool_of
from bench.edits.report import Tally, write_failure
from bench.edits.verdicts import Outcome, Verdict, pattern, run
from forkhouse.patches.edits import LANGUAGES

if TYPE_CHECKING:
    from pathlib import Path


def file(language: str, text: str) -> File:
    return File(package="ours-1.tar.gz", path="folder/file", language=language, text=text)


def case_of(language: str, text: str, kind: str, said: str) -> Case:
    """Return the first random case of this kind whose operation holds a text as it is written."""
    pool = pool_of(file(language, text))
    assert pool is not None
    for seed in range(3000):
        case = pool.draw(random.Random(seed))
        if case is not None and case.kind == kind and said in written(case.operation):
            return case
    pytest.fail(f"no case of {kind} with {said!r}")


PYTHON = """\
import os

# about one
@keep(1)
def one():
    return 1  # so


@keep(2)
def two(a, b):
    # inside
    return 2


# the end
x = call(1, b=2)  # behind
"""
C = """\
#include <one.h>
#define A 1
#define B 2

/** Says one. */
int one(void) { return 1; }

/** Says two. */
static int two(int a)
{
    call(a, 2); /* so */
    return a;
}
"""
RUST = """\
use one::two;

/// Says one.
#[inline]
fn one() -> u8 {
    1
}

/// Says two.
#[test]
fn two() {
    call(1, 2); // so
}
"""
BASH = """\
#!/bin/bash
one() {
    echo 1
}
# about two
two() {
    cat <<EOF
  text
EOF
}
A=(1 2)
run --one two # so
"""
CMAKE = """\
# head
set(A 1 2)
one(a  #[[ b ]] "c d") # so
two([[ x
 y]])
"""
MESON = """\
# head
a = [1, 2]  # so
one('x', key: 1)
if a
  two('''p
 q''')
endif
"""
YAML = """\
# head
zero: 'a # b'  # of zero
one: 1  # so
two:
  - a
  - b
# about three
three: '1.10'
"""
JSON = '{\n  "one": 1,\n  "two": ["a", "b"],\n  "three": 1.10\n}\n'
TOML = """\
# head
[one]
a = 1  # so

# about two
[two]
b = ["x", "y"]
c = "1"
"""
REQUIREMENTS = (
    "# head\none==1 \\\n    --hash=sha256:00\ntwo[x]>=2 ; python_version > '3'  # so\n-r more.txt\n"
)
METADATA = (
    "Metadata-Version: 2.1\nName: ours\nRequires-Dist: one>=1\nRequires-Dist: two; extra == "
    "'x'\nProvides-Extra: x\n\nAbout it.\n"
)
ENTRIES = "[console_scripts]\na = b:c\n\n# about more\n[more]\nd = e:f\n"

TRIALS = [
    # language, text, kind, what the operation names; then pieces of the text and what they become,
    # and how that is spoilt
    ("python", PYTHON, "remove function", "function: one",
     [("# about one\n@keep(1)\ndef one():\n    return 1  # so\n\n\n", "")],
     [("@keep(2)\n", ""), ("    # inside\n", ""), ("b=2)", "b=3)"), ("# the end\n", ""),
      ("@keep(2)\ndef", "@keep(1)\n@keep(2)\ndef"), ("  # behind", ""),
      ("\n# the end\nx = call(1, b=2)  # behind", "\n# the end\nx = call(1, b=2)\n# behind")]),
    ("python", PYTHON, "argument remove", "remove: b=2", [(", b=2", "")],
     [("  # behind", ""), ("call(1)", "call(1,2)"), ("\n", "\r\n"), ("# the end\n", "")]),
    ("c", C, "remove function", "function: one",
     [("/** Says one. */\nint one(void) { return 1; }\n\n", "")],
     [("/** Says two. */\n", ""), ("#define B 2\n\n", "#define B 2 \\\n"), ("#define A 1\n", ""),
      (" /* so */", ""), ("/** Says two", "/** Says one. */\n/** Says two")]),
    ("cpp", C, "argument remove", "remove: '2'", [("(a, 2)", "(a)")],
     [(" /* so */", ""), ("#define A 1\n#define B", "#define A 1 #define B"), ("static ", "")]),
    ("rust", RUST, "remove function", "function: one",
     [("/// Says one.\n#[inline]\nfn one() -> u8 {\n    1\n}\n\n", "")],
     [("#[test]", "#[inline]\n#[test]"), ("/// Says two.\n", ""),
      ("/// Says two.\n", "/// Says one.\n/// Says two.\n"), (" // so", ""), ("#[test]\n", "")]),
    ("bash", BASH, "remove function", "function: one", [("one() {\n    echo 1\n}\n", "")],
     [("  text", "text"), ("# about two\n", ""), ("A=(1 2)", "A=(1 2 )\nB=1"), (" # so", ""),
      ("--one", "--on")]),
    ("cmake", CMAKE, "argument remove", "remove: a\n", [("(a  #", "(#")],
     [('"c d"', "c d"), (" # so", ""), (" y]]", "  y]]"), ("\ntwo", " two")]),
    ("meson", MESON, "item remove", "remove: '1'", [("[1, 2]", "[2]")],
     [("  # so", ""), (" q'''", "  q'''"), ("key: 1", "key: 2"), ("# head\n", ""),
      ("\nif a\n", "\n\n\nif not a\n")]),
    ("yaml", YAML, "item remove", "remove: a", [("  - a\n", "")],
     [("'1.10'", "1.10"), ("  # so", ""), ("  # of zero", ""), ("# about three\n", ""),
      ("one: 1", "one: '1'"), ("  - b", "  - b\n  -"), ("# about three\nthree", "three"),
      ("one: 1", "one: 1\none: 1")]),
    ("yaml", YAML, "set", "set: one\n  value: 1.5", [("one: 1 ", "one: 1.5 ")],
     [("one: 1.5", "one: '1.5'"), ("  # so", ""), ("- a", "- A")]),
    ("json", JSON, "set", "set: one\n  value: 1.5", [('"one": 1,', '"one": 1.5,')],
     [("1.5", '"1.5"'), ("1.10", "1.1"), ('"a", "b"', '"b", "a"'), ('"two"', '"one": 2, "two"')]),
    ("toml", TOML, "set", "set: one.a\n  value: 1.5", [("a = 1 ", "a = 1.5 ")],
     [("1.5", '"1.5"'), ("  # so", ""), ('c = "1"', "c = 1"),
      ("# about two\n", "# about two\nd = 1\n"), ("\n", "\r\n")]),
    ("requirements", REQUIREMENTS, "requirement remove", "remove: two",
     [("two[x]>=2 ; python_version > '3'  # so\n", "")],
     [("    --hash=sha256:00\n", "\n"), ("# head\n", ""), ("-r more.txt\n", ""),
      ("one==1", "one==2")]),
    ("metadata", METADATA, "requirement remove", "remove: one", [("Requires-Dist: one>=1\n", "")],
     [("; extra == 'x'", ""), ("About", "about"), ("Provides-Extra: x\n", "")]),
    ("entry-points", ENTRIES, "remove group", "group: console_scripts",
     [("[console_scripts]\na = b:c\n\n", "")],
     [("# about more\n", ""), ("d = e:f", "d = e:g"), ("[more]", "[console_scripts]\n[more]")]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("language", "text", "kind", "said", "edits", "spoilt"),
    TRIALS,
    ids=[f"{t[0]} {t[2]}" for t in TRIALS],
)
def test_the_judge_lets_the_right_result_pass_and_calls_each_spoilt_one_wrong(
    language: str,
    text: str,
    kind: str,
    said: str,
    edits: list[tuple[str, str]],
    spoilt: list[tuple[str, str]],
) -> None:
    case = case_of(language, text, kind, said)
    right = text
    for old, new in edits:
        assert right.count(old) == 1
        right = right.replace(old, new)
    assert case.judge(right) is None
    assert case.judge(text) is not None, "what did nothing is wrong"
    for old, new in spoilt:
        assert old in right
        wrong = right.replace(old, new)
        assert case.judge(wrong) is not None, f"{old!r} became {new!r}, and nobody saw it"


@pytest.mark.parametrize(
    ("language", "text", "said", "right", "wrong"),
    [
        ("python", "def a():\n    call(1)\n", '    added = """\n    x\n  """',
         'def a():\n    if added:\n        added = """\n  x\n"""\n    call(1)\n',
         'def a():\n    if added:\n        added = """\n      x\n    """\n    call(1)\n'),
        ("bash", "if a; then\n    call 1\nfi\n", "cat <<EOF",
         "if a; then\n    cat <<EOF\n  a\n    b\nEOF\n    call 1\nfi\n",
         "if a; then\n    cat <<EOF\n      a\n        b\nEOF\n    call 1\nfi\n"),
        ("cmake", "if(A)\n  call(1)\nendif()\n", "added([[",
         "if(A)\n  added([[\n x\n   y\n]])\n  call(1)\nendif()\n",
         "if(A)\n  added([[\n   x\n     y\n  ]])\n  call(1)\nendif()\n"),
    ],
    ids=["python", "bash", "cmake"],
)  # fmt: skip
def test_a_text_of_several_lines_has_to_come_as_it_was_written(
    language: str, text: str, said: str, right: str, wrong: str
) -> None:
    pool = pool_of(file(language, text))
    assert pool is not None
    drawn = (pool.draw(random.Random(seed)) for seed in range(3000))
    wanted = said.strip().split("\n")[0]
    case = next(
        case
        for case in drawn
        if case
        and case.kind == "before call"
        and wanted in written(case.operation)
        and case.judge(right) is None
    )
    assert case.judge(wrong) is not None


def test_a_documented_item_has_to_stay_with_its_documentation() -> None:
    case = case_of("rust", RUST, "before function", "const ADDED: u8")
    function = "/// Says one.\n#[inline]\nfn one"
    if "function: two" in written(case.operation):
        function = "/// Says two.\n#[test]\nfn two"
    docs, attribute, head = function.split("\n")
    assert case.judge(RUST.replace(function, f"const ADDED: u8 = 1;\n{function}")) is None
    assert (
        case.judge(RUST.replace(function, f"{docs}\nconst ADDED: u8 = 1;\n{attribute}\n{head}"))
        is not None
    )
    assert (
        case.judge(RUST.replace(function, f"{docs}\n{attribute}\nconst ADDED: u8 = 1;\n{head}"))
        is not None
    )


@pytest.mark.parametrize(
    ("language", "text", "kind", "said", "right", "wrong"),
    [
        # What says where a value goes stays behind it.
        ("cmake", "set(A b CACHE BOOL c)\n", "item add", "add: ADDED",
         "set(A b ADDED CACHE BOOL c)\n", "set(A b CACHE BOOL c ADDED)\n"),
        ("cmake", "set(A CACHE b c d)\n", "item add", "add: ADDED", "set(A CACHE b c d ADDED)\n",
         "set(A ADDED CACHE b c d)\n"),
        ("cmake", "set(A b PARENT_SCOPE)\n", "item remove", "remove: b", "set(A PARENT_SCOPE)\n",
         "set(A b)\n"),
        # Of two comments that say the same, the one of what goes goes.
        ("rust", "/// Same.\nfn a() {}\n\n/// Same.\nfn b() {}\n", "remove function", "function: a",
         "/// Same.\nfn b() {}\n", "fn b() {}\n"),
        # A file's licence is the file's, and so is a row of stars.
        ("cpp", "/** Copyright. */\nint a() { return 1; }\nint b;\n", "remove function", "a",
         "/** Copyright. */\nint b;\n", "int b;\n"),
        ("cpp", "int b;\n/*** Part. ***/\nint a() { return 1; }\n", "remove function", "a",
         "int b;\n/*** Part. ***/\n", "/*** Part. ***/\n"),
        # A file that holds nothing but its mark has no last line.
        ("c", "\ufeffint a(void)\n{\n}\n", "remove function", "a", "\ufeff", ""),
        ("toml", 'a = ["x"]  # a\nb = 1\n', "set", "set: a\n  value: 7", "a = 7  # a\nb = 1\n",
         "a = 7\nb = 1  # a\n# a\n"),
        # A comment over a table is about that table, and about what takes its place.
        ("toml", "[o]\n# a\na.b = 1\n# c\nc = 2\n", "set", "set: o.a\n  value: 7",
         "[o]\n# c\nc = 2\n# a\na = 7\n", "[o]\n# a\n# c\nc = 2\na = 7\n"),
        ("toml", "[o]\nx = 1\n# a\n[a]\ny = 1\n[b]\nz = 1\n", "set", "set: b\n  value: 7",
         "b = 7\n[o]\nx = 1\n# a\n[a]\ny = 1\n", "b = 7\n# a\n[o]\nx = 1\n[a]\ny = 1\n"),
    ],
)  # fmt: skip
def test_the_judge_knows_what_belongs_to_what(
    language: str, text: str, kind: str, said: str, right: str, wrong: str
) -> None:
    case = case_of(language, text, kind, said)
    assert case.judge(right) is None
    assert case.judge(wrong) is not None


def test_what_is_declared_is_no_call() -> None:
    pool = pool_of(
        file(
            "cpp", "void f()\n{\n    A one, two(1);\n    call(3, 4);\n    call2(1, call3(2));\n}\n"
        )
    )
    assert pool is not None
    said = [
        written(case.operation)
        for case in (pool.draw(random.Random(seed)) for seed in range(300))
        if case
    ]
    assert {"call", "call2", "call3"} == {
        each.partition("call: ")[2].split()[0].rstrip("'}") for each in said if "call: " in each
    }


def test_a_call_of_what_stands_in_brackets_has_no_name_of_its_own() -> None:
    pool = pool_of(file("python", "(a := b)(1)\nc(2)\n"))
    assert pool is not None
    said = [
        written(case.operation)
        for case in (pool.draw(random.Random(seed)) for seed in range(100))
        if case
    ]
    assert any("call: c" in each for each in said)
    assert not any("a :=" in each for each in said)


@pytest.mark.parametrize(
    ("language", "text", "operation", "verdict"),
    [
        ("python", "def f():\n    global already\n    already = 1\n",
         {"replace": {"assignment": "already"}, "with": "already: int = 2"}, Verdict.REFUSED),
        ("c", "#ifdef A\nint f(int a)\n#else\nint f(void)\n#endif\n{ return 1; }\n",
         {"remove": {"function": "f"}}, Verdict.REFUSED),
        ("c", "int f(void) { return 1; }\n", {"remove": {"function": "g"}}, Verdict.UNTRUE),
    ],
)  # fmt: skip
def test_a_refusal_is_untrue_where_it_says_that_nothing_is_there(
    language: str, text: str, operation: dict[str, object], verdict: Verdict
) -> None:
    case = Case(kind="x", operation=operation, judge=lambda _: None)
    assert run(file(language, text), case).verdict is verdict


@pytest.mark.parametrize("language", sorted(SHARES))
def test_every_language_can_be_edited_at_random(language: str) -> None:
    texts = {trial[0]: trial[1] for trial in TRIALS}
    pool = pool_of(file(language, texts[language]))
    assert pool is not None
    seen = set()
    for seed in range(10):
        case = pool.draw(random.Random(seed))
        assert case is not None
        again = pool.draw(random.Random(seed))
        assert again is not None
        assert written(again.operation) == written(case.operation), (
            "the same seed gives another operation"
        )
        outcome = run(file(language, texts[language]), case)
        assert outcome.verdict is not Verdict.CRASH, outcome.reason
        seen.add(outcome.verdict)
    assert Verdict.RIGHT in seen


def test_a_file_that_its_own_reader_refuses_is_left_out() -> None:
    assert pool_of(file("python", "def (:\n")) is None
    assert pool_of(file("json", "{")) is None
    assert pool_of(file("bash", "if\n")) is None


def test_a_failure_is_written_down_with_the_command_that_does_it_again(tmp_path: Path) -> None:
    files = {"json": [file("json", JSON)]}
    done = next(operations(3, 7, files, only=5))
    wrong = replace(
        done,
        outcome=Outcome(
            verdict=Verdict.WRONG, reason="spoilt | here", result=JSON.replace("1,", "2,")
        ),
    )
    tally = Tally()
    assert [tally.count(wrong), tally.count(wrong)] == [1, 2]
    assert tally.failures == 2
    said = write_failure(tmp_path, wrong, 7).read_text()
    assert "nox -s fuzz-edits -- --seed 7 --only 3:5" in said
    assert written(done.case.operation) in said
    assert "spoilt | here" in said
    assert Verdict.WRONG in FAILURES
    assert "json, silently wrong" in tally.table()


def test_blocks_go_through_all_files_of_all_languages() -> None:
    files = {
        language: [replace(file(language, "x"), path=str(number)) for number in range(3)]
        for language in SHARES
    }
    blocks = range(3 * len(schedule(list(files))))
    had = {
        (found.language, found.path) for found in (file_of(block, 1, files)[0] for block in blocks)
    }
    assert {language for language, _ in had} == set(SHARES)
    assert len([1 for language, _ in had if language == "python"]) == 3


def test_an_edit_is_read_as_a_user_writes_it() -> None:
    operation: dict[str, object] = {"set": "a.b", "value": Raw(text="22:22")}
    assert written(operation) == "- set: a.b\n  value: 22:22\n"
    assert edit_of("yaml", "x.yaml", {"remove": "a"}).operations[0].model_dump(
        exclude_defaults=True
    ) == {"remove": "a"}


def test_reasons_of_one_kind_are_counted_together() -> None:
    one = "x.py: operation 1 matched 2 times, expected 1: {'remove': {'call': 'f'}}. Look."
    other = "y.py: operation 1 matched 3 times, expected 1: {'remove': {'call': 'g'}}. Look."
    assert pattern(one) == pattern(other)
    assert pattern("lost | 'a'") == pattern("lost | 'b'") == "lost"


def test_the_corpus_is_pinned_and_every_language_of_edits_has_a_reader() -> None:
    pins = read_pins()
    assert len(pins.sdists) > 10
    assert pins.debian
    assert language_of("a/CMakeLists.txt") == "cmake"
    assert language_of("requirements/test.txt") == "requirements"
    assert language_of("a.png") is None
    assert set(LANGUAGES) - {"text"} <= set(SHARES)
