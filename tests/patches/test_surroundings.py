"""An edit applies in the function, class, service or target that it was made for, or nowhere."""

from __future__ import annotations

import difflib
from textwrap import indent
from typing import TYPE_CHECKING

import pytest
from pygit2.enums import FileMode

from forkhouse.patches.ladder import Ladder, pin
from forkhouse.patches.series import read_series
from forkhouse.patches.verdicts import APPLIED, Verdict
from forkhouse.sources.store import TreeFile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from forkhouse.patches.verdicts import Judgement
    from forkhouse.sources.store import ObjectStore

    Judge = Callable[[str, str, str, str], Judgement]

HEADER = "Subject: s\nDescription: d\nOrigin: o\nForwarded: no\nRetire-When: never\n"


@pytest.fixture
def judge(store: ObjectStore, tmp_path: Path) -> Judge:
    def tree(path: str, text: str) -> str:
        return store.import_files([TreeFile(path=path, content=text.encode(), mode=FileMode.BLOB)])

    def judged(path: str, before: str, now: str, text: str) -> Judgement:
        name = "0001-e.edit.yaml" if text.startswith(HEADER) else "0001-e.patch"
        folder = tmp_path / f"series-{len([*tmp_path.iterdir()])}"
        folder.mkdir()
        (folder / "series").write_text(f"{name}\n", encoding="utf-8")
        (folder / name).write_text(text, encoding="utf-8")
        patches = read_series(folder)
        plain = Ladder(store=store, paths={}, pinned={})
        ladder = Ladder(store=store, paths={}, pinned=pin(tree(path, before), patches, plain))
        (judgement,) = ladder.judge_series(tree(path, now), patches)
        return judgement

    return judged


def edit(path: str, language: str, operation: str) -> str:
    said = indent(f"- {indent(operation, '  ').strip()}\n", " " * 6)
    return f"{HEADER}edits:\n  - path: {path}\n    language: {language}\n    operations:\n{said}"


def changed(text: str, *pairs: tuple[str, str]) -> str:
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return text


PYTHON = (
    "import os\n\n\ndef one(a):\n    total = read_total(a)\n    limit = probe_limit(a, total)\n"
    "    return total + limit\n\n\ndef two(b):\n    value = other_value(b)\n    return value\n"
)
SWAPPED = (("probe_limit(a, total)", "3"), ("other_value(b)", "probe_limit(a, total)"))
ANCHOR = 'replace: {anchor: "probe_limit(a, total)"}\nwith: probe_gpu(a)'
CLASSES = (
    "class A:\n    size = big_size(3)\n    def f(self):\n        return self.size\n\n\nclass B:\n"
    "    width = 3\n    def g(self):\n        return self.width\n"
)
C = (
    "int one(int a) {\n  int total = read_total(a);\n  int limit = probe_limit(a, total);\n"
    "  return total + limit;\n}\n\nint two(int b) {\n  int value = other_value(b);\n"
    "  return value;\n}\n"
)
RUST = (
    "fn one(a: u8) -> u8 {\n    let limit = probe_limit(a);\n    limit\n}\n\n"
    "fn two(b: u8) -> u8 {\n    other(b)\n}\n"
)
BASH = "one() {\n  fetch --all\n  build_with --vendor\n}\n\ntwo() {\n  test_with --fast\n}\n"
BASH_SWAPPED = (("  build_with --vendor\n", ""), ("test_with --fast", "build_with --vendor"))
YAML = (
    "services:\n  web:\n    image: vendor/image\n    ports: [8080]\n  db:\n    image: other\n"
    "    ports: [9090]\n"
)
YAML_SWAPPED = (("vendor/image", "plain/image"), ("image: other", "image: vendor/image"))
IMAGE = "replace: {anchor: vendor/image}\nwith: ours/image"
STEPS = "steps:\n  - name: Build\n    run: make vendor\n  - name: Test\n    run: make test\n"
TABLES = "[tool.a]\nflag = 'vendor'\nx = 1\n\n[tool.b]\nflag = 'other'\n"
TABLES_SWAPPED = (("'vendor'", "'plain'"), ("'other'", "'vendor'"))
FLAG = "replace: {anchor: \"flag = 'vendor'\"}\nwith: flag = 'ours'"
CMAKE = (
    "add_library(core core.cpp)\ntarget_compile_options(core PRIVATE -O3 --vendor)\n"
    "add_library(aux aux.cpp)\n"
)
CMAKE_SWAPPED = (
    ("target_compile_options(core PRIVATE -O3 --vendor)\n", ""),
    ("aux.cpp)\n", "aux.cpp)\ntarget_compile_options(aux PRIVATE -O2 --vendor)\n"),
)
OPTION = "argument: {of: {call: target_compile_options}, remove: --vendor}"
SET = (
    "function(one t)\n  set(FLAGS --vendor)\nendfunction()\nfunction(two t)\n  set(OTHER x)\n"
    "endfunction()\n"
)
SET_SWAPPED = (("set(FLAGS --vendor)", "set(MORE y)"), ("set(OTHER x)", "set(FLAGS --vendor)"))
STAGES = "FROM base:1 AS build\nRUN make vendor\nFROM base:1 AS final\nRUN make test\n"
MAKE_SWAPPED = (("make vendor", "make plain"), ("make test", "make vendor"))
MAKE = "replace: {anchor: make vendor}\nwith: make ours"
RULES = "build: x\n\tmake vendor\n\ntest: y\n\tmake test\n"
MESON = "project('x', 'c')\nlibrary('a', 'a.c', c_args: '-Dvendor')\n"


