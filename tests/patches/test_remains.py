"""Code that an upstream only moved or renamed is not gone: a patch that takes it out stays."""

from __future__ import annotations

import difflib
from textwrap import indent
from typing import TYPE_CHECKING

import pytest
from pygit2.enums import FileMode

from forkhouse.patches.ladder import Ladder, pin
from forkhouse.patches.series import read_series
from forkhouse.patches.verdicts import Verdict
from forkhouse.sources.store import TreeFile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from forkhouse.patches.verdicts import Judgement
    from forkhouse.sources.store import ObjectStore

    Judge = Callable[[Mapping[str, str | bytes], Mapping[str, str | bytes], str], Judgement]

HEADER = "Subject: s\nDescription: d\nOrigin: o\nForwarded: no\nRetire-When: never\n"


def edit(path: str, language: str, *operations: str) -> str:
    said = "".join(indent(f"- {each}\n", " " * 6) for each in operations)
    return f"{HEADER}edits:\n  - path: {path}\n    language: {language}\n    operations:\n{said}"


def diff(path: str, before: str, after: str) -> str:
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), f"a/{path}", f"b/{path}"
    )
    return f"Subject: s\n\n---\ndiff --git a/{path} b/{path}\n{''.join(lines)}"


@pytest.fixture
def judge(store: ObjectStore, tmp_path: Path) -> Judge:
    def tree(files: Mapping[str, str | bytes]) -> str:
        return store.import_files(
            TreeFile(
                path=path,
                content=text if isinstance(text, bytes) else text.encode(),
                mode=FileMode.BLOB,
            )
            for path, text in files.items()
        )

    def judged(
        before: Mapping[str, str | bytes], now: Mapping[str, str | bytes], text: str
    ) -> Judgement:
        name = "0001-e.edit.yaml" if text.startswith(HEADER) else "0001-e.patch"
        folder = tmp_path / f"series-{len([*tmp_path.iterdir()])}"
        folder.mkdir()
        (folder / "series").write_text(f"{name}\n", encoding="utf-8")
        (folder / name).write_text(text, encoding="utf-8")
        patches = read_series(folder)
        plain = Ladder(store=store, paths={}, pinned={})
        ladder = Ladder(store=store, paths={}, pinned=pin(tree(before), patches, plain))
        (judgement,) = ladder.judge_series(tree(now), patches)
        return judgement

    return judged


PYTHON = "import os\n\n\ndef keep(a):\n    total = a + os.getpid()\n    return total\n\n\n"
PROBE = "def vendor_probe(path):\n    found = os.listdir(path)\n    return len(found) - 41\n"
SHORT = "def vendor_probe(path): return run_vendor(path, 41)\n"
CLASS = (
    "class Vendor:\n    limit = 41\n    def probe(self, path):\n"
    "        return os.listdir(path)[self.limit]\n"
)
FLAGS = "VENDOR_FLAGS = compute_flags('cuda', 12)\n"
CALL = "register_vendor(probe_path, 41)\n"
HOME = 'os.environ["VENDOR_HOME"] = "/opt/vendor"\n'
C = "int keep(int a) {\n  int total = a + 3;\n  return total;\n}\n\n"
C_PROBE = (
    'static int vendor_probe(const char *path) {\n  FILE *found = fopen(path, "r");\n'
    "  return found != NULL && vendor_ok(found);\n}\n"
)
CMAKE = "cmake_minimum_required(VERSION 3.20)\nadd_library(core core.cpp)\n"
CMAKE_FLAGS = "set(VENDOR_FLAGS -O3 --use_fast_math)\n"
CMAKE_SETUP = (
    "function(vendor_setup target)\n  target_link_libraries(${target} PRIVATE vendor)\n"
    "endfunction()\n"
)
BASH = "#!/bin/sh\nset -e\nbuild_all\n"
BASH_SETUP = (
    "install_vendor() {\n  curl -o vendor.run https://v.test/vendor.run\n  sh vendor.run --silent\n"
    "}\n"
)
YAML = "name: x\njobs:\n  one:\n    run: make\n"
JOB = "  vendor:\n    image: vendor/image\n    run: make vendor-tests\n"
TOML = "[tool.x]\na = 1\n\n"
TABLE = '[tool.vendor]\nflags = ["--use-vendor"]\nhome = "/opt/vendor"\n'

