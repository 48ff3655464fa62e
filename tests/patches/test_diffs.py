"""What the reader makes of patch files, shape by shape.

`test_textual_git.py` compares the results with git's own.
"""

from __future__ import annotations

import base64
import zlib

import pytest
from pygit2.enums import FileMode

from forkhouse.patches.deltas import patched
from forkhouse.patches.difflines import Lines
from forkhouse.patches.diffreader import is_diff, message_of, read
from forkhouse.patches.diffs import DiffSyntaxError, PartKind, StripError

HUNK = b"@@ -1,2 +1,2 @@\n one\n-two\n+2\n"
PLAIN = b"--- a/f\n+++ b/f\n" + HUNK
GIT = b"diff --git a/f b/f\n" + PLAIN


def names(content: bytes, strip: int = 1) -> list[tuple[PartKind, str, str]]:
    return [
        (part.kind, part.old, part.new)
        for diff in read(content, strip=strip)
        for part in diff.parts
    ]


@pytest.mark.parametrize(
    ("head", "kind", "old", "new"),
    [
        (
            b"diff --git a/old f b/new f\nsimilarity index 100%\nrename from old f\n"
            b"rename to new f\n",
            PartKind.RENAME,
            "old f",
            "new f",
        ),
        (b"diff --git a/f b/g\ncopy from f\ncopy to g\n", PartKind.COPY, "f", "g"),
        (
            b"diff --git a/a b b/a b\nnew file mode 100644\nindex 0000000..e69de29\n",
            PartKind.ADD,
            "a b",
            "a b",
        ),
        (
            b"diff --git a/f b/f\ndeleted file mode 100644\nindex e69de29..0000000\n",
            PartKind.REMOVE,
            "f",
            "f",
        ),
        (
            b'diff --git "a/caf\\303\\251\\t\\"" "b/caf\\303\\251\\t\\""\nold mode 100644\n'
            b"new mode 100755\n",
            PartKind.CHANGE,
            'café\t"',
            'café\t"',
        ),
        (
            b'diff --git a/f "b/\\\\f"\nrename from f\nrename to "\\\\f"\n',
            PartKind.RENAME,
            "f",
            "\\f",
        ),
        (
            b'diff --git "a/\\\\f" b/f\nrename from "\\\\f"\nrename to f\n',
            PartKind.RENAME,
            "\\f",
            "f",
        ),
        (
            b"diff --git i/f w/f\nnew file mode 100644\n--- /dev/null\n+++ w/f\n@@ -0,0 +1 @@\n"
            b"+x\n",
            PartKind.ADD,
            "f",
            "f",
        ),
        (
            b"diff --git a/b b/b b/b b/b\nold mode 100644\nnew mode 100755\n",
            PartKind.CHANGE,
            "b b/b",
            "b b/b",
        ),
    ],
)
def test_what_gits_own_headers_say(head: bytes, kind: PartKind, old: str, new: str) -> None:
    # Whatever stands behind it, or does not.
    for behind in (
        b"",
        b"-- \n2.39.5\n\n",
        GIT,
        PLAIN if kind in {PartKind.ADD, PartKind.REMOVE} and b"+++" in head else GIT,
    ):
        assert names(head + behind)[0] == (kind, old, new)