@pytest.mark.parametrize(
    ("path", "language", "before", "swapped", "operation"),
    [
        ("m.py", "python", PYTHON, SWAPPED, ANCHOR),
        ("m.py", "text", PYTHON, SWAPPED, ANCHOR),
        ("m.py", "python", PYTHON, SWAPPED, "replace: {call: probe_limit}\nwith: probe_gpu(a)"),
        ("m.py", "python", PYTHON, SWAPPED,
         "replace: {pattern: 'probe_limit($A, $B)'}\nwith: probe_gpu($A)"),
        ("m.py", "python", PYTHON, SWAPPED, "wrap: {call: probe_limit}\nwith: max(3, $MATCH)"),
        ("m.py", "python", PYTHON, SWAPPED, "argument: {of: {call: probe_limit}, add: x=1}"),
        ("m.py", "python", PYTHON,
         (("limit = probe_limit(a, total)", "limit = 3"),
          ("    return value\n", "    return value\n\n\ndef three(z):\n    a = z.first\n"
                                 "    return probe_limit(a, total)\n")), ANCHOR),
        ("m.py", "python", CLASSES, (("big_size(3)", "4"), ("width = 3", "width = big_size(3)")),
         "replace: {anchor: big_size(3)}\nwith: small_size(3)"),
        ("m.py", "python", CLASSES, (("    size = big_size(3)\n", ""), ("width = 3", "size = 4")),
         "replace: {assignment: size}\nwith: size = 5"),
        ("m.py", "python", CLASSES, (("def f", "def h"), ("def g", "def f")),
         "replace: {function: f}\nwith: |\n  def f(self):\n      return 1"),
        ("m.c", "c", C, SWAPPED, ANCHOR),
        ("m.c", "c", C, SWAPPED, "replace: {call: probe_limit}\nwith: probe_gpu(a)"),
        ("m.cu", "cpp", C, SWAPPED, ANCHOR),
        ("m.rs", "rust", RUST, (("probe_limit(a)", "3"), ("other(b)", "probe_limit(a)")),
         "replace: {anchor: probe_limit(a)}\nwith: probe_gpu(a)"),
        ("b.sh", "bash", BASH, BASH_SWAPPED,
         "replace: {anchor: build_with --vendor}\nwith: build_with --ours"),
        ("b.sh", "bash", BASH, BASH_SWAPPED,
         "argument: {of: {call: build_with}, remove: --vendor}"),
        ("c.yaml", "yaml", YAML, YAML_SWAPPED, IMAGE),
        ("c.yaml", "text", YAML, YAML_SWAPPED, IMAGE),
        ("c.yaml", "yaml", STEPS, MAKE_SWAPPED, MAKE),
        ("c.yaml", "yaml", "a: {l: [x, vendor]}\nb: {m: [y]}\n",
         (("a: {l: [x, vendor]}", "a: {n: [x]}"), ("m: [y]", "l: [y, vendor]")),
         "item: {of: {assignment: l}, remove: vendor}"),
        ("p.toml", "toml", TABLES, TABLES_SWAPPED, FLAG),
        ("p.toml", "text", TABLES, TABLES_SWAPPED, FLAG),
        ("setup.cfg", "text", TABLES, TABLES_SWAPPED, FLAG),
        ("CMakeLists.txt", "cmake", CMAKE, CMAKE_SWAPPED, OPTION),
        ("CMakeLists.txt", "cmake", CMAKE, CMAKE_SWAPPED,
         "replace: {anchor: --vendor}\nwith: --ours"),
        ("CMakeLists.txt", "cmake", CMAKE, CMAKE_SWAPPED,
         "insert:\n  after: {call: target_compile_options}\n  text: message(x)"),
        ("CMakeLists.txt", "cmake", SET, SET_SWAPPED,
         "replace: {assignment: FLAGS}\nwith: set(FLAGS --ours)"),
        ("Dockerfile", "text", STAGES, MAKE_SWAPPED, MAKE),
        ("Makefile", "text", RULES, MAKE_SWAPPED, MAKE),
    ],
)  # fmt: skip
def test_the_same_text_in_another_construct_is_not_meant(
    judge: Judge,
    path: str,
    language: str,
    before: str,
    swapped: tuple[tuple[str, str], ...],
    operation: str,
) -> None:
    judged = judge(path, before, changed(before, *swapped), edit(path, language, operation))
    assert judged.verdict is Verdict.CONFLICT
    assert "at the pin and is gone from there; now it stands in" in judged.cause


