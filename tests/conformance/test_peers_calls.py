"""Calls of git and of a program like patch, noted by the stand-in, replayed on the engine, and
judged by git.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from forkhouse.conformance.peers import PeersError, capture, replay, runs
from forkhouse.conformance.peers.calls import Call, Captured, PassedOver
from forkhouse.conformance.peers.outcome import CaseOutcome, CaseResult
from forkhouse.conformance.peers.replay import Judge, headed
from forkhouse.conformance.peers.runs import PeerProgram, captured
from forkhouse.core.errors import PatchConflictError
from forkhouse.sources.store import ObjectStore

if TYPE_CHECKING:
    from collections.abc import Callable

GIT = Path(shutil.which("git") or "/usr/bin/git")
WHO = {
    f"GIT_{who}_{what}": "someone" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
}
CHANGE = """\
Subject: Say it louder

diff --git a/song b/song
--- a/song
+++ b/song
@@ -1,3 +1,3 @@
 first line
-second line
+SECOND LINE
 third line
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bench:
    """A repository in which a program is called by way of its stand-in."""

    folder: Path
    notes: Path
    program: str

    def write(self, name: str, text: str) -> None:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(text, encoding="utf-8", newline="")

    def call(self, *words: str, given: str = "", where: str = ".", below: str = ".") -> int:
        variables = {
            **os.environ,
            **WHO,
            "GIT_CONFIG_GLOBAL": os.devnull,
            capture.VARIABLE: str(self.notes),
            capture.BELOW: str(self.folder / below),
        }
        command = [str(self.folder.parent / "bin" / self.program), *words]
        return subprocess.run(
            command, cwd=self.folder / where, env=variables, input=given, text=True, check=False
        ).returncode

    def commit(self) -> None:
        assert self.call("add", "-A") == self.call("commit", "-q", "-m", "as it is") == 0

    def calls(self) -> list[Call | PassedOver]:
        return list(Captured(folder=self.notes).calls())

    def outcomes(self) -> list[CaseResult]:
        judge = Judge(store=ObjectStore(self.folder.parent / "store"), git=GIT)
        notes = Captured(folder=self.notes)
        return [judge.replay(call, notes) for call in notes.calls() if isinstance(call, Call)]

    def outcome(self) -> CaseOutcome:
        (result,) = self.outcomes()
        return result.outcome


def bench(tmp_path: Path, program: str, real: Path) -> Bench:
    for name in ("tree", "notes", "bin"):
        (tmp_path / name).mkdir()
    stand_in = tmp_path / "bin" / program
    stand_in.write_text(capture.wrapper(program, real), encoding="utf-8")
    stand_in.chmod(0o755)
    made = Bench(folder=tmp_path / "tree", notes=tmp_path / "notes", program=program)
    made.write("song", "first line\nsecond line\nthird line\n")
    return made


@pytest.fixture
def git(tmp_path: Path) -> Bench:
    made = bench(tmp_path, "git", GIT)
    assert made.call("init", "-q") == 0
    made.commit()
    return made


def broken(monkeypatch: pytest.MonkeyPatch, engine: Callable[..., str]) -> None:
    """Put another engine in the place of ours, to see whether what it does wrong is seen."""
    monkeypatch.setattr(replay, "apply_patch", engine)


def test_only_calls_that_apply_patches_are_noted(git: Bench) -> None:
    assert git.call("-c", "core.pager=cat", "status", "--short") == 0
    assert git.calls() == []
    assert git.call("apply", "-", given=CHANGE) == 0
    (call,) = git.calls()
    assert isinstance(call, Call)
    assert (call.how, call.applied, call.odd, call.after) == ("apply", True, "", None)
    assert [path for path, _, _ in call.before] == ["song"]
    assert (git.folder / "song").read_text(
        encoding="utf-8"
    ) == "first line\nSECOND LINE\nthird line\n"


def test_an_equal_result_is_equal(git: Bench) -> None:
    git.call("apply", given=CHANGE)
    assert git.outcome() is CaseOutcome.EQUAL


def test_the_output_of_a_call_beside_its_tree_does_not_count(git: Bench) -> None:
    git.write("change", CHANGE)
    with (git.folder / "said").open("wb") as output:
        stand_in = str(git.folder.parent / "bin/git")
        variables = {**os.environ, capture.VARIABLE: str(git.notes), capture.BELOW: str(git.folder)}
        subprocess.run(
            [stand_in, "apply", "-v", "change"],
            cwd=git.folder,
            env=variables,
            stderr=output,
            check=True,
        )
    assert (git.folder / "said").read_bytes()
    assert git.outcome() is CaseOutcome.EQUAL


def test_what_both_refuse_is_no_difference(git: Bench) -> None:
    git.write("song", "another text\n")
    assert git.call("apply", given=CHANGE) != 0
    assert git.outcome() is CaseOutcome.BOTH_REFUSE