TAKEN = [
    # language, path, the rest of the file, what goes, its name, another name, the operation
    ("python", "m.py", PYTHON, PROBE, "vendor_probe", "device_probe",
     "remove: {function: vendor_probe}"),
    ("python", "m.py", PYTHON, SHORT, "vendor_probe", "device_probe",
     "remove: {function: vendor_probe}"),
    ("python", "m.py", PYTHON, CLASS, "Vendor", "Device", "remove: {class: Vendor}"),
    ("python", "m.py", PYTHON, FLAGS, "VENDOR_FLAGS", "FLAGS",
     "remove: {assignment: VENDOR_FLAGS}"),
    ("python", "m.py", PYTHON, CALL, "register_vendor", "enroll",
     "remove: {call: register_vendor}"),
    ("c", "m.c", C, C_PROBE, "vendor_probe", "probe", "remove: {function: vendor_probe}"),
    ("cpp", "m.cc", C, C_PROBE, "vendor_probe", "probe", "remove: {function: vendor_probe}"),
    ("cmake", "CMakeLists.txt", CMAKE, CMAKE_FLAGS, "VENDOR", "GPU",
     "remove: {assignment: VENDOR_FLAGS}"),
    ("cmake", "CMakeLists.txt", CMAKE, CMAKE_SETUP, "vendor_setup", "setup",
     "remove: {function: vendor_setup}"),
    ("bash", "b.sh", BASH, BASH_SETUP, "install_vendor", "get_gpu",
     "remove: {function: install_vendor}"),
    ("yaml", "c.yaml", YAML, JOB, "vendor:", "gpu:", "remove: jobs.vendor"),
    ("yaml", "c.yaml", YAML, JOB, "vendor:", "gpu:", "remove: {key: jobs.vendor}"),
    ("toml", "p.toml", TOML, TABLE, "tool.vendor", "tool.gpu", "remove: tool.vendor"),
]  # fmt: skip


@pytest.mark.parametrize(("language", "path", "rest", "gone", "name", "other", "operation"), TAKEN)
def test_what_was_moved_or_renamed_is_not_gone(
    judge: Judge,
    *,
    language: str,
    path: str,
    rest: str,
    gone: str,
    name: str,
    other: str,
    operation: str,
) -> None:
    text, base = edit(path, language, operation), {path: rest + gone, "o.txt": "o\n"}
    really = judge(base, {path: rest, "o.txt": "changed\n"}, text)
    assert really.verdict is Verdict.UPSTREAMED
    renamed = judge(base, {path: rest + gone.replace(name, other), "o.txt": "o\n"}, text)
    assert renamed.verdict is Verdict.CONFLICT
    assert f"of {path} is not gone: it has '" in renamed.cause
    for place in ("o.txt", f"new/{path}"):
        moved = judge(base, {path: rest, "o.txt": "o\n", place: f"# here\n{gone}"}, text)
        assert moved.verdict is Verdict.CONFLICT
        assert f"{place} has '" in moved.cause


@pytest.mark.parametrize(
    ("before", "now", "key"),
    [
        ("a: 1\nbad: true\nb: 2\n", "a: 1\nworse: true\nb: 2\n", "bad"),
        ("a: 1\nbad: true\nb: 2\n", "a: 1\nb: 2\nc: {bad: true}\n", "bad"),
        ("j: {a: {x: 1, bad: 1}, b: {bad: 1}}\n", "j: {a: {x: 1}, c: {bad: 1}}\n", "j.a.bad"),
        ("a: 1\nhome: /opt/vendor\n", "root: /opt/vendor\na: 1\n", "home"),
    ],
)
def test_a_key_that_has_another_name_or_place_is_not_gone(
    judge: Judge, before: str, now: str, key: str
) -> None:
    text = edit("c.yaml", "yaml", f"remove: {key}")
    assert judge({"c.yaml": before}, {"c.yaml": now}, text).verdict is Verdict.CONFLICT