@pytest.mark.parametrize(
    ("path", "language", "before", "now", "operation"),
    [
        ("m.py", "python", PYTHON, (("read_total(a)", "read_all(a)"),), ANCHOR),
        ("m.py", "python", PYTHON, (("def one(a)", "def first(a, k=1)"),), ANCHOR),
        ("m.py", "python", PYTHON, (("    limit = probe", "    if a:\n        limit = probe"),),
         ANCHOR),
        ("m.py", "python", PYTHON,
         (("    limit = probe", "    return helper(a, total)\n\n\ndef helper(a, total):\n"
                                "    limit = probe"),), ANCHOR),
        ("m.py", "python", CLASSES, (("class A", "class C"),),
         "replace: {anchor: big_size(3)}\nwith: small_size(3)"),
        ("m.c", "c", C, (("int one(int a)", "static int first(int a)"),), ANCHOR),
        ("m.cc", "cpp", f"namespace a {{\n{C}}}\n", (("namespace a", "namespace b"),), ANCHOR),
        ("c.yaml", "yaml", YAML, (("8080", "8081"),), IMAGE),
        ("c.yaml", "yaml", YAML, (("web:", "front:"),), IMAGE),
        ("CMakeLists.txt", "cmake", CMAKE, (("-O3", "-O2"),), OPTION),
        ("CMakeLists.txt", "cmake", CMAKE, (("core ", "core_lib "),), OPTION),
        ("CMakeLists.txt", "cmake", CMAKE,
         (("add_library(core", "if(X)\nadd_library(core"), ("--vendor)\n", "--vendor)\nendif()\n")),
         OPTION),
        ("CMakeLists.txt", "cmake", "project(x LANGUAGES CXX CUDA)\n",
         (("project(x", "project(y"),), "argument: {of: {call: project}, remove: CUDA}"),
        ("Dockerfile", "text", STAGES, (("base:1", "base:2"),), MAKE),
        ("m.py", "python", PYTHON,
         (("    total = read_total(a)\n    limit = probe_limit(a, total)\n",
           "    def inner():\n        total = a\n        return probe_limit(a, total)\n"),),
           ANCHOR),
        ("m.py", "python", "def one(a):\n    return probe_limit(a, total)\n",
         (("one(a)", "first(b)"),), ANCHOR),
        ("c.yaml", "yaml", STEPS, (("name: Build", "name: Make"), ("make test", "make tests")),
         MAKE),
        ("p.toml", "toml", TABLES, (("tool.a", "tool.c"), ("x = 1\n", "")), FLAG),
        ("CMakeLists.txt", "cmake", "set(FLAGS -O3 --vendor)\n",
         (("set", "function(setup)\nset"), ("--vendor)\n", "--vendor)\nendfunction()\n")),
         "replace: {anchor: --vendor}\nwith: --ours"),
        ("meson.build", "meson", MESON, (("'a.c'", "'a.c', 'd.c'"),),
         "argument: {of: {call: library}, remove: 'c_args:'}"),
    ],
)  # fmt: skip
def test_the_same_construct_is_meant_by_whatever_name(
    judge: Judge,
    path: str,
    language: str,
    before: str,
    now: tuple[tuple[str, str], ...],
    operation: str,
) -> None:
    judged = judge(path, before, changed(before, *now), edit(path, language, operation))
    assert judged.verdict in APPLIED


def test_a_function_that_moved_into_a_class_is_meant(judge: Judge) -> None:
    one, _, rest = PYTHON.removeprefix("import os\n\n\n").partition("\n\n\n")
    now = f"import os\n\n\nclass K:\n{indent(one, '    ')}\n\n\n{rest}"
    assert judge("m.py", PYTHON, now, edit("m.py", "python", ANCHOR)).verdict in APPLIED


STEP = (
    "    first_step(a)\n    second_step(a)\n    third_step(a)\n    probe_limit(a)\n"
    "    fourth_step(a)\n    fifth_step(a)\n    sixth_step(a)\n"
)
TWO = f"def one(a):\n{STEP}\n\ndef two(a):\n    begin(a)\n    finish(a)\n"


