"""An option, an item, a requirement or a key in another form or at another place is not gone."""

from __future__ import annotations

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

    from forkhouse.sources.store import ObjectStore

    Judge = Callable[[Mapping[str, str], Mapping[str, str], str, str], Verdict]

HEADER = "Subject: s\nDescription: d\nOrigin: o\nForwarded: no\nRetire-When: never\n"


@pytest.fixture
def judge(store: ObjectStore, tmp_path: Path) -> Judge:
    def tree(files: Mapping[str, str]) -> str:
        return store.import_files(
            TreeFile(path=path, content=text.encode(), mode=FileMode.BLOB)
            for path, text in files.items()
        )

    def judged(
        before: Mapping[str, str],
        now: Mapping[str, str],
        language: str,
        operation: str,
    ) -> Verdict:
        folder = tmp_path / f"series-{len([*tmp_path.iterdir()])}"
        folder.mkdir()
        (folder / "series").write_text("0001-e.edit.yaml\n", encoding="utf-8")
        said = indent(f"- {indent(operation, '  ').strip()}\n", " " * 6)
        text = (
            f"{HEADER}edits:\n  - path: {next(iter(before))}\n    language: {language}\n"
            f"    operations:\n{said}"
        )
        (folder / "0001-e.edit.yaml").write_text(text, encoding="utf-8")
        patches = read_series(folder)
        plain = Ladder(store=store, paths={}, pinned={})
        ladder = Ladder(store=store, paths={}, pinned=pin(tree(before), patches, plain))
        (judgement,) = ladder.judge_series(tree(now), patches)
        return judgement.verdict

    return judged


LANGUAGES = "argument: {of: {call: project}, remove: CUDA}"
OPTION = "argument: {of: {call: target_compile_options}, remove: -I/opt/vendor}"
DEFINED = "argument: {of: {call: target_compile_definitions}, remove: USE_VENDOR=1}"
LINKED = "argument: {of: {call: target_link_libraries}, remove: vendor_rt}"
SOURCE = "item: {of: {assignment: SRCS}, remove: vendor.cu}"
CMAKE = "argument: {of: {call: cmake}, remove: -DUSE_VENDOR=ON}"
PIP = "argument: {of: {call: pip}, remove: aa-cu12}"
ITEM = "item: {of: {assignment: reqs}, remove: \"'aa-cu12'\"}"
KEYWORD = "argument: {of: {call: build}, remove: cuda=True}"
LISTED = "item: {of: {key: a}, remove: aa-cu12}"
DEPENDENCY = "item: {of: {key: project.dependencies}, remove: aa-cu12}"
ENV = 'remove: {anchor: "ENV VENDOR_HOME=/opt/vendor\\n"}'
OPTIONS = "target_compile_options(core PRIVATE -O3 -I/opt/vendor)\n"
DEFINITIONS = "target_compile_definitions(core PRIVATE A=1 USE_VENDOR=1)\n"
LIBRARIES = "target_link_libraries(core PRIVATE m vendor_rt)\n"
SOURCES = "set(SRCS a.cpp vendor.cu)\nset(MORE b.cpp)\n"
COMMANDS = "cmake -DA=1 -DUSE_VENDOR=ON ..\nmake\n"
LIST = "reqs = [\n    'bb',\n    'aa-cu12',\n]\nmore = ['cc']\n"
PROJECT = (
    "[project]\nname = 'x'\ndependencies = ['bb', 'aa-cu12']\n[project.optional-dependencies]\n"
    "g = ['cc']\n"
)

