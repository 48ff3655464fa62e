"""Whatever stands around what an edit is about stays, byte for byte, and an edit that is done is
seen to be done.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass
from itertools import count
from textwrap import dedent, indent

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forkhouse.core.errors import ForkhouseError, PatchConflictError
from forkhouse.documents.reading import parse
from forkhouse.patches.edits import AddedFile, FileEdit, StructuralEdit
from forkhouse.patches.operations import MatchError, apply_edit, effect_present

HEADER = "Subject: s\nDescription: d\nOrigin: o\nForwarded: no\nRetire-When: never\n"


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A text before and after an edit; unrelated lines may stand where an @ is alone on a line."""

    name: str
    language: str
    unrelated: tuple[str, ...]
    operations: str
    before: str
    after: str


PYTHON = (
    "# é 😀 f(1)",
    "a_1 = {'é': [1, 2]}",
    "def other_1():\n    return 'f(1)'",
    "",
    "with open('ü') as x: pass",
)
C = ("// é 😀 f(1)", "/* f(1) */", "static int other(int a) { return a; }", "", "#define OTHER 1")
SHELL = ("# é 😀 run", "other --é=1 'run -x'", "", "for i in a b; do\n  other $i\ndone")
MESON = (
    "# é 😀 f('a')",
    "other = ['é', 'b']",
    "",
    "if other == []\n  other += 'c'\nendif",
    "s = '''f(\n'a')'''",
)
CMAKE = (
    "# é 😀 f(a)",
    'set(OTHER "é" b)',
    "",
    "if(OTHER)\n  message(STATUS x)\nendif()",
    "#[[ f(a)\n]]",
)
SAMPLES = [
    Sample(
        name="python",
        language="python",
        unrelated=PYTHON,
        operations="""\
            - import: {replace: 'from nixl import (agent, config)', with: from rixl import agent}
            - argument: {of: {call: start}, remove: gpu=}
            - argument: {of: {call: start}, add: backend="hip"}
            - item: {of: {assignment: NAMES}, replace: '"cuda"', with: '"höp"'}
            - remove: {function: probe}
            - insert: {before: {function: main}, text: "@traced\\n# here"}
            - wrap: {call: copy, within: {function: main}}
              with: check($MATCH)
            - replace: {pattern: "old($A, $$$REST)"}
              with: new($$$REST, first=$A)
            """,
        before="""\
            import sys
            from nixl import agent, config
            @
            NAMES = ["cpu", "cuda"]  # ünï
            @
            @once
            def probe():
                return 1
            @
            LAST = 0
            @other
            def main():
                start(1, gpu=True,  # which
                      flag=2)
                copy(1)
                old(x, y,
                    z)
            @
            copy(2)
            """,
        after="""\
            import sys
            from rixl import agent
            @
            NAMES = ["cpu", "höp"]  # ünï
            @
            @
            LAST = 0
            @traced
            # here
            @other
            def main():
                start(1,  # which
                      flag=2,
                      backend="hip")
                check(copy(1))
                new(y,
                    z, first=x)
            @
            copy(2)
            """,
    ),
    Sample(
        name="c",
        language="c",
        unrelated=C,
        operations="""\
            - include: {replace: '#include <cuda.h>', with: '#include <hip.h>'}
            - argument: {of: {call: init}, replace: '0', with: HIP_é}
            - remove: {call: probe}
            - remove: {call: log, within: {function: run}}
            - item: {of: {assignment: names}, add: '"rocm"'}
            """,
        before="""\
            #include <stdio.h>
            #  include <cuda.h> // why
            @
            static const char *names[] = {
                "a",
                "b" /* é */
            };
            @
            int run(void) {
                if (init(0))
                    log("no");
                probe("é");  // gone
                return 1;
            }
            @
            """,
        after="""\
            #include <stdio.h>
            #include <hip.h> // why
            @
            static const char *names[] = {
                "a",
                "b", /* é */
                "rocm"
            };
            @
            int run(void) {
                if (init(HIP_é))
                    ;
                return 1;
            }
            @
            """,
    ),
    Sample(
        name="cpp",
        language="cpp",
        unrelated=(*C, "template <class T> T id(T a) { return a; }", "namespace é {}"),
        operations="""\
            - remove: {function: gone}
            - argument: {of: {call: .launch}, add: stream}
            - replace: {call: "cuda::sync"}
              with: hip::sync()
            - remove: {class: Old}
            """,
        before="""\
            @
            template <class T>
            __global__ void gone(T *a) { a[0] = 1; }
            @
            struct Old { int a; };
            struct New { Old *b; };
            void f() { s->launch(1, "é"); launch(2); cuda::sync(); }
            @
            """,
        after="""\
            @
            @
            struct New { Old *b; };
            void f() { s->launch(1, "é", stream); launch(2); hip::sync(); }
            @
            """,
    ),
    Sample(
        name="rust",
        language="rust",
        unrelated=(
            "// é 😀",
            'const OTHER: &str = "é f(1)";',
            "",
            "#[cfg(a)]\nfn other() { g!(1) }",
        ),
        operations="""\
            - import: {remove: "use cuda::{a, b};"}
            - argument: {of: {call: vec, argument: x}, remove: '"cuda"'}
            - remove: {function: gone}
            - replace: {function: run, within: {class: impl A}}
              with: |
                fn run(&self) {
                    "é";
                }
            """,
        before="""\
            use std::fs;
            use cuda::{
                a, b,
            };
            @
            #[test]
            fn gone() {}
            @
            struct A;
            impl A {
                fn run(&self) { vec!["ü", "cuda"]; }
            }
            fn run() { vec!["cuda", x]; }
            @
            """,
        after="""\
            use std::fs;
            @
            @
            struct A;
            impl A {
                fn run(&self) {
                    "é";
                }
            }
            fn run() { vec![x]; }
            @
            """,
    ),
    Sample(
        name="bash",
        language="bash",
        unrelated=SHELL,
        operations="""\
            - argument: {of: {call: cmake}, remove: -DCUDA=ON}
            - argument: {of: {call: cmake}, add: -DHIP=ON}
            - remove: {call: nvidia-smi}
            - item: {of: {assignment: FLAGS}, remove: -b}
            - replace: {assignment: ARCH}
              with: ARCH=gfx90a
            """,
        before="""\
            @
            export ARCH=sm_90
            FLAGS=(-a -b "-é")
            @
            if true; then
              nvidia-smi > log
            fi
            cmake -S . \\
              -DCUDA=ON \\
              -B é
            @
            """,
        after="""\
            @
            export ARCH=gfx90a
            FLAGS=(-a "-é")
            @
            if true; then
              :
            fi
            cmake -S . \\
              -B é -DHIP=ON
            @
            """,
    ),
    Sample(
        name="meson",
        language="meson",
        unrelated=MESON,
        operations="""\
            - argument:
                of: {call: dependency, argument: "'cuda'"}
                replace: "required:"
                with: "required : false"
            - item: {of: {assignment: plugins}, remove: "'gds'"}
            - item: {of: {assignment: plugins}, add: "'rocm'"}
            - remove: {call: subdir, argument: "'é'"}
            - argument: {of: {call: .get}, add: "'x'"}
            """,
        before="""\
            project('é', 'c')
            @
            cuda = dependency('cuda', required : get('a'))
            plugins = [
              'ucx',  # the transport
              'gds',  # of another
              'posix'  # last
            ]
            @
            subdir('é')
            subdir('b')
            v = cuda.get()
            @
            """,
        after="""\
            project('é', 'c')
            @
            cuda = dependency('cuda', required : false)
            plugins = [
              'ucx',  # the transport
              'posix',  # last
              'rocm'
            ]
            @
            subdir('b')
            v = cuda.get('x')
            @
            """,
    ),
    Sample(
        name="cmake",
        language="cmake",
        unrelated=CMAKE,
        operations="""\
            - argument:
                of: {call: target_link_libraries, argument: run}
                replace: "CUDA::cudart"
                with: "hip::host"
            - item: {of: {assignment: SOURCES}, remove: b.cu}
            - item: {of: {assignment: SOURCES}, add: é.hip}
            - remove: {call: enable_language, argument: CUDA}
            - remove: {function: gone}
            """,
        before="""\
            project(é)
            @
            Enable_Language(CUDA)  # why
            function(gone a)
              set(x ${a})
            endfunction()
            @
            set(SOURCES
              a.c  # é
              b.cu # gone
              (c OR d)
            )
            target_link_libraries(run PRIVATE CUDA::cudart "é")
            @
            """,
        after="""\
            project(é)
            @
            @
            set(SOURCES
              a.c  # é
              (c OR d)
              é.hip
            )
            target_link_libraries(run PRIVATE hip::host "é")
            @
            """,
    ),
    Sample(
        name="yaml",
        language="yaml",
        unrelated=("# é 😀", "other: é", "", "o: {a: [1, 2]}  # x", "p:\n  - é"),
        operations="""\
            - {set: top.device, value: höp}
            - {add: top.new, value: [1, 'true']}
            - {remove: top.gone}
            - item: {of: {key: top.list}, remove: cuda}
            - item: {of: {key: top.list}, add: rocm}
            - {set: top.list.0, value: ü}
            """,
        before="""\
            @
            top:
              device: cuda  # é
              gone: 1
              list:
                - é  # first
                - cuda  # second
                - b: 1
                  c: 2
              flow: {x: é}  # x
            @
            """,
        after="""\
            @
            top:
              device: höp  # é
              list:
                - ü  # first
                - b: 1
                  c: 2
                - rocm
              flow: {x: é}  # x
              new: [1, 'true']
            @
            """,
    ),
    Sample(
        name="json",
        language="json",
        unrelated=('"é 😀": "cuda",', '"o": {"a":[1,  2]},', ""),
        operations="""\
            - {set: top.device, value: höp}
            - {add: top.new, value: [1, true]}
            - {remove: top.gone}
            - item: {of: {key: top.list}, remove: '"cuda"'}
            - item: {of: {key: top.list}, add: '"rocm"'}
            """,
        before="""\
            {
            @
              "top": {
                "device": "é",
                "gone":  [1, 2],
                "list": ["cuda",  "é"]
              },
            @
              "z": 1
            }
            """,
        after="""\
            {
            @
              "top": {
                "device": "höp",
                "list": ["é", "rocm"],
                "new": [1, true]
              },
            @
              "z": 1
            }
            """,
    ),
    Sample(
        name="toml",
        language="toml",
        unrelated=(
            "# é 😀",
            "[other_NUMBER]\na   = 'é' # x",
            "",
            '[[many_NUMBER]]\nb = """é\nx"""\n',
        ),
        operations="""\
            - {set: top.device, value: höp}
            - {remove: top.gone}
            - item: {of: {key: top.list}, remove: '"cuda"'}
            - item: {of: {key: top.list}, add: '"rocm"'}
            """,
        before="""\
            @
            [top]
            device =  "cuda"  # é
            gone = 1
            list = [
                'é', # first
                "cuda",
            ]
            @
            [last]
            x.y =  1
            """,
        after="""\
            @
            [top]
            device =  "höp"  # é
            list = [
                'é', # first
                "rocm",
            ]
            @
            [last]
            x.y =  1
            """,
    ),
    Sample(
        name="pyproject",
        language="requirements",
        unrelated=("# é 😀", "[other_NUMBER]\na   = 'torch' # x", ""),
        operations="""\
            - requirement: {remove: nixl-cu12}
            - requirement: {replace: torch, with: torch>=3, extra: ""}
            - requirement: {remove: torch, extra: Gpu}
            - requirement: {add: rixl>=1, extra: gpu}
            """,
        before="""\
            @
            [project]
            name = "é"
            dependencies = [
              'torch==2; python_version > "3"',  # é
              "NIXL_cu12",  # gone
              "numpy",
            ]
            @
            [project.optional-dependencies]
            gpu = ["Torch~=2.0", "x"]
            @
            [build-system]
            requires = ["setuptools"]
            """,
        after="""\
            @
            [project]
            name = "é"
            dependencies = [
              'torch>=3; python_version > "3"',  # é
              "numpy",
            ]
            @
            [project.optional-dependencies]
            gpu = ["x", "rixl>=1"]
            @
            [build-system]
            requires = ["setuptools"]
            """,
    ),
    Sample(
        name="metadata",
        language="requirements",
        unrelated=("Classifier: é", "Requires-Dist: torch-é-other", "Author: torch"),
        operations="""\
            - requirement: {remove: nixl-cu12}
            - requirement: {replace: torch, with: torch>=3, extra: ""}
            - requirement: {remove: torch, extra: Gpu}
            - requirement: {add: rixl>=1, extra: gpu}
            """,
        before="""\
            Metadata-Version: 2.4
            Name: é
            @
            Requires-Dist: torch==2; python_version > "3"
            Requires-Dist:  NIXL_cu12 (>=1)
            @
            Requires-Dist: torch; 'gpu' == extra
            Provides-Extra: gpu

            Requires-Dist: torch
            é
            """,
        after="""\
            Metadata-Version: 2.4
            Name: é
            @
            Requires-Dist: torch>=3; python_version > "3"
            @
            Provides-Extra: gpu
            Requires-Dist: rixl>=1; extra == "gpu"

            Requires-Dist: torch
            é
            """,
    ),
    Sample(
        name="requirements",
        language="requirements",
        unrelated=(
            "# torch é",
            "-r torch.txt",
            "--find-links torch",
            "other==1 \\\n    --hash=sha256:00",
            "",
        ),
        operations="""\
            - requirement: {remove: nixl-cu12}
            - requirement: {replace: torch, with: torch>=3}
            """,
        before="""\
            @
            Torch==2 ; python_version > "3"  # é
            @
            nixl_cu12==1 \\
                --hash=sha256:00 \\
                --hash=sha256:01
            @
            last
            """,
        after="""\
            @
            torch>=3; python_version > "3"  # é
            @
            @
            last
            """,
    ),
    Sample(
        name="text",
        language="text",
        unrelated=("# é 😀", "RUN other", "", "FROM é AS c"),
        operations="""\
            - replace: {anchor: "FROM cuda:13"}
              with: FROM debian:é
            - insert: {after: {anchor: "RUN a\\n"}, text: "RUN b\\nRUN c\\n"}
            - remove: {anchor: "RUN x \\\\\\n  y\\n"}
            """,
        before="""\
            @
            FROM cuda:13 AS é
            @
            RUN a
            RUN x \\
              y
            @
            last
            """,
        after="""\
            @
            FROM debian:é AS é
            @
            RUN a
            RUN b
            RUN c
            @
            last
            """,
    ),
    Sample(
        name="entry-points",
        language="entry-points",
        unrelated=("# é", "[other_NUMBER]\nb = é:c", ""),
        operations="- remove: {group: pytest11}\n",
        before="""\
            @
            [console_scripts]
            a = b:c
            [pytest11]
            x = y:z
            [z]
            y = é:f
            @
            """,
        after="""\
            @
            [console_scripts]
            a = b:c
            [z]
            y = é:f
            @
            """,
    ),
]