@pytest.mark.parametrize(
    ("now", "applies"),
    [
        (f"def one(a):\n    return 3\n\n\ndef two(a):\n    begin(a)\n{STEP}    finish(a)\n", False),
        (f"import os\n\n\n{TWO}", True),
        (TWO.replace("def one", "def first"), True),
        (TWO.replace("finish", "end"), True),
    ],
)
def test_a_diff_does_not_apply_in_another_function(
    judge: Judge, now: str, *, applies: bool
) -> None:
    lines = difflib.unified_diff(
        TWO.splitlines(keepends=True),
        TWO.replace("probe_limit", "probe_gpu").splitlines(keepends=True),
        "a/m.py",
        "b/m.py",
    )
    text = f"Subject: s\n\n---\ndiff --git a/m.py b/m.py\n{''.join(lines)}"
    assert (judge("m.py", TWO, now, text).verdict in APPLIED) is applies


RUN = (
    "def one(a):\n    begin_one(a)\n    run(a)\n    end_one(a)\n\n\ndef two(b):\n    begin_two(b)\n"
    "    end_two(b)\n"
)
TARGETS = (
    "add_library(core core.cpp)\ntarget_compile_options(core PRIVATE -O3)\n"
    "add_library(aux aux.cpp)\n"
)


def in_two(what: str) -> str:
    left = changed(RUN, ("    run(a)\n", ""))
    return changed(left, ("    end_two(b)\n", f"    {what}\n    end_two(b)\n"))


def for_aux(options: str) -> str:
    left = changed(TARGETS, ("target_compile_options(core PRIVATE -O3)\n", ""))
    return f"{left}target_compile_options(aux PRIVATE {options})\n"


@pytest.mark.parametrize(
    ("path", "language", "before", "there", "elsewhere", "operation"),
    [
        ("m.py", "python", RUN, changed(RUN, ("run(a)", "run(a)\n    stop(2)")),
         in_two("run(a)\n    stop(2)"), "insert:\n  after: {call: run}\n  text: stop(2)"),
        ("m.py", "python", RUN, changed(RUN, ("    run(a)", "    if ok:\n        run(a)")),
         in_two("if ok:\n        run(a)"), "wrap: {call: run}\nwith: |\n  if ok:\n      $MATCH"),
        ("m.py", "python", RUN, changed(RUN, ("run(a)", "run(a, gpu=1)")), in_two("run(a, gpu=1)"),
         "argument: {of: {call: run}, add: gpu=1}"),
        ("m.py", "python", RUN, changed(RUN, ("run(a)", "run(gpu)")), in_two("run(gpu)"),
         "argument: {of: {call: run}, replace: a, with: gpu}"),
        ("CMakeLists.txt", "cmake", TARGETS, changed(TARGETS, ("-O3", "-O3 --ours")),
         for_aux("-O3 --ours"), "argument: {of: {call: target_compile_options}, add: --ours}"),
        ("CMakeLists.txt", "cmake", TARGETS, changed(TARGETS, ("-O3", "--our-flag")),
         for_aux("--our-flag"), "replace: {anchor: -O3}\nwith: --our-flag"),
        ("c.yaml", "yaml", YAML, changed(YAML, ("vendor/image", "ours/image")),
         changed(YAML, ("vendor/image", "plain"), ("image: other", "image: ours/image")), IMAGE),
        ("p.toml", "toml", TABLES, changed(TABLES, ("'vendor'", "'ours'")),
         changed(TABLES, ("'vendor'", "'plain'"), ("'other'", "'ours'")), FLAG),
        ("Dockerfile", "text", STAGES, changed(STAGES, ("make vendor", "make our-own")),
         changed(STAGES, ("make vendor", "make x"), ("make test", "make our-own")),
         "replace: {anchor: make vendor}\nwith: make our-own"),
        ("Dockerfile", "text", "RUN make vendor\n", "RUN make our-own\n",
         "FROM x\nRUN make vendors\n", "replace: {anchor: make vendor}\nwith: make our-own"),
    ],
)  # fmt: skip
def test_a_result_in_another_construct_is_not_that_of_the_patch(
    judge: Judge, path: str, language: str, before: str, there: str, elsewhere: str, operation: str
) -> None:
    text = edit(path, language, operation)
    assert judge(path, before, there, text).verdict is Verdict.UPSTREAMED
    assert judge(path, before, elsewhere, text).verdict is not Verdict.UPSTREAMED


def test_an_operation_with_nothing_to_do_leaves_nothing_under_another_name(judge: Judge) -> None:
    vendor = "\n\ndef vendor(path):\n    found = list_all(path)\n    return found\n"
    removal = "- remove: {function: vendor}\n        count: {min: 0, max: 1}"
    text = edit("m.py", "python", "replace: {call: run}\nwith: run_gpu(a)") + f"      {removal}\n"
    assert judge("m.py", RUN + vendor, RUN, text).verdict in APPLIED
    renamed = vendor.replace("vendor", "device")
    assert judge("m.py", RUN + vendor, RUN + renamed, text).verdict is Verdict.CONFLICT