def test_a_key_that_is_gone_is_gone_whatever_else_has_its_short_value(judge: Judge) -> None:
    before = {"c.yaml": "a: 1\nbad: true\nb: 2\n"}
    now = {"c.yaml": "a: 1\nb: 2\nc: 3\nd: true\n"}
    text = edit("c.yaml", "yaml", "remove: bad")
    assert judge(before, now, text).verdict is Verdict.UPSTREAMED


@pytest.mark.parametrize(
    ("before", "now", "key"),
    [
        # What stood there at the pin did not come.
        ("a: {bad: 1, x: 1}\nb: {bad: 1}\n", "a: {x: 1}\nb: {bad: 1}\n", "a.bad"),
        ("a: {bad: 1, x: 1}\nb: {bad: 1}\n", "a: {x: 1}\nb: {bad: 2}\n", "a.bad"),
        ("a: [{bad: 1}, {bad: 2}]\n", "a: [{c: 3}, {bad: 2}]\n", "a.0.bad"),
        ("a: [{bad: 1, x: 1}, {b: 1}, {bad: 2}]\n", "a: [{x: 1}, {b: 1}, {bad: 2}]\n", "a.0.bad"),
        # Another key has the short value, between others than it stood between.
        ("a: 1\nbad: true\nb: 2\n", "c: 1\nworse: true\nd: 2\n", "bad"),
        ("a: 1\nb: 2\nbad: true\nc: 3\n", "d: 1\nb: 2\ne: 3\nworse: true\nf: 4\n", "bad"),
    ],
)
def test_a_key_is_gone_though_another_has_its_name_or_value(
    judge: Judge, before: str, now: str, key: str
) -> None:
    text = edit("c.yaml", "yaml", f"remove: {key}")
    assert judge({"c.yaml": before}, {"c.yaml": now}, text).verdict is Verdict.UPSTREAMED


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ("a: 1\nbad: true\nb: 2\n", "c: 1\nworse: true\nb: 2\n"),
        ("a: 1\nbad: true\nb: 2\n", "a: 1\nworse: true\nc: 2\n"),
        ("bad: true\nb: 2\n", "worse: true\nc: 2\n"),
        ("a: 1\nbad: true\n", "c: 2\nworse: true\n"),
    ],
)
def test_a_key_with_the_short_value_beside_the_same_key_is_it_renamed(
    judge: Judge, before: str, now: str
) -> None:
    text = edit("c.yaml", "yaml", "remove: bad")
    assert judge({"c.yaml": before}, {"c.yaml": now}, text).verdict is Verdict.CONFLICT


def test_the_old_code_beside_its_replacement_is_not_gone(judge: Judge) -> None:
    new = "def vendor_probe(path):\n    return count_gpus(path)\n"
    replaced = indent(new, " " * 10)
    text = edit("m.py", "python", f"replace: {{function: vendor_probe}}\n  with: |\n{replaced}")
    base = {"m.py": PYTHON + PROBE}
    assert judge(base, {"m.py": PYTHON + new}, text).verdict is Verdict.UPSTREAMED
    old = PROBE.replace("vendor", "old")
    beside = {"m.py": f"{PYTHON}{new}\n\n{old}"}
    assert judge(base, beside, text).verdict is Verdict.CONFLICT
    apart = {"m.py": PYTHON + new, "o.py": f"import os\n\n\n{old}"}
    assert judge(base, apart, text).verdict is Verdict.CONFLICT


def test_a_function_whose_body_is_in_its_caller_is_not_gone(judge: Judge) -> None:
    body = "    found = os.listdir(path)\n    total -= len(found) - 41\n    return total"
    now = {"m.py": PYTHON.replace("    return total", body)}
    text = edit("m.py", "python", "remove: {function: vendor_probe}")
    assert judge({"m.py": PYTHON + PROBE}, now, text).verdict is Verdict.CONFLICT