@pytest.mark.parametrize(
    ("head", "kind", "name"),
    [
        (
            b"--- a/f\t2020-01-01 10:00:00.000000000 +0100\n"
            b"+++ b/f\t2020-01-02 10:00:00.000000000 +0100\n" + HUNK,
            PartKind.CHANGE,
            "f",
        ),
        (
            b"--- a/f 2020-01-01 10:00:00.000000000 +0100\n"
            b"+++ b/f 2020-01-02 10:00:00.000000000 +0100\n" + HUNK,
            PartKind.CHANGE,
            "f",
        ),
        (
            b"--- demo.orig/f g\t2020-01-01\n+++ demo/f g\t2020-01-02\n" + HUNK,
            PartKind.CHANGE,
            "f g",
        ),
        (b"--- a/f.orig\n+++ b/f\n" + HUNK, PartKind.CHANGE, "f"),
        (b"--- a/f\n+++ b/f~\n" + HUNK, PartKind.CHANGE, "f"),
        (b"--- a//d//f\n+++ b//d//f\n" + HUNK, PartKind.CHANGE, "d/f"),
        (
            b'--- "a/\\303\\251"\t2020-01-01\n+++ "b/\\303\\251"\t2020-01-01\n' + HUNK,
            PartKind.CHANGE,
            "é",
        ),
        (b"Index: a/f\n" + b"=" * 67 + b"\n--- a/f\n+++ b/f\n" + HUNK, PartKind.CHANGE, "f"),
        (
            b"diff -r 0123456789ab f\n--- a/f\tThu Jan 01 00:00:00 1970 +0000\n"
            b"+++ b/f\tSat Nov 28 10:00:00 2026 +0000\n" + HUNK,
            PartKind.CHANGE,
            "f",
        ),
        (
            b"--- /dev/null\tThu Jan 01 00:00:00 1970 +0000\n"
            b"+++ b/f\tSat Nov 28 10:00:00 2026 +0000\n@@ -0,0 +1 @@\n+x\n",
            PartKind.ADD,
            "f",
        ),
        (
            b"--- a/f\t1970-01-01 00:00:00.000000000 +0000\n+++ b/f\t2020-01-02 10:00:00 +0100\n"
            b"@@ -0,0 +1 @@\n+x\n",
            PartKind.ADD,
            "f",
        ),
        (
            b"--- a/f\t1969-12-31 19:00:00.000000000 -0500\n+++ b/f\t2020-01-02 10:00:00 +0100\n"
            b"@@ -0,0 +1 @@\n+x\n",
            PartKind.ADD,
            "f",
        ),
        (
            b"--- a/f\t2020-01-02 10:00:00 +0100\n+++ b/f\t1970-01-01 01:00:00.000000000 +0100\n"
            b"@@ -1 +0,0 @@\n-x\n",
            PartKind.REMOVE,
            "f",
        ),
        (
            b"--- a/f\t2020-01-02 10:00:00 +0100\n+++ b/f\t1970-01-01 00:00:01 +0000\n"
            b"@@ -1 +0,0 @@\n-x\n",
            PartKind.CHANGE,
            "f",
        ),
        (b"--- a/f\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n", PartKind.REMOVE, "f"),
        (
            b"--- a/f\t(revision 1)\n+++ b/f\t(nonexistent)\n@@ -1 +0,0 @@\n-x\n",
            PartKind.REMOVE,
            "f",
        ),
        (
            b"--- a/f\t(nonexistent)\n+++ b/f\t(working copy)\n@@ -0,0 +1 @@\n+x\n",
            PartKind.ADD,
            "f",
        ),
        (b"--- a/f\n+++ b/f\n@@ -0,0 +1 @@\n+x\n", PartKind.FILL, "f"),
    ],
)
def test_what_other_tools_headers_say(head: bytes, kind: PartKind, name: str) -> None:
    assert names(b"Description: words\n\n" + head + GIT) == [
        (kind, name, name),
        (PartKind.CHANGE, "f", "f"),
    ]


@pytest.mark.parametrize(
    ("mode", "kept"),
    [
        (b"100644", FileMode.BLOB),
        (b"100664", FileMode.BLOB),
        (b"100600", FileMode.BLOB),
        (b"100755", FileMode.BLOB_EXECUTABLE),
        (b"100775", FileMode.BLOB_EXECUTABLE),
        (b"100700", FileMode.BLOB_EXECUTABLE),
        (b"100654", FileMode.BLOB),
        (b"120000", FileMode.LINK),
        (b"160000", FileMode.COMMIT),
    ],
)
def test_modes_are_kept_as_git_keeps_them(mode: bytes, kept: FileMode) -> None:
    ((part,),) = [
        diff.parts for diff in read(b"diff --git a/f b/f\nnew file mode " + mode + b"\n", strip=1)
    ]
    assert part.mode == kept


def test_permissions_alone_are_the_mode_of_a_new_file() -> None:
    ((part,),) = [diff.parts for diff in read(b"diff --git a/f b/f\nnew file mode 755\n", strip=1)]
    assert part.mode is FileMode.BLOB_EXECUTABLE


