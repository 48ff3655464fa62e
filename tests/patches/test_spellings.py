"""What an edit takes out is upstream only where it is gone.

Not where it is written in another way, or stands elsewhere.
"""

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
    from collections.abc import Mapping
    from pathlib import Path

    from forkhouse.patches.verdicts import Judgement
    from forkhouse.sources.store import ObjectStore

HEADER = "Subject: s\nDescription: d\nOrigin: o\nForwarded: no\nRetire-When: never\n"
PATHS = {
    "cmake": "CMakeLists.txt",
    "python": "a.py",
    "bash": "a.sh",
    "toml": "pyproject.toml",
    "yaml": "a.yaml",
    "json": "a.json",
    "text": "Dockerfile",
}


class Case:
    """An edit of one file, and the trees that it is judged on."""

    def __init__(self, store: ObjectStore, folder: Path) -> None:
        self.store, self.folder = store, folder / "series"
        self.folder.mkdir()

    def tree(self, files: Mapping[str, str]) -> str:
        return self.store.import_files(
            TreeFile(path=path, content=text.encode(), mode=FileMode.BLOB)
            for path, text in files.items()
        )

    def ladder(
        self, language: str, path: str, operation: str, pinned: Mapping[str, str], after: str = ""
    ) -> Ladder:
        (self.folder / "series").write_text("0001-e.edit.yaml\n", encoding="utf-8")
        text = (
            f"{HEADER}edits:\n  - path: {path}\n    language: {language}\n    "
            f"operations:\n{indent(f'- {operation}', '      ')}\n{after}"
        )
        (self.folder / "0001-e.edit.yaml").write_text(text, encoding="utf-8")
        known = pin(
            self.tree(pinned),
            read_series(self.folder),
            Ladder(store=self.store, paths={}, pinned={}),
        )
        return Ladder(store=self.store, paths={}, pinned=known)

    def judge(self, ladder: Ladder, files: Mapping[str, str]) -> Judgement:
        (judgement,) = ladder.judge_series(self.tree(files), read_series(self.folder))
        return judgement

    def judged(self, language: str, operation: str, old: str, now: str) -> Judgement:
        path = PATHS[language]
        return self.judge(self.ladder(language, path, operation, {path: old}), {path: now})


@pytest.fixture
def case(store: ObjectStore, tmp_path: Path) -> Case:
    return Case(store, tmp_path)


PROJECT = '[project]\nname = "x"\nversion = "1"\n'
WITH = {"requirements.txt": "six\nnumpy>=1\n"}


@pytest.mark.parametrize(
    ("files", "verdict", "reason"),
    [
        ({"requirements.txt": "six\n"}, Verdict.UPSTREAMED, "there already"),
        (
            {"requirements.txt": "six\n-r base.txt\n", "base.txt": "wheel\n"},
            Verdict.UPSTREAMED,
            "there already",
        ),
        (
            {"requirements.txt": "six\n-c base.txt\n", "base.txt": "numpy<3\n"},
            Verdict.UPSTREAMED,
            "there already",
        ),
        (
            {"requirements.txt": "six\n-r base.txt\n", "base.txt": "wheel\nNumPy\n"},
            Verdict.CONFLICT,
            "line 2 of base.txt",
        ),
        (
            {
                "requirements.txt": "-r a/b.txt\n",
                "a/b.txt": "--requirement c.txt\n",
                "a/c.txt": "numpy",
            },
            Verdict.CONFLICT,
            "line 1 of a/c.txt",
        ),
        (
            {"requirements.txt": "six\n-r base.txt\n"},
            Verdict.CONFLICT,
            "there is no plain file base.txt",
        ),
        (
            {"requirements.txt": "-r https://example.invalid/r.txt\n"},
            Verdict.CONFLICT,
            "is read from elsewhere",
        ),
        ({"requirements.txt": "-e .\n"}, Verdict.CONFLICT, "is a local project"),
    ],
)
def test_a_requirement_that_moved_is_not_gone(
    case: Case, files: Mapping[str, str], verdict: Verdict, reason: str
) -> None:
    found = case.judge(
        case.ladder("requirements", "requirements.txt", "requirement: {remove: numpy}", WITH), files
    )
    assert found.verdict is verdict
    assert reason in found.cause