def test_a_statement_that_stands_in_another_file_is_not_gone(judge: Judge) -> None:
    text = edit("m.py", "python", f"remove: {{anchor: '{HOME.strip()}'}}")
    base = {"m.py": PYTHON + HOME}
    assert judge(base, {"m.py": PYTHON}, text).verdict is Verdict.UPSTREAMED
    moved = {"m.py": PYTHON, "o.py": f"import os\n{HOME}"}
    assert judge(base, moved, text).verdict is Verdict.CONFLICT


def test_what_a_diff_takes_out_and_the_upstream_moved_is_not_gone(judge: Judge) -> None:
    text = diff("m.py", PYTHON + PROBE, PYTHON)
    base = {"m.py": PYTHON + PROBE, "o.py": "x = 1\n"}
    assert judge(base, {"m.py": PYTHON, "o.py": "x = 2\n"}, text).verdict is Verdict.UPSTREAMED
    moved = {"m.py": PYTHON, "o.py": f"import os\n\n\n{PROBE}"}
    assert judge(base, moved, text).verdict is Verdict.CONFLICT


def test_what_the_patch_itself_moves_is_no_remains(judge: Judge) -> None:
    other = "import os\n\n\n"
    text = diff("m.py", PYTHON + PROBE, PYTHON) + "".join(
        diff("o.py", other, other + PROBE).partition("---\n")[2:]
    )
    base = {"m.py": PYTHON + PROBE, "o.py": other}
    now = {"m.py": PYTHON, "o.py": other + PROBE}
    assert judge(base, now, text).verdict is Verdict.UPSTREAMED


def test_a_line_that_many_files_have_says_nothing(judge: Judge) -> None:
    guarded = "try:\n    import vendor_module\nexcept ImportError:\n    vendor_module = None\n"
    others = {f"{name}.py": "try:\n    a()\nexcept ImportError:\n    b()\n" for name in "abcd"}
    now = {"m.py": f"{PYTHON}try:\n    c()\nexcept ImportError:\n    d()\n", **others}
    said = indent(guarded, " " * 12)
    text = edit("m.py", "python", f"remove:\n    anchor: |\n{said}")
    judged = judge({"m.py": PYTHON + guarded, **others}, now, text)
    assert judged.verdict is Verdict.UPSTREAMED


def test_lines_that_many_files_have_tell_nothing_of_what_came_to_another_file(
    judge: Judge,
) -> None:
    common = (
        "except (ImportError, ModuleNotFoundError, AttributeError) as error:\n"
        "    raise RuntimeError('a part of it is not installed here') from error\n"
    )
    gone = f"try:\n    vendor_state = None\n    open_vendor(41)\n{common}"
    others = {f"{name}.py": f"try:\n    {name}()\n{common}" for name in "abcd"}
    base = {"m.py": PYTHON + gone, "o.py": "o()\n", **others}
    text = edit("m.py", "python", f"remove:\n    anchor: |\n{indent(gone, ' ' * 12)}")

    def verdict_with(came: str) -> Verdict:
        return judge(base, {**base, "m.py": PYTHON, "o.py": f"o()\n{came}"}, text).verdict

    assert verdict_with("") is Verdict.UPSTREAMED
    assert verdict_with(f"try:\n    o()\n{common}") is Verdict.UPSTREAMED
    # One short line of it came as well, which is not most of what only this file had.
    assert verdict_with(f"try:\n    vendor_state = None\n{common}") is Verdict.UPSTREAMED


MARKS = "<<<<<<< HEAD\nx = 1\n=======\nx = 2\n>>>>>>> other\n"