MOVED = [
    # language, before, what the upstream took out, and what it put where, operation
    ("cmake", "project(x LANGUAGES CXX CUDA)\n", " CUDA", "enable_language(CUDA)\n", LANGUAGES),
    ("cmake", "project(x LANGUAGES CXX CUDA)\n", " CUDA",
     "if(Y)\n  enable_language(CUDA)\nendif()\n", LANGUAGES),
    ("cmake", "enable_language(CUDA)\n", "enable_language(CUDA)\n",
     "project(x LANGUAGES CXX CUDA)\n", "remove: {call: enable_language, argument: CUDA}"),
    ("cmake", OPTIONS, " -I/opt/vendor", "add_compile_options(-I /opt/vendor)\n", OPTION),
    ("cmake", OPTIONS, " -I/opt/vendor", 'add_compile_options("SHELL:-I /opt/vendor")\n', OPTION),
    ("cmake", OPTIONS, " -I/opt/vendor", "target_include_directories(core PRIVATE /opt/vendor)\n",
     OPTION),
    ("cmake", OPTIONS, " -I/opt/vendor", 'set(CMAKE_CXX_FLAGS "-g -I/opt/vendor")\n', OPTION),
    ("cmake", DEFINITIONS, " USE_VENDOR=1", "add_compile_options(-DUSE_VENDOR=1)\n", DEFINED),
    ("cmake", DEFINITIONS, " USE_VENDOR=1", "add_definitions(-D USE_VENDOR=1)\n", DEFINED),
    ("cmake", LIBRARIES, " vendor_rt", "target_link_options(core PRIVATE -lvendor_rt)\n", LINKED),
    ("cmake", LIBRARIES, " vendor_rt", "link_libraries(vendor::vendor_rt)\n", LINKED),
    ("cmake", SOURCES, " vendor.cu", "list(APPEND SRCS vendor.cu)\n", SOURCE),
    ("cmake", "add_definitions(-DUSE_VENDOR)\n", "add_definitions(-DUSE_VENDOR)\n",
     "add_compile_definitions(USE_VENDOR)\n", "remove: {call: add_definitions}"),
    ("bash", COMMANDS, " -DUSE_VENDOR=ON", 'export CMAKE_ARGS="-DUSE_VENDOR=ON"\n', CMAKE),
    ("bash", COMMANDS, " -DUSE_VENDOR=ON", "CMAKE_ARGS='-DUSE_VENDOR=ON -DB=1' make\n", CMAKE),
    ("bash", COMMANDS, " -DUSE_VENDOR=ON", "ccmake -D USE_VENDOR:BOOL=ON ..\n", CMAKE),
    ("bash", "pip install aa-cu12 bb\n", " aa-cu12", "uv add aa-cu12\n", PIP),
    ("bash", "export VENDOR_HOME=/opt/vendor\nmake\n", "export VENDOR_HOME=/opt/vendor\n",
     "VENDOR_HOME=/opt/vendor run\n", "remove: {call: export}"),
    ("text", "ENV VENDOR_HOME=/opt/vendor\nRUN make\n", "ENV VENDOR_HOME=/opt/vendor\n",
     "RUN VENDOR_HOME=/opt/vendor run\n", ENV),
    ("text", "ENV VENDOR_HOME=/opt/vendor\nRUN make\n", "ENV VENDOR_HOME=/opt/vendor\n",
     "ENV VENDOR_HOME /opt/vendor\n", ENV),
    ("python", LIST, "    'aa-cu12',\n", "other = ['aa-cu12']\n", ITEM),
    ("python", "build(a, cuda=True)\n", ", cuda=True", "run(b, cuda=True)\n", KEYWORD),
    ("python", "build(a, cuda=True)\n", ", cuda=True", "b = functools.partial(build, cuda=True)\n",
     KEYWORD),
    ("python", "build(a, cuda=True)\n", ", cuda=True", "options = {'cuda': True}\n", KEYWORD),
    ("c", "void f(void) { g(1, VENDOR_ID); }\n", ", VENDOR_ID",
     "void e(void) { h(2, VENDOR_ID); }\n", "argument: {of: {call: g}, remove: VENDOR_ID}"),
    ("c", "int a[] = {1, VENDOR_ID};\n", ", VENDOR_ID", "int b[] = {2, VENDOR_ID};\n",
     "item: {of: {assignment: a}, remove: VENDOR_ID}"),
    ("meson", "project('x', 'c')\nlibrary('a', 'a.c', c_args: ['-DUSE_VENDOR'])\n",
     ", c_args: ['-DUSE_VENDOR']", "add_project_arguments('-DUSE_VENDOR', language: 'c')\n",
     "argument: {of: {call: library}, remove: \"c_args: ['-DUSE_VENDOR']\"}"),
    ("yaml", "a: [x, aa-cu12]\n", ", aa-cu12", "b: [z, aa-cu12]\n", LISTED),
    ("yaml", "a: [x, aa-cu12]\n", ", aa-cu12", "b: pip install aa-cu12\n", LISTED),
    ("toml", PROJECT, ", 'aa-cu12'", "h = ['aa-cu12']\n", DEPENDENCY),
    ("requirements", PROJECT, ", 'aa-cu12'", "[tool.other]\nneeds = ['aa-cu12']\n",
     "requirement: {remove: aa-cu12}"),
]  # fmt: skip