@pytest.mark.parametrize(
    ("project", "change", "verdict"),
    [
        ('dependencies = ["six"]\n', "{remove: numpy}", Verdict.UPSTREAMED),
        (
            (
                'dynamic = ["dependencies"]\n[tool.setuptools.dynamic]\ndependencies = {file = '
                '["r.txt"]}\n'
            ),
            "{remove: numpy}",
            Verdict.CONFLICT,
        ),
        ('dynamic = ["dependencies"]\n', "{remove: numpy}", Verdict.CONFLICT),
        (
            'dependencies = ["six"]\n[project.optional-dependencies]\na = ["numpy"]\n',
            "{remove: numpy, extra: ''}",
            Verdict.UPSTREAMED,
        ),
    ],
)
def test_a_requirement_that_a_project_reads_from_a_file_is_not_gone(
    case: Case, project: str, change: str, verdict: Verdict
) -> None:
    before = {"pyproject.toml": f'{PROJECT}dependencies = ["six", "numpy"]\n'}
    ladder = case.ladder("requirements", "pyproject.toml", f"requirement: {change}", before)
    assert (
        case.judge(ladder, {"pyproject.toml": PROJECT + project, "r.txt": "numpy\n"}).verdict
        is verdict
    )


def test_a_loosened_requirement_that_moved_is_not_obsolete(case: Case) -> None:
    ladder = case.ladder(
        "requirements", "requirements.txt", "requirement: {replace: numpy, with: numpy>=0}", WITH
    )
    assert case.judge(ladder, {"requirements.txt": "six\n"}).verdict is Verdict.OBSOLETE
    moved = case.judge(ladder, {"requirements.txt": "-r base.txt\n", "base.txt": "numpy>=1\n"})
    assert moved.verdict is Verdict.CONFLICT
    assert "line 1 of base.txt" in moved.cause


@pytest.mark.parametrize(
    "after", ["", "after:\n  - absent: {requirement: numpy, in: requirements.txt}\n"]
)
def test_one_ladder_sees_what_a_file_of_another_tree_refers_to(case: Case, after: str) -> None:
    ladder = case.ladder(
        "requirements", "requirements.txt", "requirement: {remove: numpy}", WITH, after
    )
    file = {"requirements.txt": "six\n-r base.txt\n"}
    assert case.judge(ladder, {**file, "base.txt": "wheel\n"}).verdict is Verdict.UPSTREAMED
    assert case.judge(ladder, {**file, "base.txt": "numpy\n"}).verdict is Verdict.CONFLICT