def edit_of(language: str, operations: str) -> FileEdit:
    document = (
        f"{HEADER}edits:\n  - path: file\n    language: {language}\n    "
        f"operations:\n{indent(dedent(operations), '      ')}"
    )
    (edit,) = parse(StructuralEdit, document, name="edit").edits
    assert not isinstance(edit, AddedFile)
    return edit


def laid_out(text: str, gaps: list[list[str]], *, newline: str, final: bool) -> str:
    """Fill the places for unrelated lines, and give the text its line ends."""
    numbers = count()
    pieces = [
        "".join(f"{line.replace('NUMBER', str(next(numbers)))}\n" for line in gap) for gap in gaps
    ]
    lines = dedent(text).split("@\n")
    filled = "".join(
        line + piece for line, piece in zip(lines, [*pieces, *[""] * len(lines)], strict=False)
    )
    filled = filled if final else filled.rstrip("\n")
    return filled.replace("\n", newline)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_what_stands_around_an_edit_stays(sample: Sample, data: st.DataObject) -> None:
    places = dedent(sample.before).split("\n").count("@")
    assert dedent(sample.after).split("\n").count("@") == places
    gaps = data.draw(
        st.lists(
            st.lists(st.sampled_from(sample.unrelated), max_size=3),
            min_size=places,
            max_size=places,
        )
    )
    newline, final = data.draw(st.sampled_from(["\n", "\r\n"])), data.draw(st.booleans())
    before = laid_out(sample.before, gaps, newline=newline, final=final)
    after = laid_out(sample.after, gaps, newline=newline, final=final)
    edit = edit_of(sample.language, sample.operations)
    assert apply_edit(before, edit) == after
    assert not effect_present(before, edit)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_an_edit_is_not_made_twice(sample: Sample) -> None:
    after = laid_out(sample.after, [], newline="\n", final=True)
    with pytest.raises(PatchConflictError, match=r"operation \d"):
        apply_edit(after, edit_of(sample.language, sample.operations))


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_no_match_and_two_matches_are_refused_with_their_numbers(sample: Sample) -> None:
    edit = edit_of(sample.language, sample.operations)
    with pytest.raises(MatchError) as none:
        apply_edit("" if sample.language != "json" else "{}", edit)
    assert none.value.operation == 1
    assert (none.value.matches, none.value.expected) == (0, 1)
    assert none.value.anchor