def binary(*lines: bytes, head: bytes = b"index 1..2\n") -> bytes:
    """Return a binary part; its first line is line 4 of the patch."""
    return b"\n".join([b"diff --git a/f b/f", head.rstrip(b"\n"), b"GIT binary patch", *lines, b""])


def packed(content: bytes) -> bytes:
    """Return the line of a binary patch that holds a short content."""
    data = zlib.compress(content)
    return bytes([len(data) + (0x40 if len(data) <= 26 else 0x46)]) + base64.b85encode(
        data, pad=True
    )


TWO = packed(b"two")


@pytest.mark.parametrize(
    ("patch", "reason"),
    [
        (binary(), r"line 4: f: a binary patch begins with neither `literal` nor"),
        (binary(b""), r"line 4: f: a binary patch begins with neither"),
        (binary(b"literal", TWO, b""), r"line 4: f: a binary patch begins with neither"),
        (binary(b"literal x", TWO, b""), r"line 4: f: a binary patch begins with neither"),
        (binary(b"literal " + b"9" * 5000, TWO, b""), r"line 4: f: a binary patch begins with"),
        (binary(b"literal 3", b""), r"line 4: f: .* damaged: it says 3 bytes and holds 0"),
        (binary(b"literal 2", TWO, b""), r"line 4: f: .* it says 2 bytes and holds more"),
        (binary(b"literal 4", TWO, b""), r"line 4: f: .* it says 4 bytes and holds 3"),
        (binary(b"literal 3", TWO[:-1], b""), r"line 5: f: a line of a binary patch is damaged"),
        (binary(b"literal 3", TWO + b"0", b""), r"line 5: f: a line of a binary patch is damaged"),
        (binary(b"literal 3", b"z" + TWO[1:], b""), r"line 5: f: a line of a binary patch is"),
        (binary(b"literal 3", b"0" + TWO[1:], b""), r"line 5: f: a line of a binary patch is"),
        (binary(b"literal 3", b'D"""""', b""), r"line 5: f: a line of a binary patch is damaged"),
        (binary(b"literal 3", b"D~~~~~", b""), r"line 5: f: a line of a binary patch is damaged"),
        (binary(b"literal 3", b"D" + TWO[1:6], b""), r"line 4: f: .* damaged: "),
        (binary(b"literal 3", b"D00000", b""), r"line 4: f: a binary patch is damaged: Error -3"),
        (binary(b"literal 3", TWO, b"literal 1", TWO, b""), r"line 6: f: a line of a binary"),
        (binary(b"literal 3", TWO, b"", b"literal 1", TWO, b""), r"line 7: f: .* holds more"),
        (binary(b"literal 3", TWO, b"", b"delta x", TWO, b""), r"line 7: f: .* begins with"),
        (binary(b"literal 3", TWO), r"line 6: f: the patch ends within this line"),
        (
            binary(b"literal 0", packed(b""), b"", head=b"index 1111111..0000"),
            r"line 1: f: its `index` line says that the file goes",
        ),
        (
            GIT.replace(b"--- a/f", b"index 1..2\n--- a/f") + b"GIT binary patch\nliteral 3\n",
            r"line 9: f: it has both hunks and a binary patch",
        ),
    ],
)
def test_a_damaged_binary_part_is_refused_with_its_line(patch: bytes, reason: str) -> None:
    with pytest.raises(DiffSyntaxError, match=f"^{reason}"):
        read(patch, strip=1)
    # The same where another part follows: it does not take the place of what is missing.
    with pytest.raises(DiffSyntaxError, match=r"^line [1-9]: "):
        read(patch + GIT, strip=1)


def test_a_whole_binary_part_is_read() -> None:
    ((part,),) = [
        diff.parts
        for diff in read(binary(b"literal 3", TWO, b"", b"literal 0", packed(b""), b""), strip=1)
    ]
    assert part.binary is not None
    assert (part.binary.content, part.binary.is_delta) == (b"two", False)