@pytest.mark.parametrize(
    ("language", "of", "gone", "old", "now", "verdict"),
    [
        ("toml", "key: d", '"x>=1"', 'd = ["x>=1", "six"]\n', 'd = ["six"]\n', Verdict.UPSTREAMED),
        (
            "toml",
            "key: d",
            '"x>=1"',
            'd = ["x>=1", "six"]\n',
            'd = ["six", "xy>=1"]\n',
            Verdict.UPSTREAMED,
        ),
        (
            "toml",
            "key: d",
            '"x>=1"',
            'd = ["x>=1", "six"]\n',
            'd = ["x >= 1", "six"]\n',
            Verdict.CONFLICT,
        ),
        ("toml", "key: d", '"x>=1"', 'd = ["x>=1", "six"]\n', "d = ['X>=1.0']\n", Verdict.CONFLICT),
        (
            "toml",
            "key: d",
            '"x>=1"',
            'd = ["x>=1", "six"]\n',
            'd = ["x[a]>=1"]\n',
            Verdict.CONFLICT,
        ),
        (
            "toml",
            "key: d",
            '"x>=1"',
            'd = ["x>=1", "six"]\n',
            "d = [\"x ; python_version < '3'\"]\n",
            Verdict.CONFLICT,
        ),
        ("toml", "key: d", '"x"', 'd = ["x", "six"]\n', 'd = ["x>=2"]\n', Verdict.CONFLICT),
        ("yaml", "key: d", "x>=1", "d: [x>=1, six]\n", "d:\n  - x >=1\n", Verdict.CONFLICT),
        ("json", "key: d", '"x>=1"', '{"d": ["x>=1"]}\n', '{"d": ["x >= 1"]}\n', Verdict.CONFLICT),
        (
            "python",
            "assignment: d",
            '"x>=1"',
            'd = ["x>=1", "six"]\n',
            'd = ["X >= 1"]\n',
            Verdict.CONFLICT,
        ),
        (
            "python",
            "assignment: d",
            '"a.c"',
            'd = ["a.c", "b"]\n',
            'd = ["b"]\n',
            Verdict.UPSTREAMED,
        ),
        (
            "python",
            "assignment: d",
            '"a.c"',
            'd = ["a.c", "b"]\n',
            "d = ['a.c']\n",
            Verdict.CONFLICT,
        ),
        (
            "python",
            "assignment: d",
            '"a.c"',
            'd = ["a.c", "b"]\n',
            'd = ["b", *more]\n',
            Verdict.CONFLICT,
        ),
        (
            "python",
            "assignment: d",
            '"a.c"',
            'd = ["a.c", "b"]\n',
            'd = ["b"]\nd.append("a.c")\n',
            Verdict.CONFLICT,
        ),
        ("bash", "assignment: D", "a.c", "D=(a.c b)\n", "D=(b)\n", Verdict.UPSTREAMED),
        ("bash", "assignment: D", "a.c", "D=(a.c b)\n", 'D=("a.c b")\n', Verdict.CONFLICT),
        ("bash", "assignment: D", "a.c", "D=(a.c b)\n", "D=(b $MORE)\n", Verdict.CONFLICT),
        (
            "cmake",
            "assignment: S",
            "a.c",
            "set(S a.c b.c)\n",
            "set(S b.c aa.c a.cc)\n",
            Verdict.UPSTREAMED,
        ),
        (
            "cmake",
            "assignment: S",
            "a.c",
            "set(S a.c b.c)\n",
            'set(S "a.c;b.c")\n',
            Verdict.CONFLICT,
        ),
        (
            "cmake",
            "assignment: S",
            "a.c",
            "set(S a.c b.c)\n",
            'set(S b.c "a.c")\n',
            Verdict.CONFLICT,
        ),
        (
            "cmake",
            "assignment: S",
            "a.c",
            "set(S a.c b.c)\n",
            "set(S [[b.c;a.c]])\n",
            Verdict.CONFLICT,
        ),
        (
            "cmake",
            "assignment: S",
            "a.c",
            "set(S a.c b.c)\n",
            "set(S b.c ./a.c)\n",
            Verdict.CONFLICT,
        ),
        (
            "cmake",
            "assignment: S",
            "a.c",
            "set(S a.c b.c)\n",
            "set(S b.c $<$<BOOL:x>:a.c>)\n",
            Verdict.CONFLICT,
        ),
        (
            "cmake",
            "assignment: S",
            "a.c",
            "set(S a.c b.c)\n",
            "set(S b.c ${MORE})\n",
            Verdict.CONFLICT,
        ),
        (
            "cmake",
            "assignment: S",
            "a.c",
            "set(S a.c ${T} b.c)\n",
            "set(S b.c ${T})\n",
            Verdict.UPSTREAMED,
        ),
        (
            "cmake",
            "assignment: S",
            "a.c",
            "set(S a.c b.c)\n",
            "set(S b.c)\nlist(APPEND S a.c)\n",
            Verdict.CONFLICT,
        ),
    ],
)
def test_an_item_in_another_spelling_or_place_is_not_gone(
    case: Case, language: str, of: str, gone: str, old: str, now: str, verdict: Verdict
) -> None:
    found = case.judged(language, f"item: {{of: {{{of}}}, remove: '{gone}'}}", old, now)
    assert found.verdict is verdict, found.cause


@pytest.mark.parametrize(
    ("now", "verdict"),
    [
        ('["x>=2", "six"]', Verdict.UPSTREAMED),
        ('["x>=2", "x >= 1"]', Verdict.CONFLICT),
        ('["x>=3"]', Verdict.CONFLICT),
    ],
)
def test_another_version_is_there_where_it_is_the_one_that_comes(
    case: Case, now: str, verdict: Verdict
) -> None:
    operation = "item: {of: {key: d}, replace: '\"x>=1\"', with: '\"x>=2\"'}"
    assert (
        case.judged("toml", operation, 'd = ["x>=1", "six"]\n', f"d = {now}\n").verdict is verdict
    )