PIECES = (
    "",
    "\0",
    "\n",
    "\r",
    "\r\n",
    "\t",
    "\f",
    "\ufeff",
    "\u2028",
    "é",
    "😀",
    *"()[]{}<>'\"#\\,:;=$.-&|*`",
    "'''",
    "[[",
    "]]",
    "/*",
    "\\\n",
    "$(",
    "- ",
    "\ud800",
)
INPUTS = int(os.environ.get("FORKHOUSE_FUZZ", "3000"))
"""Mutated inputs to try; `FORKHOUSE_FUZZ=100000 pytest -k mutated` is the long run."""


def mutated(text: str, chance: random.Random) -> str:
    for _ in range(chance.randint(1, 5)):
        start = chance.randrange(len(text) + 1)
        end = min(len(text), start + chance.choice((0, 1, 3, 12, 60)))
        piece = chance.choice(
            (
                *PIECES,
                text[start:end] * 2,
                text[end : end + 30],
                chance.choice("([{'\"") * chance.choice((1, 40)),
            )
        )
        text = text[:start] + piece + text[end:]
    return text


@pytest.mark.timeout(3600)
def test_mutated_files_bring_out_nothing_but_explained_errors() -> None:
    chance = random.Random(20261125)
    edits = [edit_of(sample.language, sample.operations) for sample in SAMPLES]
    # Each operation alone as well: the first of an edit would stop most of them.
    alone = [
        edit.model_copy(update={"operations": (operation,)})
        for edit in edits
        for operation in edit.operations
    ]
    texts = {
        sample.language + sample.name: dedent(sample.before).replace("@\n", "")
        for sample in SAMPLES
    }
    by_language: dict[str, list[str]] = {}
    for sample in SAMPLES:
        by_language.setdefault(sample.language, []).append(texts[sample.language + sample.name])
    outcomes: Counter[str] = Counter()
    slowest = 0.0
    for _ in range(INPUTS):
        edit = chance.choice(alone)
        text = mutated(chance.choice(by_language[edit.language]), chance)
        begun = time.monotonic()
        try:
            effect_present(text, edit)
            apply_edit(text, edit)
            outcomes["applied"] += 1
        except ForkhouseError as error:
            outcomes[type(error).__name__] += 1
        except Exception as error:
            error.add_note(f"{edit!r} on {text!r}")
            raise
        slowest = max(slowest, time.monotonic() - begun)
    sys.stdout.write(f"{INPUTS} inputs, {dict(outcomes)}, slowest {slowest:.2f} s\n")
    assert outcomes["applied"] > INPUTS // 10
    assert slowest < 10


@pytest.mark.parametrize(
    "language",
    ["python", "c", "rust", "bash", "yaml", "json", "toml", "meson", "cmake", "requirements"],
)
@pytest.mark.parametrize(
    "text",
    [
        "(" * 20000,
        "[" * 20000,
        "[]," * 2000,
        "a(" * 5000,
        " " * 20000 + "x",
        "'" * 30001,
        "- " * 5000,
        '"\\' * 20000,
    ],
)
def test_deep_and_long_inputs_end(language: str, text: str) -> None:
    operation = (
        "requirement: {remove: xyz}"
        if language == "requirements"
        else "replace: {anchor: xyz}\n  with: y"
    )
    edit = edit_of(language, f"- {operation}\n")
    with pytest.raises(ForkhouseError):
        apply_edit(text, edit)