MODES = b"diff --git a/f b/f\nold mode 100644\nnew mode 100755\n"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (MODES.replace(b"100755", b"100"), "'100' is no mode"),
        (MODES.replace(b"100755", b"755"), "'755' is no mode"),
        (MODES.replace(b"100644", b"777777"), "'777777' is no mode"),
        (MODES.replace(b"100755", b"0o100755"), "'0o100755' is no mode"),
        (MODES.replace(b"100755", b"1_00755"), "'1_00755' is no mode"),
        (MODES.replace(b"100755", b"-100755"), "'-100755' is no mode"),
        (MODES.replace(b"100755", b"100755 x"), "'100755 x' is no mode"),
        (MODES.replace(b"100755", b"100855"), "'100855' is no mode"),
        (MODES.replace(b"100755", b""), "'' is no mode"),
        (MODES.replace(b"755", b"644"), "f: it changes nothing"),
        (MODES.replace(b"old mode 100644\n", b""), "f: `old mode` and `new mode` belong"),
        (MODES.replace(b"new mode 100755\n", b""), "f: `old mode` and `new mode` belong"),
        (MODES + b"index 1..2 120000\n", "the `index` line and the lines on the file's mode"),
        (MODES + b"index 1..2 100755\n", "the `index` line and the lines on the file's mode"),
        (MODES.replace(b"old mode", b"new file mode"), "its lines say different things"),
        (MODES.replace(b"new mode", b"deleted file mode"), "its lines say different things"),
    ],
)
def test_modes_that_git_refuses(content: bytes, reason: str) -> None:
    with pytest.raises(DiffSyntaxError, match=f"^line 1: {reason}"):
        read(content, strip=1)


def test_a_line_of_the_head_is_said_once() -> None:
    assert names(MODES + b"new mode 100755\n") == [(PartKind.CHANGE, "f", "f")]
    with pytest.raises(DiffSyntaxError, match=r"^line 4: a second line says another `new mode`"):
        read(MODES + b"new mode 100644\n", strip=1)


def test_lines_are_counted_and_their_looks_do_not_matter() -> None:
    lines = [
        b"-- a/x",
        b"++ b/x",
        b"diff --git a/x b/x",
        b"@@ -1 +1 @@",
        b"rename to ../x",
        b"\\ No newline at end of file",
        b"\x0c",
        b"caf\xe9\r",
    ]
    hunk = (
        b"@@ -1,8 +1,9 @@\n"
        + b"".join(b"-" + line + b"\n" for line in lines)
        + b"".join(b"+" + line + b"\n" for line in [*lines, b"-- "])
    )
    ((part, other),) = [
        diff.parts
        for diff in read(
            b"diff --git a/f b/f\n--- a/f\n+++ b/f\n" + hunk + b"-- \n2.39\n" + PLAIN, strip=1
        )
    ]
    assert part.hunks[0].before == tuple(line + b"\n" for line in lines)
    assert part.hunks[0].after == (*part.hunks[0].before, b"-- \n")
    assert (other.line, other.hunks[0].line) == (24, 26)


def test_a_newline_is_missing_on_either_side_or_on_both() -> None:
    none = b"\\ No newline at end of file\n"
    for old, new, hunk in (
        (b"b", b"b\n", b"-b\n" + none + b"+b\n"),
        (b"b\n", b"b", b"-b\n+b\n" + none),
        (b"b", b"c", b"-b\n" + none + b"+c\n" + none),
    ):
        ((part,),) = [
            diff.parts for diff in read(b"--- a/f\n+++ b/f\n@@ -1,2 +1,2 @@\n a\n" + hunk, strip=1)
        ]
        assert (part.hunks[0].before, part.hunks[0].after) == ((b"a\n", old), (b"a\n", new))
    ((part,),) = [
        diff.parts
        for diff in read(
            b"--- a/f\n+++ b/f\n@@ -1,2 +1 @@\n-a\n b\n\\ Kein Zeilenumbruch am Dateiende.\n",
            strip=1,
        )
    ]
    assert (part.hunks[0].before, part.hunks[0].after) == ((b"a\n", b"b"), (b"b",))


