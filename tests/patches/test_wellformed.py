"""What no reader of a language takes is not well formed, and no patch makes a file so."""

from __future__ import annotations

import difflib
import subprocess
from typing import TYPE_CHECKING

import pytest
from pygit2.enums import FileMode

from forkhouse.patches.backends import faults, parses
from forkhouse.patches.ladder import Ladder, pin
from forkhouse.patches.series import read_patch
from forkhouse.patches.verdicts import Verdict
from forkhouse.sources.store import ObjectStore, TreeFile

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("python", "x = 1\n"),
        ("c", "int x;\n"),
        ("cpp", "int x;\n"),
        ("rust", "fn f() {}\n"),
        ("bash", "run x\n"),
        ("cmake", "run(x)\n"),
        ("meson", "run('x')\n"),
        ("yaml", "a: x\n"),
        ("json", '{"a": 1}\n'),
        ("toml", "a = 1\n"),
    ],
)
def test_half_a_character_is_a_fault_in_every_language(language: str, text: str) -> None:
    assert (faults(text, language), parses(text, language)) == (0, True)
    assert faults(f"{text}\ud800\n", language) > 0
    assert not parses(f"{text}\ud800\n", language)


@pytest.mark.parametrize(
    "text",
    [
        "if a; then\n  x\nelse\n  y\nelse\n  z\nfi\n",
        "if a; then\n  x\nelse\n  y\nelif b; then\n  z\nfi\n",
        "if a; then\n  x\n  then y\nfi\n",
        "for i in a; do\n  x\n  do\n  y\ndone\n",
        "while a; do\n  x\ndone\ndone\n",
        "case a in\n  b) x ;;\nesac\nesac\n",
        "x\nfi\n",
        "f() {\n  x\n}\n}\n",
        "x | else\n",
        "echo else fi done\n",
        "A=1 else x\n",
        "else-x; fi.sh; done/x; 'fi'\n",
        "else=1\n",
        "for i in else; do x; done\n",
        "cat <<END\nfi\ndone\nEND\n",
        "if a; then x; else y; fi # else\n",
        "x=(\n  fi\n  done\n)\n",
        "x ;;\ny\n",
        "x\n;;\n",
        "if a; then x;; fi\n",
        "case a in\n  b) if c; then x;; fi ;;\nesac\n",
        "case a in\n  b) x;; ;;\nesac\n",
        "case a in\n  b) x\n  ;;\n  y\n  ;;\nesac\n",
        "case a in\n  b) x ;;\n  c) ;;\n  d) y; ;;\n  *) z\nesac\n",
        "case a in\n  b) x ;&\n  c) for i in d; do y; done;;&\n  e) z;;\nesac\n",
        "case a in b) case c in d) x;; esac;; esac\n",
        "case a in\n  b) x ;; # one\n  # two\n  c) y\n    # three\n    ;;\nesac\n",
        "(x;;)\n",
        "f() { x;; }\n",
        "x ;&\n",
        "echo ';;' \";;\" # ;;\n",
    ],
)
def test_a_word_that_goes_on_with_nothing_is_a_fault_as_for_the_shell(text: str) -> None:
    shell = subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True, check=False)
    assert parses(text, "bash") is (shell.returncode == 0)


BROKEN = [
    # path, head, line, end, what the patch puts behind line 2, and the upstream behind another one
    ("m.py", "run(\n", "    a{0}={0},\n", ")\n", "    gpu='amd',\n", "    gpu='nv',\n"),
    ("m.toml", "[run]\n", "a{} = 1\n", "", "gpu = 'amd'\n", "gpu = 'nv'\n"),
    ("m.sh", "if a; then\n", "  run {}\n", "fi\n", "else\n  one\n", "else\n  two\n"),
    ("m.yaml", "run:\n", "  a{}: 1\n", "", "  gpu: amd\n", "  gpu: nv\n"),
    ("m.json", "{\n", '  "a{}": 1,\n', '  "end": 1}\n', '  "gpu": "amd",\n', '  "gpu": "nv",\n'),
    ("meson.build", "if a\n", "  run({})\n", "endif\n", "else\n  one()\n", "else\n  two()\n"),
]


