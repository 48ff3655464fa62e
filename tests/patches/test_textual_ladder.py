"""Verdicts on textual patches that are more than one diff of text.

Mailboxes, bytes, copies, modes, other tools' names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pygit2.enums import FileMode

from forkhouse.patches.ladder import Ladder, Verdict, pin
from forkhouse.patches.series import read_patch
from forkhouse.sources.store import ObjectStore, TreeFile

if TYPE_CHECKING:
    from pathlib import Path

    from forkhouse.patches.ladder import Judgement

LINES = [b"line %d of \xe9\n" % number for number in range(30)]
TEXT = b"".join(LINES)


def swapped(text: bytes, *numbers: int) -> bytes:
    """Return a text whose lines of these numbers are others."""
    for number in numbers:
        text = text.replace(LINES[number], b"new %d\n" % number)
    return text


def hunk(number: int, *, before: bytes = TEXT) -> bytes:
    """Return the hunk that gives a line of a text another content."""
    lines = before.splitlines(keepends=True)
    start, end = number - 3, number + 4
    body = b"".join(
        b"-" + line + b"+new %d\n" % number if place == number else b" " + line
        for place, line in enumerate(lines[start:end], start)
    )
    return b"@@ -%d,7 +%d,7 @@\n" % (start + 1, start + 1) + body


def mail(diff: bytes) -> bytes:
    return (
        b"From "
        + b"0" * 40
        + b" Mon Sep 17 00:00:00 2001\nFrom: T <t@localhost>\nSubject: [PATCH] Words\n\n---\n"
        + diff
        + b"-- \n2.39\n\n"
    )


def change(number: int, *, before: bytes = TEXT, name: bytes = b"f") -> bytes:
    return b"diff --git a/%s b/%s\n--- a/%s\n+++ b/%s\n" % (name, name, name, name) + hunk(
        number, before=before
    )


class Bench:
    """A patch, the tree that it was made for, and others."""

    def __init__(self, store: ObjectStore) -> None:
        self.store = store

    def tree(self, mode: FileMode = FileMode.BLOB, **files: bytes) -> str:
        return self.store.import_files(
            TreeFile(path=path.replace("__", "/"), content=text, mode=mode)
            for path, text in files.items()
        )

    def judge(self, patch: bytes, home: str, base: str) -> Judgement:
        series = [read_patch("up/0001-t.patch", patch)]
        pinned = pin(home, series, Ladder(store=self.store, paths={}, pinned={}))
        (judgement,) = Ladder(store=self.store, paths={}, pinned=pinned).judge_series(base, series)
        return judgement


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(ObjectStore(tmp_path / "store"))


def test_bytes_are_merged_as_they_are(bench: Bench) -> None:
    home, base = (
        bench.tree(f=TEXT),
        bench.tree(f=swapped(TEXT, 8).replace(LINES[20], b"\xff\xfe\n")),
    )
    judged = bench.judge(mail(change(10)), home, base)
    assert (judged.verdict, judged.tree) == (
        Verdict.MERGED,
        bench.tree(f=swapped(TEXT, 8, 10).replace(LINES[20], b"\xff\xfe\n")),
    )


def test_a_mode_is_merged_too(bench: Bench) -> None:
    patch = change(10).replace(b"--- a/f", b"old mode 100644\nnew mode 100755\n--- a/f")
    judged = bench.judge(
        patch.join([b"Subject: s\n\n", b""]), bench.tree(f=TEXT), bench.tree(f=swapped(TEXT, 8))
    )
    assert (judged.verdict, judged.tree) == (
        Verdict.MERGED,
        bench.tree(mode=FileMode.BLOB_EXECUTABLE, f=swapped(TEXT, 8, 10)),
    )


@pytest.mark.parametrize(
    "now",
    [
        b"\0" + bytes(range(256)) * 9,
        TEXT.decode("latin-1").encode("utf-16"),
        swapped(TEXT, 10).replace(b"new 10", b"theirs"),
    ],
)
def test_what_cannot_be_merged_is_a_conflict(bench: Bench, now: bytes) -> None:
    assert (
        bench.judge(mail(change(10)), bench.tree(f=TEXT), bench.tree(f=now)).verdict
        is Verdict.CONFLICT
    )


def test_a_file_that_became_a_link_is_a_conflict(bench: Bench) -> None:
    assert (
        bench.judge(
            mail(change(10)), bench.tree(f=TEXT), bench.tree(mode=FileMode.LINK, f=b"g")
        ).verdict
        is Verdict.CONFLICT
    )


class TestMailbox:
    """Several diffs of one file in one patch."""

    BOTH = mail(change(10)) + mail(change(12, before=swapped(TEXT, 10)))

    def test_all_of_it_is_applied(self, bench: Bench) -> None:
        moved = b"above\n" * 3 + TEXT
        judged = bench.judge(self.BOTH, bench.tree(f=TEXT), bench.tree(f=moved))
        assert (judged.verdict, judged.tree) == (
            Verdict.CLEAN,
            bench.tree(f=swapped(moved, 10, 12)),
        )

    def test_it_is_upstream_when_the_last_state_is(self, bench: Bench) -> None:
        for done in (swapped(TEXT, 10, 12), b"above\n" + swapped(TEXT, 10, 12) + b"below\n"):
            assert (
                bench.judge(self.BOTH, bench.tree(f=TEXT), bench.tree(f=done)).verdict
                is Verdict.UPSTREAMED
            )

    def test_it_is_not_upstream_when_a_part_of_it_is(self, bench: Bench) -> None:
        for number in (10, 12):
            judged = bench.judge(self.BOTH, bench.tree(f=TEXT), bench.tree(f=swapped(TEXT, number)))
            assert judged.verdict in {Verdict.MERGED, Verdict.CONFLICT}, number

    def test_a_file_that_comes_and_changes_is_one_that_comes(self, bench: Bench) -> None:
        new = b"diff --git a/n b/n\nnew file mode 100644\n--- /dev/null\n+++ b/n\n@@ -0,0 +1 @@\n+one\n"
        more = b"diff --git a/n b/n\n--- a/n\n+++ b/n\n@@ -1 +1,2 @@\n one\n+two\n"
        judged = bench.judge(mail(new) + mail(more), bench.tree(f=TEXT), bench.tree(g=TEXT))
        assert (judged.verdict, judged.tree) == (Verdict.CLEAN, bench.tree(g=TEXT, n=b"one\ntwo\n"))
        judged = bench.judge(
            mail(new) + mail(more), bench.tree(f=TEXT), bench.tree(f=TEXT, n=b"one\ntwo\n")
        )
        assert judged.verdict is Verdict.UPSTREAMED
        assert (
            bench.judge(
                mail(new) + mail(more), bench.tree(f=TEXT), bench.tree(f=TEXT, n=b"theirs\n")
            ).verdict
            is Verdict.CONFLICT
        )

    def test_lines_that_are_there_twice_are_doubted_in_a_later_mail(self, bench: Bench) -> None:
        copied = TEXT + b"between\n" + b"".join(LINES[9:16])
        later = mail(change(4)) + mail(change(12, before=swapped(TEXT, 4)))
        judged = bench.judge(later, bench.tree(f=TEXT), bench.tree(f=copied))
        assert judged.verdict is Verdict.CONFLICT
        assert "are there more than once" in judged.cause


@pytest.mark.parametrize("verb", [b"rename", b"copy"])
def test_a_name_is_upstream_or_taken(bench: Bench, verb: bytes) -> None:
    patch = mail(b"diff --git a/f b/g\nsimilarity index 100%%\n%s from f\n%s to g\n" % (verb, verb))
    done = bench.tree(g=TEXT) if verb == b"rename" else bench.tree(f=TEXT, g=TEXT)
    assert bench.judge(patch, bench.tree(f=TEXT), done).verdict is Verdict.UPSTREAMED
    taken = bench.judge(patch, bench.tree(f=TEXT), bench.tree(f=TEXT, g=b"theirs\n"))
    assert taken.verdict is Verdict.CONFLICT
    assert "g is to be made by a" in taken.cause


def test_the_pin_says_what_names_mean(bench: Bench) -> None:
    patch = b"Description: words\n\n" + change(10, name=b"src/f").partition(b"\n")[2].replace(
        b" a/", b" "
    ).replace(b" b/", b" ")
    moved = b"above\n" + TEXT
    judged = bench.judge(patch, bench.tree(src__f=TEXT), bench.tree(src__f=moved, f=TEXT))
    assert (judged.verdict, judged.tree) == (
        Verdict.CLEAN,
        bench.tree(src__f=swapped(moved, 10), f=TEXT),
    )


def test_lines_that_went_from_the_end_are_not_upstream_because_others_did(bench: Bench) -> None:
    last = (
        b"diff --git a/f b/f\n--- a/f\n+++ b/f\n@@ -27,4 +27,3 @@\n"
        + b"".join(b" " + line for line in LINES[26:29])
        + b"-"
        + LINES[29]
    )
    home = bench.tree(f=TEXT)
    assert (
        bench.judge(mail(last), home, bench.tree(f=b"".join(LINES[:29]))).verdict
        is Verdict.UPSTREAMED
    )
    assert (
        bench.judge(mail(last), home, bench.tree(f=TEXT.replace(LINES[29], b"theirs\n"))).verdict
        is Verdict.CONFLICT
    )