@pytest.mark.parametrize(
    "body",
    [
        b" a\nNONE b\n-c\n",  # on both sides
        b"-a\nNONE b\n c\n",  # on the old one
        b"-a\nNONE-b\nNONE c\n",
        b" b\n c\n+a\nNONE+d\n",  # on the new one
        b"+a\nNONE b\n c\n",
        b" b\n-c\n+a\nNONE+d\n",
    ],
)
def test_only_the_last_line_of_a_side_is_without_a_newline(body: bytes) -> None:
    body = body.replace(b"NONE", b"\\ No newline at end of file\n")
    marks = [line[:1] for line in body.splitlines()]
    old, new = (marks.count(b" ") + marks.count(sign) for sign in (b"-", b"+"))
    hunk = b"@@ -1,%d +1,%d @@\n" % (old, new) + body
    with pytest.raises(DiffSyntaxError, match=r"^line 3: f: a line in the middle of the hunk is"):
        read(b"--- a/f\n+++ b/f\n" + hunk, strip=1)


def test_an_empty_line_of_context_may_have_lost_its_blank() -> None:
    ((part,),) = [
        diff.parts for diff in read(b"--- a/f\n+++ b/f\n@@ -1,3 +1,3 @@\n a\n\n-b\n+c\n", strip=1)
    ]
    assert part.hunks[0].before == (b"a\n", b"\n", b"b\n")
    assert (part.hunks[0].leading, part.hunks[0].trailing) == (2, 0)


MAIL = (
    b"From "
    + b"0" * 40
    + b" Mon Sep 17 00:00:00 2001\nFrom: T <t@localhost>\nSubject: [PATCH] Words\n\nMessage.\n---\n"
    b" f | 2 +-\n\n"
)


def test_a_mailbox_has_a_diff_for_each_mail() -> None:
    assert [
        len(diff.parts)
        for diff in read(MAIL + GIT + b"-- \n2.39\n\n" + MAIL + GIT + PLAIN, strip=1)
    ] == [1, 2]
    with pytest.raises(DiffSyntaxError, match=r"line 18: this mail has no diff"):
        read(MAIL + GIT + b"-- \n\n" + MAIL + b"-- \n", strip=1)
    cover = MAIL.replace(b"[PATCH]", b"[PATCH 0/2]") + b"-- \n\n"
    assert len(read(cover + MAIL + GIT, strip=1)) == 1


@pytest.mark.parametrize(
    "text",
    [
        b"rename to ../x was an idea\n",
        b"--- a/x\nis gone\n",
        b"diff --git a/x b/x was run\n",
        b"@@ -1 +1 @@ is a hunk\n",
        b"Only in b: x\n",
        b"diff -u a b\n",
    ],
)
def test_the_message_is_no_diff(text: bytes) -> None:
    assert names(MAIL.replace(b"Message.\n", b"Message.\n" + text) + GIT) == [
        (PartKind.CHANGE, "f", "f")
    ]


@pytest.mark.parametrize(
    "head",
    [
        b"diff --git a/g b/g\nimilarity index 100%\nrename from g\nrename to h\n",
        b"@@ -1 +1 @@diff --git a/g b/g\n",
    ],
)
def test_a_damaged_head_is_not_taken_for_the_message(head: bytes) -> None:
    with pytest.raises(DiffSyntaxError, match=r"line 3: (nothing follows|a hunk without a file)"):
        read(b"Subject: s\n\n" + head + GIT, strip=1)


def test_a_diff_in_the_message_is_not_taken_for_the_patch() -> None:
    with pytest.raises(DiffSyntaxError, match=r"the message above this rule holds a diff itself"):
        read(MAIL.replace(b"Message.\n", PLAIN) + GIT, strip=1)


def test_where_the_message_ends() -> None:
    assert message_of(b"Description: d\n\nIndex: f\n=====\n" + PLAIN) == b"Description: d\n"
    assert message_of(b"Subject: caf\xe9\n---\n" + GIT) == b"Subject: caf\xe9\n---"
    assert not is_diff(b"Subject: s\n\n1c1\n< a\n---\n> b\n")