class Bench:
    """A patch for a file, judged on another state of that file."""

    def __init__(self, folder: Path, path: str) -> None:
        self.store = ObjectStore(folder / "store")
        self.path = path

    def tree(self, text: str) -> str:
        file = TreeFile(path=self.path, content=text.encode(), mode=FileMode.BLOB)
        return self.store.import_files([file])

    def judge(self, before: str, after: str, now: str) -> tuple[Verdict, str]:
        """Return the verdict on the patch that leads from `before` to `after`, and its cause."""
        old, new = (text.splitlines(keepends=True) for text in (before, after))
        lines = difflib.unified_diff(old, new, f"a/{self.path}", f"b/{self.path}")
        said = f"Subject: s\n\n---\n{''.join(lines)}"
        series = [read_patch("up/0001-t.patch", said.encode())]
        pinned = pin(self.tree(before), series, Ladder(store=self.store, paths={}, pinned={}))
        ladder = Ladder(store=self.store, paths={}, pinned=pinned)
        (judgement,) = ladder.judge_series(self.tree(now), series)
        assert judgement.verdict is not Verdict.CONFLICT or judgement.tree == self.tree(now)
        return judgement.verdict, judgement.cause


@pytest.mark.parametrize(("path", "head", "line", "end", "ours", "theirs"), BROKEN)
@pytest.mark.parametrize(("place", "how"), [(4, "merged"), (7, "applied")])
def test_two_changes_that_are_sound_alone_and_not_together_are_a_conflict(
    tmp_path: Path,
    *,
    path: str,
    head: str,
    line: str,
    end: str,
    ours: str,
    theirs: str,
    place: int,
    how: str,
) -> None:
    bench = Bench(tmp_path, path)

    def text(**put: str) -> str:
        lines = (line.format(n) + put.get(f"behind_{n}", "") for n in range(10))
        return f"{head}{''.join(lines)}{end}"

    before, after, now = text(), text(behind_2=ours), text(**{f"behind_{place}": theirs})
    verdict, cause = bench.judge(before, after, now)
    assert verdict is Verdict.CONFLICT
    assert cause == f"{how}, {path} would not be well formed any more"
    # What was broken before, here or by the patch itself at the pin, is not laid at its door.
    for last in (f"{end}{'(' * 3}\n", f"{end}<<<<<<< x\n"):
        verdict, cause = bench.judge(before, after, now.removesuffix(end) + last)
        assert verdict in {Verdict.CLEAN, Verdict.MERGED}, cause


@pytest.mark.parametrize("place", [4, 7])
def test_a_comment_of_c_in_what_became_a_comment_is_a_conflict(tmp_path: Path, place: int) -> None:
    lines = [f"  run({n});\n" for n in range(10)]

    def text(**put: str) -> str:
        inner = (each + put.get(f"behind_{n}", "") for n, each in enumerate(lines))
        return f"int f(int a) {{\n{''.join(inner)}}}\n"

    now = text(behind_0="  /*\n", **{f"behind_{place}": "  */\n"})
    verdict, cause = Bench(tmp_path, "m.c").judge(text(), text(behind_2="  /* why */\n"), now)
    assert (verdict, cause) == (Verdict.CONFLICT, "merged, m.c would not be well formed any more")


def test_a_patch_that_no_grammar_reads_at_the_pin_applies_as_there(tmp_path: Path) -> None:
    lines = [f"run({n})\n" for n in range(10)]
    after = [*lines[:3], "print 'newer or older than this Python'\n", *lines[3:]]
    now = [*lines, "more()\n"]
    bench = Bench(tmp_path, "m.py")
    assert bench.judge(*("".join(each) for each in (lines, after, now))) == (Verdict.CLEAN, "")


@pytest.mark.parametrize(
    ("language", "text", "count"),
    [
        ("yaml", "a: 1\nb: 2\n", 0),
        ("yaml", "a: 1\nb: 2\na: 1\n", 1),
        ("yaml", "a: 1\n'a': 2\n\"a\": 3\n", 2),
        ("yaml", "1: x\n'1': y\n", 0),
        ("yaml", "a: {b: 1, c: {b: 2}}\nb: [{b: 1}, {b: 1}]\n", 0),
        ("yaml", "x: [{b: 1, b: 2}]\n", 1),
        ("yaml", "a: 1\n---\na: 1\n", 0),
        ("yaml", "? {k: 1, k: 2}\n: x\n", 1),
        ("yaml", "a: &a {x: 1}\nb: &b {y: 1}\nc:\n  <<: *a\n  <<: *b\n", 0),
        ("json", '{"a": 1, "b": {"a": 1}}', 0),
        ("json", '{"a": 1, "\\u0061": 2}', 1),
        ("json", '[{"a": 1}, {"a": 1, "a": 1, "a": 1}]', 2),
        ("toml", "a = 1\na = 2\n", 1),
    ],
)
def test_a_key_that_a_mapping_has_twice_is_a_fault(language: str, text: str, count: int) -> None:
    assert faults(text, language) == count