def test_another_tree_is_wrong(git: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    git.call("apply", given=CHANGE)
    broken(monkeypatch, lambda tree, *_, **__: tree)
    (result,) = git.outcomes()
    assert result.outcome is CaseOutcome.WRONG
    assert result.said.startswith("song: as it was, and by git changed")


def test_a_patch_that_only_we_apply_is_a_fault(git: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    git.write("song", "another text\n")
    git.call("apply", given=CHANGE)
    broken(monkeypatch, lambda tree, *_, **__: tree)
    assert git.outcome() is CaseOutcome.APPLIED


def test_a_refusal_of_ours_alone_is_told_with_its_words(
    git: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    git.call("apply", given=CHANGE)

    def refuses(*_: object, **__: object) -> str:
        message = "not\ntoday"
        raise PatchConflictError(message)

    broken(monkeypatch, refuses)
    (result,) = git.outcomes()
    assert (result.outcome, result.said) == (CaseOutcome.REFUSED, "not today")


def test_a_traceback_is_a_fault_also_where_git_refuses(
    git: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    git.write("song", "another text\n")
    git.call("apply", given=CHANGE)

    def breaks(*_: object, **__: object) -> str:
        message = "no name"
        raise TypeError(message)

    broken(monkeypatch, breaks)
    (result,) = git.outcomes()
    assert (result.outcome, result.said) == (CaseOutcome.CRASHED, "TypeError: no name")


def test_a_mailbox_is_judged_by_the_commit_that_it_made(git: Bench) -> None:
    mail = (
        f"From {'0' * 40} Mon Sep 17 00:00:00 2001\nFrom: A B <a@b>\nDate: Mon, 1 Jan 2024 "
        f"00:00:00 +0000\n{CHANGE}-- \n2.0\n\n"
    )
    git.write("../mail", mail)
    assert git.call("am", "-q", "../mail") == 0
    (call,) = git.calls()
    assert isinstance(call, Call)
    assert call.how == "am"
    assert call.after is not None
    assert call.after != call.before
    assert git.outcome() is CaseOutcome.EQUAL


def test_going_on_with_a_mailbox_is_no_patch(git: Bench) -> None:
    git.call("am", "--abort")
    assert [call for call in git.calls() if isinstance(call, Call)] == []
    (passed,) = git.calls()
    assert isinstance(passed, PassedOver)
    assert passed.why == "git am: goes on with a run before"


def test_a_call_is_judged_without_the_option_that_the_engine_has_not(git: Bench) -> None:
    git.write("song", "first line\nSECOND LINE\nthird line\n")
    assert git.call("apply", "-R", given=CHANGE) == 0
    (call,) = git.calls()
    assert isinstance(call, Call)
    assert (call.odd, call.after) == ("-R", None)
    assert git.outcome() is CaseOutcome.BOTH_REFUSE


@pytest.mark.parametrize(
    ("prepare", "options", "odd"),
    [
        (["config", "apply.ignorewhitespace", "change"], [], "the setting apply.ignorewhitespace"),
        (
            ["update-index", "--add", "--cacheinfo", f"100644,{'0' * 39}1,other"],
            ["--index"],
            "changes in the work tree",
        ),
        ([], ["--directory=inner"], "--directory=inner"),
        ([], ["--exclude", "x"], "--exclude=x"),
    ],
)
def test_what_else_decides_is_named(
    git: Bench, prepare: list[str], options: list[str], odd: str
) -> None:
    if prepare:
        git.call(*prepare)
    git.call("apply", *options, given=CHANGE)
    (call,) = git.calls()
    assert isinstance(call, Call)
    assert call.odd == odd


def test_a_call_in_a_subfolder_is_judged_at_the_top(git: Bench) -> None:
    git.write("inner/other", "x\n")
    git.call("apply", given=CHANGE, where="inner")
    (call,) = git.calls()
    assert isinstance(call, Call)
    assert call.odd == "a subfolder"
    assert git.outcome() is CaseOutcome.EQUAL


def test_the_same_call_again_is_one_call(git: Bench) -> None:
    for _ in range(2):
        git.write("song", "first line\nsecond line\nthird line\n")
        git.call("apply", given=CHANGE)
    git.call("apply", given=CHANGE)
    assert [call.id for call in git.calls()] == ["notes/0", "notes/2"]


def test_attributes_of_the_tree_do_not_decide(git: Bench) -> None:
    git.write(".gitattributes", "* eol=crlf\n")
    git.call("apply", given=CHANGE)
    (call,) = git.calls()
    assert isinstance(call, Call)
    assert call.odd == "attributes"
    assert git.outcome() is CaseOutcome.EQUAL


def test_a_submodule_is_not_compared(git: Bench) -> None:
    git.call("init", "-q", "inner")
    git.write("inner/file", "x\n")
    git.call("apply", given=CHANGE)
    (passed,) = git.calls()
    assert isinstance(passed, PassedOver)
    assert passed.why == "git apply: a tree with a submodule"


def test_nothing_is_noted_outside_of_the_suite(git: Bench) -> None:
    (git.folder / "inner").mkdir()
    assert git.call("apply", given=CHANGE, below="inner") == 0
    assert git.calls() == []


@pytest.fixture
def patch(tmp_path: Path) -> Bench:
    """Give a program with patch's command line that fails, and says what it read."""
    real = tmp_path / "patch.real"
    real.write_text('#!/bin/sh\ntest "$1" = -i || cat\nexit 1\n', encoding="utf-8")
    real.chmod(0o755)
    return bench(tmp_path, "patch", real)


def test_what_patch_would_fuzz_is_judged_by_git(
    patch: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    patch.write("song", "first line\nsecond line\nlast line\n")
    patch.call("-p1", given=CHANGE)
    (call,) = patch.calls()
    assert isinstance(call, Call)
    assert (call.how, call.strip, call.odd) == ("patch", 1, "")
    assert patch.outcome() is CaseOutcome.BOTH_REFUSE
    broken(monkeypatch, lambda tree, *_, **__: tree)
    assert patch.outcome() is CaseOutcome.APPLIED


@pytest.mark.parametrize(
    ("words", "where", "strip", "odd"),
    [
        (["-i", "../change"], ".", None, ""),
        (["-sNp2", "--input=../change"], ".", 2, ""),
        (["-i", "../change", "--merge"], ".", None, "--merge"),
        (["song", "../change"], ".", None, "names the file to patch itself"),
        (["-d", "..", "-p", "1", "-i../change"], "inner", 1, ""),
    ],
)
def test_the_command_line_of_patch_is_understood(
    patch: Bench, words: list[str], where: str, strip: int | None, odd: str
) -> None:
    patch.write("../change", CHANGE)
    (patch.folder / "inner").mkdir()
    patch.call(*words, where=where)
    (call,) = patch.calls()
    assert isinstance(call, Call)
    assert (call.strip, call.odd) == (strip, odd)
    assert Captured(folder=patch.notes).content(*call.patches) == CHANGE.encode()
    assert [path for path, _, _ in call.before] == ["song"]


def test_a_patch_gets_the_header_that_it_lacks() -> None:
    bare = CHANGE.partition("\n\n")[2].encode()
    assert headed(CHANGE.encode(), None) == CHANGE.encode()
    assert headed(CHANGE.encode(), 2) == b"Strip: 2\n" + CHANGE.encode()
    assert headed(bare, 0) == b"Subject: a captured call\nStrip: 0\n\n" + bare


def suite_of(tmp_path: Path, scripts: dict[str, str]) -> Path:
    """Write a tarball of scripts and of a program that is git itself."""
    top = tmp_path / "made/top-1.0"
    for name, text in {"bin/git": f'#!/bin/sh\nexec {GIT} "$@"\n', **scripts}.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(text, encoding="utf-8")
        (top / name).chmod(0o755)
    archive = tmp_path / "top.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(top, "top-1.0")
    return archive


SCRIPT = f"""\
mkdir "$1" && cd "$1" && printf 'first line\\nsecond line\\nthird line\\n' >song &&
../../bin/git init -q && ../../bin/git apply <<\\EOF
{CHANGE}EOF
"""
TINY = PeerProgram(
    name="git",
    tools=("sh",),
    commands=(("true",),),
    binary="bin/git",
    interpreter="sh",
    arguments=("work",),
)


def test_a_suite_is_built_and_run_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(runs.PROGRAMS, "git", TINY)
    archive = suite_of(tmp_path, {"t/one.sh": SCRIPT, "t/two.sh": "exit 3\n"})
    (one, two) = captured("git", archive, ["t/*.sh"], tmp_path / "kept")
    assert (one.name, one.count(), two.count()) == ("one.sh", 1, 0)
    (call,) = one.calls()
    assert isinstance(call, Call)
    assert (
        Judge(store=ObjectStore(tmp_path / "store"), git=GIT).replay(call, one).outcome
        is CaseOutcome.EQUAL
    )
    monkeypatch.setattr(runs, "_run", None)
    assert captured("git", archive, ["t/*.sh"], tmp_path / "kept") == [one, two]


def test_a_pattern_whose_scripts_call_nothing_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(runs.PROGRAMS, "git", TINY)
    archive = suite_of(tmp_path, {"t/one.sh": SCRIPT, "t/two.sh": "exit 0\n"})
    with pytest.raises(PeersError, match=r"No script of t/tw\*\.sh, t/no\.sh called git"):
        captured("git", archive, ["t/one.sh", "t/tw*.sh", "t/no.sh"], tmp_path / "kept")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"commands": (("false",),)}, "`false` ended with 1; its log is"),
        ({"binary": "bin/other"}, "left no bin/other"),
        ({"tools": ("sh", "no-such-tool")}, "this machine lacks no-such-tool"),
    ],
)
def test_a_program_that_cannot_be_built_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: dict[str, object], said: str
) -> None:
    fields = {
        name: getattr(TINY, name)
        for name in ("name", "tools", "commands", "binary", "interpreter", "arguments")
    }
    monkeypatch.setitem(runs.PROGRAMS, "git", PeerProgram(**{**fields, **values}))
    with pytest.raises(PeersError) as caught:
        captured("git", suite_of(tmp_path, {"t/one.sh": SCRIPT}), ["t/*.sh"], tmp_path / "kept")
    assert said in str(caught.value)
