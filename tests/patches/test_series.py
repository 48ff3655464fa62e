from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from forkhouse.core.errors import DocumentError, SeriesError
from forkhouse.patches.series import named, read_patch, read_series

if TYPE_CHECKING:
    from pathlib import Path

DIFF = """\
From: Tester <tester@localhost>
Subject: [PATCH 1/2] Add a file
Forwarded: no

---
diff --git a/new.txt b/new.txt
new file mode 100644
--- /dev/null
+++ b/new.txt
@@ -0,0 +1 @@
+new
"""
EDIT = """\
Subject: Change a word
Description: >-
  Why it has
  to change.
Origin: vendor, Forkhouse
Forwarded: no
Retire-When: never
Forms: [wheel]
edits:
  - path: a.txt
    language: text
    operations:
      - replace: {anchor: one}
        with: two
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "demo"
    folder.mkdir()
    (folder / "0001-add.patch").write_text(DIFF, encoding="utf-8")
    (folder / "0002-change.edit.yaml").write_text(EDIT, encoding="utf-8")
    (folder / "series").write_text(
        "# in this order\n0002-change.edit.yaml\n\n0001-add.patch\n", encoding="utf-8"
    )
    return folder


def test_reads_the_patches_in_the_order_of_the_series(folder: Path) -> None:
    edit, diff = read_series(folder)
    assert (edit.name, edit.subject) == ("0002-change.edit.yaml", "Change a word")
    assert edit.header.splitlines()[0] == "Description: Why it has to change."
    assert "Forwarded: no" in edit.header.splitlines()
    assert (diff.name, diff.subject, diff.edit) == ("0001-add.patch", "Add a file", None)
    assert diff.content == DIFF.encode()
    assert edit.sha256 != diff.sha256


def test_an_edit_is_for_the_forms_that_it_names(folder: Path) -> None:
    edit, diff = read_series(folder)
    assert edit.is_for("wheel")
    assert not edit.is_for("git")
    assert diff.is_for("git")


def test_an_upstream_without_a_folder_has_no_patches(tmp_path: Path) -> None:
    assert read_series(tmp_path / "none") == ()


def test_a_patch_that_is_named_and_missing_is_refused(folder: Path) -> None:
    (folder / "0001-add.patch").unlink()
    with pytest.raises(SeriesError, match=r"demo/series names 0001-add\.patch, which is not there"):
        read_series(folder)


def test_a_patch_that_no_line_names_is_refused(folder: Path) -> None:
    (folder / "series").write_text("0001-add.patch\n", encoding="utf-8")
    with pytest.raises(
        SeriesError,
        match=r"demo/0002-change\.edit\.yaml is not named in series, so it would silently not "
        r"apply",
    ):
        read_series(folder)


def test_every_problem_of_a_series_is_told_at_once(folder: Path) -> None:
    (folder / "series").write_text(
        "0001-add.patch\n0001-add.patch\n../0003-evil.patch\n", encoding="utf-8"
    )
    with pytest.raises(SeriesError) as caught:
        read_series(folder)
    for problem in (
        "names ../0003-evil.patch, which is not there",
        "0002-change.edit.yaml is not named",
        "names 0001-add.patch twice",
    ):
        assert problem in str(caught.value)


def test_a_folder_without_a_series_is_refused(folder: Path) -> None:
    (folder / "series").unlink()
    with pytest.raises(SeriesError, match="demo/series is missing"):
        read_series(folder)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Subject: nothing follows\n",
        DIFF.replace("Subject:", "About:"),
        DIFF.partition("---\n")[0] + "+new\n",
    ],
)
def test_a_file_that_is_no_patch_is_refused(folder: Path, text: str) -> None:
    (folder / "0001-add.patch").write_text(text, encoding="utf-8")
    with pytest.raises(
        SeriesError, match=r"demo/0001-add\.patch is not a patch: it needs a header"
    ):
        read_series(folder)


@pytest.mark.parametrize("name", ["a\0b.patch", f"{'n' * 300}.patch", f"sub/{'n' * 300}.patch"])
def test_a_name_that_no_file_can_have_is_refused(folder: Path, name: str) -> None:
    (folder / "series").write_text(f"{name}\n", encoding="utf-8")
    with pytest.raises(SeriesError, match="which is no name that a file can have"):
        read_series(folder)


def test_an_edit_that_is_no_text_is_refused(folder: Path) -> None:
    (folder / "0002-change.edit.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(
        SeriesError,
        match=r"demo/0002-change\.edit\.yaml:\d+: cannot be read: byte 0x\w\w is no UTF-8",
    ):
        read_series(folder)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Forwarded: no\n", "", r"demo/0002-change\.edit\.yaml:1: Forwarded: Field required"),
        (
            "Subject: Change a word",
            "Subject: ''",
            r"edit\.yaml:1: Subject: String should have at least 1 character",
        ),
        ("Forms: [wheel]", "Forms: [zip]", r"edit\.yaml:8: Forms\[0\]: Input should be 'git'"),
        ("language: text", "language: cobol", r"edit\.yaml:11: edits\[0\]\.language: .*'cobol'"),
        (
            "        with: two\n",
            "",
            r"edit\.yaml:13: edits\[0\].*operations\[0\]: .*belongs to `replace`",
        ),
        (
            "{anchor: one}",
            "{anchor: one, pattern: x}",
            r"edit\.yaml:13: edits\[0\].*replace: give exactly one of: .*anchor",
        ),
        ("{anchor: one}", "{}", r"edit\.yaml:13: edits\[0\].*replace: give exactly one of: "),
        (
            "      - replace",
            "      - count: 0\n        replace",
            r"edit\.yaml:13: .*count: Input should be greater than or equal to 1",
        ),
        (
            "      - replace",
            "      - count: {max: 2}\n        replace",
            r"edit\.yaml:13: .*operations\[0\]\.count\.min: Field required",
        ),
        (
            "      - replace",
            "      - count: {min: 2, max: 2}\n        replace",
            r"edit\.yaml:13: .*count: `min` has to be less than `max`",
        ),
        (
            "      - replace",
            "      - count: {min: -1, max: 2}\n        replace",
            r"edit\.yaml:13: .*count\.min: Input should be greater than",
        ),
        (
            "      - replace",
            "      - count: 1..2\n        replace",
            r"edit\.yaml:13: .*count: Input should be a valid integer \(got '1\.\.2'\)",
        ),
        (
            "{anchor: one}",
            "{anchor: one, argument: x}",
            r"edit\.yaml:13: .*replace: `argument` belongs to `call`",
        ),
        (
            "replace: {anchor: one}",
            "wrap: {anchor: one}",
            r"edit\.yaml:13: .*`with` of `wrap` has to hold \$MATCH",
        ),
        (
            "replace: {anchor: one}",
            "insert: {text: x}",
            r"edit\.yaml:13: .*insert: give exactly one of: before, after",
        ),
        (
            "replace: {anchor: one}",
            "import: {add: a, remove: b}",
            r"edit\.yaml:13: .*import: give exactly one of: add, remove, replace",
        ),
        (
            "replace: {anchor: one}",
            "include: {replace: a}",
            r"edit\.yaml:13: .*include: `with` belongs to `replace`",
        ),
        (
            "language: text\n    operations:\n      - replace: {anchor: one}\n        with: two",
            "language: requirements\n    operations:\n      - requirement: {add: 'a b'}",
            r"edit\.yaml:13: .*requirement\.add: ",
        ),
        (
            "language: text\n    operations:\n      - replace: {anchor: one}\n        with: two",
            (
                "language: requirements\n    operations:\n      - requirement: {remove: "
                "'vllm[flashinfer]'}"
            ),
            r"edit\.yaml:13: .*requirement\.remove: String should match pattern",
        ),
        (
            "language: text\n    operations:\n      - replace: {anchor: one}\n        with: two",
            (
                "language: requirements\n    operations:\n      - requirement: {remove: a, "
                "keep-version: true}"
            ),
            r"edit\.yaml:13: .*requirement: `keep-version` belongs to a `with` that names no "
            r"version",
        ),
        (
            "language: text\n    operations:\n      - replace: {anchor: one}\n        with: two",
            (
                "language: requirements\n    operations:\n      - requirement: {replace: a, with: "
                "'a>=2', keep-version: true}"
            ),
            r"edit\.yaml:13: .*requirement: `keep-version` belongs to a `with` that names no "
            r"version",
        ),
        (
            "language: text\n    operations:\n      - replace: {anchor: one}\n        with: two",
            "language: toml\n    operations:\n      - set: a.b",
            r"edit\.yaml:13: .*operations\[0\]: `value` belongs to `set`",
        ),
        (
            "    operations:",
            "    after: []\n    operations:",
            r"edit\.yaml:12: edits\[0\]\.after: Extra inputs are not permitted",
        ),
        (
            "edits:",
            "after: [{}]\nedits:",
            r"edit\.yaml:9: after\[0\]: give exactly one of: absent, present",
        ),
        (
            "edits:",
            "after: [{absent: {in: a}}]\nedits:",
            r"edit\.yaml:9: after\[0\]\.absent: give exactly one of: text, requirement",
        ),
        ("edits:", "notes: x\nedits:", r"edit\.yaml:9: notes: Extra inputs are not permitted"),
    ],
)
def test_a_bad_edit_is_refused_with_its_line(
    folder: Path, old: str, new: str, message: str
) -> None:
    assert old in EDIT
    (folder / "0002-change.edit.yaml").write_text(EDIT.replace(old, new), encoding="utf-8")
    with pytest.raises(DocumentError, match=message):
        read_series(folder)


@pytest.mark.parametrize(
    "name",
    ["0003-b.diff", "0003-c.edit.yml", "0003-d.patch.orig", "rocm/0003-e.patch", "notes.txt"],
)
def test_what_would_silently_stay_out_is_refused(folder: Path, name: str) -> None:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("any", encoding="utf-8")
    with pytest.raises(
        SeriesError, match=rf"demo/{name.partition('/')[0]}.* so it would silently not apply"
    ):
        read_series(folder)


def test_notes_and_hidden_files_are_no_patches(folder: Path) -> None:
    for name in ("README", "README.md", ".gitignore"):
        (folder / name).write_text("any", encoding="utf-8")
    assert len(read_series(folder)) == 2


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (
            "0003-c.edit.yml",
            r"names 0003-c\.edit\.yml, whose ending is not known: a textual patch ends in \.patch, "
            r"an edit in \.edit\.yaml",
        ),
        ("0003-b.diff", r"names 0003-b\.diff, whose ending is not known"),
        (
            "rocm/0004-d.patch",
            r"names rocm/0004-d\.patch, which lies in a subfolder; move it into demo itself",
        ),
        ("rocm", r"names rocm, whose ending is not known"),
        (
            "0001-add.patch -p0",
            r"names 0001-add\.patch -p0: options behind a name are not known here; .*`Strip: 0`",
        ),
        ("0009-none.patch", r"names 0009-none\.patch, which is not there"),
        ("0009-none.diff", r"names 0009-none\.diff, which is not there"),
        ("../outside.patch", r"names \.\./outside\.patch, which is not there"),
    ],
)
def test_a_line_is_refused_for_what_is_wrong_with_it(folder: Path, line: str, problem: str) -> None:
    (folder / "rocm").mkdir()
    for path in ("0003-c.edit.yml", "0003-b.diff", "rocm/0004-d.patch", "../outside.patch"):
        (folder / path).write_text("any", encoding="utf-8")
    (folder / "series").write_text(f"0002-change.edit.yaml\n{line}\n", encoding="utf-8")
    with pytest.raises(SeriesError, match=rf"demo/series {problem}"):
        read_series(folder)


def test_comments_are_as_in_quilt(folder: Path) -> None:
    (folder / "series").write_text(
        "  # first\n0002-change.edit.yaml  # why\n\n#0003.patch\n0001-add.patch\t#x\n",
        encoding="utf-8",
    )
    assert [patch.name for patch in read_series(folder)] == [
        "0002-change.edit.yaml",
        "0001-add.patch",
    ]
    assert named("0001-a#b.patch") == "0001-a#b.patch"


def test_a_series_that_is_no_text_is_refused(folder: Path) -> None:
    (folder / "series").write_bytes(b"\xff\n")
    with pytest.raises(
        SeriesError, match=r"demo/series:\d+: cannot be read: byte 0x\w\w is no UTF-8"
    ):
        read_series(folder)


BODY = DIFF.partition("---\n")[2]


@pytest.mark.parametrize(
    ("header", "subject"),
    [
        ("Subject: Plain\n", "Plain"),
        (
            "From: T\nSubject: [RFC PATCH v2 1/3] A long subject that\n goes on\n\nText.\n---\n",
            "A long subject that goes on",
        ),
        ("From: T\nSubject: =?UTF-8?q?[PATCH]_Caf=C3=A9?=\n\n---\n", "Café"),
        ("Subject: [ROCm] Keep this\n", "[ROCm] Keep this"),
        (
            "Description: First line\n and the rest\n of it\nAuthor: T\nForwarded: no\n\n",
            "First line",
        ),
        ("Description:\n Only below\nAuthor: T\n", "Only below"),
        ("Author: T\nDescription: d\nSubject: s\n\n", "s"),
        ("# HG changeset patch\n# User t\n# Date 0 0\nWords of\nMercurial\n\n", "Words of"),
    ],
)
def test_the_subject_is_gits_or_dep3s_or_mercurials(header: str, subject: str) -> None:
    patch = read_patch("demo/0001-add.patch", (header + BODY).encode())
    assert (patch.subject, patch.strip) == (subject, None)
    assert patch.header.strip() == header.strip()


def test_a_patch_of_any_bytes_is_read(folder: Path) -> None:
    content = DIFF.replace("Tester", "Testé").replace("+new", "+né").encode("latin-1")
    (folder / "0001-add.patch").write_bytes(content)
    assert read_series(folder)[1].content == content


def test_the_header_says_how_many_folders_are_stripped() -> None:
    assert read_patch("demo/a.patch", f"Description: d\nStrip: 0\n\n{BODY}".encode()).strip == 0
    assert read_patch("demo/a.patch", f"Description: d\nStrip:  2 \n\n{BODY}".encode()).strip == 2
    with pytest.raises(SeriesError, match=r"demo/a\.patch: `Strip: all` is no number"):
        read_patch("demo/a.patch", f"Description: d\nStrip: all\n\n{BODY}".encode())