@pytest.mark.parametrize(
    ("now", "verdict"),
    [
        ("f b\n", Verdict.UPSTREAMED),
        ('f "--fast" b\n', Verdict.CONFLICT),
        ('f "--fast b"\n', Verdict.CONFLICT),
        ("f b $MORE\n", Verdict.CONFLICT),
        ("f b > log --fast\n", Verdict.CONFLICT),
    ],
)
def test_an_argument_in_another_spelling_is_not_gone(
    case: Case, now: str, verdict: Verdict
) -> None:
    assert (
        case.judged(
            "bash", "argument: {of: {call: f}, remove: --fast}", "f --fast b\n", now
        ).verdict
        is verdict
    )


@pytest.mark.parametrize("language", ["text", "python"])
@pytest.mark.parametrize(
    "operation",
    ["remove: {{anchor: '{0}'}}", "replace: {{anchor: '{0}'}}\n  with: brought = 12345"],
)
@pytest.mark.parametrize(
    ("anchor", "now", "verdict"),
    [
        ("call(a,  b)", "x = 1\n", Verdict.UPSTREAMED),
        ("call(a,  b)", "x = 1\ncall(a,  c)\n", Verdict.UPSTREAMED),
        ("call(a,  b)", "x = 1\ncall(a, b)\n", Verdict.CONFLICT),
        ("call(a,  b)", "x = 1\ncall(\n    a,\n    b)\n", Verdict.CONFLICT),
        ("call( a,b )", "x = 1\ncall(a, b)\n", Verdict.CONFLICT),
        ('run("a b")', "x = 1\nrun('a b')\n", Verdict.CONFLICT),
        ('run("a b")', 'x = 1\nrun("ab")\n', Verdict.UPSTREAMED),
    ],
)
def test_a_text_with_other_white_space_is_not_gone(
    case: Case, language: str, operation: str, anchor: str, now: str, verdict: Verdict
) -> None:
    brought = "brought = 12345\n" if operation.startswith("replace") else ""
    found = case.judged(language, operation.format(anchor), f"x = 1\n{anchor}\n", now + brought)
    assert found.verdict is verdict, found.cause
    if verdict is Verdict.CONFLICT:
        assert (
            f"'{anchor}' stands in line 2, but not as what the operation looks for, or written in "
            "another way" in found.cause
        )


def test_what_a_pattern_says_in_other_quotes_is_not_gone(case: Case) -> None:
    operation = "remove: {pattern: 'run(\"nvidia-smi\", $A)'}"
    assert (
        case.judged("python", operation, 'x = 1\nrun("nvidia-smi", 1)\n', "x = 1\n").verdict
        is Verdict.UPSTREAMED
    )
    assert (
        case.judged(
            "python", operation, 'x = 1\nrun("nvidia-smi", 1)\n', "x = 1\nrun('nvidia-smi', 1)\n"
        ).verdict
        is Verdict.CONFLICT
    )


@pytest.mark.parametrize(
    ("language", "place", "text", "old", "now", "verdict"),
    [
        (
            "python",
            "before: {call: g}",
            "h(1)",
            "if x:\n    g()\n",
            "if x:\n    h( 1 )\n\n    g()\n",
            Verdict.UPSTREAMED,
        ),
        (
            "python",
            "before: {function: f}",
            "'@d'",
            "def f(): pass\n",
            "@d\ndef f(): pass\n",
            Verdict.UPSTREAMED,
        ),
        ("python", "after: {call: g}", "h(1)", "g()\n", "g()\nh(1)  # why\n", Verdict.UPSTREAMED),
        ("python", "after: {call: g}", "h('a b')", "g()\n", "g()\nh('ab')\n", Verdict.CONFLICT),
        ("python", "after: {call: g}", "h('a b')", "g()\n", "g()\nh('a  b')\n", Verdict.CONFLICT),
        ("python", "after: {call: g}", "h(1)", "g()\n", "g()\nh(1).k\n", Verdict.CONFLICT),
        ("python", "before: {call: g}", "h(1)", "g()\n", "y = h(1)\ng()\n", Verdict.CONFLICT),
        (
            "python",
            "before: {call: g}",
            "h(1)",
            "g()\n",
            "if y:\n    h(1)\ng()\n",
            Verdict.CONFLICT,
        ),
        (
            "python",
            "after: {call: g}",
            "h(1)",
            "if x:\n    g()\n",
            "if x:\n    g()\nh(1)\n",
            Verdict.CONFLICT,
        ),
        ("bash", "after: {call: f}", "g ab c", "f\n", "f\ng  ab c\n", Verdict.UPSTREAMED),
        ("bash", "after: {call: f}", "g a bc", "f\n", "f\ng ab c\n", Verdict.CONFLICT),
        ("bash", "after: {call: f}", "g a", "f\n", "f\ng a && h\n", Verdict.CONFLICT),
        (
            "cmake",
            "after: {call: f}",
            "set(A x y)",
            "f()\n",
            "f()\nset(A x y)\n",
            Verdict.UPSTREAMED,
        ),
        ("cmake", "after: {call: f}", "set(A xy)", "f()\n", "f()\nset(A x y)\n", Verdict.CONFLICT),
        ("text", "after: {anchor: RUN f}", "' a bc'", "RUN f\n", "RUN f ab c\n", Verdict.CONFLICT),
    ],
)
def test_what_was_put_in_is_there_only_as_it_means_the_same(
    case: Case, language: str, place: str, text: str, old: str, now: str, verdict: Verdict
) -> None:
    found = case.judged(
        language,
        f"insert: {{{place}, text: {text if text.startswith(chr(39)) else repr(text)}}}",
        old,
        now,
    )
    assert found.verdict is verdict, found.cause