@pytest.mark.parametrize(
    ("language", "path", "rest", "gone", "operation", "broken"),
    [
        ("python", "m.py", PYTHON, PROBE, "remove: {function: vendor_probe}", "def f(:\n"),
        ("python", "m.py", PYTHON, CALL, "remove: {call: register_vendor}", "x = (\n"),
        ("python", "m.py", PYTHON, "import vendor_one\n", "import: {remove: import vendor_one}",
         "f(]\n"),
        ("c", "m.c", C, C_PROBE, "remove: {function: vendor_probe}",
         "int f(int a {\n  return (a;\n}\n"),
        ("cmake", "CMakeLists.txt", CMAKE, CMAKE_FLAGS, "remove: {assignment: VENDOR_FLAGS}",
         "if(\n"),
        ("bash", "b.sh", BASH, BASH_SETUP, "remove: {function: install_vendor}", "if true; then\n"),
        ("yaml", "c.yaml", YAML, JOB, "remove: jobs.vendor", "b: [1\n"),
        ("yaml", "c.yaml", "a: 1\n", "b: vendor/image\n", "remove: {anchor: 'b: vendor/image'}",
         "b: [1\n"),
        ("toml", "p.toml", TOML, "b = 'vendor/image'\n", "remove: {anchor: \"b = 'vendor/image'\"}",
         "b = [\n"),
        ("text", "Dockerfile", "FROM x\n", "RUN vendor install\n",
         "remove: {anchor: RUN vendor install}", MARKS),
        ("requirements", "r.txt", "aa\n", "vendor-one\n", "requirement: {remove: vendor-one}",
         MARKS),
    ],
)  # fmt: skip
def test_in_a_file_that_cannot_be_read_nothing_is_proven_gone(
    judge: Judge, *, language: str, path: str, rest: str, gone: str, operation: str, broken: str
) -> None:
    text = edit(path, language, operation)
    assert judge({path: rest + gone}, {path: rest}, text).verdict is Verdict.UPSTREAMED
    for now in (rest + broken, rest + MARKS, b"\0\1\2\3" * 99):
        assert judge({path: rest + gone}, {path: now}, text).verdict is Verdict.CONFLICT
        patch = diff(path, rest + gone, rest)
        assert judge({path: rest + gone}, {path: now}, patch).verdict is Verdict.CONFLICT


def test_a_macro_far_from_it_does_not_keep_code_of_c_from_being_gone(judge: Judge) -> None:
    now = {"m.c": f"BEGIN_DECLS(x)\n{C}END_DECLS\n{C.replace('keep', 'more')}"}
    base = {"m.c": C_PROBE + C + C.replace("keep", "more")}
    text = edit("m.c", "c", "remove: {function: vendor_probe}")
    assert judge(base, now, text).verdict is Verdict.UPSTREAMED


FOLDER = {
    "x/dev/__init__.py": "first = 'value'\n",
    "x/dev/one.py": "second = 'another value'\n",
    "x/dev/two.py": "third = 'the last value'\n",
    "README": "x\n",
}


@pytest.mark.parametrize(
    ("path", "move", "verdict"),
    [
        ("x/dev/ours.py", {"README": "NEWS"}, Verdict.CLEAN),
        ("x/dev/ours.py", {"x/dev": "x/core/dev"}, Verdict.CONFLICT),
        ("x/dev/ours/a.py", {"x/dev": "x/core/dev"}, Verdict.CONFLICT),
        ("x/dev/ours.py", {"x/": "src/x/"}, Verdict.CONFLICT),
        ("x/dev/ours.py", {"x/dev/one.py": "x/one.py"}, Verdict.CLEAN),
        ("x/dev/ours.py", {"x/dev/one": "x/one", "x/dev/two": "x/two"}, Verdict.CONFLICT),
        ("ours/a.py", {"x/dev": "x/core/dev"}, Verdict.CLEAN),
        ("ours.py", {"x/": "src/x/"}, Verdict.CLEAN),
    ],
)
def test_a_file_is_added_to_no_folder_that_the_upstream_moved(
    judge: Judge, path: str, move: dict[str, str], verdict: Verdict
) -> None:
    now = {}
    for old, text in FOLDER.items():
        new = old
        for start, end in move.items():
            new = new.replace(start, end)
        now[new] = text
    structural = f"{HEADER}edits:\n  - add: {path}\n    content: |\n      x = 1\n"
    textual = (
        f"Subject: s\n\n---\ndiff --git a/{path} b/{path}\nnew file mode 100644\n--- /dev/null\n"
        f"+++ b/{path}\n@@ -0,0 +1 @@\n+x = 1\n"
    )
    for text in (structural, textual):
        judged = judge(FOLDER, now, text)
        assert judged.verdict is verdict
        assert ("would be added to" in judged.cause) is (verdict is Verdict.CONFLICT)


