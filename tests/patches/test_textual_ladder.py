"""Verdicts on textual patches that are more than one diff of text.

Mailboxes, bytes, copies, modes, other tools' names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pygit2.enums import FileMode

from forkhouse.patches.ladder import Ladder, pin
from forkhouse.patches.series import read_patch
from forkhouse.patches.verdicts import Verdict
from forkhouse.sources.store import ObjectStore, TreeFile

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from forkhouse.patches.verdicts import Judgement

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
        return self.of(files, mode)

    def of(self, files: Mapping[str, bytes], mode: FileMode = FileMode.BLOB) -> str:
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
        new = (
            b"diff --git a/n b/n\nnew file mode 100644\n--- /dev/null\n+++ b/n\n@@ -0,0 +1 @@\n"
            b"+one\n"
        )
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


def test_lines_that_are_there_twice_are_doubted_where_a_merge_takes_one_of_them(
    bench: Bench,
) -> None:
    """The block moved to the end of a file with another name, and a copy took its old place."""
    block = b"".join(LINES[4:18])
    home = bench.tree(f=b"[ours]\n".join([b"".join(LINES[:4]), block + b"".join(LINES[18:])]))
    patch = mail(change(10, before=b"".join([*LINES[:4], b"", *LINES[4:]])))
    now = b"".join([*LINES[:4], b"[copy]\n", block, *LINES[18:], b"[ours]\n", block])
    for base in (bench.tree(g=now), bench.tree(f=now)):
        judged = bench.judge(patch, home, base)
        assert (judged.verdict, judged.tree) == (Verdict.CONFLICT, base)
        assert "are there more than once" in judged.cause


OTHER = b"".join(b"quite another line %d\n" % number for number in range(20))
MOVE = b"diff --git a/f b/g\nsimilarity index 90%%\n%s from f\n%s to g\n"


@pytest.mark.parametrize("hunks", [b"", b"--- a/f\n+++ b/g\n" + hunk(10)])
@pytest.mark.parametrize("verb", [b"rename", b"copy"])
class TestNames:
    """What is renamed or copied, where the upstream did something else with those names."""

    def test_its_source_is_gone_or_elsewhere(self, bench: Bench, verb: bytes, hunks: bytes) -> None:
        patch = mail(MOVE % (verb, verb) + hunks)
        for now, why in (
            ({"x": b"x\n"}, "f, of which the patch makes g, is gone"),
            ({"h": TEXT}, "f, of which the patch makes g, is now h"),
            ({"h": swapped(TEXT, 20)}, "f, of which the patch makes g, is now h"),
        ):
            base = bench.of(now)
            judged = bench.judge(patch, bench.tree(f=TEXT), base)
            assert (judged.verdict, judged.tree) == (Verdict.CONFLICT, base), now
            assert why in judged.cause

    def test_its_name_is_that_of_another_file(
        self, bench: Bench, verb: bytes, hunks: bytes
    ) -> None:
        patch = mail(MOVE % (verb, verb) + hunks)
        for now in ({"g": OTHER}, {"g": OTHER, "h": TEXT}, {"g": OTHER, "f": TEXT}):
            base = bench.of(now)
            judged = bench.judge(patch, bench.tree(f=TEXT), base)
            assert (judged.verdict, judged.tree) == (Verdict.CONFLICT, base), now

    def test_its_name_is_that_of_what_it_makes(
        self, bench: Bench, verb: bytes, hunks: bytes
    ) -> None:
        patch = mail(MOVE % (verb, verb) + hunks)
        made = swapped(TEXT, 10) if hunks else TEXT
        kept = {} if verb == b"rename" else {"f": TEXT}
        for now in (made, swapped(made, 25)) if not kept or hunks else (made,):
            judged = bench.judge(patch, bench.tree(f=TEXT), bench.of({"g": now, **kept}))
            assert judged.verdict is Verdict.UPSTREAMED

    def test_what_the_upstream_changed_goes_along(
        self, bench: Bench, verb: bytes, hunks: bytes
    ) -> None:
        patch = mail(MOVE % (verb, verb) + hunks)
        for number in (8, 25):
            now = swapped(TEXT, number)
            judged = bench.judge(patch, bench.tree(f=TEXT), bench.tree(f=now))
            made = swapped(now, 10) if hunks else now
            kept = {} if verb == b"rename" else {"f": now}
            assert (judged.verdict in {Verdict.CLEAN, Verdict.MERGED}, judged.tree) == (
                True,
                bench.of({"g": made, **kept}),
            )


def taken(place: int, lines: bytes, *, context: int = 3, after: bytes = TEXT) -> bytes:
    """Return the mail that takes lines out which stand before a line of a text."""
    kept = [b" " + line for line in after.splitlines(keepends=True)]
    above, below = kept[place - context : place], kept[place : place + context]
    gone = [b"-" + line for line in lines.splitlines(keepends=True)]
    head = b"@@ -%d,%d +%d,%d @@\n" % (
        *(place - context + 1, 2 * context + len(gone)),
        *(place - context + 1, 2 * context),
    )
    body = b"".join([*above, *gone, *below])
    return mail(b"diff --git a/f b/f\n--- a/f\n+++ b/f\n" + head + body)


def laid(*lines: tuple[int, bytes]) -> bytes:
    """Return the text with lines laid in before those of the given numbers."""
    there = dict(lines)
    return b"".join(there.get(number, b"") + line for number, line in enumerate(LINES))


class TestTakenOut:
    """Lines that a patch takes out are upstream only if they are gone."""

    @pytest.mark.parametrize("lines", [b"}\n", b"return\n", b"x = 1\n", b"call_it(1)\n", b"}\n}\n"])
    @pytest.mark.parametrize("context", [1, 3])
    def test_within_the_file(self, bench: Bench, lines: bytes, context: int) -> None:
        patch, home = taken(10, lines, context=context), bench.tree(f=laid((10, lines)))
        assert bench.judge(patch, home, bench.tree(f=TEXT)).verdict is Verdict.UPSTREAMED
        for place in (3, 12, 14, 25):
            base = bench.tree(f=laid((place, lines)))
            judged = bench.judge(patch, home, base)
            assert (judged.verdict, judged.tree) == (Verdict.CONFLICT, base), place
            assert "which the patch takes out" in judged.cause

    @pytest.mark.parametrize("lines", [b"}\n", b"return\n", b"call_it(1)\n"])
    def test_where_others_of_them_stay(self, bench: Bench, lines: bytes) -> None:
        home = bench.tree(f=laid((10, lines), (27, lines)))
        patch = taken(10, lines)
        for now, verdict in (
            (laid((27, lines)), Verdict.UPSTREAMED),
            (laid((18, lines), (27, lines)), Verdict.CONFLICT),
        ):
            assert bench.judge(patch, home, bench.tree(f=now)).verdict is verdict
        # A short line of a block that came is not the one that went.
        came = laid((18, b"while it_runs {\n" + lines), (27, lines))
        judged = bench.judge(patch, home, bench.tree(f=came))
        assert (judged.verdict is Verdict.UPSTREAMED) is (lines != b"call_it(1)\n")

    @pytest.mark.parametrize("lines", [b"}\n]\n", b"\n}\n)\n", b"  ]\n\n}\n)\n"])
    def test_the_first_line_of_them_that_came_is_named(self, bench: Bench, lines: bytes) -> None:
        home = bench.tree(f=laid((10, lines), (27, lines)))
        base = bench.tree(f=laid((18, lines), (27, lines)))
        judged = bench.judge(taken(10, lines), home, base)
        first = lines.split()[0].decode()
        assert f"f has the line '{first}', which the patch takes out" in judged.cause

    def test_in_another_file(self, bench: Bench) -> None:
        block = b"def helper(it):\n    return it + another\n"
        for lines, came in ((b"call_it(1)\n", b"call_it(1)\n"), (block, b"\n" + block)):
            home = bench.tree(f=laid((10, lines)), g=b"g\n")
            patch = taken(10, lines)
            for other in ({"g": b"g\n" + came}, {"g": b"g\n", "n": came}):
                judged = bench.judge(patch, home, bench.of({"f": TEXT, **other}))
                assert judged.verdict is Verdict.CONFLICT
                assert "which the patch takes out of f, came to " in judged.cause
            judged = bench.judge(patch, home, bench.tree(f=TEXT, g=b"other\n"))
            assert judged.verdict is Verdict.UPSTREAMED

    def test_what_other_files_have_as_well_tells_nothing(self, bench: Bench) -> None:
        line = b"import everything\n"
        others = dict.fromkeys("hijk", line)
        home = bench.of({"f": laid((10, line)), **others})
        base = bench.of({"f": TEXT, **others, "h": line + b"more\n", "n": line})
        assert bench.judge(taken(10, line), home, base).verdict is Verdict.UPSTREAMED

    def test_one_ladder_judges_by_the_whole_tree(self, bench: Bench) -> None:
        """A verdict is not that of another tree in which the file itself is the same."""
        series = [read_patch("up/0001-t.patch", taken(10, b"call_it(1)\n"))]
        home = bench.tree(f=laid((10, b"call_it(1)\n")))
        pinned = pin(home, series, Ladder(store=bench.store, paths={}, pinned={}))
        ladder = Ladder(store=bench.store, paths={}, pinned=pinned)
        found = [
            ladder.judge_series(base, series)[0].verdict
            for base in (bench.tree(f=TEXT), bench.tree(f=TEXT, n=b"call_it(1)\n"))
        ]
        assert found == [Verdict.UPSTREAMED, Verdict.CONFLICT]

    def test_a_merge_proves_it_where_the_context_is_another(self, bench: Bench) -> None:
        home = bench.tree(f=laid((10, b"call_it(1)\n")))
        now = TEXT.replace(LINES[8], b"another\n")
        judged = bench.judge(taken(10, b"call_it(1)\n"), home, bench.tree(f=now))
        assert judged.verdict is Verdict.UPSTREAMED
        assert "merged" in judged.cause

    def test_a_copy_of_the_result_is_not_it(self, bench: Bench) -> None:
        block = b"one\ntwo\nthree\nfour\n"
        home = bench.tree(f=TEXT + block + b"between\n" + block.replace(b"three", b"}\nthree"))
        patch = taken(37, b"}\n", after=TEXT + block + b"between\n" + block, context=2)
        judged = bench.judge(patch, home, bench.tree(f=TEXT + block + b"between\nrewritten\n"))
        assert judged.verdict is Verdict.CONFLICT
        assert "stood there at the pin, too" in judged.cause