@pytest.mark.parametrize("above", [0, 1, 2, 3])
def test_lines_that_announce_a_part_belong_to_it_from_where_it_is_looked_for(above: int) -> None:
    announced = b"Index: f\n====\ndiff -r 1 f\n" + PLAIN
    lines = Lines((b"words\n" * above + announced).split(b"\n"))
    firsts = [lines.first(start, len(lines)) - above for start in range(above, above + 4)]
    # A rule alone announces nothing: the line above it does.
    assert firsts == [0, 2, 2, 3]


@pytest.mark.parametrize("last", [b"Only in b: x", b"diff -r 1 g", b"Index: g\n===="])
def test_the_last_line_announces_nothing_of_the_first_part(last: bytes) -> None:
    assert message_of(PLAIN + last) == b""
    assert message_of(b"words\n" + PLAIN + last) == b"words"
    with pytest.raises(DiffSyntaxError, match=r"^line (6|7): "):
        read(PLAIN + last, strip=1)


@pytest.mark.parametrize("other", ["f2", "ff", "fx.orig", "g", "g.orig", ".f", "_f", "~f", "-f"])
def test_two_files_that_are_no_copies_are_refused(other: str) -> None:
    for pair in (("f", other), (other, "f")):
        head = "--- a/{}\n+++ b/{}\n".format(*pair).encode()
        with pytest.raises(StripError, match="the two sides are different files: "):
            read(head + HUNK, strip=1)