def test_a_file_is_added_to_no_folder_that_is_gone(judge: Judge) -> None:
    text = f"{HEADER}edits:\n  - add: x/dev/ours.py\n    content: |\n      x = 1\n"
    judged = judge(FOLDER, {"README": "x\n", "x/other.py": "a = 1\n"}, text)
    assert judged.verdict is Verdict.CONFLICT
    assert "x/dev, which is not there any more" in judged.cause


LONG = (
    "def vendor_probe(path, limit):\n    found = os.listdir(path)\n"
    "    return run_vendor(found, limit=limit, path=path)\n"
)
FLOWN = (
    "def vendor_probe(\n    path,\n    limit,\n):\n    found = os.listdir(path)\n"
    "    return run_vendor(\n        found, limit=limit, path=path\n    )\n"
)
TINY = "def is_vendor():\n    return True\n"
INSTALL = "install_vendor --silent /opt/vendor\n"


@pytest.mark.parametrize(
    ("language", "path", "rest", "gone", "operation", "other", "now"),
    [
        ("python", "m.py", PYTHON, LONG, "remove: {function: vendor_probe}", "n.py", FLOWN),
        ("python", "m.py", PYTHON, LONG, "remove: {function: vendor_probe}", "n.py",
         LONG.replace("\n", "\r\n")),
        ("python", "m.py", PYTHON, LONG, "remove: {function: vendor_probe}", "n.ipynb",
         '{"source": [\n' + ",\n".join(f'"{line}\\n"' for line in LONG.splitlines()) + "]}\n"),
        ("python", "m.py", PYTHON, TINY, "remove: {function: is_vendor}", "n.py", TINY),
        ("bash", "b.sh", BASH, INSTALL, "remove: {call: install_vendor}", "Dockerfile",
         f"FROM x\nRUN {INSTALL}"),
        ("bash", "b.sh", BASH, INSTALL, "remove: {call: install_vendor}", "ci.yaml",
         f"run: {INSTALL}"),
        ("cmake", "CMakeLists.txt", CMAKE, "target_compile_options(core PRIVATE -O3)\n",
         "argument: {of: {call: target_compile_options}, remove: -I/opt/vendor}", "o.cmake",
         "add_compile_options(-I /opt/vendor)\n"),
        ("yaml", "c.yaml", YAML, "list: [x]\n", "item: {of: {key: list}, remove: vendor-image}",
         "o.yaml", "list: [vendor-image]\n"),
        ("python", "m.py", PYTHON, "names = ['a']\n",
         "item: {of: {assignment: names}, remove: \"'vendor-one'\"}", "n.py",
         "others = ['vendor-one']\n"),
    ],
)  # fmt: skip
def test_what_another_file_has_in_another_layout_or_list_is_not_gone(
    judge: Judge,
    *,
    language: str,
    path: str,
    rest: str,
    gone: str,
    operation: str,
    other: str,
    now: str,
) -> None:
    common = {f"c{number}.py": f"def f{number}():\n    return True\n" for number in range(5)}
    left = rest
    if "remove: {" not in operation:  # a part of what stays
        left = rest + gone
        part = operation.rpartition("remove: ")[2].strip('}"')
        gone = changed_list(gone, part)
    base = {path: rest + gone, **common}
    text = edit(path, language, operation)
    assert judge(base, {path: left, **common}, text).verdict is Verdict.UPSTREAMED
    assert judge(base, {path: left, **common, other: now}, text).verdict is Verdict.CONFLICT


def changed_list(text: str, part: str) -> str:
    """Return a call or list with one more part."""
    end = max(text.rfind(")"), text.rfind("]"))
    return f"{text[:end]}{' ' if ')' in text else ', '}{part}{text[end:]}"