@pytest.mark.parametrize(("language", "before", "gone", "come", "operation"), MOVED)
def test_a_part_in_another_place_or_form_is_not_gone(
    judge: Judge,
    language: str,
    before: str,
    gone: str,
    come: str,
    operation: str,
) -> None:
    name = "pyproject.toml" if language == "requirements" else "file"
    left = before.replace(gone, "", 1)
    assert judge({name: before}, {name: left}, language, operation) is Verdict.UPSTREAMED
    assert judge({name: before}, {name: left + come}, language, operation) is Verdict.CONFLICT


@pytest.mark.parametrize(
    ("language", "before", "now", "operation"),
    [
        ("bash", "pip install aa-cu12 bb\n", "pip install aa-cu13 bb\n", PIP),
        ("text", "RUN pip install aa-cu12\n", "RUN pip install aa-cu13\n",
         "remove: {anchor: ' aa-cu12'}"),
        ("python", LIST, LIST.replace("cu12", "cu13"), ITEM),
        ("python", LIST, LIST.replace("bb", "bb-core"),
         "item: {of: {assignment: reqs}, remove: \"'bb'\"}"),
        ("python", LIST, LIST.replace("bb", "bb[x]"),
         "item: {of: {assignment: reqs}, remove: \"'bb'\"}"),
        ("python", "build(a, cuda=True)\n", "build(a, gpu=True)\n", KEYWORD),
        # A keyword that has its words still, or only its value; a variable that came to hold it.
        ("python", "build(a, wait=5)\n", "build(a, wait_s=5)\n",
         "argument: {of: {call: build}, remove: wait=}"),
        ("python", "build(a, wait=5)\n", "build(a, max_wait=9)\n",
         "argument: {of: {call: build}, remove: wait=5}"),
        ("python", "build(a, wait=5)\n", "build(a, 5)\n",
         "argument: {of: {call: build}, remove: wait=}"),
        ("python", "build(a, wait=b.wait)\n", "build(a)\nrun(wait=b.wait)\n",
         "argument: {of: {call: build}, remove: wait=}"),
        ("python", "build(a, Kind.GPU)\n", "k = Kind.GPU\nbuild(a, k)\n",
         "argument: {of: {call: build}, remove: Kind.GPU}"),
        ("python", "build(a, kind=GPU)\n", "kind: Kind = GPU if x else CPU\nbuild(a, kind)\n",
         "argument: {of: {call: build}, remove: kind=}"),
        ("c", "void f(void) { g(1, VENDOR_ID); }\n",
         "void f(void) { int id = 8 | VENDOR_ID; g(1, id); }\n",
         "argument: {of: {call: g}, remove: VENDOR_ID}"),
        ("rust", "fn f() { g(1, Kind::Gpu); }\n", "fn f() { let k = Kind::Gpu; g(1, k); }\n",
         "argument: {of: {call: g}, remove: 'Kind::Gpu'}"),
        ("bash", "pip install aa-cu12 bb\n", "pip install -r needed.txt bb\n", PIP),
        ("bash", "pip install aa-cu12 bb\n", "pip install `cat needed.txt` bb\n", PIP),
        # A module by its name as a text.
        ("python", "import gpus\n", "gpus = Lazy('gpus', globals())\n",
         "import: {remove: import gpus}"),
        ("yaml", "a: [x, aa-cu12]\n", "a: [x, aa-cu13]\n", LISTED),
        ("toml", PROJECT, PROJECT.replace("cu12", "cu13"), DEPENDENCY),
        ("requirements", PROJECT, PROJECT.replace("cu12", "cu13"),
         "requirement: {remove: aa-cu12}"),
        ("requirements", "bb\naa-cu12\n", "bb\naa-cu13\n", "requirement: {remove: aa-cu12}"),
        ("requirements", "bb\naa\n", "bb\naa-rocm\n", "requirement: {remove: aa}"),
        # As often as before, but in another command.
        ("cmake", "vendor_setup(b)\nuse(x vendor_setup)\n", "vendor_setup(d)\nuse(x)\n",
         "argument: {of: {call: use}, remove: vendor_setup}"),
        ("cmake", "set(SRCS vendor.cu a)\nset(B vendor.cu b)\n",
         "set(SRCS a)\nset(B b)\nset(C vendor.cu)\n", SOURCE),
    ],
)  # fmt: skip
def test_another_version_of_it_is_not_gone(
    judge: Judge,
    language: str,
    before: str,
    now: str,
    operation: str,
) -> None:
    assert judge({"file": before}, {"file": now}, language, operation) is Verdict.CONFLICT