def test_names_lose_as_many_folders_as_asked_for() -> None:
    deep = (
        b"diff --git a/x/f b/x/f\nnew file mode 100644\n--- /dev/null\n+++ b/x/f\n@@ -0,0 +1 @@\n"
        b"+x\n"
    )
    assert names(deep) == [(PartKind.ADD, "x/f", "x/f")]
    assert names(deep, 2) == [(PartKind.ADD, "f", "f")]
    assert names(b"diff --git f f\nold mode 100644\nnew mode 100755\n", 0) == [
        (PartKind.CHANGE, "f", "f")
    ]
    assert names(b"--- x/f\n+++ x/f\n" + HUNK, 0) == [(PartKind.CHANGE, "x/f", "x/f")]
    for content, strip in (
        (deep, 0),
        (deep, 3),
        (b"--- f\n+++ f\n" + HUNK, 1),
        (b"--- a/f\n+++ b/g\n" + HUNK, 1),
    ):
        with pytest.raises(StripError):
            read(content, strip=strip)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "line 1: it holds no diff"),
        (b"words\n", "line 1: it holds no diff"),
        (
            PLAIN + b"+more\n",
            r"line 7: f: the hunk before this line is longer than its `@@` line says",
        ),
        (PLAIN + b" more\n", r"line 7: f: the hunk before this line is longer"),
        (
            GIT.replace(b"--- a/f", b"new file mode 100644\n--- /dev/null").replace(HUNK, b"+x\n"),
            r"line 5: f: this line belongs to no hunk",
        ),
        (
            b"diff --git a/f b/f\nold mode 100644\nnew mode 100755\n+x\n",
            r"line 4: f: this line belongs to no hunk",
        ),
        (PLAIN + b"\n+more\n", r"line 7: f: the hunk before this line is longer"),
        (PLAIN[:-3], r"line 3: f: the patch ends within this hunk"),
        (PLAIN[:-1], r"line 3: f: the patch ends within this hunk"),
        (PLAIN.replace(b"-two", b"two"), r"line 5: f: this line belongs to a hunk"),
        (PLAIN.replace(b"-1,2", b"-1,1"), r"line 3: f: the `@@` line says 1 and 2 lines"),
        (
            PLAIN.replace(b"@@ -1,2 +1,2 @@", b"@@ -1,2 @@"),
            r"line 3: f: '@@ -1,2 @@' is not the first line of a hunk",
        ),
        (b"--- a/f\n+++ b/f\n@@ -1 +1 @@\n one\n", r"line 3: f: the hunk changes nothing"),
        (
            PLAIN + b"@@ one @@\n" + GIT + b"text\n@@ -1 +1 @@\n-a\n+b\n",
            r"line 16: a hunk without a file",
        ),
        (
            GIT + b"diff --cc f\nindex 1,2..3\n--- a/f\n+++ b/f\n@@@ -1,1 -1,1 +1,1 @@@\n",
            r"line 8: a combined diff",
        ),
        (b"diff --cc f\nindex 1,2..3\n", r"line 1: a combined diff"),
        (
            b"*** a/f\n--- b/f\n***************\n*** 1 ****\n! a\n--- 1 ----\n! b\n",
            r"line 1: a context diff",
        ),
        (
            b"diff --git a/f b/f\n" + HUNK,
            r"line 2: f: a hunk stands right behind `diff --git`, and `---` and `\+\+\+` are "
            r"missing",
        ),
        (
            b"diff --git a/f b/f\nindex 1..2\n--- a/f\n+++ b/f\nnew mode 100755\n" + HUNK,
            r"line 5: f: no hunk \(`@@ -`\) follows",
        ),
        (
            b"Subject: s\n\ndiff --git a/g b/g\n---\nold mode 100644\n" + GIT,
            r"line 3: the message holds the head of a part",
        ),
        (
            b"Subject: s\n\ndiff --git a/g b/h\n---\nrename from g\n" + GIT,
            r"line 3: the message holds the head of a part",
        ),
        (PLAIN + b"\\ No newline at end", r"line 3: f: the patch ends within this hunk"),
        (PLAIN + b"\\ No newline", r"line 3: f: the patch ends within this hunk"),
        (b'diff --git a/q" b/q"\nnew file mode 100644\n', r"line 1: its names do not agree"),
        (b'diff --git a/q "b/q"x\nnew file mode 100644\n', r"line 1: its names do not agree"),
        (GIT.replace(b"--- a/f", b"--- a\r/f"), r"line 1: its names do not agree"),
        (b"diff --git /f b/f\nnew file mode 100644\n", r"line 1: its names do not agree"),
        (
            b'diff --git "a/\\s" "b/\\s"\nnew file mode 100644\n',
            r"line 1: its names do not agree",
        ),
        (
            b'diff --git "a/\\651" "b/\\651"\nnew file mode 100644\n',
            r"line 1: its names do not agree",
        ),
        (
            PLAIN.replace(b"+2\n", b"+2\n\\1No newline at end of file\n"),
            r"line 7: f: the hunk before this line is longer",
        ),
        (
            PLAIN.replace(b"1,2 +1,2", b"9" * 5000 + b" +1"),
            r"line 3: f: '@@ -9+' is not the first line of a hunk",
        ),
        (GIT + b"diff --git a/g b/g\n" + GIT, r"line 8: nothing follows that says what to do"),
        (
            GIT + b"diff --git a/g b/g\nindex 1111111..2222222 100644\n",
            r"line 8: g: nothing follows that says what to do",
        ),
        (
            GIT + b"Index: g\n======\nIndex: f\n======\n" + GIT,
            r"line 8: no hunk follows for this file",
        ),
        (
            GIT + b"diff -ru a/g b/g\ndiff -ru a/f b/f\n" + PLAIN,
            r"line 8: no hunk follows for these files",
        ),
        (GIT + b"Only in b: g\n", r"line 8: a file is on one side only"),
        (b"Only in b: g\ndiff -r a/f b/f\n" + PLAIN, r"line 1: a file is on one side only"),
        (PLAIN + b"Binary files a/g and b/g differ\n", r"line 7: a binary file differs"),
        (PLAIN + b"Added: svn:executable\n", r"line 7: a change of Subversion's properties"),
        (GIT.replace(b"\n", b"\r\n"), r"line 1: the lines of the patch file itself end with CR LF"),
        (
            b'diff --git "a/\\351" "b/\\351"\nnew file mode 100644\n',
            r"line 1: the name '\\xe9' is not UTF-8",
        ),
        (
            b"diff --git a/f b/f\nold mode 100644\nnew mode 100755",
            r"line 3: f: the patch ends within this line",
        ),
        (
            b"diff --git a/f b/f\n--- /dev/null\n+++ b/f\n@@ -0,0 +1 @@\n+x\n",
            r"line 1: `/dev/null` and the lines on the file's mode",
        ),
        (
            b"diff --git a/f b/f\nnew file mode 100644\n--- a/f\n+++ b/f\n@@ -0,0 +1 @@\n+x\n",
            r"line 1: `/dev/null` and the lines on",
        ),
        (b"diff --git a/f b/f\nnew file mode 040000\n", r"line 1: '040000' is no mode of a file"),
        (b"diff --git a/f b/f\nnew file mode x\n", r"line 1: 'x' is no mode of a file"),
        (
            b"diff --git a/f b/f\nnew file mode 100644\ndeleted file mode 100644\n",
            r"line 1: its lines say different things",
        ),
        (b"diff --git a/f b/g\nrename from f\n", r"line 1: its lines say different things"),
        (b"diff --git a/f b/g\nrename from f\nrename to h\n", r"line 1: its names do not agree"),
        (b"diff --git a/f b/g\n--- a/f\n+++ b/g\n" + HUNK, r"line 1: its names do not agree"),
        (b"diff --git a/f b/f\n--- a/f\n+++ b/g\n" + HUNK, r"line 1: its names do not agree"),
        (
            b"diff --git a/f b/f\nnew file mode 100644\n--- /dev/null\n+++ b/f\n@@ -1 +1 @@\n-a\n"
            b"+b\n",
            r"line 5: f is a new file",
        ),
        (b"--- a/f\n+++ /dev/null\n@@ -1 +1 @@\n-a\n+b\n", r"line 3: f is to be removed"),
        (
            b"--- a/f\t(revision 1)\n+++ b/f\t(working copy)\n@@ -1 +0,0 @@\n-a\n",
            r"line 1: f: it does not say whether the file goes",
        ),
        (
            b"diff --git a/f b/f\nindex 1..2\nGIT binary patch\nliteral 3\n!!!\n",
            r"line 5: f: a line of a binary patch is damaged",
        ),
        (
            b"Subject: s\nContent-Transfer-Encoding: quoted-printable\n\n=ZZ" + GIT,
            r"line 2: the mail's quoted-printable is damaged: '=ZZ' is no character",
        ),
        (
            b"Subject: s\nContent-Transfer-Encoding: base64\n\n!" + base64.b64encode(GIT),
            r"line 2: the mail's base64 is damaged",
        ),
        (
            b"Subject: s\nContent-Transfer-Encoding: base64\n\n" + base64.b64encode(GIT)[:-3],
            r"line 2: the mail's base64 is damaged",
        ),
        (
            b"Subject: s\nContent-Transfer-Encoding: base64\n\n" + base64.b64encode(GIT[:-3]),
            r"line 6: f: the patch ends within this hunk.* \(in the mail once decoded\)",
        ),
        (
            b"Subject: s\nContent-Transfer-Encoding: x-uuencode\n\n" + GIT,
            r"line 2: the mail is encoded as 'x-uuencode'",
        ),
        (
            b"Subject: s\nContent-Type: multipart/mixed; boundary=x\n\n--x\n"
            b"Content-Type: application/octet-stream\n\n" + GIT + b"--x--\n",
            r"line 2: the mail has a part of the kind application/octet-stream",
        ),
    ],
)
def test_what_cannot_be_applied_as_a_whole_is_refused_with_its_line(
    content: bytes, reason: str
) -> None:
    with pytest.raises(DiffSyntaxError, match=f"^{reason}"):
        read(content, strip=1)


def test_a_delta_is_checked_on_every_side() -> None:
    base = bytes(range(200))
    delta = bytes(
        [200, 1, 6, 0x91, 10, 4, 2, 65, 66]
    )  # 200 and 6 bytes; four from the tenth on; two of its own
    assert patched(base, delta) == base[10:14] + b"AB"
    for damaged in (
        delta[:-1],
        bytes([199, 1]) + delta[2:],
        bytes([200, 1, 7]) + delta[3:],
        bytes([200, 1, 6, 0x91, 250, 4]),
        bytes([200, 1, 6, 0]),
    ):
        with pytest.raises(ValueError, match="does not fit"):
            patched(base, damaged)