@pytest.mark.parametrize(
    ("now", "verdict"),
    [
        ('x = g("aaaa  bbbb",\n      2)\n', Verdict.UPSTREAMED),
        ('x = g("aaaa bbbb", 2)\n', Verdict.CONFLICT),
    ],
)
def test_what_came_for_a_match_is_there_only_with_its_own_literals(
    case: Case, now: str, verdict: Verdict
) -> None:
    assert (
        case.judged(
            "python", 'replace: {call: f}\n  with: g("aaaa  bbbb", 2)', "x = f(1)\n", now
        ).verdict
        is verdict
    )


@pytest.mark.parametrize(
    ("language", "of", "gone", "old", "now"),
    [
        ("yaml", "key: d", "a", "d: [a, b]\n", "x: &x a\nd: [b, *x]\n"),
        ("yaml", "key: d", "a", "d: [a, b]\n", "d: b a\n"),
        ("toml", "key: d", '"x>=1"', 'd = ["x>=1"]\n', 'd = [{name = "x", version = ">=1"}]\n'),
        ("text", "", "value = 1", "a\nvalue = 1\n", "a\nvalue \\\n  = 1\n"),
    ],
)
def test_what_stands_behind_another_form_is_not_gone(
    case: Case, language: str, of: str, gone: str, old: str, now: str
) -> None:
    operation = (
        f"item: {{of: {{{of}}}, remove: '{gone}'}}" if of else f"remove: {{anchor: '{gone}'}}"
    )
    assert case.judged(language, operation, old, now).verdict is Verdict.CONFLICT


DIFF = """Subject: s

--- a/f.txt
+++ b/f.txt
@@ -1,4 +1,3 @@
 first
-remove_this = 1
 second
 third
"""


@pytest.mark.parametrize(
    ("now", "verdict"),
    [
        ("first\nsecond\nthird\n", Verdict.UPSTREAMED),
        ("first\nsecond\nthird\nremove_that = 1\n", Verdict.UPSTREAMED),
        ("first\nsecond\nthird\nremove_this = 1\n", Verdict.CONFLICT),
        ("first\nsecond\nthird\n\tremove_this  =  1\n", Verdict.CONFLICT),
    ],
)
def test_a_line_that_a_diff_takes_out_is_gone_from_the_whole_file(
    case: Case, now: str, verdict: Verdict
) -> None:
    (case.folder / "series").write_text("0001-d.patch\n", encoding="utf-8")
    (case.folder / "0001-d.patch").write_text(DIFF, encoding="utf-8")
    series = read_series(case.folder)
    plain = Ladder(store=case.store, paths={}, pinned={})
    known = pin(case.tree({"f.txt": "first\nremove_this = 1\nsecond\nthird\n"}), series, plain)
    found = case.judge(Ladder(store=case.store, paths={}, pinned=known), {"f.txt": now})
    assert found.verdict is verdict
    assert ("still has the line 'remove_this" in found.cause) is (verdict is Verdict.CONFLICT)