@pytest.mark.parametrize("declared", ["aa-cu12", "aa_cu12>=2"])
def test_a_requirement_that_went_to_another_file_is_not_gone(
    judge: Judge,
    declared: str,
) -> None:
    before = {"requirements/one.txt": "bb\naa-cu12\n", "requirements/all.txt": "cc\n"}
    now = {"requirements/one.txt": "bb\n", "requirements/all.txt": "cc\n"}
    operation = "requirement: {remove: aa-cu12}"
    assert judge(before, now, "requirements", operation) is Verdict.UPSTREAMED
    for path, text in (
        ("requirements/all.txt", f"cc\n{declared}\n"),
        ("pyproject.toml", f"[project]\nname = 'x'\ndependencies = ['{declared}']\n"),
        ("setup.py", f"setup(install_requires=['{declared}'])\n"),
    ):
        moved = {**now, path: text}
        assert judge(before, moved, "requirements", operation) is Verdict.CONFLICT


@pytest.mark.parametrize(
    ("language", "before", "now", "operation"),
    [
        ("cmake", "project(x LANGUAGES CXX CUDA)\nif(Y)\n  set(B a.cu CUDA)\nendif()\n",
         "project(x VERSION 2 LANGUAGES CXX)\nif(Y)\n  set(B a.cu b.cu CUDA)\nendif()\n",
         LANGUAGES),
        ("cmake", "a(1)\nvendor_setup(b)\nuse(x vendor_setup)\n", "c(2)\nvendor_setup(b)\nuse(x)\n",
         "argument: {of: {call: use}, remove: vendor_setup}"),
        ("cmake", "vendor_setup(b)\nuse(x vendor_setup)\n", "c(2)\nuse(x)\nvendor_setup(b)\n",
         "argument: {of: {call: use}, remove: vendor_setup}"),
        ("cmake", "find_package(VendorKit REQUIRED)\n", "find_package(hip REQUIRED)\n",
         "remove: {anchor: find_package(VendorKit REQUIRED)}"),
        ("bash", "pip install aa-cu12 bb\nmake\n", "pip install bb cc-rocm6\nmake -j4\n", PIP),
        ("bash", "apt-get install -y vendor-tool\nmake\n", "make -j4\n", "remove: {call: apt-get}"),
        ("text", "RUN apt-get install vendor-tool\n", "RUN apt-get update\n",
         "remove: {anchor: RUN apt-get install vendor-tool}"),
        ("text", "FROM base:1\nRUN pip install aa-cu12\n", "FROM base:2\nRUN pip install zz==1.3\n",
         'remove: {anchor: "RUN pip install aa-cu12\\n"}'),
        ("python", LIST, LIST.replace("'aa-cu12'", "'cc>=1'"), ITEM),
        ("python", "def f(dev):\n    g(1, dev)\n", "def f(dev):\n    g(1)\n    h(dev)\n",
         "argument: {of: {call: g}, remove: dev}"),
        ("python", "build(a, cuda=True)\n", "build(a, fast=1)\n", KEYWORD),
        ("python", "build(a, wait=5)\nk = 5\n", "build(a, k)\nk = 5\n",
         "argument: {of: {call: build}, remove: wait=}"),
        ("python", "import gpus\nx = 'gpus'\n", "x = 'gpus'\n# 'gpus'\ny = 'no gpus'\n",
         "import: {remove: import gpus}"),
        ("yaml", "a: [x, aa-cu12]\nb: [z]\n", "a: [x, yy]\nb: [z, w]\n", LISTED),
        ("requirements", "torch==2.1\naa\n", "aa\ntorchaudio\n", "requirement: {remove: torch}"),
        ("requirements", "torch==2.1\naa\n", "torch==2.2\naa\n",
         "requirement: {replace: torch, with: torch==2.2}"),
    ],
)  # fmt: skip
def test_what_is_gone_is_gone_whatever_came(
    judge: Judge,
    language: str,
    before: str,
    now: str,
    operation: str,
) -> None:
    assert judge({"file": before}, {"file": now}, language, operation) is Verdict.UPSTREAMED
